package dispatch

import (
	"context"

	"github.com/carillonpush/carillon/internal/push"
)

// Cancel ends a push: what has not left does not leave any more when it returns. Conflict if nothing of it is pending.
func (d *Dispatcher) Cancel(ctx context.Context, app push.AppID, id push.ID) (push.Push, error) {
	return d.alter(ctx, "dispatch.Cancel", app, id, push.ActCancel, func(ctx context.Context, p push.Push) error {
		if p.Kind == push.Direct {
			return d.cancelDirect(ctx, p)
		}
		b := d.bulks.get(p.App, p.ID)
		switch {
		case b == nil:
			return conflict("", "the push is over")
		case d.complete(b):
			return conflict("", "nothing of the push is pending")
		}
		return d.end(ctx, b, push.Cancelled)
	})
}

// over forgets a push that the record says is over, if it is live here all the same.
func (d *Dispatcher) over(p push.Push) {
	b := d.bulks.get(p.App, p.ID)
	if b == nil && !d.held.has(p.App, p.ID) {
		return
	}
	d.Gateway.Withdraw(p.App, p.ID, nil, p.Expires)(true)
	d.held.remove(p.App, p.ID, true)
	if b != nil {
		b.enter(p.State)
		d.forget(b)
	}
}

func (d *Dispatcher) cancelDirect(ctx context.Context, p push.Push) error {
	defer d.turn(p.ID)()
	settle := d.Gateway.Withdraw(p.App, p.ID, nil, p.Expires)
	n, err := d.Inbox.Withdraw(ctx, p.App, p.ID, push.MarkCancelled)
	if is(err, push.Unavailable) { // it may have happened; asking once more waits for the record to know
		n, err = d.Inbox.Withdraw(ctx, p.App, p.ID, push.MarkCancelled)
		if err == nil && n == 0 && d.cancelled(ctx, p) {
			n = 1 // the first attempt's
		}
	}
	settle(err == nil)
	switch {
	case err == nil && n == 0:
		return conflict("", "nothing of the push is pending")
	case err == nil:
		d.held.remove(p.App, p.ID, true)
	}
	return err
}

// cancelled reports whether the record says that a push was cancelled.
func (d *Dispatcher) cancelled(ctx context.Context, p push.Push) bool {
	now, err := d.Record.Find(ctx, p.App, p.ID)
	return err == nil && now.State == push.Cancelled
}

// An ending is how a push ends: what happened to it, and the reason under which what is pending counts.
type ending struct {
	action push.Action
	mark   push.Mark
}

var endings = map[push.State]ending{
	push.Cancelled: {push.ActCancel, push.MarkCancelled},
	push.Expired:   {push.ActExpire, push.MarkExpired},
	push.Recalled:  {push.ActRecall, push.MarkWithdrawn},
}

// end moves a push to a final state: the barrier, then the commit, then nobody is owed it. A caller who goes away does not
// leave that half done.
func (d *Dispatcher) end(ctx context.Context, b *bulk, to push.State) error {
	defer d.turn(b.push.ID)()
	return d.endNow(ctx, b, to)
}

// endNow is end for a caller who has b's turn.
func (d *Dispatcher) endNow(ctx context.Context, b *bulk, to push.State) error {
	p := b.push
	ctx, cancel := patient(ctx)
	defer cancel()
	settle := d.Gateway.Withdraw(p.App, p.ID, nil, p.Expires)
	pending, reason := d.sets.Pending(p.App, p.ID), ""
	if to == push.Expired && !b.begun() {
		reason = push.ExpiredUnsent
	}
	now, err := d.move(ctx, p, endings[to].action, reason)
	over := now.Final() || is(err, push.NotFound)
	if !over && is(err, push.Unavailable) {
		b.doubt(true)
	}
	settle(over)
	if over {
		b.enter(now)
		d.forget(b)
	}
	if err == nil {
		d.opts.Observe.Settled(push.Bulk, endings[to].mark, pending)
	}
	return err
}

// move has the record move a push by an action, and returns the state that it is in then, "" if that is not known. An
// attempt whose outcome is unknown is looked up. Conflict if the state of the push does not allow the action. The caller
// has the push's turn.
func (d *Dispatcher) move(ctx context.Context, p push.Push, a push.Action, reason string) (now push.State, err error) {
	var to push.State
	for range 3 {
		found, findErr := d.Record.Find(ctx, p.App, p.ID)
		switch {
		case is(findErr, push.NotFound): // deleted with its app
			return "", findErr
		case findErr != nil && err != nil:
			return "", err // unknown still: the sweep will see
		case findErr != nil:
			return "", findErr
		case found.State == to && is(err, push.Unavailable): // the attempt whose outcome was unknown
			return to, nil
		}
		var ok bool
		if to, ok = found.State.On(a); !ok || to == found.State {
			return found.State, conflict("", "the push is "+string(found.State))
		}
		err = d.Bulk.Move(ctx, p.App, p.ID, found.State, to, reason)
		if err == nil {
			return to, nil
		}
		if !is(err, push.Unavailable) && !is(err, push.Conflict) { // Conflict: it moved between the two
			return "", err
		}
	}
	return "", err
}

// complete reports whether the first pass of b is over and nobody is owed it.
func (d *Dispatcher) complete(b *bulk) bool {
	b.mu.RLock()
	absent := b.absent
	b.mu.RUnlock()
	return b.in() == push.Done && !absent && d.sets.Pending(b.push.App, b.push.ID) == 0
}
