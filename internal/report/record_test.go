package report_test

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/report"
	"github.com/carillonpush/carillon/internal/sqlstore"
)

// A recordWorld is a ledger over the real record.
type recordWorld struct {
	t      *testing.T
	path   string
	store  *sqlstore.Store
	ledger *report.Ledger
	hook   push.Webhook

	mu   sync.Mutex // guards rows
	rows int
}

// open opens the record, and brings the ledger up to date.
func (w *recordWorld) open() {
	w.t.Helper()
	var err error
	if w.store, err = sqlstore.Open(w.t.Context(), w.path, nil); err != nil {
		w.t.Fatal(err)
	}
	w.ledger = report.New(w.store, w.store, &report.Options{
		Zone:   func(push.AppID) *time.Location { return zone },
		Wanted: func(push.AppID) []push.Webhook { return []push.Webhook{w.hook} },
	}).Small()
	ledger := w.ledger
	if err := ledger.Load(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.store.OnReceipts(func(row push.Logged) {
		ledger.Apply(row)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.rows++
	})
}

func (w *recordWorld) close() {
	w.t.Helper()
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
}

func (w *recordWorld) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// check holds totals, batches and trails against the reports of all.
func (w *recordWorld) check(when string, events int, all ...push.Push) {
	w.t.Helper()
	ctx := w.t.Context()
	sums := map[push.TotalKey]*push.Totals{}
	for _, p := range all {
		p, err := w.store.Find(ctx, p.App, p.ID)
		w.must(err)
		r, err := w.ledger.Report(ctx, p, time.Now())
		w.must(err)
		for _, key := range p.Request.Keys(push.DayIn(p.Start, zone)) {
			sum(sums, key, r)
		}
	}
	today := push.DayIn(time.Now(), zone)
	for key, want := range sums {
		got, err := w.ledger.Totals(ctx, key.App, key.By, &key.Name, today-1, today, true)
		w.must(err)
		if d := diff.Diff([]push.Totals{*want}, got); d != "" {
			w.t.Errorf("%s: totals by %s %q (-sum of reports +got):\n%s", when, key.By, key.Name, d)
		}
	}
	infos, err := w.store.ListBatches(ctx, w.hook.ID, false, 0, 1000)
	w.must(err)
	n := 0
	for _, i := range infos {
		n += i.Events
	}
	if n != events {
		w.t.Errorf("%s: the webhook is to be told %d events, want %d", when, n, events)
	}
}

// The ledger and the real record agree: what Accept and Begin count and what folds add is what reports say, before and after
// restarts, with what was never folded.
func TestTheRealRecord(t *testing.T) {
	w := &recordWorld{t: t, path: filepath.Join(t.TempDir(), "carillon.db")}
	w.open()
	ctx := t.Context()
	_, err := w.store.CreateApp(ctx, push.App{Name: "one"}, nil)
	w.must(err)
	w.hook, err = w.store.AddWebhook(ctx, push.Webhook{App: 1, URL: "https://example.com", Secret: []byte("sealed"), Created: time.Now()}, 16)
	w.must(err)
	start := time.Now().UTC().Truncate(time.Millisecond)
	request := push.Request{App: 1, Origin: "rest", Policy: push.Policy{Labels: push.Labels{Group: "g", Topic: "t"}}}
	newPush := func(id push.ID, kind push.PushKind, state push.State) push.Push {
		return push.Push{
			ID: id << push.IDTail, App: 1, Kind: kind, State: state, Created: start, Start: start, Expires: start.Add(time.Hour),
			Request: request,
		}
	}
	base := push.ID(start.Sub(push.IDEpoch).Milliseconds())
	d, b := newPush(base, push.Direct, push.Done), newPush(base+1, push.Bulk, push.Accepted)
	keys := request.Keys(push.DayIn(start, zone))
	for _, a := range []*push.Acceptance{
		{Push: d, Payload: []byte("{}"), Targets: []push.Ordinal{1, 2, 3}, Limit: 100, Totals: keys},
		{Push: b, Payload: []byte("{}")},
	} {
		_, _, err := w.store.Accept(ctx, a)
		w.must(err)
	}
	target := ordset.Of(1, 2, 3, 4, 70_000)
	chunks, err := target.Chunks()
	w.must(err)
	black, err := ordset.Of(4).Chunks()
	w.must(err)
	w.must(w.store.Begin(ctx, push.Start{
		App: 1, ID: b.ID, Target: chunks, Count: 5, Unknown: 2, Cursor: push.Everybody, Totals: keys,
		Marked: map[push.Mark][]push.Chunk{push.MarkBlacklisted: black},
	}))
	w.must(w.store.Receive(ctx, receipt(d, 1, push.MarkSent), receipt(d, 1, push.MarkDelivered), receipt(b, 1, push.MarkDelivered)))
	w.must(w.store.Receive(ctx, receipt(d, 1, push.MarkDelivered), receipt(b, 70_000, push.MarkSent), receipt(b, 2, push.MarkCapped)))
	w.check("before a restart", 5, d, b)

	w.must(w.store.Receive(ctx, receipt(d, 2, push.MarkOpened), receipt(b, 1, push.MarkDelivered)))
	w.close() // without a fold
	w.open()
	w.check("after a restart", 6, d, b)

	running := b
	running.State, running.Target = push.Sending, 5
	w.must(w.ledger.Mark(ctx, running, push.MarkCollapsed, ordset.Of(3, 70_000)))
	w.check("after many were marked", 8, d, b)
	w.must(w.store.Move(ctx, 1, b.ID, push.Sending, push.Cancelled, ""))
	_, err = w.store.Withdraw(ctx, 1, d.ID, push.MarkCancelled)
	w.must(err)
	w.must(w.ledger.Fold(ctx))
	w.check("after both were cancelled", 11, d, b)

	for _, tt := range []struct {
		push push.Push
		o    push.Ordinal
		want []push.Mark
	}{
		{d, 1, []push.Mark{push.MarkSent, push.MarkDelivered}},
		{d, 3, []push.Mark{push.MarkCancelled}},
		{running, 70_000, []push.Mark{push.MarkSent, push.MarkCollapsed}},
		{running, 4, []push.Mark{push.MarkBlacklisted}},
	} {
		got, err := w.ledger.Trail(ctx, tt.push, tt.o)
		w.must(err)
		var marks []push.Mark
		for _, g := range got {
			marks = append(marks, g.Mark)
		}
		if d := diff.Diff(tt.want, marks); d != "" {
			t.Errorf("trail of push %d on %d (-want +got):\n%s", tt.push.ID, tt.o, d)
		}
	}
	w.close()
}
