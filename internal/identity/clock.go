package identity

import (
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// The tail of a push id is node 10 bits, sequence 12.
const (
	sequenceBits = 12
	nodeBits     = push.IDTail - sequenceBits
	lastSequence = 1<<sequenceBits - 1
)

// A Clock gives pushes their ids. It is safe for concurrent use.
type Clock struct {
	node push.ID
	now  func() time.Time

	// mu guards the time and the sequence of the last id.
	mu   sync.Mutex
	ms   int64
	last push.ID
}

// NewClock returns the clock of a node (only the lower 10 bits count) whose ids are all greater than newest, the
// greatest in the record. A nil now is time.Now.
func NewClock(node uint16, newest push.ID, now func() time.Time) *Clock {
	if now == nil {
		now = time.Now
	}
	// The millisecond of newest counts as used up, since another node may have made it.
	return &Clock{
		node: push.ID(node&(1<<nodeBits-1)) << sequenceBits,
		now:  now,
		ms:   int64(newest) >> push.IDTail,
		last: lastSequence,
	}
}

// Next returns an id greater than all before it. When the wall clock stands still, goes back, or more than 4,096 ids are
// asked for in a millisecond, the ids run ahead of it until it has caught up.
func (c *Clock) Next() push.ID {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch ms := c.now().Sub(push.IDEpoch).Milliseconds(); {
	case ms > c.ms:
		c.ms, c.last = ms, 0
	case c.last < lastSequence:
		c.last++
	default:
		c.ms, c.last = c.ms+1, 0
	}
	return push.ID(c.ms)<<push.IDTail | c.node | c.last
}
