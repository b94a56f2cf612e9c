package sqlstore_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTablesOfDaysThatAreOverAreDropped(t *testing.T) {
	databases(t, func(t *testing.T, url string) {
		s := open(t, url, nil)
		now := time.Date(2030, time.March, 1, 12, 0, 0, 0, time.UTC)
		for i, ttl := range []time.Duration{time.Hour, 24 * time.Hour, 240 * time.Hour} {
			a := benchPush(int64(i), 256, now)
			a.Push.Expires = now.Add(ttl)
			if _, _, err := s.Accept(t.Context(), a); err != nil {
				t.Fatal(err)
			}
		}
		for _, tt := range []struct {
			name string
			now  time.Time
			want []string
		}{
			{"a day is over by less than a day", now.Add(35 * time.Hour), []string{
				"direct_v1_20300301", "direct_v1_20300302", "direct_v1_20300311",
				"inbox_v1_20300301", "inbox_v1_20300302", "inbox_v1_20300311",
			}},
			{"one is over by a day", now.Add(37 * time.Hour), []string{
				"direct_v1_20300301", "direct_v1_20300302", "direct_v1_20300311", "inbox_v1_20300302", "inbox_v1_20300311",
			}},
			{"two are", now.Add(72 * time.Hour), []string{
				"direct_v1_20300301", "direct_v1_20300302", "direct_v1_20300311", "inbox_v1_20300311",
			}},
			{"one is over by a month", now.Add((30*24 + 13) * time.Hour), []string{"direct_v1_20300302", "direct_v1_20300311"}},
			{"all are", now.Add(60 * 24 * time.Hour), nil},
		} {
			for _, sweep := range []time.Time{tt.now, tt.now} { // what a sweep has no time for is the next one's
				if _, err := s.Sweep(t.Context(), sweep, 100); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(sorted(s.Tables()), tt.want); diff != "" {
				t.Errorf("%s: known tables (-got +want):\n%s", tt.name, diff)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			// What a restart finds is what the database has.
			s = open(t, url, nil)
			if diff := cmp.Diff(sorted(s.Tables()), tt.want); diff != "" {
				t.Errorf("%s: tables after a restart (-got +want):\n%s", tt.name, diff)
			}
		}
		if n := s.InboxRows(); n != 0 {
			t.Errorf("inbox rows: got %d, want 0", n)
		}
		late := benchPush(9, 256, now)
		late.Push.Expires = now.Add(time.Hour)
		if _, _, err := s.Accept(t.Context(), late); err != nil {
			t.Errorf("a push of a day whose tables have gone: %v", err)
		}
	})
}

func sorted(all []string) []string {
	slices.Sort(all)
	return all
}
