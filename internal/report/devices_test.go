package report_test

import (
	"slices"
	"testing"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/report"
)

// Whom a push reached, and who opened it, is known before and after a fold, and by a ledger that has only the record.
func TestDevicesOfAMark(t *testing.T) {
	for _, p := range []push.Push{direct, bulk} {
		t.Run(string(p.Kind), func(t *testing.T) {
			store := newMemStore(direct, bulk)
			store.targets[p.ID] = []push.Ordinal{1, 2, 70_000}
			l := report.New(store, store, nil)
			apply := func(o push.Ordinal, m push.Mark) { l.Apply(store.commit(receipt(p, o, m))) }
			expect := func(when string, l *report.Ledger, m push.Mark, want ...push.Ordinal) {
				t.Helper()
				set, err := l.Devices(t.Context(), p, m)
				if err != nil {
					t.Fatal(err)
				}
				if got := slices.Collect(set.All()); !slices.Equal(got, want) {
					t.Errorf("%s, mark %d: got %v, want %v", when, m, got, want)
				}
				set.Add(5) // the caller owns it
			}
			apply(1, push.MarkDelivered)
			apply(70_000, push.MarkDelivered)
			expect("before the fold", l, push.MarkDelivered, 1, 70_000)
			if err := l.Fold(t.Context()); err != nil {
				t.Fatal(err)
			}
			apply(70_000, push.MarkOpened)
			expect("after it", l, push.MarkDelivered, 1, 70_000)
			expect("after it", l, push.MarkOpened, 70_000)
			expect("nobody", l, push.MarkDismissed)
			if err := l.Fold(t.Context()); err != nil {
				t.Fatal(err)
			}
			expect("after a restart", report.New(store, store, nil), push.MarkDelivered, 1, 70_000)
			expect("after a restart", report.New(store, store, nil), push.MarkOpened, 70_000)
		})
	}
	scheduled := bulk
	scheduled.State = push.Scheduled
	if set, err := report.New(newMemStore(), newMemStore(), nil).Devices(t.Context(), scheduled, push.MarkDelivered); err != nil || !set.Empty() {
		t.Errorf("a push that has not begun: got %v, %v, want nobody", set, err)
	}
}
