package live_test

import (
	"slices"

	"github.com/carillonpush/carillon/internal/live"
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// A name is a push of an app.
type name struct {
	app push.AppID
	id  push.ID
}

// A model says what Sets have to say, by asking every live push one by one.
type model map[name]*live.Push

func (m model) begin(p live.Push) {
	n := name{p.App, p.ID}
	if m[n] == nil {
		p.Target, p.Settled = p.Target.Clone(), p.Settled.Clone()
		m[n] = &p
	}
}

func (m model) release(n name, upTo push.Ordinal) {
	if p := m[n]; p != nil {
		p.Released = max(p.Released, upTo)
	}
}

func (m model) settle(n name, set *ordset.Set) (fresh int) {
	p := m[n]
	if p == nil {
		return 0
	}
	fresh = set.Len() - set.And(p.Settled)
	p.Settled.Union(set)
	return fresh
}

func (m model) owes(n name, o push.Ordinal) bool {
	p := m[n]
	return p != nil && !p.Held && (o < p.Released || p.Released == push.Everybody) && p.Target.Has(o) && !p.Settled.Has(o)
}

func (m model) owed(app push.AppID, o push.Ordinal, limit int, skip func(push.ID) bool) []push.ID {
	var ids []push.ID
	for n := range m {
		if n.app == app && m.owes(n, o) && !skip(n.id) {
			ids = append(ids, n.id)
		}
	}
	slices.Sort(ids)
	return ids[:min(limit, len(ids))]
}

func (m model) pending(n name) *ordset.Set {
	s := new(ordset.Set)
	if p := m[n]; p != nil {
		s.Union(p.Target)
		s.Subtract(p.Settled)
	}
	return s
}

func (m model) next(n name, from push.Ordinal, limit int) (all []push.Ordinal) {
	p := m[n]
	if p == nil {
		return nil
	}
	for o := range p.Target.All() {
		if o >= from && len(all) < limit {
			all = append(all, o)
		}
	}
	return all
}
