package dispatch

import (
	"context"
	"slices"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Count answers whom r would reach if it were sent now. It changes nothing.
func (d *Dispatcher) Count(ctx context.Context, r push.Request) (push.Count, error) {
	const op = "dispatch.Count"
	app, err := d.Audience.App(r.App)
	if err != nil {
		return push.Count{}, push.Wrap(op, err)
	}
	now := d.opts.Now()
	if err := d.validate(ctx, r, app, now); err != nil {
		return push.Count{}, push.Wrap(op, err)
	}
	target, unknown, err := d.target(ctx, r)
	if err == nil && r.Audience.Named() && target.Empty() && !r.Policy.Test && !r.AllowUnknown {
		err = nobody(r.Audience)
	}
	if err != nil {
		return push.Count{}, push.Wrap(op, err)
	}
	tally := d.Census.Tally(r.App, target)
	c := push.Count{
		Target:      target.Len() + unknown,
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
	if r.Audience.Named() && r.Policy.StartAt == nil && target.Len() <= push.MaxDirect { // a direct push: it goes through inboxes
		c.OverLimit, err = d.Inbox.Full(ctx, r.App, slices.Collect(target.All()), app.Settings.Int(push.SettingInboxLimit), now)
	}
	return c, push.Wrap(op, err)
}

// target returns the devices that r is for now, and how many of its names stand for none. The caller owns the set.
func (d *Dispatcher) target(ctx context.Context, r push.Request) (target *ordset.Set, unknown int, err error) {
	target, unknown, err = d.Audience.Target(ctx, r.App, r.Audience)
	if err != nil || !r.Policy.Test {
		return target, unknown, push.Within("audience", err)
	}
	test, err := d.Audience.Select(ctx, r.App, push.Is(push.WhereFlag{Flag: push.FlagTest, Value: true}))
	if err != nil {
		return nil, 0, err
	}
	target.Intersect(test)
	return target, unknown, nil
}
