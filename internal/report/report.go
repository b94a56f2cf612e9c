package report

import (
	"context"
	"time"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Report returns the account of p at now. p is as the record has it: its state, target and unknown count are taken from
// there.
func (l *Ledger) Report(ctx context.Context, p push.Push, now time.Time) (push.Report, error) {
	r := push.Report{Dropped: map[string]int{}, Channels: map[string]push.ChannelCount{}}
	var err error
	if p.Kind == push.Direct {
		err = l.direct(ctx, p, &r)
	} else {
		err = l.set(ctx, p, &r)
	}
	if err != nil {
		return push.Report{}, push.Wrap("report.Report", err)
	}
	if p.Unknown > 0 {
		r.Target += p.Unknown
		r.Dropped[push.DroppedUnknown] = p.Unknown
	}
	settle(p, &r, now)
	if r.Sent > 0 || r.Delivered > 0 {
		r.Channels["own"] = push.ChannelCount{Sent: r.Sent, Delivered: r.Delivered}
	}
	return r, nil
}

// settle counts what is neither delivered nor dropped: as pending, or under the reason that ended the push.
func settle(p push.Push, r *push.Report, now time.Time) {
	rest := r.Target - r.Delivered
	for _, n := range r.Dropped {
		rest -= n
	}
	switch {
	case rest == 0:
	case p.State == push.Cancelled:
		r.Dropped[push.MarkCancelled.Reason()] += rest
	case p.State == push.Failed:
		r.Dropped[push.MarkRefused.Reason()] += rest
	case p.State == push.Expired || !p.Expires.After(now):
		r.Dropped[push.MarkExpired.Reason()] += rest
	default:
		r.Pending = rest
	}
}

// counters returns where r counts the marks that do not drop.
func counters(r *push.Report) map[push.Mark]*int {
	return map[push.Mark]*int{
		push.MarkDelivered: &r.Delivered, push.MarkUnconfirmed: &r.Unconfirmed, push.MarkDisplayed: &r.Displayed,
		push.MarkOpened: &r.Opened, push.MarkClicked: &r.Clicked, push.MarkDismissed: &r.Dismissed,
	}
}

func (l *Ledger) direct(ctx context.Context, p push.Push, r *push.Report) error {
	targets, err := l.store.Targets(ctx, p)
	if err != nil {
		return err
	}
	marks, err := l.marks(ctx, p)
	if err != nil {
		return err
	}
	r.Target = len(targets)
	counts := counters(r)
	for _, o := range targets {
		m := marks[o]
		for mark, n := range counts {
			if m.Has(mark) {
				*n++
			}
		}
		if m.Has(push.MarkSent) || m.Has(push.MarkDelivered) {
			r.Sent++
		}
		if drop, ok := m.Dropped(); ok {
			r.Dropped[drop.Reason()]++
		}
	}
	return nil
}

// marks returns what is known of a direct push, by device.
func (l *Ledger) marks(ctx context.Context, p push.Push) (map[push.Ordinal]push.Marked, error) {
	fresh := l.unfolded(p.ID) // before the record is read: what is folded meanwhile is seen there
	all, err := l.store.Outcomes(ctx, p)
	if err != nil {
		return nil, err
	}
	if all == nil {
		return fresh, nil
	}
	for o, m := range fresh {
		all[o] |= m
	}
	return all, nil
}

func (l *Ledger) set(ctx context.Context, p push.Push, r *push.Report) error {
	if p.State == push.Scheduled || p.State == push.Accepted {
		return nil // it has no target yet; what the record learns when it begins must not be taken for known
	}
	r.Target = p.Target
	return l.counted(ctx, p.ID, func(marks map[push.Mark]*ordset.Set) { count(r, marks) })
}

// count counts the sets of a bulk push.
func count(r *push.Report, marks map[push.Mark]*ordset.Set) {
	for mark, n := range counters(r) {
		if s := marks[mark]; s != nil {
			*n = s.Len()
		}
	}
	settled := new(ordset.Set) // what counts already: delivered, or dropped for an earlier reason
	if s := marks[push.MarkDelivered]; s != nil {
		settled.Union(s)
	}
	r.Sent = r.Delivered
	if s := marks[push.MarkSent]; s != nil {
		r.Sent += s.Len() - s.And(settled)
	}
	for _, drop := range push.Drops() {
		s := marks[drop]
		if s == nil {
			continue
		}
		if n := s.Len() - s.And(settled); n > 0 {
			r.Dropped[drop.Reason()] = n
		}
		settled.Union(s)
	}
}

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
	if p.State == push.Scheduled || p.State == push.Accepted {
		return set, nil // as in set
	}
	err := l.counted(ctx, p.ID, func(marks map[push.Mark]*ordset.Set) {
		if s := marks[m]; s != nil {
			set = s.Clone()
		}
	})
	return set, push.Wrap(op, err)
}
