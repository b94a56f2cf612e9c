package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/testpg"
)

// asBinary makes the test program be the binary: it is what a test starts.
const asBinary = "BE_THE_CARILLON_BINARY"

func TestMain(m *testing.M) {
	if os.Getenv(asBinary) != "" {
		main()
	}
	os.Exit(testpg.Main(m))
}

// command returns the binary with args, in an environment of its own.
func command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, args...)
	// Under the race detector a program sleeps for a second when it ends, unless it is told not to.
	cmd.Env = append([]string{asBinary + "=1", "GORACE=atexit_sleep_ms=0", "HOME=" + os.Getenv("HOME"), "PATH=" + os.Getenv("PATH")}, env...)
	return cmd
}

// A step is one run of a script: what the node answers, what is run, and what is to come of it.
type step struct {
	name   string
	line   int
	env    []string
	files  map[string]string
	stdin  string
	api    []scripted
	args   []string
	checks []check
}

type (
	scripted struct {
		request string // "METHOD path"
		status  int
		body    string
	}
	check struct{ kind, text string }
)

// TestScripts runs testdata/*.script against a fake node. A step is lines up to an empty one: what precedes is
// api METHOD PATH STATUS BODY, file NAME CONTENT, more NAME CONTENT (another line of it), env, in; then run ARGS; then sent JSON (the last request's body), out
// and err TEXT (which must be there, spaces apart), no TEXT (which must not), json JSON (all of standard output), holds NAME
// TEXT (a file that was written), exit CODE.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.script")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range scripts {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range parseScript(t, path, string(content)) {
			t.Run(fmt.Sprintf("%s:%d %s", filepath.Base(path), s.line, s.name), func(t *testing.T) {
				t.Parallel()
				s.run(t)
			})
		}
	}
}

func parseScript(t *testing.T, path, content string) []step {
	var all []step
	var s step
	for i, line := range strings.Split(content+"\n", "\n") {
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "":
			if s.line != 0 {
				all = append(all, s)
			}
			s = step{}
		case "#":
			s.name = rest
		case "env":
			s.env = append(s.env, rest)
		case "file":
			name, body, _ := strings.Cut(rest, " ")
			if s.files == nil {
				s.files = map[string]string{}
			}
			s.files[name] = body + "\n"
		case "more":
			name, body, _ := strings.Cut(rest, " ")
			s.files[name] += body + "\n"
		case "in":
			s.stdin = rest
		case "api":
			f := append(strings.SplitN(rest, " ", 4), "")
			status, err := strconv.Atoi(f[2])
			if err != nil {
				t.Fatalf("%s:%d: %v", path, i+1, err)
			}
			s.api = append(s.api, scripted{f[0] + " " + f[1], status, f[3]})
		case "run":
			s.line, s.args = i+1, split(rest)
		case "sent", "out", "err", "no", "json", "holds", "exit":
			s.checks = append(s.checks, check{word, rest})
		default:
			t.Fatalf("%s:%d: what is %q?", path, i+1, word)
		}
	}
	return all
}

// split cuts a command line at spaces, but for those in quotes.
func split(line string) []string {
	var args []string
	var arg strings.Builder
	var quote rune
	inside := false
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, inside = r, true
		case quote == 0 && r == ' ':
			if inside {
				args = append(args, arg.String())
			}
			arg.Reset()
			inside = false
		default:
			arg.WriteRune(r)
			inside = true
		}
	}
	if inside {
		args = append(args, arg.String())
	}
	return args
}

func (s step) run(t *testing.T) {
	dir := t.TempDir()
	fill := strings.NewReplacer("$TMP", dir).Replace
	for name, body := range s.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex // guards what follows
	var sent string
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		sent = string(body)
		if asked >= len(s.api) || s.api[asked].request != r.Method+" "+r.URL.RequestURI() {
			t.Errorf("request %d is %s %s, which the script does not have", asked+1, r.Method, r.URL.RequestURI())
			http.Error(w, "not in the script", http.StatusTeapot)
			return
		}
		if got, want := r.Header.Get("Authorization"), "Bearer the-token"; got != want && !strings.HasPrefix(r.URL.Path, "/device/") {
			t.Errorf("got Authorization %q, want %q", got, want)
		}
		a := s.api[asked]
		asked++
		w.WriteHeader(a.status)
		io.WriteString(w, a.body) //nolint:errcheck // the binary may have gone
	}))
	defer srv.Close()

	args := make([]string, len(s.args))
	for i, a := range s.args {
		args[i] = fill(a)
	}
	env := []string{"CARILLON_SERVER=" + srv.URL, "CARILLON_TOKEN=the-token"}
	for _, e := range s.env {
		env = append(env, fill(e))
	}
	cmd := command(t, env, args...)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(s.stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if asked != len(s.api) {
		t.Errorf("%d requests were made, want %d", asked, len(s.api))
	}
	for _, c := range s.checks {
		if c.kind == "holds" {
			name, want, _ := strings.Cut(c.text, " ")
			b, err := os.ReadFile(filepath.Join(dir, name))
			if got := fill(want); err != nil || !strings.Contains(string(b), got) {
				t.Errorf("%s has %q, %v; want %q", name, b, err, got)
			}
			continue
		}
		c.hold(t, cmd.ProcessState.ExitCode(), stdout.String(), stderr.String(), sent)
	}
	if t.Failed() {
		t.Logf("stdout:\n%s\nstderr:\n%s", &stdout, &stderr)
	}
}

// hold compares what came with what one line of the script says.
func (c check) hold(t *testing.T, code int, stdout, stderr, sent string) {
	t.Helper()
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	switch c.kind {
	case "exit":
		if got := strconv.Itoa(code); got != c.text {
			t.Errorf("got exit code %s, want %s", got, c.text)
		}
	case "out":
		if !strings.Contains(squeeze(stdout), squeeze(c.text)) {
			t.Errorf("standard output has no %q", c.text)
		}
	case "err":
		if !strings.Contains(squeeze(stderr), squeeze(c.text)) {
			t.Errorf("standard error has no %q", c.text)
		}
	case "no":
		if strings.Contains(stdout+stderr, c.text) {
			t.Errorf("the output has %q", c.text)
		}
	case "json":
		if got, want := compact(t, stdout), compact(t, c.text); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	case "sent":
		if got, want := compact(t, sent), compact(t, c.text); got != want {
			t.Errorf("sent %s, want %s", got, want)
		}
	}
}

func compact(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(s)); err != nil {
		t.Errorf("%q: %v", s, err)
	}
	return b.String()
}
