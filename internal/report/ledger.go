// Package report keeps the account of what happened: which marks hold for which push on which device.
//
// Receipts reach it after the commit that made them durable. What has come since the last fold is in memory; a fold
// moves it into the record's sets (bulk pushes) and outcomes (direct ones) and shortens the receipt log. Marks are bits
// that only grow, so applying or folding a receipt twice changes nothing, and every count is exact at any moment.
package report

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Options changes how a Ledger works. The zero Options is the default.
type Options struct {
	Every time.Duration // between folds; 0 means 2s
	Idle  time.Duration // how long sets stay in memory after their last receipt; 0 means 10m
	Log   *slog.Logger  // nil discards
}

// A Ledger answers what became of a push. It is safe for concurrent use.
type Ledger struct {
	store Store
	opts  Options

	folds sync.Mutex // one fold at a time

	mu      sync.Mutex // guards what follows
	seq     int64      // of the last row of the receipt log that was applied
	bulk    map[push.ID]*sets
	tail    outcomes // direct marks since the last fold
	folding outcomes // direct marks that a fold is writing now
}

type outcomes map[push.ID]*outcome

type outcome struct {
	day    push.Day
	marked map[push.Ordinal]push.Marked
}

// sets are the marks of one bulk push.
type sets struct {
	loaded bool // whether byMark holds what the record knows, not only what came since
	byMark map[push.Mark]*ordset.Set
	dirty  map[chunkKey]struct{} // changed since the last fold
	used   time.Time
}

type chunkKey struct {
	mark push.Mark
	key  uint16
}

// New returns a Ledger over store. opts may be nil. Load brings it up to date.
func New(store Store, opts *Options) *Ledger {
	l := &Ledger{store: store, bulk: map[push.ID]*sets{}, tail: outcomes{}}
	if opts != nil {
		l.opts = *opts
	}
	if l.opts.Every == 0 {
		l.opts.Every = 2 * time.Second
	}
	if l.opts.Idle == 0 {
		l.opts.Idle = 10 * time.Minute
	}
	if l.opts.Log == nil {
		l.opts.Log = slog.New(slog.DiscardHandler)
	}
	return l
}

// Load applies the receipts that were never folded, and folds them. It is called once, before the first Apply.
func (l *Ledger) Load(ctx context.Context) error {
	err := l.store.Unfolded(ctx, func(row push.Logged) error {
		l.Apply(row)
		return nil
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
			if err := l.Fold(ctx); err != nil && ctx.Err() == nil {
				l.opts.Log.Warn("fold failed, will be tried again", "err", err)
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			return l.Fold(last)
		}
	}
}

// Apply takes note of receipts that are durable. Rows arrive in the order of the log. It does no I/O.
func (l *Ledger) Apply(row push.Logged) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq = max(l.seq, row.Seq)
	for _, r := range row.Receipts {
		if r.Day != 0 {
			l.tail.add(r)
			continue
		}
		s := l.bulk[r.Push]
		if s == nil {
			s = newSets()
			l.bulk[r.Push] = s
		}
		s.used = now
		s.add(r)
	}
}

func (t outcomes) add(r push.Receipt) {
	o := t[r.Push]
	if o == nil {
		o = &outcome{day: r.Day, marked: map[push.Ordinal]push.Marked{}}
		t[r.Push] = o
	}
	o.marked[r.Ordinal] = o.marked[r.Ordinal].With(r.Mark)
}

func newSets() *sets {
	return &sets{byMark: map[push.Mark]*ordset.Set{}, dirty: map[chunkKey]struct{}{}}
}

func (s *sets) add(r push.Receipt) {
	set := s.byMark[r.Mark]
	if set == nil {
		set = new(ordset.Set)
		s.byMark[r.Mark] = set
	}
	if set.Add(r.Ordinal) {
		s.dirty[chunkKey{r.Mark, uint16(r.Ordinal >> 16)}] = struct{}{}
	}
}

// Fold moves what was applied so far into the record.
func (l *Ledger) Fold(ctx context.Context) error {
	l.folds.Lock()
	defer l.folds.Unlock()
	for _, id := range l.unloaded() {
		if err := l.load(ctx, id); err != nil {
			return push.Wrap("report.Fold", err)
		}
	}
	f, err := l.take()
	if err != nil {
		return push.Wrap("report.Fold", err)
	}
	if len(f.Chunks) == 0 && len(f.Outcomes) == 0 {
		return nil
	}
	err = l.store.Fold(ctx, f)

	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.restore(f)
	}
	l.folding = nil
	return push.Wrap("report.Fold", err)
}

// unloaded returns the bulk pushes that have changed but whose earlier sets are still in the record only, and forgets
// those that nobody has used for long.
func (l *Ledger) unloaded() []push.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []push.ID
	for id, s := range l.bulk {
		switch {
		case len(s.dirty) == 0 && time.Since(s.used) > l.opts.Idle:
			delete(l.bulk, id)
		case len(s.dirty) > 0 && !s.loaded:
			ids = append(ids, id)
		}
	}
	return ids
}

// load merges what the record knows of a bulk push into memory.
func (l *Ledger) load(ctx context.Context, id push.ID) error {
	stored, err := l.store.Sets(ctx, id)
	if err != nil {
		return err
	}
	byMark := make(map[push.Mark]*ordset.Set, len(stored))
	for m, chunks := range stored {
		if byMark[m], err = ordset.FromChunks(chunks); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.bulk[id]
	if s == nil {
		s = newSets()
		l.bulk[id] = s
	}
	for m, set := range byMark {
		if have := s.byMark[m]; have != nil {
			set.Union(have)
		}
		s.byMark[m] = set
	}
	s.loaded, s.used = true, time.Now()
	return nil
}

// take returns what has changed since the last fold, and counts it as being folded. Sets that were touched after
// unloaded looked stay dirty, and hold the log back at seq until the next fold.
func (l *Ledger) take() (push.Fold, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := push.Fold{UpTo: l.seq}
	for id, s := range l.bulk {
		if len(s.dirty) > 0 && !s.loaded {
			f.UpTo = 0 // its receipts are in the log only
		}
		if !s.loaded {
			continue
		}
		for k := range s.dirty {
			c, err := s.byMark[k.mark].Chunk(k.key)
			if err != nil {
				return push.Fold{}, err
			}
			f.Chunks = append(f.Chunks, push.FoldedChunk{Push: id, Mark: k.mark, Chunk: c})
		}
		clear(s.dirty)
	}
	for id, o := range l.tail {
		for ord, m := range o.marked {
			f.Outcomes = append(f.Outcomes, push.Outcome{Push: id, Day: o.day, Ordinal: ord, Marked: m})
		}
	}
	l.folding, l.tail = l.tail, outcomes{}
	return f, nil
}

// restore makes what a failed fold took due again. The caller holds mu.
func (l *Ledger) restore(f push.Fold) {
	for _, c := range f.Chunks {
		if s := l.bulk[c.Push]; s != nil {
			s.dirty[chunkKey{c.Mark, c.Chunk.Key}] = struct{}{}
		}
	}
	for id, o := range l.folding {
		have := l.tail[id]
		if have == nil {
			l.tail[id] = o
			continue
		}
		for ord, m := range o.marked {
			have.marked[ord] |= m
		}
	}
}

// unfolded returns the direct marks of a push that are not in the record yet.
func (l *Ledger) unfolded(id push.ID) map[push.Ordinal]push.Marked {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[push.Ordinal]push.Marked{}
	for _, part := range []outcomes{l.folding, l.tail} {
		if o := part[id]; o != nil {
			for ord, m := range o.marked {
				all[ord] |= m
			}
		}
	}
	return all
}

// marks returns copies of the sets of a bulk push, by mark.
func (l *Ledger) marks(ctx context.Context, id push.ID) (map[push.Mark]*ordset.Set, error) {
	l.mu.Lock()
	s := l.bulk[id]
	loaded := s != nil && s.loaded
	l.mu.Unlock()
	if !loaded {
		if err := l.load(ctx, id); err != nil {
			return nil, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[push.Mark]*ordset.Set{}
	if s = l.bulk[id]; s != nil {
		maps.Copy(all, s.byMark)
	}
	for m, set := range all {
		all[m] = set.Clone()
	}
	return all, nil
}
