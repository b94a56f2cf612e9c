package audience

import (
	"time"
	"unsafe"

	"github.com/carillonpush/carillon/internal/push"
)

// Days need no dictionary: the code of a day is how many days it is after epochDay, so that codes grow as days do. What is
// before counts as the first day of 2020, long before there was any device, and what is after 2199 as the last.
const epochDay = push.Day(18262) // 2020-01-01; its code is 1

func dayCode(d push.Day) uint16 {
	if d == 0 {
		return 0
	}
	return uint16(min(max(int64(d)-int64(epochDay)+1, 1), 1<<16-1))
}

// within returns the code of the first day that is in the span before now, and the codes from it on.
func within(now time.Time, span time.Duration) (first uint16, m matcher) {
	first = dayCode(max(push.DayOf(now.Add(-span)), 1)) // day 0 would be none
	m = matcher{in: make([]uint8, int(dayCode(push.DayOf(now)))+1), beyond: 1}
	for code := min(int(first), len(m.in)); code < len(m.in); code++ {
		m.in[code] = 1
	}
	return first, m
}

// A calendar is the dimension of a day, with the sets of weeks beside those of days: a question is about many days in a row,
// and most of them are whole weeks.
type calendar struct {
	dimension
	weeks []set // by code / week; each the union of its days
}

const week = 7

// put is dimension.put.
func (c *calendar) put(o, code uint16) {
	old := c.dimension.put(o, code)
	if old/week == code/week && (old == 0) == (code == 0) {
		return
	}
	if old != 0 {
		c.weeks[old/week].remove(o)
	}
	if code != 0 {
		c.reach(code).add(o)
	}
}

// reach returns the week of a code, made if need be.
func (c *calendar) reach(code uint16) *set {
	if missing := int(code)/week + 1 - len(c.weeks); missing > 0 {
		c.weeks = append(c.weeks, make([]set, missing)...)
	}
	return &c.weeks[code/week]
}

// build makes all sets that follow from the column.
func (c *calendar) build() {
	c.dimension.build()
	for i, code := range c.codes {
		c.reach(code).n += c.sets[i].n
	}
	for i := range c.weeks {
		c.weeks[i] = room(c.weeks[i].n)
	}
	c.column.each(func(o, code uint16) {
		if code != 0 {
			c.weeks[code/week].append(o)
		}
	})
}

// bytes returns how much memory c takes, without itself.
func (c *calendar) bytes() int {
	n := c.dimension.bytes() + int(unsafe.Sizeof(set{}))*cap(c.weeks)
	for i := range c.weeks {
		n += c.weeks[i].bytes()
	}
	return n
}

// agrees is dimension.agrees.
func (c *calendar) agrees(o, code uint16) bool {
	for i := range c.weeks {
		if c.weeks[i].has(o) != (code != 0 && int(code/week) == i) {
			return false
		}
	}
	return c.dimension.agrees(o, code)
}

// since calls f with sets that together are those who have a code from first on, or if that is not wanted, one before.
func (c *calendar) since(first uint16, want bool, f func(*set)) {
	broken := int(first) / week // the week that may be neither in nor out
	for i := range c.weeks {
		if i != broken && (i > broken) == want {
			f(&c.weeks[i])
		}
	}
	for code := broken * week; code < min((broken+1)*week, len(c.where)); code++ {
		if s := c.of(uint16(code)); s != nil && (code >= int(first)) == want {
			f(s)
		}
	}
}
