package dispatch_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

func collapsing(r push.Request) push.Request {
	r.Policy.CollapseID = "score"
	return r
}

// A newer push takes the place of an older one for those that have not got it, whatever kinds they are of.
func TestANewerPushReplacesAnOlderOne(t *testing.T) {
	for older, r := range kinds() {
		for newer, by := range map[string]push.Request{"direct": to("a0", "a1", "a2"), "bulk": toAll(), "open": opened()} {
			t.Run(newer+" after "+older, func(t *testing.T) {
				h := newHouse(t, t.TempDir(), newClock())
				old := h.accept(collapsing(r))
				h.start()
				h.acknowledge(old, 0)
				other := h.accept(to("a0"))
				h.clock.pass(time.Second)
				fresh := h.accept(collapsing(by))
				h.start()
				if newer == "open" {
					if _, _, _, err := h.AddTargets(t.Context(), theApp, fresh.ID, devices("a0", "a1", "a2")); err != nil {
						t.Fatal(err)
					}
				}
				if got := h.owed(1); !slices.Equal(got, []push.ID{fresh.ID}) {
					t.Errorf("device 1 is owed %v, want the newer push %s only", got, fresh.ID)
				}
				if got := h.owed(0); !slices.Equal(got, []push.ID{other.ID, fresh.ID}) {
					t.Errorf("device 0, which has the older one, is owed %v, want %s and %s", got, other.ID, fresh.ID)
				}
				if got := h.owed(3); newer != "bulk" && older == "bulk" && !slices.Equal(got, []push.ID{old.ID}) {
					t.Errorf("a device that the newer push is not for is owed %v, want %s", got, old.ID)
				}
				if _, rep := h.report(old.ID); rep.Dropped["collapsed"] == 0 || rep.Delivered != 1 {
					t.Errorf("the older push: %+v, want some collapsed", rep)
				}
				if _, rep := h.report(fresh.ID); rep.Dropped["collapsed"] != 0 {
					t.Errorf("the newer push: %+v", rep)
				}
			})
		}
	}
}

// Of pushes that begin at once one is the newest: it reaches the device, and no other does.
func TestPushesThatBeginAtOnceDoNotReplaceEachOther(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	ctx := t.Context()
	for range 40 {
		bulk := h.accept(collapsing(toAll()))
		direct := collapsing(to("a0", "a1"))
		direct.App = theApp
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if _, err := h.Accept(ctx, direct); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Go(func() {
			if err := h.Start(ctx, theApp, bulk.ID); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if got := h.owed(0); len(got) != 1 {
			t.Fatalf("device 0 is owed %v, want one push", got)
		}
	}
}

// A push that is only scheduled has begun nothing, and is not replaced.
func TestAScheduledPushIsNotReplaced(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	hour := h.clock.now().Add(time.Hour)
	r := collapsing(toAll())
	r.Policy.StartAt = &hour
	later := h.accept(r)
	now := h.accept(collapsing(to("a0")))
	if got := h.owed(0); !slices.Equal(got, []push.ID{now.ID}) {
		t.Errorf("owed %v, want %s", got, now.ID)
	}
	h.clock.pass(2 * time.Hour)
	h.start()
	if got := h.owed(0); !slices.Equal(got, []push.ID{later.ID}) {
		t.Errorf("when it has begun owed %v, want it in the place of the other", got)
	}
}
