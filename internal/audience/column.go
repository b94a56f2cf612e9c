package audience

import "math/bits"

// A column says for each ordinal of a chunk which code it has in one dimension; 0 is none. It is what lets a change find
// the set that a device has to leave. It takes a byte an ordinal while codes fit, else two, and while few devices have a
// code, a sorted list. The zero column has no codes.
type column struct {
	few []uint32 // ordinal << 16 | code, in order; if one and two are nil
	one []uint8  // by ordinal; those beyond its end have none
	two []uint16 // likewise
}

// fewMax is how many codes are kept as a list at most: as much as may be moved for a change.
const fewMax = 4096

// get returns the code of o.
func (c *column) get(o uint16) uint16 {
	switch {
	case c.one != nil:
		if int(o) < len(c.one) {
			return uint16(c.one[o])
		}
	case c.two != nil:
		if int(o) < len(c.two) {
			return c.two[o]
		}
	default:
		if i := c.find(o); i < len(c.few) && uint16(c.few[i]>>16) == o {
			return uint16(c.few[i])
		}
	}
	return 0
}

// find returns where o is in c.few, or would be.
func (c *column) find(o uint16) int {
	low, n, least := 0, len(c.few), uint32(o)<<16
	if n > 0 && c.few[n-1] < least {
		return n
	}
	for n > 0 {
		half := n >> 1
		if c.few[low+half] < least {
			low += half + 1
			n -= half + 1
		} else {
			n = half
		}
	}
	return low
}

// put gives o a code, and returns the one it had.
func (c *column) put(o, code uint16) (old uint16) {
	if c.one == nil && c.two == nil {
		return c.putFew(o, code)
	}
	if old = c.get(o); old == code {
		return old
	}
	if c.one != nil && code > 0xff {
		c.two = make([]uint16, len(c.one))
		for i, code := range c.one {
			c.two[i] = uint16(code)
		}
		c.one = nil
	}
	if c.one != nil {
		c.one = reach(c.one, o)
		c.one[o] = uint8(code)
	} else {
		c.two = reach(c.two, o)
		c.two[o] = code
	}
	return old
}

func (c *column) putFew(o, code uint16) (old uint16) {
	i := c.find(o)
	found := i < len(c.few) && uint16(c.few[i]>>16) == o
	if found {
		old = uint16(c.few[i])
	}
	switch {
	case found && code != 0:
		c.few[i] = uint32(o)<<16 | uint32(code)
	case found:
		c.few = append(c.few[:i], c.few[i+1:]...)
	case code != 0:
		if last := max(int(o), c.last()); len(c.few) == fewMax || 4*(len(c.few)+1) > last+1 {
			c.spread()
			c.put(o, code)
			return 0
		}
		c.few = append(c.few, 0)
		copy(c.few[i+1:], c.few[i:])
		c.few[i] = uint32(o)<<16 | uint32(code)
	}
	return old
}

// last returns the greatest ordinal of c.few, -1 if there is none.
func (c *column) last() int {
	if len(c.few) == 0 {
		return -1
	}
	return int(c.few[len(c.few)-1] >> 16)
}

// spread gives every ordinal a place of its own.
func (c *column) spread() {
	few := c.few
	c.few, c.one = nil, []uint8{}
	for _, e := range few {
		c.put(uint16(e>>16), uint16(e))
	}
}

// reach returns col long enough for o, with some room for the ordinals that follow.
func reach[T uint8 | uint16 | head](col []T, o uint16) []T {
	if int(o) < len(col) {
		return col
	}
	size := min((int(o)+int(o)/4+1024)&^1023, chunkSize)
	longer := make([]T, size)
	copy(longer, col)
	return longer
}

// bytes returns how much memory c takes, without itself.
func (c *column) bytes() int { return 4*cap(c.few) + cap(c.one) + 2*cap(c.two) }

// A matcher is a set of codes. Code 0 is never in it. Whether a code is in it is a number, not a condition: what follows from
// it is computed without a branch that nobody could foresee.
type matcher struct {
	in     []uint8 // by code: 1 or 0
	beyond uint8   // likewise, for codes beyond in
}

func (m *matcher) of(code uint16) uint8 {
	if int(code) < len(m.in) {
		return m.in[code]
	}
	return m.beyond
}

func (m *matcher) has(code uint16) bool { return m.of(code) != 0 }

// flip returns what a 1 or 0 is changed by where it is to mean the opposite of yes.
func flip(want bool) uint8 {
	if want {
		return 0
	}
	return 1
}

// filter keeps those members of list, in place, whose code is in match, or if want is false, is not.
func (c *column) filter(list []uint16, match *matcher, want bool) []uint16 {
	other, kept := flip(want), 0
	switch {
	case c.one != nil:
		for _, o := range list {
			var code uint16
			if int(o) < len(c.one) {
				code = uint16(c.one[o])
			}
			list[kept] = o
			kept += int(match.of(code) ^ other)
		}
	case c.two != nil:
		for _, o := range list {
			var code uint16
			if int(o) < len(c.two) {
				code = c.two[o]
			}
			list[kept] = o
			kept += int(match.of(code) ^ other)
		}
	default:
		for _, o := range list {
			list[kept] = o
			kept += int(match.of(c.get(o)) ^ other)
		}
	}
	return list[:kept]
}

// filterBits is filter for bits.
func (c *column) filterBits(w *words, match *matcher, want bool) {
	if c.one == nil && c.two == nil {
		for i, word := range w {
			for left := word; left != 0; left &= left - 1 {
				bit := bits.TrailingZeros64(left)
				if match.has(c.get(uint16(i<<6+bit))) != want {
					word &^= 1 << bit
				}
			}
			w[i] = word
		}
		return
	}
	for i, word := range w {
		if word == 0 {
			continue
		}
		switch first := i << 6; {
		case len(c.one) >= first+64:
			w[i] = filterWord(word, c.one[first:first+64], match, flip(want))
		case len(c.two) >= first+64:
			w[i] = filterWord(word, c.two[first:first+64], match, flip(want))
		case want: // beyond the end of the column nobody has a code: its length is a multiple of 64
			w[i] = 0
		}
	}
}

func filterWord[T uint8 | uint16](word uint64, col []T, match *matcher, other uint8) (kept uint64) {
	for col = col[:64]; word != 0; word &= word - 1 {
		bit := bits.TrailingZeros64(word)
		kept |= uint64(match.of(uint16(col[bit&63]))^other) << bit
	}
	return kept
}
