package report_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/report"
)

var (
	now    = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	later  = now.Add(time.Hour)
	direct = push.Push{ID: 7, App: 1, Kind: push.Direct, State: push.Done, Expires: later}
	bulk   = push.Push{ID: 8, App: 1, Kind: push.Bulk, State: push.Done, Expires: later}
)

func receipt(p push.Push, o push.Ordinal, m push.Mark) push.Receipt {
	d := push.Delivery{ID: p.ID, App: p.App, Kind: p.Kind, Expires: p.Expires}
	return d.Receipt(o, m)
}

// naive counts a report the obvious way.
func naive(p push.Push, targets []push.Ordinal, marks map[push.Ordinal]push.Marked, at time.Time) push.Report {
	r := push.Report{Target: len(targets) + p.Unknown, Dropped: map[string]int{}, Channels: map[string]push.ChannelCount{}}
	if p.Unknown > 0 {
		r.Dropped["unknown"] = p.Unknown
	}
	recall, tried := push.Recall{}, p.State == push.Recalled
	for _, o := range targets {
		m := marks[o]
		told := m.Has(push.MarkTold)
		drop, dropped := m.Dropped()
		withdrawn := dropped && drop == push.MarkWithdrawn ||
			!dropped && !m.Has(push.MarkDelivered) && p.State == push.Recalled
		tried = tried || told || m.Has(push.MarkRecalled) || withdrawn
		switch {
		case told && (m.Has(push.MarkOpened) || m.Has(push.MarkClicked) || m.Has(push.MarkDismissed)):
			recall.TooLate++
		case told:
			recall.Recalled++
		case withdrawn:
			recall.Stopped++
		}
		if m.Has(push.MarkRecalled) {
			recall.Confirmed++
		}
		for mark, n := range map[push.Mark]*int{
			push.MarkDelivered: &r.Delivered, push.MarkUnconfirmed: &r.Unconfirmed, push.MarkDisplayed: &r.Displayed,
			push.MarkOpened: &r.Opened, push.MarkClicked: &r.Clicked, push.MarkDismissed: &r.Dismissed,
		} {
			if m.Has(mark) {
				*n++
			}
		}
		if m.Has(push.MarkSent) || m.Has(push.MarkDelivered) {
			r.Sent++
		}
		switch {
		case m.Has(push.MarkDelivered):
		case dropped:
			r.Dropped[drop.Reason()]++
		case p.State == push.Cancelled:
			r.Dropped["cancelled"]++
		case p.State == push.Recalled:
			r.Dropped["recalled"]++
		case p.State == push.Failed:
			r.Dropped["refused"]++
		case p.State == push.Expired || !p.Expires.After(at):
			r.Dropped["expired"]++
		default:
			r.Pending++
		}
	}
	if tried {
		r.Recall = &recall
	}
	if r.Sent > 0 {
		r.Channels["own"] = push.ChannelCount{Sent: r.Sent, Delivered: r.Delivered}
	}
	return r
}

// However receipts, folds, failed folds and restarts follow each other, a report is what counting one by one gives.
func TestReportsAreExact(t *testing.T) {
	marks := []push.Mark{
		push.MarkSent, push.MarkDelivered, push.MarkUnconfirmed, push.MarkDisplayed, push.MarkOpened, push.MarkClicked,
		push.MarkDismissed, push.MarkUnregistered, push.MarkBlacklisted, push.MarkOverflow, push.MarkCancelled,
		push.MarkTold, push.MarkRecalled, push.MarkWithdrawn, push.MarkTooLarge,
	}
	rapid.Check(t, func(t *rapid.T) {
		ctx := t.Context()
		store := newMemStore(direct, bulk)
		ledger := report.New(store, store, nil)
		targets := []push.Ordinal{0, 1, 2, 65535, 65536, 1 << 20}
		store.targets[direct.ID] = targets
		truth := map[push.ID]map[push.Ordinal]push.Marked{direct.ID: {}, bulk.ID: {}}

		t.Repeat(map[string]func(*rapid.T){
			"receipts are committed": func(t *rapid.T) {
				var rs []push.Receipt
				for range rapid.IntRange(1, 8).Draw(t, "n") {
					p := rapid.SampledFrom([]push.Push{direct, bulk}).Draw(t, "push")
					o, m := rapid.SampledFrom(targets).Draw(t, "device"), rapid.SampledFrom(marks).Draw(t, "mark")
					truth[p.ID][o] = truth[p.ID][o].With(m)
					rs = append(rs, receipt(p, o, m))
				}
				ledger.Apply(store.commit(rs...))
			},
			"a fold": func(t *rapid.T) {
				if err := ledger.Fold(ctx); err != nil {
					t.Fatal(err)
				}
			},
			"a fold that fails": func(t *rapid.T) {
				store.fails(1, rapid.Bool().Draw(t, "after it happened"))
				_ = ledger.Fold(ctx) // with nothing to fold it succeeds
				store.fails(0, false)
			},
			"a restart": func(t *rapid.T) {
				ledger = report.New(store, store, nil)
				if err := ledger.Load(ctx); err != nil {
					t.Fatal(err)
				}
				if len(store.log) != 0 {
					t.Fatalf("%d rows are left in the log after Load", len(store.log))
				}
			},
			"": func(t *rapid.T) {
				for _, p := range []push.Push{direct, bulk} {
					p.Unknown = 2
					if p.Kind == push.Bulk {
						p.Target = len(targets)
					}
					for _, state := range []push.State{
						push.Sending, push.Paused, push.Open, push.Done, push.Cancelled, push.Recalled, push.Expired, push.Failed,
					} {
						p.State = state
						for _, at := range []time.Time{now, later} {
							got, err := ledger.Report(ctx, p, at)
							if err != nil {
								t.Fatal(err)
							}
							if diff := cmp.Diff(naive(p, targets, truth[p.ID], at), got); diff != "" {
								t.Fatalf("%s push, %s, at %v (-want +got):\n%s", p.Kind, state, at, diff)
							}
						}
					}
				}
			},
		})
	})
}

func TestSetsThatNobodyUsesLeaveMemory(t *testing.T) {
	ctx := t.Context()
	store := newMemStore(direct, bulk)
	ledger := report.New(store, store, &report.Options{Idle: 1})
	p := bulk
	p.Target = 10
	ledger.Apply(store.commit(receipt(p, 3, push.MarkDelivered)))
	for range 2 { // the first folds, the second finds the sets idle
		if err := ledger.Fold(ctx); err != nil {
			t.Fatal(err)
		}
	}
	ledger.Apply(store.commit(receipt(p, 4, push.MarkDelivered)))
	r, err := ledger.Report(ctx, p, now)
	if err != nil || r.Delivered != 2 {
		t.Errorf("got %d delivered, %v, want the one in the record and the new one", r.Delivered, err)
	}
	if err := ledger.Fold(ctx); err != nil {
		t.Fatal(err)
	}
	sets, err := store.Sets(ctx, p.ID)
	if err != nil {
		t.Fatal(err)
	}
	set, err := ordset.FromChunks(sets[push.MarkDelivered])
	if err != nil || set.Len() != 2 {
		t.Errorf("the record has %d delivered, %v, want 2: a fold must not overwrite what it had forgotten", set.Len(), err)
	}
}

func TestRunFoldsAtItsEnd(t *testing.T) {
	store := newMemStore(direct, bulk)
	ledger := report.New(store, store, &report.Options{Every: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- ledger.Run(ctx) }()
	ledger.Apply(store.commit(receipt(direct, 1, push.MarkDelivered)))
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(store.log) != 0 || !store.outcomes[direct.ID][1].Has(push.MarkDelivered) {
		t.Errorf("log has %d rows, outcome is %b", len(store.log), store.outcomes[direct.ID][1])
	}
}
