package audience_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/audience"
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

func device(app push.AppID, o push.Ordinal, p push.Platform) push.IndexRow {
	return push.IndexRow{Ref: push.Ref{App: app, Ordinal: o, Generation: 1, Platform: p}}
}

func removed(app push.AppID, o push.Ordinal) push.IndexRow {
	return push.IndexRow{Ref: push.Ref{App: app, Ordinal: o, Generation: 1}, Removed: true}
}

// have returns attributes from names and values in turn.
func have(pairs ...string) (all []push.Attribute) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, push.Attribute{Name: pairs[i], Value: pairs[i+1]})
	}
	return all
}

func everybody(push.IndexRow) bool { return true }

func TestIndexIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		for _, r := range rapid.SliceOfN(rows(), 0, 60).Draw(t, "rows") {
			w.apply(r)
			switch rapid.IntRange(0, 9).Draw(t, "also") {
			case 0:
				set, day := ordset.Of(rapid.SliceOf(ordinals()).Draw(t, "active")...), days().Draw(t, "day")
				w.index.Touch(1, day, set)
				w.models[1].touch(day, set)
			case 1:
				id := push.TagID(rapid.IntRange(1, 4).Draw(t, "removed tag"))
				w.index.RemoveTag(1, id)
				delete(w.models[1].tags, id)
			}
		}
		for app := range w.models {
			w.compare(t, app)
		}
	})
}

// compare holds all that is asked without an expression against the model.
func (w world) compare(t *rapid.T, app push.AppID) {
	x, m := w.index, w.models[app]
	all := m.where(everybody)
	sets := map[string][2][]push.Ordinal{"everybody": {list(x.All(app)), all}}
	for id := range tagNames[1:] {
		tag := push.TagID(id + 1)
		sets[fmt.Sprint("tag ", tag)] = [2][]push.Ordinal{list(x.TagDevices(app, tag)), m.where(func(r push.IndexRow) bool {
			return m.tags[tag] != "" && slices.Contains(r.Tags, tag)
		})}
		if got := x.TagSize(app, tag); got != len(sets[fmt.Sprint("tag ", tag)][1]) {
			t.Fatalf("TagSize(%d, %d) = %d, want %d", app, tag, got, len(sets[fmt.Sprint("tag ", tag)][1]))
		}
	}
	for name, c := range sets {
		if diff := cmp.Diff(c[1], c[0]); diff != "" {
			t.Fatalf("app %d, %s (-want +got):\n%s", app, name, diff)
		}
	}
	counts, next := map[push.Platform]int{}, push.Ordinal(0)
	for o, r := range m.rows {
		next = max(next, o+1)
		if got := x.Network(app, o); got != r.Network {
			t.Fatalf("Network(%d, %d) = %q, want %q", app, o, got, r.Network)
		}
		for _, name := range attributeNames {
			if got, want := x.Attribute(app, o, name), attribute(r, name); got != want {
				t.Fatalf("Attribute(%d, %d, %s) = %q, want %q", app, o, name, got, want)
			}
		}
		ref, ok := x.Find(app, o)
		if ok == r.Removed || ok && ref != r.Ref {
			t.Fatalf("Find(%d, %d) = %+v, %t, want %+v, removed %t", app, o, ref, ok, r.Ref, r.Removed)
		}
		if got := x.Epoch(app, o); got != r.Epoch {
			t.Fatalf("Epoch(%d, %d) = %d, want %d", app, o, got, r.Epoch)
		}
		if test, blacklisted := x.Marks(app, o); test != (ok && r.Test) || blacklisted != (ok && r.Blacklisted) {
			t.Fatalf("Marks(%d, %d) = %t, %t of %+v", app, o, test, blacklisted, r)
		}
		if agrees, known := x.Agrees(r); !agrees || known == r.Removed {
			t.Fatalf("Agrees(%+v) = %t, %t", r, agrees, known)
		}
		if ok {
			counts[r.Ref.Platform]++
		}
	}
	if got := x.Platforms(app); !maps.Equal(got, counts) {
		t.Fatalf("Platforms(%d) = %v, want %v", app, got, counts)
	}
	w.compareTally(t, app)
	w.comparePages(t, app, all)
	if got, err := x.Take(app); err != nil || got != next {
		t.Fatalf("Take(%d) = %d, %v, want %d", app, got, err, next)
	}
}

func (w world) compareTally(t *rapid.T, app push.AppID) {
	set, m := new(ordset.Set), w.models[app]
	want := push.Tally{Platforms: map[push.Platform]int{}, Tokens: map[string]int{}}
	for _, o := range rapid.SliceOf(ordinals()).Draw(t, "tallied") {
		r, ok := m.rows[o]
		if !set.Add(o) || !ok || r.Removed {
			continue
		}
		want.Platforms[r.Ref.Platform]++
		for i, c := range push.TokenChannels() {
			if r.Tokens&(1<<i) != 0 {
				want.Tokens[c]++
			}
		}
		if r.Blacklisted {
			want.Blacklisted++
		}
	}
	if diff := cmp.Diff(want, w.index.Tally(app, set)); diff != "" {
		t.Fatalf("Tally(%d) (-want +got):\n%s", app, diff)
	}
}

func (w world) comparePages(t *rapid.T, app push.AppID, all []push.Ordinal) {
	all = slices.Clone(all)
	slices.Reverse(all)
	limit, walked, before := rapid.IntRange(1, 9).Draw(t, "limit"), []push.Ordinal{}, push.Ordinal(0)
	for {
		page, next := w.index.Before(app, before, limit)
		if len(page) > limit {
			t.Fatalf("a page of %d, limit %d", len(page), limit)
		}
		if walked = append(walked, page...); next == 0 {
			break
		}
		before = next
	}
	if diff := cmp.Diff(all, walked); diff != "" {
		t.Fatalf("app %d, page by page (-want +got):\n%s", app, diff)
	}
}

func TestUnknownApp(t *testing.T) {
	var x audience.Index
	x.Touch(9, 20_000, ordset.Of(1, 2))
	x.RemoveTag(9, 1)
	if n := x.All(9).Len() + x.TagDevices(9, 1).Len() + x.TagSize(9, 1) + len(x.Platforms(9)) + x.Bytes(9) + len(x.Apps()); n != 0 {
		t.Errorf("an unknown app has %d members", n)
	}
	if tally := x.Tally(9, ordset.Of(1)); len(tally.Platforms)+len(tally.Tokens)+tally.Blacklisted != 0 {
		t.Errorf("an unknown app has the tally %+v", tally)
	}
	if _, ok := x.Find(9, 0); ok {
		t.Error("an unknown app has device 0")
	}
	if page, next := x.Before(9, 0, 10); len(page) != 0 || next != 0 {
		t.Errorf("Before = %v, %d", page, next)
	}
	if agrees, known := x.Agrees(device(9, 1, push.IOS)); agrees || known {
		t.Errorf("Agrees = %t, %t of a device that is not there", agrees, known)
	}
	if agrees, known := x.Agrees(removed(9, 1)); !agrees || known {
		t.Errorf("Agrees = %t, %t of a device that was removed", agrees, known)
	}
}

func TestDrop(t *testing.T) {
	var x audience.Index
	x.Apply(device(1, 4, push.IOS))
	x.Apply(device(2, 4, push.IOS))
	x.Drop(1)
	if got := x.All(1).Len(); got != 0 {
		t.Errorf("the app has %d devices after Drop", got)
	}
	if got := x.All(2).Len(); got != 1 {
		t.Errorf("another app has %d devices, want 1", got)
	}
	if got := x.Apps(); !slices.Equal(got, []push.AppID{2}) {
		t.Errorf("the apps are %v, want [2]", got)
	}
}

func TestTheLastOrdinal(t *testing.T) {
	var x audience.Index
	x.Apply(device(1, math.MaxUint32-1, push.IOS))
	if o, err := x.Take(1); err != nil || o != math.MaxUint32 {
		t.Fatalf("Take = %d, %v, want the last", o, err)
	}
	x.Apply(device(1, math.MaxUint32, push.IOS))
	if o, err := x.Take(1); !errors.Is(err, push.TooMany) {
		t.Errorf("Take = %d, %v, want TooMany", o, err)
	}
	page, next := x.Before(1, 0, 2)
	if !slices.Equal(page, []push.Ordinal{math.MaxUint32, math.MaxUint32 - 1}) || next != math.MaxUint32-1 {
		t.Errorf("Before = %v, %d", page, next)
	}
	if got := list(x.All(1)); !slices.Equal(got, []push.Ordinal{math.MaxUint32 - 1, math.MaxUint32}) {
		t.Errorf("All = %v", got)
	}
}

func TestADeviceWithoutAPlatformIsIgnored(t *testing.T) {
	var x audience.Index
	x.Apply(device(1, 4, 0))
	if got := x.All(1).Len(); got != 0 {
		t.Errorf("the app has %d devices", got)
	}
}

// A tag that was removed stays gone, even from a row that still names it, and its name may be given to a new one.
func TestARemovedTagStaysGone(t *testing.T) {
	var x audience.Index
	x.AddTag(1, 7, "vip")
	r := device(1, 4, push.IOS)
	r.Tags = []push.TagID{7}
	x.Apply(r)
	x.RemoveTag(1, 7)
	x.AddTag(1, 8, "vip")
	x.Apply(r)
	ask := query(1, push.Is(push.WhereTag("vip")))
	if n, err := x.Count(ask); n != 0 || err != nil || x.TagSize(1, 7) != 0 {
		t.Errorf("%d devices carry the new tag and %d the removed one, %v; want none", n, x.TagSize(1, 7), err)
	}
	r.Tags = []push.TagID{8, 7, 8}
	x.Apply(r)
	if n, err := x.Count(ask); n != 1 || err != nil || x.TagSize(1, 8) != 1 {
		t.Errorf("%d and %d devices carry the new tag, %v; want 1", n, x.TagSize(1, 8), err)
	}
	if agrees, _ := x.Agrees(r); !agrees {
		t.Error("the index does not agree with the row that was applied")
	}
}

// What is wrong in the index is found, and healed by the row.
func TestAgreesFindsEveryDifference(t *testing.T) {
	w := newWorld()
	base := device(1, 4, push.IOS)
	base.Attributes, base.Tags = have("age", "7"), []push.TagID{2}
	base.Registered, base.Active, base.Bound = 1000, 20_000, 20_000
	for _, tt := range []struct {
		name   string
		change func(*push.IndexRow)
	}{
		{"platform", func(r *push.IndexRow) { r.Ref.Platform = push.Android }},
		{"generation", func(r *push.IndexRow) { r.Ref.Generation = 2 }},
		{"epoch", func(r *push.IndexRow) { r.Epoch = 3 }},
		{"removed", func(r *push.IndexRow) { *r = removed(1, 4) }},
		{"test", func(r *push.IndexRow) { r.Test = true }},
		{"blacklisted", func(r *push.IndexRow) { r.Blacklisted = true }},
		{"phone", func(r *push.IndexRow) { r.Phone = true }},
		{"a token", func(r *push.IndexRow) { r.Tokens = 1 << 9 }},
		{"registered", func(r *push.IndexRow) { r.Registered++ }},
		{"active later", func(r *push.IndexRow) { r.Active++ }},
		{"not bound", func(r *push.IndexRow) { r.Bound = 0 }},
		{"unbound", func(r *push.IndexRow) { r.Unbound = 20_001 }},
		{"another value", func(r *push.IndexRow) { r.Attributes = have("age", "70") }},
		{"a value that nobody has", func(r *push.IndexRow) { r.Attributes = have("age", "never") }},
		{"an attribute that nobody has", func(r *push.IndexRow) { r.Attributes = have("age", "7", "never", "1") }},
		{"no attribute", func(r *push.IndexRow) { r.Attributes = nil }},
		{"another tag", func(r *push.IndexRow) { r.Tags = []push.TagID{3} }},
		{"one more tag", func(r *push.IndexRow) { r.Tags = []push.TagID{2, 3} }},
		{"no tag", func(r *push.IndexRow) { r.Tags = nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.index.Apply(base)
			changed := base
			tt.change(&changed)
			if agrees, known := w.index.Agrees(base); !agrees || !known {
				t.Fatalf("before: agrees %t, known %t", agrees, known)
			}
			if agrees, known := w.index.Agrees(changed); agrees || !known {
				t.Errorf("agrees %t, known %t with another row", agrees, known)
			}
			w.index.Apply(changed)
			if agrees, known := w.index.Agrees(changed); !agrees || known == changed.Removed {
				t.Errorf("agrees %t, known %t after it was applied", agrees, known)
			}
			w.index.Apply(removed(1, 4)) // so that the last active day can go back
		})
	}
	w.index.Apply(base)
	earlier := base
	earlier.Active--
	if agrees, _ := w.index.Agrees(earlier); !agrees {
		t.Error("a day that the row does not know yet is taken for a difference")
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
				x.Apply(device(1, o, push.Android))
				if ref, ok := x.Find(1, o); !ok || ref.Ordinal != o {
					t.Errorf("device %d is not found", o)
				}
				x.All(1)
				x.Platforms(1)
				x.Bytes(1)
			}
		})
	}
	wg.Wait()
	all := x.All(1)
	if all.Len() != 4000 || !all.Has(0) || !all.Has(3999) {
		t.Errorf("%d devices, want 0 to 3999", all.Len())
	}
}
