package dispatch_test

import (
	"slices"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// A gate is a gateway that only notes what it is handed, and holds back what is withdrawn, as the real one does.
type gate struct {
	mu        sync.Mutex
	online    map[push.Ordinal]bool
	posted    []posted
	payloads  map[posted]string // also says what a connection was sent: it skips that
	times     []time.Time       // of posted
	woken     []push.Ordinal
	withdrawn map[push.ID]bool // for good
	barriers  []barrier
}

type posted struct {
	Device push.Ordinal
	Push   push.ID
}

// A barrier is a withdrawal that is not settled: whom it holds a push back from, nil for everybody.
type barrier struct {
	id   push.ID
	from []push.Ordinal
	n    int
}

func newGate() *gate {
	return &gate{online: map[push.Ordinal]bool{}, withdrawn: map[push.ID]bool{}, payloads: map[posted]string{}}
}

func (g *gate) connect(all ...push.Ordinal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, o := range all {
		g.online[o] = true
	}
}

func (g *gate) IsOnline(_ push.AppID, o push.Ordinal) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.online[o]
}

func (g *gate) Wake(_ push.AppID, o push.Ordinal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.woken = append(g.woken, o)
}

func (g *gate) Post(o push.Ordinal, d *push.Delivery) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := posted{o, d.ID}
	if _, sent := g.payloads[p]; g.online[o] && !sent && !g.holds(o, d.ID) {
		g.posted, g.times = append(g.posted, p), append(g.times, time.Now())
		g.payloads[p] = string(d.Payload)
	}
}

// holds reports whether copies of a push are held back from a device. g.mu is held.
func (g *gate) holds(o push.Ordinal, id push.ID) bool {
	return g.withdrawn[id] || slices.ContainsFunc(g.barriers, func(b barrier) bool {
		return b.id == id && (b.from == nil || slices.Contains(b.from, o))
	})
}

func (g *gate) Broadcast(d *push.Delivery, owed func(push.Ordinal) bool) {
	for o := range g.Online(d.App).All() {
		if owed(o) {
			g.Post(o, d)
		}
	}
}

func (g *gate) Online(push.AppID) *ordset.Set {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := new(ordset.Set)
	for o := range g.online {
		s.Add(o)
	}
	return s
}

func (g *gate) Withdraw(_ push.AppID, id push.ID, devices []push.Ordinal, _ time.Time) (settle func(bool)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := len(g.times) + len(g.barriers)<<32
	for slices.ContainsFunc(g.barriers, func(b barrier) bool { return b.n == n }) {
		n++
	}
	g.barriers = append(g.barriers, barrier{id, devices, n})
	return func(committed bool) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if committed && devices == nil {
			g.withdrawn[id] = true
		}
		if !committed || devices == nil {
			g.barriers = slices.DeleteFunc(g.barriers, func(b barrier) bool { return b.n == n })
		}
	}
}

// held reports whether a device's copies of a push are held back.
func (g *gate) held(o push.Ordinal, id push.ID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.holds(o, id)
}

// gone reports whether a push was withdrawn for good.
func (g *gate) gone(id push.ID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.withdrawn[id]
}

// take returns what was posted since it was last called.
func (g *gate) take() []posted {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.posted
	g.posted, g.times = nil, nil
	return all
}

// takeWoken returns who was woken since it was last called.
func (g *gate) takeWoken() []push.Ordinal {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.woken
	g.woken = nil
	return all
}

// A law is an Admission that says what the test has set for a device.
type law struct {
	mu       sync.Mutex // guards what follows
	verdicts map[push.Ordinal]push.Verdict
	counted  map[posted]bool
	held     map[push.Ordinal]bool
}

func newLaw() *law {
	return &law{verdicts: map[push.Ordinal]push.Verdict{}, counted: map[posted]bool{}, held: map[push.Ordinal]bool{}}
}

// set says what holds for a device from now on.
func (l *law) set(o push.Ordinal, v push.Verdict) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.verdicts[o] = v; v == (push.Verdict{}) {
		delete(l.verdicts, o)
	}
}

func (l *law) Admit(now time.Time, app push.AppID, o push.Ordinal, id push.ID, r push.Rules) push.Verdict {
	v := l.Peek(now, app, o, id, r)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case v.Held:
		l.held[o] = true
	case v.Drop == 0:
		l.counted[posted{o, id}] = true
	}
	return v
}

func (l *law) Peek(_ time.Time, _ push.AppID, o push.Ordinal, _ push.ID, r push.Rules) push.Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Quiet == "ignore" {
		return push.Verdict{}
	}
	return l.verdicts[o]
}

func (l *law) Idle(push.AppID, push.Rules) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.verdicts) == 0
}

func (l *law) Released(_ time.Time, yield func(push.AppID, push.Ordinal)) {
	l.mu.Lock()
	var all []push.Ordinal
	for o := range l.held {
		if !l.verdicts[o].Held {
			all = append(all, o)
			delete(l.held, o)
		}
	}
	l.mu.Unlock()
	for _, o := range all {
		yield(theApp, o)
	}
}
