package device

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// A Histogram counts durations in buckets that are at most 3 % wide, from 1 µs to over an hour. The zero Histogram is
// empty and ready. It is safe for concurrent use, and must not be copied.
type Histogram struct {
	counts [histBuckets]atomic.Int64
	n, sum atomic.Int64 // sum in µs
	most   atomic.Int64 // in µs
}

const (
	histSub     = 32 // buckets a power of two
	histPowers  = 28
	histBuckets = histSub * histPowers
)

// Record counts d. Negative durations, which clocks that disagree give, count as 0.
func (h *Histogram) Record(d time.Duration) {
	us := max(0, int64(d/time.Microsecond))
	h.counts[bucket(us)].Add(1)
	h.n.Add(1)
	h.sum.Add(us)
	for {
		most := h.most.Load()
		if us <= most || h.most.CompareAndSwap(most, us) {
			return
		}
	}
}

// Count returns how many durations were recorded.
func (h *Histogram) Count() int64 { return h.n.Load() }

// Max returns the greatest duration, 0 if there is none.
func (h *Histogram) Max() time.Duration { return time.Duration(h.most.Load()) * time.Microsecond }

// Mean returns the mean, 0 if there is none.
func (h *Histogram) Mean() time.Duration {
	n := h.n.Load()
	if n == 0 {
		return 0
	}
	return time.Duration(h.sum.Load()/n) * time.Microsecond
}

// Percentile returns a duration that p percent of the recorded ones do not exceed, to within a bucket; 0 if there are
// none.
func (h *Histogram) Percentile(p float64) time.Duration {
	n := h.n.Load()
	if n == 0 {
		return 0
	}
	rank := max(1, int64(p/100*float64(n)+0.5))
	var seen int64
	for i := range h.counts {
		seen += h.counts[i].Load()
		if seen >= rank {
			return min(time.Duration(upper(i))*time.Microsecond, h.Max())
		}
	}
	return h.Max()
}

// bucket returns the bucket of a number of microseconds: below 2·histSub one each, above that histSub a power of two.
func bucket(us int64) int {
	if us < histSub {
		return int(us)
	}
	power := bits.Len64(uint64(us)) - 1 // at least 5
	i := (power-4)*histSub + int(us>>(power-5))&(histSub-1)
	return min(i, histBuckets-1)
}

// upper returns the greatest number of microseconds in bucket i.
func upper(i int) int64 {
	if i < histSub {
		return int64(i)
	}
	power := i/histSub + 4
	return (int64(histSub)+int64(i%histSub)+1)<<(power-5) - 1
}
