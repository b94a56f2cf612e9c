package ordset_test

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// shapes draws sets whose chunks are lists, bits and runs.
func shapes(t *rapid.T) *ordset.Set {
	s := setOf(ordinals(t, "far apart"))
	for _, key := range rapid.SliceOfDistinct(rapid.Uint32Range(0, 9), rapid.ID).Draw(t, "keys") {
		first := rapid.Uint32Range(0, 65535).Draw(t, "first")
		count, step := rapid.Uint32Range(1, 6000).Draw(t, "count"), rapid.Uint32Range(1, 20).Draw(t, "step")
		for o, n := first, uint32(0); o <= 65535 && n < count; o, n = o+step, n+1 {
			s.Add(push.Ordinal(key<<16 + o))
		}
	}
	if rapid.Bool().Draw(t, "compact") {
		s.Compact()
	}
	return s
}

func byKey(s *ordset.Set) map[uint16][]uint16 {
	all := map[uint16][]uint16{}
	for o := range s.All() {
		all[ordset.Key(o)] = append(all[ordset.Key(o)], uint16(o))
	}
	return all
}

func TestViewsHoldTheWholeSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := shapes(t)
		v, want := s.View(), byKey(s)
		if keys := slices.Collect(v.Keys()); !slices.Equal(keys, slices.Sorted(maps.Keys(want))) {
			t.Fatalf("keys %v, want those of %d chunks", keys, len(want))
		}
		for key := range uint16(11) {
			var w ordset.Words
			w[5] = 77 // what was there before must not stay
			list := v.List(key, nil)
			if n := v.Words(key, &w); n != len(want[key]) || v.Len(key) != n || !slices.Equal(list, want[key]) {
				t.Fatalf("chunk %d: %d words, %d listed, want %d", key, n, len(list), len(want[key]))
			}
			for o := range 65536 {
				if _, in := slices.BinarySearch(list, uint16(o)); w[o>>6]>>(o&63)&1 == 1 != in {
					t.Fatalf("chunk %d: words and list differ on %d", key, o)
				}
			}
		}
		s.Add(3) // of which a view does not know
		if got := v.Len(0); got != len(want[0]) {
			t.Fatalf("the view changed with its set: %d, want %d", got, len(want[0]))
		}
	})
}

func TestBuildersMakeTheWholeSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := shapes(t)
		v := s.View()
		var first, second ordset.Builder
		half := rapid.IntRange(0, 4).Draw(t, "half")
		for i, key := range slices.Collect(v.Keys()) {
			b := &first
			if i >= half {
				b = &second
			}
			if rapid.Bool().Draw(t, "words") {
				var w ordset.Words
				b.Words(key, &w, v.Words(key, &w))
			} else {
				b.List(key, v.List(key, nil))
			}
		}
		first.List(65535, nil)
		first.Append(&second)
		got := first.Set()
		if !slices.Equal(slices.Collect(got.All()), slices.Collect(s.All())) {
			t.Fatalf("got %d ordinals, want %d", got.Len(), s.Len())
		}
		before := got.Len()
		if clone := got.Clone(); clone.Add(1<<31+7) && (got.Has(1<<31+7) || first.Set().Len() != before) {
			t.Fatal("a set shares memory with another")
		}
	})
}

func TestNothingIsAnEmptySet(t *testing.T) {
	var b ordset.Builder
	if s := b.Set(); !s.Empty() {
		t.Errorf("a builder of nothing made a set of %d", s.Len())
	}
	if keys := slices.Collect(new(ordset.Set).View().Keys()); len(keys) != 0 {
		t.Errorf("an empty set has chunks %v", keys)
	}
}
