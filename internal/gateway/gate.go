package gateway

import (
	"container/heap"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillonpush/carillon/internal/ordset"
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

	mu     sync.Mutex // guards what follows, changes of notes and note.due; before a note's
	due    dueHeap    // of all committed withdrawals that are to be forgotten
	timer  *time.Timer
	closed bool
}

type withdrawn struct {
	app push.AppID
	id  push.ID
}

// A note is that withdrawals of a push stand. Those that are open settle each for itself; those that were committed are one.
// The gate's mutex guards due and forever.
type note struct {
	due     int  // how many that were committed are still to be forgotten
	forever bool // one of them never is

	mu    sync.Mutex // guards what follows
	open  []*withdrawal
	gone  bool       // the whole push is withdrawn for good
	named ordset.Set // the devices from which it is
}

// A withdrawal is one that is not settled. Its note's mutex guards its fields.
type withdrawal struct {
	of   *ordset.Set // whose copies are held back; nil: everybody's
	from ordset.Set  // from whom some were, if of is nil
	kept int         // how many are in from
	many bool        // they are more than maxHeldBack: from is not kept
}

// holds reports whether the copies of a device are held back.
func (w *withdrawal) holds(o push.Ordinal) bool { return w.of == nil || w.of.Has(o) }

// held notes that a copy was held back from a device. A withdrawal that stands for hours remembers no more than so many: of
// named devices, none.
func (w *withdrawal) held(o push.Ordinal) {
	if w.of != nil || w.many || !w.from.Add(o) {
		return
	}
	if w.kept++; w.kept > maxHeldBack {
		w.forget()
		w.many = true
	}
}

func (w *withdrawal) forget() { w.from, w.kept, w.many = ordset.Set{}, 0, false }

// maxHeldBack is of how many devices it is remembered that they did not get a withdrawn push.
const maxHeldBack = 4096

// minForget is how long the timer waits at least, so that many pushes that expire one after another do not keep it busy.
const minForget = 10 * time.Millisecond

// pick returns the lane of a new connection.
func (g *gate) pick() *lane { return &g.lanes[g.next.Add(1)%lanes] }

// withdraw notes w, of some devices or with nil of all. When it returns, no write that did not see that is about to begin.
func (g *gate) withdraw(w withdrawn, of *ordset.Set) *withdrawal {
	it := &withdrawal{of: of}
	g.mu.Lock()
	g.forget()
	v, again := g.notes.LoadOrStore(w, new(note))
	n := v.(*note)
	n.mu.Lock()
	n.open = append(n.open, it)
	n.mu.Unlock()
	if !again {
		g.noted.Add(1)
	}
	g.mu.Unlock()
	for i := range g.lanes {
		g.lanes[i].Lock()
		//lint:ignore SA2001 what matters is that all who held it before are through
		g.lanes[i].Unlock()
	}
	return it
}

// settle says what became of a withdrawal. One that was committed is remembered until its push expires, with the zero
// time for good; its copies are held back for that from then on. Else they are let through, as far as no other withdrawal
// stands, and settle returns from whom they were held back. With all true there were too many to know.
func (g *gate) settle(w withdrawn, it *withdrawal, committed bool, until time.Time) (from *ordset.Set, all bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v, _ := g.notes.Load(w) // it is there as long as a withdrawal is open
	n := v.(*note)
	n.mu.Lock()
	n.open = slices.DeleteFunc(n.open, func(other *withdrawal) bool { return other == it })
	switch {
	case !committed:
		from, all = &it.from, it.many
		if it.of != nil {
			from = it.of
		}
	case it.of != nil:
		n.named.Union(it.of)
	default:
		n.gone = true
		for _, other := range n.open { // nobody is let through by them any more
			other.forget()
		}
	}
	n.mu.Unlock()
	switch {
	case !committed:
		g.drop(w, n)
	case !until.IsZero():
		n.due++
		heap.Push(&g.due, due{until.UnixNano(), w, n})
		g.forget()
		g.arm()
	default:
		n.forever = true
	}
	return from, all
}

// drop takes a note out if nothing stands in it. g.mu is held.
func (g *gate) drop(w withdrawn, n *note) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.open) == 0 && n.due == 0 && !n.forever {
		g.notes.Delete(w)
		g.noted.Add(-1)
	}
}

// forget drops what was committed and whose time is over. g.mu is held.
func (g *gate) forget() {
	if len(g.due) == 0 {
		return
	}
	for now := g.now().UnixNano(); len(g.due) > 0 && g.due[0].at <= now; {
		d := heap.Pop(&g.due).(due)
		if d.note.due--; d.note.due > 0 || d.note.forever {
			continue
		}
		d.note.mu.Lock()
		d.note.gone, d.note.named = false, ordset.Set{}
		d.note.mu.Unlock()
		g.drop(d.withdrawn, d.note)
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

// holds reports whether the push is withdrawn for o, and if so notes that o did not get it. A caller that goes on to write
// must be in its lane.
func (g *gate) holds(app push.AppID, id push.ID, o push.Ordinal) (held bool) {
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
	if n.gone || n.named.Has(o) {
		return true // for good, so that it does not matter from whom
	}
	for _, it := range n.open {
		if it.holds(o) {
			it.held(o)
			held = true
		}
	}
	return held
}

// A due is when a committed withdrawal is forgotten, in Unix nanoseconds.
type due struct {
	at int64
	withdrawn
	note *note
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
