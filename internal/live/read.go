package live

import (
	"sync/atomic"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Has reports whether a push is live.
func (s *Sets) Has(id push.AppID, p push.ID) bool {
	_, l := s.find(id, p)
	return l != nil
}

// owes reports whether a member of the target, of the chunk that begins at base, is owed p now.
func (p *part) owes(base push.Ordinal, o uint16) bool {
	return uint64(base)+uint64(o) < p.live.below.Load() && p.target.Has(o) && !p.settled.has(o)
}

// Owes reports whether a device is owed a push now: whether it is in the target, below what is released and not settled, and
// the push is not held.
func (s *Sets) Owes(id push.AppID, p push.ID, o push.Ordinal) (owes bool) {
	if a, l := s.find(id, p); l != nil {
		if c := a.chunk(ordset.Key(o)); c != nil {
			c.with(p, func(p *part) { owes = p.owes(c.base(), uint16(o)) })
		}
	}
	return owes
}

// Walker returns what Owes says of one push that is live now, for many devices: it remembers where the push is in each
// chunk. It is safe for concurrent use, and says what holds at each call.
func (s *Sets) Walker(id push.AppID, p push.ID) func(o push.Ordinal) bool {
	a, l := s.find(id, p)
	if l == nil {
		return func(push.Ordinal) bool { return false }
	}
	places := make([]atomic.Int32, len(a.all())) // by chunk; a hint
	return func(o push.Ordinal) bool {
		key := ordset.Key(o)
		c := a.chunk(key)
		if c == nil || int(key) >= len(places) {
			return s.Owes(id, p, o)
		}
		c.mu.RLock()
		defer c.mu.RUnlock()
		i := int(places[key].Load())
		if i >= len(c.parts) || c.parts[i].id != p {
			var ok bool
			if i, ok = c.search(p); !ok {
				return false
			}
			places[key].Store(int32(i))
		}
		return c.parts[i].owes(c.base(), uint16(o))
	}
}

// Targets reports whether a device is in the target of a push.
func (s *Sets) Targets(id push.AppID, p push.ID, o push.Ordinal) (targets bool) {
	if a, l := s.find(id, p); l != nil {
		if c := a.chunk(ordset.Key(o)); c != nil {
			c.with(p, func(p *part) { targets = p.target.Has(uint16(o)) })
		}
	}
	return targets
}

// Pending returns how many devices of the target of a push are not settled, whatever is released or held. 0 if it is not
// there.
func (s *Sets) Pending(id push.AppID, p push.ID) int {
	if _, l := s.find(id, p); l != nil {
		return int(l.pending.Load())
	}
	return 0
}

// PendingSet returns the devices of the target of a push that are not settled. The caller owns it. Chunks are read one after
// the other: no single moment is promised across them.
func (s *Sets) PendingSet(id push.AppID, p push.ID) *ordset.Set {
	var b ordset.Builder
	if a, l := s.find(id, p); l != nil {
		for c := range a.from(0) {
			c.with(p, func(p *part) {
				if p.settled == nil {
					b.Container(c.key, p.target)
					return
				}
				if n := p.pending(); n > 0 {
					var w ordset.Words
					p.leave(&w)
					b.Words(c.key, &w, n)
				}
			})
		}
	}
	set := b.Set()
	set.Compact()
	return set
}

// Target returns the target of a push, which the caller owns, and whether the push is there.
func (s *Sets) Target(id push.AppID, p push.ID) (*ordset.Set, bool) {
	a, l := s.find(id, p)
	if l == nil {
		return nil, false
	}
	var b ordset.Builder
	for c := range a.from(0) {
		c.with(p, func(p *part) { b.Container(c.key, p.target) })
	}
	set := b.Set()
	set.Compact()
	return set, true
}

// Next returns the n next members of the target of a push, settled or not, from an ordinal on, in order; fewer if there are no
// more.
func (s *Sets) Next(id push.AppID, p push.ID, from push.Ordinal, n int) []push.Ordinal {
	a, l := s.find(id, p)
	if l == nil || n <= 0 {
		return nil
	}
	var all []push.Ordinal
	first := uint16(from)
	for c := range a.from(ordset.Key(from)) {
		if c.key != ordset.Key(from) {
			first = 0
		}
		target := nobody
		c.with(p, func(p *part) { target = p.target })
		for o := range target.All(first) {
			if all = append(all, ordset.Ordinal(c.key, o)); len(all) == n {
				return all
			}
		}
	}
	return all
}
