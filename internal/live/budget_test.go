package live_test

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/live"
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

func heap() int64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools let go of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestWhatIsCountedIsWhatTheHeapHolds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		pushes int
		kinds  []int // of drawn
		settle int   // receipts
	}{
		{"broadcasts", 300, []int{0}, 0},
		{"half of the devices", 40, []int{1}, 0},
		{"one of a hundred", 200, []int{2}, 0},
		{"a thousand each", 500, []int{3}, 0},
		{"all kinds, with receipts", 40, []int{0, 1, 2, 3}, 200_000},
		{"broadcasts with receipts", 10, []int{0}, 300_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 1))
			before := heap()
			s := live.New(nil)
			for i := range tt.pushes {
				must(t, s.Begin(live.Push{App: 1, ID: push.ID(i + 1), Target: drawn(r, tt.kinds[i%len(tt.kinds)]), Released: push.Everybody}))
			}
			for range tt.settle {
				s.Settle(1, push.ID(1+r.IntN(tt.pushes)), push.Ordinal(r.IntN(manyDevices)))
			}
			held, used := heap()-before, s.Used()
			t.Logf("%d bytes are counted, %d held", used, held)
			if ratio := float64(used) / float64(held); ratio < 0.8 || ratio > 1.25 {
				t.Errorf("%d bytes are counted, and the heap has %d more: %.2f of it", used, held, ratio)
			}
			for i := range tt.pushes {
				s.End(1, push.ID(i+1))
			}
			s.Tidy()
			if left := s.Used(); left < 0 || left > 8<<10 {
				t.Errorf("%d bytes are counted without a push, want a few for the chunks", left)
			}
		})
	}
}

func TestWhatDoesNotFitTheBudgetIsRefusedAndChangesNothing(t *testing.T) {
	const budget = 4 << 20
	s := live.New(&live.Options{Budget: budget})
	r := rand.New(rand.NewPCG(1, 1))
	n := push.ID(1)
	var err error
	for ; err == nil && n < 1000; n++ {
		err = s.Begin(live.Push{App: 1, ID: n, Target: drawn(r, 1), Released: push.Everybody})
		if err == nil && s.Used() > budget {
			t.Fatalf("%d bytes are used of %d", s.Used(), int64(budget))
		}
	}
	n-- // the one refused
	e, ok := errors.AsType[*push.Error](err)
	if !ok || e.Kind != push.TooMany || !strings.Contains(e.Msg, "of 4096.0 KiB") {
		t.Fatalf("got %v, want TooMany that says how much of how much is used", err)
	}
	used, held := s.Used(), s.Held()
	for range 3 {
		if err := s.Begin(live.Push{App: 1, ID: n, Target: drawn(r, 1), Settled: ordset.Of(5)}); !errors.Is(err, push.TooMany) {
			t.Fatalf("got %v, want TooMany", err)
		}
	}
	if s.Has(1, n) || s.Pending(1, n) != 0 || s.Held() != held {
		t.Error("something of a refused push is there")
	}
	if !s.Room() {
		t.Error("there is no room, although the budget is not reached")
	}
	if s.Used() != used {
		t.Errorf("%d bytes are used after refusals, want %d", s.Used(), used)
	}
	must(t, s.Begin(live.Push{App: 1, ID: n, Target: ordset.Of(1), Released: push.Everybody})) // a small one fits
	if got := s.Owed(1, 1, 1000, nil); !slices.Contains(got, n) {
		t.Errorf("owed %v, want also %d", got, n)
	}
}

func TestGrowingBeyondTheBudgetIsRefusedAndChangesNothing(t *testing.T) {
	s := live.New(&live.Options{Budget: 64 << 10})
	must(t, s.Begin(live.Push{App: 1, ID: 1, Target: ordset.Of(1, 70_000), Settled: ordset.Of(70_000), Released: push.Everybody}))
	used, held := s.Used(), s.Held()
	if err := s.Grow(1, 1, drawn(rand.New(rand.NewPCG(1, 1)), 1)); !errors.Is(err, push.TooMany) {
		t.Fatalf("got %v, want TooMany", err)
	}
	if target, _ := s.Target(1, 1); target.Len() != 2 || s.Pending(1, 1) != 1 || s.Used() != used || s.Held() != held {
		t.Errorf("%d targets, %d pending, %d bytes of %d after a refusal", target.Len(), s.Pending(1, 1), s.Used(), used)
	}
	for o := range push.Ordinal(70_000) { // receipts are never refused
		s.Settle(1, 1, 3*o)
	}
	if s.Room() == (s.Used() >= 64<<10) {
		t.Errorf("room: %v with %d bytes used", s.Room(), s.Used())
	}
}

func TestEqualTargetsAreHeldOnce(t *testing.T) {
	s := live.New(nil)
	r := rand.New(rand.NewPCG(1, 1))
	random := drawn(r, 1)
	must(t, s.Begin(live.Push{App: 1, ID: 1, Target: random.Clone()}))
	first := s.Used()
	for i := range push.ID(100) {
		must(t, s.Begin(live.Push{App: 1 + push.AppID(i%2), ID: 2 + i, Target: random.Clone()}))
	}
	if more := s.Used() - first; more > first*2 {
		t.Errorf("a hundred pushes to the same devices take %d bytes more, the first took %d", more, first)
	}
	if s.Held() != 16 {
		t.Errorf("%d parts are held, want those of 16 chunks", s.Held())
	}
	s.End(1, 1) // the others keep what they share
	if got := s.Pending(2, 3); got != random.Len() || !s.Targets(2, 3, s.Next(2, 3, 0, 1)[0]) {
		t.Errorf("%d are pending of what shared its target, want %d", got, random.Len())
	}
}
