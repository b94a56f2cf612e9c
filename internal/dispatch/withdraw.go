package dispatch

import (
	"context"

	"github.com/carillonpush/carillon/internal/push"
)

// Cancel ends a push: what has not left does not leave any more when it returns. Conflict if nothing of it is pending.
func (d *Dispatcher) Cancel(ctx context.Context, app push.AppID, id push.ID) (push.Push, error) {
	const op = "dispatch.Cancel"
	p, err := d.Record.Find(ctx, app, id)
	if err != nil {
		return push.Push{}, push.Wrap(op, err)
	}
	switch {
	case p.State.Final():
		d.over(p)
		return push.Push{}, conflict(op, "the push is "+string(p.State))
	case !p.Expires.After(d.opts.Now()):
		return push.Push{}, conflict(op, "the push has expired")
	case p.Kind == push.Direct:
		err = d.cancelDirect(ctx, p)
	default:
		err = d.cancelBulk(ctx, p)
	}
	if err != nil {
		return push.Push{}, push.Wrap(op, err)
	}
	p.State = push.Cancelled
	return p, nil
}

// over forgets a push that the record says is over, if it is live here all the same.
func (d *Dispatcher) over(p push.Push) {
	if d.live.get(p.App, p.ID) != nil {
		d.Gateway.Withdraw(p.App, p.ID, p.Expires)(true)
		d.live.remove(p.App, p.ID)
	}
}

func (d *Dispatcher) cancelDirect(ctx context.Context, p push.Push) error {
	ctx, cancel := patient(ctx)
	defer cancel()
	settle := d.Gateway.Withdraw(p.App, p.ID, p.Expires)
	n, err := d.Inbox.Withdraw(ctx, p.App, p.ID, push.MarkCancelled)
	if is(err, push.Unavailable) { // it may have happened; asking once more waits for the record to know
		n, err = d.Inbox.Withdraw(ctx, p.App, p.ID, push.MarkCancelled)
		if err == nil && n == 0 && d.cancelled(ctx, p) {
			n = 1 // the first attempt's
		}
	}
	settle(err == nil)
	if err == nil && n == 0 {
		err = conflict("", "nothing of the push is pending")
	}
	return err
}

// cancelled reports whether the record says that a push was cancelled.
func (d *Dispatcher) cancelled(ctx context.Context, p push.Push) bool {
	now, err := d.Record.Find(ctx, p.App, p.ID)
	return err == nil && now.State == push.Cancelled
}

func (d *Dispatcher) cancelBulk(ctx context.Context, p push.Push) error {
	l := d.live.get(p.App, p.ID)
	if l == nil {
		return conflict("", "the push is over")
	}
	if l.complete() {
		return conflict("", "nothing of the push is pending")
	}
	return d.end(ctx, l, push.Cancelled)
}

// ends are the reasons under which what is pending counts when a push ends.
var ends = map[push.State]push.Mark{push.Cancelled: push.MarkCancelled, push.Expired: push.MarkExpired}

// end moves a live push to a final state: the barrier, then the commit, then nobody is owed it. A caller who goes away
// does not leave that half done.
func (d *Dispatcher) end(ctx context.Context, l *live, to push.State) error {
	p := l.push
	defer d.turn(p.ID)()
	ctx, cancel := patient(ctx)
	defer cancel()
	settle := d.Gateway.Withdraw(p.App, p.ID, p.Expires)
	pending, reason := l.pending(), ""
	if to == push.Expired && !l.begun() {
		reason = push.ExpiredUnsent
	}
	over, err := d.move(ctx, p, to, reason)
	if !over && is(err, push.Unavailable) {
		l.doubt(true)
	}
	settle(over)
	if over {
		d.live.remove(p.App, p.ID)
	}
	if err == nil {
		d.opts.Observe.Settled(push.Bulk, ends[to], pending)
	}
	return err
}

// move moves a push to a final state, and reports whether it is in one now: this one, or another that it had already.
func (d *Dispatcher) move(ctx context.Context, p push.Push, to push.State, reason string) (over bool, err error) {
	for range 3 {
		now, findErr := d.Record.Find(ctx, p.App, p.ID)
		switch {
		case is(findErr, push.NotFound): // deleted with its app
			return true, findErr
		case findErr != nil && err != nil:
			return false, err // unknown still: the sweep will see
		case findErr != nil:
			return false, findErr
		case now.State == to && is(err, push.Unavailable): // the attempt whose outcome was unknown
			return true, nil
		case !now.State.May(to):
			return now.State.Final(), conflict("", "the push is "+string(now.State))
		}
		err = d.Bulk.Move(ctx, p.App, p.ID, now.State, to, reason)
		if err == nil {
			return true, nil
		}
		if !is(err, push.Unavailable) && !is(err, push.Conflict) { // Conflict: it moved between the two
			return false, err
		}
	}
	return false, err
}

// sweep ends what has expired: bulk pushes one by one, inbox rows in slices that let other writers through.
func (d *Dispatcher) sweep(ctx context.Context) {
	now := d.opts.Now()
	for _, l := range d.live.filter(func(l *live) bool { return !l.push.Expires.After(now) }) {
		if ctx.Err() != nil {
			return
		}
		if err := d.end(ctx, l, push.Expired); err != nil && ctx.Err() == nil {
			d.opts.Log.Warn("expiry failed, will be tried again", "push", l.push.ID, "err", err)
		}
	}
	d.undoubt(ctx)
	for _, one := range d.maybes.take(now) {
		d.remind(one.app, one.devices)
	}
	d.live.tidy()
	for ctx.Err() == nil {
		n, err := d.Inbox.Sweep(ctx, now, sweepSlice)
		if err != nil && ctx.Err() == nil {
			d.opts.Log.Warn("sweep failed, will be tried again", "err", err)
		}
		if err != nil || n < sweepSlice {
			return
		}
	}
}

// pending returns how many devices are owed l.
func (l *live) pending() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.target == nil {
		return 0
	}
	return l.target.Len() - l.target.And(l.settled)
}

// undoubt looks up the pushes whose end was asked for and not answered: those that are over are not owed any more.
func (d *Dispatcher) undoubt(ctx context.Context) {
	for _, l := range d.live.filter(func(l *live) bool { return l.doubtful }) {
		p, err := d.Record.Find(ctx, l.push.App, l.push.ID)
		switch {
		case is(err, push.NotFound) || err == nil && p.State.Final():
			d.over(l.push)
		case err == nil:
			l.doubt(false)
		}
	}
}

// complete reports whether the first pass is over and nobody is owed l.
func (l *live) complete() bool {
	l.mu.RLock()
	run := l.run
	l.mu.RUnlock()
	return run && l.pending() == 0
}
