package dispatch_test

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillonpush/carillon/internal/dispatch"
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// A release is how many devices a plan released when.
type release struct {
	at time.Time
	n  int
}

// follow asks a plan for total devices, by a clock that starts at begin and runs late by what late returns.
func follow(rate, total int, begin time.Time, late func() time.Duration) []release {
	p, now := dispatch.NewPlan(rate, begin), begin
	var all []release
	for left := total; left > 0; {
		n, wait := p.Next(now, left)
		if n > 0 {
			all = append(all, release{now, n})
		}
		left -= n
		now = now.Add(wait + late())
	}
	return all
}

// most returns the most devices that were released in any window of a length.
func most(all []release, window time.Duration) int {
	top, sum, first := 0, 0, 0
	for _, r := range all {
		sum += r.n
		for r.at.Sub(all[first].at) >= window {
			sum -= all[first].n
			first++
		}
		top = max(top, sum)
	}
	return top
}

func TestAPlanKeepsItsRateAndIsSmooth(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name        string
		rate, total int
		late        time.Duration // a tick comes late by up to this
	}{
		{"one a second", 1, 100, 0},
		{"seven a second", 7, 300, 3 * time.Millisecond},
		{"ninety-five a second", 95, 5000, 3 * time.Millisecond},
		{"a thousand a second", 1000, 100_000, 0},
		{"a thousand a second, on a busy machine", 1000, 100_000, 8 * time.Millisecond},
		{"a hundred thousand a second", 100_000, 3_000_000, 3 * time.Millisecond},
		{"more than anybody sends", math.MaxInt32, math.MaxInt32, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			all := follow(tt.rate, tt.total, begin, func() time.Duration {
				if tt.late == 0 {
					return 0
				}
				return time.Duration(random.Int64N(int64(tt.late)))
			})
			took := all[len(all)-1].at.Sub(begin).Seconds()
			want := float64(tt.total) / float64(tt.rate)
			if tt.total > tt.rate && math.Abs(took-want) > want*0.02 {
				t.Errorf("took %.2f s, want %.2f s within 2 %%", took, want)
			}
			limit := max(int(1.2*float64(tt.rate)/10), int(math.Ceil(float64(tt.rate)/10))+1)
			if top := most(all, 100*time.Millisecond); top > limit {
				t.Errorf("%d devices in 100 ms, want at most %d", top, limit)
			}
		})
	}
}

func TestAPlanDoesNotMakeUpForALossInABurst(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		jump time.Duration
	}{
		{"a stall of 300 ms", 300 * time.Millisecond},
		{"a stall of ten seconds", 10 * time.Second},
		{"a clock that jumps ahead by an hour", time.Hour},
		{"a clock that jumps back by an hour", -time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ticks := 0
			all := follow(1000, 20_000, begin, func() time.Duration {
				if ticks++; ticks == 1000 {
					return tt.jump
				}
				return 0
			})
			// Around the jump the clock says nothing about windows: each side is looked at alone.
			cut := slices.IndexFunc(all, func(r release) bool { return r.at.Sub(begin) > 5*time.Second || r.at.Before(begin) })
			for _, part := range [][]release{all[:cut], all[cut:]} {
				if top := most(part, 100*time.Millisecond); top > 120 {
					t.Errorf("%d devices in 100 ms, want at most 120", top)
				}
			}
			after := all[len(all)-1].at.Sub(all[cut].at)
			if after < 13*time.Second || after > 15500*time.Millisecond {
				t.Errorf("what was left took %v, want about 15 s less a second that was made up for", after)
			}
		})
	}
}

// crowds are people of whom there are many: their audience is the ordinals below n.
type crowds struct {
	*people
	n push.Ordinal
}

func (c crowds) Target(context.Context, push.AppID, push.Audience) (*ordset.Set, int, error) {
	set := new(ordset.Set)
	for o := range c.n {
		set.Add(o)
	}
	return set, 0, nil
}

func (c crowds) Select(context.Context, push.AppID, push.Where) (*ordset.Set, error) {
	return new(ordset.Set), nil
}

// newCrowd is a house in synctest's time with n devices, of which all with even ordinals are connected.
func newCrowd(t *testing.T, dir string, n push.Ordinal) *house {
	h := newHouse(t, dir, new(clock))
	h.Audience = crowds{h.people, n}
	for o := push.Ordinal(0); o < n; o += 2 {
		h.gateway.connect(o)
	}
	return h
}

func paced(rate int) push.Request {
	r := toAll()
	r.Policy.Rate = rate
	return r
}

// state returns the state of a push in the record.
func (h *house) state(id push.ID) push.State {
	h.t.Helper()
	p, err := h.store.Find(h.t.Context(), theApp, id)
	if err != nil {
		h.t.Fatal(err)
	}
	return p.State
}

// passed are the devices that got a copy, in order, and when.
func (g *gate) passed() (devices []push.Ordinal, all []release) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, p := range g.posted {
		devices, all = append(devices, p.Device), append(all, release{g.times[i], 1})
	}
	return devices, all
}

func TestAPacedPushIsSentAtItsRate(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newCrowd(t, dir, 20_000)
		stop := h.runs()
		begin := time.Now()
		p := h.accept(paced(1000))
		time.Sleep(10 * time.Second) // ok: synctest's time
		if owed := h.owed(15_001); len(owed) != 0 {
			t.Error("a device is owed the push before its turn")
		}
		if owed := h.owed(4001); len(owed) != 1 {
			t.Error("a device that was away at its turn is owed nothing")
		}
		if s, err := h.Standing(t.Context(), theApp, p, 15_000); err != nil || !s.Turn || s.TurnAt.Sub(begin).Round(time.Second) != 15*time.Second {
			t.Errorf("standing %+v, %v, want its turn 15 s after the start", s, err)
		}
		time.Sleep(11 * time.Second) // ok: synctest's time
		stop()
		devices, all := h.gateway.passed()
		if len(devices) != 10_000 || !slices.IsSorted(devices) {
			t.Fatalf("%d devices got it, in order %v, want 10000 in order", len(devices), slices.IsSorted(devices))
		}
		if took := all[len(all)-1].at.Sub(begin); took < 19600*time.Millisecond || took > 20400*time.Millisecond {
			t.Errorf("it took %v, want 20 s within 2 %%", took)
		}
		if top := most(all, 100*time.Millisecond); top > 60 { // half of them are connected
			t.Errorf("%d copies in 100 ms, want at most 60", top)
		}
		found, r := h.report(p.ID)
		if found.State != push.Done || r.Target != 20_000 || found.Cursor != push.Everybody {
			t.Errorf("got %s with cursor %d, target %d, want done and everybody", found.State, found.Cursor, r.Target)
		}
	})
}

func TestAPassThatCannotCommitStandsStill(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newCrowd(t, dir, 2000)
		stop := h.runs()
		defer stop()
		p := h.accept(paced(1000))
		time.Sleep(500 * time.Millisecond) // ok: synctest's time
		h.unsure.fail("Advance")
		time.Sleep(700 * time.Millisecond) // ok: synctest's time
		if found, _ := h.report(p.ID); found.State != push.Sending {
			t.Fatalf("got %s, want sending", found.State)
		}
		devices, _ := h.gateway.passed()
		found, err := h.store.Find(t.Context(), theApp, p.ID)
		if last := devices[len(devices)-1]; err != nil || last >= found.Cursor {
			t.Errorf("device %d got it, beyond the committed cursor %d, %v", last, found.Cursor, err)
		}
		time.Sleep(4 * time.Second) // ok: synctest's time
		devices, all := h.gateway.passed()
		if len(devices) != 1000 || h.state(p.ID) != push.Done {
			t.Errorf("%d devices got it, the push is %s", len(devices), h.state(p.ID))
		}
		if top := most(all, 100*time.Millisecond); top > 60 {
			t.Errorf("%d copies in 100 ms, want at most 60", top)
		}
	})
}

func TestAPacedPushIsPausedResumedAndRestarted(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		h := newCrowd(t, dir, 6000)
		stop := h.runs()
		p := h.accept(paced(1000))
		time.Sleep(2 * time.Second) // ok: synctest's time
		if got, err := h.Pause(ctx, theApp, p.ID); err != nil || got.State != push.Paused {
			t.Fatalf("Pause: %s, %v", got.State, err)
		}
		before := len(h.gateway.take())
		if before < 900 || before > 1100 {
			t.Errorf("%d devices got it in 2 s, want about 1000", before)
		}
		time.Sleep(5 * time.Second) // ok: synctest's time
		if n := len(h.gateway.take()); n != 0 || len(h.owed(1)) != 0 {
			t.Errorf("%d copies left while it was paused, and %v is owed", n, h.owed(1))
		}
		h.gateway.connect(1)
		if _, err := h.Resume(ctx, theApp, p.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // ok: synctest's time
		some := h.gateway.take()
		if some[0].Device != 1 {
			t.Errorf("%v got it first, want the device that came meanwhile, whose turn had been", some[0])
		}
		some = some[1:]
		if len(some) < 400 || len(some) > 600 || some[0].Device < push.Ordinal(2*before-2) {
			t.Errorf("%d devices got it in the next second, from %v on", len(some), some[0])
		}
		if _, err := h.Pause(ctx, theApp, p.ID); err != nil {
			t.Fatal(err)
		}
		stop()
		h.close()

		h = newCrowd(t, dir, 6000)
		stop = h.runs()
		time.Sleep(time.Minute) // ok: synctest's time
		if n := len(h.gateway.take()); n != 0 || len(h.owed(0)) != 0 {
			t.Errorf("after a restart %d copies of a paced, paused push left", n)
		}
		if _, err := h.Resume(ctx, theApp, p.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second) // ok: synctest's time
		stop()
		rest := h.gateway.take()
		rest = slices.DeleteFunc(rest, func(p posted) bool { return p.Device <= some[len(some)-1].Device }) // again, to a new connection
		if last := some[len(some)-1].Device; rest[0].Device > last+600 || rest[len(rest)-1].Device != 5998 || h.state(p.ID) != push.Done {
			t.Errorf("the pass went on from %v to %v after %v, and the push is %s", rest[0], rest[len(rest)-1], last, h.state(p.ID))
		}
		for o := push.Ordinal(0); o < 6000; o += 500 {
			if len(h.owed(o)) != 1 {
				t.Errorf("device %d is owed %v", o, h.owed(o))
			}
		}
	})
}

func TestACancelEndsAPass(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newCrowd(t, dir, 6000)
		defer h.runs()()
		p := h.accept(paced(1000))
		time.Sleep(time.Second) // ok: synctest's time
		if _, err := h.Cancel(t.Context(), theApp, p.ID); err != nil {
			t.Fatal(err)
		}
		h.gateway.take()
		time.Sleep(10 * time.Second) // ok: synctest's time
		if n := len(h.gateway.take()); n != 0 || h.state(p.ID) != push.Cancelled {
			t.Errorf("%d copies left afterwards, the push is %s", n, h.state(p.ID))
		}
	})
}

// Whether a device is away is found out when its turn comes.
func TestAPacedPushThatIsNowOrNever(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newCrowd(t, dir, 1000)
		defer h.runs()()
		r, no := paced(100), false
		r.Policy.StoreOffline = &no
		p := h.accept(r)
		time.Sleep(5 * time.Second) // ok: synctest's time
		h.gateway.connect(999)
		time.Sleep(6 * time.Second) // ok: synctest's time
		devices, _ := h.gateway.passed()
		if len(devices) != 501 || devices[500] != 999 {
			t.Errorf("%d devices got it, want the 500 that were connected, and the one that came in time", len(devices))
		}
		if _, r := h.report(p.ID); r.Dropped["offline"] != 499 || r.Pending != 501 {
			t.Errorf("got %+v, want 499 offline", r)
		}
	})
}

// A push that is due begins without anybody's help, and many at once each once.
func TestRunStartsWhatIsDue(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newCrowd(t, dir, 2)
		defer h.runs()()
		hour := time.Now().Add(time.Hour)
		later := toAll()
		later.Policy.StartAt = &hour
		scheduled := h.accept(later)
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() { h.accept(toAll()) })
		}
		wg.Wait()
		time.Sleep(time.Second) // ok: synctest's time
		if n := len(h.gateway.take()); n != 30 {
			t.Errorf("%d copies after a second, want 30", n)
		}
		time.Sleep(time.Hour - 2*time.Second) // ok: synctest's time
		if n := len(h.gateway.take()); n != 0 {
			t.Errorf("%d copies before the hour", n)
		}
		time.Sleep(2 * time.Second) // ok: synctest's time
		if n := len(h.gateway.take()); n != 1 || h.state(scheduled.ID) != push.Done {
			t.Errorf("%d copies of the scheduled push, which is %s", n, h.state(scheduled.ID))
		}
	})
}
