package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Accept makes the push that r asks for durable and returns it. When it returns, the push survives a crash; what is due
// at once has been posted or will be within moments. A repeated key returns the first push.
//
// Invalid names the field; NotFound means that none of the named devices is the app's; Conflict a key that was used for
// another request; TooMany and Unavailable may be tried again with the same key. After Unavailable the outcome is unknown.
func (d *Dispatcher) Accept(ctx context.Context, r push.Request) (push.Push, error) {
	const op = "dispatch.Accept"
	app, err := d.Audience.App(r.App)
	if err == nil {
		err = r.Key.Validate()
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
	now := d.opts.Now().Truncate(time.Millisecond) // as the record keeps it
	if err := d.validate(ctx, r, app, now); err != nil {
		return push.Push{}, push.Wrap(op, err)
	}
	p := push.Push{
		ID: d.NextID(), App: r.App, Kind: push.Bulk, State: firstState(r), Request: r,
		Created: now, Start: r.Policy.Start(now), Expires: expiry(r.Policy, app, now),
	}
	named, few, err := d.resolve(ctx, &p)
	switch {
	case err != nil:
		return push.Push{}, push.Wrap(op, err)
	case few && r.Policy.StartAt == nil:
		p.Kind = push.Direct
		p, err = d.acceptDirect(ctx, p, app, named)
	default:
		p, err = d.acceptBulk(ctx, p)
	}
	return p, push.Wrap(op, err)
}

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
	case d.live.get(p.App, p.ID) == nil:
		if err := d.revive(ctx, p.App, p.ID); err != nil {
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

// revive takes a push from the record among the live ones, and has it started when it is due.
func (d *Dispatcher) revive(ctx context.Context, app push.AppID, id push.ID) error {
	row, err := d.Bulk.Load(ctx, app, id)
	if err != nil || row.Push.State.Final() {
		return err
	}
	if err := d.adopt(row); err != nil {
		return err
	}
	d.due(ctx, row.Push)
	return nil
}

// due has a bulk push started when its time has come.
func (d *Dispatcher) due(ctx context.Context, p push.Push) {
	if p.Start.After(d.opts.Now()) {
		d.agenda.add(p.Start, p.App, p.ID)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	d.wake(ctx, p.App, p.ID)
}

func (d *Dispatcher) acceptDirect(ctx context.Context, p push.Push, app push.App, named []push.Named) (_ push.Push, err error) {
	a := push.Acceptance{Push: p, Limit: app.Settings.Int(push.SettingInboxLimit)}
	a.Push.State = push.Done // its first pass is the post that follows the commit
	a.Targets, a.Marks = d.sort(p, named)
	a.Push.Target = len(a.Targets) + len(a.Marks)

	if a.Payload, err = p.Payload(); err != nil {
		return push.Push{}, err
	}
	stored, repeated, err := d.Record.Accept(ctx, &a)
	switch {
	case repeated:
		return d.again(ctx, stored, p.Request), nil
	case is(err, push.Unavailable):
		if !errors.Is(err, push.ErrNotQueued) {
			d.maybes.add(maybe{p.App, a.Targets, p.Created.Add(doubtFor)})
			d.remind(p.App, a.Targets)
		}
		return push.Push{}, err
	case err != nil:
		return push.Push{}, err
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

// resolve returns the devices that p names, if it names some and they are few enough for a direct push, and notes in p how
// many names stand for none. NotFound if all do, unless p allows that.
func (d *Dispatcher) resolve(ctx context.Context, p *push.Push) (named []push.Named, few bool, err error) {
	r := p.Request
	if !r.Audience.Named() {
		return nil, false, nil
	}
	named, unknown, more, err := d.Audience.Resolve(ctx, r.App, r.Audience, push.MaxDirect)
	switch {
	case err != nil || more:
		return nil, false, push.Within("audience", err)
	case nobody(r, len(named), unknown):
		return nil, false, unknownTo(r.Audience)
	}
	p.Unknown = unknown
	return named, true, nil
}

// nobody reports whether r is to be refused because its names stand for no device. What an alias or an account stands for
// is found out when the push begins, so a later start may find somebody.
func nobody(r push.Request, known, unknown int) bool {
	return r.Audience.Named() && known == 0 && unknown > 0 && !r.AllowUnknown && (r.Policy.StartAt == nil || r.Audience.Devices != nil)
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

// sort divides the named devices of a direct push into those that get it and those that are dropped at once.
func (d *Dispatcher) sort(p push.Push, named []push.Named) (targets []push.Ordinal, drops []push.Receipt) {
	delivery := push.Delivery{ID: p.ID, App: p.App, Kind: push.Direct, Expires: p.Expires}
	for _, n := range named {
		o := n.Ordinal
		switch {
		case p.Request.Policy.Test && !n.Test: // not in the target at all
		case n.Blacklisted:
			drops = append(drops, delivery.Receipt(o, push.MarkBlacklisted))
		case !p.Request.Policy.Offline() && !d.Presence.IsOnline(p.App, o):
			drops = append(drops, delivery.Receipt(o, push.MarkOffline))
		default:
			targets = append(targets, o)
		}
	}
	return targets, drops
}

func (d *Dispatcher) acceptBulk(ctx context.Context, p push.Push) (push.Push, error) {
	payload, err := p.Payload()
	if err != nil {
		return push.Push{}, err
	}
	stored, repeated, err := d.Record.Accept(ctx, &push.Acceptance{Push: p, Payload: payload})
	if repeated {
		return d.again(ctx, stored, p.Request), nil
	}
	if err != nil && (!is(err, push.Unavailable) || errors.Is(err, push.ErrNotQueued)) {
		return push.Push{}, err
	}
	// After another Unavailable the push may be in the record. If it is not, its run finds that out.
	if err := errors.Join(err, d.adopt(push.Live{Push: p, Payload: payload})); err != nil {
		d.due(ctx, p)
		return push.Push{}, err
	}
	d.opts.Observe.Accepted(push.Bulk, p.Request.Origin)
	d.due(ctx, p)
	return p, nil
}
