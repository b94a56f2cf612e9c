package dispatch

import (
	"context"
	"errors"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// run does what is to be done of a bulk push now: it begins it, hands the message to every connected device of the target,
// and notes that the pass is complete. It may be called at any time, also after a crash in the midst, and does what is left
// to do. A push that is over, paused or not due is left alone. One whose pass is to be paced is returned.
func (d *Dispatcher) run(ctx context.Context, k key) *bulk {
	b, err := d.start(ctx, k)
	if err != nil && ctx.Err() == nil {
		d.complain(k.id, err)
	}
	return b
}

// complain logs that a run failed, once if that is for want of room.
func (d *Dispatcher) complain(id push.ID, err error) {
	if !is(err, push.TooMany) {
		d.opts.Log.Warn("start failed, will be tried again", "push", id, "err", err)
	}
}

// start is run, and says what failed.
func (d *Dispatcher) start(ctx context.Context, k key) (paced *bulk, err error) {
	const op = "dispatch.start"
	b := d.bulks.get(k.app, k.id)
	if b == nil {
		return nil, nil // over, or deleted with its app
	}
	now := d.opts.Now()
	switch {
	case b.push.Start.After(now):
		d.due(b)
		return nil, nil
	case !b.push.Expires.After(now):
		if err := d.end(ctx, b, push.Expired); !is(err, push.Conflict) && !is(err, push.NotFound) {
			return nil, push.Wrap(op, err)
		}
		return nil, nil
	}
	if err := d.begin(ctx, b); err != nil {
		return nil, push.Wrap(op, err)
	}
	if err := d.tellAll(ctx, b); err != nil {
		return nil, push.Wrap(op, err)
	}
	if err := d.makeRoom(ctx, b); err != nil {
		return nil, push.Wrap(op, err)
	}
	switch b.in() {
	case push.Open:
		return nil, push.Wrap(op, d.firstAddition(ctx, b))
	case push.Sending:
		d.broadcast(ctx, b) // of a paced push: to those whose turn had come, and who came while it was paused
		if b.rate > 0 {
			return b, nil
		}
		return nil, push.Wrap(op, d.finish(ctx, b))
	}
	return nil, nil
}

// finish notes that the first pass of a push is complete.
func (d *Dispatcher) finish(ctx context.Context, b *bulk) error {
	p := b.push
	defer d.turn(p.ID)()
	if b.in() != push.Sending { // paused in the last moment, or over
		return nil
	}
	ctx, cancel := patient(ctx)
	defer cancel()
	if b.rate > 0 {
		switch err := d.Changing.Advance(ctx, p.App, p.ID, push.Everybody); {
		case is(err, push.NotFound):
			return d.follow(ctx, b)
		case err != nil:
			return err
		}
		d.sets.Release(p.App, p.ID, push.Everybody)
	}
	err := d.Bulk.Move(ctx, p.App, p.ID, push.Sending, push.Done, "")
	switch {
	case is(err, push.Conflict) || is(err, push.NotFound): // done already, or over
		return d.follow(ctx, b)
	case err != nil:
		return err
	}
	b.enter(push.Done)
	return nil
}

// begin evaluates the audience and commits the target, before the first byte leaves. One that has begun stays as it is.
// One that is over, or was never committed, is forgotten.
func (d *Dispatcher) begin(ctx context.Context, b *bulk) error {
	request := b.evaluating()
	if request == nil {
		return nil
	}
	defer b.evaluated()
	p := b.push
	p.Request = *request
	app, err := d.Audience.App(p.App)
	var e evaluated
	if err == nil {
		e, err = d.evaluate(ctx, p) // a long file takes its time: the turn is not held meanwhile
	}
	if b.collapse != "" {
		defer d.collapse.lock(hash(p.App, b.collapse))()
	}
	defer d.turn(p.ID)()
	if b.begun() || d.bulks.get(p.App, p.ID) != b { // it is over, or was replaced by one that begins later
		return nil
	}
	ctx, cancel := patient(ctx)
	defer cancel()
	switch {
	case is(err, push.Invalid) || is(err, push.NotFound):
		return d.fail(ctx, b, err)
	case err != nil:
		return err
	}
	s := push.Start{
		App: p.App, ID: p.ID, Count: e.target.Len(), Unknown: e.unknown, Cursor: push.Everybody, Personal: e.personal,
	}
	if b.rate > 0 {
		s.Cursor = 0
	}
	if b.recalls == 0 {
		s.Totals = p.Request.Keys(push.DayIn(p.Start, app.Location()))
	}
	settled, err := d.dropAtStart(ctx, p, e.target, &s)
	if err != nil {
		return err
	}
	e.target.Compact()
	if s.Target, err = e.target.Chunks(); err != nil {
		return err
	}
	// Its place among the live sets comes first: a target that was committed and found none would be owed to nobody. It is
	// held until the commit.
	if err := d.owe(b, e.target, settled, true); err != nil {
		d.crowd(b, err)
		return err
	}
	if err = d.Bulk.Begin(ctx, s); err != nil {
		d.sets.End(p.App, p.ID)
	}
	switch {
	case is(err, push.Conflict) || is(err, push.NotFound):
		err = d.begunElsewhere(ctx, b)
	case err == nil:
		b.enter(push.Sending)
		d.sets.Hold(p.App, p.ID, false)
	}
	if err == nil && b.collapse != "" && b.begun() {
		d.collapseBulk(ctx, b, d.sets.PendingSet(p.App, p.ID))
	}
	return err
}

// crowd says once that a push waits for room.
func (d *Dispatcher) crowd(b *bulk, err error) {
	b.mu.Lock()
	said := b.crowded
	b.crowded = true
	b.mu.Unlock()
	if !said {
		d.opts.Log.Warn("a push waits for room among the live ones", "push", b.push.ID, "err", err)
	}
}

// An evaluated is whom a push is for, when it begins.
type evaluated struct {
	target   *ordset.Set
	unknown  int
	personal map[push.Ordinal][]byte
}

func (d *Dispatcher) evaluate(ctx context.Context, p push.Push) (e evaluated, err error) {
	e.target, e.unknown, err = d.target(ctx, p.Request)
	if err != nil || len(p.Request.Message.Personal) == 0 {
		return e, err
	}
	t, err := d.text(ctx, p.Request)
	if err != nil {
		return e, err
	}
	named, _, more, err := d.Audience.Resolve(ctx, p.App, p.Request.Audience, e.target.Len()+push.MaxDirect)
	if err == nil && more { // the names have come to stand for many more since a moment ago
		err = &push.Error{Kind: push.Unavailable, Msg: "the audience changes", Err: push.ErrNotQueued}
	}
	if err == nil {
		_, e.personal, err = t.payloads(p, named)
	}
	return e, push.Within("audience", err)
}

// begunElsewhere takes the target from the record, when begin finds that the push has left the states before it: its own
// commit may have happened although nobody could say so.
func (d *Dispatcher) begunElsewhere(ctx context.Context, b *bulk) error {
	row, err := d.Bulk.Load(ctx, b.push.App, b.push.ID)
	switch {
	case is(err, push.NotFound) || err == nil && row.Push.State.Final():
		d.forget(b)
		return nil
	case err != nil:
		return err
	case row.Push.State.Waits():
		return nil // it was replaced, or will be asked for again
	}
	target, settled, err := sets(row)
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.released = row.Push.Cursor
	b.mu.Unlock()
	if err := d.owe(b, target, settled, row.Push.State == push.Paused); err != nil {
		d.crowd(b, err)
		b.lack(true)
	}
	b.enter(row.Push.State)
	return nil
}

// makeRoom puts the target of a push that found no room among the live sets there.
func (d *Dispatcher) makeRoom(ctx context.Context, b *bulk) error {
	b.mu.RLock()
	absent := b.absent
	b.mu.RUnlock()
	if !absent {
		return nil
	}
	p := b.push
	unlock := d.turn(p.ID)
	row, err := d.Bulk.Load(ctx, p.App, p.ID)
	switch {
	case is(err, push.NotFound) || err == nil && row.Push.State.Final():
		d.forget(b)
		unlock()
		return nil
	case err == nil:
		d.sets.End(p.App, p.ID)
		var target, settled *ordset.Set
		if target, settled, err = sets(row); err == nil {
			err = d.owe(b, target, settled, row.Push.State == push.Paused)
		}
	}
	if err == nil {
		b.lack(false)
		b.enter(row.Push.State)
	}
	unlock()
	if err == nil {
		d.broadcast(ctx, b)
	}
	return err
}

// fail ends a push whose audience cannot be evaluated any more: its file has expired, or an attribute has got more values
// than can be asked for. Nothing of it has left. One whose target is committed already keeps it.
func (d *Dispatcher) fail(ctx context.Context, b *bulk, cause error) error {
	p := b.push
	e, _ := errors.AsType[*push.Error](cause)
	reason := e.Msg
	if e.Field != "" {
		reason = e.Field + ": " + reason
	}
	err := d.Bulk.Move(ctx, p.App, p.ID, b.in(), push.Failed, reason)
	if is(err, push.Conflict) || is(err, push.NotFound) {
		return d.begunElsewhere(ctx, b)
	}
	if err == nil {
		b.enter(push.Failed)
		d.forget(b)
	}
	return err
}

// dropAtStart notes in s which devices of a target get nothing from the start, and returns them. Whether a device is away is
// found out of a paced push when its turn comes.
func (d *Dispatcher) dropAtStart(ctx context.Context, p push.Push, target *ordset.Set, s *push.Start) (*ordset.Set, error) {
	s.Marked = map[push.Mark][]push.Chunk{}
	settled := new(ordset.Set)
	drops, err := d.drops(ctx, p.App, target, p.Request.Policy.Offline() || p.Request.Policy.Rate > 0)
	for m, set := range drops {
		if err == nil {
			settled.Union(set)
			s.Marked[m], err = set.Chunks()
		}
	}
	return settled, err
}

// drops returns which devices of a target get nothing: those that are blacklisted, and, unless the push is kept for them,
// those that are away.
func (d *Dispatcher) drops(ctx context.Context, app push.AppID, target *ordset.Set, kept bool) (map[push.Mark]*ordset.Set, error) {
	all := map[push.Mark]*ordset.Set{}
	black, err := d.Audience.Select(ctx, app, push.Is(push.WhereFlag{Flag: push.FlagBlacklisted, Value: true}))
	if err != nil {
		return nil, err
	}
	if black.Intersect(target); !black.Empty() {
		all[push.MarkBlacklisted] = black
	}
	if kept {
		return all, nil
	}
	away := target.Clone()
	away.Subtract(d.Presence.Online(app))
	if !away.Empty() {
		all[push.MarkOffline] = away
	}
	return all, nil
}
