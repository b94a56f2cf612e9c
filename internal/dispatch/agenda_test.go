package dispatch_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/dispatch"
	"github.com/carillonpush/carillon/internal/push"
)

type fired struct {
	ID push.ID
	At time.Duration // after the start
}

func TestAgendaStartsEachPushOnceAtItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		a := dispatch.NewAgenda()
		var got []fired
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { a.Run(ctx, time.Now, func(id push.ID) { got = append(got, fired{id, time.Since(begin)}) }) })
		a.Add(begin.Add(90*time.Minute), 1)
		a.Add(begin.Add(time.Hour), 2)
		a.Add(begin.Add(time.Hour), 2) // noted already
		a.Add(begin.Add(-time.Hour), 3)
		time.Sleep(30 * time.Minute) // ok: synctest's time
		a.Add(begin.Add(45*time.Minute), 4)
		time.Sleep(3 * time.Hour) // ok: synctest's time
		cancel()
		wg.Wait()
		want := []fired{{3, 0}, {4, 45 * time.Minute}, {2, time.Hour}, {1, 90 * time.Minute}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("fired (-want +got):\n%s", diff)
		}
	})
}

func TestAgendaFollowsAWallClockThatJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var jump time.Duration
		now := func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(jump)
		}
		a := dispatch.NewAgenda()
		var got []push.ID
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { a.Run(ctx, now, func(id push.ID) { got = append(got, id) }) })
		a.Add(now().Add(time.Hour), 1)
		synctest.Wait()
		mu.Lock()
		jump = 2 * time.Hour
		mu.Unlock()
		time.Sleep(2 * time.Second) // ok: synctest's time
		cancel()
		wg.Wait()
		if diff := cmp.Diff([]push.ID{1}, got); diff != "" {
			t.Errorf("two seconds after the jump (-want +got):\n%s", diff)
		}
	})
}
