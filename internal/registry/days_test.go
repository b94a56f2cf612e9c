package registry_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/push"
)

// days returns what is counted of an app from the day that it is now on, in its time zone, going back n days.
func (h *house) days(t testing.TB, app push.App, n push.Day) []push.DeviceDay {
	t.Helper()
	today := push.DayIn(h.clock(), app.Location())
	all, err := h.DeviceDays(t.Context(), app.ID, today-n, today)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func same[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// A day begins at midnight where the app is, with those who are connected then.
func TestDeviceDays(t *testing.T) {
	h := newHouse(t) // 23:00 on the 25th in UTC
	card := h.app(t, "shanghai")
	utc, err := h.CreateApp(t.Context(), push.App{Name: "utc", TimeZone: "UTC"}, push.Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	var all []push.Registered
	for _, install := range []string{"a", "b", "c"} {
		all = append(all, h.device(t, card, install))
	}
	other := h.device(t, utc, "a")
	h.Presence(other.Ref, true)
	h.Presence(all[0].Ref, true)
	h.Presence(all[0].Ref, true) // twice is once
	h.Presence(all[1].Ref, true)
	h.Presence(all[1].Ref, false)
	h.Presence(all[1].Ref, false)
	h.Presence(all[2].Ref, true)
	if err := h.Remove(t.Context(), all[1].Ref); err != nil {
		t.Fatal(err)
	}
	same(t, "where it is the 26th", h.days(t, card.App, 1), []push.DeviceDay{
		{Day: "2026-11-25"}, {Day: "2026-11-26", New: 3, Removed: 1, Active: 3, OnlinePeak: 2, Total: 2, Cumulative: 3},
	})
	same(t, "where it is the 25th", h.days(t, utc.App, 0), []push.DeviceDay{
		{Day: "2026-11-25", New: 1, Active: 1, OnlinePeak: 1, Total: 1, Cumulative: 1},
	})

	h.pass(2 * time.Hour) // midnight in UTC
	if _, err := h.Import(t.Context(), utc.App.ID, []push.Import{{PreviousID: "old"}, {PreviousID: "older"}}); err != nil {
		t.Fatal(err)
	}
	same(t, "over midnight", h.days(t, utc.App, 1), []push.DeviceDay{
		{Day: "2026-11-25", New: 1, Active: 1, OnlinePeak: 1, Total: 1, Cumulative: 1},
		{Day: "2026-11-26", New: 2, Active: 1, OnlinePeak: 1, Total: 3, Cumulative: 3},
	})
	same(t, "no midnight", h.days(t, card.App, 0), []push.DeviceDay{
		{Day: "2026-11-26", New: 3, Removed: 1, Active: 3, OnlinePeak: 2, Total: 2, Cumulative: 3},
	})

	// Between two minutes the day may end, and two may.
	h.pass(16 * time.Hour)
	h.Presence(all[0].Ref, false)
	h.pass(24 * time.Hour)
	h.Presence(all[2].Ref, false)
	same(t, "three days", h.days(t, card.App, 3), []push.DeviceDay{
		{Day: "2026-11-25"},
		{Day: "2026-11-26", New: 3, Removed: 1, Active: 3, OnlinePeak: 2, Total: 2, Cumulative: 3},
		{Day: "2026-11-27", Active: 2, OnlinePeak: 2, Total: 2, Cumulative: 3},
		{Day: "2026-11-28", Active: 1, OnlinePeak: 1, Total: 2, Cumulative: 3},
	})
	h.pass(-72 * time.Hour) // a clock that goes back changes nothing
	h.Presence(all[0].Ref, true)
	h.pass(72 * time.Hour)
	same(t, "after the clock went back", h.days(t, card.App, 0), []push.DeviceDay{{Day: "2026-11-28", Active: 2, OnlinePeak: 1, Total: 2, Cumulative: 3}})
	if _, err := h.DeviceDays(t.Context(), 99, 1, 2); !errors.Is(err, push.NotFound) {
		t.Errorf("another app: got %v, want NotFound", err)
	}
}

// What was counted before a restart is counted on.
func TestDeviceDaysAfterARestart(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	a, b := h.device(t, card, "a"), h.device(t, card, "b")
	h.Presence(a.Ref, true)
	h.Presence(b.Ref, true)
	h.Flush(t.Context())
	h.restart(t)
	h.Presence(b.Ref, true)
	h.Presence(h.device(t, card, "c").Ref, false) // it called and left
	same(t, "the same day", h.days(t, card.App, 0), []push.DeviceDay{{Day: "2026-11-26", New: 3, Active: 3, OnlinePeak: 2, Total: 3, Cumulative: 3}})

	// An install that registers again is active and not new.
	h.pass(24 * time.Hour)
	h.restart(t)
	if _, err := h.Register(t.Context(), registration(card, "a"), a.Secret, home); err != nil {
		t.Fatal(err)
	}
	same(t, "the next day", h.days(t, card.App, 0), []push.DeviceDay{{Day: "2026-11-27", Active: 1, Total: 3, Cumulative: 3}})

	h.store.fail = func(op string) (error, bool) {
		if op == "PutDeviceDay" {
			return &push.Error{Kind: push.Unavailable}, false
		}
		return nil, false
	}
	h.Presence(b.Ref, true)
	if _, err := h.DeviceDays(t.Context(), 1, 0, 0); !errors.Is(err, push.Unavailable) {
		t.Errorf("got %v though the record fails", err)
	}
	h.pass(24 * time.Hour) // the day that could not be written is over
	h.Flush(t.Context())
	h.store.fail = nil
	same(t, "after a failure", h.days(t, card.App, 1), []push.DeviceDay{
		{Day: "2026-11-27", Active: 2, OnlinePeak: 1, Total: 3, Cumulative: 3}, {Day: "2026-11-28", Active: 1, OnlinePeak: 1, Total: 3, Cumulative: 3},
	})
	if err := h.DeleteApp(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	h.Presence(b.Ref, false) // late
	h.Flush(t.Context())
}

// Run writes what changed once a minute and at the end, and no more than that.
func TestRunCountsDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		card := h.app(t, "demo")
		a, b := h.device(t, card, "a"), h.device(t, card, "b")
		writes := 0
		h.store.fail = func(op string) (error, bool) {
			if op == "PutDeviceDay" {
				writes++
			}
			return nil, false
		}
		active := func() (peak, active, written int) {
			h.store.mu.Lock()
			defer h.store.mu.Unlock()
			d := h.store.dayOf(1, push.DayIn(h.now, card.App.Location()))
			return d.peak, d.active, writes
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h.Run(ctx) }()
		wants := func(when string, wantPeak, wantActive, wantWrites int) {
			t.Helper()
			if peak, active, writes := active(); peak != wantPeak || active != wantActive || writes != wantWrites {
				t.Errorf("%s: peak %d, active %d after %d writes; want %d, %d and %d", when, peak, active, writes, wantPeak, wantActive, wantWrites)
			}
		}
		time.Sleep(61 * time.Second) // ok: synctest turns the clock
		wants("registered", 0, 2, 1)
		h.Presence(a.Ref, true)
		time.Sleep(time.Minute) // ok: synctest turns the clock
		wants("connected", 1, 2, 2)
		time.Sleep(10 * time.Minute) // ok: synctest turns the clock
		wants("ten minutes later", 1, 2, 2)
		h.Presence(b.Ref, true)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		wants("in the end", 2, 2, 3)
	})
}

// Nothing is lost while reports are read and devices come and go.
func TestDeviceDaysWhileDevicesComeAndGo(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	const n = 200
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 20 {
				if _, err := h.DeviceDays(t.Context(), 1, 0, 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for o := range push.Ordinal(n) {
		wg.Go(func() {
			h.Presence(push.Ref{App: 1, Ordinal: o * 1000, Generation: 1}, true)
		})
	}
	wg.Wait()
	if got := h.days(t, card.App, 0)[0]; got.Active != n || got.OnlinePeak != n {
		t.Errorf("got %d active, %d at once, want %d", got.Active, got.OnlinePeak, n)
	}
	h.restart(t)
	h.Presence(push.Ref{App: 1, Ordinal: 7, Generation: 1}, true)
	if got := h.days(t, card.App, 0)[0]; got.Active != n+1 || got.OnlinePeak != n {
		t.Errorf("after a restart: got %d active, %d at once, want %d and %d", got.Active, got.OnlinePeak, n+1, n)
	}
}
