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
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/sdk/carillon"
)

// readAll returns the ids that a file names, as "line id", and what is wrong with the other lines, as "line: why".
func readAll(t *testing.T, src io.Reader) (ids, bad []string, err error) {
	t.Helper()
	r, err := newCSVReader(src)
	if err != nil {
		return nil, nil, err
	}
	for {
		d, line, err := r.next()
		var e *lineError
		switch {
		case err == io.EOF:
			return ids, bad, nil
		case errors.As(err, &e):
			bad = append(bad, fmt.Sprintf("%d: %v", e.Line, e))
		case err != nil:
			return ids, bad, err
		default:
			ids = append(ids, fmt.Sprintf("%d %s", line, d.PreviousID))
		}
	}
}

func TestCSVLines(t *testing.T) {
	long := strings.Repeat("x", maxLineBytes)
	rest := strings.Repeat("c\n", maxRecordLines+5)
	for _, tt := range []struct {
		name, file string
		ids, bad   []string
	}{
		{"a mark at its begin", "\ufeffdevice_id\na\n", []string{"2 a"}, nil},
		{"ends of Windows", "device_id,test\r\na,yes\r\n\r\nb,no\r\n", []string{"2 a", "4 b"}, nil},
		{"no end of the last line", "device_id\na\nb", []string{"2 a", "3 b"}, nil},
		{"a value of several lines", "device_id,attr.x\na,\"1\n2\"\nb,\"\"\"\"\n", []string{"2 a", "4 b"}, nil},
		{"spaces around names and ids", "device_id , tags\n a ,x\n", []string{"2 a"}, nil},
		{"a quote inside", "device_id\na\"b\nc\n", []string{"3 c"}, []string{`2: has a " inside a value: put the value into quotes, and double that one`}},
		{"a quote after the end", "device_id\n\"a\" b\nc\n", []string{"3 c"}, []string{`2: has a " inside a value: put the value into quotes, and double that one`}},
		{"a quote that does not end", "device_id,attr.x\na,\"1\nb,2\nc,3\n", []string{"3 b", "4 c"}, []string{`2: has a quoted value that does not end`}},
		{
			"two quotes that do not end", "device_id,attr.x\na,\"1\nb,2\nc,\"3\nd,4\n",
			[]string{"3 b", "5 d"},
			[]string{`2: has a " inside a value: put the value into quotes, and double that one`, `4: has a quoted value that does not end`},
		},
		{"a quote that ends too late", "device_id\n\"a\n" + rest, nil, []string{`2: has a quoted value that does not end`}},
		{"too many fields and too few", "device_id,tags\na,b,c\nd\ne,f\n", []string{"4 e"}, []string{"2: has 3 fields, and the header has 2", "3: has 1 fields, and the header has 2"}},
		{"a line that is too long", "device_id\n" + long + "\nb\n" + long + "x", []string{"3 b"}, []string{"2: is longer than 256 KiB", "4: is longer than 256 KiB"}},
		{"a long line within quotes", "device_id\n\"a\n" + long + "\nb\n", []string{"4 b"}, []string{"2: has a quoted value that does not end", "3: is longer than 256 KiB"}},
		{"another encoding", "device_id,attr.city\na,\xba\xbc\xd6\xdd\nb,杭州\n", []string{"3 b"}, []string{"2: attr.city: is not UTF-8"}},
		{"no id", "device_id,tags\n,x\n \t,\nb,\n", []string{"4 b"}, []string{"2: device_id: is empty", "3: device_id: is empty"}},
		{"an odd mark", "device_id,test\na,maybe\nb,TRUE\n", []string{"3 b"}, []string{"2: test: is true or false"}},
		{"a token that is no object", "device_id,token.webpush\na,x\nb,{\nc,\"{}\"\n", []string{"4 c"}, []string{`2: token.webpush: is an object: {"endpoint": …, "p256dh": …, "auth": …}`, "3: token.webpush: is not JSON"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ids, bad, err := readAll(t, strings.NewReader(tt.file))
			if err != nil {
				t.Fatal(err)
			}
			if tt.name == "a quote that ends too late" {
				if len(ids) != maxRecordLines+5 {
					t.Errorf("got %d ids, want all but the first", len(ids))
				}
				ids = nil
			}
			if !slices.Equal(ids, tt.ids) || !slices.Equal(bad, tt.bad) {
				t.Errorf("got  %q and %q\nwant %q and %q", ids, bad, tt.ids, tt.bad)
			}
		})
	}
}

func TestCSVHeaders(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"nothing", "", "is missing"},
		{"empty lines only", "\n\r\n\n", "is missing"},
		{"UTF-16", "\xff\xfed\x00", "UTF-16"},
		{"no id", "platform,device_id\n", `the first column is "platform"`},
		{"a column that is unknown", "device_id,tag\n", `there is no column "tag"`},
		{"a column twice", "device_id,tags,tags\n", `"tags" is there twice`},
		{"two names of one column", "device_id,alias,alias.\n", `"alias." is there twice`},
		{"a column without a name", "device_id,\n", "column 2 has no name"},
		{"an attribute without a name", "device_id,attr.\n", `no column "attr."`},
		{"an attribute that is not UTF-8", "device_id,attr.\xba\xbc\n", `no column "attr.\xba\xbc"`},
		{"a channel that is unknown", "device_id,token.gcm\n", `no column "token.gcm"`},
		{"semicolons", "device_id;tags\n", `the first column is "device_id;tags"`},
		{"a quote that does not end", "device_id,\"tags\n", "does not end"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := readAll(t, strings.NewReader(tt.file))
			var e *lineError
			if !errors.As(err, &e) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestCSVStopsWhereReadingFails(t *testing.T) {
	broken := errors.New("the disk is gone")
	for _, start := range []string{"", "dev", "device_id\na\n", "device_id\na\n\"b", "device_id,tags\na"} {
		ids, _, err := readAll(t, io.MultiReader(strings.NewReader(start), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) {
			t.Errorf("after %q: got %q and %v, want that error", start, ids, err)
		}
	}
}

// Whatever a file is, reading ends, lines grow, and no line that is good by itself is lost to one that is not.
func FuzzCSV(f *testing.F) {
	for _, seed := range []string{"a,b\n", "\"a\",\"b\n", "a\"b,c\n\"", "\"a\n\n,\"\"\"\r\n", "\x00,\xff\n", strings.Repeat("\"\n", 200)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if body != "" && !strings.HasSuffix(body, "\n") {
			body += "\n"
		}
		r, err := newCSVReader(strings.NewReader("device_id,attr.x\n" + body + "the-last,1\n"))
		if err != nil {
			t.Fatal(err)
		}
		at, found := 1, false
		for {
			d, line, err := r.next()
			var bad *lineError
			switch {
			case err == io.EOF:
				if !found {
					t.Fatalf("the last line is lost after %q", body)
				}
				return
			case errors.As(err, &bad):
				line, d = bad.Line, carillon.Import{}
			case err != nil:
				t.Fatal(err)
			}
			if line <= at {
				t.Fatalf("line %d comes after %d", line, at)
			}
			at, found = line, found || strings.HasPrefix(d.PreviousID, "the-last")
		}
	})
}

// An importNode takes imports in memory.
type importNode struct {
	mu      sync.Mutex // guards all below
	devices map[string]carillon.Import
	sizes   []int
	under   int
	most    int           // calls that were under way together
	full    chan struct{} // closed when there were two
	refuse  string        // ids that are refused
}

func (n *importNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body struct{ Devices []carillon.Import }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.URL.Path != "/v1/apps/a b/devices/import" {
		http.Error(w, "what?", http.StatusTeapot)
		return
	}
	n.mu.Lock()
	if n.under++; n.under == 2 && n.most < 2 {
		close(n.full)
	}
	n.most = max(n.most, n.under)
	n.mu.Unlock()
	select {
	case <-n.full: // the first call waits for the second: they overlap
	case <-r.Context().Done():
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.under--
	n.sizes = append(n.sizes, len(body.Devices))
	results := make([]map[string]any, len(body.Devices))
	for i, d := range body.Devices {
		if n.refuse != "" && strings.HasPrefix(d.PreviousID, n.refuse) {
			results[i] = map[string]any{"error": map[string]string{"code": "invalid", "field": "tags[0]", "detail": "no"}}
			continue
		}
		_, known := n.devices[d.PreviousID]
		n.devices[d.PreviousID] = d
		results[i] = map[string]any{"device_id": "x", "added": !known}
	}
	json.NewEncoder(w).Encode(map[string]any{"results": results}) //nolint:errcheck // the binary may have gone
}

func startImportNode(t *testing.T) (*importNode, string) {
	n := &importNode{devices: map[string]carillon.Import{}, full: make(chan struct{})}
	srv := httptest.NewServer(n)
	t.Cleanup(srv.Close)
	return n, srv.URL
}

// baseFile writes a file of n devices and returns its name.
func baseFile(t *testing.T, n int) string {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("device_id,tags\n")
	for i := range n {
		fmt.Fprintf(&b, "old-%06d,all;t%d\n", i, i%7)
	}
	path := filepath.Join(t.TempDir(), "base.csv")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// runHere runs the command line in this process.
func runHere(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(ctx, args, &streams{In: strings.NewReader(""), Out: &out, Err: &errs, Lookup: func(string) (string, bool) { return "", false }})
	return code, out.String(), errs.String()
}

func TestImportGoesInBatchesAndCanBeRepeated(t *testing.T) {
	n, url := startImportNode(t)
	path := baseFile(t, 4321)
	for _, want := range []string{"4321 lines: 4321 imported (4321 new), 0 refused\n", "4321 lines: 4321 imported (0 new), 0 refused\n"} {
		code, stdout, stderr := runHere(t.Context(), "device", "import", path, "--app", "a b", "--server", url, "--token", "t")
		if code != exitDone || stdout != want || stderr != "" {
			t.Fatalf("got %d, %q, %q; want %q and no word", code, stdout, stderr, want)
		}
	}
	slices.Sort(n.sizes)
	if want := []int{321, 321, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000}; !slices.Equal(n.sizes, want) {
		t.Errorf("got calls of %v, want %v", n.sizes, want)
	}
	if n.most != 2 {
		t.Errorf("%d calls were under way together, want 2", n.most)
	}
	want := carillon.Import{PreviousID: "old-000123", Tags: []string{"all", "t4"}}
	if diff := cmp.Diff(want, n.devices["old-000123"]); len(n.devices) != 4321 || diff != "" {
		t.Errorf("%d devices; want, got:\n%s", len(n.devices), diff)
	}
}

func TestImportShowsTheFirstFaultsInOrderAndCountsTheRest(t *testing.T) {
	n, url := startImportNode(t)
	n.refuse = "old-00199" // ten of one batch; those of the next are old-00200
	path := baseFile(t, 3000)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(strings.Repeat("old-x\n", 30)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	all := filepath.Join(t.TempDir(), "bad.txt")
	code, stdout, stderr := runHere(t.Context(), "device", "import", path, "--app", "a b", "--server", url, "--token", "t", "--errors", all)
	if want := "3030 lines: 2990 imported (2990 new), 40 refused\n"; code != exitFailed || stdout != want {
		t.Errorf("got %d and %q, want %d and %q", code, stdout, exitFailed, want)
	}
	var want []string
	for i := 1992; i < 2002; i++ {
		want = append(want, fmt.Sprintf("%s:%d: tags[0]: no", path, i))
	}
	for i := 3002; i < 3032; i++ {
		want = append(want, fmt.Sprintf("%s:%d: has 1 fields, and the header has 2", path, i))
	}
	b, err := os.ReadFile(all)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")); diff != "" {
		t.Errorf("the file of errors; want, got:\n%s", diff)
	}
	shown := append(want[:shownErrors:shownErrors], "… and 20 more lines; all are in the file of --errors", "carillon: 40 of 3030 lines were refused", "")
	if diff := cmp.Diff(shown, strings.Split(stderr, "\n")); diff != "" {
		t.Errorf("standard error; want, got:\n%s", diff)
	}
}

func TestImportIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // it is about to go away
		cancel()
		<-r.Context().Done()
	}))
	defer srv.Close()
	path := baseFile(t, 5000)
	code, stdout, stderr := runHere(ctx, "device", "import", path, "--app", "a b", "--server", srv.URL, "--token", "t")
	if code != exitFailed || !strings.Contains(stderr, "carillon: interrupted; what was imported stays") || !strings.Contains(stdout, "0 imported") {
		t.Errorf("got %d, %q, %q", code, stdout, stderr)
	}
	// Nor does it pretend to be done if that was before the first call.
	code, _, stderr = runHere(ctx, "device", "import", path, "--app", "a b", "--server", srv.URL, "--token", "t")
	if code != exitFailed || !strings.Contains(stderr, "interrupted") {
		t.Errorf("at once: got %d, %q", code, stderr)
	}
}

// Two calls are under way. The second fails, and the first, whose lines come before, ends with it.
func TestImportStopsAtTheFirstLineThatIsNotKnown(t *testing.T) {
	first := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if bytes.Contains(b, []byte(`"old-000000"`)) {
			close(first)
			<-r.Context().Done()
			return
		}
		<-first
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `{"status":403,"code":"denied","detail":"no"}`) //nolint:errcheck // the binary may have gone
	}))
	defer srv.Close()
	code, _, stderr := runHere(t.Context(), "device", "import", baseFile(t, 2000), "--app", "a b", "--server", srv.URL, "--token", "t")
	if want := "carillon: denied: no\nStopped at line 2. "; code != exitFailed || !strings.HasPrefix(stderr, want) {
		t.Errorf("got %d, %q; want %q", code, stderr, want)
	}
}

func TestMeter(t *testing.T) {
	begin := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		m    meter
		took time.Duration
		want string
	}{
		{"at the begin", meter{size: 100}, 0, "[........................]   0 %, 0 lines, 0/s"},
		{"a quarter", meter{lines: 5000, read: 25, size: 100}, 30 * time.Second, "[######..................]  25 %, 5000 lines, 167/s, 1:30 left"},
		{"the end", meter{lines: 20000, read: 100, size: 100}, 2 * time.Minute, "[########################] 100 %, 20000 lines, 167/s, 0:00 left"},
		{"a file that grew", meter{lines: 1, read: 300, size: 100}, time.Second, "[########################] 100 %, 1 lines, 1/s, 0:00 left"},
		{"nobody knows the size", meter{lines: 9, read: 300}, 3 * time.Second, "importing: 9 lines, 3/s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.m.started = begin
			if got := tt.m.line(begin.Add(tt.took)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// On a terminal a fault clears the line of the meter first, and nothing of it is left at the end.
func TestLineReportOnATerminal(t *testing.T) { synctest.Test(t, lineReportOnATerminal) }

func lineReportOnATerminal(t *testing.T) {
	var b bytes.Buffer
	r := &lineReport{name: "f", err: &b, show: newProgress(&b)}
	stop := r.start()
	time.Sleep(meterInterval) // ok: it is the bubble's time
	synctest.Wait()
	r.add(&batch{number: 1, bad: []*lineError{{5, "", "late"}}}, summary{}, nil)
	r.add(&batch{number: 0, at: []int{2, 3}, devices: make([]carillon.Import, 2)}, summary{Imported: 1}, []*lineError{{3, "tags", "no"}})
	stop()
	clear := "\r" + strings.Repeat(" ", len("importing: 0 lines, 0/s")) + "\r"
	if got, want := b.String(), "\rimporting: 0 lines, 0/s"+clear+"f:3: tags: no\nf:5: late\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := r.total(), (summary{Lines: 3, Imported: 1, Refused: 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
