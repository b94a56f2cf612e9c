package dispatch

import (
	"context"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Count answers whom r would reach if it were sent now. It changes nothing.
func (d *Dispatcher) Count(_ context.Context, r push.Request) (push.Count, error) {
	const op = "dispatch.Count"
	app, err := d.Audience.App(r.App)
	if err != nil {
		return push.Count{}, push.Wrap(op, err)
	}
	if err := validate(r, app, d.opts.Now()); err != nil {
		return push.Count{}, push.Wrap(op, err)
	}
	if r.Audience.Direct() {
		if _, _, err := d.resolve(r); err != nil {
			return push.Count{}, push.Wrap(op, err)
		}
	}
	target, unknown := d.target(r)
	c := push.Count{
		Target:      target.Len() + unknown,
		Online:      target.And(d.Presence.Online(r.App)),
		Blacklisted: target.And(d.Audience.Blacklisted(r.App)),
		Platforms:   map[string]int{},
		Channels:    map[string]int{"own": target.Len()},
	}
	for _, p := range push.Platforms() {
		if n := target.And(d.Audience.Everybody(r.App, []push.Platform{p})); n > 0 {
			c.Platforms[p.String()] = n
		}
	}
	return c, nil
}

// target returns the devices that r is for now, and how many of its names are no device of the app. The caller owns the
// set.
func (d *Dispatcher) target(r push.Request) (target *ordset.Set, unknown int) {
	if r.Audience.Direct() {
		var named []push.Named
		named, unknown = d.Audience.Resolve(r.App, r.Audience.Devices, r.Audience.Platforms)
		target = new(ordset.Set)
		for _, n := range named {
			target.Add(n.Ordinal)
		}
	} else {
		target = d.Audience.Everybody(r.App, r.Audience.Platforms)
	}
	if r.Policy.Test {
		target.Intersect(d.Audience.Test(r.App))
	}
	return target, unknown
}
