package ordset

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"math/bits"
	"slices"

	"github.com/carillonpush/carillon/internal/push"
)

// Words is one chunk as bits: ordinal o is bit o%64 of word o%65536/64.
type Words [1024]uint64

// A chunk of at most listMax members is written as their list, any other as its bits: 2 bytes a member, or 8 KiB.
const (
	chunkSize = 1 << 16
	listMax   = 4096
	wordBytes = 8 * len(Words{})
)

// The roaring format (github.com/RoaringBitmap/RoaringFormatSpec) is, in little-endian order: a cookie, how many chunks
// there are, for those with runs a bit each, then key and size less one of each, then where each begins, then the chunks.
const (
	cookieRuns   = 12347 // with how many chunks there are, less one, in the upper half
	cookieNoRuns = 12346 // followed by how many
	fewChunks    = 4     // a set with runs and fewer chunks than this does not say where they begin
)

// A Builder makes a set of chunks that come in growing order of their keys. The zero Builder is ready to use.
type Builder struct {
	heads []byte // key and size less one, of each chunk
	data  []byte
	ends  []int // of each chunk in data
}

// Words adds a chunk of n members. A chunk without members is none.
func (b *Builder) Words(key uint16, w *Words, n int) {
	if !b.begin(key, n) {
		return
	}
	if n > listMax {
		b.words(w)
	} else {
		for i, word := range w {
			for ; word != 0; word &= word - 1 {
				b.data = binary.LittleEndian.AppendUint16(b.data, uint16(i<<6+bits.TrailingZeros64(word)))
			}
		}
	}
	b.ends = append(b.ends, len(b.data))
}

// List adds a chunk of members that come in growing order. A chunk without members is none.
func (b *Builder) List(key uint16, members []uint16) {
	if !b.begin(key, len(members)) {
		return
	}
	if len(members) > listMax {
		var w Words
		for _, o := range members {
			w[o>>6] |= 1 << (o & 63)
		}
		b.words(&w)
	} else {
		for _, o := range members {
			b.data = binary.LittleEndian.AppendUint16(b.data, o)
		}
	}
	b.ends = append(b.ends, len(b.data))
}

func (b *Builder) words(w *Words) {
	at := len(b.data)
	b.data = b.data[:at+wordBytes] // begin made room
	for i, word := range w {
		binary.LittleEndian.PutUint64(b.data[at+8*i:], word)
	}
}

// begin writes the head of a chunk, unless it has no members.
func (b *Builder) begin(key uint16, n int) bool {
	if n == 0 {
		return false
	}
	b.heads = binary.LittleEndian.AppendUint16(b.heads, key)
	b.heads = binary.LittleEndian.AppendUint16(b.heads, uint16(n-1))
	b.data = slices.Grow(b.data, min(2*n, wordBytes))
	return true
}

// Append adds the chunks of next, which all come after those of b.
func (b *Builder) Append(next *Builder) {
	base := len(b.data)
	b.heads, b.data = append(b.heads, next.heads...), append(b.data, next.data...)
	for _, end := range next.ends {
		b.ends = append(b.ends, base+end)
	}
}

// Set returns the set of all chunks. It shares nothing with b.
func (b *Builder) Set() *Set {
	s := new(Set)
	if len(b.ends) == 0 {
		return s
	}
	head := binary.LittleEndian.AppendUint32(nil, cookieNoRuns)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(b.ends)))
	head = append(head, b.heads...)
	start := len(head) + 4*len(b.ends)
	for i := range b.ends {
		at := start
		if i > 0 {
			at += b.ends[i-1]
		}
		head = binary.LittleEndian.AppendUint32(head, uint32(at))
	}
	// The library copies what it reads: sets that share their containers with a buffer are not safe to clone concurrently.
	if _, err := s.bits.ReadFrom(&twoParts{head, b.data}); err != nil {
		panic(fmt.Sprintf("ordset: a set of %d chunks cannot be read back: %v", len(b.ends), err)) // ours alone is the fault
	}
	return s
}

// twoParts reads one part after the other.
type twoParts [2][]byte

func (r *twoParts) Read(p []byte) (int, error) {
	i := 0
	if len(r[0]) == 0 {
		i = 1
	}
	n := copy(p, r[i])
	r[i] = r[i][n:]
	if n == 0 && len(p) > 0 {
		return 0, errShort
	}
	return n, nil
}

var errShort = fmt.Errorf("ordset: the set ends too early")

// A View reads the chunks of a set as it was when the view was made. It is not changed by reading, so that several
// goroutines may read it at once.
type View struct {
	bytes  []byte
	chunks []viewed
}

// A viewed says what a chunk of a view is, and where.
type viewed struct {
	key  uint16
	runs bool
	n    int // members
	at   int // of its bytes
}

// View returns a view of s.
func (s *Set) View() *View {
	var buf bytes.Buffer
	buf.Grow(int(s.bits.GetSerializedSizeInBytes()))
	if _, err := s.bits.WriteTo(&buf); err != nil {
		panic(fmt.Sprintf("ordset: %v", err)) // memory does not fail
	}
	v := &View{bytes: buf.Bytes()}
	v.index()
	return v
}

// index finds the chunks in v.bytes, which the library wrote.
func (v *View) index() {
	cookie, at := binary.LittleEndian.Uint32(v.bytes), 4
	count := int(cookie>>16) + 1
	var runs []byte
	if cookie&0xffff == cookieRuns {
		runs = v.bytes[at : at+(count+7)/8]
		at += len(runs)
	} else {
		count, at = int(binary.LittleEndian.Uint32(v.bytes[at:])), at+4
	}
	heads := v.bytes[at:]
	at += 4 * count
	if runs == nil || count >= fewChunks {
		at += 4 * count // the chunks follow one another: where each begins is known without being told
	}
	v.chunks = make([]viewed, count)
	for i := range v.chunks {
		c := &v.chunks[i]
		c.key, c.n, c.at = binary.LittleEndian.Uint16(heads[4*i:]), int(binary.LittleEndian.Uint16(heads[4*i+2:]))+1, at
		switch {
		case runs != nil && runs[i/8]>>(i%8)&1 == 1:
			c.runs = true
			at += 2 + 4*int(binary.LittleEndian.Uint16(v.bytes[at:]))
		case c.n > listMax:
			at += wordBytes
		default:
			at += 2 * c.n
		}
	}
}

// find returns a chunk; the zero viewed, which has no members, if it is not there.
func (v *View) find(key uint16) viewed {
	i, ok := slices.BinarySearchFunc(v.chunks, key, func(c viewed, key uint16) int { return int(c.key) - int(key) })
	if !ok {
		return viewed{}
	}
	return v.chunks[i]
}

// Keys yields the keys of the chunks that have members, in order.
func (v *View) Keys() iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		for _, c := range v.chunks {
			if !yield(c.key) {
				return
			}
		}
	}
}

// Len returns how many members a chunk has.
func (v *View) Len(key uint16) int { return v.find(key).n }

// Words makes w the members of a chunk, and returns how many they are.
func (v *View) Words(key uint16, w *Words) int {
	c := v.find(key)
	b := v.bytes[c.at:]
	switch {
	case c.runs:
		*w = Words{}
		for first, last := range runsOf(b) {
			w.fill(first, last)
		}
	case c.n > listMax:
		for i := range w {
			w[i] = binary.LittleEndian.Uint64(b[8*i:])
		}
	default:
		*w = Words{}
		for i := range c.n {
			o := binary.LittleEndian.Uint16(b[2*i:])
			w[o>>6] |= 1 << (o & 63)
		}
	}
	return c.n
}

// fill puts the ordinals from first to last into w.
func (w *Words) fill(first, last int) {
	from, to := first>>6, last>>6
	lower, upper := ^uint64(0)<<(first&63), ^uint64(0)>>(63-last&63)
	if from == to {
		w[from] |= lower & upper
		return
	}
	w[from] |= lower
	for i := from + 1; i < to; i++ {
		w[i] = ^uint64(0)
	}
	w[to] |= upper
}

// List appends the members of a chunk to list, in order.
func (v *View) List(key uint16, list []uint16) []uint16 {
	c := v.find(key)
	b := v.bytes[c.at:]
	switch {
	case c.runs:
		for first, last := range runsOf(b) {
			for o := first; o <= last; o++ {
				list = append(list, uint16(o))
			}
		}
	case c.n > listMax:
		for i := range wordBytes / 8 {
			for word := binary.LittleEndian.Uint64(b[8*i:]); word != 0; word &= word - 1 {
				list = append(list, uint16(i<<6+bits.TrailingZeros64(word)))
			}
		}
	default:
		for i := range c.n {
			list = append(list, binary.LittleEndian.Uint16(b[2*i:]))
		}
	}
	return list
}

// runsOf yields the first and the last ordinal of each run.
func runsOf(b []byte) iter.Seq2[int, int] {
	return func(yield func(int, int) bool) {
		for i := range int(binary.LittleEndian.Uint16(b)) {
			first := int(binary.LittleEndian.Uint16(b[2+4*i:]))
			if !yield(first, min(first+int(binary.LittleEndian.Uint16(b[4+4*i:])), chunkSize-1)) {
				return
			}
		}
	}
}

// Key returns the key of the chunk that o is in.
func Key(o push.Ordinal) uint16 { return uint16(o >> 16) }
