package sqlstore

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// What grows with traffic lives in tables by day, where the day is that on which the rows expire. Their names say what is
// in them, in which shape, and of which day: inbox_v1_20261125. A shape is never altered; a new one gets a new number, and
// readers know both while the old days last.
//
// Tables are made when the first row of their day comes, outside the commit that brings it, and found by their names at
// start.

// A dayTable is what a table by day holds.
type dayTable string

const (
	directTable  dayTable = "direct_v1_"  // direct pushes with their bodies, in order of ids
	inboxTable   dayTable = "inbox_v1_"   // which of them waits for which device
	outcomeTable dayTable = "outcome_v1_" // what became of them
	bodyTable    dayTable = "body_v1_"    // bodies of bulk pushes

	personalTable dayTable = "personal_v1_" // payloads that are one device's own
	trailTable    dayTable = "trail_v1_"    // when what became of bulk pushes: see packTrail
)

// shapes make the tables; {name} is the table's. Every statement may be repeated.
var shapes = map[dayTable][]string{
	directTable: {
		`CREATE TABLE IF NOT EXISTS {name} (
			id      {int} PRIMARY KEY,
			app     {int}  NOT NULL,
			created {int}  NOT NULL,
			expires {int}  NOT NULL,
			unknown {int}  NOT NULL,
			collapse TEXT  NOT NULL, -- the collapse id, '' for none
			rules   {blob} NOT NULL, -- JSON, empty for the zero Rules
			targets {blob} NOT NULL, -- see packOrdinals
			payload {blob} NOT NULL, -- JSON, as devices get it
			rest    {blob} NOT NULL  -- JSON, what the request has beyond the payload
		)`,
		// The sweep looks for what has expired. Pushes with the same time to live add to its end.
		`CREATE INDEX IF NOT EXISTS {name}_expires ON {name} (expires, id)`,
		`CREATE INDEX IF NOT EXISTS {name}_collapse ON {name} (app, collapse, created, id) WHERE collapse <> ''`,
	},
	inboxTable: {
		`CREATE TABLE IF NOT EXISTS {name} (
			app     {int} NOT NULL,
			ordinal {int} NOT NULL,
			push    {int} NOT NULL,
			expires {int} NOT NULL,
			PRIMARY KEY (app, ordinal, push)
		) {keyed}`,
	},
	outcomeTable: {
		`CREATE TABLE IF NOT EXISTS {name} (
			push    {int} NOT NULL,
			ordinal {int} NOT NULL,
			marks   {int} NOT NULL,
			times   {blob} NOT NULL, -- when each of them was committed: see packTimes
			PRIMARY KEY (push, ordinal)
		) {keyed}`,
	},
	bodyTable: {
		`CREATE TABLE IF NOT EXISTS {name} (
			push    {int} PRIMARY KEY,
			payload {blob} NOT NULL
		)`,
	},
	trailTable: {
		`CREATE TABLE IF NOT EXISTS {name} (
			push   {int} NOT NULL,
			chunk  {int} NOT NULL,
			page   {int} NOT NULL,
			packed {blob} NOT NULL,
			PRIMARY KEY (push, chunk, page)
		)`,
	},
	personalTable: {
		`CREATE TABLE IF NOT EXISTS {name} (
			push    {int} NOT NULL,
			ordinal {int} NOT NULL,
			payload {blob} NOT NULL,
			PRIMARY KEY (push, ordinal)
		)`,
	},
}

func (k dayTable) of(d push.Day) string { return string(k) + d.String() }

// day returns the day of a table of kind k.
func (k dayTable) day(table string) (push.Day, bool) {
	digits, ok := strings.CutPrefix(table, string(k))
	if !ok {
		return 0, false
	}
	t, err := time.Parse("20060102", digits)
	return push.DayOf(t), err == nil
}

// A dayNeed is a table that a write needs.
type dayNeed struct {
	kind dayTable
	day  push.Day
}

// days are the tables by day that there are.
type days struct {
	dialect dialect
	read    *reader

	mu      sync.RWMutex // guards what follows
	version int          // counts changes of have
	have    map[dayTable][]push.Day
	closing map[string]bool // tables that are about to be dropped: nobody uses them any more
}

// findDays finds the tables by their names.
func findDays(ctx context.Context, read *reader, d dialect) (*days, error) {
	all := &days{dialect: d, read: read, have: map[dayTable][]push.Day{}, closing: map[string]bool{}}
	err := read.each(ctx, d.traits().tables, func(rows *sql.Rows) error {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		for kind := range shapes {
			if day, ok := kind.day(name); ok {
				all.have[kind] = append(all.have[kind], day)
			}
		}
		return nil
	})
	for _, found := range all.have {
		slices.Sort(found)
	}
	return all, err
}

// has reports whether there is a table of kind k for day d.
func (d *days) has(k dayTable, day push.Day) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	_, ok := slices.BinarySearch(d.have[k], day)
	return ok
}

// from returns the days of kind k from day first on, in order.
func (d *days) from(k dayTable, first push.Day) []push.Day {
	d.mu.RLock()
	defer d.mu.RUnlock()
	i, _ := slices.BinarySearch(d.have[k], first)
	return slices.Clone(d.have[k][i:])
}

// until returns the days of kind k up to day last, in order.
func (d *days) until(k dayTable, last push.Day) []push.Day {
	d.mu.RLock()
	defer d.mu.RUnlock()
	i, _ := slices.BinarySearch(d.have[k], last+1)
	return slices.Clone(d.have[k][:i])
}

// stable runs f, which reads tables by day, again if one was dropped under its hands.
func (d *days) stable(f func() error) error {
	for {
		before := d.changes()
		if err := f(); err == nil || d.changes() == before {
			return err
		}
	}
}

func (d *days) changes() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.version
}

// prepare makes the tables that batch needs and that are not there, each in a transaction of its own.
func (d *days) prepare(t *tx, batch []*write) error {
	for _, w := range batch {
		for _, day := range w.outcomes {
			if !d.has(directTable, day) {
				continue
			}
			if err := d.ensure(t, outcomeTable, day); err != nil {
				return err
			}
		}
		for _, n := range w.needs {
			if err := d.ensure(t, n.kind, n.day); err != nil {
				return err
			}
		}
		if w.accept == nil {
			continue
		}
		kinds := []dayTable{bodyTable}
		if w.accept.Push.Kind == push.Direct {
			kinds = []dayTable{directTable, inboxTable}
		}
		if len(w.accept.Personal) > 0 {
			kinds = append(kinds, personalTable)
		}
		for _, k := range kinds {
			if err := d.ensure(t, k, w.accept.day); err != nil {
				return err
			}
		}
	}
	return nil
}

// ensure makes one table, if it is not there. Invalid if its day is being dropped.
func (d *days) ensure(t *tx, k dayTable, day push.Day) error {
	if d.has(k, day) {
		return nil
	}
	d.mu.RLock()
	over := d.closing[k.of(day)]
	d.mu.RUnlock()
	if over {
		return &push.Error{Kind: push.Invalid, Field: "expires", Msg: "is on a day that is long over"}
	}
	word := d.dialect.traits().word
	for _, statement := range shapes[k] {
		if err := t.run(strings.ReplaceAll(word.Replace(statement), "{name}", k.of(day))); err != nil {
			return err
		}
	}
	d.change(func() {
		i, _ := slices.BinarySearch(d.have[k], day)
		d.have[k] = slices.Insert(d.have[k], i, day)
	})
	return nil
}

// change changes which tables there are, and lets go of statements about them.
func (d *days) change(f func()) {
	d.mu.Lock()
	f()
	d.version++
	d.mu.Unlock()
	d.read.forget(time.Now())
}

// retire takes a table out of use, before it is dropped.
func (d *days) retire(k dayTable, day push.Day) {
	d.change(func() {
		d.closing[k.of(day)] = true
		d.have[k] = slices.DeleteFunc(d.have[k], func(have push.Day) bool { return have == day })
	})
}

// retired returns the days of kind k whose tables are out of use and could not be dropped yet.
func (d *days) retired(k dayTable) []push.Day {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var all []push.Day
	for table := range d.closing {
		if day, ok := k.day(table); ok {
			all = append(all, day)
		}
	}
	return all
}

// dropped says that a retired table is gone.
func (d *days) dropped(k dayTable, day push.Day) {
	d.change(func() { delete(d.closing, k.of(day)) })
}

// union returns the rows of several tables as one relation. part makes the query of one.
func union(all []push.Day, part func(push.Day) string) string {
	parts := make([]string, len(all))
	for i, d := range all {
		parts[i] = part(d)
	}
	return "(" + strings.Join(parts, " UNION ALL ") + ")"
}
