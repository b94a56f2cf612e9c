package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/sdk/device"
)

func TestParseProc(t *testing.T) {
	const status = "Name:\tcarillon\nVmPeak:\t  999 kB\nVmRSS:\t   20480 kB\nThreads:\t9\n"
	if got, ok := parseRSS(status); !ok || got != 20<<20 {
		t.Errorf("got %d, %v, want 20 MiB", got, ok)
	}
	for _, s := range []string{"", "VmRSS:\t kB\n", "VmSize:\t1 kB\n"} {
		if got, ok := parseRSS(s); ok {
			t.Errorf("%q: got %d", s, got)
		}
	}
	const stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 1 2 3"
	if got, ok := parseCPU(stat); !ok || got != 3 {
		t.Errorf("got %v, %v, want 3 s", got, ok)
	}
	for _, s := range []string{"", "42 (x) S 1", "42 (x) S 1 2 3 4 5 6 7 8 9 10 x y 0"} {
		if got, ok := parseCPU(s); ok {
			t.Errorf("%q: got %v", s, got)
		}
	}
	own, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	if rss, ok := parseRSS(string(own)); !ok || rss < 1<<20 {
		t.Errorf("this process has %d bytes", rss)
	}
}

func TestBenchMessageHasItsSizeAndTime(t *testing.T) {
	now := time.Unix(0, 1764000000123456789)
	for _, size := range []int{64, 256, 4096, 60_000} {
		b, err := json.Marshal(benchMessage(size, now))
		if err != nil {
			t.Fatal(err)
		}
		if len(b) < size-16 || len(b) > size+16 {
			t.Errorf("got %d bytes, want about %d", len(b), size)
		}
		if !bytes.Contains(b, []byte(sentMark+"1764000000123456789")) {
			t.Errorf("got %.60s without its time", b)
		}
	}
}

func TestBenchAudienceWaitsForTheReport(t *testing.T) {
	const busy, late = `{"state":"sending","target":9,"sent":3,"delivered":3}`, `{"state":"done","target":9,"sent":3,"delivered":2}`
	for _, tt := range []struct {
		name    string
		reports []string // the last one stays
		asked   int
		want    string // of the error; "" is none
	}{
		{"all at once", []string{`{"state":"done","target":9,"sent":3,"delivered":3}`}, 1, ""},
		{"sending, then late receipts", []string{busy, busy, late, `{"state":"done","target":9,"sent":3,"delivered":3}`}, 4, ""},
		{"one copy more is sent", []string{busy, `{"state":"sending","target":9,"sent":4,"delivered":3}`}, 2, "sent 4"},
		{"one copy more has arrived", []string{`{"state":"sending","target":9,"sent":3,"delivered":4}`}, 1, "delivered 4"},
		{"another target", []string{busy, `{"state":"done","target":10,"sent":3,"delivered":3}`}, 2, "target 10"},
		{"never", []string{late}, 0, "deadline exceeded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := 0
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Write([]byte(tt.reports[min(asked, len(tt.reports)-1)])) //nolint:errcheck // the client may have gone
				asked++
			}))
			defer srv.Close()
			b := &bench{node: &node{api: benchClient(srv.URL, "t")}, flags: &benchFlags{Duration: time.Minute}}
			if tt.asked == 0 {
				b.flags.Duration = 100 * time.Millisecond
			}
			err := b.settle(t.Context(), "1", 9, 3)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if tt.asked != 0 && asked != tt.asked {
				t.Errorf("asked %d times, want %d", asked, tt.asked)
			}
		})
	}
}

func TestFreePortsDiffer(t *testing.T) {
	got, err := freePorts(3)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0] == got[1] || got[1] == got[2] || got[0] == got[2] {
		t.Errorf("got %v", got)
	}
}

func TestChildDoesNotSeeOurSettings(t *testing.T) {
	got := cleanEnv([]string{"PATH=/bin", "CARILLON_HTTP=:1", "CARILLONX=1"})
	if d := cmp.Diff(got, []string{"PATH=/bin", "CARILLONX=1"}); d != "" {
		t.Errorf("got (-) want (+):\n%s", d)
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var kept tail
	for range 100 {
		kept.Write(bytes.Repeat([]byte("x"), 100)) //nolint:errcheck // never fails
	}
	kept.Write([]byte("the end")) //nolint:errcheck // never fails
	if s := kept.String(); len(s) > 4096 || !strings.HasSuffix(s, "the end") {
		t.Errorf("got %d bytes that end in %q", len(s), s[len(s)-10:])
	}
}

func TestResult(t *testing.T) {
	var h device.Histogram
	if percentiles(&h) != nil {
		t.Error("nothing recorded has a spread")
	}
	h.Record(10 * time.Millisecond)
	r := benchResult{
		Scenario: "direct", Devices: 3, QoS: 1, Messages: 6, Size: 256, Senders: 2, Via: "rest", Batch: 1,
		Accept: rateOf(6, 2*time.Second), AcceptLatency: percentiles(&h), Expected: 6, Missing: 1,
		RSSBefore: 1 << 20, RSSAfter: 3 << 20, RSSPerConnection: 699050, CPUSeconds: 0.5, CPUSecondsPerMillion: 100000,
	}
	var b bytes.Buffer
	if err := r.print(&b, false); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{"accepted 3/s 6 in 2.00 s", "request latency p50 10.0 ms", "missing 1", "server memory 3.0 MiB", "699050 bytes a connection", "100000.0 s a million"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, &b)
		}
	}
	b.Reset()
	if err := r.print(&b, true); err != nil {
		t.Fatal(err)
	}
	var back benchResult
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(back, r); d != "" {
		t.Errorf("got (-) want (+):\n%s", d)
	}
	if got := rateOf(5, 0).PerSecond; got != 0 {
		t.Errorf("a rate over no time is %v, want 0", got)
	}
}

func TestProgress(t *testing.T) {
	var b bytes.Buffer
	p := newProgress(&b)
	p.phase("a long phase")
	stop := p.watch("sending", func() (int64, int64) { return 3, 7 })
	stop()
	p.done()
	if got := b.String(); !strings.Contains(got, "sending: 3 of 7") || !strings.HasSuffix(got, "\r") {
		t.Errorf("got %q", got)
	}
	quiet := newProgress(nil)
	quiet.phase("x")
	quiet.watch("x", nil)()
	quiet.done()
}

// Every scenario runs against a node of its own, small.
func TestBenchRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("starts whole nodes, which takes seconds")
	}
	for _, tt := range []struct {
		name string
		args []string
		want int64 // deliveries
	}{
		{"direct in batches", []string{"direct", "--devices", "20", "--messages", "400", "--batch", "50"}, 400},
		{"direct one by one, MQTT 5", []string{"direct", "--devices", "5", "--messages", "50", "--batch", "1", "--mqtt-version", "5"}, 50},
		{"direct via Umeng", []string{"direct", "--devices", "5", "--messages", "50", "--via", "umeng"}, 50},
		{"direct at QoS 0", []string{"direct", "--devices", "5", "--messages", "50", "--qos", "0"}, 50},
		{"broadcast", []string{"broadcast", "--devices", "50", "--messages", "4"}, 200},
		{"idle", []string{"idle", "--devices", "50", "--hold", "100ms"}, 0},
		{"offline", []string{"offline", "--devices", "10", "--messages", "200"}, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "result.json")
			cmd := command(t, nil, append(append([]string{"bench"}, tt.args...), "--json", "--save", file)...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, &stderr)
			}
			if saved, err := os.ReadFile(file); err != nil || !bytes.Equal(saved, out) {
				t.Errorf("saved %q, %v, want what was printed", saved, err)
			}
			var r benchResult
			if err := json.Unmarshal(out, &r); err != nil {
				t.Fatalf("%v in %s", err, out)
			}
			if r.Missing != 0 || r.Duplicates != 0 || r.Expected != tt.want {
				t.Errorf("got %d expected, %d missing, %d duplicates, want %d, 0, 0", r.Expected, r.Missing, r.Duplicates, tt.want)
			}
			if r.RSSAfter == 0 { // processor time is counted in steps of 10 ms, which a small run may not reach
				t.Errorf("the node was not measured: %s", out)
			}
			if tt.want > 0 && (r.Deliver == nil || r.Deliver.Count != tt.want || r.DeliverLatency == nil || r.DeliverLatency.Max <= 0) {
				t.Errorf("deliveries were not measured: %s", out)
			}
		})
	}
}
