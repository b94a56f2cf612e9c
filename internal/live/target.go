package live

import (
	"hash/maphash"
	"sync"

	"github.com/carillonpush/carillon/internal/ordset"
)

// A targets holds the parts of targets, those with equal members once.
type targets struct {
	seed   maphash.Seed
	shards [16]targetShard // by hash
}

type targetShard struct {
	mu   sync.Mutex // guards held and the entries in it
	held map[uint64]*heldTarget
}

// A heldTarget is a part and how often it is held.
type heldTarget struct {
	part *ordset.Container
	refs int
	next *heldTarget // another one of the same hash
}

// heldBytes is what holding a part takes beside it.
const heldBytes = 64

// nobody is the part of a push that has no members in a chunk.
var nobody = new(ordset.Container)

// shareable reports whether it is worth looking for an equal part: what is small and not very small is seldom met again,
// and looking it up takes as much memory as it does itself.
func shareable(c *ordset.Container) bool {
	return c.Len() == 1 || c.Bytes() >= 128 || c.Len()*2 > c.Bytes()
}

func (t *targets) shard(hash uint64) *targetShard { return &t.shards[hash%uint64(len(t.shards))] }

// take returns c or what is equal to it, to be given back. It is refused if it does not fit the budget.
func (s *Sets) take(c *ordset.Container) (*ordset.Container, bool) {
	if c.Len() == 0 {
		return nobody, true
	}
	if !shareable(c) {
		return c, s.reserve(c.Bytes())
	}
	hash := c.Hash(s.targets.seed)
	shard := s.targets.shard(hash)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	for h := shard.held[hash]; h != nil; h = h.next {
		if h.part.Equal(c) {
			h.refs++
			return h.part, true
		}
	}
	if !s.reserve(c.Bytes() + heldBytes) {
		return nil, false
	}
	if shard.held == nil {
		shard.held = map[uint64]*heldTarget{}
	}
	shard.held[hash] = &heldTarget{part: c, refs: 1, next: shard.held[hash]}
	return c, true
}

// give gives back what take returned.
func (s *Sets) give(c *ordset.Container) {
	switch {
	case c == nobody:
		return
	case !shareable(c):
		s.count(-c.Bytes())
		return
	}
	hash := c.Hash(s.targets.seed)
	shard := s.targets.shard(hash)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	var before *heldTarget
	for h := shard.held[hash]; h != nil; before, h = h, h.next {
		if h.part != c {
			continue
		}
		if h.refs--; h.refs > 0 {
			return
		}
		switch {
		case before != nil:
			before.next = h.next
		case h.next != nil:
			shard.held[hash] = h.next
		default:
			delete(shard.held, hash)
		}
		s.count(-c.Bytes() - heldBytes)
		return
	}
}
