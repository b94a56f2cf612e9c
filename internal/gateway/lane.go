package gateway

import (
	"sync"
	"time"
)

// A lane is what some of the connections write under. Where a write cannot block, the read side is held while it lasts.
// Where it can, a copy is entered here instead when it is handed to its wire, and a withdrawal waits for its exit.
type lane struct {
	sync.RWMutex

	mu     sync.Mutex // guards what follows
	inside map[*conn]withdrawn
	left   chan struct{} // closed at the next exit; nil if nobody waits for one
	_      [16]byte      // two lanes do not share a cache line
}

// enter notes that a message is being handed to a wire that may block. The read side is held.
func (l *lane) enter(c *conn, it *item) {
	if it.d == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inside == nil {
		l.inside = map[*conn]withdrawn{}
	}
	l.inside[c] = withdrawn{it.d.App, it.d.ID}
}

// exit notes that the wire has taken the message, or failed.
func (l *lane) exit(c *conn, it *item) {
	if it.d == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if delete(l.inside, c); l.left != nil {
		close(l.left)
		l.left = nil
	}
}

// holding returns the connections to which what it withdraws of w is being handed and, if there are any, what is closed at
// the next exit.
func (l *lane) holding(w withdrawn, it *withdrawal) (all []*conn, left <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c, v := range l.inside {
		if v == w && it.holds(c.device.Ordinal) {
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	if l.left == nil {
		l.left = make(chan struct{})
	}
	return all, l.left
}

// await waits until what it, which is noted, withdraws of w is being handed to no connection, at most for limit. It returns
// those to which it still is.
func (g *gate) await(w withdrawn, it *withdrawal, limit time.Duration) (still []*conn) {
	var timer *time.Timer // made when somebody has to wait, which is nearly never
	expired := false
	for i := range g.lanes {
		for {
			all, left := g.lanes[i].holding(w, it)
			if len(all) == 0 {
				break
			}
			if expired {
				still = append(still, all...)
				break
			}
			if timer == nil {
				timer = time.NewTimer(limit)
				defer timer.Stop()
			}
			select {
			case <-left:
			case <-timer.C:
				expired = true
			}
		}
	}
	return still
}
