package jobs_test

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/carillonpush/carillon/internal/jobs"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/testpg"
)

func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }

// each runs a test on both databases.
func each(t *testing.T, test func(t *testing.T, database string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, filepath.Join(t.TempDir(), "jobs db?.sqlite")) })
	t.Run("postgres", func(t *testing.T) { test(t, testpg.URL(t)) })
}

type woken struct {
	app push.AppID
	id  int64
}

const kind = "webhook"

func open(t *testing.T, database string, handlers jobs.Handlers) *jobs.Queue {
	t.Helper()
	q, err := jobs.Open(t.Context(), database, handlers, nil)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// run runs q until the function that it returns is called, which closes it.
func run(t *testing.T, q *jobs.Queue) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := q.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

// noting returns a handler that says whom it was called for.
func noting(got chan<- woken) jobs.Handler {
	return func(_ context.Context, app push.AppID, id int64) error {
		got <- woken{app, id}
		return nil
	}
}

func next(t *testing.T, got <-chan woken) woken {
	t.Helper()
	select {
	case w := <-got:
		return w
	case <-time.After(30 * time.Second):
		t.Fatal("nobody was woken")
		return woken{}
	}
}

func ask(t *testing.T, q *jobs.Queue, kind string, w woken, at time.Time) {
	t.Helper()
	if err := q.Wake(t.Context(), kind, w.app, w.id, at); err != nil {
		t.Fatal(err)
	}
}

func TestAWakeUpRunsTheHandlerOfItsKind(t *testing.T) {
	each(t, func(t *testing.T, database string) {
		defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
		got, other := make(chan woken, 10), make(chan woken, 10)
		q := open(t, database, jobs.Handlers{kind: noting(got), "other": noting(other)})
		defer run(t, q)()
		want := woken{7, 1234567890123456789}
		ask(t, q, kind, want, time.Time{})
		if w := next(t, got); w != want {
			t.Errorf("woke %v, want %v", w, want)
		}
		ask(t, q, "other", want, time.Time{})
		if w := next(t, other); w != want || len(got) != 0 {
			t.Errorf("woke %v, and %d of the first kind, want %v and none", w, len(got), want)
		}
		if err := q.Wake(t.Context(), "nobody's", 1, 1, time.Time{}); !errors.Is(err, push.Invalid) {
			t.Errorf("a kind without a handler: got %v, want invalid", err)
		}
	})
}

func TestAWakeUpThatIsAskedForTwiceRunsOnce(t *testing.T) {
	each(t, func(t *testing.T, database string) {
		got := make(chan woken, 10)
		q := open(t, database, jobs.Handlers{kind: noting(got)})
		for _, id := range []int64{1, 1, 1, 2} { // none is worked on yet
			ask(t, q, kind, woken{1, id}, time.Time{})
		}
		stop := run(t, q)
		all := []woken{next(t, got), next(t, got)}
		ask(t, q, kind, woken{1, 3}, time.Time{})
		all = append(all, next(t, got))
		stop()
		slices.SortFunc(all, func(a, b woken) int { return cmp.Compare(a.id, b.id) })
		if want := []woken{{1, 1}, {1, 2}, {1, 3}}; !slices.Equal(all, want) || len(got) != 0 {
			t.Errorf("got %v and %d more, want %v", all, len(got), want)
		}
	})
}

func TestAWakeUpOutlivesAStop(t *testing.T) {
	each(t, func(t *testing.T, database string) {
		q := open(t, database, jobs.Handlers{kind: noting(nil)})
		ask(t, q, kind, woken{3, 4}, time.Time{})
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		got := make(chan woken, 1)
		defer run(t, open(t, database, jobs.Handlers{kind: noting(got)}))()
		if w := next(t, got); w != (woken{3, 4}) {
			t.Errorf("woke %v", w)
		}
	})
}

func TestAWakeUpWaitsForItsTime(t *testing.T) {
	each(t, func(t *testing.T, database string) {
		type call struct {
			woken
			at time.Time
		}
		got := make(chan call, 10)
		q := open(t, database, jobs.Handlers{kind: func(_ context.Context, app push.AppID, id int64) error {
			got <- call{woken{app, id}, time.Now()}
			return nil
		}})
		defer run(t, q)()
		due := time.Now().Add(1500 * time.Millisecond)
		ask(t, q, kind, woken{1, 1}, due)
		ask(t, q, kind, woken{1, 2}, time.Time{})
		for i, want := range []int64{2, 1} {
			select {
			case c := <-got:
				if c.id != want || i == 1 && c.at.Before(due) {
					t.Errorf("call %d: got %d at %v, want %d, the second not before %v", i, c.id, c.at, want, due)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("nobody was woken")
			}
		}
	})
}

func TestAnEarlierWakeUpIsNotTakenForALaterOne(t *testing.T) {
	each(t, func(t *testing.T, database string) {
		got := make(chan woken, 10)
		q := open(t, database, jobs.Handlers{kind: noting(got)})
		defer run(t, q)()
		ask(t, q, kind, woken{1, 1}, time.Now().Add(time.Hour))
		ask(t, q, kind, woken{1, 1}, time.Time{})
		if w := next(t, got); w != (woken{1, 1}) {
			t.Errorf("woke %v", w)
		}
	})
}

// What a run under way has read may be older than the wish.
func TestAWishDuringARunIsForAnother(t *testing.T) {
	each(t, func(t *testing.T, database string) {
		got, release := make(chan woken), make(chan struct{})
		q := open(t, database, jobs.Handlers{kind: func(_ context.Context, app push.AppID, id int64) error {
			got <- woken{app, id}
			<-release
			return nil
		}})
		defer run(t, q)()
		defer close(release)
		ask(t, q, kind, woken{1, 1}, time.Time{})
		next(t, got)
		ask(t, q, kind, woken{1, 1}, time.Time{})
		next(t, got)
	})
}

// Whoever asks while River starts is answered: the wish is durable by a way of its own.
func TestAskingDoesNotWaitForTheStart(t *testing.T) {
	each(t, func(t *testing.T, database string) {
		got := make(chan woken, 300)
		q := open(t, database, jobs.Handlers{kind: noting(got)})
		var wg sync.WaitGroup
		asking, stopped := context.WithCancel(t.Context())
		asked := make(chan int64, 1)
		wg.Go(func() {
			n := int64(0)
			for ; n < 200 && asking.Err() == nil; n++ {
				if err := q.Wake(t.Context(), kind, 1, n, time.Time{}); err != nil {
					t.Error(err)
				}
				if n == 0 {
					asked <- n
				}
			}
			asked <- n
		})
		<-asked
		stop := run(t, q)
		next(t, got) // it has started, and some were asked for meanwhile
		stopped()
		wg.Wait()
		for range <-asked - 1 {
			next(t, got)
		}
		stop()
	})
}

// A process that died while a job ran has left it running: that must not keep the next process from asking.
func TestWhatADeadProcessBeganDoesNotBlock(t *testing.T) {
	each(t, func(t *testing.T, database string) {
		began, release := make(chan woken, 1), make(chan struct{})
		dead := open(t, database, jobs.Handlers{kind: func(_ context.Context, app push.AppID, id int64) error {
			began <- woken{app, id}
			<-release
			return nil
		}})
		stop := run(t, dead)
		ask(t, dead, kind, woken{1, 1}, time.Time{})
		next(t, began) // and is not done while the next process is there

		got := make(chan woken, 1)
		q := open(t, database, jobs.Handlers{kind: noting(got)})
		ask(t, q, kind, woken{1, 1}, time.Time{})
		stopNext := run(t, q)
		select {
		case <-got:
		case <-began: // either process may take the wish
		case <-time.After(30 * time.Second):
			t.Error("the wish is lost")
		}
		close(release)
		stopNext()
		stop()
	})
}

func TestAJobThatFailsIsDoneAgain(t *testing.T) {
	each(t, func(t *testing.T, database string) {
		var calls atomic.Int32
		got := make(chan woken, 1)
		q := open(t, database, jobs.Handlers{kind: func(_ context.Context, app push.AppID, id int64) error {
			if calls.Add(1) == 1 {
				return errors.New("the record is away")
			}
			got <- woken{app, id}
			return nil
		}})
		defer run(t, q)()
		ask(t, q, kind, woken{1, 1}, time.Time{})
		next(t, got)
	})
}
