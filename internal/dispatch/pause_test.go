package dispatch_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/push"
)

// kinds are a direct and a bulk push to devices 0 and 1, at least.
func kinds() map[string]push.Request {
	return map[string]push.Request{"direct": to("a0", "a1"), "bulk": toAll()}
}

func TestAPausedPushLeavesForNobodyUntilItIsResumed(t *testing.T) {
	for name, r := range kinds() {
		t.Run(name, func(t *testing.T) {
			ctx, dir := t.Context(), t.TempDir()
			h := newHouse(t, dir, newClock())
			h.gateway.connect(0)
			p := h.accept(r)
			h.start()
			h.gateway.take()
			if got, err := h.Pause(ctx, theApp, p.ID); err != nil || got.State != push.Paused {
				t.Fatalf("Pause: %s, %v", got.State, err)
			}
			if !h.gateway.held(0, p.ID) || len(h.owed(0)) != 0 {
				t.Errorf("held back %v, owed %v, want held back and nothing owed", h.gateway.held(0, p.ID), h.owed(0))
			}
			if _, err := h.Pause(ctx, theApp, p.ID); !errors.Is(err, push.Conflict) {
				t.Errorf("Pause again: %v, want conflict", err)
			}
			if found, rep := h.report(p.ID); found.State != push.Paused || rep.Pending < 2 {
				t.Errorf("got %s, %+v, want it paused and pending", found.State, rep)
			}
			h.start()
			h.close()
			h = newHouse(t, dir, h.clock)
			h.gateway.connect(0)
			h.start()
			if posts := h.gateway.take(); len(posts) != 0 || len(h.owed(0)) != 0 {
				t.Errorf("after a restart: posted %v, owed %v", posts, h.owed(0))
			}
			if got, err := h.Resume(ctx, theApp, p.ID); err != nil || got.State.Final() || got.State == push.Paused {
				t.Fatalf("Resume: %s, %v", got.State, err)
			}
			h.start()
			if name == "direct" && !slices.Contains(h.gateway.takeWoken(), 0) {
				t.Error("nobody told the connected device")
			}
			if posts := h.gateway.take(); name == "bulk" && !cmp.Equal(posts, []posted{{0, p.ID}}) {
				t.Errorf("posted %v, want the push to the connected device", posts)
			}
			if len(h.owed(0)) != 1 || len(h.owed(1)) != 1 || h.gateway.held(0, p.ID) {
				t.Errorf("owed %v and %v, held back %v", h.owed(0), h.owed(1), h.gateway.held(0, p.ID))
			}
			if found, _ := h.report(p.ID); found.State != push.Done {
				t.Errorf("got %s, want done", found.State)
			}
			if _, err := h.Resume(ctx, theApp, p.ID); !errors.Is(err, push.Conflict) {
				t.Errorf("Resume again: %v, want conflict", err)
			}
		})
	}
}

func TestAPausedPushCanBeEnded(t *testing.T) {
	for name, r := range kinds() {
		for _, how := range []string{"cancelled", "recalled", "expired"} {
			t.Run(name+" "+how, func(t *testing.T) {
				ctx := t.Context()
				h := newHouse(t, t.TempDir(), newClock())
				p := h.accept(r)
				h.start()
				if _, err := h.Pause(ctx, theApp, p.ID); err != nil {
					t.Fatal(err)
				}
				var err error
				switch how {
				case "cancelled":
					_, err = h.Cancel(ctx, theApp, p.ID)
				case "recalled":
					_, err = h.Recall(ctx, theApp, p.ID, nil)
				default:
					h.clock.pass(73 * time.Hour)
					h.Sweep(ctx)
				}
				if err != nil {
					t.Fatal(err)
				}
				found, rep := h.report(p.ID)
				if rep.Pending != 0 || rep.Dropped[how] < 2 || !h.gateway.gone(p.ID) {
					t.Errorf("got %s %+v, withdrawn %v", found.State, rep, h.gateway.gone(p.ID))
				}
				if _, err := h.Resume(ctx, theApp, p.ID); !errors.Is(err, push.Conflict) {
					t.Errorf("Resume: %v, want conflict", err)
				}
			})
		}
	}
}

func TestWhatHasArrivedCannotBePaused(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	p := h.accept(to("a0"))
	h.acknowledge(p, 0)
	if _, err := h.Pause(t.Context(), theApp, p.ID); !errors.Is(err, push.Conflict) {
		t.Errorf("got %v, want conflict", err)
	}
	if h.gateway.held(0, p.ID) {
		t.Error("the refused pause holds the push back")
	}
	soon := h.clock.now().Add(time.Hour)
	r := toAll()
	r.Policy.StartAt = &soon
	if _, err := h.Pause(t.Context(), theApp, h.accept(r).ID); !errors.Is(err, push.Conflict) {
		t.Errorf("a scheduled push: got %v, want conflict", err)
	}
	if _, err := h.Resume(t.Context(), theApp, 12345); !errors.Is(err, push.NotFound) {
		t.Errorf("no push: got %v, want not found", err)
	}
}

// A pause or a resumption that nobody could confirm is looked up; one that did not happen leaves everything as it was.
func TestPauseOfUnknownOutcome(t *testing.T) {
	for name, r := range kinds() {
		method := map[string]string{"direct": "Hold", "bulk": "Move"}[name]
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			h := newHouse(t, t.TempDir(), newClock())
			p := h.accept(r)
			h.start()
			h.unsure.happens[method] = true
			if _, err := h.Pause(ctx, theApp, p.ID); err != nil || len(h.owed(0)) != 0 {
				t.Fatalf("Pause that happened: %v, owed %v", err, h.owed(0))
			}
			h.unsure.happens[method] = true
			if _, err := h.Resume(ctx, theApp, p.ID); err != nil || len(h.owed(0)) != 1 {
				t.Fatalf("Resume that happened: %v, owed %v", err, h.owed(0))
			}
			h.start()
			h.unsure.fail(method)
			if _, err := h.Pause(ctx, theApp, p.ID); err != nil || len(h.owed(0)) != 0 { // the second attempt
				t.Fatalf("Pause that failed once: %v, owed %v", err, h.owed(0))
			}
		})
	}
}

func TestAPauseThatNobodyCouldConfirmIsFoundLater(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	p := h.accept(toAll())
	h.start()
	h.unsure.happens["Move"], h.unsure.after = true, "Find"
	if _, err := h.Pause(t.Context(), theApp, p.ID); !errors.Is(err, push.Unavailable) {
		t.Fatalf("got %v, want unavailable", err)
	}
	h.unsure.after = ""
	h.Sweep(t.Context())
	if len(h.owed(0)) != 0 || !h.gateway.held(0, p.ID) {
		t.Errorf("after a sweep: owed %v, held back %v", h.owed(0), h.gateway.held(0, p.ID))
	}
	h.unsure.happens["Move"], h.unsure.after = true, "Find"
	if _, err := h.Resume(t.Context(), theApp, p.ID); !errors.Is(err, push.Unavailable) {
		t.Fatalf("got %v, want unavailable", err)
	}
	h.Sweep(t.Context())
	h.start()
	if found, _ := h.report(p.ID); len(h.owed(0)) != 1 || found.State != push.Done {
		t.Errorf("after another: owed %v, %s", h.owed(0), found.State)
	}
}
