package live

import (
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// MayOwe reports whether a device is in the superset of what is owed.
func (s *Sets) MayOwe(id push.AppID, o push.Ordinal) bool {
	a := s.app(id)
	if a == nil {
		return false
	}
	c := a.chunk(ordset.Key(o))
	if c == nil {
		return false
	}
	owed := c.owed.Load()
	return owed != nil && owed.Has(uint16(o))
}

// Held returns how many parts of targets are held that may be shared.
func (s *Sets) Held() int {
	n := 0
	for i := range s.targets.shards {
		n += len(s.targets.shards[i].held)
	}
	return n
}

// Waiting returns how many wait to be answered in the chunk of o, beside the one who is answering.
func (s *Sets) Waiting(id push.AppID, o push.Ordinal) int {
	l := &s.app(id).chunk(ordset.Key(o)).asking
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}
