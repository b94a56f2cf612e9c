package live_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/live"
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Ordinals that are met again and again, with chunk borders and the last of all.
var (
	names = rapid.Custom(func(t *rapid.T) name {
		return name{push.AppID(rapid.IntRange(1, 2).Draw(t, "app")), push.ID(rapid.IntRange(1, 9).Draw(t, "id"))}
	})
	ordinals = rapid.Custom(func(t *rapid.T) push.Ordinal {
		return push.Ordinal(rapid.OneOf(rapid.Uint32Range(0, 20), rapid.Uint32Range(65530, 65545), rapid.SampledFrom([]uint32{200_000, 1<<32 - 2, 1<<32 - 1})).Draw(t, "o"))
	})
	someOfAll = rapid.Custom(func(t *rapid.T) *ordset.Set {
		s := ordset.Of(rapid.SliceOfN(ordinals, 0, 30).Draw(t, "few")...)
		if rapid.IntRange(0, 3).Draw(t, "many") == 0 {
			first, step := rapid.IntRange(0, 66_000).Draw(t, "first"), rapid.SampledFrom([]int{1, 1, 2, 3, 15, 17}).Draw(t, "step")
			for o, end := first, first+rapid.SampledFrom([]int{100, 9_000, 70_000}).Draw(t, "long"); o < end; o += step {
				s.Add(push.Ordinal(o))
			}
		}
		return s
	})
	releases = rapid.Custom(func(t *rapid.T) push.Ordinal {
		if rapid.Bool().Draw(t, "all") {
			return push.Everybody
		}
		return ordinals.Draw(t, "released")
	})
)

func TestSetsSayWhatAskingEachPushWould(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, m := live.New(nil), model{}
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(t *rapid.T) {
				n := names.Draw(t, "push")
				p := live.Push{App: n.app, ID: n.id, Target: someOfAll.Draw(t, "target"), Settled: new(ordset.Set), Released: releases.Draw(t, "released"), Held: rapid.IntRange(0, 4).Draw(t, "held") == 0}
				if rapid.Bool().Draw(t, "some settled") {
					p.Settled = someOfAll.Draw(t, "settled")
				}
				m.begin(p)
				if err := s.Begin(p); err != nil {
					t.Fatal(err)
				}
			},
			"grow": func(t *rapid.T) {
				n, more := names.Draw(t, "push"), someOfAll.Draw(t, "more")
				if p := m[n]; p != nil {
					p.Target.Union(more)
				}
				if err := s.Grow(n.app, n.id, more); err != nil {
					t.Fatal(err)
				}
			},
			"release": func(t *rapid.T) {
				n, upTo := names.Draw(t, "push"), releases.Draw(t, "up to")
				m.release(n, upTo)
				s.Release(n.app, n.id, upTo)
			},
			"hold": func(t *rapid.T) {
				n, held := names.Draw(t, "push"), rapid.Bool().Draw(t, "held")
				if p := m[n]; p != nil {
					p.Held = held
				}
				s.Hold(n.app, n.id, held)
			},
			"settle": func(t *rapid.T) {
				n := names.Draw(t, "push")
				for _, o := range rapid.SliceOfN(ordinals, 1, 40).Draw(t, "devices") {
					if got, want := s.Settle(n.app, n.id, o), m.settle(n, ordset.Of(o)) == 1; got != want {
						t.Fatalf("settling %d of %v is new: %v, want %v", o, n, got, want)
					}
				}
			},
			"settle many, one by one": func(t *rapid.T) {
				n, from, count := names.Draw(t, "push"), ordinals.Draw(t, "from"), rapid.SampledFrom([]int{20, 500, 9_000, 50_000}).Draw(t, "count")
				for _, o := range m.next(n, from, count) {
					if got, want := s.Settle(n.app, n.id, o), m.settle(n, ordset.Of(o)) == 1; got != want {
						t.Fatalf("settling %d of %v is new: %v, want %v", o, n, got, want)
					}
				}
			},
			"settle all": func(t *rapid.T) {
				n, set := names.Draw(t, "push"), someOfAll.Draw(t, "set")
				if rapid.Bool().Draw(t, "what is pending") {
					set = s.PendingSet(n.app, n.id)
				}
				if got, want := s.SettleAll(n.app, n.id, set), m.settle(n, set); got != want {
					t.Fatalf("%d of %v were new, want %d", got, n, want)
				}
			},
			"end": func(t *rapid.T) {
				n := names.Draw(t, "push")
				delete(m, n)
				s.End(n.app, n.id)
			},
			"tidy": func(*rapid.T) { s.Tidy() },
			"":     func(t *rapid.T) { compare(t, s, m) },
		})
		for n := range m {
			s.End(n.app, n.id)
		}
		s.Tidy()
		if s.Held() != 0 {
			t.Fatalf("%d parts of targets are held without a push", s.Held())
		}
		for n := range m {
			if s.MayOwe(n.app, 0) {
				t.Fatal("something is owed without a push")
			}
		}
	})
}

// compare asks a few things of both.
func compare(t *rapid.T, s *live.Sets, m model) {
	n, o := names.Draw(t, "asked push"), ordinals.Draw(t, "asked device")
	if got := s.Has(n.app, n.id); got != (m[n] != nil) {
		t.Fatalf("%v is there: %v", n, got)
	}
	if got, want := s.Owes(n.app, n.id, o), m.owes(n, o); got != want || s.Walker(n.app, n.id)(o) != want {
		t.Fatalf("%v owes %d: %v and %v, want %v", n, o, got, s.Walker(n.app, n.id)(o), want)
	}
	if got, want := s.Targets(n.app, n.id, o), m[n] != nil && m[n].Target.Has(o); got != want {
		t.Fatalf("%v targets %d: %v", n, o, got)
	}
	pending, want := s.PendingSet(n.app, n.id), m.pending(n)
	if pending.Len() != want.Len() || pending.And(want) != want.Len() || s.Pending(n.app, n.id) != want.Len() {
		t.Fatalf("of %v %d are pending, and said to be %d; want %d", n, pending.Len(), s.Pending(n.app, n.id), want.Len())
	}
	target, there := s.Target(n.app, n.id)
	if there != (m[n] != nil) || there && (target.Len() != m[n].Target.Len() || target.And(m[n].Target) != target.Len()) {
		t.Fatalf("%v has a target: %v; it differs", n, there)
	}
	from, limit := ordinals.Draw(t, "from"), rapid.IntRange(0, 50).Draw(t, "limit")
	if got, want := s.Next(n.app, n.id, from, limit), m.next(n, from, limit); !slices.Equal(got, want) {
		t.Fatalf("from %d on %v has %v, want %v", from, n, got, want)
	}
	for _, o := range []push.Ordinal{o, from, 0, 65536} {
		skip := rapid.SliceOf(rapid.Int64Range(1, 9)).Draw(t, "skip")
		skips := func(id push.ID) bool { return slices.Contains(skip, int64(id)) }
		asked := func(id push.ID) bool {
			if !m.owes(name{n.app, id}, o) {
				t.Fatalf("%d is asked whether to skip %d, which it is not owed", o, id)
			}
			return skips(id)
		}
		limit := rapid.IntRange(1, 9).Draw(t, "limit")
		if got, want := s.Owed(n.app, o, limit, asked), m.owed(n.app, o, limit, skips); !slices.Equal(got, want) {
			t.Fatalf("%d is owed %v, want %v", o, got, want)
		}
	}
}

func TestWhoIsSettledFallsOutOfTheSupersetWhenItIsTidied(t *testing.T) {
	s := live.New(nil)
	target := new(ordset.Set)
	for o := range push.Ordinal(100_000) {
		target.Add(o)
	}
	must(t, s.Begin(live.Push{App: 1, ID: 1, Target: target.Clone(), Released: push.Everybody}))
	must(t, s.Begin(live.Push{App: 1, ID: 2, Target: ordset.Of(7, 80_000), Released: push.Everybody}))
	for o := range push.Ordinal(99_000) {
		s.Settle(1, 1, o)
	}
	s.Tidy()
	for o, want := range map[push.Ordinal]bool{6: false, 7: true, 70_000: false, 80_000: true, 99_500: true, 100_000: false} {
		if got := s.MayOwe(1, o); got != want {
			t.Errorf("%d may be owed something: %v, want %v", o, got, want)
		}
	}
	s.Settle(1, 2, 7) // one of few: worth it at once, or after a while
	for range 20 {
		s.Tidy()
	}
	if s.MayOwe(1, 7) {
		t.Error("a device that was settled alone stays in the superset")
	}
	s.End(1, 1)
	s.End(1, 2)
	s.Tidy()
	if s.MayOwe(1, 80_000) || s.MayOwe(1, 99_500) {
		t.Error("something is owed without a push")
	}
}

func TestTheSupersetIsRightWithManyPushesAndFewInDoubt(t *testing.T) {
	const devices, pushes = 3000, 900
	r := rand.New(rand.NewPCG(1, 1))
	s, m := live.New(nil), model{}
	for i := range pushes {
		p := live.Push{App: 1, ID: push.ID(i + 1), Target: new(ordset.Set), Settled: new(ordset.Set), Released: push.Everybody, Held: i%5 == 0}
		for range 4 {
			p.Target.Add(push.Ordinal(r.IntN(devices)))
		}
		if i == pushes-1 {
			for o := range push.Ordinal(devices) {
				p.Target.Add(o)
			}
		}
		if i%3 == 0 {
			p.Settled.Union(p.Target)
		}
		m.begin(p)
		must(t, s.Begin(p))
	}
	newest := name{1, pushes}
	for range devices / 3 {
		o := push.Ordinal(r.IntN(devices))
		m.settle(newest, ordset.Of(o))
		s.Settle(1, newest.id, o)
	}
	owed, out := new(ordset.Set), 0
	for n := range m {
		owed.Union(m.pending(n))
	}
	s.Tidy()
	for o := range push.Ordinal(devices) {
		if got := s.MayOwe(1, o); got != owed.Has(o) {
			t.Fatalf("%d is in the superset: %v, want %v", o, got, !got)
		}
		if !owed.Has(o) {
			out++
		}
	}
	if out == 0 || out == devices {
		t.Errorf("%d of %d devices are owed nothing, want some", out, devices)
	}
}

func TestWhatIsSettledFromTheStartIsNotInTheSuperset(t *testing.T) {
	s := live.New(nil)
	must(t, s.Begin(live.Push{App: 1, ID: 1, Target: ordset.Of(1, 2, 70_000), Settled: ordset.Of(2, 70_000), Released: push.Everybody}))
	if !s.MayOwe(1, 1) || s.MayOwe(1, 2) || s.MayOwe(1, 70_000) {
		t.Errorf("in the superset are 1: %v, 2: %v, 70000: %v; want the first only", s.MayOwe(1, 1), s.MayOwe(1, 2), s.MayOwe(1, 70_000))
	}
	must(t, s.Grow(1, 1, ordset.Of(2, 3)))
	if got := s.Owed(1, 3, 1, nil); len(got) != 1 || s.Pending(1, 1) != 2 {
		t.Errorf("who was added is owed %v, and %d are pending; want the push, and 2", got, s.Pending(1, 1))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
