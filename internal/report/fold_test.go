package report_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/report"
)

// What BeforeFold keeps must be all that the fold takes out of the log: receipts that come after it stay there.
func TestBeforeFold(t *testing.T) {
	store := newMemStore(direct)
	var ledger *report.Ledger
	kept, calls := int64(0), 0
	var fail error
	ledger = report.New(store, store, &report.Options{BeforeFold: func(context.Context) error {
		calls++
		kept = store.seq
		ledger.Apply(store.commit(receipt(direct, 2, push.MarkDelivered)))
		return fail
	}})
	ledger.Apply(store.commit(receipt(direct, 1, push.MarkDelivered)))
	if err := ledger.Fold(t.Context()); err != nil || calls != 1 {
		t.Fatalf("Fold: %v after %d calls", err, calls)
	}
	if len(store.log) != 1 || store.log[0].Seq != kept+1 {
		t.Errorf("the log has %v, want the row after %d", store.log, kept)
	}
	fail = errDisk
	if err := ledger.Fold(t.Context()); !errors.Is(err, errDisk) || store.outcomes[direct.ID][2] != 0 {
		t.Errorf("a fold whose BeforeFold fails: got %v, outcome %b, want its error and nothing", err, store.outcomes[direct.ID][2])
	}
}

// Many receipts do not wait for the time: what they take of memory is bounded, also while the log is read.
func TestManyReceiptsAreFoldedAtOnce(t *testing.T) {
	store := newMemStore(direct, bulk)
	var rows []push.Logged
	for o := range push.Ordinal(120) {
		rows = append(rows, store.commit(receipt(bulk, o, push.MarkDelivered)))
	}
	loaded := report.New(store, store, nil).Small()
	if err := loaded.Load(t.Context()); err != nil || store.commits < 3 {
		t.Errorf("Load: %v with %d commits, want some before the end of the log", err, store.commits)
	}
	done := make(chan struct{})
	ledger := report.New(store, store, &report.Options{Every: time.Hour, Happened: func(push.AppID, []push.Happening) {
		select {
		case done <- struct{}{}:
		default:
		}
	}}).Small()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ledger.Run(ctx) }()
	for _, row := range rows {
		row.Seq += 1000
		for i := range row.Receipts {
			row.Receipts[i].Mark = push.MarkOpened
		}
		ledger.Apply(row)
	}
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Error("nothing was folded before its time")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Whoever marks a million devices pays for what the sets grow by.
func TestMarkingALargeSet(t *testing.T) {
	p := bulk
	store := newMemStore()
	store.begin(p, time.UTC)
	target := new(ordset.Set)
	for o := range push.Ordinal(300_000) {
		target.Add(o)
	}
	p.Target = target.Len()
	store.pushes[p.ID] = p
	var batched []push.WebhookID
	ledger := report.New(store, store, &report.Options{
		Wanted: func(app push.AppID) []push.Webhook {
			return []push.Webhook{{ID: 5, App: app, Events: []string{"dropped"}}, {ID: 6, App: app, Events: []string{"opened"}}}
		},
		Batched: func(_ push.AppID, id push.WebhookID) { batched = append(batched, id) },
	})
	ledger.Apply(store.commit(receipt(p, 7, push.MarkCollapsed)))
	for range 2 {
		if err := ledger.Mark(t.Context(), p, push.MarkCollapsed, target); err != nil {
			t.Fatal(err)
		}
	}
	if store.seq != 1 {
		t.Errorf("the log has had %d rows, want the first alone", store.seq)
	}
	if got := store.counted[p.ID].Dropped; !diff.Equal(got, map[string]int{"collapsed": 300_000}) {
		t.Errorf("counted %v", got)
	}
	events := 0
	for _, b := range store.batches {
		if b.Webhook != 5 || len(b.Happened) > push.MaxBatch {
			t.Fatalf("a batch of %d for webhook %d", len(b.Happened), b.Webhook)
		}
		events += len(b.Happened)
	}
	if events != 300_000 || !slices.Equal(slices.Compact(batched), []push.WebhookID{5}) {
		t.Errorf("told %d events, batched %v", events, slices.Compact(batched))
	}
	if len(store.trail[p.ID][299_999]) != 1 || len(store.trail[p.ID][7]) != 1 {
		t.Errorf("trails: %v, %v, want the mark once", store.trail[p.ID][299_999], store.trail[p.ID][7])
	}
	if err := ledger.Mark(t.Context(), direct, push.MarkTold, ordset.Of(1)); !errors.Is(err, push.Invalid) {
		t.Errorf("a direct push: got %v, want invalid", err)
	}
}

// While a push is open its additions write sets into the record, too.
func TestAnOpenPushIsReadAnew(t *testing.T) {
	p := bulk
	p.State, p.Target = push.Open, 3
	store := newMemStore(p)
	ledger := report.New(store, store, nil)
	dropped := func() int {
		t.Helper()
		r, err := ledger.Report(t.Context(), p, now)
		if err != nil {
			t.Fatal(err)
		}
		return r.Dropped["blacklisted"]
	}
	grow := func(all ...push.Ordinal) {
		c, err := ordset.Of(all...).Chunk(0)
		if err == nil {
			err = store.Fold(t.Context(), push.Fold{Chunks: []push.FoldedChunk{{Push: p.ID, Mark: push.MarkBlacklisted, Chunk: c}}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, all := range [][]push.Ordinal{{1}, {1, 2}} {
		grow(all...)
		if got := dropped(); got != i+1 {
			t.Errorf("after addition %d: %d blacklisted, want %d", i+1, got, i+1)
		}
		ledger.Apply(store.commit(receipt(p, 9, push.MarkSent)))
		if err := ledger.Fold(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	grow(1, 2, 3)
	p.State = push.Sending // closed
	if got := dropped(); got != 3 {
		t.Errorf("after it was closed: %d blacklisted, want 3", got)
	}
	trail, err := ledger.Trail(t.Context(), p, 3)
	if want := []push.Timed{{Mark: push.MarkBlacklisted}}; err != nil || !slices.Equal(trail, want) {
		t.Errorf("trail of what has no receipt: got %v, %v, want %v", trail, err, want)
	}
}

func TestTotals(t *testing.T) {
	store := newMemStore()
	labelled := func(id push.ID, group string, start time.Time) push.Push {
		p := direct
		p.ID, p.Start, p.Request = id, start, push.Request{App: 1, Policy: push.Policy{Labels: push.Labels{Group: group}}}
		store.begin(p, zone, 1, 2)
		return p
	}
	a := labelled(1, "a", now)
	labelled(2, "a", now.Add(-24*time.Hour))
	labelled(3, "b", now)
	ledger := report.New(store, store, &report.Options{Zone: func(push.AppID) *time.Location { return zone }})
	ledger.Apply(store.commit(receipt(a, 1, push.MarkDelivered), receipt(a, 2, push.MarkCapped)))
	today := push.DayIn(now, zone)
	one := "a"
	for _, tt := range []struct {
		name     string
		by       push.Dimension
		of       *string
		from, to push.Day
		daily    bool
		want     []push.Totals
	}{
		{"all days of all names", push.ByGroup, nil, today - 1, today, false, []push.Totals{
			{Name: "a", Pushes: 2, Report: push.Report{Target: 4, Sent: 1, Delivered: 1, Pending: 2, Dropped: map[string]int{"capped": 1}}},
			{Name: "b", Pushes: 1, Report: push.Report{Target: 2, Pending: 2}},
		}},
		{"each day of one name", push.ByGroup, &one, today - 1, today, true, []push.Totals{
			{Name: "a", Day: (today - 1).Date(), Pushes: 1, Report: push.Report{Target: 2, Pending: 2}},
			{Name: "a", Day: today.Date(), Pushes: 1, Report: push.Report{Target: 2, Sent: 1, Delivered: 1, Dropped: map[string]int{"capped": 1}}},
		}},
		{"one day", push.ByApp, nil, today, today, false, []push.Totals{
			{Pushes: 2, Report: push.Report{Target: 4, Sent: 1, Delivered: 1, Pending: 2, Dropped: map[string]int{"capped": 1}}},
		}},
		{"a way out", push.ByChannel, nil, today, today, false, []push.Totals{
			{Name: "own", Report: push.Report{Sent: 1, Delivered: 1}},
		}},
		{"another day", push.ByApp, nil, today + 1, today + 9, false, []push.Totals{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ledger.Totals(t.Context(), 1, tt.by, tt.of, tt.from, tt.to, tt.daily)
			if err != nil {
				t.Fatal(err)
			}
			for i := range tt.want {
				if tt.want[i].Dropped == nil {
					tt.want[i].Dropped = map[string]int{}
				}
				tt.want[i].Channels = map[string]push.ChannelCount{}
				if tt.want[i].Sent > 0 {
					tt.want[i].Channels["own"] = push.ChannelCount{Sent: 1, Delivered: 1}
				}
			}
			if d := diff.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// What nobody follows and no webhook wants is not collected.
func TestFollowed(t *testing.T) {
	store := newMemStore(direct)
	followed, told := false, 0
	ledger := report.New(store, store, &report.Options{
		Followed: func(push.AppID) bool { return followed },
		Happened: func(_ push.AppID, all []push.Happening) { told += len(all) },
	})
	for o, want := range []int{0, 1} {
		ledger.Apply(store.commit(receipt(direct, push.Ordinal(o), push.MarkDelivered)))
		if err := ledger.Fold(t.Context()); err != nil || told != want {
			t.Errorf("followed %v: %v, told %d, want %d", followed, err, told, want)
		}
		followed = true
	}
}
