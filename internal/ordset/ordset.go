// Package ordset holds sets of ordinals: the sets that the house computes with. A set is a roaring bitmap, kept and
// stored by chunks of 65,536 ordinals. It is the only importer of the bitmap library.
package ordset

import (
	"fmt"
	"iter"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/carillonpush/carillon/internal/push"
)

// A Set is a set of ordinals. The zero Set is empty and ready to use. It is not safe for use by several goroutines while
// one of them changes it.
type Set struct{ bits roaring.Bitmap }

// Of returns the set of the given ordinals.
func Of(all ...push.Ordinal) *Set {
	s := new(Set)
	for _, o := range all {
		s.bits.Add(uint32(o))
	}
	return s
}

// Add puts o into s and reports whether it was not there.
func (s *Set) Add(o push.Ordinal) bool { return s.bits.CheckedAdd(uint32(o)) }

// Remove takes o out of s and reports whether it was there.
func (s *Set) Remove(o push.Ordinal) bool { return s.bits.CheckedRemove(uint32(o)) }

// Has reports whether o is in s.
func (s *Set) Has(o push.Ordinal) bool { return s.bits.Contains(uint32(o)) }

// Len returns how many ordinals s has.
func (s *Set) Len() int { return int(s.bits.GetCardinality()) }

// Empty reports whether s has no ordinal.
func (s *Set) Empty() bool { return s.bits.IsEmpty() }

// Clone returns a copy that shares nothing with s.
func (s *Set) Clone() *Set { return &Set{bits: *s.bits.Clone()} }

// Union adds all of t to s.
func (s *Set) Union(t *Set) { s.bits.Or(&t.bits) }

// Subtract removes all of t from s.
func (s *Set) Subtract(t *Set) { s.bits.AndNot(&t.bits) }

// Intersect removes from s what is not in t.
func (s *Set) Intersect(t *Set) { s.bits.And(&t.bits) }

// And returns how many ordinals s and t share.
func (s *Set) And(t *Set) int { return int(s.bits.AndCardinality(&t.bits)) }

// Bytes returns about how much memory s takes.
func (s *Set) Bytes() int { return int(s.bits.GetSizeInBytes()) }

// Compact brings s into its smallest form. It is worth its cost for sets that are kept and not changed any more.
func (s *Set) Compact() { s.bits.RunOptimize() }

// All yields the ordinals of s in order. s must not change meanwhile.
func (s *Set) All() iter.Seq[push.Ordinal] {
	return func(yield func(push.Ordinal) bool) {
		s.bits.Iterate(func(x uint32) bool { return yield(push.Ordinal(x)) })
	}
}

// Chunks returns s in its stored form, in order of their keys.
func (s *Set) Chunks() ([]push.Chunk, error) {
	var all []push.Chunk
	it := s.bits.Iterator()
	for it.HasNext() {
		key := uint16(it.PeekNext() >> 16)
		c, err := s.Chunk(key)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
		if key == 1<<16-1 {
			break
		}
		it.AdvanceIfNeeded(uint32(key+1) << 16)
	}
	return all, nil
}

// Chunk returns the part of s whose upper 16 bits are key, in its stored form.
func (s *Set) Chunk(key uint16) (push.Chunk, error) {
	lo := uint64(key) << 16
	part := roaring.New()
	part.AddRange(lo, lo+1<<16)
	part.And(&s.bits)
	part.RunOptimize()
	b, err := part.ToBytes()
	if err != nil {
		return push.Chunk{}, fmt.Errorf("ordset: %w", err)
	}
	return push.Chunk{Key: key, Bits: b}, nil
}

// FromChunks returns the union of stored chunks. Bytes that are no set are an error. The chunks are not kept.
func FromChunks(chunks []push.Chunk) (*Set, error) {
	s := new(Set)
	for _, c := range chunks {
		part := roaring.New()
		if err := part.UnmarshalBinary(c.Bits); err != nil {
			return nil, fmt.Errorf("ordset: chunk %d: %w", c.Key, err)
		}
		s.bits.Or(part)
	}
	return s, nil
}
