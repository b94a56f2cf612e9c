// Package dispatch is the life of a push: it accepts requests, starts what is due, hands messages to the gateway, knows
// what every device is still owed, and ends pushes by cancel or expiry.
//
// # Order of things
//
// A push is committed before anybody is told that it was accepted and before anything leaves. Afterwards it is posted to
// the gateway, which may lose the post: what a device is owed stands in the record (direct pushes: inbox rows) or in the
// live pushes (bulk: target without what is settled), and a device that connects is given it from there. Receipts settle
// a device only after their commit. Withdrawing is a barrier at the gateway first, then a commit, then the answer.
package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Ports are the rooms that a Dispatcher works with. All are needed.
type Ports struct {
	Record   Record
	Inbox    Inbox
	Receipts Receipts
	Bulk     Bulk
	Gateway  Gateway
	Presence Presence
	Audience Audience
	Census   Census
	Jobs     Jobs
	NextID   func() push.ID // unique and growing, also across restarts
}

// Options changes how a Dispatcher works. The zero Options is the default.
type Options struct {
	Now     func() time.Time // nil means time.Now
	Log     *slog.Logger     // nil discards
	Observe Observer         // counts for metrics; its nil functions are not called
}

// An Observer is told what happened, for metrics. Its functions must be fast and safe for concurrent use.
type Observer struct {
	Accepted func(kind push.PushKind, origin string)
	Settled  func(kind push.PushKind, m push.Mark, n int) // n devices were delivered to, or dropped under m
}

// A Dispatcher is safe for concurrent use. Load it before the gateway takes connections, then Run it.
type Dispatcher struct {
	Ports
	opts Options

	live    *lives
	waiting *waiting
	maybes  maybes
	agenda  *agenda
	turns   [64]sync.Mutex // one a push (by id): its run and its end exclude each other
}

// New returns a Dispatcher that has started nothing yet. opts may be nil.
func New(p Ports, opts *Options) *Dispatcher {
	d := &Dispatcher{Ports: p, live: newLives(), waiting: newWaiting(), agenda: newAgenda()}
	if opts != nil {
		d.opts = *opts
	}
	if d.opts.Now == nil {
		d.opts.Now = time.Now
	}
	if d.opts.Log == nil {
		d.opts.Log = slog.New(slog.DiscardHandler)
	}
	if d.opts.Observe.Accepted == nil {
		d.opts.Observe.Accepted = func(push.PushKind, string) {}
	}
	if d.opts.Observe.Settled == nil {
		d.opts.Observe.Settled = func(push.PushKind, push.Mark, int) {}
	}
	return d
}

// Load reads from the record which pushes are live and for which devices rows wait.
func (d *Dispatcher) Load(ctx context.Context) error {
	err := d.Bulk.Live(ctx, func(l push.Live) error { return d.adopt(l) })
	if err == nil {
		err = d.Inbox.Waiting(ctx, func(app push.AppID, o push.Ordinal) { d.waiting.add(app, o) })
	}
	return push.Wrap("dispatch.Load", err)
}

const (
	sweepEvery  = 10 * time.Second
	deriveEvery = time.Minute
	sweepSlice  = 1000 // rows a commit

	// doubtFor is how long a push whose commit was not answered may still be committed: more than any commit takes.
	doubtFor = 2 * time.Minute

	// patience is how long a push may be due before its wake-up counts as lost, perhaps with the node that had taken it.
	patience = 2 * time.Minute
)

// Run starts what is due and ends what has expired, until ctx ends. It then returns nil.
func (d *Dispatcher) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { d.agenda.run(ctx, d.opts.Now, d.wake) })
	wg.Go(func() { every(ctx, sweepEvery, d.sweep) })
	wg.Go(func() {
		d.derive(ctx, 0) // what a crash interrupted: no wake-up of it can be trusted
		every(ctx, deriveEvery, func(ctx context.Context) { d.derive(ctx, patience) })
	})
	wg.Wait()
	return nil
}

func every(ctx context.Context, period time.Duration, do func(context.Context)) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			do(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// wake asks for the run of a push that is due. If that fails, derive will ask again.
func (d *Dispatcher) wake(ctx context.Context, app push.AppID, id push.ID) {
	if err := d.Jobs.Wake(ctx, app, id); err != nil && ctx.Err() == nil {
		d.opts.Log.Warn("wake-up failed, will be asked for again", "push", id, "err", err)
	}
}

// derive asks for the run of every push whose run is due and not complete: wake-ups are hints, and hints get lost. What
// has been due for longer than patience it starts itself; a run that is under way elsewhere does no harm.
func (d *Dispatcher) derive(ctx context.Context, patience time.Duration) {
	now := d.opts.Now()
	for _, l := range d.live.unfinished() {
		if ctx.Err() != nil {
			return
		}
		p := l.push
		switch late := now.Sub(p.Start); {
		case late < 0:
			d.agenda.add(p.Start, p.App, p.ID)
		case late < patience:
			d.wake(ctx, p.App, p.ID)
		default:
			if err := d.Start(ctx, p.App, p.ID); err != nil && ctx.Err() == nil {
				d.opts.Log.Warn("start failed, will be tried again", "push", p.ID, "err", err)
			}
		}
	}
}

// turn locks what may happen to one push only one at a time, and returns the function that unlocks it.
func (d *Dispatcher) turn(id push.ID) func() {
	mu := &d.turns[uint64(id)*0x9e3779b97f4a7c15>>58] // the lower bits of most ids are alike
	mu.Lock()
	return mu.Unlock
}

// Settled takes note of receipts that are durable: their devices are not owed those pushes any more. Call it after each
// commit, in order; it does no I/O.
func (d *Dispatcher) Settled(receipts []push.Receipt) {
	for _, r := range receipts {
		if r.Mark != push.MarkDelivered && r.Mark.Reason() == "" {
			continue
		}
		kind := push.Direct
		if r.Day == 0 {
			kind = push.Bulk
			d.live.settle(r.App, r.Push, r.Ordinal)
		}
		d.opts.Observe.Settled(kind, r.Mark, 1)
	}
}

// Event records what a device says of a push, and returns when that is durable. NotFound if the device is not in the
// push's target.
func (d *Dispatcher) Event(ctx context.Context, ref push.Ref, id push.ID, m push.Mark) error {
	const op = "dispatch.Event"
	if l := d.live.get(ref.App, id); l != nil && l.targets(ref.Ordinal) {
		return push.Wrap(op, d.Receipts.Receive(ctx, l.delivery.Receipt(ref.Ordinal, m)))
	}
	p, err := d.Record.Find(ctx, ref.App, id)
	if err != nil {
		return push.Wrap(op, err)
	}
	in, err := d.Receipts.Targeted(ctx, p, ref.Ordinal)
	switch {
	case err != nil:
		return push.Wrap(op, err)
	case !in:
		return &push.Error{Op: op, Kind: push.NotFound, Field: "push", Msg: "no such push for this device"}
	}
	delivery := push.Delivery{ID: p.ID, App: p.App, Kind: p.Kind, Expires: p.Expires}
	return push.Wrap(op, d.Receipts.Receive(ctx, delivery.Receipt(ref.Ordinal, m)))
}

// Removed drops what a removed device was owed: it is unregistered.
func (d *Dispatcher) Removed(ctx context.Context, ref push.Ref) error {
	const page = 200
	for {
		var dropped []push.Receipt
		owed, err := d.Owed(ctx, ref, page, func(push.ID) bool { return false })
		if err != nil || len(owed) == 0 {
			return push.Wrap("dispatch.Removed", err)
		}
		for _, o := range owed {
			dropped = append(dropped, o.Receipt(ref.Ordinal, push.MarkUnregistered))
		}
		if err := d.Receipts.Receive(ctx, dropped...); err != nil {
			return push.Wrap("dispatch.Removed", err)
		}
		if len(owed) < page {
			return nil
		}
	}
}

// patient returns a context for what must not be left half known because a caller went away: it ends by itself.
func patient(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
}

func conflict(op, msg string) error { return &push.Error{Op: op, Kind: push.Conflict, Msg: msg} }

func is(err error, k push.Kind) bool { return errors.Is(err, k) }
