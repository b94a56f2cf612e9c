package report

import (
	"context"
	"maps"
	"slices"

	"github.com/carillonpush/carillon/internal/push"
)

// bulkPushes puts the sets that have something new, and the counts of pushes that ended, into commits.
func (f *fold) bulkPushes(ctx context.Context, ends []noticed, bulk map[push.ID]*sets) error {
	ids := slices.Collect(maps.Keys(bulk))
	for _, e := range ends {
		if e.Day == 0 {
			ids = append(ids, e.Push)
		}
	}
	for some := range slices.Chunk(distinct(ids), lookUp) {
		found, err := f.details.Labelled(ctx, 0, some)
		if err != nil {
			return err
		}
		for _, id := range some {
			labelled, ok := found[id]
			if !ok { // what is said of a push that is gone is nobody's
				bulk[id].drop()
				continue
			}
			if err := f.bulkPush(ctx, labelled, bulk[id]); err != nil {
				return err
			}
		}
	}
	return nil
}

// bulkPush puts one push into the commit. s are its sets; nil if nothing is new in them.
func (f *fold) bulkPush(ctx context.Context, at push.Labelled, s *sets) error {
	p := at.Push
	if s == nil {
		s = newSets() // for this count only: what is over is hardly asked for
	}
	s.mu.Lock()
	loaded := s.loaded && p.State != push.Open
	s.mu.Unlock()
	if !loaded {
		if err := f.load(ctx, s, p); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.folding, s.fresh = s.fresh, nil
	noted := s.folding
	chunks, err := s.chunks(p.ID, noted)
	r := newReport()
	r.Target = p.Target
	count(&r, s.byMark)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	f.next.Chunks = append(f.next.Chunks, chunks...)
	f.next.Trails = append(f.next.Trails, trails(p, noted)...)
	if isRecall(p) {
		return f.heavy(ctx, len(noted))
	}
	settle(p, &r, zero) // what is pending when it expires counts once its state says so
	var c counts
	c.report(r, 1)
	c.report(at.Counted, -1)
	if c != (counts{}) {
		f.totals.add(p, f.day(p), &c)
		f.next.Counted = append(f.next.Counted, push.Counted{Push: p.ID, Report: r})
	}
	if !f.hears(p.App) {
		return f.heavy(ctx, len(noted))
	}
	f.happened[p.App] = slices.Grow(f.happened[p.App], len(noted))
	for _, n := range noted {
		f.tell(push.Receipt{App: p.App, Push: p.ID, Ordinal: n.ordinal, Mark: n.mark}, n.timed().At)
	}
	return f.heavy(ctx, len(noted))
}

// heavy makes a commit if there is enough for one.
func (f *fold) heavy(ctx context.Context, marks int) error {
	if f.marks += marks; f.marks < f.most.marks {
		return nil
	}
	return f.flush(ctx)
}

// drop forgets what is new. s may be nil.
func (s *sets) drop() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fresh = nil
}
