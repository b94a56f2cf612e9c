package report

import (
	"context"
	"slices"
	"time"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Devices returns the devices on which m holds for p. The caller owns the set.
func (l *Ledger) Devices(ctx context.Context, p push.Push, m push.Mark) (*ordset.Set, error) {
	const op = "report.Devices"
	set := new(ordset.Set)
	if p.Kind == push.Direct {
		marks, err := l.marks(ctx, p)
		if err != nil {
			return nil, push.Wrap(op, err)
		}
		for o, got := range marks {
			if got.Has(m) {
				set.Add(o)
			}
		}
		return set, nil
	}
	if p.State.Waits() {
		return set, nil // as in setReport
	}
	err := l.counted(ctx, p, func(marks map[push.Mark]*ordset.Set) {
		if s := marks[m]; s != nil {
			set = s.Clone()
		}
	})
	return set, push.Wrap(op, err)
}

// Marks returns what is known of p on one device.
func (l *Ledger) Marks(ctx context.Context, p push.Push, o push.Ordinal) (push.Marked, error) {
	const op = "report.Marks"
	if p.Kind == push.Direct {
		fresh := l.unfolded(p.ID) // as in marks
		day := push.DayOf(p.Expires)
		all, err := l.details.Marked(ctx, day, []push.Outcome{{Push: p.ID, Day: day, Ordinal: o}})
		if err != nil {
			return 0, push.Wrap(op, err)
		}
		m := all[0]
		for _, n := range fresh {
			if n.ordinal == o {
				m = m.With(n.mark)
			}
		}
		return m, nil
	}
	var m push.Marked
	if p.State.Waits() {
		return m, nil // as in setReport
	}
	err := l.counted(ctx, p, func(marks map[push.Mark]*ordset.Set) {
		for mark, s := range marks {
			if s.Has(o) {
				m = m.With(mark)
			}
		}
	})
	return m, push.Wrap(op, err)
}

// Trail returns which marks hold for p on a device and when they were committed, in order of time, each once. Marks that the
// push began with, as that of a device which was blacklisted then, have no time and come first.
func (l *Ledger) Trail(ctx context.Context, p push.Push, o push.Ordinal) ([]push.Timed, error) {
	const op = "report.Trail"
	fresh := l.unfoldedOn(p, o) // before the record is read: what is folded meanwhile is seen there
	all, err := l.details.Trail(ctx, p, o)
	if err != nil {
		return nil, push.Wrap(op, err)
	}
	marks, err := l.Marks(ctx, p, o)
	if err != nil {
		return nil, push.Wrap(op, err)
	}
	all = append(all, fresh...)
	slices.SortStableFunc(all, func(a, b push.Timed) int { return a.At.Compare(b.At) })
	var have push.Marked
	all = slices.DeleteFunc(all, func(t push.Timed) bool {
		again := have.Has(t.Mark)
		have = have.With(t.Mark)
		return again
	})
	var first []push.Timed
	for m := push.Mark(0); m < 32; m++ {
		if marks.Has(m) && !have.Has(m) {
			first = append(first, push.Timed{Mark: m})
		}
	}
	return append(first, all...), nil
}

// unfoldedOn returns what is not in the record yet of p on a device.
func (l *Ledger) unfoldedOn(p push.Push, o push.Ordinal) []push.Timed {
	var parts [][]noted
	if p.Kind == push.Direct {
		parts = [][]noted{l.unfolded(p.ID)}
	} else {
		l.mu.Lock()
		s := l.bulk[p.ID]
		l.mu.Unlock()
		if s == nil {
			return nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		parts = [][]noted{s.folding, s.fresh}
	}
	var all []push.Timed
	for _, part := range parts {
		for _, n := range part {
			if n.ordinal == o {
				all = append(all, n.timed())
			}
		}
	}
	return all
}

// Mark adds m for all devices of set to a bulk push that has begun, as if each had a receipt, and returns after the commit.
// It costs the record what the sets grow by, and when. If it fails, some devices may be marked, and the others may become so;
// doing it again is doing it once. Invalid for a direct push, which has receipts.
func (l *Ledger) Mark(ctx context.Context, p push.Push, m push.Mark, set *ordset.Set) error {
	const op = "report.Mark"
	if p.Kind == push.Direct || p.State.Waits() {
		return &push.Error{Op: op, Kind: push.Invalid, Field: "push", Msg: "is not one to a set, or has not begun"}
	}
	part, n := new(ordset.Set), 0
	for o := range set.All() {
		part.Add(o)
		if n++; n == l.most.devices {
			if err := l.mark(ctx, p, m, part); err != nil {
				return push.Wrap(op, err)
			}
			part, n = new(ordset.Set), 0
		}
	}
	if n == 0 {
		return nil
	}
	return push.Wrap(op, l.mark(ctx, p, m, part))
}

func (l *Ledger) mark(ctx context.Context, p push.Push, m push.Mark, set *ordset.Set) error {
	for {
		// What is new is known once the sets are loaded; it is added while nobody can forget them.
		if err := l.counted(ctx, p, func(map[push.Mark]*ordset.Set) {}); err != nil {
			return err
		}
		if l.unite(p.ID, m, set) {
			return l.Fold(ctx)
		}
	}
}

// unite adds set to that of m, unless the push's sets have been forgotten.
func (l *Ledger) unite(id push.ID, m push.Mark, set *ordset.Set) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.bulk[id]
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = time.Now()
	l.count(s.union(m, set, time.Now()))
	return true
}
