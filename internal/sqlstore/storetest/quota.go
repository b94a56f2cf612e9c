package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// daily returns a charge under a quota of a day that begins an hour before noon.
func daily(n, limit int) push.Charge {
	return push.Charge{
		Name: "umeng.android/day", Field: "umeng.broadcasts_per_day", What: "broadcasts a day",
		N: n, Limit: limit, Window: push.Daily, Since: noon.Add(-time.Hour), Until: noon.Add(23 * time.Hour),
	}
}

// sliding returns a charge under a quota of a minute.
func sliding(n, limit int) push.Charge {
	return push.Charge{Name: "rest/minute", Field: "rest.pushes_per_minute", What: "pushes a minute", N: n, Limit: limit, Window: time.Minute}
}

// charge accepts a push of app at a time, and returns how long it is told to wait: 0 if it was accepted.
func charge(t *testing.T, p *Ports, app push.AppID, when time.Time, charges ...push.Charge) time.Duration {
	t.Helper()
	a := at(direct(app, time.Hour, 1), when)
	a.Charges = charges
	_, repeated, err := p.Record.Accept(t.Context(), a)
	if err == nil && !repeated {
		return 0
	}
	var e *push.Error
	if !errors.As(err, &e) || e.Kind != push.TooMany || e.RetryAfter <= 0 {
		t.Fatalf("accept: got repeated %v, %v, want it accepted or too many with a time to wait", repeated, err)
	}
	return e.RetryAfter
}

func testQuotaDay(t *testing.T, p *Ports) {
	wait := func(what string, got, want time.Duration) {
		t.Helper()
		if got != want {
			t.Errorf("%s: told to wait %v, want %v", what, got, want)
		}
	}
	wait("first", charge(t, p, 1, noon, daily(1, 3)), 0)
	wait("two at once", charge(t, p, 1, noon.Add(time.Minute), daily(2, 3)), 0)
	wait("the fourth", charge(t, p, 1, noon.Add(2*time.Minute), daily(1, 3)), 23*time.Hour-2*time.Minute)
	wait("another app", charge(t, p, 2, noon, daily(1, 3)), 0)
	other := daily(1, 3)
	other.Name = "umeng.ios/day"
	wait("another credential", charge(t, p, 1, noon, other), 0)
	wait("when the limit was raised", charge(t, p, 1, noon.Add(3*time.Minute), daily(1, 4)), 0)

	p = p.Reopen(t)
	wait("after a restart", charge(t, p, 1, noon.Add(time.Hour), daily(1, 4)), 22*time.Hour)
	wait("just before midnight", charge(t, p, 1, noon.Add(23*time.Hour-time.Millisecond), daily(1, 4)), time.Second) // at least
	next := daily(4, 4)
	next.Since, next.Until = next.Until, next.Until.Add(24*time.Hour)
	wait("the next day", charge(t, p, 1, noon.Add(23*time.Hour), next), 0)
	wait("one that was made before midnight", charge(t, p, 1, noon.Add(23*time.Hour-time.Second), daily(1, 4)), time.Second)
	wait("more at once than the limit", charge(t, p, 2, noon, daily(9, 4)), 23*time.Hour)

	// A clock that was a month ahead does not use up today.
	ahead := daily(3, 3)
	ahead.Name, ahead.Since, ahead.Until = "x", ahead.Since.AddDate(0, 1, 0), ahead.Until.AddDate(0, 1, 0)
	wait("in a month", charge(t, p, 1, noon.AddDate(0, 1, 0), ahead), 0)
	today := daily(3, 3)
	today.Name = "x"
	wait("back again", charge(t, p, 1, noon, today), 0)
}

func testQuotaWindow(t *testing.T, p *Ports) {
	wait := func(what string, after, want time.Duration, n int) {
		t.Helper()
		if got := charge(t, p, 1, noon.Add(after), sliding(n, 5)); got != want {
			t.Errorf("%s: told to wait %v, want %v", what, got, want)
		}
	}
	wait("three", 0, 0, 3)
	wait("two more", 10*time.Second, 0, 2)
	wait("the sixth", 20*time.Second, 40*time.Second, 1)
	wait("four more", 20*time.Second, 50*time.Second, 4)
	p = p.Reopen(t)
	wait("just before the first are a minute old", time.Minute-time.Millisecond, time.Second, 1) // at least a second
	wait("when they are", time.Minute, 0, 3)
	wait("one more", time.Minute, 10*time.Second, 1)
	wait("more at once than the limit", time.Minute, time.Minute, 6)

	// What a clock that was ahead has used counts for no longer than a window.
	wait("an hour later", time.Hour, 0, 5)
	wait("the clock is set back", 10*time.Minute, time.Minute, 1)
	wait("a minute after it was", 11*time.Minute, 0, 5)
}

// testQuotaModel uses a quota at random times: no window has more than the limit, and who is told to wait waits no longer than
// a bucket more than it must.
func testQuotaModel(t *testing.T, p *Ports) {
	const limit, bucket = 100, time.Second
	random := rand.New(rand.NewPCG(1, 2))
	type use struct {
		at time.Time
		n  int
	}
	var used []use
	within := func(length time.Duration, end time.Time) int {
		n := 0
		for _, u := range used {
			if u.at.After(end.Add(-length)) {
				n += u.n
			}
		}
		return n
	}
	now, refused := noon, 0
	for i := range 400 {
		now = now.Add(time.Duration(random.IntN(900)) * time.Millisecond)
		n := 1 + random.IntN(3)
		wait := charge(t, p, 1, now, sliding(n, limit))
		if wait == 0 {
			used = append(used, use{now, n})
			if got := within(time.Minute, now); got > limit {
				t.Fatalf("use %d: the minute has %d, want at most %d", i, got, limit)
			}
			continue
		}
		refused++
		if got := within(time.Minute+bucket, now) + n; got <= limit {
			t.Fatalf("use %d was refused, although the minute would have %d of %d", i, got, limit)
		}
		if wait > time.Minute {
			t.Fatalf("use %d is told to wait %v, want at most a minute", i, wait)
		}
	}
	if len(used) < 100 || refused < 50 {
		t.Errorf("%d were accepted and %d refused: the limit was not met", len(used), refused)
	}
}

func testQuotaAllOrNone(t *testing.T, p *Ports) {
	if wait := charge(t, p, 1, noon, daily(1, 1)); wait != 0 {
		t.Fatal("the first was refused")
	}
	for range 3 {
		if wait := charge(t, p, 1, noon, sliding(1, 2), daily(1, 1)); wait != 23*time.Hour {
			t.Errorf("when the day is used up: told to wait %v, want 23 h", wait)
		}
	}
	for i := range 2 {
		if wait := charge(t, p, 1, noon, sliding(1, 2)); wait != 0 {
			t.Errorf("use %d of the minute, which nobody has used: told to wait %v", i+1, wait)
		}
	}
	twice := sliding(1, 3)
	if wait := charge(t, p, 1, noon, twice, twice); wait == 0 {
		t.Error("a request that names a quota twice uses it once")
	}
	bad := direct(1, time.Hour, 1)
	bad.Charges = []push.Charge{{Name: "x", N: 1, Limit: 1}}
	_, _, err := p.Record.Accept(t.Context(), bad)
	fails(t, "a charge without a window", err, push.Invalid, "charges")
}

func testQuotaRefused(t *testing.T, p *Ports) {
	a := direct(1, time.Hour, 1)
	a.Push.Request.Key, a.Push.Request.RequestID = push.Key{Namespace: "rest", Value: "k"}, "r"
	a.Charges, a.Totals = []push.Charge{daily(2, 1)}, a.Push.Request.Keys(1)
	a.Marks = []push.Receipt{{App: 1, Push: a.Push.ID, Ordinal: 2, Mark: push.MarkBlacklisted, Day: push.DayOf(a.Push.Expires)}}
	_, _, err := p.Record.Accept(t.Context(), a)
	fails(t, "accept", err, push.TooMany, "umeng.broadcasts_per_day")
	_, err = p.Record.Find(t.Context(), 1, a.Push.ID)
	fails(t, "find it", err, push.NotFound, "")
	_, _, err = p.Record.FindKey(t.Context(), 1, a.Push.Request.Key)
	fails(t, "find its key", err, push.NotFound, "")
	_, err = p.Pushes.ByRequest(t.Context(), 1, "r")
	fails(t, "find its request", err, push.NotFound, "")
	same(t, "owed", owed(t, p, 1, 1, noon), []push.ID{})
	same(t, "receipts", receipts(p), nil)
	same(t, "totals", appTotals(t, p, 1), map[push.Metric]int{})

	// Its key is free, also if it had been another's before.
	b := direct(1, time.Hour, 1)
	b.Push.Request.Key, b.Charges = a.Push.Request.Key, []push.Charge{daily(1, 1)}
	accept(t, p, b)
	// A repeat uses nothing.
	again := direct(1, time.Hour, 1)
	again.Push.Request.Key, again.Charges = b.Push.Request.Key, []push.Charge{daily(1, 1)}
	got, repeated, err := p.Record.Accept(t.Context(), again)
	if err != nil || !repeated || got.ID != b.Push.ID {
		t.Errorf("repeat: got %d, repeated %v, %v, want %d", got.ID, repeated, err, b.Push.ID)
	}
}

func testQuotaAtOnce(t *testing.T, p *Ports) {
	const limit, callers, each = 150, 20, 20
	var accepted, refused atomic.Int64
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				a := direct(1, time.Hour, push.Ordinal(c*each+i))
				a.Push.Request.Key = push.Key{Namespace: "rest", Value: fmt.Sprint(c, i)}
				a.Charges = []push.Charge{sliding(1, limit), daily(1, limit)}
				_, _, err := p.Record.Accept(t.Context(), a)
				_, _, lost := p.Record.FindKey(t.Context(), 1, a.Push.Request.Key)
				switch {
				case err == nil && lost == nil:
					accepted.Add(1)
				case errors.Is(err, push.TooMany) && errors.Is(lost, push.NotFound):
					refused.Add(1)
				default:
					t.Errorf("accept: %v, and its key: %v", err, lost)
				}
			}
		})
	}
	wg.Wait()
	same(t, "accepted and refused", []int64{accepted.Load(), refused.Load()}, []int64{limit, callers*each - limit})
	waiting := map[push.Ordinal]bool{}
	if err := p.Inbox.Waiting(t.Context(), func(_ push.AppID, o push.Ordinal) { waiting[o] = true }); err != nil {
		t.Fatal(err)
	}
	same(t, "devices that wait", len(waiting), limit)
}

// testQuotaRepeats sends one key many times at once while the quota is used up: all are refused, and the key is free.
func testQuotaRepeats(t *testing.T, p *Ports) {
	accept(t, p, func() *push.Acceptance {
		a := direct(1, time.Hour, 1)
		a.Charges = []push.Charge{daily(1, 1)}
		return a
	}())
	key := push.Key{Namespace: "rest", Value: "k"}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			a := direct(1, time.Hour, 2)
			a.Push.Request.Key, a.Charges = key, []push.Charge{daily(1, 1)}
			_, _, err := p.Record.Accept(t.Context(), a)
			fails(t, "a repeat", err, push.TooMany, "umeng.broadcasts_per_day")
		})
	}
	wg.Wait()
	_, _, err := p.Record.FindKey(t.Context(), 1, key)
	fails(t, "the key", err, push.NotFound, "")
	same(t, "owed", owed(t, p, 1, 2, noon), []push.ID{})
}

func testFires(t *testing.T, p *Ports) {
	ctx := t.Context()
	sched := push.Schedule{ID: nextID(noon), App: 1, Every: "day", State: push.ScheduleActive, Created: noon, Request: push.Request{App: 1}}
	sched.Request.Policy.Recurring = &push.Recurring{Every: "day", At: "09:00:00", From: noon, Until: noon.AddDate(0, 0, 2)}
	var all []push.Occurrence
	for i := range 3 {
		all = append(all, push.Occurrence{
			ID: nextID(noon), Schedule: sched.ID, App: 1, At: noon.AddDate(0, 0, i), State: push.OccurrenceWaiting,
		})
	}
	if _, _, err := p.Schedules.AddSchedule(ctx, sched, all); err != nil {
		t.Fatal(err)
	}
	newest, err := p.Pushes.Newest(ctx)
	if err != nil || newest != all[2].ID {
		t.Errorf("newest: got %d, %v, want the last occurrence %d", newest, err, all[2].ID)
	}
	if got := found(t, p, all[0].ID); got.State != push.Scheduled || got.Schedule != sched.ID {
		t.Errorf("an occurrence that waits: got %s of schedule %d", got.State, got.Schedule)
	}
	fire := func(o push.Occurrence) *push.Acceptance {
		a := bulk(1, push.Accepted, time.Hour)
		a.Push.ID, a.Push.Start, a.Push.Schedule, a.Fires = o.ID, o.At, o.Schedule, &o
		return finish2(a)
	}
	var fired, lost atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			switch _, _, err := p.Record.Accept(ctx, fire(all[0])); {
			case err == nil:
				fired.Add(1)
			default:
				fails(t, "fire again", err, push.Conflict, "occurrence")
				lost.Add(1)
			}
		})
	}
	wg.Wait()
	same(t, "fired and lost", []int64{fired.Load(), lost.Load()}, []int64{1, 15})
	got := found(t, p, all[0].ID)
	want := fire(all[0]).Push
	same(t, "the push", got, want)

	// One that is refused waits on, and its key is free.
	refused := fire(all[1])
	refused.Charges, refused.Push.Request.Key = []push.Charge{daily(2, 1)}, push.Key{Namespace: "x", Value: "k"}
	_, _, err = p.Record.Accept(ctx, refused)
	fails(t, "fire without a quota", err, push.TooMany, "umeng.broadcasts_per_day")
	other := fire(push.Occurrence{ID: all[1].ID, App: 2, Schedule: sched.ID})
	other.Push.App = 2
	_, _, err = p.Record.Accept(ctx, other)
	fails(t, "fire that of another app", err, push.Conflict, "occurrence")
	if err := p.Occurrences.EndOccurrence(ctx, 1, all[2].ID, push.OccurrenceCancelled); err != nil {
		t.Fatal(err)
	}
	cancelled := fire(all[2])
	cancelled.Push.Request.Key = push.Key{Namespace: "x", Value: "k2"}
	_, _, err = p.Record.Accept(ctx, cancelled)
	fails(t, "fire a cancelled one", err, push.Conflict, "occurrence")
	for _, k := range []string{"k", "k2"} {
		_, _, err = p.Record.FindKey(ctx, 1, push.Key{Namespace: "x", Value: k})
		fails(t, "the key "+k, err, push.NotFound, "")
	}
	p = p.Reopen(t)
	states := map[push.ID]push.OccurrenceState{}
	occurrences, err := p.Occurrences.OccurrencesOf(ctx, 1, sched.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range occurrences {
		states[o.ID] = o.State
	}
	same(t, "occurrences", states, map[push.ID]push.OccurrenceState{
		all[0].ID: push.OccurrenceFired, all[1].ID: push.OccurrenceWaiting, all[2].ID: push.OccurrenceCancelled,
	})
	accept(t, p, fire(all[1]))
}

// finish2 returns a with its own payload.
func finish2(a *push.Acceptance) *push.Acceptance {
	b := finish(a.Push, a.Targets...)
	b.Fires = a.Fires
	return b
}
