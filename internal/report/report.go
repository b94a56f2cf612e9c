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
	r := newReport()
	var t told
	var err error
	if p.Kind == push.Direct {
		t, err = l.directReport(ctx, p, &r)
	} else {
		t, err = l.setReport(ctx, p, &r)
	}
	if err != nil {
		return push.Report{}, push.Wrap("report.Report", err)
	}
	if p.Unknown > 0 {
		r.Target += p.Unknown
		r.Dropped[push.DroppedUnknown] = p.Unknown
	}
	settle(p, &r, now)
	own(&r)
	r.Recall = t.recall(p, r)
	return r, nil
}

// own counts the one way out that there is.
func own(r *push.Report) {
	if r.Sent > 0 || r.Delivered > 0 {
		r.Channels[ownChannel] = push.ChannelCount{Sent: r.Sent, Delivered: r.Delivered}
	}
}

func newReport() push.Report {
	return push.Report{Dropped: map[string]int{}, Channels: map[string]push.ChannelCount{}}
}

// settle counts what is neither delivered nor dropped: as pending, or under the reason that ended the push.
func settle(p push.Push, r *push.Report, now time.Time) {
	rest := r.Target - r.Delivered
	for _, n := range r.Dropped {
		rest -= n
	}
	switch reason := ended(p, now); {
	case rest == 0:
	case reason != "":
		r.Dropped[reason] += rest
	default:
		r.Pending = rest
	}
}

// ended returns the reason under which what is pending counts as dropped, "" while p goes on.
func ended(p push.Push, now time.Time) string {
	switch {
	case p.State == push.Cancelled:
		return push.MarkCancelled.Reason()
	case p.State == push.Recalled:
		return push.MarkWithdrawn.Reason()
	case p.State == push.Failed:
		return push.MarkRefused.Reason()
	case p.State == push.Expired || !p.Expires.After(now):
		return push.MarkExpired.Reason()
	}
	return ""
}

// counters returns where r counts the marks that count as they are.
func counters(r *push.Report) map[push.Mark]*int {
	return map[push.Mark]*int{
		push.MarkDelivered: &r.Delivered, push.MarkUnconfirmed: &r.Unconfirmed, push.MarkDisplayed: &r.Displayed,
		push.MarkOpened: &r.Opened, push.MarkClicked: &r.Clicked, push.MarkDismissed: &r.Dismissed,
	}
}

// seen are the marks of devices on which somebody has dealt with the message: a recall comes too late for them.
var seen = []push.Mark{push.MarkOpened, push.MarkClicked, push.MarkDismissed}

// told are the devices that were told of a recall.
type told struct {
	told, late, confirmed int
	withdrawn, rest       int // of told, those that count as dropped because of the recall: by a mark, or if the push is recalled
}

// recall returns what became of taking p back, nil if nobody has tried. A device that may have got a copy and is told to take
// it back does not count as stopped, though it counts as dropped in the report.
func (t told) recall(p push.Push, r push.Report) *push.Recall {
	stopped := r.Dropped[push.MarkWithdrawn.Reason()] - t.withdrawn
	if p.State == push.Recalled {
		stopped -= t.rest
	}
	if p.State != push.Recalled && t == (told{}) && stopped == 0 {
		return nil
	}
	return &push.Recall{Stopped: stopped, Recalled: t.told - t.late, Confirmed: t.confirmed, TooLate: t.late}
}

// directReport counts a direct push. Only devices that it was accepted for count.
func (l *Ledger) directReport(ctx context.Context, p push.Push, r *push.Report) (t told, err error) {
	targets, err := l.store.Targets(ctx, p)
	if err != nil {
		return t, err
	}
	all, err := l.marks(ctx, p)
	if err != nil {
		return t, err
	}
	r.Target = len(targets)
	var c counts
	for _, o := range targets {
		c.marks(all[o], 1)
		t.add(all[o])
	}
	for mark, n := range counters(r) {
		*n = c[mark]
	}
	r.Sent = c[push.MarkSent]
	for _, drop := range push.Drops() {
		if n := c[drop]; n > 0 {
			r.Dropped[drop.Reason()] = n
		}
	}
	return t, nil
}

// add counts a device with marks m.
func (t *told) add(m push.Marked) {
	if m.Has(push.MarkRecalled) {
		t.confirmed++
	}
	if !m.Has(push.MarkTold) {
		return
	}
	t.told++
	for _, s := range seen {
		if m.Has(s) {
			t.late++
			break
		}
	}
	switch drop, dropped := m.Dropped(); {
	case dropped && drop == push.MarkWithdrawn:
		t.withdrawn++
	case !dropped && !m.Has(push.MarkDelivered):
		t.rest++
	}
}

// marks returns what is known of a direct push, by device.
func (l *Ledger) marks(ctx context.Context, p push.Push) (map[push.Ordinal]push.Marked, error) {
	fresh := l.unfolded(p.ID) // before the record is read: what is folded meanwhile is seen there
	all, err := l.store.Outcomes(ctx, p)
	if err != nil {
		return nil, err
	}
	if all == nil {
		all = map[push.Ordinal]push.Marked{}
	}
	for _, n := range fresh {
		all[n.ordinal] = all[n.ordinal].With(n.mark)
	}
	return all, nil
}

func (l *Ledger) setReport(ctx context.Context, p push.Push, r *push.Report) (t told, err error) {
	if p.State.Waits() {
		return t, nil // it has no target yet; what the record learns when it begins must not be taken for known
	}
	r.Target = p.Target
	err = l.counted(ctx, p, func(marks map[push.Mark]*ordset.Set) {
		count(r, marks)
		t.count(marks)
	})
	return t, err
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

// count counts the sets of a bulk push.
func (t *told) count(marks map[push.Mark]*ordset.Set) {
	if s := marks[push.MarkRecalled]; s != nil {
		t.confirmed = s.Len()
	}
	all := marks[push.MarkTold]
	if all == nil || all.Empty() {
		return
	}
	t.told = all.Len()
	late := new(ordset.Set)
	for _, m := range seen {
		if s := marks[m]; s != nil {
			late.Union(s)
		}
	}
	t.late = all.And(late)
	open := all.Clone() // without what counts for an earlier reason
	for _, m := range append([]push.Mark{push.MarkDelivered}, push.Drops()...) {
		s := marks[m]
		if s == nil {
			continue
		}
		if m == push.MarkWithdrawn {
			t.withdrawn = open.And(s)
		}
		open.Subtract(s)
	}
	t.rest = open.Len()
}
