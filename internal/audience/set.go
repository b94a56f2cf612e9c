package audience

import (
	"math/bits"

	"github.com/carillonpush/carillon/internal/ordset"
)

// chunkSize is how many ordinals a chunk has.
const chunkSize = 1 << 16

// A set of at most listMax members is a list; one that grows beyond it becomes bits, where a member costs as much or less.
// It becomes a list again when it has fewer than listMin: a set on the border must not change its form at every change.
const (
	listMax = 4096
	listMin = 3584
)

// words is the bits of a chunk.
type words = ordset.Words

// A set is members of one chunk: as a sorted list while they are few, which most are, and else as bits. The zero set is
// empty. Whoever reads it holds the lock of its chunk.
type set struct {
	list []uint16 // if bits is nil
	bits *words
	n    int // members
}

// has reports whether o is in s.
func (s *set) has(o uint16) bool {
	if s.bits != nil {
		return hasBit(s.bits, o)
	}
	i := search(s.list, o)
	return i < len(s.list) && s.list[i] == o
}

func hasBit(w *words, o uint16) bool { return w[o>>6]>>(o&63)&1 != 0 }

// search returns where o is in list, or would be.
func search(list []uint16, o uint16) int {
	low, n := 0, len(list)
	for n > 0 {
		half := n >> 1
		if list[low+half] < o {
			low += half + 1
			n -= half + 1
		} else {
			n = half
		}
	}
	return low
}

// put makes o a member, or none, and reports whether that is a change.
func (s *set) put(o uint16, in bool) bool {
	if in {
		return s.add(o)
	}
	return s.remove(o)
}

func (s *set) add(o uint16) bool {
	if s.bits != nil {
		if hasBit(s.bits, o) {
			return false
		}
		s.bits[o>>6] |= 1 << (o & 63)
		s.n++
		return true
	}
	at := len(s.list)
	if at > 0 && s.list[at-1] >= o { // devices mostly come in the order of their ordinals
		if at = search(s.list, o); s.list[at] == o {
			return false
		}
	}
	if len(s.list) == listMax {
		s.bits = new(words)
		setBits(s.bits, s.list)
		s.bits[o>>6] |= 1 << (o & 63)
		s.list = nil
		s.n++
		return true
	}
	if len(s.list) == cap(s.list) {
		s.list = grown(s.list)
	}
	s.list = s.list[:len(s.list)+1]
	copy(s.list[at+1:], s.list[at:])
	s.list[at] = o
	s.n++
	return true
}

// grown returns list with a little room: an eighth, not the double that append gives, since there are so many lists.
func grown(list []uint16) []uint16 {
	room := append([]uint16(nil), make([]uint16, len(list)+len(list)/8+1)...) // append uses what the allocator rounds up to
	return room[:copy(room, list)]
}

func (s *set) remove(o uint16) bool {
	if s.bits != nil {
		if !hasBit(s.bits, o) {
			return false
		}
		s.bits[o>>6] &^= 1 << (o & 63)
		if s.n--; s.n < listMin {
			s.list, s.bits = listBits(make([]uint16, 0, s.n), s.bits), nil
		}
		return true
	}
	at := search(s.list, o)
	if at == len(s.list) || s.list[at] != o {
		return false
	}
	s.list = append(s.list[:at], s.list[at+1:]...)
	s.n--
	switch {
	case s.n == 0:
		s.list = nil
	case cap(s.list) > 2*s.n+8:
		s.list = grown(s.list)
	}
	return true
}

// bytes returns how much memory s takes, without itself.
func (s *set) bytes() int {
	if s.bits != nil {
		return 8 * len(s.bits)
	}
	return 2 * cap(s.list)
}

// setBits puts members into w. It works on both halves at once: neighbours are often in one word, and would have to wait
// for each other.
func setBits(w *words, members []uint16) {
	half := len(members) / 2
	low, high := members[:half], members[half:2*half]
	for i, o := range low {
		p := high[i]
		w[o>>6] |= 1 << (o & 63)
		w[p>>6] |= 1 << (p & 63)
	}
	for _, o := range members[2*half:] {
		w[o>>6] |= 1 << (o & 63)
	}
}

// clearBits takes members out of w, as setBits puts them in.
func clearBits(w *words, members []uint16) {
	half := len(members) / 2
	low, high := members[:half], members[half:2*half]
	for i, o := range low {
		p := high[i]
		w[o>>6] &^= 1 << (o & 63)
		w[p>>6] &^= 1 << (p & 63)
	}
	for _, o := range members[2*half:] {
		w[o>>6] &^= 1 << (o & 63)
	}
}

// orBits puts all of b into w.
func orBits(w, b *words) {
	for i := range w {
		w[i] |= b[i]
	}
}

// andBits takes out of w what is not in b.
func andBits(w, b *words) {
	for i := range w {
		w[i] &= b[i]
	}
}

// andNotBits takes b out of w.
func andNotBits(w, b *words) {
	for i := range w {
		w[i] &^= b[i]
	}
}

// countBits returns how many members w has.
func countBits(w *words) int {
	n := 0
	for _, word := range w {
		n += bits.OnesCount64(word)
	}
	return n
}

// listBits appends the members of w to list, in order.
func listBits(list []uint16, w *words) []uint16 {
	for i, word := range w {
		for ; word != 0; word &= word - 1 {
			list = append(list, uint16(i<<6+bits.TrailingZeros64(word)))
		}
	}
	return list
}

// mergeInto puts all of s into w.
func (s *set) mergeInto(w *words) {
	if s.bits != nil {
		orBits(w, s.bits)
	} else {
		setBits(w, s.list)
	}
}

// takeFrom takes all of s out of w.
func (s *set) takeFrom(w *words) {
	if s.bits != nil {
		andNotBits(w, s.bits)
	} else {
		clearBits(w, s.list)
	}
}
