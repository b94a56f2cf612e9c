package dispatch

import (
	"context"
	"slices"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// validate reports what is wrong with r, and what r asks for that this version does not do: it would rather refuse than
// send to other devices, or by other ways, than were meant.
func (d *Dispatcher) validate(ctx context.Context, r push.Request, app push.App, now time.Time) error {
	if err := r.Validate(now, app); err != nil {
		return err
	}
	const noVendor = "no vendor channel is set up in this app"
	for _, f := range []struct {
		field, msg string
		asked      bool
	}{
		{"policy.channels", noVendor, r.Policy.Channels == "vendor"},
		{"policy.only", noVendor, len(r.Policy.Only) > 0 && !slices.Contains(r.Policy.Only, "own")},
		{"message.platforms", "is not available in this version", r.Message.Variants != nil},
	} {
		if f.asked {
			return &push.Error{Kind: push.Invalid, Field: f.field, Msg: f.msg}
		}
	}
	names := namesOf(r.Audience)
	for name := range r.Message.Personal {
		if !slices.Contains(names, name) {
			return &push.Error{Kind: push.Invalid, Field: "message.personal", Msg: "has values for somebody whom the audience does not name"}
		}
	}
	if !said(r.Audience) { // an open push that is for nobody yet
		return nil
	}
	return push.Within("audience", d.Audience.Check(ctx, r.App, r.Audience))
}

// Check reports what is wrong with r, as Accept would at now, but for its key. It changes nothing. r may be recurring.
func (d *Dispatcher) Check(ctx context.Context, r push.Request, now time.Time) error {
	const op = "dispatch.Check"
	app, err := d.Audience.App(r.App)
	if err == nil {
		_, err = d.check(ctx, r, app, now)
	}
	return push.Wrap(op, err)
}

// check does all that Accept refuses for, and returns whether r would be a direct push.
func (d *Dispatcher) check(ctx context.Context, r push.Request, app push.App, now time.Time) (few bool, err error) {
	if err := d.validate(ctx, r, app, now); err != nil {
		return false, err
	}
	p := push.Push{App: r.App, Kind: push.Bulk, Request: r, Created: now, Start: r.Policy.Start(now), Expires: expiry(r.Policy, app, now)}
	named, _, few, err := d.resolve(ctx, r)
	if err != nil {
		return false, err
	}
	t, err := d.text(ctx, r)
	if err == nil {
		_, _, err = t.payloads(p, named)
	}
	return few && direct(r) && r.Policy.Recurring == nil, err
}
