package dispatch_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/push"
)

// What the record did although it could not say so is found out, at the latest when the sender asks again.
func TestAcceptOfUnknownOutcome(t *testing.T) {
	for _, tt := range []struct {
		name string
		r    push.Request
	}{{"direct", to("a0")}, {"bulk", toAll()}} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t, t.TempDir(), newClock())
			h.gateway.connect(0)
			r := tt.r
			r.App, r.Key = theApp, push.Key{Namespace: "test", Value: "k", Keep: time.Hour}
			h.unsure.happens["Accept"] = true
			if _, err := h.Accept(t.Context(), r); !errors.Is(err, push.Unavailable) {
				t.Fatalf("got %v, want unavailable", err)
			}
			p := h.accept(r)
			h.start()
			if owed := h.owed(0); len(owed) != 1 || owed[0] != p.ID {
				t.Errorf("after the retry the device is owed %v, want %s", owed, p.ID)
			}
			if tt.name == "direct" && !slices.Contains(h.gateway.woken, 0) {
				t.Error("nobody told the device, which is connected")
			}
			if posts := h.gateway.take(); tt.name == "bulk" && !cmp.Equal(posts, []posted{{0, p.ID}}) {
				t.Errorf("posted %v", posts)
			}
		})
	}
}

func TestAcceptThatDidNotHappenLeavesNothing(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	r := toAll()
	r.App = theApp
	h.unsure.fails["Accept"] = true
	if _, err := h.Accept(t.Context(), r); !errors.Is(err, push.Unavailable) {
		t.Fatalf("got %v, want unavailable", err)
	}
	h.start() // the run finds that there is no such push
	h.start()
	if n := h.Unfinished(); n != 0 {
		t.Errorf("%d pushes are still to be run", n)
	}
	if owed := h.owed(0); len(owed) != 0 {
		t.Errorf("a device is owed %v", owed)
	}
}

func TestASenderWhoGoesAwayLeavesNothingHalfDone(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	r := to("a0")
	r.App = theApp
	p, err := h.Accept(gone, r)
	if err != nil {
		t.Fatal(err)
	}
	if owed := h.owed(0); len(owed) != 1 {
		t.Errorf("owed %v, want the push", owed)
	}
	bulk := h.accept(toAll())
	h.start()
	for _, id := range []push.ID{p.ID, bulk.ID} {
		if _, err := h.Cancel(gone, theApp, id); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("cancel: %v", err)
		}
		found, err := h.store.Find(t.Context(), theApp, id)
		if owed := h.owed(0); err != nil || (found.State == push.Cancelled) == slices.Contains(owed, id) {
			t.Errorf("push %s is %s (%v), and owed are %v", id, found.State, err, owed)
		}
	}
}

func TestCancelOfUnknownOutcome(t *testing.T) {
	for _, method := range []string{"Move", "Withdraw"} {
		t.Run(method, func(t *testing.T) {
			h := newHouse(t, t.TempDir(), newClock())
			r := toAll()
			if method == "Withdraw" {
				r = to("a0", "a1")
			}
			p := h.accept(r)
			h.start()
			h.unsure.happens[method] = true
			if got, err := h.Cancel(t.Context(), theApp, p.ID); err != nil || got.State != push.Cancelled {
				t.Fatalf("got %s, %v, want cancelled", got.State, err)
			}
			if owed := h.owed(0); len(owed) != 0 || !h.gateway.held(0, p.ID) {
				t.Errorf("owed %v, held back %v, want nothing owed and held back", owed, h.gateway.held(0, p.ID))
			}
		})
	}
}

func TestCancelThatFailsChangesNothing(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	p := h.accept(toAll())
	h.start()
	h.unsure.fails["Find"] = true // the first look of Cancel
	if _, err := h.Cancel(t.Context(), theApp, p.ID); !errors.Is(err, push.Unavailable) {
		t.Fatalf("got %v, want unavailable", err)
	}
	h.clock.pass(73 * time.Hour)
	h.unsure.fails["Find"] = true // the look of the sweep
	h.Sweep(t.Context())
	if h.gateway.held(0, p.ID) {
		t.Error("copies are held back although nothing was committed")
	}
	h.Sweep(t.Context())
	if found, _ := h.report(p.ID); found.State != push.Expired {
		t.Errorf("the next sweep: got %s, want expired", found.State)
	}
}

func TestBeginOfUnknownOutcome(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	h.gateway.connect(2)
	p := h.accept(toAll())
	h.unsure.happens["Begin"] = true
	if err := h.Start(t.Context(), theApp, p.ID); !errors.Is(err, push.Unavailable) {
		t.Fatalf("got %v, want unavailable", err)
	}
	h.start()
	if diff := cmp.Diff([]posted{{2, p.ID}}, h.gateway.take()); diff != "" {
		t.Errorf("posted (-want +got):\n%s", diff)
	}
	if found, _ := h.report(p.ID); found.State != push.Done || len(h.owed(4)) != 0 || len(h.owed(5)) != 1 {
		t.Errorf("got %s, owed to the blacklisted %v and to another %v", found.State, h.owed(4), h.owed(5))
	}
}

func TestACancelThatNobodyCouldConfirmIsFoundLater(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	p := h.accept(toAll())
	h.start()
	h.unsure.happens["Move"] = true
	h.unsure.after = "Find" // and the look that follows fails, too
	if _, err := h.Cancel(t.Context(), theApp, p.ID); !errors.Is(err, push.Unavailable) {
		t.Fatalf("got %v, want unavailable", err)
	}
	h.Sweep(t.Context())
	if owed := h.owed(3); len(owed) != 0 || !h.gateway.held(0, p.ID) {
		t.Errorf("after a sweep a device is owed %v, held back %v, want nothing and held back", owed, h.gateway.held(0, p.ID))
	}
}

func TestADirectPushThatIsCommittedAfterTheAnswerIsFound(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	r := to("a0")
	r.App = theApp
	h.unsure.fails["Accept"] = true
	if _, err := h.Accept(t.Context(), r); !errors.Is(err, push.Unavailable) {
		t.Fatalf("got %v, want unavailable", err)
	}
	if owed := h.owed(0); len(owed) != 0 { // the device looks, and is told that nothing waits
		t.Fatalf("owed %v before the commit", owed)
	}
	p := push.Push{ID: h.clock.next(), App: theApp, Kind: push.Direct, State: push.Done, Created: h.clock.now(), Start: h.clock.now(), Expires: h.clock.now().Add(time.Hour), Target: 1, Request: r}
	if _, _, err := h.store.Accept(t.Context(), &push.Acceptance{Push: p, Payload: []byte(`{}`), Targets: []push.Ordinal{0}, Limit: 500}); err != nil {
		t.Fatal(err)
	}
	h.Sweep(t.Context())
	if owed := h.owed(0); len(owed) != 1 || !slices.Contains(h.gateway.woken, 0) {
		t.Errorf("after the sweep: owed %v, woken %v", owed, h.gateway.woken)
	}
	h.clock.pass(time.Hour)
	h.Sweep(t.Context())
	h.gateway.woken = nil
	h.Sweep(t.Context())
	if len(h.gateway.woken) != 0 {
		t.Error("it is asked about for ever")
	}
}

func TestWhatWasNeverQueuedIsNotRemembered(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	h.close()
	r := toAll()
	r.App = theApp
	if _, err := h.Accept(t.Context(), r); !errors.Is(err, push.ErrNotQueued) {
		t.Fatalf("got %v, want that nothing was queued", err)
	}
	if n := h.Unfinished(); n != 0 {
		t.Errorf("%d pushes are to be run", n)
	}
}

// The superset of what is owed never lacks the target of a push that has begun, however other pushes end meanwhile.
func TestWhatIsOwedSurvivesTheEndOfOthers(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	ctx := t.Context()
	for range 200 {
		old := h.accept(toAll())
		h.start()
		fresh := h.accept(toAll())
		done := make(chan error, 1)
		go func() {
			_, err := h.Cancel(ctx, theApp, old.ID)
			h.Sweep(ctx)
			done <- err
		}()
		h.start()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		h.Sweep(ctx)
		if owed := h.owed(3); len(owed) != 1 || owed[0] != fresh.ID {
			t.Fatalf("owed %v, want %s", owed, fresh.ID)
		}
		if _, err := h.Cancel(ctx, theApp, fresh.ID); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnExpiryBeforeTheBeginningSaysSo(t *testing.T) {
	dir := t.TempDir()
	h := newHouse(t, dir, newClock())
	r := toAll()
	r.Policy.TTL = push.Duration(time.Hour)
	begun := h.accept(r)
	h.unsure.fails["Move"] = true // the node dies in the midst of the first pass
	if err := h.Start(t.Context(), theApp, begun.ID); !errors.Is(err, push.Unavailable) {
		t.Fatalf("got %v, want unavailable", err)
	}
	unsent, swept := h.accept(r), h.accept(r)
	h.close()
	h = newHouse(t, dir, h.clock)
	h.clock.pass(2 * time.Hour)
	for _, p := range []push.Push{begun, unsent} {
		if err := h.Start(t.Context(), theApp, p.ID); err != nil {
			t.Fatal(err)
		}
	}
	h.Sweep(t.Context())
	for _, tt := range []struct {
		name   string
		id     push.ID
		reason string
	}{{"begun", begun.ID, ""}, {"never begun", unsent.ID, push.ExpiredUnsent}, {"never begun, and swept", swept.ID, push.ExpiredUnsent}} {
		if p, _ := h.report(tt.id); p.State != push.Expired || p.Reason != tt.reason {
			t.Errorf("%s: got %s, %q, want expired, %q", tt.name, p.State, p.Reason, tt.reason)
		}
	}
}

func TestTheAppsGreatestTTLBoundsTheDefault(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	h.people.app.Settings = push.Settings{push.SettingMaxTTL: "1h"}
	p := h.accept(to("a0"))
	if want := h.clock.now().Add(time.Hour); !p.Expires.Equal(want) {
		t.Errorf("expires %v, want %v", p.Expires, want)
	}
}

func TestAReportAskedForTooEarlyDoesNoHarm(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	p := h.accept(toAll())
	if _, r := h.report(p.ID); r.Target != 0 {
		t.Errorf("before it began: %+v", r)
	}
	h.start()
	if _, r := h.report(p.ID); r.Dropped["blacklisted"] != 1 || r.Pending != 9 {
		t.Errorf("got %+v, want one blacklisted and nine pending", r)
	}
}
