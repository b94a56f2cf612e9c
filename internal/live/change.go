package live

import (
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Begin puts p among the live pushes. TooMany if it does not fit the budget: then nothing changes. One that is there already
// stays as it is.
func (s *Sets) Begin(p Push) error {
	const op = "live.Begin"
	loaded, _ := s.apps.LoadOrStore(p.App, new(app))
	a := loaded.(*app)
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.pushes.Load(p.ID); ok {
		return nil
	}
	target, settled := viewOf(p.Target), viewOf(p.Settled)
	var aims []aim
	for key := range target.Keys() {
		aims = append(aims, aim{key: key, target: target.Container(key), settled: settled.Container(key)})
	}
	for key := range settled.Keys() {
		if target.Len(key) == 0 { // they may be added to the target yet
			aims = append(aims, aim{key: key, target: nobody, settled: settled.Container(key)})
		}
	}
	done, err := s.takeAll(op, aims, liveBytes)
	if err != nil {
		return err
	}
	// From here on receipts find it, and devices do as soon as a part is in its chunk.
	l := newLive(p.Released, p.Held)
	a.pushes.Store(p.ID, l)
	s.count(liveBytes)
	s.aim(a, p.ID, l, aims)
	done()
	return nil
}

// Grow adds more to the target of a push, which is not kept. TooMany if it does not fit the budget: then nothing changes. A
// push that is not there stays so.
func (s *Sets) Grow(id push.AppID, p push.ID, more *ordset.Set) error {
	a, l := s.find(id, p)
	if l == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if l.ended.Load() {
		return nil
	}
	var aims []aim
	v := more.View()
	for key := range v.Keys() {
		target := nobody
		if c := a.chunk(key); c != nil {
			c.with(p, func(p *part) { target = p.target })
		}
		var w ordset.Words
		w.Union(target)
		w.Union(v.Container(key))
		if w.Len() > target.Len() {
			aims = append(aims, aim{key: key, target: w.Container(), settled: nobody})
		}
	}
	done, err := s.takeAll("live.Grow", aims, 0)
	if err != nil {
		return err
	}
	s.aim(a, p, l, aims)
	done()
	return nil
}

// viewOf returns a view of a set that may be nil.
func viewOf(set *ordset.Set) *ordset.View {
	if set == nil {
		set = new(ordset.Set)
	}
	return set.View()
}

// An aim is what the target of a push is to be in a chunk, and who is settled there beside those that are.
type aim struct {
	key             uint16
	target, settled *ordset.Container
}

// takeAll takes the targets of aims, and reserves what else they need and more bytes until done is called. If that does not
// fit the budget it takes nothing.
func (s *Sets) takeAll(op string, aims []aim, more int) (done func(), err error) {
	more += partBytes * len(aims)
	used := s.Used()
	if !s.reserve(more) {
		return nil, s.full(op, used)
	}
	for i := range aims {
		target, ok := s.take(aims[i].target)
		if !ok {
			for _, taken := range aims[:i] {
				s.give(taken.target)
			}
			s.count(-more)
			return nil, s.full(op, used)
		}
		aims[i].target = target
	}
	return func() { s.count(-more) }, nil
}

// aim gives a push targets that were taken. The caller holds a.mu.
func (s *Sets) aim(a *app, id push.ID, l *live, aims []aim) {
	for _, t := range aims {
		c := s.ensure(a, t.key)
		s.edit(c, id, l, func(p *part) {
			var settled ordset.Words
			p.put(&settled)
			settled.Union(t.settled)
			s.give(p.target)
			p.target = t.target
			p.form(&settled)
			if p.settled == nil {
				s.owing(c, t.target)
			} else if p.settled != everyone { // many are, when pushes are live again after a restart
				p.leave(&settled)
				s.owing(c, settled.Container())
			}
		})
	}
}

// Release has a push owed to the ordinals of its target below upTo; push.Everybody means all. It is never taken back.
func (s *Sets) Release(id push.AppID, p push.ID, to push.Ordinal) {
	if _, l := s.find(id, p); l != nil {
		l.change(func() { l.released = max(l.released, upTo(to)) })
	}
}

// Hold says whether a push is owed to nobody for the time being.
func (s *Sets) Hold(id push.AppID, p push.ID, held bool) {
	if _, l := s.find(id, p); l != nil {
		l.change(func() { l.held = held })
	}
}

// Settle notes that a device is owed nothing of a push any more, and reports whether that is new. One that is not in the
// target will be owed nothing if it is added. false if the push is not there.
func (s *Sets) Settle(id push.AppID, p push.ID, o push.Ordinal) bool {
	a, l := s.find(id, p)
	if l == nil {
		return false
	}
	var is bool
	s.edit(s.chunkOf(a, ordset.Key(o)), p, l, func(p *part) { is = p.settle(uint16(o)) })
	return is
}

// SettleAll is Settle for a set, and returns how many were new.
func (s *Sets) SettleAll(id push.AppID, p push.ID, set *ordset.Set) int {
	a, l := s.find(id, p)
	if l == nil {
		return 0
	}
	n, v := 0, set.View()
	for key := range v.Keys() {
		s.edit(s.chunkOf(a, key), p, l, func(p *part) {
			before := p.count()
			p.change(func(w *ordset.Words) { w.Union(v.Container(key)) })
			n += p.count() - before
		})
	}
	return n
}

// chunkOf returns a chunk, which it makes if there is none.
func (s *Sets) chunkOf(a *app, key uint16) *chunk {
	if c := a.chunk(key); c != nil {
		return c
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return s.ensure(a, key)
}

// End forgets a push.
func (s *Sets) End(id push.AppID, p push.ID) {
	a, l := s.find(id, p)
	if l == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if l.ended.Swap(true) {
		return
	}
	a.pushes.Delete(p)
	for c := range a.from(0) {
		s.remove(c, p)
	}
	s.count(-liveBytes)
}
