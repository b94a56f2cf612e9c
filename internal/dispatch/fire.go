package dispatch

import (
	"context"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Fire makes the push of an occurrence, which has the occurrence's id, and starts it. r is what its schedule sends, without
// a start or a rule of its own. Conflict with Field "occurrence" if it does not wait any more: it has fired, or was
// cancelled. Invalid or NotFound if r cannot be sent any more. Unavailable means that the outcome is unknown: firing again
// finds it out.
func (d *Dispatcher) Fire(ctx context.Context, o push.Occurrence, r push.Request) (push.Push, error) {
	const op = "dispatch.Fire"
	app, err := d.Audience.App(r.App)
	if err != nil {
		return push.Push{}, push.Wrap(op, err)
	}
	ctx, cancel := patient(ctx)
	defer cancel()
	r.Key, r.Uses = push.Key{}, nil // those were the schedule's
	r.Policy.Recurring, r.Policy.StartAt = nil, nil
	now := d.now()
	if err := d.validate(ctx, r, app, now); err != nil {
		return push.Push{}, push.Wrap(op, err)
	}
	p := push.Push{
		ID: o.ID, App: r.App, Kind: push.Bulk, State: push.Accepted, Request: r,
		Created: now, Start: o.At, Expires: expiry(r.Policy, app, o.At), Schedule: o.Schedule,
	}
	p, err = d.accept(ctx, p, app, &o)
	if is(err, push.Conflict) && d.bulks.get(o.App, o.ID) == nil {
		// It may have fired although nobody could say so.
		if reviveErr := d.revive(ctx, o.App, o.ID); reviveErr != nil && !is(reviveErr, push.NotFound) {
			d.opts.Log.Warn("a push is not looked after until the next start", "push", o.ID, "err", reviveErr)
		}
	}
	return p, push.Wrap(op, err)
}

// Replace changes what a push that waits for its start sends, and when, as Accept would make it of r now; its key stays.
// Conflict if it does not wait any more; NotFound; errors of r as those of Accept.
func (d *Dispatcher) Replace(ctx context.Context, app push.AppID, id push.ID, r push.Request) (push.Push, error) {
	const op = "dispatch.Replace"
	a, err := d.Audience.App(app)
	if err != nil {
		return push.Push{}, push.Wrap(op, err)
	}
	ctx, cancel := patient(ctx)
	defer cancel()
	defer d.turn(id)()
	old := d.bulks.get(app, id)
	p, err := d.Record.Find(ctx, app, id)
	switch {
	case err != nil:
		return push.Push{}, push.Wrap(op, err)
	case p.State != push.Scheduled || old == nil:
		return push.Push{}, conflict(op, "the push is "+string(p.State))
	case r.Policy.StartAt == nil || r.Policy.Recurring != nil || r.Open:
		return push.Push{}, push.Wrap(op, &push.Error{Kind: push.Invalid, Field: "policy.start_at", Msg: "is missing: the push is scheduled"})
	}
	r.App, r.Key, r.Origin, r.RequestID = app, push.Key{}, p.Request.Origin, p.Request.RequestID
	now := d.now()
	if err := d.validate(ctx, r, a, now); err != nil {
		return push.Push{}, push.Wrap(op, err)
	}
	p.Request, p.Start = r, r.Policy.Start(now).Truncate(time.Millisecond) // as the record keeps it
	p.Expires = expiry(r.Policy, a, now).Truncate(time.Millisecond)
	named, _, _, err := d.resolve(ctx, r)
	if err != nil {
		return push.Push{}, push.Wrap(op, err)
	}
	t, err := d.text(ctx, r)
	if err != nil {
		return push.Push{}, push.Wrap(op, err)
	}
	payload, _, err := t.payloads(p, named)
	if err == nil {
		err = d.commitReplace(ctx, p, payload)
	}
	if err != nil {
		old.doubt(unknown(err))
		return push.Push{}, push.Wrap(op, err)
	}
	b := bulkOf(p, payload)
	d.bulks.replace(old, b)
	d.agenda.Move(b.push.Start, b.key())
	return p, nil
}

// commitReplace commits what a push sends and when. If it cannot be said whether that happened, the record is asked, and
// told once more if it did not: again is once.
func (d *Dispatcher) commitReplace(ctx context.Context, p push.Push, payload []byte) error {
	err := d.Changing.Replace(ctx, p, payload)
	if !unknown(err) {
		return err
	}
	now, findErr := d.Record.Find(ctx, p.App, p.ID)
	if findErr == nil && now.Start.Equal(p.Start) && now.Request.Fingerprint() == p.Request.Fingerprint() {
		return nil
	}
	return d.Changing.Replace(ctx, p, payload)
}
