package ordset

import (
	"hash/maphash"
	"iter"
	"math/bits"
	"slices"

	"github.com/carillonpush/carillon/internal/push"
)

// A Container is one chunk of a set by itself, in its smallest form: members are the lower 16 bits of ordinals. It never
// changes, so that several goroutines may read it and several sets may share it. The zero Container has no members.
type Container struct {
	words *Words   // nil if there is a list
	list  []uint16 // members, or runs, in order
	n     int32    // members
	runs  bool     // whether list holds runs: the first and the last member of each
}

// Bytes returns how much heap c takes, itself included.
func (c *Container) Bytes() int {
	const self = 48
	if c.words != nil {
		return self + wordBytes
	}
	return self + 2*cap(c.list)
}

// Len returns how many members c has.
func (c *Container) Len() int { return int(c.n) }

// A form is how members are kept.
type form int

const (
	asList form = iota
	asRuns
	asWords
)

// smallest returns the form that takes least room for n members in a number of runs. Equal sets have equal forms.
func smallest(n, runs int) form {
	switch {
	case 2*runs < n && 4*runs < wordBytes:
		return asRuns
	case n <= listMax:
		return asList
	}
	return asWords
}

// Container returns the members of w.
func (w *Words) Container() *Container {
	n, runs := w.Len(), w.runs()
	c := &Container{n: int32(n)}
	switch smallest(n, runs) {
	case asRuns:
		c.runs, c.list = true, room(2*runs)
		for o := w.next(0, 0); o < chunkSize; {
			end := w.next(o, ^uint64(0)) // the first after o that is not in w
			c.list = append(c.list, uint16(o), uint16(end-1))
			o = w.next(end, 0)
		}
	case asList:
		c.list = w.List(room(n))
	case asWords:
		words := *w
		c.words = &words
	}
	return c
}

// room returns an empty list for n numbers, as large as the heap makes it.
func room(n int) []uint16 { return slices.Grow([]uint16(nil), n) }

// runs returns how many runs w has.
func (w *Words) runs() int {
	n, before := 0, uint64(0)
	for _, word := range w {
		n += bits.OnesCount64(word &^ (word<<1 | before))
		before = word >> 63
	}
	return n
}

// List appends the members of w to list, in order.
func (w *Words) List(list []uint16) []uint16 {
	for i, word := range w {
		for ; word != 0; word &= word - 1 {
			list = append(list, uint16(i<<6+bits.TrailingZeros64(word)))
		}
	}
	return list
}

// next returns the first ordinal from o on that is in w, or with flip of all ones that is not; 65536 if there is none.
func (w *Words) next(o int, flip uint64) int {
	if o >= chunkSize {
		return chunkSize
	}
	i := o >> 6
	word := (w[i] ^ flip) &^ (1<<(o&63) - 1)
	for word == 0 {
		if i++; i == len(w) {
			return chunkSize
		}
		word = w[i] ^ flip
	}
	return i<<6 + bits.TrailingZeros64(word)
}

// Len returns how many members w has.
func (w *Words) Len() int {
	n := 0
	for _, word := range w {
		n += bits.OnesCount64(word)
	}
	return n
}

// Has reports whether o is in w.
func (w *Words) Has(o uint16) bool { return w[o>>6]>>(o&63)&1 == 1 }

// Add puts o into w.
func (w *Words) Add(o uint16) { w[o>>6] |= 1 << (o & 63) }

// Remove takes o out of w.
func (w *Words) Remove(o uint16) { w[o>>6] &^= 1 << (o & 63) }

// Union adds all of c to w.
func (w *Words) Union(c *Container) {
	switch {
	case c.words != nil:
		for i, word := range c.words {
			w[i] |= word
		}
	case c.runs:
		for i := 0; i < len(c.list); i += 2 {
			w.fill(int(c.list[i]), int(c.list[i+1]))
		}
	default:
		for _, o := range c.list {
			w.Add(o)
		}
	}
}

// Merge adds all of v to w.
func (w *Words) Merge(v *Words) {
	for i, word := range v {
		w[i] |= word
	}
}

// Subtract takes all of v out of w.
func (w *Words) Subtract(v *Words) {
	for i, word := range v {
		w[i] &^= word
	}
}

// Container returns a chunk of the set by itself. One that is not there has no members.
func (v *View) Container(key uint16) *Container {
	c := v.find(key)
	switch {
	case c.n == 0:
		return new(Container)
	case c.n <= listMax/8:
		return ContainerOf(v.List(key, make([]uint16, 0, c.n)))
	}
	var w Words
	v.Words(key, &w)
	return w.Container()
}

// ContainerOf returns the container of members that come in growing order. It does not keep them.
func ContainerOf(list []uint16) *Container {
	runs := 0
	for i, o := range list {
		if i == 0 || o != list[i-1]+1 {
			runs++
		}
	}
	c := &Container{n: int32(len(list))}
	switch smallest(len(list), runs) {
	case asRuns:
		c.runs, c.list = true, room(2*runs)
		for i, o := range list {
			if i == 0 || o != list[i-1]+1 {
				c.list = append(c.list, o, o)
			}
			c.list[len(c.list)-1] = o
		}
	case asList:
		c.list = append(room(len(list)), list...)
	case asWords:
		c.words = new(Words)
		for _, o := range list {
			c.words.Add(o)
		}
	}
	return c
}

// Container adds a chunk. One without members is none.
func (b *Builder) Container(key uint16, c *Container) {
	if c.words == nil && !c.runs {
		b.List(key, c.list)
		return
	}
	var w Words
	w.Union(c)
	b.Words(key, &w, c.Len())
}

// Has reports whether o is in c.
func (c *Container) Has(o uint16) bool {
	switch {
	case c.words != nil:
		return c.words.Has(o)
	case c.runs:
		return c.inRun(o)
	default:
		_, ok := search(c.list, o)
		return ok
	}
}

// inRun reports whether o is in one of the runs of c.
func (c *Container) inRun(o uint16) bool {
	if len(c.list) == 2 {
		return c.list[0] <= o && o <= c.list[1]
	}
	at, ok := search(c.list, o) // between a first and its last there is no other number
	return ok || at&1 == 1
}

// search returns where o is in a list, or would be.
func search(list []uint16, o uint16) (int, bool) {
	low, high := 0, len(list)
	for low < high {
		if mid := int(uint(low+high) >> 1); list[mid] < o {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, low < len(list) && list[low] == o
}

// Equal reports whether c and d have the same members.
func (c *Container) Equal(d *Container) bool {
	if c.n != d.n || c.runs != d.runs || (c.words == nil) != (d.words == nil) { // equal members have equal smallest forms
		return false
	}
	if c.words != nil {
		return *c.words == *d.words
	}
	return slices.Equal(c.list, d.list)
}

// Hash returns a number that equal containers share under one seed.
func (c *Container) Hash(seed maphash.Seed) uint64 {
	if c.words != nil {
		return maphash.Comparable(seed, *c.words)
	}
	var h maphash.Hash
	h.SetSeed(seed)
	var b [256]byte
	for list := range slices.Chunk(c.list, len(b)/2) {
		for i, o := range list {
			b[2*i], b[2*i+1] = byte(o), byte(o>>8)
		}
		h.Write(b[:2*len(list)])
	}
	if c.runs {
		h.WriteByte(1)
	}
	return h.Sum64()
}

// All yields the members from first on, in order.
func (c *Container) All(first uint16) iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		switch {
		case c.words != nil:
			for o := c.words.next(int(first), 0); o < chunkSize && yield(uint16(o)); {
				o = c.words.next(o+1, 0)
			}
		case c.runs:
			for i := 0; i < len(c.list); i += 2 {
				for o := int(max(first, c.list[i])); o <= int(c.list[i+1]); o++ {
					if !yield(uint16(o)) {
						return
					}
				}
			}
		default:
			at, _ := search(c.list, first)
			for _, o := range c.list[at:] {
				if !yield(o) {
					return
				}
			}
		}
	}
}

// Ordinal returns the ordinal of a member of the chunk key.
func Ordinal(key, member uint16) push.Ordinal { return push.Ordinal(key)<<16 | push.Ordinal(member) }
