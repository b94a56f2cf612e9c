package jobs_test

import (
	"context"
	"os"
	"path/filepath"
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
	id  push.ID
}

func start(t *testing.T, database string, handle jobs.Handler) (*jobs.Queue, func()) {
	t.Helper()
	q, err := jobs.Open(t.Context(), database, handle, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	return q, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := q.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

func TestAWakeUpRunsTheHandler(t *testing.T) {
	each(t, func(t *testing.T, database string) {
		defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
		got := make(chan woken, 10)
		q, stop := start(t, database, func(_ context.Context, app push.AppID, id push.ID) error {
			got <- woken{app, id}
			return nil
		})
		defer stop()
		want := woken{7, 1234567890123456789}
		if err := q.Wake(t.Context(), want.app, want.id); err != nil {
			t.Fatal(err)
		}
		select {
		case w := <-got:
			if w != want {
				t.Errorf("woke %v, want %v", w, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("nobody was woken")
		}
	})
}

func TestAWakeUpThatIsAskedForTwiceRunsOnce(t *testing.T) {
	each(t, func(t *testing.T, database string) {
		var runs atomic.Int32
		last := make(chan struct{}, 1)
		q, err := jobs.Open(t.Context(), database, func(_ context.Context, _ push.AppID, id push.ID) error {
			if id == 2 {
				last <- struct{}{}
				return nil
			}
			runs.Add(1)
			return nil
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []push.ID{1, 1, 1, 2} { // none is worked on yet
			if err := q.Wake(t.Context(), 1, id); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- q.Run(ctx) }()
		select {
		case <-last:
		case <-time.After(20 * time.Second):
			t.Fatal("nobody was woken")
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if n := runs.Load(); n != 1 {
			t.Errorf("ran %d times, want once", n)
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAWakeUpOutlivesAStop(t *testing.T) {
	each(t, func(t *testing.T, database string) {
		q, err := jobs.Open(t.Context(), database, func(context.Context, push.AppID, push.ID) error { return nil }, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Wake(t.Context(), 3, 4); err != nil {
			t.Fatal(err)
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		got := make(chan woken, 1)
		_, stop := start(t, database, func(_ context.Context, app push.AppID, id push.ID) error {
			got <- woken{app, id}
			return nil
		})
		defer stop()
		select {
		case w := <-got:
			if w != (woken{3, 4}) {
				t.Errorf("woke %v", w)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the wake-up is lost")
		}
	})
}
