// Package report keeps the account of what happened: which marks hold for which push on which device, since when, what
// that sums up to, and who is told of it.
//
// Receipts reach it after the commit that made them durable. What has come since the last fold is in memory; a fold
// moves it into the record's sets (bulk pushes) and outcomes (direct ones) and shortens the receipt log. Marks are bits
// that only grow, so applying or folding a receipt twice changes nothing, and every count is exact at any moment.
//
// What is not a bit, and would be counted twice, is what a fold adds beside them: when (trails and times), sums (totals)
// and what webhooks are told (batches). It is made of what is new to the record only, and is in the same commit as the bits
// that make it new. So a fold that a crash interrupts goes on where its last commit ended.
package report

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Options changes how a Ledger works. The zero Options is the default. Its functions must be safe for concurrent use; what
// they are given is theirs to keep, not to change.
type Options struct {
	Every time.Duration // between folds; 0 means 2s
	Idle  time.Duration // how long sets stay in memory after their last receipt; 0 means 10m
	Log   *slog.Logger  // nil discards

	// BeforeFold is called at the beginning of a fold. Receipts that were applied before are lost to the log when the fold
	// ends. An error ends the fold. Nil does nothing.
	BeforeFold func(ctx context.Context) error
	// Wanted returns the webhooks of app. Nil: there are none. It does no I/O.
	Wanted func(app push.AppID) []push.Webhook
	// Batched is called after a commit that made batches for a webhook. Nil does nothing. It does no I/O.
	Batched func(app push.AppID, id push.WebhookID)
	// Happened is called after a commit with what was new in it, in order of time. Nil does nothing. It does no I/O.
	Happened func(app push.AppID, all []push.Happening)
	// Followed reports whether Happened is of use for app now; if not, what happens is not collected for it. Nil: it always is.
	Followed func(app push.AppID) bool
	// Zone returns the time zone of app, in which totals have days. Nil is UTC.
	Zone func(app push.AppID) *time.Location
}

// A Ledger answers what became of a push. It is safe for concurrent use.
type Ledger struct {
	store   Store
	details Details
	opts    Options
	most    limits
	full    chan struct{} // has one when so much waits to be folded that it must not wait longer

	folds sync.Mutex // one fold at a time; guards doubt
	doubt bool       // whether the last fold failed, perhaps after it was written

	mu      sync.Mutex // guards what follows
	seq     int64      // of the last row of the receipt log that was applied
	folded  int64      // up to which rows of the log are folded
	waiting int        // receipts since the last fold
	bulk    map[push.ID]*sets
	tail    tail // of direct pushes since the last fold
	folding tail // and what a fold is writing now
	ends    []noticed
}

// limits are how much is done at a time.
type limits struct {
	waiting  int // receipts that may wait before they are folded without waiting for the time: 16 bytes each
	outcomes int // of one commit of a fold: others must get between
	marks    int // of bulk pushes in one commit, before it is closed: those of one push are not divided
	devices  int // that Mark takes at once
}

var defaults = limits{waiting: 200_000, outcomes: 2000, marks: 100_000, devices: 200_000}

// A noted is a mark on a device, and when it was committed.
type noted struct {
	at      int64 // Unix milliseconds
	ordinal push.Ordinal
	mark    push.Mark
}

func (n noted) timed() push.Timed {
	return push.Timed{Mark: n.mark, At: time.UnixMilli(n.at).UTC()}
}

// tail is what was noted of direct pushes, in the order of the log.
type tail map[push.ID]*direct

type direct struct {
	app   push.AppID
	day   push.Day
	noted []noted
}

// A noticed is a receipt that is of no device, when it was committed, and in which row of the log.
type noticed struct {
	push.Receipt
	at  time.Time
	seq int64
}

// New returns a Ledger over store and details. opts may be nil. Load brings it up to date.
func New(store Store, details Details, opts *Options) *Ledger {
	l := &Ledger{
		store: store, details: details, most: defaults, full: make(chan struct{}, 1), bulk: map[push.ID]*sets{}, tail: tail{},
	}
	if opts != nil {
		l.opts = *opts
	}
	l.opts.fill()
	return l
}

func (o *Options) fill() {
	if o.Every == 0 {
		o.Every = 2 * time.Second
	}
	if o.Idle == 0 {
		o.Idle = 10 * time.Minute
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.BeforeFold == nil {
		o.BeforeFold = func(context.Context) error { return nil }
	}
	if o.Wanted == nil {
		o.Wanted = func(push.AppID) []push.Webhook { return nil }
	}
	if o.Batched == nil {
		o.Batched = func(push.AppID, push.WebhookID) {}
	}
	if o.Followed == nil {
		o.Followed = func(push.AppID) bool { return true }
	}
	if o.Zone == nil {
		o.Zone = func(push.AppID) *time.Location { return time.UTC }
	}
}

// Load applies the receipts that were never folded, and folds them. It is called once, before the first Apply.
func (l *Ledger) Load(ctx context.Context) error {
	err := l.store.Unfolded(ctx, func(row push.Logged) error {
		l.Apply(row)
		select {
		case <-l.full:
			return l.Fold(ctx)
		default:
			return nil
		}
	})
	if err != nil {
		return push.Wrap("report.Load", err)
	}
	return l.Fold(ctx)
}

// Run folds at intervals until ctx ends, then once more.
func (l *Ledger) Run(ctx context.Context) error {
	tick := time.NewTicker(l.opts.Every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-l.full:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			return l.Fold(last)
		}
		if err := l.Fold(ctx); err != nil && ctx.Err() == nil {
			l.opts.Log.Warn("fold failed, will be tried again", "err", err)
		}
	}
}

// Apply takes note of receipts that are durable. Rows arrive in the order of the log. It does no I/O.
func (l *Ledger) Apply(row push.Logged) {
	now, at := time.Now(), row.At.UnixMilli()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq = max(l.seq, row.Seq)
	for _, r := range row.Receipts {
		switch {
		case r.Mark == push.MarkFinished:
			l.ends = append(l.ends, noticed{r, row.At, row.Seq})
		case r.Day != 0:
			l.tail.add(r, at)
		default:
			s := l.registered(r.Push)
			s.mu.Lock()
			s.used = now
			s.add(noted{at, r.Ordinal, r.Mark})
			s.mu.Unlock()
		}
	}
	l.count(len(row.Receipts))
}

// count counts receipts that wait for a fold. The caller holds l.mu.
func (l *Ledger) count(n int) {
	if l.waiting += n; l.waiting < l.most.waiting {
		return
	}
	select {
	case l.full <- struct{}{}:
	default:
	}
}

// registered returns the sets of a bulk push, new ones if there are none. The caller holds l.mu.
func (l *Ledger) registered(id push.ID) *sets {
	s := l.bulk[id]
	if s == nil {
		s = newSets()
		l.bulk[id] = s
	}
	return s
}

func (t tail) add(r push.Receipt, at int64) {
	d := t[r.Push]
	if d == nil {
		d = &direct{app: r.App, day: r.Day}
		t[r.Push] = d
	}
	d.noted = append(d.noted, noted{at, r.Ordinal, r.Mark})
}

// unfolded returns what is not in the record yet of a direct push, in order of time.
func (l *Ledger) unfolded(id push.ID) []noted {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []noted
	for _, part := range []tail{l.folding, l.tail} {
		if d := part[id]; d != nil {
			all = append(all, d.noted...)
		}
	}
	return all
}
