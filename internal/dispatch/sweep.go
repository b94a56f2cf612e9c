package dispatch

import (
	"context"

	"github.com/carillonpush/carillon/internal/push"
)

// sweep ends what has expired: bulk pushes one by one, inbox rows in slices that let other writers through.
func (d *Dispatcher) sweep(ctx context.Context) {
	now := d.opts.Now()
	for _, b := range d.bulks.filter(func(b *bulk) bool { return !b.push.Expires.After(now) }) {
		if ctx.Err() != nil {
			return
		}
		if err := d.end(ctx, b, push.Expired); err != nil && ctx.Err() == nil {
			d.opts.Log.Warn("expiry failed, will be tried again", "push", b.push.ID, "err", err)
		}
	}
	d.held.expire(now)
	d.undoubt(ctx)
	for _, one := range d.maybes.take(now) {
		d.remind(one.app, one.devices)
	}
	d.sets.Tidy()
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

// undoubt looks up the pushes of which a change was asked for and not answered, and has them be what the record says.
func (d *Dispatcher) undoubt(ctx context.Context) {
	doubtful := func(b *bulk) bool {
		b.mu.RLock()
		defer b.mu.RUnlock()
		return b.doubtful
	}
	for _, b := range d.bulks.filter(doubtful) {
		unlock := d.turn(b.push.ID)
		err := d.follow(ctx, b)
		unlock()
		if err != nil && ctx.Err() == nil {
			d.opts.Log.Warn("what became of a push is not known yet, and will be asked for again", "push", b.push.ID, "err", err)
		}
	}
}
