package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
)

// A result is all that was measured.
type result struct {
	Devices    int    `json:"devices"`
	Seed       uint64 `json:"seed"`
	Go         string `json:"go"`
	Processors int    `json:"processors"`

	Build               float64 `json:"build_seconds"` // with making the devices up
	BytesPerDevice      float64 `json:"bytes_per_device"`
	RSSPerDevice        float64 `json:"rss_per_device"`
	ChangesPerSecond    float64 `json:"changes_per_second"`
	ChangesPerSecondOf2 float64 `json:"changes_per_second_2_goroutines"`
	SnapshotBytes       int64   `json:"snapshot_bytes"`
	SnapshotWrite       float64 `json:"snapshot_write_seconds"` // synced
	SnapshotRead        float64 `json:"snapshot_read_seconds"`

	Questions []asked   `json:"questions"`
	SQL       *compared `json:"sql,omitempty"`
}

// An asked is one question to the index.
type asked struct {
	Name    string          `json:"name"`
	Where   json.RawMessage `json:"where"`
	Devices int             `json:"devices"`
	Count   latency         `json:"count"`
	Select  latency         `json:"select"` // with building the set
}

// A latency is in milliseconds.
type latency struct {
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Times int     `json:"times"`
}

func latencyOf(all []time.Duration) latency {
	slices.Sort(all)
	ms := func(d time.Duration) float64 { return float64(d.Nanoseconds()/10) / 1e5 }
	return latency{ms(all[len(all)/2]), ms(all[(len(all)-1)*99/100]), len(all)}
}

func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }

// A compared is the same questions to the index and to databases.
type compared struct {
	Devices   int                `json:"devices"`
	Load      map[string]float64 `json:"load_seconds"` // by database: rows, indexes and statistics
	Questions []comparedQuestion `json:"questions"`
}

type comparedQuestion struct {
	Name     string  `json:"name"`
	SQL      string  `json:"sql"`
	Devices  int     `json:"devices"`
	Index    latency `json:"index"`
	SQLite   latency `json:"sqlite"`
	Postgres latency `json:"postgres"`
}

func (r *result) write(w io.Writer) {
	fmt.Fprintf(w, "%d devices, %d processors, %s\n\n", r.Devices, r.Processors, r.Go)
	fmt.Fprintf(w, "build from a stream     %.1f s (with making the devices up)\n", r.Build)
	fmt.Fprintf(w, "memory a device         %.1f bytes, resident %.1f\n", r.BytesPerDevice, r.RSSPerDevice)
	fmt.Fprintf(w, "changes of attributes   %.0f/s, from two goroutines %.0f/s\n", r.ChangesPerSecond, r.ChangesPerSecondOf2)
	fmt.Fprintf(w, "snapshot                %.0f MB, written in %.1f s, read in %.1f s\n\n", float64(r.SnapshotBytes)/1e6, r.SnapshotWrite, r.SnapshotRead)
	fmt.Fprintf(w, "%-42s %10s %20s %20s\n", "question", "devices", "count p50, p99 ms", "select p50, p99 ms")
	for _, q := range r.Questions {
		fmt.Fprintf(w, "%-42s %10d %10.3f %9.3f %10.2f %9.2f\n", q.Name, q.Devices, q.Count.P50, q.Count.P99, q.Select.P50, q.Select.P99)
	}
}

func (c *compared) write(w io.Writer) {
	fmt.Fprintf(w, "\nthe same as SQL, %d devices: counts, p50 in ms, and how many times the index's\n\n", c.Devices)
	fmt.Fprintf(w, "%-42s %10s %10s %20s %20s\n", "question", "devices", "index", "SQLite", "PostgreSQL")
	for _, q := range c.Questions {
		index := max(q.Index.P50, 0.0001) // a clock is not finer
		fmt.Fprintf(w, "%-42s %10d %10.3f %11.1f %8.0f %11.1f %8.0f\n",
			q.Name, q.Devices, q.Index.P50, q.SQLite.P50, q.SQLite.P50/index, q.Postgres.P50, q.Postgres.P50/index)
	}
	for name, s := range c.Load {
		fmt.Fprintf(w, "loading %s took %.0f s\n", name, s)
	}
}
