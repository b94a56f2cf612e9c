package live

import (
	"math"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// A chunk is what the live pushes of an app are for 65,536 ordinals.
type chunk struct {
	key  uint16
	owed atomic.Pointer[ordset.Container] // superset of who is pending of any part; nil means nobody

	mu      sync.RWMutex  // guards what follows, and all that parts have
	parts   []part        // in order of ids
	since   *ordset.Words // while owed is computed anew: what has come meanwhile
	ended   bool          // whether a part has gone since owed was computed
	settles int           // how many were settled since
	waited  int           // how often Tidy has left it as it is since

	asking line
}

// base returns the lowest ordinal of the chunk.
func (c *chunk) base() push.Ordinal { return ordset.Ordinal(c.key, 0) }

// search returns where the part of a push is, or would be. The caller holds mu.
func (c *chunk) search(id push.ID) (int, bool) {
	low, high := 0, len(c.parts)
	if high > 0 && c.parts[high-1].id < id { // most are newer than all that are there
		return high, false
	}
	for low < high {
		if mid := int(uint(low+high) >> 1); c.parts[mid].id < id {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, low < len(c.parts) && c.parts[low].id == id
}

// with calls f on the part of a push, while others may read it too. If there is none it does nothing.
func (c *chunk) with(id push.ID, f func(*part)) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if i, ok := c.search(id); ok {
		f(&c.parts[i])
	}
}

// edit calls f on the part of a push, which it makes if there is none, and counts what becomes of it. It reports false, and
// does nothing, if the push has ended.
func (s *Sets) edit(c *chunk, id push.ID, l *live, f func(*part)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := c.search(id)
	if !ok {
		if l.ended.Load() {
			return false
		}
		before := cap(c.parts)
		c.parts = slices.Insert(c.parts, i, part{id: id, live: l, target: nobody})
		s.count(partBytes * (cap(c.parts) - before))
	}
	p := &c.parts[i]
	bytes, pending := p.settled.bytes(), p.pending()
	f(p)
	s.count(p.settled.bytes() - bytes)
	if d := p.pending() - pending; d != 0 {
		p.live.pending.Add(int64(d))
		c.settles += max(0, -d)
	}
	return true
}

// remove forgets the part of a push.
func (s *Sets) remove(c *chunk, id push.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := c.search(id)
	if !ok {
		return
	}
	p := c.parts[i]
	s.give(p.target)
	s.count(-p.settled.bytes())
	before := cap(c.parts)
	c.parts = slices.Delete(c.parts, i, i+1)
	switch n := len(c.parts); {
	case n == 0:
		c.parts = nil
	case before > 8 && n < before/4:
		c.parts = append(make([]part, 0, 2*n), c.parts...)
	}
	s.count(partBytes * (cap(c.parts) - before))
	c.ended = c.ended || p.settled != everyone
}

// owing makes the superset hold a part of a target. The caller holds c.mu.
func (s *Sets) owing(c *chunk, target *ordset.Container) {
	if c.since != nil {
		c.since.Union(target)
	}
	old := c.owed.Load()
	switch {
	case old != nil && old.Len() == 1<<16, target.Len() == 0:
		return
	case old == nil && target.Len() == 1<<16: // needs no copy, but is counted as if it were one
		s.count(target.Bytes())
		c.owed.Store(target)
		return
	}
	var w ordset.Words
	if old != nil {
		w.Union(old)
	}
	w.Union(target)
	if old == nil || w.Len() != old.Len() {
		s.owe(c, w.Container())
	}
}

// owe makes now the superset, which may be empty. The caller holds c.mu.
func (s *Sets) owe(c *chunk, now *ordset.Container) {
	n := 0
	if old := c.owed.Load(); old != nil {
		n -= old.Bytes()
	}
	if now.Len() == 0 {
		now = nil
	} else {
		n += now.Bytes()
	}
	c.owed.Store(now)
	s.count(n)
}

// tidied is how often Tidy may leave a chunk as it is of which few were settled.
const tidied = 12

// tidy lets the superset shrink to who is pending, if it is worth it. Receipts and devices that ask go on meanwhile.
func (s *Sets) tidy(c *chunk) {
	c.mu.Lock()
	owed := c.owed.Load()
	worth := owed != nil && (c.ended || 16*c.settles >= owed.Len() || c.settles > 0 && c.waited >= tidied)
	if !worth {
		c.waited++
		c.mu.Unlock()
		return
	}
	c.ended, c.settles, c.waited = false, 0, 0
	c.since = new(ordset.Words)
	c.mu.Unlock()

	w := c.pending(owed)

	c.mu.Lock()
	defer c.mu.Unlock()
	w.Merge(c.since)
	c.since = nil
	s.owe(c, w.Container())
}

// pending returns who of owed is pending of any part. It does not hold the lock all the time. The newest pushes come first: of
// them most are pending. Those who are in doubt after them are looked for in the others, once they are few.
func (c *chunk) pending(owed *ordset.Container) *ordset.Words {
	const slice, few = 256, 1024
	all, one := new(ordset.Words), new(ordset.Words)
	w := walks.Get().(*walk)
	defer w.end()
	asks := false
	for id, doubt := push.ID(math.MaxInt64), owed.Len(); id > 0 && doubt > 0; {
		c.mu.RLock()
		end, _ := c.search(id)
		parts := c.parts[max(0, end-slice):end]
		id = 0
		if len(parts) > 0 {
			id = parts[0].id
		}
		for i := range parts {
			switch p := &parts[i]; {
			case asks:
				if w.pending(p) {
					w.put(all)
				}
			default:
				p.leave(one)
				all.Merge(one)
			}
		}
		c.mu.RUnlock()
		*one = ordset.Words{}
		one.Union(owed)
		one.Subtract(all)
		doubt = one.Len()
		if asks = doubt <= few; asks {
			w.list = one.List(w.list[:0])
			w.ready()
		}
	}
	return all
}

// put adds those who were hit to all.
func (w *walk) put(all *ordset.Words) {
	for i, word := range w.hits {
		for ; word != 0; word &= word - 1 {
			all.Add(w.list[i<<6+bits.TrailingZeros64(word)])
		}
	}
}

// Tidy lets what says that nothing is owed shrink to what is owed. To be called every few seconds.
func (s *Sets) Tidy() {
	s.tidying.Lock()
	defer s.tidying.Unlock()
	s.apps.Range(func(_, a any) bool {
		for c := range a.(*app).from(0) {
			s.tidy(c)
		}
		return true
	})
}
