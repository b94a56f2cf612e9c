package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// A result is all that was measured.
type result struct {
	Devices    int    `json:"devices"`
	Pushes     int    `json:"pushes"`
	Together   int    `json:"together"`
	Seed       uint64 `json:"seed"`
	Go         string `json:"go"`
	Processors int    `json:"processors"`

	Memory memory  `json:"memory"`
	Begin  []begun `json:"begin"`
	Tidy   float64 `json:"tidy_ms"`
	Asked  []asked `json:"asked"`

	SettlesPerSecond    float64 `json:"settles_per_second"`
	SettlesPerSecondOf2 float64 `json:"settles_per_second_2_goroutines"`
	Walk100000          float64 `json:"broadcast_asks_100000_ms"`
	WalkOwed            int     `json:"broadcast_owed"`

	Refused refusal `json:"refused"`
}

// A memory is how many bytes the sets take.
type memory struct {
	Used int64 `json:"used_bytes"`            // as counted against the budget
	Heap int64 `json:"heap_bytes"`            // as the runtime says
	Each int64 `json:"one_by_one_heap_bytes"` // of each push held by itself
}

// A refusal is what became of pushes to every second device that came on top.
type refusal struct {
	More  int    `json:"pushes"` // that fitted
	Bytes int64  `json:"used_bytes"`
	Msg   string `json:"message"`
}

// A begun is how long pushes of one kind take to begin.
type begun struct {
	Kind string  `json:"kind"`
	Took latency `json:"took"`
}

// An asked is how long devices take to be told what they are owed.
type asked struct {
	Name         string  `json:"name"`
	Owed         int     `json:"owed"`     // by the first of them, at most what is asked for
	Together     latency `json:"together"` // a device
	Wait         latency `json:"wait"`     // of each, from when all come until it has its answer
	Alone        latency `json:"alone"`
	EachTogether latency `json:"one_by_one_together"`
	EachAlone    latency `json:"one_by_one_alone"`

	Processor     float64 `json:"together_cpu_us"` // a device
	EachProcessor float64 `json:"one_by_one_together_cpu_us"`
}

// A latency is in milliseconds.
type latency struct {
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Times int     `json:"times"`
}

func latencyOf(all []time.Duration) latency {
	slices.Sort(all)
	return latency{ms(all[len(all)/2]), ms(all[(len(all)-1)*99/100]), len(all)}
}

func ms(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

func (r *result) write(w io.Writer) {
	fmt.Fprintf(w, "%d live pushes to %d devices, %d processors, %s\n\n", r.Pushes, r.Devices, r.Processors, r.Go)
	fmt.Fprintf(w, "memory                  %.0f MiB counted, %.0f MiB of heap; one by one %.0f MiB\n",
		mib(r.Memory.Used), mib(r.Memory.Heap), mib(r.Memory.Each))
	fmt.Fprintf(w, "tidying after all       %.0f ms\n", r.Tidy)
	fmt.Fprintf(w, "receipts                %.0f/s, from two goroutines %.0f/s\n", r.SettlesPerSecond, r.SettlesPerSecondOf2)
	fmt.Fprintf(w, "a broadcast asks        about 100,000 devices in %.1f ms\n", r.Walk100000)
	fmt.Fprintf(w, "refused                 after %d more at %.0f MiB: %s\n\n", r.Refused.More, mib(r.Refused.Bytes), r.Refused.Msg)
	fmt.Fprintf(w, "%-28s %20s\n", "to begin a push to", "p50, p99 ms")
	for _, b := range r.Begin {
		fmt.Fprintf(w, "%-28s %10.3f %9.3f\n", b.Kind, b.Took.P50, b.Took.P99)
	}
	fmt.Fprintf(w, "\nwhat a device takes, p50 in µs, alone and of %d that come together, and of that the processors' time; p99 of how long one of\nthem waits, ms; and the same asked one by one\n\n", r.Together)
	fmt.Fprintf(w, "%-26s %4s %9s %9s %8s %8s | %9s %9s %8s\n", "devices that are", "owed", "alone", "together", "CPU", "waits", "alone", "together", "CPU")
	for _, a := range r.Asked {
		fmt.Fprintf(w, "%-26s %4d %9.3f %9.1f %8.1f %8.1f | %9.1f %9.1f %8.1f\n", a.Name, a.Owed,
			1000*a.Alone.P50, 1000*a.Together.P50, a.Processor, a.Wait.P99, 1000*a.EachAlone.P50, 1000*a.EachTogether.P50, a.EachProcessor)
	}
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }
