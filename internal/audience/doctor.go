package audience

import (
	"slices"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Agrees reports whether the index says of a device what row says, in its sets as well as in its columns, and whether it has
// the device as registered. A last active day that is later than the row's agrees: the row was read before it was noted.
func (x *Index) Agrees(row push.IndexRow) (agrees, known bool) {
	a, o := x.find(row.Ref.App), uint16(row.Ref.Ordinal)
	if a == nil {
		return row.Removed && row.Epoch == 0, false
	}
	var s state
	s.read(&row)
	a.dictionary.mu.RLock()
	defer a.dictionary.mu.RUnlock()
	all := row.Removed || a.dictionary.find(row.Attributes, &s.codes)
	s.numbers = len(a.dictionary.list)
	c := a.at(ordset.Key(row.Ref.Ordinal))
	if c == nil {
		return row.Removed && row.Epoch == 0, false
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	var tags []push.TagID
	if !row.Removed {
		tags = a.tags.existing(nil, row.Tags)
	}
	return all && c.agrees(o, &s) && c.agreesTags(o, tags, a), c.head(o).platform != 0
}

// agrees reports whether c says of o what s says, but for tags. c.mu is held.
func (c *chunk) agrees(o uint16, s *state) bool {
	is := c.head(o)
	if is != s.head || c.epoch[o] != s.epoch || is.platform != 0 && c.generationOf(o) != s.generation {
		return false
	}
	if c.all.has(o) != (s.platform != 0) {
		return false
	}
	for p := range c.platforms {
		if c.platforms[p].has(o) != (p != 0 && s.platform == push.Platform(p)) {
			return false
		}
	}
	for flag := range c.flags {
		if c.flags[flag].has(o) != (s.flags>>flag&1 != 0) {
			return false
		}
	}
	s.days[dayActive] = max(s.days[dayActive], min(c.days[dayActive].column.get(o), s.later()))
	for i := range c.days {
		if !c.days[i].agrees(o, s.days[i]) {
			return false
		}
	}
	for number := range max(s.numbers, len(c.attributes)) {
		if d := c.dimension(number); d == nil && s.codes[number] != 0 || d != nil && !d.agrees(o, s.codes[number]) {
			return false
		}
	}
	return true
}

// later returns the last day that a device of state s may have been active on.
func (s *state) later() uint16 {
	if s.platform == 0 {
		return 0
	}
	return 1<<16 - 1
}

// agrees reports whether o has that code, and is in its set and no other.
func (d *dimension) agrees(o, code uint16) bool {
	if d.column.get(o) != code || d.any.has(o) != (code != 0) {
		return false
	}
	for i := range d.sets {
		if d.sets[i].has(o) != (d.codes[i] == code) {
			return false
		}
	}
	return code == 0 || d.of(code) != nil
}

func (c *chunk) agreesTags(o uint16, tags []push.TagID, a *app) bool {
	if carried := a.tags.existing(nil, c.carried.of(nil, o)); !slices.Equal(carried, tags) {
		return false
	}
	for id, s := range c.tags {
		if _, in := slices.BinarySearch(tags, id); s.has(o) != in {
			return false
		}
	}
	for _, id := range tags {
		if c.tags[id] == nil {
			return false
		}
	}
	return true
}
