// Package dispatch is the life of a push: it accepts requests, starts what is due, paces it, hands messages to the gateway,
// knows what every device is still owed, and pauses pushes, takes them back and ends them by cancel or expiry.
//
// # Order of things
//
// A push is committed before anybody is told that it was accepted and before anything leaves. Afterwards it is posted to
// the gateway, which may lose the post: what a device is owed stands in the record (direct pushes: inbox rows) or in the
// live sets (bulk: target without what is settled, and of a paced push up to its released cursor), and a device that
// connects is given it from there. Receipts settle a device only after their commit. A paced push commits its cursor
// before it releases a device below it. Withdrawing (cancel, recall, expiry, pause) is a barrier at the gateway first,
// then a commit, then the answer.
//
// A commit whose outcome is not known is looked up, at once or later: nothing here believes what it was not told.
package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/agenda"
	"github.com/carillonpush/carillon/internal/live"
	"github.com/carillonpush/carillon/internal/push"
)

// Ports are the rooms that a Dispatcher works with. All are needed.
type Ports struct {
	Record    Record
	Inbox     Inbox
	Inboxes   Inboxes
	Receipts  Receipts
	Bulk      Bulk
	Changing  Changing
	Marks     Marks
	Admission Admission
	Templates Templates
	Gateway   Gateway
	Presence  Presence
	Audience  Audience
	Census    Census
	NextID    func() push.ID // unique and growing, also across restarts
}

// Options changes how a Dispatcher works. The zero Options is the default.
type Options struct {
	Now        func() time.Time // nil means time.Now
	Log        *slog.Logger     // nil discards
	Observe    Observer         // counts for metrics; its nil functions are not called
	LiveMemory int64            // bytes that the live sets may use; 0 means internal/live's default
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

	bulks    *bulks // what is not over
	sets     *live.Sets
	held     held // direct pushes that are paused
	waiting  *waiting
	maybes   maybes
	agenda   *agenda.Agenda[key]
	turns    stripes // one a push (by id): its run, its changes and its end exclude each other
	collapse stripes // one a collapse id: of two pushes with the same, one begins first
}

// A key names a push.
type key struct {
	app push.AppID
	id  push.ID
}

// New returns a Dispatcher that has started nothing yet. opts may be nil.
func New(p Ports, opts *Options) *Dispatcher {
	d := &Dispatcher{Ports: p, bulks: newBulks(), waiting: newWaiting(), agenda: agenda.New[key]()}
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
	d.sets = live.New(&live.Options{Budget: d.opts.LiveMemory})
	return d
}

// LiveBytes returns what the sets of live pushes take of Options.LiveMemory.
func (d *Dispatcher) LiveBytes() int64 { return d.sets.Used() }

// Load reads from the record which pushes are live or paused, and for which devices rows wait.
func (d *Dispatcher) Load(ctx context.Context) error {
	const op = "dispatch.Load"
	err := d.Bulk.Live(ctx, func(row push.Live) error {
		_, err := d.adopt(row)
		return err
	})
	if err != nil {
		return push.Wrap(op, err)
	}
	paused, err := d.Inboxes.Held(ctx, d.opts.Now())
	if err != nil {
		return push.Wrap(op, err)
	}
	for _, p := range paused {
		d.held.add(p, nil) // nobody is connected yet, so there is nothing for a barrier to hold back
	}
	return push.Wrap(op, d.Inbox.Waiting(ctx, d.waiting.add))
}

const (
	sweepEvery   = 10 * time.Second
	deriveEvery  = time.Minute
	releaseEvery = time.Second
	sweepSlice   = 1000 // rows a commit

	// doubtFor is how long a push whose commit was not answered may still be committed: more than any commit takes.
	doubtFor = 2 * time.Minute

	// runs is how many pushes begin, or make their first pass, at once. One that reads a long file takes seconds.
	runs = 8
)

// Run starts what is due, paces what has begun and ends what has expired, until ctx ends. It then returns nil.
func (d *Dispatcher) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	slots := make(chan struct{}, runs)
	wg.Go(func() {
		d.agenda.Run(ctx, d.opts.Now, func(ctx context.Context, k key) {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			wg.Go(func() {
				b := d.run(ctx, k)
				<-slots
				if b != nil { // hours, perhaps: it takes nobody's slot
					d.pass(ctx, b)
				}
			})
		})
	})
	wg.Go(func() { every(ctx, sweepEvery, d.sweep) })
	wg.Go(func() { every(ctx, releaseEvery, d.release) })
	wg.Go(func() {
		d.derive()
		every(ctx, deriveEvery, func(context.Context) { d.derive() })
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

// derive has the agenda run every push whose run is not complete: what a crash, or a failure, left undone. A run too many
// does no harm.
func (d *Dispatcher) derive() {
	for _, b := range d.bulks.filter((*bulk).unfinished) {
		d.agenda.Add(b.push.Start, b.key())
	}
}

// due has the first pass of a bulk push made when its time has come.
func (d *Dispatcher) due(b *bulk) { d.agenda.Add(b.push.Start, b.key()) }

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
			d.sets.Settle(r.App, r.Push, r.Ordinal)
		}
		d.opts.Observe.Settled(kind, r.Mark, 1)
	}
}

// stripes are locks that are shared by many keys, so that there need not be one each.
type stripes [64]sync.Mutex

// lock locks the stripe of n, and returns the function that unlocks it.
func (s *stripes) lock(n uint64) (unlock func()) {
	mu := &s[n*0x9e3779b97f4a7c15>>58] // the lower bits of most ids are alike
	mu.Lock()
	return mu.Unlock
}

// turn locks what may happen to one push only one at a time, and returns the function that unlocks it. Nobody who has one
// turn asks for another: two pushes may share it.
func (d *Dispatcher) turn(id push.ID) (unlock func()) { return d.turns.lock(uint64(id)) }

// patient returns a context for what must not be left half known because a caller went away: it ends by itself.
func patient(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
}

func conflict(op, msg string) error { return &push.Error{Op: op, Kind: push.Conflict, Msg: msg} }

func is(err error, k push.Kind) bool { return errors.Is(err, k) }

// unknown reports whether err leaves open whether something was committed.
func unknown(err error) bool { return is(err, push.Unavailable) && !errors.Is(err, push.ErrNotQueued) }
