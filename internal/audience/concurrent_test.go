package audience_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/carillonpush/carillon/internal/audience"
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Devices move between two states while questions are asked. What holds in both states holds whatever the order of things:
// such a question must find every device each time, and its opposite none. New values and tags come all the time, also such
// that a question names before any device has them.
func TestNoDeviceIsSeenInAStateThatItDidNotHave(t *testing.T) {
	const devices, rounds = 300, 15
	var x audience.Index
	x.AddTag(1, 1, "left")
	x.AddTag(1, 2, "right")
	at := func(i int) push.Ordinal { return push.Ordinal(i%3)<<16 + push.Ordinal(i) } // in three chunks
	left := func(i int) push.IndexRow {
		r := device(1, at(i), push.Android)
		r.Attributes, r.Tags, r.Test = have("side", "left", "app_version", "1.0"), []push.TagID{1}, true
		return r
	}
	right := func(i, round int) push.IndexRow {
		r := device(1, at(i), push.IOS)
		r.Attributes = have("side", fmt.Sprint("right ", i, " ", round), "app_version", fmt.Sprint("2.", round, ".", i), fmt.Sprint("new ", i%100), "yes")
		r.Tags, r.Blacklisted = []push.TagID{2}, true
		if round%2 == 1 {
			r.Tags = []push.TagID{push.TagID(100 + round)}
		}
		return r
	}
	for i := range devices {
		x.Apply(left(i))
	}
	done := make(chan struct{})
	var writers, readers sync.WaitGroup
	for w := range 2 {
		writers.Go(func() {
			for round := range rounds {
				x.AddTag(1, push.TagID(100+round), fmt.Sprint("later ", round)) // twice, as either may be the first
				for i := w; i < devices; i += 2 {
					x.Apply(right(i, round))
				}
				for i := w; i < devices; i += 2 {
					x.Apply(left(i))
				}
			}
		})
	}
	attr := func(name string, op push.Operator, value string) push.Where {
		return push.Is(push.WhereAttr{Name: name, Op: op, Values: []string{value}})
	}
	is := func(f push.Flag) push.Where { return push.Is(push.WhereFlag{Flag: f, Value: true}) }
	both := []push.Where{
		push.Or(attr("side", push.OpIs, "left"), attr("side", push.OpIsNot, "left")),
		push.Or(attr("app_version", push.OpAtMost, "1.0"), attr("app_version", push.OpAbove, "1.5")),
		push.Or(push.And(is(push.FlagTest), push.Not(is(push.FlagBlacklisted))), push.And(is(push.FlagBlacklisted), push.Not(is(push.FlagTest)))),
		push.Or(push.And(push.Is(push.WhereTag("left")), attr("side", push.OpIs, "left")),
			push.And(push.Not(push.Is(push.WhereTag("left"))), attr("app_version", push.OpAtLeast, "2"), push.Is(push.WherePlatform{push.IOS}))),
		push.Not(push.And(attr("side", push.OpIs, "left"), attr("app_version", push.OpAbove, "1.0"))),
	}
	var anyTag []push.Where
	for _, name := range []string{"left", "right"} {
		anyTag = append(anyTag, push.Is(push.WhereTag(name)))
	}
	for round := range rounds {
		anyTag = append(anyTag, push.Is(push.WhereTag(fmt.Sprint("later ", round))))
	}
	both = append(both, push.Or(anyTag...))
	var newer []push.Where // names that come to be while it is asked
	for i := range 100 {
		newer = append(newer, attr(fmt.Sprint("new ", i), push.OpIs, "yes"))
	}
	both = append(both, push.Or(append(newer, is(push.FlagTest))...))
	for range 2 {
		readers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				where := both[i%len(both)]
				if n, err := x.Count(query(1, where)); err != nil || n != devices {
					t.Errorf("question %d: %d devices, %v, want all %d", i%len(both), n, err, devices)
					return
				}
				none, err := x.Select(query(1, push.Not(where)))
				if err != nil || !none.Empty() {
					t.Errorf("not question %d: %d devices, %v, want none", i%len(both), none.Len(), err)
					return
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
}

// Everything at once: changes, activity, tags that go, snapshots, checks and questions. It is for the race detector; at the
// end the index says what was said last.
func TestEverythingAtOnce(t *testing.T) {
	w := crowd(5, 3000)
	x := w.index
	final := make([]push.IndexRow, 3000)
	var wg sync.WaitGroup
	for part := range 2 {
		wg.Go(func() {
			dice := rand.New(rand.NewPCG(1, uint64(part)))
			for range 20_000 {
				i := dice.IntN(1500)*2 + part
				r := device(1, push.Ordinal(i), push.Android)
				r.Active = push.DayOf(now)
				r.Attributes = have("age", fmt.Sprint(dice.IntN(3000)))
				r.Tags = []push.TagID{push.TagID(1 + dice.IntN(4))}
				x.Apply(r)
				final[i] = r
			}
		})
	}
	wg.Go(func() {
		for range 300 {
			x.Touch(1, push.DayOf(now), ordset.Of(1, 2, 3, 500, 70_000))
			x.Bytes(1)
		}
	})
	wg.Go(func() {
		for id := push.TagID(10); id < 300; id++ {
			x.AddTag(1, id, fmt.Sprint(id))
			x.RemoveTag(1, id)
		}
	})
	wg.Go(func() {
		for i := range 200 {
			where := push.And(push.Is(push.WhereTag("vip")), push.Not(push.Is(push.WhereAttr{Name: "age", Op: push.OpBelow, Values: []string{"100"}})))
			if _, err := x.Select(query(1, where)); err != nil {
				t.Error(err)
			}
			if i%20 == 0 {
				if err := x.WriteSnapshot(discard{}, audience.Head{}); err != nil {
					t.Error(err)
				}
			}
			x.Tally(1, x.TagDevices(1, 2))
			x.Before(1, 0, 100)
		}
	})
	wg.Wait()
	for _, r := range final {
		if r.Ref.App == 0 {
			continue
		}
		if agrees, known := x.Agrees(r); !agrees || !known {
			t.Fatalf("device %d: agrees %t, known %t", r.Ref.Ordinal, agrees, known)
		}
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
