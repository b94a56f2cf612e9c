package audience

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// An app is the devices of one app, in chunks.
type app struct {
	dictionary dictionary
	tags       tags
	next       atomic.Uint64 // the ordinal that was never given; 1<<32 when none is left

	grow   sync.Mutex // serialises who adds chunks
	chunks atomic.Pointer[[]*chunk]
}

// list returns the chunks, by key; nil for those of which no ordinal was ever applied. What it returns does not change.
func (a *app) list() []*chunk {
	if all := a.chunks.Load(); all != nil {
		return *all
	}
	return nil
}

// each calls f for every chunk, in order.
func (a *app) each(f func(key uint16, c *chunk)) {
	for key, c := range a.list() {
		if c != nil {
			f(uint16(key), c)
		}
	}
}

// at returns the chunk of that key, nil if there is none.
func (a *app) at(key uint16) *chunk {
	if all := a.list(); int(key) < len(all) {
		return all[key]
	}
	return nil
}

// make returns the chunk of that key.
func (a *app) make(key uint16) *chunk {
	if c := a.at(key); c != nil {
		return c
	}
	a.grow.Lock()
	defer a.grow.Unlock()
	if c := a.at(key); c != nil {
		return c
	}
	c := new(chunk)
	all := a.list()
	if int(key) >= len(all) {
		all = append(all, make([]*chunk, int(key)+1-len(all))...) // who has the shorter list does not look there
	} else {
		all = slices.Clone(all)
	}
	all[key] = c
	a.chunks.Store(&all)
	return c
}

// raise notes that o was given.
func (a *app) raise(o push.Ordinal) {
	for {
		next := a.next.Load()
		if next > uint64(o) || a.next.CompareAndSwap(next, uint64(o)+1) {
			return
		}
	}
}

// apply makes a device what row says, under one lock of one chunk.
func (a *app) apply(row *push.IndexRow) {
	var s state
	s.read(row)
	a.raise(row.Ref.Ordinal)
	c := a.make(ordset.Key(row.Ref.Ordinal))
	if row.Removed {
		a.change(c, row, &s)
		return
	}
	// The dictionary stays as it is until the codes are in the sets.
	a.dictionary.mu.RLock()
	if a.dictionary.find(row.Attributes, &s.codes) {
		s.numbers = len(a.dictionary.list)
		a.change(c, row, &s)
		a.dictionary.mu.RUnlock()
		return
	}
	a.dictionary.mu.RUnlock()
	a.dictionary.mu.Lock()
	defer a.dictionary.mu.Unlock()
	a.dictionary.learn(row.Attributes, a.used, a.drop)
	s.codes = codes{}
	a.dictionary.find(row.Attributes, &s.codes) // what it does not know now cannot be indexed
	s.numbers = len(a.dictionary.list)
	a.change(c, row, &s)
}

func (a *app) change(c *chunk, row *push.IndexRow, s *state) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var room [32]push.TagID
	var tags []push.TagID
	if !row.Removed {
		tags = a.tags.existing(room[:0], row.Tags) // under the lock: see RemoveTag
	}
	c.apply(uint16(row.Ref.Ordinal), s, tags)
}

// used adds to counts how many devices have each code of an attribute.
func (a *app) used(number int, counts []int) {
	a.each(func(_ uint16, c *chunk) {
		c.mu.RLock()
		defer c.mu.RUnlock()
		if d := c.dimension(number); d != nil {
			for i, code := range d.codes {
				counts[code] += d.sets[i].n
			}
		}
	})
}

// drop forgets what devices have of an attribute.
func (a *app) drop(number int) {
	a.each(func(_ uint16, c *chunk) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if number < len(c.attributes) {
			c.attributes[number] = nil
		}
	})
}
