package main

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/sqlstore"
)

// A gate is the gateway of this program. It has no connections: it says that the devices of the app online are online, notes
// the moment at which it is handed what, and has the devices acknowledge, if they are to, on a goroutine of its own, as
// theirs are others than dispatch's.
type gate struct {
	store  *sqlstore.Store
	online push.Ordinal
	began  time.Time
	acks   chan struct{} // has one while something is to be acknowledged; nil if nothing is
	ended  sync.WaitGroup

	mu     sync.Mutex // guards what follows
	handed map[push.ID]*handed
	due    []push.Receipt
}

// A handed is what devices were handed of one push.
type handed struct {
	moments  []time.Duration // since the gate began
	ordinals []push.Ordinal
}

func newGate(store *sqlstore.Store, online int, acks bool) *gate {
	g := &gate{store: store, online: push.Ordinal(online), began: time.Now(), handed: map[push.ID]*handed{}}
	if acks {
		g.acks = make(chan struct{}, 1)
		g.ended.Go(g.acknowledge)
	}
	return g
}

func (g *gate) close() error {
	if g.acks != nil {
		close(g.acks)
		g.ended.Wait()
	}
	return nil
}

// acknowledge posts, for each device, that it was sent a push and that it has it, as a connection does.
func (g *gate) acknowledge() {
	for range g.acks {
		g.mu.Lock()
		due := g.due
		g.due = nil
		g.mu.Unlock()
		for pair := range slices.Chunk(due, 2) {
			g.store.Post(pair...)
		}
	}
}

// note notes that a device was handed d. The caller holds g.mu.
func (g *gate) note(d *push.Delivery, o push.Ordinal) {
	h := g.handed[d.ID]
	if h == nil {
		h = &handed{}
		g.handed[d.ID] = h
	}
	h.moments, h.ordinals = append(h.moments, time.Since(g.began)), append(h.ordinals, o)
	if g.acks != nil {
		g.due = append(g.due, d.Receipt(o, push.MarkSent), d.Receipt(o, push.MarkDelivered))
	}
}

// acked has devices acknowledge.
func (g *gate) acked() {
	select {
	case g.acks <- struct{}{}:
	default: // there is no such channel, or it will be seen anyway
	}
}

// Post implements dispatch.Gateway.
func (g *gate) Post(o push.Ordinal, d *push.Delivery) {
	g.mu.Lock()
	g.note(d, o)
	g.mu.Unlock()
	g.acked()
}

// Broadcast implements dispatch.Gateway.
func (g *gate) Broadcast(d *push.Delivery, owed func(push.Ordinal) bool) {
	if d.App != online {
		return
	}
	for o := range g.online {
		if owed(o) {
			g.mu.Lock()
			g.note(d, o)
			g.mu.Unlock()
		}
	}
	g.acked()
}

// Wake implements dispatch.Gateway: nobody is connected who could ask.
func (g *gate) Wake(push.AppID, push.Ordinal) {}

// Withdraw implements dispatch.Gateway: what was handed over has left.
func (g *gate) Withdraw(push.AppID, push.ID, []push.Ordinal, time.Time) (settle func(bool)) {
	return func(bool) {}
}

// Online implements dispatch.Presence.
func (g *gate) Online(app push.AppID) *ordset.Set {
	s := new(ordset.Set)
	for o := push.Ordinal(0); app == online && o < g.online; o++ {
		s.Add(o)
	}
	return s
}

// IsOnline implements dispatch.Presence.
func (g *gate) IsOnline(app push.AppID, o push.Ordinal) bool { return app == online && o < g.online }

// take returns what was handed over of a push, and forgets it. It is an error if that is not each of so many devices once.
func (g *gate) take(id push.ID, devices int) (*handed, error) {
	g.mu.Lock()
	h := g.handed[id]
	delete(g.handed, id)
	g.mu.Unlock()
	if h == nil {
		h = &handed{}
	}
	if distinct := ordset.Of(h.ordinals...).Len(); distinct != devices || len(h.ordinals) != devices {
		return nil, fmt.Errorf("push %d was handed over %d times, to %d devices, not to each of %d once", id, len(h.ordinals), distinct, devices)
	}
	return h, nil
}
