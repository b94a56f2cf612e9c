package report

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// A counts is how many devices count under each metric.
type counts [push.MetricUnknown + 1]int

// marks adds a device with these marks to c, or, with n -1, takes it away.
func (c *counts) marks(m push.Marked, n int) {
	for _, mark := range counted {
		if m.Has(mark) {
			c[mark] += n
		}
	}
	if m.Has(push.MarkSent) || m.Has(push.MarkDelivered) {
		c[push.MarkSent] += n
	}
	if drop, ok := m.Dropped(); ok {
		c[drop] += n
	}
}

// counted are the marks that count as they are.
var counted = []push.Mark{
	push.MarkDelivered, push.MarkUnconfirmed, push.MarkDisplayed, push.MarkOpened, push.MarkClicked, push.MarkDismissed,
}

// report adds what r counts of receipts to c, n times. What a push counts when it is accepted or begun is left out: its
// target and the unknown names in it.
func (c *counts) report(r push.Report, n int) {
	for mark, v := range counters(&r) {
		c[mark] += n * *v
	}
	c[push.MarkSent] += n * r.Sent
	for _, drop := range push.Drops() {
		c[drop] += n * r.Dropped[drop.Reason()]
	}
}

// totals are what a commit adds to the record's.
type totals map[push.TotalKey]*counts

// add adds c to all totals that p counts in.
func (t totals) add(p push.Push, day push.Day, c *counts) {
	if *c == (counts{}) {
		return
	}
	for _, key := range p.Request.Keys(day) {
		t.at(key).add(c)
	}
	if sent, delivered := c[push.MarkSent], c[push.MarkDelivered]; sent != 0 || delivered != 0 {
		own := t.at(push.TotalKey{App: p.App, Day: day, By: push.ByChannel, Name: ownChannel})
		own[push.MarkSent] += sent
		own[push.MarkDelivered] += delivered
	}
}

// ownChannel is the name of the way out that devices' own connections are.
const ownChannel = "own"

func (t totals) at(key push.TotalKey) *counts {
	c := t[key]
	if c == nil {
		c = new(counts)
		t[key] = c
	}
	return c
}

func (c *counts) add(d *counts) {
	for i, n := range d {
		c[i] += n
	}
}

// deltas returns t as the record takes it.
func (t totals) deltas() []push.TotalDelta {
	var all []push.TotalDelta
	for key, c := range t {
		for m, n := range c {
			if n != 0 {
				all = append(all, push.TotalDelta{Key: key, Metric: push.Metric(m), N: n})
			}
		}
	}
	return all
}

// isRecall reports whether p carries a recall to devices: nobody sent it, so that it counts nowhere and nobody is told of it.
func isRecall(p push.Push) bool {
	return p.Request.Message.Recall != 0 || p.Request.Origin == recallOrigin
}

// recallOrigin is the origin of the pushes that carry recalls.
const recallOrigin = "recall"

// day returns the day that p counts on.
func (l *Ledger) day(p push.Push) push.Day { return push.DayIn(p.Start, l.opts.Zone(p.App)) }

// Totals returns the sums of the pushes of app that started on days from one to another, both included, by a dimension: of
// one name, or of every name if name is nil; each day for itself if daily. They are in order of names, then of days. What is
// committed when it is called is in them. A way out has no target of its own: by channel, only sent and delivered count.
func (l *Ledger) Totals(
	ctx context.Context, app push.AppID, by push.Dimension, name *string, from, to push.Day, daily bool,
) ([]push.Totals, error) {
	const op = "report.Totals"
	if err := l.Fold(ctx); err != nil {
		return nil, push.Wrap(op, err)
	}
	type row struct {
		name string
		day  push.Day
	}
	rows := map[row]*push.Totals{}
	err := l.details.Totals(ctx, app, by, name, from, to, func(d push.TotalDelta) error {
		r := row{name: d.Key.Name}
		if daily {
			r.day = d.Key.Day
		}
		t := rows[r]
		if t == nil {
			t = &push.Totals{Name: r.name, Report: newReport()}
			if daily {
				t.Day = r.day.Date()
			}
			rows[r] = t
		}
		t.Add(d.Metric, d.N)
		return nil
	})
	if err != nil {
		return nil, push.Wrap(op, err)
	}
	all := make([]push.Totals, 0, len(rows))
	for _, t := range rows {
		if by == push.ByChannel {
			t.Pending = 0
			t.Channels[t.Name] = push.ChannelCount{Sent: t.Sent, Delivered: t.Delivered}
		} else {
			own(&t.Report)
		}
		all = append(all, *t)
	}
	slices.SortFunc(all, func(a, b push.Totals) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Day, b.Day))
	})
	return all, nil
}

// zero is before every expiry: with it, only its state ends a push.
var zero time.Time
