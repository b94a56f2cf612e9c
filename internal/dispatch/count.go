package dispatch

import (
	"context"
	"slices"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Count answers whom r would reach if it were sent now, or what Accept would refuse r for. It changes nothing, and uses nothing
// up.
func (d *Dispatcher) Count(ctx context.Context, r push.Request) (push.Count, error) {
	const op = "dispatch.Count"
	app, err := d.Audience.App(r.App)
	if err != nil {
		return push.Count{}, push.Wrap(op, err)
	}
	now := d.now()
	direct, err := d.check(ctx, r, app, now)
	if err == nil && !direct && !d.sets.Room() {
		err = noRoom()
	}
	if err != nil {
		return push.Count{}, push.Wrap(op, err)
	}
	target, unknown := new(ordset.Set), 0
	if said(r.Audience) {
		target, unknown, err = d.target(ctx, r)
	}
	if err != nil {
		return push.Count{}, push.Wrap(op, err)
	}
	tally := d.Census.Tally(r.App, target)
	c := push.Count{
		Target:      target.Len() + unknown,
		Unknown:     unknown,
		Online:      target.And(d.Presence.Online(r.App)),
		Blacklisted: tally.Blacklisted,
		Platforms:   map[string]int{},
		Channels:    map[string]int{"own": target.Len()},
	}
	for p, n := range tally.Platforms {
		c.Platforms[p.String()] = n
	}
	for channel, n := range tally.Tokens {
		c.Channels[channel] = n
	}
	if direct { // it goes through inboxes
		c.OverLimit, err = d.Inboxes.Full(ctx, r.App, slices.Collect(target.All()), app.Settings.Int(push.SettingInboxLimit), now)
	}
	return c, push.Wrap(op, err)
}

// target returns the devices that r is for now, and how many of its names stand for none. The caller owns the set.
func (d *Dispatcher) target(ctx context.Context, r push.Request) (*ordset.Set, int, error) {
	target, unknown, err := d.named(ctx, r)
	if err != nil {
		return nil, 0, err
	}
	return target, unknown, d.forTests(ctx, r, target)
}

// named returns the devices that r's audience names, and how many of its names stand for none.
func (d *Dispatcher) named(ctx context.Context, r push.Request) (*ordset.Set, int, error) {
	target, unknown, err := d.Audience.Target(ctx, r.App, r.Audience)
	return target, unknown, push.Within("audience", err)
}

// forTests leaves the test devices in target, if r is in test mode.
func (d *Dispatcher) forTests(ctx context.Context, r push.Request, target *ordset.Set) error {
	if !r.Policy.Test {
		return nil
	}
	test, err := d.Audience.Select(ctx, r.App, push.Is(push.WhereFlag{Flag: push.FlagTest, Value: true}))
	if err == nil {
		target.Intersect(test)
	}
	return err
}
