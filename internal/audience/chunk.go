package audience

import (
	"math/bits"
	"slices"
	"sync"
	"unsafe"

	"github.com/carillonpush/carillon/internal/push"
)

// A chunk is the devices of an app whose ordinals share the upper 16 bits. It is changed and read under its lock, one
// device at a time and all of it at once: so nobody sees a device in a state that it did not have.
//
// For each question there is a set of those for whom the answer is yes. What a device is now is in heads, columns and
// carried: that is the whole state, from which the sets follow. A snapshot holds no more than that.
type chunk struct {
	mu         sync.RWMutex // guards all below
	all        set          // registered devices; all other sets are parts of it
	heads      []head       // by ordinal; those beyond its end were never registered
	platforms  [push.Web + 1]set
	flags      [flagCount]set
	days       [dayCount]calendar
	attributes []*dimension // by number; nil for those that nobody here ever had
	tags       map[push.TagID]*set
	carried    carried
	generation map[uint16]uint8  // of ordinals whose generation is not 1
	epoch      map[uint16]uint32 // of ordinals whose secret was replaced, registered or not
	first      uint32            // nobody registered before; with last, for those that are in all
	last       uint32            // nobody registered after
}

// A head is what every device has.
type head struct {
	registered uint32        // seconds since 1970
	flags      uint16        // a bit each
	platform   push.Platform // 0: not registered
}

// The flags.
const (
	flagTest = iota
	flagBlacklisted
	flagPhone
	flagToken  // and one for each channel, by its position in push.TokenChannels
	flagMobile = 14
	flagWiFi   = 15 // of these two at most one
	flagCount  = 16
)

// tokenFlags are those of tokens.
const tokenFlags = 1<<flagMobile - 1<<flagToken

// The days.
const (
	dayActive = iota
	dayBound
	dayUnbound
	dayCount
)

// A state is what a row says of a device, in the terms of a chunk. The zero state is of a removed device.
type state struct {
	head
	days       [dayCount]uint16
	codes      codes
	numbers    int // of attributes that the app has: how far codes go
	generation uint8
	epoch      uint32
}

// read fills in all but codes.
func (s *state) read(row *push.IndexRow) {
	s.generation, s.epoch = row.Ref.Generation, row.Epoch
	if row.Removed {
		return
	}
	s.head = head{registered: seconds(row.Registered), platform: row.Ref.Platform}
	for flag, on := range [...]bool{flagTest: row.Test, flagBlacklisted: row.Blacklisted, flagPhone: row.Phone} {
		if on {
			s.flags |= 1 << flag
		}
	}
	s.flags |= row.Tokens << flagToken & tokenFlags
	switch row.Network {
	case push.Mobile:
		s.flags |= 1 << flagMobile
	case push.WiFi:
		s.flags |= 1 << flagWiFi
	}
	s.days = [dayCount]uint16{dayCode(row.Active), dayCode(row.Bound), dayCode(row.Unbound)}
}

// seconds returns t as a head has it, which reaches from 1970 to 2106.
func seconds(t int64) uint32 { return uint32(min(max(t, 0), 1<<32-1)) }

// head returns the head of o.
func (c *chunk) head(o uint16) head {
	if int(o) < len(c.heads) {
		return c.heads[o]
	}
	return head{}
}

// generationOf returns the generation of o.
func (c *chunk) generationOf(o uint16) uint8 {
	if g, ok := c.generation[o]; ok {
		return g
	}
	return 1
}

// apply makes o what s says, carrying tags, which grow and exist. The last active day of a device never goes back: a row may have been read before the day was
// noted. c.mu is held for writing.
func (c *chunk) apply(o uint16, s *state, tags []push.TagID) {
	old := c.head(o)
	if s.platform != 0 && old.platform != 0 && c.generationOf(o) == s.generation {
		s.days[dayActive] = max(s.days[dayActive], c.days[dayActive].column.get(o))
	}
	c.generation = note(c.generation, o, s.generation, 1)
	c.epoch = note(c.epoch, o, s.epoch, 0)
	if s.head != old {
		c.applyHead(o, old, s.head)
	}
	for i := range c.days {
		c.days[i].put(o, s.days[i])
	}
	for number := range max(s.numbers, len(c.attributes)) {
		if code := s.codes[number]; code != 0 {
			c.attribute(number).put(o, code)
		} else if d := c.dimension(number); d != nil {
			d.put(o, 0)
		}
	}
	c.carry(o, tags)
}

// note writes down what is not usual.
func note[T comparable](m map[uint16]T, o uint16, v, usual T) map[uint16]T {
	if v == usual {
		delete(m, o)
		return m
	}
	if m == nil {
		m = make(map[uint16]T)
	}
	m[o] = v
	return m
}

func (c *chunk) applyHead(o uint16, old, now head) {
	if int(o) >= len(c.heads) {
		c.heads = reach(c.heads, o)
	}
	c.heads[o] = now
	if now.platform != 0 {
		if c.all.n == 0 {
			c.first, c.last = now.registered, now.registered
		}
		c.first, c.last = min(c.first, now.registered), max(c.last, now.registered)
	}
	if now.platform != old.platform {
		c.all.put(o, now.platform != 0)
		if old.platform != 0 {
			c.platforms[old.platform].remove(o)
		}
		if now.platform != 0 {
			c.platforms[now.platform].add(o)
		}
	}
	for changed := now.flags ^ old.flags; changed != 0; changed &= changed - 1 {
		flag := bits.TrailingZeros16(changed)
		c.flags[flag].put(o, now.flags>>flag&1 != 0)
	}
}

// carry makes tags those of o.
func (c *chunk) carry(o uint16, tags []push.TagID) {
	var room [32]push.TagID
	had := c.carried.of(room[:0], o)
	if slices.Equal(had, tags) {
		return
	}
	c.carried.put(o, tags)
	for _, id := range had { // some may be of tags that were removed since, and have no set
		if _, stays := slices.BinarySearch(tags, id); !stays && c.tags[id] != nil {
			if c.tags[id].remove(o); c.tags[id].n == 0 {
				delete(c.tags, id)
			}
		}
	}
	for _, id := range tags {
		c.tag(id).add(o)
	}
}

// tag returns the set of a tag, made if need be.
func (c *chunk) tag(id push.TagID) *set {
	s := c.tags[id]
	if s == nil {
		s = new(set)
		if c.tags == nil {
			c.tags = make(map[push.TagID]*set)
		}
		c.tags[id] = s
	}
	return s
}

// dimension returns what devices have of an attribute, nil if nobody here ever had it.
func (c *chunk) dimension(number int) *dimension {
	if number < len(c.attributes) {
		return c.attributes[number]
	}
	return nil
}

// attribute returns the dimension of an attribute, made if need be.
func (c *chunk) attribute(number int) *dimension {
	if missing := number + 1 - len(c.attributes); missing > 0 {
		c.attributes = append(c.attributes, make([]*dimension, missing)...)
	}
	if c.attributes[number] == nil {
		c.attributes[number] = new(dimension)
	}
	return c.attributes[number]
}

// touch notes a last active day, unless a later one is known. c.mu is held for writing.
func (c *chunk) touch(o, day uint16) {
	if c.head(o).platform != 0 && c.days[dayActive].column.get(o) < day {
		c.days[dayActive].put(o, day)
	}
}

// bytes returns about how much memory c takes. c.mu is held.
func (c *chunk) bytes() int {
	const mapEntry = 16 // of small keys and values, with what a map leaves free
	n := int(unsafe.Sizeof(*c)) + c.all.bytes() + int(unsafe.Sizeof(head{}))*cap(c.heads) + c.carried.bytes()
	n += mapEntry * (len(c.generation) + len(c.epoch))
	for i := range c.platforms {
		n += c.platforms[i].bytes()
	}
	for i := range c.flags {
		n += c.flags[i].bytes()
	}
	for i := range c.days {
		n += c.days[i].bytes()
	}
	for _, d := range c.attributes {
		n += 8
		if d != nil {
			n += int(unsafe.Sizeof(*d)) + d.bytes()
		}
	}
	for _, s := range c.tags {
		n += mapEntry + int(unsafe.Sizeof(*s)) + s.bytes()
	}
	return n
}
