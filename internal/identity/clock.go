package identity

import (
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// A push id is 63 bits: milliseconds since epoch 41 (until the year 2093), node 10, sequence 12.
const (
	nodeBits     = 10
	sequenceBits = 12
	lastSequence = 1<<sequenceBits - 1
)

var epoch = time.Date(2024, time.January, 1, 0, 0, 0, 0, time.UTC)

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
		ms:   int64(newest) >> (nodeBits + sequenceBits),
		last: lastSequence,
	}
}

// Next returns an id greater than all before it. When the wall clock stands still, goes back, or more than 4,096 ids are
// asked for in a millisecond, the ids run ahead of it until it has caught up.
func (c *Clock) Next() push.ID {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch ms := c.now().Sub(epoch).Milliseconds(); {
	case ms > c.ms:
		c.ms, c.last = ms, 0
	case c.last < lastSequence:
		c.last++
	default:
		c.ms, c.last = c.ms+1, 0
	}
	return push.ID(c.ms)<<(nodeBits+sequenceBits) | c.node | c.last
}

// TimeOf returns when an id was made, to the millisecond, by the clock of its node.
func TimeOf(id push.ID) time.Time {
	return epoch.Add(time.Duration(int64(id)>>(nodeBits+sequenceBits)) * time.Millisecond)
}
