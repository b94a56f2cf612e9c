package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestTranscripts runs the boxes of ../../docs that are marked transcript, those of one page in order on one node, on both
// databases. A box is steps:
//
//	METHOD PATH, then headers, then JSON, then → STATUS JSON: a call and its answer
//	$ carillon ARGS, then lines of its output
//	NAME registers | connects | disconnects | gets JSON | EVENT ID: what the phone NAME does, or gets
//
// In what is expected … is anything, also several elements of a list or words of a line; $name is whatever stood there first,
// and the same afterwards; what an object has beside is not compared, unless it is to be empty. What is read is read again
// for a while until it is as expected: receipts take their time.
func TestTranscripts(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	found := 0
	for _, page := range pages {
		content, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		steps := parseTranscript(t, string(content))
		if found += len(steps); len(steps) == 0 {
			continue
		}
		for _, database := range []string{"sqlite", "postgres"} {
			t.Run(filepath.Base(page)+" "+database, func(t *testing.T) {
				t.Parallel()
				stage := newStage(t, database)
				for _, s := range steps {
					if err := stage.play(s); err != nil {
						t.Fatalf("%s:%d: %s\n%v", filepath.Base(page), s.line, s.head, err)
					}
				}
			})
		}
	}
	if found == 0 {
		t.Fatal("no page has a transcript")
	}
}

// A transcriptStep is one step of a box.
type transcriptStep struct {
	line   int
	head   string   // its first line
	body   []string // the lines up to the answer, or to the next step
	answer []string // from → on
}

var stepHead = regexp.MustCompile(`^((GET|POST|PUT|PATCH|DELETE) /|\$ carillon |[a-z]+ (registers|connects|disconnects|gets|delivered|displayed|opened|clicked|dismissed)( |$))`)

func parseTranscript(t *testing.T, page string) []transcriptStep {
	var all []transcriptStep
	inside := false
	for i, line := range strings.Split(page, "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```transcript"
		case !inside || strings.TrimSpace(line) == "":
		case stepHead.MatchString(line):
			all = append(all, transcriptStep{line: i + 1, head: line})
		case len(all) == 0:
			t.Fatalf("line %d belongs to no step: %s", i+1, line)
		case strings.HasPrefix(line, "→ ") || all[len(all)-1].answer != nil:
			last := &all[len(all)-1]
			last.answer = append(last.answer, strings.TrimPrefix(line, "→ "))
		default:
			last := &all[len(all)-1]
			last.body = append(last.body, line)
		}
	}
	return all
}

// vars are what $names stand for.
type vars map[string]string

var (
	varName   = regexp.MustCompile(`\$[a-z]+[0-9]*`)
	daysAhead = regexp.MustCompile(`\{in ([0-9]+) days\}`)
	bareDots  = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|…`)
)

// fill puts what is known of v, and days, into text.
func (v vars) fill(text string) string {
	text = strings.ReplaceAll(text, "{tomorrow}", "{in 1 days}")
	text = daysAhead.ReplaceAllStringFunc(text, func(s string) string {
		n := 0
		fmt.Sscanf(s, "{in %d days}", &n)
		return time.Now().In(shanghai).AddDate(0, 0, n).Format(time.RFC3339)
	})
	return varName.ReplaceAllStringFunc(text, func(name string) string {
		if value, ok := v[name]; ok {
			return value
		}
		return name
	})
}

var shanghai = time.FixedZone("", 8*60*60)

// matchJSON compares an answer with what is expected, and learns the names in it if it is so.
func (v vars) matchJSON(expected string, got []byte) error {
	expected = bareDots.ReplaceAllStringFunc(expected, func(s string) string {
		if s == "…" {
			return `"…"`
		}
		return s
	})
	want, err := decodeNumbers([]byte(expected))
	if err != nil {
		return fmt.Errorf("what is expected is not JSON: %w: %s", err, expected)
	}
	have, err := decodeNumbers(got)
	if err != nil {
		return fmt.Errorf("not JSON: %w: %s", err, got)
	}
	learned := maps.Clone(v)
	if object, ok := want.(map[string]any); ok && len(object) == 0 {
		return nil
	}
	if err := learned.match("", want, have); err != nil {
		return fmt.Errorf("%w\ngot  %s\nwant %s", err, got, expected)
	}
	maps.Copy(v, learned)
	return nil
}

func decodeNumbers(b []byte) (v any, err error) {
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	return v, d.Decode(&v)
}

func (v vars) match(path string, want, have any) error {
	switch w := want.(type) {
	case string:
		return v.matchText(path, w, have)
	case map[string]any:
		h, ok := have.(map[string]any)
		if !ok || len(w) == 0 && len(h) > 0 {
			return fmt.Errorf("%s: got %v", path, have)
		}
		for k, one := range w {
			value, ok := h[k]
			if !ok {
				return fmt.Errorf("%s.%s is not there", path, k)
			}
			if err := v.match(path+"."+k, one, value); err != nil {
				return err
			}
		}
		return nil
	case []any:
		h, ok := have.([]any)
		if !ok {
			return fmt.Errorf("%s: got %v", path, have)
		}
		return v.matchList(path, w, h)
	}
	if fmt.Sprint(want) != fmt.Sprint(have) {
		return fmt.Errorf("%s: got %v, want %v", path, have, want)
	}
	return nil
}

func (v vars) matchText(path, want string, have any) error {
	if want == "…" {
		return nil
	}
	got := fmt.Sprint(have)
	if varName.FindString(want) == want && want != "" && v[want] == "" {
		v[want] = got
		return nil
	}
	if v.fill(want) != got {
		return fmt.Errorf("%s: got %v, want %s", path, have, v.fill(want))
	}
	return nil
}

// matchList compares lists; an element … stands for as many as there are.
func (v vars) matchList(path string, want, have []any) error {
	for i := range want {
		if want[i] == "…" {
			for skip := 0; skip <= len(have)-i; skip++ {
				learned := maps.Clone(v)
				if learned.matchList(path, want[i+1:], have[i+skip:]) == nil {
					maps.Copy(v, learned)
					return nil
				}
			}
			return fmt.Errorf("%s: got %v, want %v", path, have, want)
		}
		if i >= len(have) {
			break
		}
		if err := v.match(fmt.Sprintf("%s[%d]", path, i), want[i], have[i]); err != nil {
			return err
		}
	}
	if len(want) != len(have) {
		return fmt.Errorf("%s: got %d, want %d", path, len(have), len(want))
	}
	return nil
}

// matchLines reports whether lines that are like the expected ones are in output, in order.
func (v vars) matchLines(expected []string, output string) error {
	lines := strings.Split(output, "\n")
	for _, want := range expected {
		at := 0
		for at < len(lines) && !likeWords(strings.Fields(v.fill(want)), strings.Fields(lines[at])) {
			at++
		}
		if at == len(lines) {
			return fmt.Errorf("no line is like %q in\n%s", v.fill(want), output)
		}
		lines = lines[at+1:]
	}
	return nil
}

// likeWords compares words; … stands for any number of them.
func likeWords(want, have []string) bool {
	for i, w := range want {
		if w == "…" {
			for skip := 0; skip <= len(have)-i; skip++ {
				if likeWords(want[i+1:], have[i+skip:]) {
					return true
				}
			}
			return false
		}
		if i >= len(have) || have[i] != w {
			return false
		}
	}
	return len(want) == len(have)
}
