package ordset_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// ordinals draws few and many, near and far apart, with chunk borders.
func ordinals(t *rapid.T, name string) map[push.Ordinal]bool {
	border := rapid.SampledFrom([]uint32{0, 65535, 65536, 131071, 1<<32 - 65537, 1<<32 - 1})
	near := rapid.Uint32Range(0, 300)
	all := map[push.Ordinal]bool{}
	for _, x := range rapid.SliceOf(rapid.OneOf(border, near, rapid.Uint32())).Draw(t, name) {
		all[push.Ordinal(x)] = true
	}
	return all
}

func setOf(m map[push.Ordinal]bool) *ordset.Set {
	s := new(ordset.Set)
	for o := range m {
		s.Add(o)
	}
	return s
}

func TestSetsComputeAsMapsDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := ordinals(t, "a"), ordinals(t, "b")
		union, both, only := setOf(a), setOf(a), setOf(a)
		union.Union(setOf(b))
		both.Intersect(setOf(b))
		only.Subtract(setOf(b))
		shared := 0
		for o := range a {
			if b[o] {
				shared++
			}
			if !union.Has(o) || both.Has(o) != b[o] || only.Has(o) == b[o] {
				t.Fatalf("%d is in the wrong sets", o)
			}
		}
		if n := setOf(a).And(setOf(b)); n != shared || both.Len() != shared {
			t.Fatalf("share %d and %d, want %d", n, both.Len(), shared)
		}
		if union.Len() != len(a)+len(b)-shared || only.Len() != len(a)-shared {
			t.Fatalf("union has %d, difference %d", union.Len(), only.Len())
		}
		if s := union.Clone(); s.Remove(1<<31) != union.Has(1<<31) {
			t.Fatal("Remove did not say whether it was there")
		}
	})
}

func TestChunksHoldTheWholeSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := setOf(ordinals(t, "set"))
		chunks, err := s.Chunks()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSortedFunc(chunks, func(a, b push.Chunk) int { return int(a.Key) - int(b.Key) }) {
			t.Fatal("chunks are not in order")
		}
		for _, c := range chunks {
			one, err := s.Chunk(c.Key)
			if err != nil || !slices.Equal(one.Bits, c.Bits) {
				t.Fatalf("chunk %d alone differs from chunk %d among all (%v)", c.Key, c.Key, err)
			}
		}
		back, err := ordset.FromChunks(chunks)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(slices.Collect(back.All()), slices.Collect(s.All())) {
			t.Fatalf("got %d ordinals back, want %d", back.Len(), s.Len())
		}
	})
}

func TestDamagedChunksAreRefused(t *testing.T) {
	for _, bits := range [][]byte{nil, {1, 2, 3}, make([]byte, 7)} {
		if s, err := ordset.FromChunks([]push.Chunk{{Bits: bits}}); err == nil {
			t.Errorf("%v: got a set of %d, want an error", bits, s.Len())
		}
	}
}
