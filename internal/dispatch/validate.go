package dispatch

import (
	"context"
	"slices"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// validate reports what is wrong with r, and what r asks for that this version does not do: it would rather refuse than
// send to other devices, or at other times, than were meant.
func (d *Dispatcher) validate(ctx context.Context, r push.Request, app push.App, now time.Time) error {
	if err := r.Validate(now, app); err != nil {
		return err
	}
	for _, f := range []struct {
		field string
		asked bool
	}{
		{"message.template", r.Message.Template != nil},
		{"policy.recurring", r.Policy.Recurring != nil},
		{"policy.sms", r.Policy.SMS != nil},
		{"policy.channels", r.Policy.Channels == "vendor"},
		{"policy.network", r.Policy.Network != "" && r.Policy.Network != push.AnyNetwork},
		{"policy.only", len(r.Policy.Only) > 0 && !slices.Contains(r.Policy.Only, "own")},
		{"message.offline", r.Message.Offline != nil},
		{"message.platforms", r.Message.Variants != nil},
		{"policy.quiet", r.Policy.Quiet == "hold" || r.Policy.Quiet == "drop"},
	} {
		if f.asked {
			return &push.Error{Kind: push.Invalid, Field: f.field, Msg: "is not available in this version"}
		}
	}
	return push.Within("audience", d.Audience.Check(ctx, r.App, r.Audience))
}
