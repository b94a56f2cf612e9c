// Package agenda fires keys when their time has come, by a wall clock that may jump.
//
// It keeps nothing durable: whoever uses it fills it from the record at the start.
package agenda

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// maxNap bounds how long a timer is trusted: timers run by the monotonic clock, so a wall clock that jumps is noticed within it.
const maxNap = time.Second

// An Agenda knows what is due when. Its methods are safe for concurrent use.
type Agenda[K comparable] struct {
	mu    sync.Mutex // guards due and have
	due   dueHeap[K]
	have  map[K]*entry[K]
	kick  chan struct{} // has a token when the earliest time may have changed
	added uint64        // how many entries were made: what is due at the same time fires in this order
}

type entry[K comparable] struct {
	at    time.Time
	key   K
	order uint64
	index int // in the heap
}

// New returns an empty Agenda.
func New[K comparable]() *Agenda[K] {
	return &Agenda[K]{have: map[K]*entry[K]{}, kick: make(chan struct{}, 1)}
}

// Add has key fire at a time. A key that is there already fires at the earlier of both times, once.
func (a *Agenda[K]) Add(at time.Time, key K) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.have[key]; e != nil && !at.Before(e.at) {
		return
	}
	a.set(at, key)
}

// Move has key fire at a time, whether it is there already or not.
func (a *Agenda[K]) Move(at time.Time, key K) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.set(at, key)
}

// set puts key at a time. The caller holds mu.
func (a *Agenda[K]) set(at time.Time, key K) {
	at = at.Round(0) // without the monotonic reading, by which a clock that jumps would not be seen to have
	if e := a.have[key]; e != nil {
		e.at = at
		heap.Fix(&a.due, e.index)
	} else {
		a.added++
		e := &entry[K]{at: at, key: key, order: a.added}
		a.have[key] = e
		heap.Push(&a.due, e)
	}
	if a.due[0].key != key {
		return // whoever waits waits for something earlier
	}
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// Remove forgets key. A key that has begun to fire fires.
func (a *Agenda[K]) Remove(key K) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.have[key]; e != nil {
		heap.Remove(&a.due, e.index)
		delete(a.have, key)
	}
}

// Len returns how many keys wait.
func (a *Agenda[K]) Len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.due)
}

// next takes out what is due at now, or returns how long to wait before looking again: less than 0 is until something changes.
func (a *Agenda[K]) next(now time.Time) (key K, ok bool, nap time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.due) == 0 {
		return key, false, -1
	}
	if wait := a.due[0].at.Sub(now); wait > 0 {
		return key, false, min(wait, maxNap)
	}
	e := heap.Pop(&a.due).(*entry[K])
	delete(a.have, e.key)
	return e.key, true, 0
}

// Run calls fire for each key when its time has come by now, one after the other in order of their times, until ctx ends.
// A key that fires is forgotten before, so fire may add it again; it may call every other method, too. Only one Run at a time.
func (a *Agenda[K]) Run(ctx context.Context, now func() time.Time, fire func(context.Context, K)) {
	timer := time.NewTimer(maxNap)
	defer timer.Stop()
	for ctx.Err() == nil {
		key, ok, nap := a.next(now().Round(0))
		if ok {
			fire(ctx, key)
			continue
		}
		var ring <-chan time.Time
		if nap >= 0 {
			timer.Reset(nap)
			ring = timer.C
		}
		select {
		case <-ring:
		case <-a.kick:
		case <-ctx.Done():
		}
	}
}

// dueHeap is a container/heap, the earliest first.
type dueHeap[K comparable] []*entry[K]

func (h dueHeap[K]) Len() int { return len(h) }

func (h dueHeap[K]) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].order < h[j].order
	}
	return h[i].at.Before(h[j].at)
}

func (h dueHeap[K]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *dueHeap[K]) Push(x any) {
	e := x.(*entry[K])
	e.index = len(*h)
	*h = append(*h, e)
}

func (h *dueHeap[K]) Pop() any {
	old := *h
	last := len(old) - 1
	e := old[last]
	old[last] = nil
	*h = old[:last]
	return e
}
