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

// sets are the marks of one bulk push. Their lock is taken after the ledger's, or alone: whoever counts them holds nobody
// else up.
type sets struct {
	mu     sync.Mutex // guards what follows
	loaded bool       // whether byMark holds what the record knows, not only what came since
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
		s.mu.Lock()
		s.used = now
		s.add(r)
		s.mu.Unlock()
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
	return &sets{byMark: map[push.Mark]*ordset.Set{}, dirty: map[chunkKey]struct{}{}, used: time.Now()}
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

// foldSlice is how many outcomes one commit of a fold writes: others must get between.
const foldSlice = 2000

// Fold moves what was applied so far into the record. The log is shortened by the last of its commits, so that one that is
// interrupted is done again.
func (l *Ledger) Fold(ctx context.Context) error {
	const op = "report.Fold"
	l.folds.Lock()
	defer l.folds.Unlock()
	seq := l.begin()
	chunks, err := l.chunks(ctx)
	if err == nil {
		err = l.write(ctx, push.Fold{UpTo: seq, Chunks: chunks})
	}
	l.end(chunks, err)
	return push.Wrap(op, err)
}

// write hands f to the record with the outcomes that are being folded, in slices.
func (l *Ledger) write(ctx context.Context, f push.Fold) error {
	for id, o := range l.folding { // only a fold changes it
		for ord, m := range o.marked {
			if len(f.Outcomes) == foldSlice {
				if err := l.store.Fold(ctx, push.Fold{Outcomes: f.Outcomes}); err != nil {
					return err
				}
				f.Outcomes = nil // not reused: after a time-out the record may still write it
			}
			f.Outcomes = append(f.Outcomes, push.Outcome{Push: id, Day: o.day, Ordinal: ord, Marked: m})
		}
	}
	if len(f.Chunks) == 0 && len(f.Outcomes) == 0 {
		return nil
	}
	return l.store.Fold(ctx, f)
}

// begin takes the direct marks for a fold and returns how far the log is applied.
func (l *Ledger) begin() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.folding, l.tail = l.tail, outcomes{}
	return l.seq
}

// chunks returns the parts of sets that have changed, also those that it took before it failed. Sets that are in the record
// only are merged first, and those that nobody has used for long are forgotten.
func (l *Ledger) chunks(ctx context.Context) (all []push.FoldedChunk, err error) {
	l.mu.Lock()
	bulk := maps.Clone(l.bulk)
	l.mu.Unlock()
	for id, s := range bulk {
		s.mu.Lock()
		dirty, loaded, idle := len(s.dirty) > 0, s.loaded, time.Since(s.used) > l.opts.Idle
		s.mu.Unlock()
		switch {
		case !dirty && idle:
			l.forget(id)
			continue
		case dirty && !loaded:
			if err := l.load(ctx, id); err != nil {
				return all, err
			}
		}
		if all, err = s.take(id, all); err != nil {
			return all, err
		}
	}
	return all, nil
}

// forget drops sets that are still as the record has them.
func (l *Ledger) forget(id push.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.bulk[id]
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.dirty) == 0 {
		delete(l.bulk, id)
	}
}

// take appends the parts of s that have changed to all, and counts them as written.
func (s *sets) take(id push.ID, all []push.FoldedChunk) ([]push.FoldedChunk, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.dirty {
		c, err := s.byMark[k.mark].Chunk(k.key)
		if err != nil {
			return all, err
		}
		all = append(all, push.FoldedChunk{Push: id, Mark: k.mark, Chunk: c})
		delete(s.dirty, k)
	}
	return all, nil
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
	s := l.sets(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	for m, set := range byMark {
		if have := s.byMark[m]; have != nil {
			set.Union(have)
		}
		s.byMark[m] = set
	}
	s.loaded, s.used = true, time.Now()
	return nil
}

// sets returns the sets of a bulk push, new ones if there are none.
func (l *Ledger) sets(id push.ID) *sets {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.bulk[id]
	if s == nil {
		s = newSets()
		l.bulk[id] = s
	}
	return s
}

// end ends a fold. What a failed one took is due again.
func (l *Ledger) end(chunks []push.FoldedChunk, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		for _, c := range chunks {
			if s := l.bulk[c.Push]; s != nil {
				s.mu.Lock()
				s.dirty[chunkKey{c.Mark, c.Chunk.Key}] = struct{}{}
				s.mu.Unlock()
			}
		}
		for id, o := range l.folding {
			l.tail.merge(id, o)
		}
	}
	l.folding = nil
}

// merge adds the marks of one push.
func (t outcomes) merge(id push.ID, o *outcome) {
	have := t[id]
	if have == nil {
		t[id] = o
		return
	}
	for ord, m := range o.marked {
		have.marked[ord] |= m
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

// counted calls count with the sets of a bulk push, by mark. It must not keep them.
func (l *Ledger) counted(ctx context.Context, id push.ID, count func(map[push.Mark]*ordset.Set)) error {
	s := l.sets(id)
	s.mu.Lock()
	loaded := s.loaded
	s.mu.Unlock()
	if !loaded {
		if err := l.load(ctx, id); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = time.Now()
	count(s.byMark)
	return nil
}
