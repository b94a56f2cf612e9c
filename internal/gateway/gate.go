package gateway

import (
	"container/heap"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// lanes is how many locks a withdrawal passes. More of them keep writers from sharing a cache line.
const lanes = 16

// A gate holds withdrawn pushes back. Each connection writes under the read side of one lane; a withdrawal notes the push
// and then passes the write side of all, so that every write that did not see the note has begun when it returns.
type gate struct {
	lanes [lanes]lane
	next  atomic.Uint32
	noted atomic.Int64 // how many are in notes: nearly always 0, which costs a writer one load
	notes sync.Map     // withdrawn → *note
	now   func() time.Time

	mu     sync.Mutex // guards what follows, changes of notes and note.open
	due    dueHeap    // of all committed notes that are to be forgotten
	timer  *time.Timer
	closed bool
}

type withdrawn struct {
	app push.AppID
	id  push.ID
}

// A note is that a push is withdrawn, and from whom it was held back.
type note struct {
	open int // withdrawals that are not settled

	mu        sync.Mutex // guards what follows
	committed bool       // for good, so that it does not matter from whom
	over      bool       // readmitted
	many      bool       // more than maxHeldBack: from is not kept
	from      map[push.Ordinal]struct{}
}

// maxHeldBack is of how many devices it is remembered that they did not get a withdrawn push.
const maxHeldBack = 4096

// minForget is how long the timer waits at least, so that many pushes that expire one after another do not keep it busy.
const minForget = 10 * time.Millisecond

// pick returns the lane of a new connection.
func (g *gate) pick() *lane { return &g.lanes[g.next.Add(1)%lanes] }

// withdraw notes w. When it returns, no write that did not see that is about to begin.
func (g *gate) withdraw(w withdrawn) *note {
	g.mu.Lock()
	g.forget()
	v, again := g.notes.LoadOrStore(w, new(note))
	if !again {
		g.noted.Add(1)
	}
	n := v.(*note)
	n.open++
	g.mu.Unlock()
	for i := range g.lanes {
		g.lanes[i].Lock()
		//lint:ignore SA2001 what matters is that all who held it before are through
		g.lanes[i].Unlock()
	}
	return n
}

// settle says what became of a withdrawal. One that was committed is remembered until its push expires, with the zero
// time for good; its copies are held back for that from then on. Else the push is let through, unless another withdrawal
// of it stands, and settle returns from whom it was held back. With all true there were too many to know.
func (g *gate) settle(w withdrawn, n *note, committed bool, until time.Time) (from []push.Ordinal, all bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n.open--
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.committed || !committed && n.open > 0:
	case committed:
		n.committed, n.many, n.from = true, false, nil
		if !until.IsZero() {
			heap.Push(&g.due, due{until.UnixNano(), w})
			g.forget()
			g.arm()
		}
	default:
		for o := range n.from {
			from = append(from, o)
		}
		all = n.many
		n.over, n.many, n.from = true, false, nil
		g.drop(w)
	}
	return from, all
}

// drop takes a note out. g.mu is held.
func (g *gate) drop(w withdrawn) {
	g.notes.Delete(w)
	g.noted.Add(-1)
}

// forget drops the notes whose time is over. g.mu is held.
func (g *gate) forget() {
	if len(g.due) == 0 {
		return
	}
	for now := g.now().UnixNano(); len(g.due) > 0 && g.due[0].at <= now; {
		g.drop(heap.Pop(&g.due).(due).withdrawn)
	}
}

// arm has forget called when the next note's time is over. g.mu is held.
func (g *gate) arm() {
	if len(g.due) == 0 || g.closed {
		return
	}
	wait := max(time.Unix(0, g.due[0].at).Sub(g.now()), minForget)
	if g.timer != nil {
		g.timer.Reset(wait)
		return
	}
	g.timer = time.AfterFunc(wait, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.forget()
		g.arm()
	})
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed = true; g.timer != nil {
		g.timer.Stop()
	}
}

// holds reports whether the push is withdrawn, and if so notes that o did not get it. A caller that goes on to write must
// be in its lane.
func (g *gate) holds(app push.AppID, id push.ID, o push.Ordinal) bool {
	if g.noted.Load() == 0 {
		return false
	}
	v, ok := g.notes.Load(withdrawn{app, id})
	if !ok {
		return false
	}
	n := v.(*note)
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.over:
		return false
	case n.committed, n.many:
	case len(n.from) == maxHeldBack:
		n.many, n.from = true, nil
	case n.from == nil:
		n.from = map[push.Ordinal]struct{}{o: {}}
	default:
		n.from[o] = struct{}{}
	}
	return true
}

// A due is when a note is forgotten, in Unix nanoseconds.
type due struct {
	at int64
	withdrawn
}

// A dueHeap has the earliest first.
type dueHeap []due

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)        { *h = append(*h, x.(due)) }
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	if *h = (*h)[:last]; last == 0 {
		*h = nil // many may have been in it
	}
	return d
}
