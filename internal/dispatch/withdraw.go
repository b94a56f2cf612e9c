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

func (d *Dispatcher) cancelDirect(ctx context.Context, p push.Push) error {
	d.Gateway.Withdraw(p.App, p.ID)
	n, err := d.Inbox.Withdraw(ctx, p.App, p.ID, push.MarkCancelled)
	if err != nil {
		d.Gateway.Readmit(p.App, p.ID)
		return err
	}
	if n == 0 {
		return conflict("", "nothing of the push is pending")
	}
	return nil
}

func (d *Dispatcher) cancelBulk(ctx context.Context, p push.Push) error {
	l := d.live.get(p.App, p.ID)
	if l == nil {
		return conflict("", "the push is over")
	}
	if l.complete() {
		return conflict("", "nothing of the push is pending")
	}
	return d.end(ctx, l, push.Cancelled, "")
}

// ends are the reasons under which what is pending counts when a push ends.
var ends = map[push.State]push.Mark{push.Cancelled: push.MarkCancelled, push.Expired: push.MarkExpired}

// end moves a live push to a final state: the barrier, then the commit, then nobody is owed it.
func (d *Dispatcher) end(ctx context.Context, l *live, to push.State, reason string) error {
	p := l.push
	defer d.turn(p.ID)()
	d.Gateway.Withdraw(p.App, p.ID)
	pending := l.pending()
	for {
		now, err := d.Record.Find(ctx, p.App, p.ID)
		if err == nil && !now.State.May(to) {
			err = conflict("", "the push is "+string(now.State))
		}
		if err == nil {
			err = d.Bulk.Move(ctx, p.App, p.ID, now.State, to, reason)
		}
		switch {
		case err == nil:
			d.live.remove(p.App, p.ID)
			d.opts.Observe.Settled(push.Bulk, ends[to], pending)
			return nil
		case is(err, push.Conflict) && now.State.May(to): // another node moved it between the two
			continue
		case now.State.Final():
			d.live.remove(p.App, p.ID)
		case !is(err, push.Conflict):
			d.Gateway.Readmit(p.App, p.ID)
		}
		return err
	}
}

// sweep ends what has expired: bulk pushes one by one, inbox rows in slices that let other writers through.
func (d *Dispatcher) sweep(ctx context.Context) {
	now := d.opts.Now()
	for _, l := range d.live.filter(func(l *live) bool { return !l.push.Expires.After(now) }) {
		if err := d.end(ctx, l, push.Expired, ""); err != nil && ctx.Err() == nil {
			d.opts.Log.Warn("expiry failed, will be tried again", "push", l.push.ID, "err", err)
		}
	}
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

// complete reports whether the first pass is over and nobody is owed l.
func (l *live) complete() bool {
	l.mu.RLock()
	run := l.run
	l.mu.RUnlock()
	return run && l.pending() == 0
}
