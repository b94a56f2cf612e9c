package audience

import (
	"encoding/binary"

	"github.com/carillonpush/carillon/internal/push"
)

// decode makes c what appendChunk wrote, and makes its sets. It believes nothing: whatever the bytes say, c is a chunk whose
// sets agree with its columns, or it fails. known are the app's tags; of others there are no sets.
func (c *chunk) decode(b []byte, known *tags) error {
	r := reader{b: b}
	if !c.decodeHeads(&r) {
		return errDamaged
	}
	for i := range c.days {
		if !c.decodeColumn(&r, &c.days[i].column) {
			return errDamaged
		}
		c.days[i].build()
	}
	if n := r.count(MaxNames); n > 0 {
		c.attributes = make([]*dimension, n)
		for i := range c.attributes {
			d := new(dimension)
			if !c.decodeColumn(&r, &d.column) {
				return errDamaged
			}
			if d.build(); d.any.n > 0 {
				c.attributes[i] = d
			}
		}
	}
	if !c.decodeCarried(&r) {
		return errDamaged
	}
	for range r.count(chunkSize) {
		if b := r.bytes(3); b != nil {
			c.generation = note(c.generation, binary.LittleEndian.Uint16(b), b[2], 1)
		}
	}
	for range r.count(chunkSize) {
		if b := r.bytes(6); b != nil {
			c.epoch = note(c.epoch, binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint32(b[2:]), 0)
		}
	}
	if r.bad || r.left() > 0 {
		return errDamaged
	}
	return c.buildTags(known)
}

func (c *chunk) decodeHeads(r *reader) bool {
	n := r.count(chunkSize)
	registered, flags, platforms := r.bytes(4*n), r.bytes(2*n), r.bytes(n)
	if r.bad {
		return false
	}
	if n > 0 {
		c.heads = make([]head, n)
	}
	for i := range c.heads {
		h := head{
			binary.LittleEndian.Uint32(registered[4*i:]), binary.LittleEndian.Uint16(flags[2*i:]), push.Platform(platforms[i]),
		}
		if h == (head{}) {
			continue
		}
		if !h.platform.Valid() {
			return false
		}
		c.applyHead(uint16(i), head{}, h)
	}
	return true
}

// decodeColumn reads a column in which registered devices only have codes.
func (c *chunk) decodeColumn(r *reader, col *column) bool {
	switch r.byte() {
	case columnOne:
		n := r.count(chunkSize)
		col.one = append([]uint8{}, r.bytes(n)...)
		if n%64 != 0 {
			return false
		}
	case columnTwo:
		n := r.count(chunkSize)
		b := r.bytes(2 * n)
		if r.bad || n%64 != 0 {
			return false
		}
		col.two = make([]uint16, n)
		for i := range col.two {
			col.two[i] = binary.LittleEndian.Uint16(b[2*i:])
		}
	case columnFew:
		n := r.count(fewMax)
		b := r.bytes(4 * n)
		if r.bad {
			return false
		}
		for i := range n {
			e := binary.LittleEndian.Uint32(b[4*i:])
			if uint16(e) == 0 || int(e>>16) <= col.last() {
				return false
			}
			col.few = append(col.few, e)
		}
	default:
		return false
	}
	good := !r.bad
	col.each(func(o, code uint16) { good = good && (code == 0 || c.head(o).platform != 0) })
	return good
}

func (c *chunk) decodeCarried(r *reader) bool {
	n := r.count(chunkSize / blockSize)
	if n > 0 {
		c.carried.blocks = make([][]byte, n)
	}
	for i := range n {
		if size := r.count(r.left()); size > 0 {
			block := append([]byte(nil), r.bytes(size)...)
			if r.bad || !validBlock(block) {
				return false
			}
			c.carried.blocks[i] = block
		}
	}
	return !r.bad
}

// buildTags makes the sets of tags that follow from what devices carry.
func (c *chunk) buildTags(known *tags) error {
	known.mu.RLock()
	defer known.mu.RUnlock()
	var ids []push.TagID
	for i, block := range c.carried.blocks {
		if block == nil {
			continue
		}
		at := 0
		for n := range blockSize {
			size, head := binary.Uvarint(block[at:])
			ids = unpack(ids[:0], block[at+head:at+head+int(size)])
			at += head + int(size)
			o := uint16(i*blockSize + n)
			if len(ids) > 0 && c.head(o).platform == 0 {
				return errDamaged
			}
			for _, id := range ids {
				if _, ok := known.names[id]; ok {
					c.tag(id).add(o)
				}
			}
		}
	}
	return nil
}
