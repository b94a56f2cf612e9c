package audience

import "unsafe"

// A dimension is what a device has one value of, in one chunk: an attribute, or the day of an event. Each value has a
// code, from 1, that is the same in all chunks. The sets answer questions; the column says what to take out of them. The
// zero dimension is of nobody.
type dimension struct {
	column column
	any    set      // who has a value
	where  []uint16 // by code: 1 + its place in sets; 0 or beyond the end: nobody here ever had it
	codes  []uint16 // of sets
	sets   []set
}

// put gives o a code, 0 for none, and returns the one it had.
func (d *dimension) put(o, code uint16) (old uint16) {
	if old = d.column.put(o, code); old == code {
		return old
	}
	if old != 0 {
		d.of(old).remove(o)
	}
	if code != 0 {
		d.make(code).add(o)
	}
	if old == 0 || code == 0 {
		d.any.put(o, code != 0)
	}
	return old
}

// of returns the set of a code, nil if nobody here ever had it.
func (d *dimension) of(code uint16) *set {
	if int(code) >= len(d.where) || d.where[code] == 0 {
		return nil
	}
	return &d.sets[d.where[code]-1]
}

func (d *dimension) make(code uint16) *set {
	if s := d.of(code); s != nil {
		return s
	}
	if missing := int(code) + 1 - len(d.where); missing > 0 {
		d.where = append(d.where, make([]uint16, missing)...)
	}
	d.codes, d.sets = append(d.codes, code), append(d.sets, set{})
	d.where[code] = uint16(len(d.sets))
	return &d.sets[len(d.sets)-1]
}

// build makes the sets that follow from the column, in a dimension that has no sets yet.
func (d *dimension) build() {
	var counts []int
	count := func(code uint16) {
		if int(code) >= len(counts) {
			counts = append(counts, make([]int, int(code)+1-len(counts))...)
		}
		counts[code]++
	}
	d.column.each(func(_, code uint16) { count(code) })
	all := 0
	for code, n := range counts {
		if code == 0 || n == 0 {
			continue
		}
		*d.make(uint16(code)) = room(n)
		all += n
	}
	d.any = room(all)
	d.column.each(func(o, code uint16) {
		if code != 0 {
			d.of(code).append(o)
			d.any.append(o)
		}
	})
}

// room returns a set without members yet, in the form for n of them, which come by append.
func room(n int) set {
	if n > listMax {
		return set{bits: new(words)}
	}
	return set{list: make([]uint16, 0, n)}
}

// append adds o, which is above all members.
func (s *set) append(o uint16) {
	if s.bits != nil {
		s.bits[o>>6] |= 1 << (o & 63)
	} else {
		s.list = append(s.list, o)
	}
	s.n++
}

// each calls f for every ordinal that has a place in c, in order.
func (c *column) each(f func(o, code uint16)) {
	for i, code := range c.one {
		f(uint16(i), uint16(code))
	}
	for i, code := range c.two {
		f(uint16(i), code)
	}
	for _, e := range c.few {
		f(uint16(e>>16), uint16(e))
	}
}

// bytes returns how much memory d takes, without itself.
func (d *dimension) bytes() int {
	n := d.column.bytes() + d.any.bytes() + 2*cap(d.where) + 2*cap(d.codes) + int(unsafe.Sizeof(set{}))*cap(d.sets)
	for i := range d.sets {
		n += d.sets[i].bytes()
	}
	return n
}
