package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// A result is all that was measured.
type result struct {
	Devices    int    `json:"devices"` // that are away
	Paced      int    `json:"paced"`   // that are online
	Live       int    `json:"live"`
	Seed       uint64 `json:"seed"`
	Go         string `json:"go"`
	Processors int    `json:"processors"`

	Databases []*measured `json:"databases"`
}

// measured is what was measured on one database; what was not chosen is missing.
type measured struct {
	Database string    `json:"database"`
	Fill     float64   `json:"register_seconds"`
	Starts   []started `json:"starts,omitempty"`
	Pacing   []paced   `json:"pacing,omitempty"`
	Receipts []counted `json:"receipts,omitempty"`
	Webhook  *told     `json:"webhook,omitempty"`
	Many     *manied   `json:"many,omitempty"`
}

// A latency is in milliseconds.
type latency struct {
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
	Times int     `json:"times"`
}

func latencyOf(all []time.Duration) latency {
	slices.Sort(all)
	return latency{ms(all[len(all)/2]), ms(all[(len(all)-1)*99/100]), ms(all[len(all)-1]), len(all)}
}

func ms(d time.Duration) float64 { return round(float64(d.Nanoseconds())/1e6, 3) }

func seconds(d time.Duration) float64 { return round(d.Seconds(), 3) }

func round(v float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(v*p) / p
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

func kib(n int64) float64 { return float64(n) / (1 << 10) }

func (r *result) writeHead(w io.Writer) {
	fmt.Fprintf(w, "%d devices away, %d online, %d processors, %s\n", r.Devices, r.Paced, r.Processors, r.Go)
	fmt.Fprintln(w, "others: processors that were busy with others meanwhile, the database of PostgreSQL among them")
}

func (m *measured) writeStarts(w io.Writer) {
	fmt.Fprintf(w, "\n%s: broadcasts to devices that are away, ms from the request to done (20 times again); floors: the same commits alone, the same bytes to a file\n", m.Database)
	fmt.Fprintf(w, "%-22s %10s %8s %9s %8s %16s %9s %8s %8s %6s %7s\n",
		"audience", "devices", "first", "KiB", "WAL KiB", "again p50, max", "KiB", "store", "file", "ratio", "others")
	for _, s := range m.Starts {
		fmt.Fprintf(w, "%-22s %10d %8.1f %9.1f %8.1f %8.1f %7.1f %9.1f %8.1f %8.1f %6.2f %7.2f\n", s.Audience, s.Target,
			s.First, kib(s.FirstBytes), kib(s.FirstWAL), s.Again.P50, s.Again.Max, kib(s.AgainBytes), s.Store.P50, s.Files.P50, s.Again.P50/s.Store.P50, s.Others)
	}
}

func (m *measured) writePacing(w io.Writer) {
	fmt.Fprintf(w, "\n%s: paced pushes to devices that are online and acknowledge; 100 ms windows as multiples of the rate; (a bare ticker meanwhile)\n", m.Database)
	fmt.Fprintf(w, "%-12s %8s %9s %18s %18s %18s %10s %7s\n", "rate", "devices", "seconds", "off %", "busiest", "quietest", "CPU s/M", "others")
	for _, p := range m.Pacing {
		fmt.Fprintf(w, "%-12s %8d %9.2f %+9.2f (%+.2f) %10.3f (%.3f) %10.3f (%.3f) %10.1f %7.2f\n",
			fmt.Sprintf("%d × %d/s", p.Pushes, p.Rate), p.Devices, p.Took, p.Off, p.Floor.Off, p.BusiestTimes, p.Floor.BusiestTimes,
			p.QuietestOf, p.Floor.QuietestOf, p.CPU, p.Others)
	}
}

func (m *measured) writeReceipts(w io.Writer) {
	fmt.Fprintf(w, "\n%s: a broadcast that all acknowledge, two receipts each\n", m.Database)
	fmt.Fprintf(w, "%-36s %9s %9s %8s %12s %9s %9s %7s\n", "receipts are", "receipts", "commit s", "fold s", "receipts/s", "B/device", "CPU s/M", "others")
	for _, c := range m.Receipts {
		fmt.Fprintf(w, "%-36s %9d %9.2f %8.2f %12.0f %9.1f %9.2f %7.2f\n", c.What, c.Receipts, c.Commit, c.Fold, c.Rate, c.Bytes, c.CPU, c.Others)
	}
	if t := m.Webhook; t != nil {
		fmt.Fprintf(w, "webhook: %d events in %d calls of %.0f KiB, %.2f s: %.0f events/s; posted by a loop %.0f/s, ratio %.2f; %.1f CPU s a million; others %.2f\n",
			t.Events, t.Calls, kib(int64(t.Bytes)), t.Seconds, t.Rate, t.Floor, t.Rate/t.Floor, t.CPU, t.Others)
	}
}

func (m *measured) writeMany(w io.Writer) {
	a := m.Many
	fmt.Fprintf(w, "\n%s: %d live pushes: accepted and begun in %.1f s (%.0f/s), %.0f MiB of heap, %.0f KiB each in the record; a start over them %.1f s; others %.2f\n",
		m.Database, a.Live, a.Build, a.Rate, mib(a.Heap), a.PerPush/1024, a.Load, a.Others)
	fmt.Fprintf(w, "%-24s %20s %20s\n", "ms", "accept p50, p99", "done p50, p99")
	for _, l := range []struct {
		name         string
		accept, done latency
	}{
		{"meanwhile, 4 senders", a.Accept, a.Begun}, {"alone, none live", a.None.Accept, a.None.Done}, {"alone, all live", a.Many.Accept, a.Many.Done},
	} {
		fmt.Fprintf(w, "%-24s %10.2f %9.2f %10.2f %9.2f\n", l.name, l.accept.P50, l.accept.P99, l.done.P50, l.done.P99)
	}
	r := a.Refused
	fmt.Fprintf(w, "under a budget of %.1f MiB %d were accepted (%d of them wait for room, %.1f MiB of heap), then in %.3f ms: %s, %q, retry after %.0f s; after 10 cancels %d more\n",
		mib(r.Budget), r.Accepted, r.Waiting, mib(r.Heap), r.Took.P50, r.Kind, r.Msg, r.Retry, r.Room)
}
