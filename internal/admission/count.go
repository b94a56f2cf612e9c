package admission

import (
	"context"
	"errors"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Counted takes note of one committed row of the receipt log. It is called for every row, in order, before the ledger takes it.
// It does no I/O.
func (g *Gate) Counted(row push.Logged) {
	g.order.Lock()
	defer g.order.Unlock()
	g.seq = row.Seq
	var h *house
	var l *law
	var day push.Day
	for i, r := range row.Receipts {
		if i == 0 || r.App != row.Receipts[i-1].App {
			if h, l = g.law(r.App); h != nil {
				day = l.day(row.At)
			}
		}
		if h != nil && (l.counts() || h.tallies.Load()) && h.receipt(l, day, r) {
			g.fresh = true
		}
	}
}

// receipt takes note of one receipt, which was committed on a day, and reports whether caps are concerned.
func (h *house) receipt(l *law, day push.Day, r push.Receipt) bool {
	delivered := r.Mark == push.MarkDelivered
	if !delivered && r.Mark != push.MarkFinished && r.Mark.Reason() == "" {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	t := &h.tally
	p := t.pushes[r.Push]
	switch {
	case p == nil && (!delivered || !l.counts()):
		return false
	case r.Mark == push.MarkFinished:
		if !p.under.Empty() {
			p.finished, t.ask[r.Push] = true, true
		}
		return false
	case !delivered:
		t.back(p, r.Ordinal)
		return false
	}
	t.roll(max(t.today, day))
	if p == nil {
		if r.Push <= t.oldest {
			return true // it may have counted
		}
		p = t.add(r.Push)
		h.tallies.Store(true)
	}
	p.touched = max(p.touched, day)
	reserved := t.back(p, r.Ordinal)
	switch {
	case p.exempt || p.counted.Has(r.Ordinal):
	case reserved || p.learnt:
		t.up(l, day, p, r.Ordinal)
	default: // it was not admitted here, or before a restart
		if p.waiting == nil {
			p.waiting = map[push.Day]*ordset.Set{}
		}
		if p.waiting[day] == nil {
			p.waiting[day] = new(ordset.Set)
		}
		p.waiting[day].Add(r.Ordinal)
		t.ask[r.Push] = true
	}
	return true
}

// note takes note that the devices of a row have been counted before.
func (g *Gate) note(row push.Logged) {
	for _, r := range row.Receipts {
		if r.Mark != push.MarkDelivered {
			continue
		}
		h, l := g.law(r.App)
		if h == nil || !l.counts() {
			continue
		}
		h.mu.Lock()
		p := h.tally.pushes[r.Push]
		if p == nil {
			p = h.tally.add(r.Push)
			h.tallies.Store(true)
		}
		p.counted.Add(r.Ordinal)
		p.touched = max(p.touched, l.day(row.At))
		h.mu.Unlock()
	}
}

// Load reads from the record how many notifications devices got, and counts the rows of the receipt log that are not in that
// yet. unfolded yields the rows of the log in order.
func (g *Gate) Load(ctx context.Context, unfolded func(yield func(push.Logged) error) error) error {
	const op = "admission.Load"
	from := push.DayOf(g.opts.Now()) - 1 - keepDays // it may be yesterday in the app's zone
	seq, rows, err := g.store.Caps(ctx, from)
	if err == nil {
		err = g.restore(rows)
	}
	if err != nil {
		return push.Wrap(op, err)
	}
	g.order.Lock()
	g.seq = seq
	g.order.Unlock()
	err = unfolded(func(row push.Logged) error {
		if row.Seq <= seq {
			g.note(row)
		} else {
			g.Counted(row)
		}
		return nil
	})
	if err == nil {
		err = g.learn(ctx)
	}
	return push.Wrap(op, err)
}

// restore puts stored levels where they belong.
func (g *Gate) restore(rows []push.CapLevel) error {
	for _, row := range rows {
		h, _ := g.law(row.App)
		if h == nil || row.Level < 1 || row.Level > maxLevel {
			continue
		}
		set, err := ordset.FromChunks([]push.Chunk{row.Chunk})
		if err != nil {
			return err
		}
		h.mu.Lock()
		l := h.tally.level(row.Day, row.Category)
		for len(l.sets) < row.Level {
			l.sets = append(l.sets, new(ordset.Set))
		}
		l.sets[row.Level-1].Union(set)
		h.mu.Unlock()
	}
	return nil
}

// A pending is one chunk that Save has taken to store.
type pending struct {
	h *house
	l *levels
	part
}

// Save stores what was counted since it was called last, if anything was. Call it when the ledger has taken the rows that it is
// about to fold, before they leave the log. If it fails they must stay: Unavailable, or an error of the store.
func (g *Gate) Save(ctx context.Context) error {
	const op = "admission.Save"
	g.saving.Lock()
	defer g.saving.Unlock()
	for range 10 { // what is learnt of a push holds for all its receipts, so each round has fewer to ask for
		if err := g.learn(ctx); err != nil {
			return push.Wrap(op, err)
		}
		seq, rows, parts, state, err := g.snapshot()
		switch {
		case err != nil:
			return push.Wrap(op, err)
		case state == unlearnt:
			continue
		case state == unchanged:
			return nil
		}
		if err := g.store.SaveCaps(ctx, seq, rows); err != nil {
			g.untake(parts)
			return push.Wrap(op, err)
		}
		return nil
	}
	return &push.Error{Op: op, Kind: push.Unavailable, Msg: "receipts of new pushes come faster than they are looked up"}
}

// A snapshotState says what a snapshot is.
type snapshotState int

const (
	unchanged snapshotState = iota // nothing was counted
	unlearnt                       // there are receipts that cannot be counted yet
	taken                          // what is to be stored
)

// snapshot takes what is to be stored.
func (g *Gate) snapshot() (seq int64, rows []push.CapLevel, parts []pending, state snapshotState, err error) {
	g.order.Lock()
	defer g.order.Unlock()
	if !g.fresh {
		return 0, nil, nil, unchanged, nil
	}
	all := g.houses.all()
	for _, h := range all {
		if h.waits() {
			return 0, nil, nil, unlearnt, nil
		}
	}
	for _, h := range all {
		if _, l := g.law(h.app); l == nil {
			h.clear()
			continue
		}
		some, err := h.take(&rows)
		parts = append(parts, some...)
		if err != nil {
			g.putBack(parts)
			return 0, nil, nil, taken, err
		}
	}
	g.fresh = false
	return g.seq, rows, parts, taken, nil
}

// waits reports whether receipts wait to be counted.
func (h *house) waits() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.tally.ask {
		if len(h.tally.pushes[id].waiting) > 0 {
			return true
		}
	}
	return false
}

// take appends the chunks that have changed to rows.
func (h *house) take(rows *[]push.CapLevel) (parts []pending, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for day, categories := range h.tally.days {
		for category, l := range categories {
			for p := range l.dirty {
				chunk, err := l.sets[p.level-1].Chunk(p.chunk)
				if err != nil {
					return parts, err
				}
				*rows = append(*rows, push.CapLevel{App: h.app, Day: day, Category: category, Level: p.level, Chunk: chunk})
				parts = append(parts, pending{h, l, p})
				delete(l.dirty, p)
			}
		}
	}
	return parts, nil
}

// clear forgets what was counted of an app that is gone.
func (h *house) clear() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tally = tally{}
}

// untake has Save store parts again, since it could not.
func (g *Gate) untake(parts []pending) {
	g.order.Lock()
	defer g.order.Unlock()
	g.putBack(parts)
}

// putBack is untake for those who hold order.
func (g *Gate) putBack(parts []pending) {
	g.fresh = true
	for _, p := range parts {
		p.h.mu.Lock()
		p.l.dirty[p.part] = true
		p.h.mu.Unlock()
	}
}

// learn asks the record what is not known of pushes: the category of one whose receipts wait to be counted, and whether one
// that has finished is over, so that nothing of it is under way any more.
func (g *Gate) learn(ctx context.Context) error {
	for _, h := range g.houses.all() {
		for _, id := range h.asked() {
			p, err := g.store.Find(ctx, h.app, id)
			if err != nil && !errors.Is(err, push.NotFound) {
				return err
			}
			_, l := g.law(h.app)
			h.learnt(l, id, p, err != nil)
		}
	}
	return nil
}

// asked returns the pushes of which the record is to be asked.
func (h *house) asked() []push.ID {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ids []push.ID
	for id := range h.tally.ask {
		ids = append(ids, id)
	}
	return ids
}

// learnt takes note of what the record says of a push, or that it is gone.
func (h *house) learnt(l *law, id push.ID, found push.Push, gone bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := &h.tally
	delete(t.ask, id)
	p := t.pushes[id]
	if p == nil {
		return
	}
	if p.finished {
		p.finished = false
		if gone || found.State.Final() {
			t.free(p)
		}
	}
	if !p.learnt {
		rules := found.Request.Rules()
		p.learnt, p.category, p.exempt = true, rules.Category, gone || rules.Silent
	}
	for day, set := range p.waiting {
		for o := range set.All() {
			if !p.exempt && !p.counted.Has(o) && l != nil {
				t.up(l, day, p, o)
			}
		}
	}
	p.waiting = nil
}

// Capped returns how many devices of set are at their cap of notifications of a category now.
func (g *Gate) Capped(app push.AppID, category string, set *ordset.Set) int {
	h, l := g.law(app)
	if l == nil || !l.capped(category) {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	full := new(ordset.Set)
	day := l.day(g.opts.Now())
	h.tally.full(day, "", l.perDay, full)
	if category != "" {
		h.tally.full(day, category, l.category[category], full)
	}
	return full.And(set)
}

// full adds to out the devices that have as many notifications of a category, or copies of them under way, as may be.
func (t *tally) full(day push.Day, category string, most int, out *ordset.Set) {
	if most == 0 {
		return
	}
	got, under := t.days[day][category], t.under[category]
	if got != nil && most <= len(got.sets) {
		out.Union(got.sets[most-1])
	}
	if under == nil {
		return
	}
	for n, set := range under.sets { // n+1 copies under way, and the rest delivered
		switch rest := most - n - 1; {
		case rest <= 0:
			out.Union(set)
		case got != nil && rest <= len(got.sets):
			both := set.Clone()
			both.Intersect(got.sets[rest-1])
			out.Union(both)
		}
	}
}
