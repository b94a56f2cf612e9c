package registry_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/registry"
)

func addr(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}

func TestLimiterMemoryIsBounded(t *testing.T) {
	var l registry.Limiter
	now := time.Unix(0, 0)
	busy := addr(0)
	for l.Take(busy, 10, now) == 0 {
	}
	for n := range uint32(4 * registry.MaxBuckets) {
		l.Take(addr(n+1), 10, now)
		if n%registry.MaxBuckets == 0 && l.Take(busy, 10, now) == 0 {
			t.Fatal("a busy address was forgotten among strangers")
		}
	}
	if got := l.Len(); got > 2*registry.MaxBuckets {
		t.Errorf("%d buckets, want at most %d", got, 2*registry.MaxBuckets)
	}
}

// However the tries are spread, also when the clock goes back, no more pass than a full bucket and what time has added;
// and who waits as long as told passes.
func TestLimiterRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l registry.Limiter
		rate := rapid.IntRange(1, 100).Draw(t, "rate")
		now, first, latest, passed := time.Unix(0, 0), time.Time{}, time.Time{}, 0
		for range rapid.IntRange(1, 300).Draw(t, "tries") {
			now = now.Add(time.Duration(rapid.IntRange(-100, 2000).Draw(t, "ms")) * time.Millisecond)
			if first.IsZero() {
				first, latest = now, now
			}
			if now.After(latest) {
				latest = now
			}
			wait := l.Take(addr(1), rate, now)
			if wait > 0 && !now.Before(latest) {
				now = now.Add(wait)
				latest = now
				if again := l.Take(addr(1), rate, now); again > time.Millisecond {
					t.Fatalf("told to wait %v, and then %v", wait, again)
				} else if again > 0 {
					continue
				}
				passed++
			} else if wait == 0 {
				passed++
			}
			if limit := float64(rate)*(1+latest.Sub(first).Minutes()) + 0.01; float64(passed) > limit {
				t.Fatalf("%d passed in %v at %d a minute", passed, latest.Sub(first), rate)
			}
		}
	})
}
