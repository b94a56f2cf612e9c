package live_test

import (
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/live"
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// span is how many ordinals are met in the concurrent test: two chunks and a bit.
const span = 140_000

// someOf draws few or many ordinals.
func someOf(r *rand.Rand) *ordset.Set {
	s := new(ordset.Set)
	if r.IntN(4) == 0 {
		for o, step := r.IntN(span), 1+r.IntN(3); o < span; o += step {
			s.Add(push.Ordinal(o))
		}
	}
	for range r.IntN(50) {
		s.Add(push.Ordinal(r.IntN(span)))
	}
	return s
}

// An owner changes pushes that nobody else changes, and keeps their model.
type owner struct {
	t     *testing.T
	r     *rand.Rand
	sets  *live.Sets
	first push.ID
	model model
}

func (w *owner) change() {
	n := name{1, w.first + 4*push.ID(w.r.IntN(30))}
	switch p := w.model[n]; w.r.IntN(8) {
	case 0, 1:
		p := live.Push{App: 1, ID: n.id, Target: someOf(w.r), Settled: someOf(w.r), Released: push.Everybody}
		w.model.begin(p)
		if err := w.sets.Begin(p); err != nil {
			w.t.Error(err)
		}
	case 2:
		more := someOf(w.r)
		if p != nil {
			p.Target.Union(more)
		}
		if err := w.sets.Grow(1, n.id, more); err != nil {
			w.t.Error(err)
		}
	case 3:
		if p != nil {
			p.Held = !p.Held
			w.sets.Hold(1, n.id, p.Held)
		}
	case 4:
		set := someOf(w.r)
		if got, want := w.sets.SettleAll(1, n.id, set), w.model.settle(n, set); got != want {
			w.t.Errorf("%d were new, want %d", got, want)
		}
	case 5:
		delete(w.model, n)
		w.sets.End(1, n.id)
	default:
		for range 100 {
			o := push.Ordinal(w.r.IntN(span))
			if got, want := w.sets.Settle(1, n.id, o), w.model.settle(n, ordset.Of(o)) == 1; got != want {
				w.t.Errorf("settling %d is new: %v, want %v", o, got, want)
			}
		}
	}
}

func TestEverythingMayGoOnAtOnce(t *testing.T) {
	s := live.New(nil)
	var owners, readers sync.WaitGroup
	var over atomic.Bool
	models := make([]model, 4)
	for i := range models {
		w := &owner{t, rand.New(rand.NewPCG(uint64(i), 1)), s, push.ID(i + 1), model{}}
		models[i] = w.model
		owners.Go(func() {
			for range 200 {
				w.change()
			}
		})
	}
	for i := range 4 {
		r := rand.New(rand.NewPCG(uint64(i), 2))
		readers.Go(func() {
			for !over.Load() {
				o, id := push.Ordinal(r.IntN(span)), push.ID(1+r.IntN(120))
				ids := s.Owed(1, o, 5, func(id push.ID) bool { return id%3 == 0 })
				if len(ids) > 5 || !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
					t.Errorf("owed %v, want at most 5 in order, each once", ids)
				}
				owes := s.Walker(1, id)
				for range 20 {
					owes(push.Ordinal(r.IntN(span)))
				}
				s.Owes(1, id, o)
				if all := s.Next(1, id, o, 10); !slices.IsSorted(all) || len(all) > 10 {
					t.Errorf("next are %v, want at most 10 in order", all)
				}
				if i == 0 {
					s.Tidy()
				}
			}
		})
	}
	owners.Wait()
	over.Store(true)
	readers.Wait()
	all := model{}
	for _, m := range models {
		maps.Copy(all, m)
	}
	s.Tidy()
	for n := range all {
		want := all.pending(n)
		if got := s.PendingSet(1, n.id); got.Len() != want.Len() || got.And(want) != want.Len() || s.Pending(1, n.id) != want.Len() {
			t.Errorf("of %d %d are pending, said to be %d; want %d", n.id, got.Len(), s.Pending(1, n.id), want.Len())
		}
	}
	r := rand.New(rand.NewPCG(9, 9))
	for range 500 {
		o := push.Ordinal(r.IntN(span))
		none := func(push.ID) bool { return false }
		if got, want := s.Owed(1, o, 1000, none), all.owed(1, o, 1000, none); !slices.Equal(got, want) {
			t.Fatalf("%d is owed %v, want %v", o, got, want)
		}
	}
}

// eventually waits until f holds.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !f(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

func TestWhoAsksAtTheSameTimeIsAnsweredTogether(t *testing.T) {
	s := live.New(nil)
	must(t, s.Begin(live.Push{App: 1, ID: 1, Target: ordset.Of(1, 2, 3, 4, 5, 6), Released: push.Everybody}))
	must(t, s.Begin(live.Push{App: 1, ID: 2, Target: ordset.Of(2, 4, 6), Released: push.Everybody}))
	inFirst, inSecond, goOn := make(chan bool), make(chan bool), make(chan bool)
	answers := make([][]push.ID, 7)
	var group sync.WaitGroup
	ask := func(o push.Ordinal, skip func(push.ID) bool) {
		group.Go(func() { answers[o] = s.Owed(1, o, 9, skip) })
	}
	ask(1, func(push.ID) bool { inFirst <- true; <-goOn; return false })
	<-inFirst // a walk is under way
	ask(2, func(id push.ID) bool {
		if id == 1 {
			inSecond <- true
			<-goOn
		}
		return false
	})
	eventually(t, "one waits", func() bool { return s.Waiting(1, 1) == 1 })
	for o := push.Ordinal(3); o <= 6; o++ {
		ask(o, func(id push.ID) bool { return o == 6 && id == 1 })
	}
	eventually(t, "five wait", func() bool { return s.Waiting(1, 1) == 5 })
	goOn <- true
	<-inSecond // the first of those who wait answers, and all with it
	if n := s.Waiting(1, 1); n != 0 {
		t.Errorf("%d wait for a walk of their own", n)
	}
	goOn <- true
	group.Wait()
	for o, want := range [][]push.ID{nil, {1}, {1, 2}, {1}, {1, 2}, {1}, {2}} {
		if !slices.Equal(answers[o], want) {
			t.Errorf("%d is owed %v, want %v", o, answers[o], want)
		}
	}
}

func TestNobodyWaitsForEverWhenASkipPanics(t *testing.T) {
	s := live.New(nil)
	must(t, s.Begin(live.Push{App: 1, ID: 1, Target: ordset.Of(1, 2), Released: push.Everybody}))
	in, goOn, panicked := make(chan bool), make(chan bool), make(chan any)
	go func() {
		defer func() { panicked <- recover() }()
		s.Owed(1, 1, 9, func(push.ID) bool { in <- true; <-goOn; panic("skip") })
	}()
	<-in
	answer := make(chan []push.ID)
	go func() { answer <- s.Owed(1, 2, 9, nil) }()
	eventually(t, "one waits", func() bool { return s.Waiting(1, 1) == 1 })
	goOn <- true
	if got := <-panicked; got != "skip" {
		t.Errorf("recovered %v, want what skip panicked with", got)
	}
	if got := <-answer; !slices.Equal(got, []push.ID{1}) {
		t.Errorf("who waited is owed %v, want 1", got)
	}
}
