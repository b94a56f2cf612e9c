package report_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/report"
)

var (
	_ report.Store   = (*memStore)(nil)
	_ report.Details = (*memStore)(nil)
)

// memStore keeps the contracts of report.Store and report.Details in memory. The log is what the record's commits append to.
type memStore struct {
	mu       sync.Mutex // guards what follows
	log      []push.Logged
	seq      int64
	sets     map[push.ID]map[push.Mark]map[uint16]push.Chunk
	outcomes map[push.ID]map[push.Ordinal]push.Marked
	targets  map[push.ID][]push.Ordinal
	pushes   map[push.ID]push.Push
	counted  map[push.ID]push.Report
	trail    map[push.ID]map[push.Ordinal][]push.Timed
	totals   map[push.TotalKey]map[push.Metric]int
	batches  []push.Batch
	commits  int
	failAt   int  // the commit that fails, counted from 1 from now on; 0 is none
	late     bool // what fails has happened all the same
}

var errDisk = errors.New("disk full")

func newMemStore(all ...push.Push) *memStore {
	s := &memStore{
		sets: map[push.ID]map[push.Mark]map[uint16]push.Chunk{}, outcomes: map[push.ID]map[push.Ordinal]push.Marked{},
		targets: map[push.ID][]push.Ordinal{}, pushes: map[push.ID]push.Push{}, counted: map[push.ID]push.Report{},
		trail:  map[push.ID]map[push.Ordinal][]push.Timed{},
		totals: map[push.TotalKey]map[push.Metric]int{},
	}
	for _, p := range all {
		s.pushes[p.ID] = p
	}
	return s
}

// begin makes p one for targets, and counts it as the commit of its accept, or begin, does.
func (s *memStore) begin(p push.Push, zone *time.Location, targets ...push.Ordinal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.Kind == push.Direct {
		s.targets[p.ID] = targets
	} else {
		p.Target = len(targets)
	}
	s.pushes[p.ID] = p
	if p.Request.Message.Recall != 0 {
		return
	}
	for _, key := range p.Request.Keys(push.DayIn(p.Start, zone)) {
		s.add(push.TotalDelta{Key: key, Metric: push.MetricPushes, N: 1})
		s.add(push.TotalDelta{Key: key, Metric: push.MetricTarget, N: len(targets) + p.Unknown})
		s.add(push.TotalDelta{Key: key, Metric: push.MetricUnknown, N: p.Unknown})
	}
}

func (s *memStore) add(d push.TotalDelta) {
	if s.totals[d.Key] == nil {
		s.totals[d.Key] = map[push.Metric]int{}
	}
	s.totals[d.Key][d.Metric] += d.N
}

// commit appends receipts to the log, as a group commit does.
func (s *memStore) commit(rs ...push.Receipt) push.Logged {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	row := push.Logged{Seq: s.seq, At: now.Add(time.Duration(s.seq) * time.Millisecond), Receipts: rs}
	s.log = append(s.log, row)
	return row
}

// fails has the n-th commit from now on fail, though it may have happened.
func (s *memStore) fails(n int, late bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits, s.failAt, s.late = 0, n, late
}

func (s *memStore) Fold(_ context.Context, f push.Fold) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits++
	failed := s.commits == s.failAt
	if failed && !s.late {
		return errDisk
	}
	before := len(s.log)
	s.log = slices.DeleteFunc(s.log, func(r push.Logged) bool { return r.Seq <= f.UpTo })
	// A fold that is written again adds nothing beside its bits: that it was is seen in the log.
	again := f.UpTo != 0 && len(s.log) == before
	for _, c := range f.Chunks {
		if s.sets[c.Push] == nil {
			s.sets[c.Push] = map[push.Mark]map[uint16]push.Chunk{}
		}
		if s.sets[c.Push][c.Mark] == nil {
			s.sets[c.Push][c.Mark] = map[uint16]push.Chunk{}
		}
		s.sets[c.Push][c.Mark][c.Chunk.Key] = c.Chunk
	}
	for _, o := range f.Outcomes {
		if s.outcomes[o.Push] == nil {
			s.outcomes[o.Push] = map[push.Ordinal]push.Marked{}
		}
		s.outcomes[o.Push][o.Ordinal] |= o.Marked
		s.note(o.Push, o.Ordinal, o.Times...)
	}
	if again {
		f.Trails, f.Totals, f.Counted, f.Batches = nil, nil, nil, nil
	}
	for _, t := range f.Trails {
		for _, m := range t.Marks {
			s.note(t.Push, m.Ordinal, m.Timed)
		}
	}
	for _, d := range f.Totals {
		s.add(d)
	}
	for _, c := range f.Counted {
		s.counted[c.Push] = c.Report
	}
	s.batches = append(s.batches, f.Batches...)
	if failed {
		return errDisk
	}
	return nil
}

func (s *memStore) note(id push.ID, o push.Ordinal, all ...push.Timed) {
	if s.trail[id] == nil {
		s.trail[id] = map[push.Ordinal][]push.Timed{}
	}
	s.trail[id][o] = append(s.trail[id][o], all...)
}

func (s *memStore) Unfolded(_ context.Context, yield func(push.Logged) error) error {
	s.mu.Lock()
	log := slices.Clone(s.log)
	s.mu.Unlock()
	for _, row := range log {
		if err := yield(row); err != nil {
			return err
		}
	}
	return nil
}

func (s *memStore) Targets(_ context.Context, p push.Push) ([]push.Ordinal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.targets[p.ID], nil
}

func (s *memStore) Outcomes(_ context.Context, p push.Push) (map[push.Ordinal]push.Marked, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.outcomes[p.ID]), nil
}

func (s *memStore) Sets(_ context.Context, id push.ID) (map[push.Mark][]push.Chunk, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[push.Mark][]push.Chunk{}
	for m, chunks := range s.sets[id] {
		all[m] = slices.Collect(maps.Values(chunks))
	}
	return all, nil
}

func (s *memStore) Marked(_ context.Context, _ push.Day, all []push.Outcome) ([]push.Marked, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]push.Marked, len(all))
	for i, o := range all {
		out[i] = s.outcomes[o.Push][o.Ordinal]
	}
	return out, nil
}

func (s *memStore) Labelled(_ context.Context, day push.Day, ids []push.ID) (map[push.ID]push.Labelled, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[push.ID]push.Labelled{}
	for _, id := range ids {
		p, ok := s.pushes[id]
		if ok && (p.Kind == push.Bulk) == (day == 0) && (day == 0 || push.DayOf(p.Expires) == day) {
			all[id] = push.Labelled{Push: p, Counted: s.counted[id]}
		}
	}
	return all, nil
}

func (s *memStore) Trail(_ context.Context, p push.Push, o push.Ordinal) ([]push.Timed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.trail[p.ID][o]), nil
}

func (s *memStore) Totals(
	_ context.Context, app push.AppID, by push.Dimension, name *string, from, to push.Day, yield func(push.TotalDelta) error,
) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, metrics := range s.totals {
		if key.App != app || key.By != by || key.Day < from || key.Day > to || name != nil && key.Name != *name {
			continue
		}
		for m, n := range metrics {
			if err := yield(push.TotalDelta{Key: key, Metric: m, N: n}); err != nil {
				return err
			}
		}
	}
	return nil
}
