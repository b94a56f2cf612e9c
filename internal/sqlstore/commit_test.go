package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/sqlstore"
	"github.com/carillonpush/carillon/internal/testpg"
)

func open(t *testing.T, url string, opts *sqlstore.Options) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), url, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// owed returns how many pushes wait for a device of app 1.
func owed(t *testing.T, s *sqlstore.Store, o push.Ordinal) int {
	t.Helper()
	all, err := s.Owed(t.Context(), 1, o, time.Now(), 1000, nil)
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// eventually waits until ok is true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) { // ok: a foreign process is waited for, with a deadline
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

func TestManyCallersShareCommits(t *testing.T) {
	databases(t, func(t *testing.T, url string) {
		var commits, rows atomic.Int64
		s := open(t, url, &sqlstore.Options{Observe: func(c sqlstore.Commit) {
			commits.Add(1)
			rows.Add(int64(c.Rows))
			if c.Rows == 0 || c.Bytes == 0 || c.Duration <= 0 || c.Wait < 0 {
				t.Errorf("observed %+v", c)
			}
		}})
		const n = 1000
		now := time.Now()
		release := s.HoldCommits() // all are queued before the second commit begins
		errs := make(chan error, n)
		for i := range n {
			go func() {
				a := benchPush(int64(i), 256, now)
				a.Targets = []push.Ordinal{push.Ordinal(i)}
				_, _, err := s.Accept(t.Context(), a)
				errs <- err
			}()
		}
		eventually(t, "all are queued", func() bool { return s.Depth() == n })
		release()
		for range n {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
		if got := commits.Load(); got > 2 {
			t.Errorf("%d callers took %d commits, want 2: what the committer had taken, and the rest", n, got)
		}
		if got := rows.Load(); got != 2*n {
			t.Errorf("observed %d rows, want %d: one a push, one an inbox", got, 2*n)
		}
		if got := s.InboxRows(); got != n {
			t.Errorf("inbox rows: got %d, want %d", got, n)
		}
		for _, o := range []push.Ordinal{0, 500, n - 1} {
			if got := owed(t, s, o); got != 1 {
				t.Errorf("device %d is owed %d, want 1", o, got)
			}
		}
	})
}

func TestOneBadRowFailsAlone(t *testing.T) {
	databases(t, func(t *testing.T, url string) {
		s := open(t, url, nil)
		var mu sync.Mutex
		var told []push.Receipt
		s.OnReceipts(func(row push.Logged) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, row.Receipts...)
		})
		now := time.Now()
		twin := benchPush(7, 256, now)
		if _, _, err := s.Accept(t.Context(), twin); err != nil {
			t.Fatal(err)
		}
		release := s.HoldCommits()
		// The first write is taken alone, so that the others are one batch behind it.
		first := make(chan error, 1)
		go func() { first <- s.PutMeta(t.Context(), "first", nil) }()
		eventually(t, "the first is queued", func() bool { return s.Depth() == 1 })
		good := make(chan error, 20)
		for i := range 10 {
			go func() {
				a := benchPush(int64(100+i), 256, now)
				a.Targets = []push.Ordinal{push.Ordinal(2_000_000 + i)}
				_, _, err := s.Accept(t.Context(), a)
				good <- err
			}()
			go func() {
				good <- s.Receive(t.Context(), push.Receipt{App: 1, Push: push.ID(i + 1), Ordinal: push.Ordinal(i), Mark: push.MarkSent})
			}()
		}
		bad := make(chan error, 1)
		go func() {
			_, _, err := s.Accept(t.Context(), benchPush(7, 256, now))
			bad <- err
		}()
		refused, panics := s.BadWrite("bad"), s.PanicWrite()
		eventually(t, "all are queued", func() bool { return s.Depth() == 24 })
		release()
		if err := <-first; err != nil {
			t.Errorf("the first: %v", err)
		}
		for range 20 {
			if err := <-good; err != nil {
				t.Errorf("a good write: %v", err)
			}
		}
		if err := <-bad; !errors.Is(err, push.Conflict) {
			t.Errorf("a push with an id that was used: got %v, want conflict", err)
		}
		if err := refused.Wait(); !errors.Is(err, push.Conflict) {
			t.Errorf("a write that the database refuses: got %v, want conflict", err)
		}
		if err := panics.Wait(); !errors.Is(err, push.Internal) {
			t.Errorf("a write that panics: got %v, want internal", err)
		}
		if _, err := s.Meta(t.Context(), "bad"); !errors.Is(err, push.NotFound) {
			t.Errorf("what the refused write had changed: got %v, want not found", err)
		}
		for i := range push.Ordinal(10) {
			if got := owed(t, s, 2_000_000+i); got != 1 {
				t.Errorf("device %d is owed %d, want 1", i, got)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if len(told) != 10 {
			t.Errorf("told of %d receipts, want each of 10 once", len(told))
		}
	})
}

func TestCallerThatGivesUp(t *testing.T) {
	databases(t, func(t *testing.T, url string) {
		s := open(t, url, nil)
		release := s.HoldCommits()
		ctx, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan error, 1)
		a := benchPush(1, 256, time.Now())
		a.Targets = []push.Ordinal{42}
		go func() {
			_, _, err := s.Accept(ctx, a)
			gaveUp <- err
		}()
		eventually(t, "it is queued", func() bool { return s.Depth() == 1 })
		cancel()
		if err := <-gaveUp; !errors.Is(err, push.Unavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want unavailable because it was cancelled", err)
		}
		release()
		eventually(t, "its row is committed all the same", func() bool { return owed(t, s, 42) == 1 })
	})
}

func TestFullQueueBlocks(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "carillon.db"), &sqlstore.Options{QueueBytes: 4096})
	release := s.HoldCommits()
	errs := make(chan error, 100)
	for i := range 10 {
		go func() { errs <- s.PutMeta(t.Context(), fmt.Sprint(i), make([]byte, 1000)) }()
	}
	eventually(t, "the queue is full", func() bool { return s.Depth() == 3 })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.PutMeta(ctx, "x", make([]byte, 1000)); !errors.Is(err, push.Unavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one more: got %v, want unavailable when its time is up", err)
	}
	if got := s.Depth(); got != 3 {
		t.Errorf("depth: got %d, want 3: the rest waits outside", got)
	}
	release()
	for range 10 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Meta(t.Context(), "x"); !errors.Is(err, push.NotFound) {
		t.Errorf("what never was queued: got %v, want not found", err)
	}
	// A write larger than the queue goes through alone.
	if err := s.PutMeta(t.Context(), "large", make([]byte, 10_000)); err != nil {
		t.Error(err)
	}
}

func TestCloseCommitsWhatIsQueued(t *testing.T) {
	databases(t, func(t *testing.T, url string) {
		s := open(t, url, nil)
		release := s.HoldCommits()
		errs := make(chan error, 50)
		for i := range 50 {
			go func() { errs <- s.PutMeta(t.Context(), fmt.Sprint(i), []byte("v")) }()
		}
		eventually(t, "all are queued", func() bool { return s.Depth() == 50 })
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		release()
		for range 50 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if err := s.PutMeta(t.Context(), "late", nil); !errors.Is(err, push.Unavailable) {
			t.Errorf("a write after Close: got %v, want unavailable", err)
		}
		s.Post(push.Receipt{App: 1, Push: 1, Mark: push.MarkSent}) // must not block
		again := open(t, url, nil)
		if _, err := again.Meta(t.Context(), "49"); err != nil {
			t.Error(err)
		}
	})
}

func TestReceiptsAreToldBeforeCallersWake(t *testing.T) {
	databases(t, func(t *testing.T, url string) {
		s := open(t, url, nil)
		var told atomic.Int64
		last := int64(0)
		s.OnReceipts(func(row push.Logged) {
			if row.Seq <= last {
				t.Errorf("told of %d after %d", row.Seq, last)
			}
			last = row.Seq
			told.Add(int64(len(row.Receipts)))
			if row.Receipts[0].Ordinal == 3 {
				panic("a listener's fault")
			}
		})
		for i := range push.Ordinal(10) {
			if err := s.Receive(t.Context(), push.Receipt{App: 1, Push: 1, Ordinal: i, Mark: push.MarkSent}); err != nil {
				t.Fatal(err)
			}
			if got := told.Load(); got != int64(i)+1 {
				t.Fatalf("after %d receipts were answered %d were told", i+1, got)
			}
		}
	})
}

func TestDiskReserve(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "carillon.db"), &sqlstore.Options{Reserve: 1 << 60})
	a := benchPush(1, 256, time.Now())
	if _, _, err := s.Accept(t.Context(), a); !errors.Is(err, push.Unavailable) {
		t.Errorf("accept below the reserve: got %v, want unavailable", err)
	}
	if err := s.Receive(t.Context(), push.Receipt{App: 1, Push: 1, Mark: push.MarkSent}); err != nil {
		t.Errorf("a receipt below the reserve: %v", err)
	}
	if _, err := s.Sweep(t.Context(), time.Now(), 10); err != nil {
		t.Errorf("a sweep below the reserve: %v", err)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "carillon.db")
	s := open(t, path, nil)
	if _, err := sqlstore.Open(t.Context(), path, nil); !errors.Is(err, push.Conflict) {
		t.Errorf("open again: got %v, want conflict", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, path, nil)
}

func TestNoGoroutineIsLeft(t *testing.T) {
	before := goleak.IgnoreCurrent()
	databases(t, func(t *testing.T, url string) {
		s, err := sqlstore.Open(t.Context(), url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Accept(t.Context(), benchPush(1, 256, time.Now())); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	goleak.VerifyNone(t, before)
}

// A server that goes away and comes back costs answers, not rows, and the store goes on by itself. Who reads notices
// nothing: the connections that have gone are found out, and another is asked.
func TestServerThatComesBack(t *testing.T) {
	url := testpg.URL(t)
	s := open(t, url, &sqlstore.Options{Readers: 16})
	if err := s.PutMeta(t.Context(), "before", []byte("v")); err != nil {
		t.Fatal(err)
	}
	read := func(key string) error {
		got, err := s.Meta(t.Context(), key)
		if err == nil && string(got) != "v" {
			err = fmt.Errorf("%s is %q", key, got)
		}
		return err
	}
	for range 3 {
		release := s.ReadAtOnce(t, 16) // so that there are as many connections
		release()
		terminate(t, url)
		var readers sync.WaitGroup
		for range 64 {
			readers.Go(func() {
				if err := read("before"); err != nil {
					t.Errorf("a read: %v", err)
				}
			})
		}
		readers.Wait()
		eventually(t, "writes succeed again", func() bool {
			err := s.PutMeta(t.Context(), "after", []byte("v"))
			if err != nil && !errors.Is(err, push.Unavailable) {
				t.Fatalf("meanwhile: got %v, want unavailable", err)
			}
			return err == nil
		})
		if err := read("after"); err != nil {
			t.Errorf("what was written: %v", err)
		}
	}
}
