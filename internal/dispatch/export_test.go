package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Sweep ends what has expired, as Run does from time to time.
func (d *Dispatcher) Sweep(ctx context.Context) { d.sweep(ctx) }

// Release wakes devices for which something is not held any more, as Run does from time to time.
func (d *Dispatcher) Release(ctx context.Context) { d.release(ctx) }

// Derive runs what is due and not complete, as Run does at its start. The pass of a paced push is made at once.
func (d *Dispatcher) Derive(ctx context.Context) error {
	var all error
	for _, b := range d.bulks.filter((*bulk).unfinished) {
		all = errors.Join(all, d.Start(ctx, b.push.App, b.push.ID))
	}
	return all
}

// Start runs one push, as Run does when it is due.
func (d *Dispatcher) Start(ctx context.Context, app push.AppID, id push.ID) error {
	b, err := d.start(ctx, key{app, id})
	if b != nil {
		d.pass(ctx, b)
	}
	return err
}

// Unfinished returns how many pushes are to be run, now or later.
func (d *Dispatcher) Unfinished() int { return len(d.bulks.filter((*bulk).unfinished)) }

// Plan is the planner of a pass alone.
type Plan struct{ *pacer }

// NewPlan returns one whose first device is due at now.
func NewPlan(rate int, now time.Time) Plan { return Plan{newPacer(rate, now)} }

// Next is what it says.
func (p Plan) Next(now time.Time, ready int) (int, time.Duration) { return p.next(now, ready) }
