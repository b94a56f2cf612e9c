package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/sqlstore"
)

// crash returns the record of s at url as a crash at this moment would leave it: of SQLite a copy of its files, of PostgreSQL
// the database after all connections have broken.
func crash(t *testing.T, s *sqlstore.Store, url string) string {
	t.Helper()
	if strings.HasPrefix(url, "postgres://") {
		terminate(t, url)
		return url
	}
	defer s.HoldCommits()() // the write-ahead log begins anew with a commit only
	path := filepath.Join(t.TempDir(), "crashed.db")
	for _, end := range []string{"", "-wal"} {
		b, err := os.ReadFile(url + end)
		if err == nil {
			err = os.WriteFile(path+end, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// What the life of a push is answered with has survived when the answer is given: quotas, keys, firings, pauses, targets that
// grew, cursors and recalls.
func TestTheLifeOfAPushSurvivesACrash(t *testing.T) {
	databases(t, func(t *testing.T, url string) {
		ctx := t.Context()
		s := open(t, url, nil)
		newApp(t, s)
		now := time.Now().UTC().Truncate(time.Millisecond)
		quota := push.Charge{Name: "rest/x", Field: "x", N: 1, Limit: 3, Window: time.Minute}
		next := int64(0)
		direct := func() *push.Acceptance {
			next++
			a := benchPush(next, 256, now)
			a.Targets, a.Charges = []push.Ordinal{1, 2}, []push.Charge{quota}
			return a
		}
		bulk := func(state push.State) *push.Acceptance {
			a := direct()
			a.Push.Kind, a.Push.State, a.Targets, a.Charges = push.Bulk, state, nil, nil
			return a
		}
		accept := func(s *sqlstore.Store, a *push.Acceptance) error { _, _, err := s.Accept(ctx, a); return err }
		must := func(what string, err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		refused := func(what string, err, want error) {
			t.Helper()
			if !errors.Is(err, want) {
				t.Errorf("%s: got %v, want %v", what, err, want)
			}
		}

		held, recalled, keyed := direct(), direct(), direct()
		keyed.Push.Request.Key, keyed.Push.Request.RequestID = push.Key{Namespace: "rest", Value: "k", Strict: true}, "r"
		keyed.Personal = map[push.Ordinal][]byte{2: []byte(`"own"`)}
		opened, paced := bulk(push.Open), bulk(push.Accepted)
		for _, a := range []*push.Acceptance{held, recalled, keyed, opened, paced} {
			must("accept", accept(s, a))
		}
		over := direct()
		over.Push.Request.Key = push.Key{Namespace: "rest", Value: "refused"}
		refused("over the quota", accept(s, over), push.TooMany)
		must("hold", s.Hold(ctx, 1, held.Push.ID, true))
		must("grow", s.Grow(ctx, push.Growth{App: 1, ID: opened.Push.ID, Target: chunksOf(t, 5, 70_000), Count: 2}))
		must("begin", s.Begin(ctx, push.Start{App: 1, ID: paced.Push.ID, Target: chunksOf(t, 5), Count: 1}))
		must("advance", s.Advance(ctx, 1, paced.Push.ID, 4711))
		message := bulk(push.Accepted)
		must("recall", s.Recall(ctx, push.Recalling{Push: recalled.Push}, message))
		sched := push.Schedule{ID: 900, App: 1, Every: "day", State: push.ScheduleActive, Created: now, Request: push.Request{App: 1}}
		occurrence := push.Occurrence{ID: 901, Schedule: 900, App: 1, At: now, State: push.OccurrenceWaiting}
		_, _, err := s.AddSchedule(ctx, sched, []push.Occurrence{occurrence})
		must("schedule", err)
		fires := func() *push.Acceptance {
			a := bulk(push.Accepted)
			a.Push.ID, a.Push.Schedule, a.Fires = occurrence.ID, sched.ID, &occurrence
			return a
		}
		must("fire", accept(s, fires()))

		s = open(t, crash(t, s, url), nil)
		refused("over the quota, after the crash", accept(s, direct()), push.TooMany)
		refused("the key of what was refused", keyOf(ctx, s, over), push.NotFound)
		must("the key of what was accepted", keyOf(ctx, s, keyed))
		refused("fire again", accept(s, fires()), push.Conflict)
		if p, err := s.ByRequest(ctx, 1, "r"); err != nil || p.ID != keyed.Push.ID {
			t.Errorf("by the id of its request: got %d, %v, want %d", p.ID, err, keyed.Push.ID)
		}
		if own, err := s.Personal(ctx, keyed.Push.ID, push.DayOf(keyed.Push.Expires), 2); err != nil || string(own) != `"own"` {
			t.Errorf("personal: got %s, %v", own, err)
		}
		got := map[push.ID]string{}
		for _, a := range []*push.Acceptance{held, recalled, keyed, opened, paced, message} {
			p, err := s.Find(ctx, 1, a.Push.ID)
			must("find", err)
			got[p.ID] = fmt.Sprint(p.State, " ", p.Target, " ", p.Cursor)
		}
		for id, want := range map[push.ID]string{
			held.Push.ID: "paused 2 0", recalled.Push.ID: "recalled 2 0", keyed.Push.ID: "done 2 0", message.Push.ID: "accepted 1 0",
			opened.Push.ID: fmt.Sprint("open 2 ", push.Everybody), paced.Push.ID: "sending 1 4711",
		} {
			if got[id] != want {
				t.Errorf("push %d: got %s, want %s", id, got[id], want)
			}
		}
		if n := owed(t, s, 1); n != 2 {
			t.Errorf("device 1 is owed %d, want 2: one was taken back", n)
		}
	})
}

// keyOf returns the error of looking up the key of a.
func keyOf(ctx context.Context, s *sqlstore.Store, a *push.Acceptance) error {
	_, _, err := s.FindKey(ctx, 1, a.Push.Request.Key)
	return err
}

func chunksOf(t *testing.T, all ...push.Ordinal) []push.Chunk {
	t.Helper()
	c, err := ordset.Of(all...).Chunks()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A quota whose row cannot be read begins anew, and keeps nobody from being accepted.
func TestADamagedQuota(t *testing.T) {
	databases(t, func(t *testing.T, url string) {
		s := open(t, url, nil)
		now := time.Now()
		charge := func(i int64) error {
			a := benchPush(i, 256, now)
			a.Charges = []push.Charge{{Name: "q", Field: "x", N: 1, Limit: 1, Window: time.Hour}}
			_, _, err := s.Accept(t.Context(), a)
			return err
		}
		if err := charge(1); err != nil {
			t.Fatal(err)
		}
		if err := charge(2); !errors.Is(err, push.TooMany) {
			t.Errorf("the second: got %v, want too many", err)
		}
		for i, packed := range []string{"", "09", "01ff", "0100ffffffffffffffffffff01", "01000001"} {
			value := "X'" + packed + "'"
			if strings.HasPrefix(url, "postgres://") {
				value = `'\x` + packed + "'"
			}
			alter(t, url, "UPDATE quota SET packed = "+value)
			if err := charge(int64(3 + i)); err != nil {
				t.Errorf("the row is %q: got %v, want it accepted", packed, err)
			}
		}
	})
}

// rowsOf returns how many rows a table of the record at url has.
func rowsOf(t *testing.T, url, table string) (n int) {
	t.Helper()
	driver := "sqlite"
	if strings.HasPrefix(url, "postgres://") {
		driver = "pgx"
	}
	db, err := sql.Open(driver, url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		t.Fatalf("%s: %v", table, err)
	}
	return n
}

func TestADeletedAppLeavesNothingOfItsPushes(t *testing.T) {
	databases(t, func(t *testing.T, url string) {
		s := open(t, url, nil)
		newApp(t, s)
		now := time.Now()
		a := benchPush(1, 256, now)
		a.Push.Request.RequestID, a.Push.Request.Key = "r", push.Key{Namespace: "n", Value: "k"}
		a.Charges = []push.Charge{{Name: "q", Field: "x", N: 1, Limit: 1, Window: time.Hour}}
		a.Personal = map[push.Ordinal][]byte{a.Targets[0]: []byte("1")}
		b := benchPush(2, 256, now)
		b.Push.Kind, b.Push.State, b.Targets, b.Totals, b.Personal = push.Bulk, push.Open, nil, nil, map[push.Ordinal][]byte{5: []byte("1")}
		for _, one := range []*push.Acceptance{a, b} {
			if _, _, err := s.Accept(t.Context(), one); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Hold(t.Context(), 1, a.Push.ID, true); err != nil {
			t.Fatal(err)
		}
		if err := s.Grow(t.Context(), push.Growth{App: 1, ID: b.Push.ID, Target: chunksOf(t, 5), Count: 1}); err != nil {
			t.Fatal(err)
		}
		day := push.DayOf(a.Push.Expires).String()
		tables := map[string]int{
			"direct_v1_" + day: 1, "inbox_v1_" + day: 1, "body_v1_" + day: 1, "personal_v1_" + day: 2,
			"push": 1, "target": 1, "held": 1, "request": 1, "quota": 1, "dedupe": 1,
		}
		for table, want := range tables {
			if got := rowsOf(t, url, table); got != want {
				t.Errorf("%s has %d rows, want %d", table, got, want)
			}
		}
		if err := s.DeleteApp(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		eventually(t, "everything is removed", func() bool {
			if _, err := s.Sweep(t.Context(), now, 1000); err != nil {
				t.Fatal(err)
			}
			for table := range tables {
				if rowsOf(t, url, table) > 0 {
					return false
				}
			}
			return true
		})
	})
}
