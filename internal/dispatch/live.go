package dispatch

import (
	"cmp"
	"slices"
	"sync"

	"github.com/carillonpush/carillon/internal/live"
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// A bulk is a bulk push that is not over: what is to be known of it beside its live sets, in which it is from its beginning
// on.
type bulk struct {
	push     push.Push // as it was when it came here, without its request; its state does not follow
	delivery *push.Delivery
	plan
	adding sync.Mutex // of an open push: one addition at a time, the first one first

	mu       sync.RWMutex  // guards what follows
	state    push.State    // as the record has it, as far as is known
	request  *push.Request // what begins it; nil once it has begun, since there may be many, and it may be long. Kept of an open push
	first    bool          // of an open push: its first addition, the audience of its request, is to be made
	asked    bool          // whether its audience is being evaluated
	walking  bool          // of a paced push: whether somebody paces it
	released push.Ordinal  // of a paced push: it was released to the devices of its target with ordinals below
	settle   func(bool)    // of a paused push: ends the barrier at the gateway; nil if there is none
	absent   bool          // whether its target, or a part of it, found no room among the live sets
	doubtful bool          // whether the record may have it in another state: a change was not answered
	crowded  bool          // whether it was said that it waits for room
}

// A plan is what of a request matters after its push has begun.
type plan struct {
	rate     int    // devices a second; 0 is not paced
	collapse string // its collapse id
	offline  bool   // it is kept for devices that are away
	personal bool   // some devices have a payload of their own
	recalls  push.ID
	whole    bool // what it recalls it recalls from everybody
}

func planOf(r push.Request) plan {
	return plan{
		rate: r.Policy.Rate, collapse: r.Policy.CollapseID, offline: r.Policy.Offline(), personal: len(r.Message.Personal) > 0,
		recalls: r.Message.Recall, whole: r.Origin == originRecall && r.Audience.Where != nil,
	}
}

func (b *bulk) key() key { return key{b.push.App, b.push.ID} }

// in returns the state that b is in.
func (b *bulk) in() push.State {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.state
}

// enter notes that the record has b in a state.
func (b *bulk) enter(s push.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state = s
	if !s.Waits() && s != push.Open {
		b.request = nil
	}
}

// begun reports whether b has its target.
func (b *bulk) begun() bool { return !b.in().Waits() }

// unfinished reports whether something of b is to be run: its beginning, or its first pass.
func (b *bulk) unfinished() bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.state.Waits() || b.state == push.Sending || b.first || b.absent
}

// evaluating returns what begins b, and keeps others from evaluating it until evaluated is called. nil if it has begun, or
// another is at it.
func (b *bulk) evaluating() *push.Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.state.Waits() || b.asked {
		return nil
	}
	b.asked = true
	return b.request
}

func (b *bulk) evaluated() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = false
}

func (b *bulk) doubt(is bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.doubtful = is
}

// bulks are the bulk pushes that are not over, by app.
type bulks struct {
	mu   sync.RWMutex // guards what follows
	byID map[key]*bulk
	apps map[push.AppID][]*bulk // in order of ids
}

func newBulks() *bulks { return &bulks{byID: map[key]*bulk{}, apps: map[push.AppID][]*bulk{}} }

// add takes b in, and returns it, or the one of its id that is there.
func (s *bulks) add(b *bulk) *bulk {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.byID[b.key()]; have != nil {
		return have
	}
	s.byID[b.key()] = b
	all := s.apps[b.push.App]
	at, _ := slices.BinarySearchFunc(all, b.push.ID, func(b *bulk, id push.ID) int { return cmp.Compare(b.push.ID, id) })
	s.apps[b.push.App] = slices.Insert(all, at, b)
	return b
}

func (s *bulks) get(app push.AppID, id push.ID) *bulk {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byID[key{app, id}]
}

// replace puts b in the place of the one of its id, if old is still that.
func (s *bulks) replace(old, b *bulk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID[b.key()] != old {
		return
	}
	s.byID[b.key()] = b
	all := s.apps[b.push.App]
	all[slices.Index(all, old)] = b
}

func (s *bulks) remove(k key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID[k] == nil {
		return
	}
	delete(s.byID, k)
	rest := slices.DeleteFunc(s.apps[k.app], func(b *bulk) bool { return b.push.ID == k.id })
	if s.apps[k.app] = rest; len(rest) == 0 {
		delete(s.apps, k.app)
	}
}

// of returns those of app, in order of ids.
func (s *bulks) of(app push.AppID) []*bulk {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.apps[app])
}

// filter returns those for which keep is true. keep must not ask for s.
func (s *bulks) filter(keep func(*bulk) bool) []*bulk {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var all []*bulk
	for _, of := range s.apps {
		for _, b := range of {
			if keep(b) {
				all = append(all, b)
			}
		}
	}
	return all
}

// bulkOf returns what is kept of a bulk push.
func bulkOf(p push.Push, payload []byte) *bulk {
	request := p.Request
	p.Request = push.Request{}
	return &bulk{
		push: p, state: p.State, request: &request, released: p.Cursor, plan: planOf(request),
		first: p.State == push.Open && said(request.Audience) && p.Target == 0 && p.Unknown == 0,
		delivery: &push.Delivery{
			ID: p.ID, App: p.App, Kind: push.Bulk, Expires: p.Expires, Payload: payload, Rules: rules(request),
		},
	}
}

// rules returns what is asked at the door of a push. A recall passes everything.
func rules(r push.Request) push.Rules {
	if r.Message.Recall != 0 {
		return push.Rules{Quiet: "ignore", Silent: true}
	}
	return r.Rules()
}

// said reports whether a names somebody.
func said(a push.Audience) bool { return a.All || a.Named() || a.Where != nil || a.File != "" }

// adopt takes a bulk push from the record, or one that was just accepted, among those that are not over.
func (d *Dispatcher) adopt(row push.Live) (*bulk, error) {
	if have := d.bulks.get(row.Push.App, row.Push.ID); have != nil {
		return have, nil
	}
	b := bulkOf(row.Push, row.Payload)
	if !b.begun() {
		return d.bulks.add(b), nil
	}
	target, settled, err := sets(row)
	if err != nil {
		return nil, err
	}
	if b.state != push.Open {
		b.request = nil
	}
	d.bulks.add(b) // before it is owed, so that whoever is told of it finds it
	if err := d.owe(b, target, settled, b.state == push.Paused); err != nil {
		d.crowd(b, err)
		b.lack(true)
	}
	return b, nil
}

// lack notes whether a part of b's target found no room among the live sets.
func (b *bulk) lack(is bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.absent = is
}

// owe puts the target of a push among the live sets. While it is held nobody is owed it.
func (d *Dispatcher) owe(b *bulk, target, settled *ordset.Set, hold bool) error {
	released := push.Everybody
	if b.rate > 0 {
		released = b.released
	}
	target.Compact()
	return d.sets.Begin(live.Push{App: b.push.App, ID: b.push.ID, Target: target, Settled: settled, Released: released, Held: hold})
}

// forget ends b here: it is over, and nobody is owed it.
func (d *Dispatcher) forget(b *bulk) {
	d.sets.End(b.push.App, b.push.ID)
	d.bulks.remove(b.key())
	d.agenda.Remove(b.key())
	b.mu.Lock()
	settle := b.settle
	b.settle = nil
	b.mu.Unlock()
	if settle != nil {
		settle(true)
	}
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
