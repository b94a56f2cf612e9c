package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Accept makes the push that r asks for durable and returns it. When it returns, the push survives a crash; what is due
// at once has been posted or will be within moments. A repeated key returns the first push. r is not recurring: each
// occurrence of a schedule is made by Fire.
//
// Invalid names the field; NotFound means that none of the named devices is the app's; Conflict a key that was used for
// another request; TooMany (a quota, or no room among the live pushes) and Unavailable may be tried again with the same
// key. After Unavailable the outcome is unknown.
func (d *Dispatcher) Accept(ctx context.Context, r push.Request) (push.Push, error) {
	const op = "dispatch.Accept"
	app, err := d.Audience.App(r.App)
	if err == nil {
		err = r.Key.Validate()
	}
	if err == nil && r.Policy.Recurring != nil {
		err = &push.Error{Kind: push.Invalid, Field: "policy.recurring", Msg: "is for a schedule"}
	}
	if err != nil {
		return push.Push{}, push.Wrap(op, err)
	}
	ctx, cancel := patient(ctx)
	defer cancel()
	if !r.Key.Zero() {
		first, found, err := d.first(ctx, r)
		if err != nil || found {
			return first, push.Wrap(op, err)
		}
	}
	now := d.now()
	if err := d.validate(ctx, r, app, now); err != nil {
		return push.Push{}, push.Wrap(op, err)
	}
	p := push.Push{
		ID: d.NextID(), App: r.App, Kind: push.Bulk, State: firstState(r), Request: r,
		Created: now, Start: r.Policy.Start(now), Expires: expiry(r.Policy, app, now),
	}
	p, err = d.accept(ctx, p, app, nil)
	return p, push.Wrap(op, err)
}

// now returns the time as the record keeps it.
func (d *Dispatcher) now() time.Time { return d.opts.Now().Truncate(time.Millisecond) }

// accept makes p durable, directly or in bulk. fires is the occurrence that it is, if it is one.
func (d *Dispatcher) accept(ctx context.Context, p push.Push, app push.App, fires *push.Occurrence) (push.Push, error) {
	r := p.Request
	named, strangers, few, err := d.resolve(ctx, r)
	if err != nil {
		return push.Push{}, err
	}
	t, err := d.text(ctx, r)
	if err != nil {
		return push.Push{}, err
	}
	a := push.Acceptance{Push: p, Fires: fires}
	if !r.Policy.Test { // a test uses nothing up
		a.Charges = push.Charges(r.Uses, app, p.Created)
	}
	if few && direct(r) && fires == nil {
		a.Push.Kind, a.Push.Unknown = push.Direct, strangers
		return d.acceptDirect(ctx, &a, app, t, named)
	}
	if fires == nil && !d.sets.Room() {
		return push.Push{}, noRoom()
	}
	if a.Payload, _, err = t.payloads(p, nil); err != nil {
		return push.Push{}, err
	}
	return d.acceptBulk(ctx, &a)
}

// noRoom is the error for what would be live, and finds no room.
func noRoom() error {
	return &push.Error{
		Kind: push.TooMany, RetryAfter: time.Minute, Msg: "the pushes that are not over use all the memory that they may",
	}
}

// direct reports whether r, to few devices, is a direct push: one that has no state to change while it is sent.
func direct(r push.Request) bool { return r.Policy.StartAt == nil && r.Policy.Rate == 0 && !r.Open }

// expiry returns when a push ends to be owed: the app's greatest time to live bounds the default, too.
func expiry(p push.Policy, app push.App, now time.Time) time.Time {
	end, most := p.Expiry(now), p.Start(now).Add(app.Settings.Duration(push.SettingMaxTTL))
	if most.Before(end) {
		return most
	}
	return end
}

// firstState returns the state in which r is accepted.
func firstState(r push.Request) push.State {
	switch {
	case r.Open:
		return push.Open
	case r.Policy.StartAt != nil:
		return push.Scheduled
	}
	return push.Accepted
}

// first returns the push that was accepted under r's key, if there is one. It is looked for before r is validated,
// because a request that was valid then need not be now.
func (d *Dispatcher) first(ctx context.Context, r push.Request) (push.Push, bool, error) {
	p, fingerprint, err := d.Record.FindKey(ctx, r.App, r.Key)
	switch {
	case is(err, push.NotFound):
		return push.Push{}, false, nil
	case err != nil:
		return push.Push{}, false, err
	case r.Key.Strict && fingerprint != r.Fingerprint():
		return push.Push{}, false, &push.Error{Kind: push.Conflict, Field: "key", Msg: "this key was used for another request"}
	}
	return d.again(ctx, p, r), true, nil
}

// again returns p, the first push of a key, in the state of the first answer. That answer may have been lost because its
// commit's outcome was not known: then nobody has looked after the push yet, so it is looked after now.
func (d *Dispatcher) again(ctx context.Context, p push.Push, r push.Request) push.Push {
	over := p.State.Final() || !p.Expires.After(d.opts.Now())
	switch {
	case over:
	case p.Kind == push.Direct:
		devices, err := d.Receipts.Targets(ctx, p)
		if err != nil {
			d.opts.Log.Warn("devices of a repeated push are not reminded", "push", p.ID, "err", err)
		}
		d.remind(p.App, devices)
	case d.bulks.get(p.App, p.ID) == nil:
		if err := d.revive(ctx, p.App, p.ID); err != nil && !is(err, push.NotFound) {
			d.opts.Log.Warn("a push is not looked after until the next start", "push", p.ID, "err", err)
		}
	}
	p.State = firstState(r)
	return p
}

// remind has devices ask the record again, now if they are connected, or when they connect.
func (d *Dispatcher) remind(app push.AppID, devices []push.Ordinal) {
	for _, o := range devices {
		d.waiting.add(app, o)
		d.Gateway.Wake(app, o)
	}
}

// revive takes a push from the record among those that are not over, and has it started when it is due.
func (d *Dispatcher) revive(ctx context.Context, app push.AppID, id push.ID) error {
	defer d.turn(id)()
	row, err := d.Bulk.Load(ctx, app, id)
	if err != nil || row.Push.State.Final() {
		return err
	}
	b, err := d.adopt(row)
	if err == nil {
		d.due(b)
	}
	return err
}

func (d *Dispatcher) acceptBulk(ctx context.Context, a *push.Acceptance) (push.Push, error) {
	p := a.Push
	stored, repeated, err := d.Record.Accept(ctx, a)
	if repeated {
		return d.again(ctx, stored, p.Request), nil
	}
	if err != nil && !unknown(err) {
		return push.Push{}, err
	}
	// After an unknown outcome the push may be in the record. If it is not, its run finds that out.
	b, adoptErr := d.adopt(push.Live{Push: p, Payload: a.Payload})
	if adoptErr == nil && b.unfinished() {
		d.due(b)
	}
	if err := errors.Join(err, adoptErr); err != nil {
		return push.Push{}, err
	}
	d.opts.Observe.Accepted(push.Bulk, p.Request.Origin)
	return p, nil
}

// resolve returns the devices that r names, if it names some and they are few enough for a direct push, and how many names
// stand for none. NotFound if all do, unless r allows that.
func (d *Dispatcher) resolve(ctx context.Context, r push.Request) (named []push.Named, strangers int, few bool, err error) {
	if !r.Audience.Named() {
		return nil, 0, false, nil
	}
	named, strangers, more, err := d.Audience.Resolve(ctx, r.App, r.Audience, push.MaxDirect)
	switch {
	case err != nil || more:
		return nil, 0, false, push.Within("audience", err)
	case nobody(r, len(named), strangers):
		return nil, 0, false, unknownTo(r.Audience)
	}
	return named, strangers, true, nil
}

// nobody reports whether r is to be refused because its names stand for no device. What an alias or an account stands for
// is found out when the push begins, so a later start may find somebody; an open push may be for others yet.
func nobody(r push.Request, known, unknown int) bool {
	later := r.Policy.StartAt != nil || r.Policy.Recurring != nil
	return r.Audience.Named() && known == 0 && unknown > 0 && !r.AllowUnknown && !r.Open && (!later || r.Audience.Devices != nil)
}

// unknownTo is the error for names of which none stands for a device.
func unknownTo(a push.Audience) error {
	field := "audience.devices"
	switch {
	case a.Aliases != nil:
		field = "audience.aliases"
	case a.Accounts != nil:
		field = "audience.accounts"
	}
	return &push.Error{Kind: push.NotFound, Field: field, Msg: "none of these is a device of this app"}
}
