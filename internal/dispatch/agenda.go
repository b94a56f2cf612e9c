package dispatch

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// maxNap bounds how long the agenda trusts a timer: a wall clock that jumps is noticed within it.
const maxNap = time.Second

// agenda knows which pushes start when. It is rebuilt from the record at the start.
type agenda struct {
	mu   sync.Mutex // guards due and have
	due  dueHeap
	have map[push.ID]bool
	kick chan struct{}
}

type due struct {
	at  time.Time
	app push.AppID
	id  push.ID
}

func newAgenda() *agenda { return &agenda{have: map[push.ID]bool{}, kick: make(chan struct{}, 1)} }

// add notes a start, once.
func (a *agenda) add(at time.Time, app push.AppID, id push.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.have[id] {
		return
	}
	a.have[id] = true
	heap.Push(&a.due, due{at, app, id})
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// pop returns what is due at now, or how long until the next is.
func (a *agenda) pop(now time.Time) (d due, ok bool, nap time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.due) == 0 {
		return due{}, false, -1
	}
	if wait := a.due[0].at.Sub(now); wait > 0 {
		return due{}, false, min(wait, maxNap)
	}
	d = heap.Pop(&a.due).(due)
	delete(a.have, d.id)
	return d, true, 0
}

// run calls start for each push when its time has come, until ctx ends.
func (a *agenda) run(ctx context.Context, now func() time.Time, start func(context.Context, push.AppID, push.ID)) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		d, ok, nap := a.pop(now())
		if ok {
			start(ctx, d.app, d.id)
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

type dueHeap []due

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)        { *h = append(*h, x.(due)) }
func (h *dueHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
