package dispatch

import (
	"context"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Pause has nothing of a push leave until it is resumed: what has not left when it returns does not. Its time to live goes
// on. Conflict if its state does not allow it, or nothing of it is pending; NotFound.
func (d *Dispatcher) Pause(ctx context.Context, app push.AppID, id push.ID) (push.Push, error) {
	const op = "dispatch.Pause"
	return d.alter(ctx, op, app, id, push.ActPause, func(ctx context.Context, p push.Push) error {
		if p.Kind == push.Direct {
			return d.pauseDirect(ctx, p)
		}
		b := d.bulks.get(p.App, p.ID)
		switch {
		case b == nil:
			return conflict("", "the push is over")
		case d.complete(b):
			return conflict("", "nothing of the push is pending")
		}
		return d.pauseBulk(ctx, b)
	})
}

// Resume has a paused push go on where it stood. Conflict if it is not paused; NotFound.
func (d *Dispatcher) Resume(ctx context.Context, app push.AppID, id push.ID) (push.Push, error) {
	const op = "dispatch.Resume"
	return d.alter(ctx, op, app, id, push.ActResume, func(ctx context.Context, p push.Push) error {
		if p.Kind == push.Direct {
			return d.resumeDirect(ctx, p)
		}
		b := d.bulks.get(p.App, p.ID)
		if b == nil {
			return conflict("", "the push is over")
		}
		return d.resumeBulk(ctx, b)
	})
}

// alter looks a push up, has do change it if a may happen to it, and returns it as it is then.
func (d *Dispatcher) alter(ctx context.Context, op string, app push.AppID, id push.ID, a push.Action, do func(context.Context, push.Push) error) (push.Push, error) {
	p, err := d.Record.Find(ctx, app, id)
	if err != nil {
		return push.Push{}, push.Wrap(op, err)
	}
	to, ok := p.State.On(a)
	switch {
	case p.State.Final():
		d.over(p)
		return push.Push{}, conflict(op, "the push is "+string(p.State))
	case !ok:
		d.agree(ctx, p)
		return push.Push{}, conflict(op, "the push is "+string(p.State))
	case !p.Expires.After(d.opts.Now()):
		return push.Push{}, conflict(op, "the push has expired")
	}
	ctx, cancel := patient(ctx)
	defer cancel()
	if err := do(ctx, p); err != nil {
		return push.Push{}, push.Wrap(op, err)
	}
	if p.State = to; p.Kind == push.Direct && a == push.ActResume {
		p.State = push.Done // its first pass was made when it was accepted
	}
	return p, nil
}

func (d *Dispatcher) pauseBulk(ctx context.Context, b *bulk) error {
	p := b.push
	defer d.turn(p.ID)()
	settle := d.Gateway.Withdraw(p.App, p.ID, nil, p.Expires)
	d.sets.Hold(p.App, p.ID, true)
	now, err := d.move(ctx, p, push.ActPause, "")
	switch {
	case now == push.Paused:
		b.pause(settle)
	case now.Final() || is(err, push.NotFound):
		settle(true)
		d.forget(b)
	default:
		d.sets.Hold(p.App, p.ID, false)
		settle(false)
		b.doubt(unknown(err))
		d.broadcast(ctx, b) // whoever asked while it was held
	}
	return err
}

// pause notes that b is paused, with the barrier that holds its copies back.
func (b *bulk) pause(settle func(bool)) {
	b.enter(push.Paused)
	b.mu.Lock()
	old := b.settle
	b.settle = settle
	b.mu.Unlock()
	if old != nil {
		old(false) // the new one stands
	}
}

func (d *Dispatcher) resumeBulk(ctx context.Context, b *bulk) error {
	p := b.push
	defer d.turn(p.ID)()
	now, err := d.move(ctx, p, push.ActResume, "")
	switch {
	case err == nil:
		d.letGo(b, now)
	case now.Final() || is(err, push.NotFound):
		d.Gateway.Withdraw(p.App, p.ID, nil, p.Expires)(true)
		d.forget(b)
	case unknown(err):
		b.doubt(true)
	}
	return err
}

// letGo ends the pause of b, which is in a state now, and has its pass go on.
func (d *Dispatcher) letGo(b *bulk, now push.State) {
	b.enter(now)
	d.sets.Hold(b.push.App, b.push.ID, false)
	b.mu.Lock()
	settle := b.settle
	b.settle = nil
	b.mu.Unlock()
	if settle != nil {
		settle(false) // those from which copies were held back ask again
	}
	d.due(b)
}

// follow has b be what the record says that it is. The caller has its turn.
func (d *Dispatcher) follow(ctx context.Context, b *bulk) error {
	p, err := d.Record.Find(ctx, b.push.App, b.push.ID)
	switch {
	case is(err, push.NotFound) || err == nil && p.State.Final():
		d.Gateway.Withdraw(b.push.App, b.push.ID, nil, b.push.Expires)(true)
		b.enter(p.State) // whoever paces it stops
		d.forget(b)
		return nil
	case err != nil:
		b.doubt(true)
		return err
	}
	b.doubt(false)
	switch was := b.in(); {
	case was.Waits() || p.State == was: // its run finds out that it has begun
	case p.State == push.Paused:
		settle := d.Gateway.Withdraw(p.App, p.ID, nil, p.Expires)
		d.sets.Hold(p.App, p.ID, true)
		b.pause(settle)
	case was == push.Paused:
		d.letGo(b, p.State)
	default:
		b.enter(p.State)
		if b.unfinished() {
			d.due(b)
		}
	}
	return nil
}

func (d *Dispatcher) pauseDirect(ctx context.Context, p push.Push) error {
	defer d.turn(p.ID)()
	settle := d.Gateway.Withdraw(p.App, p.ID, nil, p.Expires)
	d.held.add(p, settle)
	err := d.pending(ctx, p)
	if err == nil {
		err = d.hold(ctx, p, true)
	}
	if err != nil {
		d.held.remove(p.App, p.ID, false)
		d.remindOf(ctx, p)
	}
	return err
}

// pending returns Conflict if nothing of a direct push is.
func (d *Dispatcher) pending(ctx context.Context, p push.Push) error {
	r, err := d.Marks.Report(ctx, p, d.opts.Now())
	if err == nil && r.Pending == 0 {
		err = conflict("", "nothing of the push is pending")
	}
	return err
}

// agree has a direct push be paused here if it is in the record, and not if it is not: an answer of the record may have
// been lost.
func (d *Dispatcher) agree(ctx context.Context, p push.Push) {
	if p.Kind != push.Direct {
		return
	}
	defer d.turn(p.ID)()
	switch paused := p.State == push.Paused; {
	case paused == d.held.has(p.App, p.ID):
	case paused:
		d.held.add(p, d.Gateway.Withdraw(p.App, p.ID, nil, p.Expires))
	default:
		d.held.remove(p.App, p.ID, p.State.Final())
		d.remindOf(ctx, p)
	}
}

// hold notes in the record that a direct push is paused, or that it is not any more. If it cannot be said whether that
// happened, the record is asked, and then told once more.
func (d *Dispatcher) hold(ctx context.Context, p push.Push, paused bool) error {
	err := d.Inboxes.Hold(ctx, p.App, p.ID, paused)
	if !is(err, push.Unavailable) {
		return err
	}
	if now, findErr := d.Record.Find(ctx, p.App, p.ID); findErr == nil && (now.State == push.Paused) == paused {
		return nil
	}
	return d.Inboxes.Hold(ctx, p.App, p.ID, paused)
}

func (d *Dispatcher) resumeDirect(ctx context.Context, p push.Push) error {
	defer d.turn(p.ID)()
	if err := d.hold(ctx, p, false); err != nil {
		return err
	}
	d.held.remove(p.App, p.ID, false)
	d.remindOf(ctx, p)
	return nil
}

// remindOf has the devices of a direct push ask the record again.
func (d *Dispatcher) remindOf(ctx context.Context, p push.Push) {
	devices, err := d.Receipts.Targets(ctx, p)
	if err != nil {
		d.opts.Log.Warn("devices of a push are not reminded", "push", p.ID, "err", err)
	}
	d.remind(p.App, devices)
}

// held are the direct pushes that are paused, with the barriers that hold their copies back.
type held struct {
	mu  sync.RWMutex // guards all
	all map[key]hold
}

type hold struct {
	until  time.Time  // when the push expires
	settle func(bool) // nil if there is no barrier
}

func (h *held) add(p push.Push, settle func(bool)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all == nil {
		h.all = map[key]hold{}
	}
	h.all[key{p.App, p.ID}] = hold{p.Expires, settle}
}

func (h *held) has(app push.AppID, id push.ID) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	_, ok := h.all[key{app, id}]
	return ok
}

// remove ends a pause; over is whether the push is over, so that its copies stay held back.
func (h *held) remove(app push.AppID, id push.ID, over bool) {
	h.mu.Lock()
	had := h.all[key{app, id}]
	delete(h.all, key{app, id})
	h.mu.Unlock()
	if had.settle != nil {
		had.settle(over)
	}
}

// expire forgets what has expired at now.
func (h *held) expire(now time.Time) {
	h.mu.RLock()
	var gone []key
	for k, one := range h.all {
		if !one.until.After(now) {
			gone = append(gone, k)
		}
	}
	h.mu.RUnlock()
	for _, k := range gone {
		h.remove(k.app, k.id, true)
	}
}
