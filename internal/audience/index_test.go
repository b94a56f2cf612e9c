package audience_test

import (
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/audience"
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

var gone = time.Unix(1, 0)

func row(app push.AppID, o push.Ordinal, p push.Platform) push.DeviceRow {
	return push.DeviceRow{Device: push.Device{Ref: push.Ref{App: app, Ordinal: o, Generation: 1, Platform: p}}}
}

func rows() *rapid.Generator[push.DeviceRow] {
	return rapid.Custom(func(t *rapid.T) push.DeviceRow {
		r := row(push.AppID(rapid.IntRange(1, 2).Draw(t, "app")),
			push.Ordinal(rapid.OneOf(rapid.Uint32Range(0, 20), rapid.Uint32Range(65_530, 65_540)).Draw(t, "ordinal")),
			rapid.SampledFrom(push.Platforms()).Draw(t, "platform"))
		r.Ref.Generation = rapid.Uint8Range(1, 3).Draw(t, "generation")
		r.Test, r.Blacklisted = rapid.Bool().Draw(t, "test"), rapid.Bool().Draw(t, "blacklisted")
		if rapid.IntRange(0, 3).Draw(t, "removed") == 0 {
			r.Removed = gone
		}
		return r
	})
}

// model is the index as a map.
type model map[push.Ordinal]push.DeviceRow

func (m model) where(ok func(push.DeviceRow) bool) []push.Ordinal {
	all := []push.Ordinal{}
	for o, r := range m {
		if r.Removed.IsZero() && ok(r) {
			all = append(all, o)
		}
	}
	slices.Sort(all)
	return all
}

func list(s *ordset.Set) []push.Ordinal {
	return slices.AppendSeq([]push.Ordinal{}, s.All())
}

func TestIndexIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x audience.Index
		models := map[push.AppID]model{1: {}, 2: {}}
		for _, r := range rapid.SliceOfN(rows(), 0, 60).Draw(t, "rows") {
			x.Apply(r)
			models[r.Ref.App][r.Ref.Ordinal] = r
		}
		for app, m := range models {
			compare(t, &x, app, m)
		}
	})
}

func compare(t *rapid.T, x *audience.Index, app push.AppID, m model) {
	platforms := rapid.SliceOfDistinct(rapid.SampledFrom(push.Platforms()), rapid.ID).Draw(t, "platforms")
	everybody := m.where(func(push.DeviceRow) bool { return true })
	for _, c := range []struct {
		name      string
		got, want []push.Ordinal
	}{
		{"everybody", list(x.Everybody(app, nil)), everybody},
		{"of platforms", list(x.Everybody(app, platforms)), m.where(func(r push.DeviceRow) bool {
			return len(platforms) == 0 || slices.Contains(platforms, r.Ref.Platform)
		})},
		{"test", list(x.Test(app)), m.where(func(r push.DeviceRow) bool { return r.Test })},
		{"blacklisted", list(x.Blacklisted(app)), m.where(func(r push.DeviceRow) bool { return r.Blacklisted })},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Fatalf("app %d, %s (-want +got):\n%s", app, c.name, diff)
		}
	}
	counts, next := map[push.Platform]int{}, push.Ordinal(0)
	for o, r := range m {
		next = max(next, o+1)
		ref, ok := x.Find(app, o)
		if ok != r.Removed.IsZero() || ok && ref != r.Ref {
			t.Fatalf("Find(%d, %d) = %+v, %t, want %+v, removed %v", app, o, ref, ok, r.Ref, r.Removed)
		}
		if test, blacklisted := x.Marks(app, o); test != (ok && r.Test) || blacklisted != (ok && r.Blacklisted) {
			t.Fatalf("Marks(%d, %d) = %t, %t of %+v", app, o, test, blacklisted, r)
		}
		if ok {
			counts[r.Ref.Platform]++
		}
	}
	if got := x.Count(app); !maps.Equal(got, counts) {
		t.Fatalf("Count(%d) = %v, want %v", app, got, counts)
	}
	if got, err := x.Take(app); err != nil || got != next {
		t.Fatalf("Take(%d) = %d, %v, want %d", app, got, err, next)
	}

	slices.Reverse(everybody)
	limit, walked, before := rapid.IntRange(1, 9).Draw(t, "limit"), []push.Ordinal{}, push.Ordinal(0)
	for {
		page, next := x.Before(app, before, limit)
		if len(page) > limit {
			t.Fatalf("a page of %d, limit %d", len(page), limit)
		}
		if walked = append(walked, page...); next == 0 {
			break
		}
		before = next
	}
	if diff := cmp.Diff(everybody, walked); diff != "" {
		t.Fatalf("app %d, page by page (-want +got):\n%s", app, diff)
	}
}

func TestUnknownApp(t *testing.T) {
	var x audience.Index
	if n := x.Everybody(9, nil).Len() + x.Test(9).Len() + x.Blacklisted(9).Len() + len(x.Count(9)); n != 0 {
		t.Errorf("an unknown app has %d members", n)
	}
	if _, ok := x.Find(9, 0); ok {
		t.Error("an unknown app has device 0")
	}
	if page, next := x.Before(9, 0, 10); len(page) != 0 || next != 0 {
		t.Errorf("Before = %v, %d", page, next)
	}
}

func TestSetsBelongToTheCaller(t *testing.T) {
	var x audience.Index
	x.Apply(row(1, 4, push.IOS))
	mine := x.Everybody(1, nil)
	mine.Add(5)
	x.Apply(row(1, 6, push.IOS))
	if got := list(mine); !slices.Equal(got, []push.Ordinal{4, 5}) {
		t.Errorf("the copy is %v, want [4 5]", got)
	}
	if got := list(x.Everybody(1, nil)); !slices.Equal(got, []push.Ordinal{4, 6}) {
		t.Errorf("the index is %v, want [4 6]", got)
	}
}

func TestDrop(t *testing.T) {
	var x audience.Index
	x.Apply(row(1, 4, push.IOS))
	x.Apply(row(2, 4, push.IOS))
	x.Drop(1)
	if got := x.Everybody(1, nil).Len(); got != 0 {
		t.Errorf("the app has %d devices after Drop", got)
	}
	if got := x.Everybody(2, nil).Len(); got != 1 {
		t.Errorf("another app has %d devices, want 1", got)
	}
}

func TestTheLastOrdinal(t *testing.T) {
	var x audience.Index
	x.Apply(row(1, math.MaxUint32-1, push.IOS))
	if o, err := x.Take(1); err != nil || o != math.MaxUint32 {
		t.Fatalf("Take = %d, %v, want the last", o, err)
	}
	x.Apply(row(1, math.MaxUint32, push.IOS))
	if o, err := x.Take(1); !errors.Is(err, push.TooMany) {
		t.Errorf("Take = %d, %v, want TooMany", o, err)
	}
	page, next := x.Before(1, 0, 2)
	if !slices.Equal(page, []push.Ordinal{math.MaxUint32, math.MaxUint32 - 1}) || next != math.MaxUint32-1 {
		t.Errorf("Before = %v, %d", page, next)
	}
}

// Ordinals that are taken by many at once are distinct and dense, while readers look on.
func TestConcurrentUse(t *testing.T) {
	var x audience.Index
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				o, err := x.Take(1)
				if err != nil {
					t.Error(err)
					return
				}
				x.Apply(row(1, o, push.Android))
				if ref, ok := x.Find(1, o); !ok || ref.Ordinal != o {
					t.Errorf("device %d is not found", o)
				}
				x.Everybody(1, nil)
				x.Count(1)
			}
		})
	}
	wg.Wait()
	all := x.Everybody(1, nil)
	if all.Len() != 4000 || !all.Has(0) || !all.Has(3999) {
		t.Errorf("%d devices, want 0 to 3999", all.Len())
	}
}

// BenchmarkEverybody copies the sets of ten million devices on three platforms: how long a writer may have to wait.
func BenchmarkEverybody(b *testing.B) {
	var x audience.Index
	for o := range push.Ordinal(10_000_000) {
		x.Apply(row(1, o, push.Platform(1+o*2654435761>>16%3)))
	}
	for b.Loop() {
		x.Everybody(1, nil)
	}
}
