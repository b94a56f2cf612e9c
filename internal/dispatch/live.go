package dispatch

import (
	"cmp"
	"slices"
	"sync"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// A live is a bulk push that is not over: scheduled, about to begin, or begun and owed to whoever is in its target and
// not settled.
type live struct {
	push     push.Push // as it was when it came among the live ones, without its request
	delivery *push.Delivery

	mu      sync.RWMutex  // guards what follows
	request *push.Request // what begins it; nil once it has begun, since there may be many live pushes, and it may be long
	asked   bool          // whether its audience is being evaluated
	target  *ordset.Set   // nil until it has begun; not changed afterwards
	settled *ordset.Set   // delivered, or dropped for a reason
	run     bool          // whether its first pass is complete

	doubtful bool // whether it may be over in the record: an attempt to end it was not answered
}

// owes reports whether a device is owed the push.
func (l *live) owes(o push.Ordinal) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.target != nil && l.target.Has(o) && !l.settled.Has(o)
}

// begun reports whether l has its target.
func (l *live) begun() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.target != nil
}

// targets reports whether a device is in l's target.
func (l *live) targets(o push.Ordinal) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.target != nil && l.target.Has(o)
}

// begin gives l its target. settled holds those that are dropped from the start.
func (l *live) begin(target, settled *ordset.Set) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.target, l.settled, l.request = target, settled, nil
}

// evaluating returns what begins l, and keeps others from evaluating it until evaluated is called. nil if it has begun, or
// another is at it.
func (l *live) evaluating() *push.Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.target != nil || l.asked {
		return nil
	}
	l.asked = true
	return l.request
}

func (l *live) evaluated() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = false
}

func (l *live) doubt(is bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doubtful = is
}

func (l *live) finished(run bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.run = run
}

// lives are the live pushes by app. The set owed of an app is a superset of all that they owe: most devices are told
// from it alone that nothing is owed to them.
type lives struct {
	mu   sync.RWMutex // guards apps and everything in them but what a live guards itself
	apps map[push.AppID]*appLives
}

type appLives struct {
	byID  map[push.ID]*live
	order []*live // by id
	owed  *ordset.Set

	stale bool        // owed holds what no push owes any more
	since *ordset.Set // while owed is computed anew: what has come meanwhile
}

// oweAll makes the superset hold a target.
func (a *appLives) oweAll(target *ordset.Set) {
	a.owed.Union(target)
	if a.since != nil {
		a.since.Union(target)
	}
}

func newLives() *lives { return &lives{apps: map[push.AppID]*appLives{}} }

func (s *lives) add(l *live) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.apps[l.push.App]
	if a == nil {
		a = &appLives{byID: map[push.ID]*live{}, owed: new(ordset.Set)}
		s.apps[l.push.App] = a
	}
	if a.byID[l.push.ID] != nil {
		return
	}
	a.byID[l.push.ID] = l
	at, _ := slices.BinarySearchFunc(a.order, l.push.ID, func(l *live, id push.ID) int { return cmp.Compare(l.push.ID, id) })
	a.order = slices.Insert(a.order, at, l)
	if l.target != nil {
		a.oweAll(l.target)
	}
}

// owing makes the app's superset hold the target of a live push.
func (s *lives) owing(app push.AppID, target *ordset.Set) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.apps[app]; a != nil {
		a.oweAll(target)
	}
}

// share returns the target of a recent push of app, if it is the same set: pushes to the same devices share one.
func (s *lives) share(app push.AppID, target *ordset.Set) *ordset.Set {
	const recent = 4
	s.mu.RLock()
	defer s.mu.RUnlock()
	a := s.apps[app]
	if a == nil {
		return target
	}
	n := target.Len()
	for _, l := range a.order[max(0, len(a.order)-recent):] {
		l.mu.RLock()
		t := l.target
		l.mu.RUnlock()
		if t != nil && t.Len() == n && t.And(target) == n {
			return t
		}
	}
	return target
}

func (s *lives) get(app push.AppID, id push.ID) *live {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if a := s.apps[app]; a != nil {
		return a.byID[id]
	}
	return nil
}

func (s *lives) settle(app push.AppID, id push.ID, o push.Ordinal) {
	l := s.get(app, id)
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.settled == nil {
		l.settled = new(ordset.Set)
	}
	l.settled.Add(o)
}

// remove forgets a push that is over.
func (s *lives) remove(app push.AppID, id push.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.apps[app]
	if a == nil || a.byID[id] == nil {
		return
	}
	delete(a.byID, id)
	a.order = slices.DeleteFunc(a.order, func(l *live) bool { return l.push.ID == id })
	a.stale = true
}

// tidy lets the supersets shrink to what is still owed. The computing is done under no lock.
func (s *lives) tidy() {
	s.mu.Lock()
	work := map[*appLives][]*live{}
	for _, a := range s.apps {
		if a.stale {
			a.stale, a.since = false, new(ordset.Set)
			work[a] = slices.Clone(a.order)
		}
	}
	s.mu.Unlock()
	for a, order := range work {
		owed := new(ordset.Set)
		for _, l := range order {
			l.mu.RLock()
			target := l.target
			l.mu.RUnlock()
			if target != nil {
				owed.Union(target)
			}
		}
		s.mu.Lock()
		owed.Union(a.since)
		a.owed, a.since = owed, nil
		s.mu.Unlock()
	}
}

// owed returns at most limit pushes that a device is owed, in order of ids, without those that skip names.
func (s *lives) owed(app push.AppID, o push.Ordinal, limit int, skip func(push.ID) bool) []*push.Delivery {
	s.mu.RLock()
	defer s.mu.RUnlock()
	a := s.apps[app]
	if a == nil || !a.owed.Has(o) {
		return nil
	}
	var all []*push.Delivery
	for _, l := range a.order {
		if len(all) == limit {
			break
		}
		if l.owes(o) && !skip(l.push.ID) {
			all = append(all, l.delivery)
		}
	}
	return all
}

// unfinished returns the pushes whose first pass is not complete.
func (s *lives) unfinished() []*live {
	return s.filter(func(l *live) bool { return !l.run })
}

func (s *lives) filter(keep func(*live) bool) []*live {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var all []*live
	for _, a := range s.apps {
		for _, l := range a.order {
			l.mu.RLock()
			if keep(l) {
				all = append(all, l)
			}
			l.mu.RUnlock()
		}
	}
	return all
}

// adopt takes a bulk push from the record, or one that was just accepted, among the live ones.
func (d *Dispatcher) adopt(row push.Live) error {
	p := row.Push
	request := p.Request
	p.Request = push.Request{}
	l := &live{
		push: p, request: &request, settled: new(ordset.Set), run: p.State == push.Done,
		delivery: &push.Delivery{ID: p.ID, App: p.App, Kind: push.Bulk, Expires: p.Expires, Payload: row.Payload},
	}
	if p.State == push.Sending || p.State == push.Done {
		target, settled, err := sets(row)
		if err != nil {
			return err
		}
		l.target, l.settled, l.request = d.live.share(p.App, target), settled, nil
	}
	d.live.add(l)
	return nil
}

// sets returns the target of a push that has begun, and which devices are settled.
func sets(row push.Live) (target, settled *ordset.Set, err error) {
	if target, err = ordset.FromChunks(row.Target); err != nil {
		return nil, nil, err
	}
	settled = new(ordset.Set)
	for m, chunks := range row.Marked {
		if m != push.MarkDelivered && m.Reason() == "" {
			continue
		}
		set, err := ordset.FromChunks(chunks)
		if err != nil {
			return nil, nil, err
		}
		settled.Union(set)
	}
	return target, settled, nil
}
