package dispatch

import (
	"context"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// AddTargets adds the devices that a is for now to the target of an open push, and sends to those that are new: it returns
// the push with its target as it is then, how many devices were new, and how many names stand for none. Adding again adds
// nothing. Conflict if the push is not open; errors of the audience as those of Accept, TooMany if there is no room.
func (d *Dispatcher) AddTargets(ctx context.Context, app push.AppID, id push.ID, a push.Audience) (p push.Push, added, strangers int, err error) {
	const op = "dispatch.AddTargets"
	if err := push.Within("audience", a.Validate()); err != nil {
		return push.Push{}, 0, 0, push.Wrap(op, err)
	}
	if p, err = d.Record.Find(ctx, app, id); err != nil {
		return push.Push{}, 0, 0, push.Wrap(op, err)
	}
	b := d.bulks.get(app, id)
	switch {
	case p.State != push.Open || b == nil:
		return push.Push{}, 0, 0, conflict(op, "the push is "+string(p.State))
	case !p.Expires.After(d.opts.Now()):
		return push.Push{}, 0, 0, conflict(op, "the push has expired")
	}
	if err := push.Within("audience", d.Audience.Check(ctx, app, a)); err != nil {
		return push.Push{}, 0, 0, push.Wrap(op, err)
	}
	ctx, cancel := patient(ctx)
	defer cancel()
	if err = d.firstAddition(ctx, b); err == nil {
		b.adding.Lock()
		added, strangers, err = d.grow(ctx, b, a)
		b.adding.Unlock()
	}
	if err == nil {
		p, err = d.Record.Find(ctx, app, id)
	}
	if err != nil {
		return push.Push{}, 0, 0, push.Wrap(op, err)
	}
	return p, added, strangers, nil
}

// CloseOpen has an open push take no more targets. Conflict if it is not open; NotFound.
func (d *Dispatcher) CloseOpen(ctx context.Context, app push.AppID, id push.ID) (push.Push, error) {
	return d.alter(ctx, "dispatch.CloseOpen", app, id, push.ActClose, func(ctx context.Context, p push.Push) error {
		b := d.bulks.get(p.App, p.ID)
		if b == nil {
			return conflict("", "the push is over")
		}
		if err := d.firstAddition(ctx, b); err != nil {
			return err
		}
		defer d.turn(p.ID)()
		now, err := d.move(ctx, p, push.ActClose, "")
		switch {
		case err == nil:
			b.enter(now)
			d.due(b)
		case now.Final() || is(err, push.NotFound):
			d.forget(b)
		case unknown(err):
			b.doubt(true)
		}
		return err
	})
}

// firstAddition adds the audience of an open push's own request, if that was not done yet.
func (d *Dispatcher) firstAddition(ctx context.Context, b *bulk) error {
	b.adding.Lock()
	defer b.adding.Unlock()
	b.mu.RLock()
	first, request := b.first, b.request
	b.mu.RUnlock()
	if !first || request == nil {
		return nil
	}
	_, _, err := d.grow(ctx, b, request.Audience)
	if is(err, push.Invalid) || is(err, push.NotFound) { // it will not become better: its file has gone
		d.opts.Log.Warn("the first audience of an open push is not added", "push", b.push.ID, "err", err)
		err = nil
	}
	if err == nil {
		b.mu.Lock()
		b.first = false
		b.mu.Unlock()
	}
	return err
}

// grow evaluates an audience, commits the target with it, and sends to whom it is new for.
func (d *Dispatcher) grow(ctx context.Context, b *bulk, a push.Audience) (added, strangers int, err error) {
	p := b.push
	b.mu.RLock()
	request := b.request
	b.mu.RUnlock()
	if request == nil {
		return 0, 0, conflict("", "the push is not open any more")
	}
	p.Request = *request
	p.Request.Audience = a
	app, err := d.Audience.App(p.App)
	if err != nil {
		return 0, 0, err
	}
	if err := d.makeRoom(ctx, b); err != nil {
		return 0, 0, err
	}
	more, strangers, err := d.target(ctx, p.Request)
	if err != nil {
		return 0, 0, err
	}
	if b.collapse != "" {
		defer d.collapse.lock(hash(p.App, b.collapse))()
	}
	unlock := d.turn(p.ID)
	added, err = d.growBy(ctx, b, p, app, more, strangers)
	unlock()
	if err != nil || added == 0 {
		return added, strangers, err
	}
	d.collapseBulk(ctx, b, more)
	d.sendTo(ctx, b, more)
	return added, strangers, nil
}

// growBy makes the devices of more that are not in b's target yet a part of it, and leaves those in more. The caller has
// b's turn.
func (d *Dispatcher) growBy(ctx context.Context, b *bulk, p push.Push, app push.App, more *ordset.Set, strangers int) (added int, err error) {
	if now := b.in(); now != push.Open {
		return 0, conflict("", "the push is "+string(now))
	}
	if !d.sets.Room() {
		return 0, noRoom()
	}
	row, err := d.Bulk.Load(ctx, p.App, p.ID)
	if err != nil {
		return 0, err
	}
	whole, err := ordset.FromChunks(row.Target)
	if err != nil {
		return 0, err
	}
	more.Subtract(whole)
	if added = more.Len(); added == 0 && strangers == 0 {
		return 0, nil
	}
	drops, err := d.drops(ctx, p.App, more, b.offline)
	if err != nil {
		return 0, err
	}
	g := push.Growth{App: p.App, ID: p.ID, Unknown: row.Push.Unknown + strangers}
	whole.Union(more)
	g.Count = whole.Len()
	changed, err := more.Chunks()
	for i := range changed {
		if err == nil {
			changed[i], err = whole.Chunk(changed[i].Key)
		}
	}
	if err != nil {
		return 0, err
	}
	g.Target, g.Totals = changed, growthTotals(p, app, row.Push, added, strangers)
	if err := d.growRecord(ctx, g); err != nil {
		if unknown(err) { // the record may have it in the target, so its target is read again
			b.lack(true)
			d.due(b)
		}
		return 0, err
	}
	// What is dropped is marked behind the commit: before it nobody of them is in the target. It is settled before they are
	// owed anything.
	for m, set := range drops {
		if err := d.Marks.Mark(ctx, p, m, set); err != nil {
			d.opts.Log.Warn("devices that get nothing count as pending", "push", p.ID, "reason", m.Reason(), "err", err)
		}
		d.opts.Observe.Settled(push.Bulk, m, d.sets.SettleAll(p.App, p.ID, set))
	}
	if err := d.sets.Grow(p.App, p.ID, more); err != nil {
		d.crowd(b, err)
		b.lack(true) // derive puts it there when there is room
	}
	return added, nil
}

// growthTotals returns what an addition changes in totals. The first one counts the push, too.
func growthTotals(p push.Push, app push.App, before push.Push, added, strangers int) []push.TotalDelta {
	var all []push.TotalDelta
	for _, k := range p.Request.Keys(push.DayIn(p.Start, app.Location())) {
		for _, c := range []struct {
			m push.Metric
			n int
		}{
			{push.MetricTarget, added + strangers},
			{push.MetricUnknown, strangers},
		} {
			if c.n > 0 {
				all = append(all, push.TotalDelta{Key: k, Metric: c.m, N: c.n})
			}
		}
		if before.Target == 0 && before.Unknown == 0 {
			all = append(all, push.TotalDelta{Key: k, Metric: push.MetricPushes, N: 1})
		}
	}
	return all
}

// growRecord commits an addition. If it cannot be said whether it happened, the record is asked.
func (d *Dispatcher) growRecord(ctx context.Context, g push.Growth) error {
	err := d.Changing.Grow(ctx, g)
	if !unknown(err) {
		return err
	}
	row, loadErr := d.Bulk.Load(ctx, g.App, g.ID)
	if loadErr != nil {
		return err
	}
	have, setErr := ordset.FromChunks(row.Target)
	if setErr == nil && have.Len() == g.Count && row.Push.Unknown == g.Unknown {
		return nil
	}
	return err
}

// few is up to how many devices are sent to one by one; to more, every connection is asked whether it is one of them.
const few = 1000

// sendTo hands b to those of some devices that are connected.
func (d *Dispatcher) sendTo(ctx context.Context, b *bulk, to *ordset.Set) {
	if to.Len() > few {
		d.offer(ctx, b, to.Has)
		return
	}
	all := make([]push.Ordinal, 0, to.Len())
	for o := range to.All() {
		all = append(all, o)
	}
	d.postAll(ctx, b, all)
}
