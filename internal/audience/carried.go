package audience

import (
	"encoding/binary"
	"slices"

	"github.com/carillonpush/carillon/internal/push"
)

// A carried says for each ordinal of a chunk which tags the device carries, so that a change finds the sets that it has to
// leave without a look into those of all tags. Devices are packed by blocks of 64: for each of them how many bytes it has,
// and its tags, growing, each as what it is more than the one before. The zero carried says that nobody carries any.
type carried struct{ blocks [][]byte }

const blockSize = 64

// of appends the tags of o to ids.
func (c *carried) of(ids []push.TagID, o uint16) []push.TagID {
	block := c.block(o)
	if block == nil {
		return ids
	}
	start, end := bounds(block, int(o%blockSize))
	_, head := binary.Uvarint(block[start:])
	return unpack(ids, block[start+head:end])
}

func (c *carried) block(o uint16) []byte {
	if i := int(o / blockSize); i < len(c.blocks) {
		return c.blocks[i]
	}
	return nil
}

// bounds returns where the nth device of a block is.
func bounds(block []byte, n int) (start, end int) {
	for {
		size := int(block[end])
		if size < 0x80 {
			size++
		} else {
			long, head := binary.Uvarint(block[end:])
			size = int(long) + head
		}
		start, end = end, end+size
		if n--; n < 0 {
			return start, end
		}
	}
}

func unpack(ids []push.TagID, b []byte) []push.TagID {
	id := push.TagID(0)
	for len(b) > 0 {
		more, n := binary.Uvarint(b)
		id += push.TagID(more)
		ids = append(ids, id)
		b = b[n:]
	}
	return ids
}

// put makes ids, which grow, the tags of o.
func (c *carried) put(o uint16, ids []push.TagID) {
	block := c.block(o)
	if block == nil {
		if len(ids) == 0 {
			return
		}
		block = make([]byte, blockSize)
	}
	var room [64]byte
	packed := room[:0]
	last := push.TagID(0)
	for _, id := range ids {
		packed = binary.AppendUvarint(packed, uint64(id-last))
		last = id
	}
	var head [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(head[:], uint64(len(packed)))
	start, end := bounds(block, int(o%blockSize))
	i := int(o / blockSize)
	if i >= len(c.blocks) {
		c.blocks = append(c.blocks, make([][]byte, i+1-len(c.blocks))...)
	}
	c.blocks[i] = splice(block, start, end, head[:n], packed)
}

// splice replaces block[start:end] by head and body.
func splice(block []byte, start, end int, head, body []byte) []byte {
	size := len(block) - (end - start) + len(head) + len(body)
	into := block
	if size > cap(block) || cap(block) > 2*size+64 {
		into = append([]byte(nil), make([]byte, size+size/8)...)
		copy(into, block[:start])
	}
	into = into[:size]
	copy(into[start+len(head)+len(body):], block[end:])
	copy(into[start:], head)
	copy(into[start+len(head):], body)
	return into
}

// valid reports whether a block is one that put may have made.
func validBlock(block []byte) bool {
	at := 0
	for range blockSize {
		size, n := binary.Uvarint(block[at:])
		if n <= 0 || size > uint64(len(block)-at-n) {
			return false
		}
		at += n
		if !validTags(block[at : at+int(size)]) {
			return false
		}
		at += int(size)
	}
	return at == len(block)
}

func validTags(b []byte) bool {
	last := uint64(0)
	for len(b) > 0 {
		more, n := binary.Uvarint(b)
		if n <= 0 || more == 0 || more > 1<<32-1-last {
			return false
		}
		last += more
		b = b[n:]
	}
	return true
}

// bytes returns how much memory c takes, without itself.
func (c *carried) bytes() int {
	n := 24 * cap(c.blocks)
	for _, block := range c.blocks {
		n += cap(block)
	}
	return n
}

// sorted returns ids growing and each once, in room if they are not already.
func sorted(room, ids []push.TagID) []push.TagID {
	if slices.IsSorted(ids) {
		for i := 1; ; i++ {
			if i >= len(ids) {
				return ids
			}
			if ids[i] == ids[i-1] {
				break
			}
		}
	}
	room = append(room[:0], ids...)
	slices.Sort(room)
	return slices.Compact(room)
}
