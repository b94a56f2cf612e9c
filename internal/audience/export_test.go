package audience

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/carillonpush/carillon/internal/push"
)

// A Set is a set of one chunk, for its own tests.
type Set struct{ s set }

// Put, Has, Members and Valid are what the tests ask of a set.
func (s *Set) Put(o uint16, in bool) bool { return s.s.put(o, in) }

// Has is set.has.
func (s *Set) Has(o uint16) bool { return s.s.has(o) }

// Members returns the members in order.
func (s *Set) Members() []uint16 {
	if s.s.bits != nil {
		return listBits(nil, s.s.bits)
	}
	return s.s.list
}

// Valid reports whether the set is in the form that its size asks for.
func (s *Set) Valid() bool {
	n := len(s.Members())
	return n == s.s.n && (s.s.bits == nil || n >= listMin && s.s.list == nil) && n <= map[bool]int{true: listMax, false: chunkSize}[s.s.bits == nil]
}

// A Column is a column, for its own tests.
type Column struct{ c column }

// Get is column.get.
func (c *Column) Get(o uint16) uint16 { return c.c.get(o) }

// Put is column.put.
func (c *Column) Put(o, code uint16) uint16 { return c.c.put(o, code) }

// Filter is column.filter and column.filterBits, which must agree.
func (c *Column) Filter(list []uint16, codes []uint8, beyond uint8, want bool) (filtered, bits []uint16) {
	var w words
	setBits(&w, list)
	m := matcher{codes, beyond}
	c.c.filterBits(&w, &m, want)
	return c.c.filter(append([]uint16(nil), list...), &m, want), listBits(nil, &w)
}

// A Carried is what devices carry, for its own tests.
type Carried struct{ c carried }

// Put is carried.put.
func (c *Carried) Put(o uint16, ids []push.TagID) { c.c.put(o, ids) }

// Of is carried.of.
func (c *Carried) Of(o uint16) []push.TagID { return c.c.of(nil, o) }

// Valid reports whether all blocks are what a snapshot accepts.
func (c *Carried) Valid() bool {
	for _, block := range c.c.blocks {
		if block != nil && !validBlock(block) {
			return false
		}
	}
	return true
}

// DecodeChunk decodes the payload of a chunk, and reports sets that do not agree with it.
func DecodeChunk(b []byte) (again []byte, err error) {
	c := new(chunk)
	known := new(tags)
	for id := range push.TagID(50) {
		known.add(id+1, fmt.Sprint(id))
	}
	if err := c.decode(b, known); err != nil {
		return nil, err
	}
	return appendChunk(nil, c), c.check()
}

// Payloads returns the chunks of a snapshot.
func Payloads(snapshot []byte) (all [][]byte) {
	b := snapshot[len(snapshotLine):]
	for len(b) > 0 {
		n := int(binary.LittleEndian.Uint32(b[1:]))
		if b[0] == frameChunk {
			all = append(all, b[frameHeadSize+2:frameHeadSize+n])
		}
		b = b[frameHeadSize+n+4:]
	}
	return all
}

// Reseal makes the checksums of a snapshot right, as far as its frames can be followed.
func Reseal(snapshot []byte) {
	if len(snapshot) < len(snapshotLine) {
		return
	}
	for b := snapshot[len(snapshotLine):]; len(b) >= frameHeadSize+4; {
		n := int(binary.LittleEndian.Uint32(b[1:]))
		if n > len(b)-frameHeadSize-4 {
			return
		}
		binary.LittleEndian.PutUint32(b[frameHeadSize+n:], crc32.Checksum(b[:frameHeadSize+n], castagnoli))
		b = b[frameHeadSize+n+4:]
	}
}

// Check reports sets of the index that do not agree with its columns.
func (x *Index) Verify(id push.AppID) (err error) {
	x.each(id, func(key uint16, c *chunk) {
		if e := c.check(); e != nil {
			err = fmt.Errorf("chunk %d: %w", key, e)
		}
	})
	return err
}

// check counts all sets and compares them with heads, columns and what devices carry.
func (c *chunk) check() error {
	var dimensions []*dimension
	for i := range c.days {
		dimensions = append(dimensions, &c.days[i].dimension)
	}
	for _, d := range c.attributes {
		if d != nil {
			dimensions = append(dimensions, d)
		}
	}
	counts := map[*set]int{}
	member := func(s *set, o int, in bool) error {
		counts[s] += int(flip(!in))
		if s.has(uint16(o)) != in {
			return fmt.Errorf("device %d is in a set, and must not, or is not, and must", o)
		}
		return nil
	}
	for o := range max(1, len(c.heads)) { // others are not registered, and in no set: else counts are wrong
		h := c.head(uint16(o))
		errs := []error{member(&c.all, o, h.platform != 0)}
		for p := range c.platforms {
			errs = append(errs, member(&c.platforms[p], o, p != 0 && h.platform == push.Platform(p)))
		}
		for f := range c.flags {
			errs = append(errs, member(&c.flags[f], o, h.flags>>f&1 != 0))
		}
		for _, d := range dimensions {
			code := d.column.get(uint16(o))
			errs = append(errs, member(&d.any, o, code != 0))
			for i := range d.sets {
				errs = append(errs, member(&d.sets[i], o, d.codes[i] == code))
			}
		}
		for i := range c.days {
			code := c.days[i].column.get(uint16(o))
			for j := range c.days[i].weeks {
				errs = append(errs, member(&c.days[i].weeks[j], o, code != 0 && int(code/week) == j))
			}
		}
		carried := c.carried.of(nil, uint16(o))
		for id, s := range c.tags {
			errs = append(errs, member(s, o, slices.Contains(carried, id)))
		}
		if h.platform != 0 && (h.registered < c.first || h.registered > c.last) {
			return fmt.Errorf("device %d registered outside the bounds", o)
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	for s, n := range counts {
		if members := (&Set{*s}).Members(); s.n != n || len(members) != n || !slices.IsSorted(members) {
			return fmt.Errorf("a set of %d has %d and says %d", n, len(members), s.n)
		}
	}
	return nil
}
