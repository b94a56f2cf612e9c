package dispatch

import (
	"context"
	"time"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Accept makes the push that r asks for durable and returns it. When it returns, the push survives a crash; what is due
// at once has been posted or will be within moments. A repeated key returns the first push.
//
// Invalid names the field; NotFound means that none of the named devices is the app's; Conflict a key that was used for
// another request; TooMany and Unavailable may be tried again with the same key.
func (d *Dispatcher) Accept(ctx context.Context, r push.Request) (push.Push, error) {
	const op = "dispatch.Accept"
	app, err := d.Audience.App(r.App)
	if err != nil {
		return push.Push{}, push.Wrap(op, err)
	}
	if !r.Key.Zero() {
		first, found, err := d.first(ctx, r)
		if err != nil || found {
			return first, push.Wrap(op, err)
		}
	}
	now := d.opts.Now().Truncate(time.Millisecond) // as the record keeps it
	if err := validate(r, app, now); err != nil {
		return push.Push{}, push.Wrap(op, err)
	}
	p := push.Push{
		ID: d.NextID(), App: r.App, Kind: push.Bulk, State: firstState(r), Request: r,
		Created: now, Start: r.Policy.Start(now), Expires: r.Policy.Expiry(now),
	}
	if r.Audience.Direct() && r.Policy.StartAt == nil {
		p.Kind = push.Direct
		p, err = d.acceptDirect(ctx, p, app)
	} else {
		p, err = d.acceptBulk(ctx, p)
	}
	return p, push.Wrap(op, err)
}

// firstState returns the state in which r is accepted.
func firstState(r push.Request) push.State {
	if r.Policy.StartAt != nil {
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
	p.State = firstState(r) // what the first answer said
	return p, true, nil
}

func (d *Dispatcher) acceptDirect(ctx context.Context, p push.Push, app push.App) (push.Push, error) {
	named, unknown, err := d.resolve(p.Request)
	if err != nil {
		return push.Push{}, err
	}
	p.Unknown = unknown
	a := push.Acceptance{Push: p, Limit: app.Settings.Int(push.SettingInboxLimit)}
	a.Push.State = push.Done // its first pass is the post that follows the commit
	a.Targets, a.Marks = d.sort(p, named)
	a.Push.Target = len(a.Targets) + len(a.Marks)

	if a.Payload, err = p.Payload(); err != nil {
		return push.Push{}, err
	}
	stored, repeated, err := d.Record.Accept(ctx, &a)
	if err != nil || repeated {
		stored.State = p.State
		return stored, err
	}
	d.opts.Observe.Accepted(push.Direct, p.Request.Origin)
	delivery := &push.Delivery{ID: p.ID, App: p.App, Kind: push.Direct, Expires: p.Expires, Payload: a.Payload}
	for _, o := range a.Targets {
		d.waiting.add(p.App, o)
	}
	for _, o := range a.Targets {
		d.Gateway.Post(o, delivery)
	}
	return p, nil
}

// resolve returns the devices that r names, and how many of its names stand for none. NotFound if all do, unless r allows
// that.
func (d *Dispatcher) resolve(r push.Request) ([]push.Named, int, error) {
	named, unknown := d.Audience.Resolve(r.App, r.Audience.Devices, r.Audience.Platforms)
	if len(named) == 0 && !r.AllowUnknown {
		return nil, 0, &push.Error{Kind: push.NotFound, Field: "audience.devices", Msg: "none of these is a device of this app"}
	}
	return named, unknown, nil
}

// sort divides the named devices of a direct push into those that get it and those that are dropped at once.
func (d *Dispatcher) sort(p push.Push, named []push.Named) (targets []push.Ordinal, drops []push.Receipt) {
	var online *ordset.Set
	if !p.Request.Policy.Offline() {
		online = d.Gateway.Online(p.App)
	}
	delivery := push.Delivery{ID: p.ID, App: p.App, Kind: push.Direct, Expires: p.Expires}
	for _, n := range named {
		o := n.Ordinal
		switch {
		case p.Request.Policy.Test && !n.Test: // not in the target at all
		case n.Blacklisted:
			drops = append(drops, delivery.Receipt(o, push.MarkBlacklisted))
		case online != nil && !online.Has(o):
			drops = append(drops, delivery.Receipt(o, push.MarkOffline))
		default:
			targets = append(targets, o)
		}
	}
	return targets, drops
}

func (d *Dispatcher) acceptBulk(ctx context.Context, p push.Push) (_ push.Push, err error) {
	if p.Request.Audience.Direct() {
		if _, p.Unknown, err = d.resolve(p.Request); err != nil {
			return push.Push{}, err
		}
	}
	payload, err := p.Payload()
	if err != nil {
		return push.Push{}, err
	}
	stored, repeated, err := d.Record.Accept(ctx, &push.Acceptance{Push: p, Payload: payload})
	if err != nil || repeated {
		stored.State = p.State
		return stored, err
	}
	d.opts.Observe.Accepted(push.Bulk, p.Request.Origin)
	if err := d.adopt(push.Live{Push: p, Payload: payload}); err != nil {
		return push.Push{}, err
	}
	if p.State == push.Scheduled {
		d.agenda.add(p.Start, p.App, p.ID)
	} else {
		d.wake(context.WithoutCancel(ctx), p.App, p.ID)
	}
	return p, nil
}
