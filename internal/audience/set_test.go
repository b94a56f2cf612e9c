package audience_test

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/audience"
	"github.com/carillonpush/carillon/internal/push"
)

func TestASetIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s audience.Set
		m := map[uint16]bool{}
		put := func(o uint16, in bool) {
			if changed := s.Put(o, in); changed != (m[o] != in) {
				t.Fatalf("Put(%d, %t) = %t", o, in, changed)
			}
			if in {
				m[o] = true
			} else {
				delete(m, o)
			}
		}
		for range rapid.IntRange(0, 6).Draw(t, "runs") {
			first, n := rapid.Uint16().Draw(t, "first"), rapid.IntRange(1, 5000).Draw(t, "count")
			step, in := rapid.SampledFrom([]uint16{1, 2, 13, 65535}).Draw(t, "step"), rapid.Bool().Draw(t, "in")
			for i := range n {
				put(first+uint16(i)*step, in)
			}
			if !s.Valid() {
				t.Fatalf("the set of %d is in the wrong form", len(m))
			}
		}
		for _, o := range rapid.SliceOf(rapid.Uint16()).Draw(t, "single") {
			put(o, !m[o])
		}
		if got := s.Members(); !slices.Equal(got, slices.Sorted(maps.Keys(m))) {
			t.Fatalf("the set has %d members, want %d", len(got), len(m))
		}
		for _, o := range rapid.SliceOf(rapid.Uint16()).Draw(t, "asked") {
			if s.Has(o) != m[o] {
				t.Fatalf("Has(%d) = %t", o, s.Has(o))
			}
		}
	})
}

func TestAColumnIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c audience.Column
		m := map[uint16]uint16{}
		codes := rapid.SampledFrom([]uint16{0, 1, 2, 255, 256, 300, 65535})
		for range rapid.IntRange(0, 5).Draw(t, "runs") {
			first, n := rapid.Uint16().Draw(t, "first"), rapid.IntRange(1, 5000).Draw(t, "count")
			step, code := rapid.SampledFrom([]uint16{1, 3, 17, 65535}).Draw(t, "step"), codes.Draw(t, "code")
			for i := range n {
				o := first + uint16(i)*step
				if old := c.Put(o, code); old != m[o] {
					t.Fatalf("Put(%d, %d) = %d, want %d", o, code, old, m[o])
				}
				m[o] = code
			}
		}
		for o := range 65536 {
			if got := c.Get(uint16(o)); got != m[uint16(o)] {
				t.Fatalf("Get(%d) = %d, want %d", o, got, m[uint16(o)])
			}
		}
		in := []uint8{0, 1, 0, 1}
		beyond, want := rapid.Uint8Range(0, 1).Draw(t, "beyond"), rapid.Bool().Draw(t, "want")
		list := slices.Sorted(maps.Keys(m))
		wanted := slices.DeleteFunc(slices.Clone(list), func(o uint16) bool {
			match := beyond
			if code := m[o]; code < 4 {
				match = in[code]
			}
			return (match != 0) != want
		})
		filtered, bits := c.Filter(list, in, beyond, want)
		if !slices.Equal(filtered, wanted) || !slices.Equal(bits, wanted) {
			t.Fatalf("of %d are left %d and %d, want %d", len(list), len(filtered), len(bits), len(wanted))
		}
	})
}

func TestWhatDevicesCarryIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c audience.Carried
		m := map[uint16][]push.TagID{}
		ordinals := rapid.OneOf(rapid.Uint16Range(0, 200), rapid.Uint16())
		ids := rapid.SliceOfDistinct(rapid.OneOf(rapid.Uint32Range(1, 300), rapid.Uint32Range(1, 1<<32-1)), rapid.ID)
		for range rapid.IntRange(0, 60).Draw(t, "changes") {
			o := ordinals.Draw(t, "ordinal")
			var tags []push.TagID
			for _, id := range ids.Draw(t, "tags") {
				tags = append(tags, push.TagID(id))
			}
			if rapid.IntRange(0, 20).Draw(t, "many") == 0 {
				tags = nil
				for id := range push.TagID(1000) {
					tags = append(tags, 1<<20+id*200)
				}
			}
			slices.Sort(tags)
			c.Put(o, tags)
			m[o] = tags
		}
		for o := range 65536 {
			if got := c.Of(uint16(o)); !slices.Equal(got, m[uint16(o)]) {
				t.Fatalf("device %d carries %v, want %v", o, got, m[uint16(o)])
			}
		}
		if !c.Valid() {
			t.Fatal("a block is not what a snapshot accepts")
		}
	})
}
