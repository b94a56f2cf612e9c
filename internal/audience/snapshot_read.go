package audience

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/carillonpush/carillon/internal/push"
)

var (
	errForeign = errors.New("is of another record, or of another time")
	errDamaged = errors.New("is damaged")
	errLine    = errors.New("is no snapshot of this version")
)

// ReadSnapshot fills an index, which has tags and no devices, from a snapshot whose head is accepted. Nobody else uses the
// index meanwhile. A snapshot that is not accepted, or that is damaged, is an error, and leaves the index without devices.
func (x *Index) ReadSnapshot(r io.Reader, accept func(Head) bool) error {
	apps, err := x.read(bufio.NewReaderSize(r, 1<<20), accept)
	if err != nil {
		return fmt.Errorf("audience: snapshot: %w", err)
	}
	for _, read := range apps {
		a := x.make(read.id)
		a.next.Store(read.next)
		a.dictionary.restore(read.attributes, read.full)
		a.chunks.Store(&read.chunks)
	}
	return nil
}

// A readApp is an app as a snapshot says it.
type readApp struct {
	id         push.AppID
	next       uint64
	full       bool
	attributes []*attribute
	chunks     []*chunk // by key
}

// read reads all frames. Chunks are decoded on all processors.
func (x *Index) read(r *bufio.Reader, accept func(Head) bool) ([]*readApp, error) {
	line := make([]byte, len(snapshotLine))
	if _, err := io.ReadFull(r, line); err != nil || string(line) != snapshotLine {
		return nil, errLine
	}
	kind, b, err := readFrame(r, nil)
	if err != nil || kind != frameHead || len(b) != 24 {
		return nil, errDamaged
	}
	if !accept(Head{Record: [16]byte(b), Seq: int64(binary.LittleEndian.Uint64(b[16:]))}) {
		return nil, errForeign
	}
	var decoders errgroup.Group
	decoders.SetLimit(runtime.GOMAXPROCS(0))
	apps, err := x.readApps(r, &decoders)
	if failed := decoders.Wait(); err == nil {
		err = failed
	}
	if err != nil {
		return nil, err
	}
	for _, a := range apps {
		if err := a.settle(); err != nil {
			return nil, err
		}
	}
	return apps, nil
}

// readApps reads the frames after the head, and has chunks decoded.
func (x *Index) readApps(r *bufio.Reader, decoders *errgroup.Group) (apps []*readApp, err error) {
	free := make(chan []byte, runtime.GOMAXPROCS(0)+1) // buffers
	var open *readApp                                  // whose chunks are being read
	for frames := uint64(1); ; frames++ {
		var buf []byte
		select {
		case buf = <-free:
		default:
		}
		kind, b, err := readFrame(r, buf)
		if err != nil {
			return nil, err
		}
		switch {
		case kind == frameApp && open == nil && len(b) == 4:
			open = &readApp{id: push.AppID(binary.LittleEndian.Uint32(b))}
		case kind == frameChunk && open != nil && len(b) >= 2:
			key := int(binary.LittleEndian.Uint16(b))
			if key < len(open.chunks) {
				return nil, errDamaged // they grow
			}
			c := new(chunk)
			open.chunks = append(append(open.chunks, make([]*chunk, key-len(open.chunks))...), c)
			tags := x.tagsOf(open.id)
			decoders.Go(func() error {
				err := c.decode(b[2:], tags)
				select {
				case free <- b:
				default:
				}
				return err
			})
			continue // the buffer is the decoder's
		case kind == frameAppEnd && open != nil:
			if err := open.readEnd(b); err != nil {
				return nil, err
			}
			apps, open = append(apps, open), nil
		case kind == frameEnd && open == nil && len(b) == 8 && binary.LittleEndian.Uint64(b) == frames:
			if _, err := r.ReadByte(); err != io.EOF {
				return nil, errDamaged
			}
			return apps, nil
		default:
			return nil, errDamaged
		}
		select {
		case free <- b:
		default:
		}
	}
}

// tagsOf returns the tags of an app, none if it is not known.
func (x *Index) tagsOf(id push.AppID) *tags {
	if a := x.find(id); a != nil {
		return &a.tags
	}
	return new(tags)
}

// readFrame reads a frame into buf or a longer one, and returns its payload.
func readFrame(r io.Reader, buf []byte) (kind byte, payload []byte, err error) {
	var head [frameHeadSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, errDamaged
	}
	const step = 1 << 20 // memory grows with what there is, not with what the length claims
	left, b := int(binary.LittleEndian.Uint32(head[1:])), buf[:0]
	for left > 0 {
		n := min(left, max(step, cap(b)-len(b)))
		at := len(b)
		if cap(b)-at < n {
			b = append(b, make([]byte, n)...)
		} else {
			b = b[:at+n]
		}
		if _, err := io.ReadFull(r, b[at:]); err != nil {
			return 0, nil, errDamaged
		}
		left -= n
	}
	var sum [4]byte
	if _, err := io.ReadFull(r, sum[:]); err != nil {
		return 0, nil, errDamaged
	}
	crc := crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, b)
	if binary.LittleEndian.Uint32(sum[:]) != crc {
		return 0, nil, errDamaged
	}
	return head[0], b, nil
}

// readEnd reads the frame that ends an app.
func (a *readApp) readEnd(b []byte) error {
	r := reader{b: b}
	a.next = r.uint64()
	a.full = r.byte() == 1
	n := r.count(MaxNames)
	names := map[string]bool{}
	for number := range n {
		name := r.text()
		if names[name] {
			return errDamaged
		}
		names[name] = true
		at := newAttribute(number, name)
		over := r.byte() == 1
		values := make([]string, 0, min(r.left(), 1<<16))
		for range r.count(1 << 16) {
			values = append(values, r.text())
		}
		if r.bad || !at.restore(values, over) {
			return errDamaged
		}
		a.attributes = append(a.attributes, at)
	}
	if r.bad || r.left() > 0 || a.next > 1<<32 {
		return errDamaged
	}
	return nil
}

// restore makes values those of a, and reports whether they can be.
func (a *attribute) restore(values []string, over bool) bool {
	if over {
		a.codes = nil
		a.table.Store(&table{over: true})
		return len(values) == 0
	}
	if len(values) == 0 || values[0] != "" {
		return false
	}
	t := new(table)
	for code, v := range values {
		t = t.with(v)
		if code == 0 {
			continue
		}
		if v == "" {
			a.free = append(a.free, uint16(code))
			continue
		}
		if _, twice := a.codes[v]; twice {
			return false
		}
		a.codes[v] = uint16(code)
	}
	a.table.Store(t)
	return true
}

// restore makes the attributes those of d.
func (d *dictionary) restore(attributes []*attribute, full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list, d.custom = nil, 0
	for _, a := range attributes {
		d.add(a)
	}
	d.full.Store(full)
}

// settle checks the chunks against the attributes, which came after them, and forgets those that are not indexed any more.
func (a *readApp) settle() error {
	if uint64(len(a.chunks)) > (a.next+chunkSize-1)/chunkSize {
		return errDamaged
	}
	for _, c := range a.chunks {
		if c == nil {
			continue
		}
		if len(c.attributes) > len(a.attributes) {
			return errDamaged
		}
		for number, d := range c.attributes {
			if d == nil {
				continue
			}
			t := a.attributes[number].table.Load()
			if t.over {
				c.attributes[number] = nil
			} else if len(d.where) > t.size {
				return errDamaged
			}
		}
	}
	return nil
}

// A reader reads a payload. After the first thing that is not there it is bad, and reads zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) left() int { return len(r.b) }

// bytes reads n bytes, of which the caller must not keep any.
func (r *reader) bytes(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// count reads a number that is at most limit.
func (r *reader) count(limit int) int {
	v, n := binary.Uvarint(r.b)
	if r.bad || n <= 0 || v > uint64(limit) {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

func (r *reader) text() string {
	return string(r.bytes(r.count(len(r.b))))
}
