package identity_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/identity"
	"github.com/carillonpush/carillon/internal/push"
)

// The wall clock stands still, leaps and goes back, also before the ids' own beginning.
func TestClockNeverRunsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wall := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
		newest := push.ID(rapid.Int64Range(0, 1<<62).Draw(t, "newest"))
		node := rapid.Uint16().Draw(t, "node")
		c := identity.NewClock(node, newest, func() time.Time { return wall })
		last := newest
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			wall = wall.Add(time.Duration(rapid.Int64Range(-int64(40*365*24*time.Hour), int64(time.Hour)).Draw(t, "leap")))
			if rapid.Bool().Draw(t, "forward") {
				wall = wall.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "ms")) * time.Millisecond)
			}
			for range rapid.IntRange(1, 5000).Draw(t, "ids") {
				id := c.Next()
				if id <= last {
					t.Fatalf("id %d after %d", id, last)
				}
				if got := uint16(id >> 12 & 1023); got != node&1023 {
					t.Fatalf("id of node %d, want %d", got, node&1023)
				}
				last = id
			}
		}
	})
}

func TestClockSaysWhen(t *testing.T) {
	wall := time.Date(2026, 11, 25, 12, 0, 0, int(7*time.Millisecond), time.UTC)
	c := identity.NewClock(1, 0, func() time.Time { return wall })
	id := c.Next()
	if got := id.Time(); !got.Equal(wall) {
		t.Errorf("Time = %v, want %v", got, wall)
	}
	if want := push.ID(wall.Sub(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).Milliseconds()<<22 | 1<<12); id != want {
		t.Errorf("Next = %d, want %d", id, want)
	}
}

func TestClockIsSharedSafely(t *testing.T) {
	c := identity.NewClock(0, 0, nil)
	var wg sync.WaitGroup
	ids := make([][]push.ID, 8)
	for i := range ids {
		wg.Go(func() {
			for range 10_000 {
				ids[i] = append(ids[i], c.Next())
			}
		})
	}
	wg.Wait()
	all := slices.Concat(ids...)
	slices.Sort(all)
	if n := len(slices.Compact(all)); n != 80_000 {
		t.Errorf("%d distinct ids of 80000", n)
	}
	for i := range ids {
		if !slices.IsSorted(ids[i]) {
			t.Errorf("goroutine %d saw ids run back", i)
		}
	}
}
