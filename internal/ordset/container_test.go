package ordset_test

import (
	"hash/maphash"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

var seed = maphash.MakeSeed()

func TestContainersHoldTheirChunk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := shapes(t)
		want, v := byKey(s), s.View()
		var b ordset.Builder
		for _, key := range slices.Sorted(maps.Keys(want)) {
			list := want[key]
			c := v.Container(key)
			b.Container(key, c)
			first := rapid.Uint16().Draw(t, "first")
			at, _ := slices.BinarySearch(list, first)
			if got := slices.Collect(c.All(first)); c.Len() != len(list) || !slices.Equal(got, list[at:]) {
				t.Fatalf("chunk %d has %d members, %d from %d on; want %d and %d", key, c.Len(), len(got), first, len(list), len(list)-at)
			}
			var w ordset.Words
			w.Union(c)
			if got := w.List(nil); !slices.Equal(got, list) || w.Len() != len(list) {
				t.Fatalf("chunk %d: %d words, %d listed, want %d", key, w.Len(), len(got), len(list))
			}
			for name, same := range map[string]*ordset.Container{"of words": w.Container(), "of a list": ordset.ContainerOf(list)} {
				if !c.Equal(same) || c.Hash(seed) != same.Hash(seed) || c.Bytes() != same.Bytes() {
					t.Fatalf("chunk %d %s differs: %d and %d members, %d and %d bytes", key, name, c.Len(), same.Len(), c.Bytes(), same.Bytes())
				}
			}
			other := slices.Concat(list[:len(list)/2], list[len(list)/2+1:])
			if c.Equal(ordset.ContainerOf(other)) {
				t.Fatalf("chunk %d equals what lacks a member", key)
			}
			for range 20 {
				o := rapid.Uint16().Draw(t, "o")
				if _, in := slices.BinarySearch(list, o); c.Has(o) != in || w.Has(o) != in {
					t.Fatalf("chunk %d: Has(%d) is %v", key, o, !in)
				}
			}
		}
		if got := b.Set(); !slices.Equal(slices.Collect(got.All()), slices.Collect(s.All())) {
			t.Fatalf("the set of all has %d ordinals, want %d", got.Len(), s.Len())
		}
		if c := v.Container(11); c.Len() != 0 || c.Has(0) || len(slices.Collect(c.All(0))) != 0 {
			t.Fatalf("a chunk that is not there has %d members", c.Len())
		}
	})
}

func TestContainersFindWhatIsAskedTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := shapes(t).View()
		asked := slices.Sorted(maps.Keys(rapid.MapOf(rapid.Uint16(), rapid.Just(true)).Draw(t, "asked")))
		for key := range v.Keys() { // and some that are there
			list := v.List(key, nil)
			for range 5 {
				asked = append(asked, rapid.SampledFrom(list).Draw(t, "member"))
			}
		}
		slices.Sort(asked)
		asked = slices.Compact(asked)
		var a ordset.Asked
		a.Ask([]uint16{1, 7}) // what was asked before must not stay
		a.Ask(asked)
		for key := range v.Keys() {
			c := v.Container(key)
			bits := (len(asked) + 63) / 64
			among, list, words := make([]uint64, bits), make([]uint64, bits), make([]uint64, bits)
			a.Among(c, among)
			a.AmongList(v.List(key, nil), list)
			var w ordset.Words
			w.Union(c)
			a.AmongWords(&w, words)
			for i := range bits * 64 {
				want := i < len(asked) && c.Has(asked[i])
				for how, found := range map[string][]uint64{"container": among, "list": list, "words": words} {
					if got := found[i>>6]>>(i&63)&1 == 1; got != want {
						t.Fatalf("chunk %d as %s: number %d of %d is there: %v, want %v", key, how, i, len(asked), got, want)
					}
				}
			}
		}
	})
}

func TestContainersTakeTheirSmallestForm(t *testing.T) {
	for _, tt := range []struct {
		name        string
		first, step int
		n, most     int // bytes beside the container's own
	}{
		{"nobody", 0, 1, 0, 0},
		{"one", 77, 1, 1, 8},
		{"everybody", 0, 1, 65536, 8},
		{"a list", 5, 3, 100, 256},
		{"many apart", 1, 2, 32768, 8192},
		{"as many as a list may hold", 0, 16, 4096, 8192},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := new(ordset.Set)
			for i := range tt.n {
				s.Add(push.Ordinal(tt.first + i*tt.step))
			}
			c := s.View().Container(0)
			if got := c.Bytes() - new(ordset.Container).Bytes(); got > tt.most || c.Len() != tt.n {
				t.Errorf("%d members take %d bytes, want %d and at most %d", c.Len(), got, tt.n, tt.most)
			}
		})
	}
}
