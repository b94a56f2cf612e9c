package dispatch

import (
	"context"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Agenda is the timer wheel alone.
type Agenda struct{ a *agenda }

// NewAgenda returns an empty one.
func NewAgenda() Agenda { return Agenda{newAgenda()} }

// Add notes a start.
func (a Agenda) Add(at time.Time, id push.ID) { a.a.add(at, 1, id) }

// Run calls start for what is due until ctx ends.
func (a Agenda) Run(ctx context.Context, now func() time.Time, start func(push.ID)) {
	a.a.run(ctx, now, func(_ context.Context, _ push.AppID, id push.ID) { start(id) })
}

// Sweep ends what has expired, as Run does from time to time.
func (d *Dispatcher) Sweep(ctx context.Context) { d.sweep(ctx) }

// Derive asks for the runs that are due, as Run does from time to time.
func (d *Dispatcher) Derive(ctx context.Context, patience time.Duration) { d.derive(ctx, patience) }
