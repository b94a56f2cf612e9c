package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/carillonpush/carillon/sdk/device"
)

// A rate is a number of things in a time.
type rate struct {
	Count     int64   `json:"count"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"per_second"`
}

func rateOf(n int64, took time.Duration) *rate {
	r := &rate{Count: n, Seconds: took.Seconds()}
	if took > 0 {
		r.PerSecond = float64(n) / took.Seconds()
	}
	return r
}

// A spread is how durations are spread, in milliseconds.
type spread struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// percentiles returns the spread of h, nil if it is empty.
func percentiles(h *device.Histogram) *spread {
	if h.Count() == 0 {
		return nil
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return &spread{P50: ms(h.Percentile(50)), P90: ms(h.Percentile(90)), P99: ms(h.Percentile(99)), Max: ms(h.Max())}
}

// rss returns the bytes of memory that the node has resident; ok is false if its process is not known.
func (n *node) rss() (int64, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.pid))
	if n.pid == 0 || err != nil {
		return 0, false
	}
	return parseRSS(string(b))
}

// cpu returns the seconds of processor time that the node has used.
func (n *node) cpu() (float64, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.pid))
	if n.pid == 0 || err != nil {
		return 0, false
	}
	return parseCPU(string(b))
}

// parseRSS finds VmRSS in a /proc/PID/status.
func parseRSS(status string) (int64, bool) {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kb << 10, err == nil
		}
	}
	return 0, false
}

// parseCPU adds utime and stime of a /proc/PID/stat, the 14th and 15th field, in hundredths of a second. The second field
// is the program's name in brackets, which may hold anything.
func parseCPU(stat string) (float64, bool) {
	end := strings.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, false
	}
	fields := strings.Fields(stat[end+1:])
	if len(fields) < 13 {
		return 0, false
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return float64(user+system) / 100, err1 == nil && err2 == nil
}

// save writes r to a file as JSON.
func (r *benchResult) save(path string) error {
	var b bytes.Buffer
	if err := r.print(&b, true); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// print writes r as text or JSON.
func (r *benchResult) print(w io.Writer, asJSON bool) error {
	if asJSON {
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		return printJSON(w, b)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "scenario\t%s\n", r.Scenario)
	fmt.Fprintf(t, "devices\t%d\tQoS %d\n", r.Devices, r.QoS)
	if r.Messages > 0 {
		fmt.Fprintf(t, "messages\t%d\tof %d bytes\n", r.Messages, r.Size)
	}
	if r.Senders > 0 {
		fmt.Fprintf(t, "senders\t%d\tvia %s, %d a request\n", r.Senders, r.Via, r.Batch)
	}
	for _, a := range r.Asked {
		fmt.Fprintf(t, "counted\t%d\tp50 %.1f ms, p99 %.1f ms: %s\n", a.Target, a.Latency.P50, a.Latency.P99, a.Name)
	}
	for _, row := range []struct {
		name string
		rate *rate
	}{{"imported", r.Import}, {"connected", r.Connect}, {"accepted", r.Accept}, {"delivered", r.Deliver}} {
		if row.rate != nil {
			fmt.Fprintf(t, "%s\t%.0f/s\t%d in %.2f s\n", row.name, row.rate.PerSecond, row.rate.Count, row.rate.Seconds)
		}
	}
	for _, row := range []struct {
		name   string
		spread *spread
	}{{"request", r.AcceptLatency}, {"delivery", r.DeliverLatency}} {
		if s := row.spread; s != nil {
			fmt.Fprintf(t, "%s latency\tp50 %.1f ms\tp90 %.1f ms, p99 %.1f ms, max %.1f ms\n", row.name, s.P50, s.P90, s.P99, s.Max)
		}
	}
	if r.Asked != nil {
		fmt.Fprintf(t, "matching\t%d\tof the connected devices; no other got the push\n", r.Matching)
	}
	if r.Expected > 0 {
		fmt.Fprintf(t, "missing\t%d\tduplicates %d\n", r.Missing, r.Duplicates)
	}
	if r.RSSAfter > 0 {
		fmt.Fprintf(t, "server memory\t%.1f MiB\tat first %.1f MiB", mib(r.RSSAfter), mib(r.RSSBefore))
		if r.RSSPerConnection > 0 {
			fmt.Fprintf(t, ", %d bytes a connection", r.RSSPerConnection)
		}
		fmt.Fprintln(t)
		fmt.Fprintf(t, "server CPU\t%.2f s", r.CPUSeconds)
		if r.CPUSecondsPerMillion > 0 {
			fmt.Fprintf(t, "\t%.1f s a million deliveries", r.CPUSecondsPerMillion)
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// A progress shows how far a phase is, on one line of a terminal. A nil writer shows nothing.
type progress struct {
	w     io.Writer
	width int
}

func newProgress(w io.Writer) *progress { return &progress{w: w} }

// phase shows a line until the next one.
func (p *progress) phase(text string) {
	if p.w == nil {
		return
	}
	fmt.Fprintf(p.w, "\r%-*s", p.width, text)
	p.width = len(text)
}

// watch shows how far a phase is, several times a second, until the function that it returns is called.
func (p *progress) watch(name string, count func() (n, all int64)) (stop func()) {
	if p.w == nil {
		return func() {}
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			n, all := count()
			p.phase(fmt.Sprintf("%s: %d of %d", name, n, all))
			select {
			case <-tick.C:
			case <-end:
				return
			}
		}
	}()
	return func() { close(end); <-ended }
}

// done clears the line.
func (p *progress) done() {
	if p.w != nil && p.width > 0 {
		fmt.Fprintf(p.w, "\r%-*s\r", p.width, "")
		p.width = 0
	}
}
