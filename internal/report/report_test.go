package report_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/report"
)

// memStore keeps the contract of report.Store in memory. The log is what the record's commits append to.
type memStore struct {
	mu       sync.Mutex // guards what follows
	log      []push.Logged
	seq      int64
	sets     map[push.ID]map[push.Mark]map[uint16]push.Chunk
	outcomes map[push.ID]map[push.Ordinal]push.Marked
	targets  map[push.ID][]push.Ordinal
	fail     error
}

func newMemStore() *memStore {
	return &memStore{
		sets: map[push.ID]map[push.Mark]map[uint16]push.Chunk{}, outcomes: map[push.ID]map[push.Ordinal]push.Marked{},
		targets: map[push.ID][]push.Ordinal{},
	}
}

// commit appends receipts to the log, as a group commit does.
func (s *memStore) commit(rs ...push.Receipt) push.Logged {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	row := push.Logged{Seq: s.seq, Receipts: rs}
	s.log = append(s.log, row)
	return row
}

func (s *memStore) Fold(_ context.Context, f push.Fold) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
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
	}
	s.log = slices.DeleteFunc(s.log, func(r push.Logged) bool { return r.Seq <= f.UpTo })
	return nil
}

func (s *memStore) Unfolded(_ context.Context, yield func(push.Logged) error) error {
	for _, row := range slices.Clone(s.log) {
		if err := yield(row); err != nil {
			return err
		}
	}
	return nil
}

func (s *memStore) Targets(_ context.Context, p push.Push) ([]push.Ordinal, error) {
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
	for _, o := range targets {
		m := marks[o]
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
		switch drop, dropped := m.Dropped(); {
		case m.Has(push.MarkDelivered):
		case dropped:
			r.Dropped[drop.Reason()]++
		case p.State == push.Cancelled:
			r.Dropped["cancelled"]++
		case !p.Expires.After(at):
			r.Dropped["expired"]++
		default:
			r.Pending++
		}
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
	}
	rapid.Check(t, func(t *rapid.T) {
		ctx := t.Context()
		store := newMemStore()
		ledger := report.New(store, nil)
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
				store.fail = errors.New("disk full")
				_ = ledger.Fold(ctx) // with nothing to fold it succeeds
				store.fail = nil
			},
			"a restart": func(t *rapid.T) {
				ledger = report.New(store, nil)
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
					for _, state := range []push.State{push.Done, push.Cancelled} {
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
	store := newMemStore()
	ledger := report.New(store, &report.Options{Idle: 1})
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
	store := newMemStore()
	ledger := report.New(store, &report.Options{Every: time.Hour})
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
