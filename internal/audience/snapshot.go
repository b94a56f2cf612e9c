package audience

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/carillonpush/carillon/internal/push"
)

// A Head says of which record a snapshot is, and up to which change.
type Head struct {
	Record [16]byte
	Seq    int64 // every change up to this is in the snapshot
}

// A snapshot is a line that says what it is, and then frames: a byte that says which, the length of the payload in four
// bytes, the payload, and the CRC-32C of all that. Numbers are little-endian. Frames come in this order:
//
//	head    record, sequence
//	of each app:
//	  app     its id
//	  chunk   what the devices of one chunk are: see appendChunk
//	  app end the ordinal that was never given, the attributes and their values
//	end     how many frames came before it
//
// The attributes come after the chunks, so that every code in them has its meaning there, even if devices change while the
// snapshot is written. Sets are not in it: they follow from what devices are, and cost less to make than to read.
const snapshotLine = "carillon audience index 2\n"

const (
	frameHead   = 'H'
	frameApp    = 'A'
	frameChunk  = 'C'
	frameAppEnd = 'D'
	frameEnd    = 'E'

	frameHeadSize = 5
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// WriteSnapshot writes all that the index knows of devices, chunk by chunk, while they change: whoever reads it applies what
// changed after head.Seq once more. All changes up to head.Seq have been applied when it is called. Tags are not in it.
func (x *Index) WriteSnapshot(w io.Writer, head Head) error {
	f := framer{w: w}
	if _, err := io.WriteString(w, snapshotLine); err != nil {
		return fmt.Errorf("audience: snapshot: %w", err)
	}
	f.begin(frameHead)
	f.buf = append(f.buf, head.Record[:]...)
	f.buf = binary.LittleEndian.AppendUint64(f.buf, uint64(head.Seq))
	f.end()
	for _, id := range x.Apps() {
		if a := x.find(id); a != nil {
			a.write(&f, id)
		}
	}
	n := f.frames
	f.begin(frameEnd)
	f.buf = binary.LittleEndian.AppendUint64(f.buf, n)
	f.end()
	if f.err != nil {
		return fmt.Errorf("audience: snapshot: %w", f.err)
	}
	return nil
}

// A framer writes frames, each made in one buffer, until one fails.
type framer struct {
	w      io.Writer
	buf    []byte
	frames uint64
	err    error
}

func (f *framer) begin(kind byte) { f.buf = append(f.buf[:0], kind, 0, 0, 0, 0) }

func (f *framer) end() {
	binary.LittleEndian.PutUint32(f.buf[1:], uint32(len(f.buf)-frameHeadSize))
	f.buf = binary.LittleEndian.AppendUint32(f.buf, crc32.Checksum(f.buf, castagnoli))
	f.frames++
	if f.err == nil {
		_, f.err = f.w.Write(f.buf)
	}
}

func (a *app) write(f *framer, id push.AppID) {
	f.begin(frameApp)
	f.buf = binary.LittleEndian.AppendUint32(f.buf, uint32(id))
	f.end()
	a.each(func(key uint16, c *chunk) {
		if f.err != nil {
			return
		}
		f.begin(frameChunk)
		f.buf = binary.LittleEndian.AppendUint16(f.buf, key)
		c.mu.RLock()
		f.buf = appendChunk(f.buf, c)
		c.mu.RUnlock() // before it is written: a slow disk delays nobody
		f.end()
	})
	f.begin(frameAppEnd)
	f.buf = binary.LittleEndian.AppendUint64(f.buf, a.next.Load())
	f.buf = a.dictionary.append(f.buf)
	f.end()
}

// append appends whether a name was refused, and of each attribute its name, whether it has too many values, and these.
func (d *dictionary) append(b []byte) []byte {
	d.mu.RLock()
	defer d.mu.RUnlock()
	b = append(b, flip(!d.full.Load()))
	b = binary.AppendUvarint(b, uint64(len(d.list)))
	for _, a := range d.list {
		t := a.table.Load()
		b = appendText(b, a.name)
		b = append(b, flip(!t.over))
		b = binary.AppendUvarint(b, uint64(t.size))
		for code := range t.size {
			v := t.value(code)
			if int(a.codes[v]) != code {
				v = "" // nobody has it any more
			}
			b = appendText(b, v)
		}
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendChunk appends heads, columns, tags, generations and epochs. c.mu is held.
func appendChunk(b []byte, c *chunk) []byte {
	b = binary.AppendUvarint(b, uint64(len(c.heads)))
	b = slices.Grow(b, 7*len(c.heads))
	for i := range c.heads {
		b = binary.LittleEndian.AppendUint32(b, c.heads[i].registered)
	}
	for i := range c.heads {
		b = binary.LittleEndian.AppendUint16(b, c.heads[i].flags)
	}
	for i := range c.heads {
		b = append(b, byte(c.heads[i].platform))
	}
	for i := range c.days {
		b = c.days[i].column.append(b)
	}
	b = binary.AppendUvarint(b, uint64(len(c.attributes)))
	for _, d := range c.attributes {
		if d == nil {
			d = new(dimension)
		}
		b = d.column.append(b)
	}
	b = binary.AppendUvarint(b, uint64(len(c.carried.blocks)))
	for _, block := range c.carried.blocks {
		b = append(binary.AppendUvarint(b, uint64(len(block))), block...)
	}
	b = binary.AppendUvarint(b, uint64(len(c.generation)))
	for o, g := range c.generation {
		b = append(binary.LittleEndian.AppendUint16(b, o), g)
	}
	b = binary.AppendUvarint(b, uint64(len(c.epoch)))
	for o, e := range c.epoch {
		b = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint16(b, o), e)
	}
	return b
}

// The forms of a column.
const (
	columnFew = iota
	columnOne
	columnTwo
)

func (c *column) append(b []byte) []byte {
	switch {
	case c.one != nil:
		b = append(binary.AppendUvarint(append(b, columnOne), uint64(len(c.one))), c.one...)
	case c.two != nil:
		b = binary.AppendUvarint(append(b, columnTwo), uint64(len(c.two)))
		b = slices.Grow(b, 2*len(c.two))
		for _, code := range c.two {
			b = binary.LittleEndian.AppendUint16(b, code)
		}
	default:
		b = binary.AppendUvarint(append(b, columnFew), uint64(len(c.few)))
		for _, e := range c.few {
			b = binary.LittleEndian.AppendUint32(b, e)
		}
	}
	return b
}
