package dispatch

import (
	"context"

	"github.com/carillonpush/carillon/internal/push"
)

// Event records what a device says of a push, and returns when that is durable. NotFound if the device is not in the
// push's target.
func (d *Dispatcher) Event(ctx context.Context, ref push.Ref, id push.ID, m push.Mark) error {
	const op = "dispatch.Event"
	if b := d.bulks.get(ref.App, id); b != nil && d.sets.Targets(ref.App, id, ref.Ordinal) {
		return push.Wrap(op, d.Receipts.Receive(ctx, b.delivery.Receipt(ref.Ordinal, m)))
	}
	p, err := d.Record.Find(ctx, ref.App, id)
	if err != nil {
		return push.Wrap(op, err)
	}
	in, err := d.Receipts.Targeted(ctx, p, ref.Ordinal)
	switch {
	case err != nil:
		return push.Wrap(op, err)
	case !in:
		return &push.Error{Op: op, Kind: push.NotFound, Field: "push", Msg: "no such push for this device"}
	}
	delivery := push.Delivery{ID: p.ID, App: p.App, Kind: p.Kind, Expires: p.Expires}
	return push.Wrap(op, d.Receipts.Receive(ctx, delivery.Receipt(ref.Ordinal, m)))
}

// Removed drops what a removed device was owed, and what it would have been: it is unregistered.
func (d *Dispatcher) Removed(ctx context.Context, ref push.Ref) error {
	const op = "dispatch.Removed"
	var dropped []push.Receipt
	for _, b := range d.bulks.of(ref.App) {
		if d.sets.Targets(ref.App, b.push.ID, ref.Ordinal) && d.pendingOn(b, ref.Ordinal) {
			dropped = append(dropped, b.delivery.Receipt(ref.Ordinal, push.MarkUnregistered))
		}
	}
	if err := d.drop(ctx, dropped); err != nil {
		return push.Wrap(op, err)
	}
	const page = 200
	for {
		owed, err := d.Inbox.Owed(ctx, ref.App, ref.Ordinal, d.opts.Now(), page, func(push.ID) bool { return false })
		if err != nil {
			return push.Wrap(op, err)
		}
		dropped := make([]push.Receipt, len(owed))
		for i, o := range owed {
			dropped[i] = o.Receipt(ref.Ordinal, push.MarkUnregistered)
		}
		if err := d.drop(ctx, dropped); err != nil || len(owed) < page {
			return push.Wrap(op, err)
		}
	}
}

func (d *Dispatcher) drop(ctx context.Context, dropped []push.Receipt) error {
	if len(dropped) == 0 {
		return nil
	}
	return d.Receipts.Receive(ctx, dropped...)
}

// pendingOn reports whether a device of b's target is not settled, whether it is owed b now or not yet.
func (d *Dispatcher) pendingOn(b *bulk, o push.Ordinal) bool {
	if d.sets.Owes(b.push.App, b.push.ID, o) {
		return true
	}
	if b.in() != push.Paused && b.rate == 0 {
		return false
	}
	return d.sets.PendingSet(b.push.App, b.push.ID).Has(o)
}
