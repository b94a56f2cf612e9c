package gateway

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// gates is how many locks a withdrawal passes. More of them keep writers from sharing a cache line.
const gates = 16

// A gate holds withdrawn pushes back. Each connection writes under the read side of one lock; a withdrawal notes the push
// and then passes the write side of all, so that every write that did not see the note has begun when it returns.
type gate struct {
	locks [gates]struct {
		sync.RWMutex
		_ [40]byte
	}
	next  atomic.Uint32
	noted atomic.Int64 // how many are in ids: nearly always 0, which costs a writer one load
	ids   sync.Map     // withdrawn → *heldBack

	mu    sync.Mutex // guards what follows, and changes of ids
	keep  time.Duration
	purge int64 // noted at which the old are looked for
}

type withdrawn struct {
	app push.AppID
	id  push.ID
}

// heldBack is who did not get a withdrawn push.
type heldBack struct {
	until time.Time

	mu   sync.Mutex // guards what follows
	over bool       // readmitted
	many bool       // more than maxHeldBack: from is not kept
	from map[push.Ordinal]struct{}
}

// maxHeldBack is of how many devices it is remembered that they did not get a withdrawn push.
const maxHeldBack = 4096

// firstPurge is how many withdrawals are noted before the old are looked for.
const firstPurge = 1024

// pick returns the lock of a new connection.
func (g *gate) pick() *sync.RWMutex { return &g.locks[g.next.Add(1)%gates].RWMutex }

func (g *gate) withdraw(app push.AppID, id push.ID, now time.Time) {
	g.mu.Lock()
	if _, again := g.ids.LoadOrStore(withdrawn{app, id}, &heldBack{until: now.Add(g.keep)}); !again {
		// Looking only when the number has doubled costs each withdrawal the same on average.
		if n := g.noted.Add(1); n >= max(g.purge, firstPurge) {
			g.forget(now)
			g.purge = 2 * g.noted.Load()
		}
	}
	g.mu.Unlock()
	for i := range g.locks {
		g.locks[i].Lock()
		//lint:ignore SA2001 what matters is that all who held it before are through
		g.locks[i].Unlock()
	}
}

// forget drops the notes of pushes that have expired by now: their frames would be held back for that.
func (g *gate) forget(now time.Time) {
	g.ids.Range(func(k, v any) bool {
		if !now.Before(v.(*heldBack).until) {
			g.ids.Delete(k)
			g.noted.Add(-1)
		}
		return true
	})
}

// readmit lets a push through again and returns from whom it was held back. With all true there were too many to know.
func (g *gate) readmit(app push.AppID, id push.ID) (from []push.Ordinal, all bool) {
	g.mu.Lock()
	v, ok := g.ids.LoadAndDelete(withdrawn{app, id})
	if ok {
		g.noted.Add(-1)
	}
	g.mu.Unlock()
	if !ok {
		return nil, false
	}
	h := v.(*heldBack)
	h.mu.Lock()
	defer h.mu.Unlock()
	for o := range h.from {
		from = append(from, o)
	}
	h.over, h.from = true, nil
	return from, h.many
}

// holds reports whether the push is withdrawn, and if so notes that o did not get it. A caller that goes on to write must
// be under its lock.
func (g *gate) holds(app push.AppID, id push.ID, o push.Ordinal) bool {
	if g.noted.Load() == 0 {
		return false
	}
	v, ok := g.ids.Load(withdrawn{app, id})
	if !ok {
		return false
	}
	h := v.(*heldBack)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return false
	}
	switch {
	case h.many:
	case len(h.from) == maxHeldBack:
		h.many, h.from = true, nil
	case h.from == nil:
		h.from = map[push.Ordinal]struct{}{o: {}}
	default:
		h.from[o] = struct{}{}
	}
	return true
}
