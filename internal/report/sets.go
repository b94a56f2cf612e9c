package report

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// sets are the marks of one bulk push. Their lock is taken after the ledger's, or alone: whoever counts them holds nobody
// else up.
type sets struct {
	mu     sync.Mutex // guards what follows
	loaded bool       // whether byMark holds what the record knows, not only what came since
	byMark map[push.Mark]*ordset.Set
	used   time.Time

	// What is in byMark and, as far as is known here, not in the record: since the last fold, and what a fold is writing.
	fresh, folding []noted
}

func newSets() *sets {
	return &sets{byMark: map[push.Mark]*ordset.Set{}, used: time.Now()}
}

// add adds a mark on a device. The caller holds s.mu.
func (s *sets) add(n noted) {
	if s.of(n.mark).Add(n.ordinal) {
		s.fresh = append(s.fresh, n)
	}
}

// of returns the set of m. The caller holds s.mu.
func (s *sets) of(m push.Mark) *ordset.Set {
	set := s.byMark[m]
	if set == nil {
		set = new(ordset.Set)
		s.byMark[m] = set
	}
	return set
}

// load merges what the record knows of a bulk push into s. While p is open, others than the ledger write the sets of it into
// the record, too: then they are loaded anew each time.
func (l *Ledger) load(ctx context.Context, s *sets, p push.Push) error {
	stored, err := l.store.Sets(ctx, p.ID)
	if err != nil {
		return err
	}
	byMark := make(map[push.Mark]*ordset.Set, len(stored))
	for m, chunks := range stored {
		if byMark[m], err = ordset.FromChunks(chunks); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// What is in the record was counted and told when it came there.
	s.fresh = slices.DeleteFunc(s.fresh, func(n noted) bool {
		set := byMark[n.mark]
		return set != nil && set.Has(n.ordinal)
	})
	for m, set := range byMark {
		if have := s.byMark[m]; have != nil {
			set.Union(have)
		}
		s.byMark[m] = set
	}
	s.loaded, s.used = p.State != push.Open && !p.State.Waits(), time.Now()
	return nil
}

// counted calls count with the sets of a bulk push, by mark. It must not keep them.
func (l *Ledger) counted(ctx context.Context, p push.Push, count func(map[push.Mark]*ordset.Set)) error {
	l.mu.Lock()
	s := l.registered(p.ID)
	l.mu.Unlock()
	s.mu.Lock()
	loaded := s.loaded && p.State != push.Open
	s.mu.Unlock()
	if !loaded {
		if err := l.load(ctx, s, p); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = time.Now()
	count(s.byMark)
	return nil
}

// forget drops sets that are as the record has them and that nobody has used for long.
func (l *Ledger) forget(idle time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, s := range l.bulk {
		s.mu.Lock()
		if len(s.fresh) == 0 && len(s.folding) == 0 && time.Since(s.used) > idle {
			delete(l.bulk, id)
		}
		s.mu.Unlock()
	}
}

// union adds set to the set of m, and what of it is new to what a fold will write. It returns how many those were. The
// caller holds s.mu.
func (s *sets) union(m push.Mark, set *ordset.Set, at time.Time) int {
	fresh := set.Clone()
	fresh.Subtract(s.of(m))
	s.byMark[m].Union(fresh)
	n := fresh.Len()
	s.fresh = slices.Grow(s.fresh, n)
	for o := range fresh.All() {
		s.fresh = append(s.fresh, noted{at.UnixMilli(), o, m})
	}
	return n
}

type chunkKey struct {
	mark push.Mark
	key  uint16
}

// chunks returns, as they are now, the chunks that all changed. The caller holds s.mu.
func (s *sets) chunks(id push.ID, all []noted) ([]push.FoldedChunk, error) {
	changed := map[chunkKey]struct{}{}
	var last chunkKey
	for i, n := range all {
		if k := (chunkKey{n.mark, ordset.Key(n.ordinal)}); i == 0 || k != last { // they mostly come together
			changed[k], last = struct{}{}, k
		}
	}
	chunks := make([]push.FoldedChunk, 0, len(changed))
	for k := range changed {
		c, err := s.byMark[k.mark].Chunk(k.key)
		if err != nil {
			return nil, err
		}
		chunks = append(chunks, push.FoldedChunk{Push: id, Mark: k.mark, Chunk: c})
	}
	return chunks, nil
}

// trails divides what was noted of a push by chunk, in order of time.
func trails(p push.Push, all []noted) []push.Trail {
	many := map[uint16]int{}
	for _, n := range all {
		many[ordset.Key(n.ordinal)]++
	}
	byKey := make(map[uint16][]push.TrailMark, len(many))
	for k, n := range many {
		byKey[k] = make([]push.TrailMark, 0, n)
	}
	for _, n := range all {
		k := ordset.Key(n.ordinal)
		byKey[k] = append(byKey[k], push.TrailMark{Ordinal: n.ordinal, Timed: n.timed()})
	}
	out := make([]push.Trail, 0, len(byKey))
	for k, marks := range byKey {
		byTime := func(a, b push.TrailMark) int { return a.At.Compare(b.At) }
		if !slices.IsSortedFunc(marks, byTime) {
			slices.SortStableFunc(marks, byTime)
		}
		out = append(out, push.Trail{Push: p.ID, Day: push.DayOf(p.Expires), Key: k, Marks: marks})
	}
	slices.SortFunc(out, func(a, b push.Trail) int { return cmp.Compare(a.Key, b.Key) })
	return out
}
