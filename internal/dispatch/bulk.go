package dispatch

import (
	"context"
	"errors"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Start makes the first pass of a bulk push that is due: it begins it, hands the message to every connected device of the
// target, and notes that the pass is complete. It may be called again at any time, also after a crash in its midst, and
// does what is left to do. A push that is over, or not due, is left alone.
func (d *Dispatcher) Start(ctx context.Context, app push.AppID, id push.ID) error {
	const op = "dispatch.Start"
	l := d.live.get(app, id)
	if l == nil {
		return nil // over, or deleted with its app
	}
	now := d.opts.Now()
	switch {
	case l.push.Start.After(now):
		d.agenda.add(l.push.Start, app, id)
		return nil
	case !l.push.Expires.After(now):
		if err := d.end(ctx, l, push.Expired); !is(err, push.Conflict) && !is(err, push.NotFound) {
			return push.Wrap(op, err)
		}
		return nil
	}
	if err := d.begin(ctx, l); err != nil {
		return push.Wrap(op, err)
	}
	if !l.begun() { // somebody ended it meanwhile
		return nil
	}
	d.Gateway.Broadcast(l.delivery, l.owes)

	defer d.turn(id)()
	err := d.Bulk.Move(ctx, app, id, push.Sending, push.Done, "")
	switch {
	case is(err, push.Conflict) || is(err, push.NotFound): // done already, or over
		l.doubt(true)
	case err != nil:
		return push.Wrap(op, err)
	}
	l.finished(true)
	return nil
}

// begin evaluates the audience and commits the target, before the first byte leaves. One that has begun stays as it is.
// One that is over, or was never committed, is not live any more afterwards.
func (d *Dispatcher) begin(ctx context.Context, l *live) error {
	request := l.evaluating()
	if request == nil {
		return nil
	}
	defer l.evaluated()
	p := l.push
	p.Request = *request
	target, unknown, err := d.target(ctx, p.Request) // a long file takes its time: the turn is not held meanwhile
	defer d.turn(p.ID)()
	if l.begun() {
		return nil
	}
	ctx, cancel := patient(ctx)
	defer cancel()
	switch {
	case is(err, push.Invalid) || is(err, push.NotFound):
		return d.fail(ctx, l, err)
	case err != nil:
		return err
	}
	marked, settled, err := d.dropAtStart(ctx, p, target)
	if err != nil {
		return err
	}
	target.Compact()
	chunks, err := target.Chunks()
	if err != nil {
		return err
	}
	err = d.Bulk.Begin(ctx, p.App, p.ID, chunks, target.Len(), unknown, marked)
	if is(err, push.Conflict) || is(err, push.NotFound) {
		return d.begunElsewhere(ctx, l)
	}
	if err != nil {
		return err
	}
	d.begun(l, target, settled)
	return nil
}

// begun makes a live push owed to its target.
func (d *Dispatcher) begun(l *live, target, settled *ordset.Set) {
	target = d.live.share(l.push.App, target)
	l.begin(target, settled)
	d.live.owing(l.push.App, target) // after begin: whoever rebuilds the superset meanwhile sees the target there
}

// begunElsewhere takes the target from the record, when begin finds that the push has left the states before it: its own
// commit may have happened although nobody could say so.
func (d *Dispatcher) begunElsewhere(ctx context.Context, l *live) error {
	row, err := d.Bulk.Load(ctx, l.push.App, l.push.ID)
	switch {
	case is(err, push.NotFound) || err == nil && row.Push.State.Final():
		d.live.remove(l.push.App, l.push.ID)
		return nil
	case err != nil:
		return err
	}
	target, settled, err := sets(row)
	if err != nil {
		return err
	}
	d.begun(l, target, settled)
	return nil
}

// fail ends a push whose audience cannot be evaluated any more: its file has expired, or an attribute has got more values
// than can be asked for. Nothing of it has left. One whose target is committed already keeps it.
func (d *Dispatcher) fail(ctx context.Context, l *live, cause error) error {
	p := l.push
	e, _ := errors.AsType[*push.Error](cause)
	reason := e.Msg
	if e.Field != "" {
		reason = e.Field + ": " + reason
	}
	err := d.Bulk.Move(ctx, p.App, p.ID, p.State, push.Failed, reason)
	if is(err, push.Conflict) || is(err, push.NotFound) {
		return d.begunElsewhere(ctx, l)
	}
	if err == nil {
		d.live.remove(p.App, p.ID)
	}
	return err
}

// dropAtStart returns which devices of a target get nothing from the start, by reason and together.
func (d *Dispatcher) dropAtStart(ctx context.Context, p push.Push, target *ordset.Set) (map[push.Mark][]push.Chunk, *ordset.Set, error) {
	marked := map[push.Mark][]push.Chunk{}
	settled := new(ordset.Set)
	drop := func(m push.Mark, set *ordset.Set) (err error) {
		set.Intersect(target)
		if set.Empty() {
			return nil
		}
		settled.Union(set)
		marked[m], err = set.Chunks()
		return err
	}
	black, err := d.Audience.Select(ctx, p.App, push.Is(push.WhereFlag{Flag: push.FlagBlacklisted, Value: true}))
	if err != nil {
		return nil, nil, err
	}
	if err := drop(push.MarkBlacklisted, black); err != nil {
		return nil, nil, err
	}
	if !p.Request.Policy.Offline() {
		away := target.Clone()
		away.Subtract(d.Presence.Online(p.App))
		if err := drop(push.MarkOffline, away); err != nil {
			return nil, nil, err
		}
	}
	return marked, settled, nil
}
