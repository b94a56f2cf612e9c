package sqlstore

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/carillonpush/carillon/internal/push"
)

// An owning is that a device has an alias: one row of the record.
type owning struct {
	alias   push.Alias
	ordinal push.Ordinal
}

// An aged is an owning, and when it began.
type aged struct {
	owning
	at int64
}

// An aliasPlan finds out what edits of aliases change, before anything is written: edits are done in memory, one after
// another, on what the record says. It performs nothing.
type aliasPlan struct {
	limits push.AliasLimits
	// Both views have the oldest first. They are whole for the devices and aliases that the edits' rules are about.
	owners map[push.Alias][]aged
	has    map[push.Ordinal][]aged

	gone  map[owning]bool  // rows of the record that go
	fresh map[owning]int64 // rows that come
}

// newAliasPlan returns a plan over rows of the record, in any order, each once.
func newAliasPlan(limits push.AliasLimits, rows []aged) *aliasPlan {
	p := &aliasPlan{
		limits: limits,
		owners: map[push.Alias][]aged{}, has: map[push.Ordinal][]aged{},
		gone: map[owning]bool{}, fresh: map[owning]int64{},
	}
	slices.SortFunc(rows, func(a, b aged) int { return cmp.Compare(a.at, b.at) })
	for _, row := range rows {
		p.put(row)
	}
	return p
}

func (p *aliasPlan) put(row aged) {
	p.owners[row.alias] = append(p.owners[row.alias], row)
	p.has[row.ordinal] = append(p.has[row.ordinal], row)
}

// edit does one edit at a time that is later than all before it. TooMany if the limits do not allow it.
func (p *aliasPlan) edit(e push.AliasEdit, at int64) error {
	row := owning{e.Alias, e.Ordinal}
	switch {
	case e.Op == push.Delete && e.Alias == push.Alias{}:
		p.strip(e.Ordinal)
		return nil
	case e.Op == push.Delete:
		p.drop(row)
		return nil
	case e.Op == push.Put:
		for _, other := range slices.Clone(p.owners[e.Alias]) {
			if other.ordinal != e.Ordinal {
				p.drop(other.owning)
			}
		}
	}
	if p.owned(row) {
		return nil // it keeps its age
	}
	if most := p.limits.Devices; most > 0 && len(p.owners[e.Alias]) >= most && !p.limits.Evict {
		return &push.Error{Kind: push.TooMany, Msg: fmt.Sprintf("an alias has at most %d devices", most)}
	}
	if most := p.limits.PerDevice; most > 0 && len(p.has[e.Ordinal]) >= most && !p.limits.Evict {
		return &push.Error{Kind: push.TooMany, Msg: fmt.Sprintf("a device has at most %d aliases", most)}
	}
	p.put(aged{row, at})
	p.fresh[row] = at
	p.evict(row)
	return nil
}

// evict drops the oldest of what is too much. What has just come is the newest.
func (p *aliasPlan) evict(row owning) {
	for most := p.limits.Devices; most > 0 && len(p.owners[row.alias]) > most; {
		p.drop(p.owners[row.alias][0].owning)
	}
	for most := p.limits.PerDevice; most > 0 && len(p.has[row.ordinal]) > most; {
		p.drop(p.has[row.ordinal][0].owning)
	}
}

func (p *aliasPlan) owned(row owning) bool {
	return slices.ContainsFunc(p.has[row.ordinal], func(a aged) bool { return a.alias == row.alias })
}

// strip takes all aliases from a device.
func (p *aliasPlan) strip(o push.Ordinal) {
	for _, row := range slices.Clone(p.has[o]) {
		p.drop(row.owning)
	}
}

// drop takes one alias from one device, if it has it.
func (p *aliasPlan) drop(row owning) {
	if !p.owned(row) {
		return
	}
	same := func(a aged) bool { return a.owning == row }
	p.owners[row.alias] = slices.DeleteFunc(p.owners[row.alias], same)
	p.has[row.ordinal] = slices.DeleteFunc(p.has[row.ordinal], same)
	if _, fresh := p.fresh[row]; fresh {
		delete(p.fresh, row)
	} else {
		p.gone[row] = true
	}
}

// changed returns the devices whose aliases change, in order.
func (p *aliasPlan) changed() []push.Ordinal {
	all := map[push.Ordinal]bool{}
	for row := range p.gone {
		all[row.ordinal] = true
	}
	for row := range p.fresh {
		all[row.ordinal] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// byKey orders owning as the record does, so that neighbours change the same page once.
func byKey(a, b owning) int {
	return cmp.Or(cmp.Compare(a.alias.Type, b.alias.Type), cmp.Compare(a.alias.Value, b.alias.Value), cmp.Compare(a.ordinal, b.ordinal))
}

// write makes the plan's changes inside t.
func (p *aliasPlan) write(t *tx, app push.AppID) error {
	if _, err := t.remove("alias", owningColumns(app, slices.SortedFunc(maps.Keys(p.gone), byKey))...); err != nil {
		return err
	}
	fresh := slices.SortedFunc(maps.Keys(p.fresh), byKey)
	at := make([]int64, len(fresh))
	for i, row := range fresh {
		at[i] = p.fresh[row]
	}
	return t.insert("alias", "", append(owningColumns(app, fresh), column{name: "at", ints: at})...)
}

func owningColumns(app push.AppID, rows []owning) []column {
	n := len(rows)
	cols := []column{
		{name: "app", ints: make([]int64, n)},
		{name: "type", texts: make([]string, n)},
		{name: "value", texts: make([]string, n)},
		{name: "ordinal", ints: make([]int64, n)},
	}
	for i, row := range rows {
		cols[0].ints[i], cols[3].ints[i] = int64(app), int64(row.ordinal)
		cols[1].texts[i], cols[2].texts[i] = row.alias.Type, row.alias.Value
	}
	return cols
}
