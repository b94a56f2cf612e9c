package sqlstore_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/sqlstore"
	"github.com/carillonpush/carillon/internal/testpg"
)

// begin stores bulk push number i to target and begins it.
func begin(t *testing.T, s *sqlstore.Store, i int64, target []push.Chunk) push.ID {
	t.Helper()
	a := benchPush(i, 256, time.Now())
	a.Push.Kind, a.Push.State, a.Targets = push.Bulk, push.Accepted, nil
	if _, _, err := s.Accept(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if target != nil {
		if err := s.Begin(t.Context(), push.Start{App: 1, ID: a.Push.ID, Target: target, Count: 1}); err != nil {
			t.Fatal(err)
		}
	}
	return a.Push.ID
}

func chunks(t *testing.T, all ...push.Ordinal) []push.Chunk {
	t.Helper()
	c, err := ordset.Of(all...).Chunks()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func target(t *testing.T, s *sqlstore.Store, id push.ID) []push.Chunk {
	t.Helper()
	l, err := s.Load(t.Context(), 1, id)
	if err != nil {
		t.Fatal(err)
	}
	return l.Target
}

// A sweep that finds nothing to remove must not hold writers up.
func TestSweepThatFindsNothingWritesNothing(t *testing.T) {
	databases(t, func(t *testing.T, url string) {
		var commits atomic.Int64
		s := open(t, url, &sqlstore.Options{Observe: func(sqlstore.Commit) { commits.Add(1) }})
		for i := range int64(5) {
			begin(t, s, i, chunks(t, push.Ordinal(i), 70_000))
		}
		a := benchPush(9, 256, time.Now())
		a.Push.Request.Key = push.Key{Namespace: "rest", Value: "k"}
		if _, _, err := s.Accept(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		observed := func() int64 {
			s.HoldCommits()() // a commit is observed before the next may begin
			return commits.Load()
		}
		before := observed()
		for range 3 {
			if _, err := s.Sweep(t.Context(), time.Now(), 10); err != nil {
				t.Fatal(err)
			}
		}
		if n := observed() - before; n != 0 {
			t.Errorf("3 sweeps with nothing to remove made %d commits, want 0", n)
		}
	})
}

// Targets are removed when no live push has them, among any number that live pushes have.
func TestTargetsOfEndedPushesGo(t *testing.T) {
	databases(t, func(t *testing.T, url string) {
		s := open(t, url, nil)
		var ids []push.ID
		for i := range int64(300) { // more than are looked at in one read
			ids = append(ids, begin(t, s, i, chunks(t, push.Ordinal(i), 70_000, 140_000)))
		}
		check := func(gone func(i int) bool) {
			t.Helper()
			wrong := 0
			for i, id := range ids {
				want := 3
				if gone(i) {
					want = 0
				}
				if n := len(target(t, s, id)); n != want {
					wrong++
				}
			}
			if wrong > 0 {
				t.Errorf("%d of 300 targets are not as they should be", wrong)
			}
		}
		sweep := func() {
			t.Helper()
			for range 10 { // each has little time
				if _, err := s.Sweep(t.Context(), time.Now(), 10); err != nil {
					t.Fatal(err)
				}
			}
		}
		sweep()
		check(func(int) bool { return false })
		for i, id := range ids {
			if i%3 == 0 {
				if err := s.Move(t.Context(), 1, id, push.Sending, push.Cancelled, ""); err != nil {
					t.Fatal(err)
				}
			}
		}
		sweep()
		check(func(i int) bool { return i%3 == 0 })
		if err := s.Move(t.Context(), 1, ids[1], push.Sending, push.Expired, ""); err != nil {
			t.Fatal(err)
		}
		sweep()
		check(func(i int) bool { return i%3 == 0 || i == 1 })
	})
}

// Whether a target is nobody's is decided in the commit that removes it: here a push begins after the sweep has read.
func TestTargetOfAPushThatBeginsMeanwhile(t *testing.T) {
	databases(t, func(t *testing.T, url string) {
		s := open(t, url, nil)
		set := chunks(t, 1, 70_000)
		ended, begins := begin(t, s, 1, set), begin(t, s, 2, nil)
		if err := s.Move(t.Context(), 1, ended, push.Sending, push.Cancelled, ""); err != nil {
			t.Fatal(err)
		}
		release := s.HoldCommits()
		begun, swept := make(chan error, 1), make(chan error, 1)
		go func() { begun <- s.Begin(t.Context(), push.Start{App: 1, ID: begins, Target: set, Count: 2}) }()
		eventually(t, "the push begins", func() bool { return s.Depth() == 1 })
		go func() {
			_, err := s.Sweep(t.Context(), time.Now(), 10)
			swept <- err
		}()
		eventually(t, "the sweep has found the target", func() bool { return s.Depth() == 2 })
		release()
		if err := <-begun; err != nil {
			t.Error(err)
		}
		if err := <-swept; err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(target(t, s, begins), set); diff != "" {
			t.Errorf("target of the push that has begun (-got +want):\n%s", diff)
		}
	})
}

// A day whose table is dropped after the sweep has given up waiting is out of use, and stays so.
func TestDayThatIsDroppedAfterTheSweepGaveUp(t *testing.T) {
	s := open(t, testpg.URL(t), nil) // SQLite's tables are emptied first, so that its first write is another
	now := time.Now()
	a := benchPush(1, 256, now)
	if _, _, err := s.Accept(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Sweep(t.Context(), a.Push.Expires, 10); err != nil || n != 1 {
		t.Fatalf("sweep: got %d, %v, want 1", n, err)
	}
	inbox := "inbox_v1_" + push.DayOf(a.Push.Expires).String()
	release := s.HoldCommits()
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error, 1)
	go func() {
		_, err := s.Sweep(ctx, a.Push.Expires.Add(48*time.Hour), 10)
		gaveUp <- err
	}()
	eventually(t, "the drop is queued", func() bool { return s.Depth() == 1 })
	cancel()
	unavailable(t, "the sweep", <-gaveUp)
	release()
	eventually(t, "it is committed", func() bool { return s.Depth() == 0 })
	if n := owed(t, s, a.Targets[0]); n != 0 {
		t.Errorf("owed: got %d, want 0", n)
	}
	if err := s.Waiting(t.Context(), func(push.AppID, push.Ordinal) {}); err != nil {
		t.Errorf("waiting: %v", err)
	}
	for range 2 { // the second knows that it has gone
		if _, err := s.Sweep(t.Context(), a.Push.Expires.Add(48*time.Hour), 10); err != nil {
			t.Errorf("the next sweep: %v", err)
		}
	}
	for _, table := range s.Tables() {
		if table == inbox {
			t.Errorf("%s is in use", table)
		}
	}
	late := benchPush(2, 256, now)
	if _, _, err := s.Accept(t.Context(), late); err != nil {
		t.Errorf("a push of that day: %v", err)
	}
}

// What callers hand over is theirs again when they have given up, though the commit is still to come. With -race this also
// finds a function of the committer that writes to what its caller reads.
func TestCallersThatGiveUpTakeTheirThingsAlong(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "carillon.db"), &sqlstore.Options{Reserve: -1})
	app, err := s.CreateApp(t.Context(), push.App{Name: "a"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := benchPush(1, 256, time.Now())
	if _, _, err := s.Accept(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	value := []byte("mine")
	creds := []push.Credential{{Service: "native", Key: "k"}}
	more := []push.Credential{{App: app.ID, Service: "native", Key: "m"}}
	ordinals := []push.Ordinal{1, 2}
	for _, call := range []struct {
		name string
		do   func(ctx context.Context) error
		then func()
	}{
		{"meta", func(ctx context.Context) error { return s.PutMeta(ctx, "k", value) }, func() { copy(value, "your") }},
		{"an app", func(ctx context.Context) error {
			_, err := s.CreateApp(ctx, push.App{Name: "b"}, creds)
			return err
		}, func() { creds[0].Key = "taken" }},
		{"credentials", func(ctx context.Context) error { return s.PutCredentials(ctx, more) }, func() { more[0].Key = "taken" }},
		{"activity", func(ctx context.Context) error { return s.Touch(ctx, 1, 1, ordinals) }, func() { ordinals[0] = 7 }},
		{"a withdrawal", func(ctx context.Context) error {
			_, err := s.Withdraw(ctx, 1, a.Push.ID, push.MarkCancelled)
			return err
		}, func() {}},
	} {
		t.Run(call.name, func(t *testing.T) {
			release := s.HoldCommits()
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- call.do(ctx) }()
			eventually(t, "it is queued", func() bool { return s.Depth() == 1 })
			cancel()
			unavailable(t, call.name, <-done)
			call.then()
			release()
			eventually(t, "it is committed", func() bool { return s.Depth() == 0 })
		})
	}
	if got, err := s.Meta(t.Context(), "k"); err != nil || string(got) != "mine" {
		t.Errorf("meta: got %q, %v, want what was handed over", got, err)
	}
	_, stored, err := s.Apps(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for _, c := range stored {
		keys[c.Key] = true
	}
	if !keys["k"] || !keys["m"] || keys["taken"] {
		t.Errorf("credentials: got %v, want those that were handed over", keys)
	}
}

// A sweep whose time ends during its commit: the committer goes on, and writes to nothing that the sweep reads. Only -race
// can tell.
func TestSweepThatGivesUp(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "carillon.db"), &sqlstore.Options{Reserve: -1})
	now := time.Now()
	for i := range int64(20) {
		if _, _, err := s.Accept(t.Context(), benchPush(i, 256, now)); err != nil {
			t.Fatal(err)
		}
		release := s.HoldCommits()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := s.Sweep(ctx, now.Add(73*time.Hour), 10)
			done <- err
		}()
		eventually(t, "its removal is queued", func() bool { return s.Depth() == 1 })
		cancel() // and release at once: neither side is to know of the other
		release()
		if err := <-done; err != nil {
			unavailable(t, "the sweep", err)
		}
		eventually(t, "what it asked for is done", func() bool { return s.Depth() == 0 && s.InboxRows() == 0 })
	}
}

// Rows that were made while the clock was ahead do not keep the feed from being trimmed.
func TestFeedThatBeganWhileTheClockWasAhead(t *testing.T) {
	for _, ahead := range []int{1, 400, 1400} {
		t.Run(fmt.Sprint(ahead, " rows"), func(t *testing.T) {
			databases(t, func(t *testing.T, url string) {
				s := open(t, url, nil)
				newApp(t, s)
				var rows []push.DeviceRow
				for o := range push.Ordinal(3000) {
					rows = append(rows, benchDevice(o))
				}
				if err := s.ChangeDevices(t.Context(), push.DeviceChange{App: 1, Add: rows}); err != nil {
					t.Fatal(err)
				}
				last, _, err := s.LastChange(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				alter(t, url, fmt.Sprintf("UPDATE change SET at = at + 31536000000 WHERE seq IN (SELECT seq FROM change ORDER BY seq LIMIT %d)", ahead))
				now := time.Now()
				sweep := func(now time.Time) int64 {
					t.Helper()
					for range 3 { // each has little time
						if _, err := s.Sweep(t.Context(), now, 10); err != nil {
							t.Fatal(err)
						}
					}
					_, before, err := s.LastChange(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					return before
				}
				if before := sweep(now.Add(29 * 24 * time.Hour)); before != 0 {
					t.Errorf("after 29 days the feed begins after %d, want 0", before)
				}
				if before := sweep(now.Add(31 * 24 * time.Hour)); before != last {
					t.Errorf("after 31 days the feed begins after %d, want %d", before, last)
				}
			})
		})
	}
}

// Parts of files that stay cost a sweep nothing, however many they are.
func TestSweepOfFilesThatStay(t *testing.T) {
	databases(t, func(t *testing.T, url string) {
		s := open(t, url, nil)
		newApp(t, s)
		now := time.Now()
		if err := s.AddFilePart(t.Context(), 1, "f", 0, []byte("a\n"), now.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if err := s.AddFile(t.Context(), push.File{App: 1, ID: "f", Lines: 1, Created: now, Expires: now.Add(24 * time.Hour)}, 0); err != nil {
			t.Fatal(err)
		}
		alter(t, url, `WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < 200000)
			INSERT INTO file_part (app, id, n, lines) SELECT 1, 'f', n, CAST('a' AS {blob}) FROM c`)
		start := time.Now()
		for range 1000 {
			if n, err := s.SweepFiles(t.Context(), now.Add(time.Hour), 1000); err != nil || n != 0 {
				t.Fatalf("got %d parts, %v, want 0", n, err)
			}
		}
		if took := time.Since(start); took > 20*time.Second { // minutes, if the parts were looked at
			t.Errorf("1000 sweeps that found nothing took %v", took)
		}
		start = time.Now()
		if n, err := s.SweepFiles(t.Context(), now.Add(24*time.Hour), 1000); err != nil || n != 1000 {
			t.Errorf("when the file expires: got %d parts, %v, want the limit", n, err)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("a sweep of 1000 parts took %v", took)
		}
	})
}
