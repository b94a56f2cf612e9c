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

// A roster is the rows of one alias, or of one device, the oldest first. Rows that have gone stay in it until they are met.
type roster struct {
	rows []aged
	n    int // rows that are there
}

// An aliasPlan finds out what edits of aliases change, before anything is written: edits are done in memory, one after
// another, on what the record says. It performs nothing. An edit takes no longer than what it changes, since the committer
// waits for it: an alias may have any number of owners.
type aliasPlan struct {
	limits push.AliasLimits
	there  map[owning]int64 // every row that is there, and since when
	// Both views are whole for the devices and aliases that the edits' rules are about.
	owners map[push.Alias]*roster
	has    map[push.Ordinal]*roster

	gone  map[owning]int64 // rows of the record that go
	fresh map[owning]int64 // rows that come
}

// newAliasPlan returns a plan over rows of the record, in any order, each once.
func newAliasPlan(limits push.AliasLimits, rows []aged) *aliasPlan {
	p := &aliasPlan{
		limits: limits, there: make(map[owning]int64, len(rows)),
		owners: map[push.Alias]*roster{}, has: map[push.Ordinal]*roster{},
		gone: map[owning]int64{}, fresh: map[owning]int64{},
	}
	slices.SortFunc(rows, func(a, b aged) int { return cmp.Compare(a.at, b.at) })
	for _, row := range rows {
		p.put(row)
	}
	return p
}

// rosterOf returns the roster of a key, and makes it if there is none.
func rosterOf[K comparable](all map[K]*roster, key K) *roster {
	if all[key] == nil {
		all[key] = new(roster)
	}
	return all[key]
}

// put adds a row that is not there.
func (p *aliasPlan) put(row aged) {
	p.there[row.owning] = row.at
	for _, r := range []*roster{rosterOf(p.owners, row.alias), rosterOf(p.has, row.ordinal)} {
		r.rows = append(r.rows, row)
		r.n++
	}
}

// drop takes one alias from one device, if it has it.
func (p *aliasPlan) drop(row owning) {
	at, ok := p.there[row]
	if !ok {
		return
	}
	delete(p.there, row)
	p.owners[row.alias].n--
	p.has[row.ordinal].n--
	if _, fresh := p.fresh[row]; fresh {
		delete(p.fresh, row)
	} else {
		p.gone[row] = at
	}
}

// shorten drops rows of r but one, the oldest first, until it has at most most.
func (p *aliasPlan) shorten(r *roster, most int, keep owning) {
	i, kept := 0, -1
	for ; i < len(r.rows) && r.n > most; i++ {
		switch row := r.rows[i]; {
		case p.there[row.owning] != row.at: // it went, and may have come again
		case row.owning == keep:
			kept = i
		default:
			p.drop(row.owning)
		}
	}
	if kept >= 0 {
		i--
		r.rows[i] = r.rows[kept]
	}
	r.rows = r.rows[i:]
}

// strip takes all aliases from a device.
func (p *aliasPlan) strip(o push.Ordinal) { p.shorten(rosterOf(p.has, o), 0, owning{}) }

// edit does one edit at a time that is later than all before it. TooMany if the limits do not allow it.
func (p *aliasPlan) edit(e push.AliasEdit, at int64) error {
	row := owning{e.Alias, e.Ordinal}
	owners, has := rosterOf(p.owners, e.Alias), rosterOf(p.has, e.Ordinal)
	_, there := p.there[row]
	switch {
	case e.Op == push.Delete && e.Alias == push.Alias{}:
		p.strip(e.Ordinal)
		return nil
	case e.Op == push.Delete:
		p.drop(row)
		return nil
	case e.Op == push.Put && there:
		p.shorten(owners, 1, row)
	case e.Op == push.Put:
		p.shorten(owners, 0, row)
	}
	if there {
		return nil // it keeps its age
	}
	if most := p.limits.Devices; most > 0 && owners.n >= most && !p.limits.Evict {
		return &push.Error{Kind: push.TooMany, Msg: fmt.Sprintf("an alias has at most %d devices", most)}
	}
	if most := p.limits.PerDevice; most > 0 && has.n >= most && !p.limits.Evict {
		return &push.Error{Kind: push.TooMany, Msg: fmt.Sprintf("a device has at most %d aliases", most)}
	}
	p.put(aged{row, at})
	p.fresh[row] = at
	// What has just come is the newest.
	if most := p.limits.Devices; most > 0 {
		p.shorten(owners, most, row)
	}
	if most := p.limits.PerDevice; most > 0 {
		p.shorten(has, most, row)
	}
	return nil
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

// write makes the plan's changes inside t.
func (p *aliasPlan) write(t *tx, app push.AppID) error {
	if _, err := t.remove("alias", aliasColumns(app, p.gone)...); err != nil {
		return err
	}
	return t.insert("alias", "", aliasColumns(app, p.fresh)...)
}

// aliasColumns returns rows, and since when they are, in the order of the record's key: neighbours change the same page once.
func aliasColumns(app push.AppID, all map[owning]int64) []column {
	rows := slices.SortedFunc(maps.Keys(all), func(a, b owning) int {
		return cmp.Or(cmp.Compare(a.alias.Type, b.alias.Type), cmp.Compare(a.alias.Value, b.alias.Value), cmp.Compare(all[a], all[b]))
	})
	n := len(rows)
	cols := []column{
		{name: "app", ints: make([]int64, n)},
		{name: "type", texts: make([]string, n)},
		{name: "value", texts: make([]string, n)},
		{name: "ordinal", ints: make([]int64, n)},
		{name: "at", ints: make([]int64, n)},
	}
	for i, row := range rows {
		cols[0].ints[i], cols[3].ints[i], cols[4].ints[i] = int64(app), int64(row.ordinal), all[row]
		cols[1].texts[i], cols[2].texts[i] = row.alias.Type, row.alias.Value
	}
	return cols
}
