package agenda_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/agenda"
)

// A clock is the bubble's, and a jump.
type clock struct {
	mu   sync.Mutex // guards jump
	jump time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.jump)
}

func (c *clock) set(jump time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jump = jump
}

type fired struct {
	Key string
	At  time.Duration // by the clock, after the start
}

// A run is an Agenda whose Run is under way, and what it has fired.
type run struct {
	*agenda.Agenda[string]
	*clock
	begin time.Time
	fire  func(context.Context, string) // beside noting it; may be nil
	mu    sync.Mutex                    // guards all
	all   []fired
}

// start begins a run in a bubble; stop ends it and returns what has fired.
func start(t *testing.T) (r *run, stop func() []fired) {
	r = &run{Agenda: agenda.New[string](), clock: new(clock), begin: time.Now()}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		r.Run(ctx, r.now, func(ctx context.Context, key string) {
			r.mu.Lock()
			r.all = append(r.all, fired{key, r.now().Sub(r.begin)})
			r.mu.Unlock()
			if r.fire != nil {
				r.fire(ctx, key)
			}
		})
	})
	return r, func() []fired {
		cancel()
		wg.Wait()
		return r.all
	}
}

func (r *run) at(d time.Duration) time.Time { return r.begin.Add(d) }

func TestEachKeyFiresOnceAtItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := start(t)
		r.Add(r.at(90*time.Minute), "last")
		r.Add(r.at(time.Hour), "third")
		r.Add(r.at(-time.Hour), "past")
		synctest.Wait()
		r.Add(r.at(45*time.Minute), "first")
		r.Add(r.at(time.Hour), "fourth") // at the same time as the third, and added later
		if got := r.Len(); got != 4 {
			t.Errorf("got %d that wait, want 4", got)
		}
		time.Sleep(3 * time.Hour) // ok: synctest's time
		want := []fired{{"past", 0}, {"first", 45 * time.Minute}, {"third", time.Hour}, {"fourth", time.Hour}, {"last", 90 * time.Minute}}
		if diff := cmp.Diff(want, stop()); diff != "" {
			t.Errorf("fired (-want +got):\n%s", diff)
		}
		if got := r.Len(); got != 0 {
			t.Errorf("got %d that wait, want none", got)
		}
	})
}

func TestATimeCanBeChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := start(t)
		for _, key := range []string{"later by Add", "earlier by Add", "later by Move", "earlier by Move", "removed"} {
			r.Add(r.at(time.Hour), key)
		}
		r.Add(r.at(2*time.Hour), "later by Add")
		r.Add(r.at(30*time.Minute), "earlier by Add")
		r.Move(r.at(2*time.Hour), "later by Move")
		r.Move(r.at(20*time.Minute), "earlier by Move")
		r.Move(r.at(10*time.Minute), "new by Move")
		r.Remove("removed")
		r.Remove("never there")
		time.Sleep(3 * time.Hour) // ok: synctest's time
		want := []fired{
			{"new by Move", 10 * time.Minute},
			{"earlier by Move", 20 * time.Minute},
			{"earlier by Add", 30 * time.Minute},
			{"later by Add", time.Hour},
			{"later by Move", 2 * time.Hour},
		}
		if diff := cmp.Diff(want, stop()); diff != "" {
			t.Errorf("fired (-want +got):\n%s", diff)
		}
	})
}

func TestWhatFiresMayAddItselfAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := start(t)
		r.fire = func(_ context.Context, key string) {
			if next := r.now().Add(time.Hour); next.Before(r.at(150 * time.Minute)) {
				r.Add(next, key)
			}
		}
		r.Add(r.at(0), "again")
		time.Sleep(5 * time.Hour) // ok: synctest's time
		want := []fired{{"again", 0}, {"again", time.Hour}, {"again", 2 * time.Hour}}
		if diff := cmp.Diff(want, stop()); diff != "" {
			t.Errorf("fired (-want +got):\n%s", diff)
		}
	})
}

func TestAClockThatJumps(t *testing.T) {
	for _, tt := range []struct {
		name string
		jump time.Duration
		want map[string]time.Duration // when, in real time after the jump; none for what has not fired four hours later
	}{
		{"forward by an hour", time.Hour, map[string]time.Duration{"in half an hour": 0, "in two hours": time.Hour}},
		{"back by an hour", -time.Hour, map[string]time.Duration{"in half an hour": 90 * time.Minute, "in two hours": 3 * time.Hour}},
		{"back by a day", -24 * time.Hour, map[string]time.Duration{}},
		{"not at all", 0, map[string]time.Duration{"in half an hour": 30 * time.Minute, "in two hours": 2 * time.Hour}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, stop := start(t)
				got := map[string]time.Duration{}
				r.fire = func(_ context.Context, key string) { got[key] = time.Since(r.begin) }
				r.Add(r.at(-time.Second), "gone already")
				r.Add(r.at(30*time.Minute), "in half an hour")
				r.Add(r.at(2*time.Hour), "in two hours")
				synctest.Wait()
				delete(got, "gone already")
				r.set(tt.jump)
				time.Sleep(4 * time.Hour) // ok: synctest's time
				all := stop()
				if len(got) != len(tt.want) || len(all) != 1+len(tt.want) {
					t.Fatalf("got %v, of %v; want %v, each once", got, all, tt.want)
				}
				for key, want := range tt.want {
					// A timer is trusted for a second.
					if late := got[key] - want; late < 0 || late > time.Second {
						t.Errorf("%s: got %v, want %v", key, got[key], want)
					}
				}
			})
		})
	}
}

func TestThousandsDueAtOnce(t *testing.T) {
	const n = 100_000
	a := agenda.New[int]()
	now := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	for i := range n {
		a.Add(now.Add(-time.Minute), i)
		a.Add(now, i) // later than what is noted
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []int
	began := time.Now()
	a.Run(ctx, func() time.Time { return now }, func(_ context.Context, i int) {
		if got = append(got, i); len(got) == n {
			cancel()
		}
	})
	// Far more than it takes, and far less than any quadratic work would.
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	for i, key := range got {
		if key != i {
			t.Fatalf("got %d in the place of %d: what is due at one time fires in the order in which it was added", key, i)
		}
	}
}

func TestManyAddWhileItRuns(t *testing.T) {
	const each, writers = 500, 8
	a := agenda.New[int]()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	seen := map[int]int{}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				a.Add(time.Now().Add(time.Duration(i%7)*time.Millisecond), w*each+i)
			}
		})
	}
	a.Run(ctx, time.Now, func(_ context.Context, i int) {
		if seen[i]++; len(seen) == each*writers {
			cancel()
		}
	})
	wg.Wait()
	if len(seen) != each*writers {
		t.Fatalf("got %d keys, want %d", len(seen), each*writers)
	}
	for key, n := range seen {
		if n != 1 {
			t.Errorf("key %d fired %d times", key, n)
		}
	}
}
