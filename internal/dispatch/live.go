package dispatch

import (
	"slices"
	"sync"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// A live is a bulk push that is not over: scheduled, about to begin, or begun and owed to whoever is in its target and
// not settled.
type live struct {
	push     push.Push // its state is that of the last change made here
	delivery *push.Delivery

	mu      sync.RWMutex // guards what follows
	target  *ordset.Set  // nil until it has begun; not changed afterwards
	settled *ordset.Set  // delivered, or dropped for a reason
	run     bool         // whether its first pass is complete
}

// owes reports whether a device is owed the push.
func (l *live) owes(o push.Ordinal) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.target != nil && l.target.Has(o) && !l.settled.Has(o)
}

// begin gives l its target. settled holds those that are dropped from the start.
func (l *live) begin(target, settled *ordset.Set) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.target, l.settled = target, settled
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
	at, _ := slices.BinarySearchFunc(a.order, l.push.ID, func(l *live, id push.ID) int { return int(min(1, max(-1, l.push.ID-id))) })
	a.order = slices.Insert(a.order, at, l)
	if l.target != nil {
		a.owed.Union(l.target)
	}
}

// owing makes the app's superset hold a target. It is called before anybody is told of the target.
func (s *lives) owing(app push.AppID, target *ordset.Set) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.apps[app]; a != nil {
		a.owed.Union(target)
	}
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

// remove forgets a push that is over, and lets the app's superset shrink to what the others owe.
func (s *lives) remove(app push.AppID, id push.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.apps[app]
	if a == nil || a.byID[id] == nil {
		return
	}
	delete(a.byID, id)
	a.order = slices.DeleteFunc(a.order, func(l *live) bool { return l.push.ID == id })
	a.owed = new(ordset.Set)
	for _, l := range a.order {
		l.mu.RLock()
		if l.target != nil {
			a.owed.Union(l.target)
		}
		l.mu.RUnlock()
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
	l := &live{
		push: p, settled: new(ordset.Set), run: p.State == push.Done,
		delivery: &push.Delivery{ID: p.ID, App: p.App, Kind: push.Bulk, Expires: p.Expires, Payload: row.Payload},
	}
	if p.State == push.Sending || p.State == push.Done {
		target, err := ordset.FromChunks(row.Target)
		if err != nil {
			return err
		}
		l.target = target
	}
	for m, chunks := range row.Marked {
		if m != push.MarkDelivered && m.Reason() == "" {
			continue
		}
		set, err := ordset.FromChunks(chunks)
		if err != nil {
			return err
		}
		l.settled.Union(set)
	}
	d.live.add(l)
	return nil
}
