package dispatch_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/push"
)

// opened is an open push that is for nobody yet.
func opened() push.Request {
	r := toAll()
	r.Audience, r.Open = push.Audience{}, true
	return r
}

func devices(all ...string) push.Audience { return push.Audience{Devices: all} }

func TestTargetsAreAddedToAnOpenPush(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	h := newHouse(t, dir, newClock())
	h.gateway.connect(0, 2, 3)
	p := h.accept(opened())
	if p.State != push.Open || p.Kind != push.Bulk {
		t.Fatalf("got %s %s, want an open bulk push", p.Kind, p.State)
	}
	for _, tt := range []struct {
		name           string
		audience       push.Audience
		added, unknown int
		want           []posted
	}{
		{"two and a stranger", devices("a0", "a1", "x"), 2, 1, []posted{{0, p.ID}}},
		{"the same again", devices("a0", "a1"), 0, 0, nil},
		{"one of them and another", devices("a1", "a2"), 1, 0, []posted{{2, p.ID}}},
		{"a crowd by alias", push.Audience{Aliases: &push.Aliases{Values: []string{"crowd"}}}, 1, 0, nil},
		{"one that is blacklisted", devices("a4"), 1, 0, nil},
		{"strangers only", devices("y"), 0, 1, nil},
	} {
		got, added, unknown, err := h.AddTargets(ctx, theApp, p.ID, tt.audience)
		if err != nil || added != tt.added || unknown != tt.unknown || got.State != push.Open {
			t.Errorf("%s: got %d added, %d unknown, %v, want %d, %d", tt.name, added, unknown, err, tt.added, tt.unknown)
		}
		if diff := cmp.Diff(tt.want, h.gateway.take()); diff != "" {
			t.Errorf("%s: posted (-want +got):\n%s", tt.name, diff)
		}
	}
	h.close()
	h = newHouse(t, dir, h.clock)
	if got := h.allOwed(p.ID); !slices.Equal(got, []push.Ordinal{0, 1, 2, 7}) {
		t.Errorf("after a restart owed to %v", got)
	}
	if _, added, _, err := h.AddTargets(ctx, theApp, p.ID, devices("a0", "i9")); err != nil || added != 1 {
		t.Errorf("after a restart: %d added, %v, want one", added, err)
	}
	if got, err := h.CloseOpen(ctx, theApp, p.ID); err != nil || got.State != push.Sending {
		t.Errorf("CloseOpen: %s, %v", got.State, err)
	}
	h.start()
	found, rep := h.report(p.ID)
	if found.State != push.Done || rep.Target != 8 || rep.Pending != 5 || rep.Dropped["blacklisted"] != 1 || rep.Dropped["unknown"] != 2 {
		t.Errorf("got %s %+v", found.State, rep)
	}
	if _, _, _, err := h.AddTargets(ctx, theApp, p.ID, devices("a3")); !errors.Is(err, push.Conflict) {
		t.Errorf("after it was closed: %v, want conflict", err)
	}
	if _, err := h.CloseOpen(ctx, theApp, p.ID); !errors.Is(err, push.Conflict) {
		t.Errorf("closed again: %v, want conflict", err)
	}
}

func TestTheFirstAudienceOfAnOpenPushIsAdded(t *testing.T) {
	dir := t.TempDir()
	h := newHouse(t, dir, newClock())
	r := opened()
	r.Audience = devices("a0", "nobody")
	p := h.accept(r)
	h.close() // before anybody added it
	h = newHouse(t, dir, h.clock)
	h.gateway.connect(0)
	h.start()
	h.start()
	if got := h.allOwed(p.ID); !slices.Equal(got, []push.Ordinal{0}) || len(h.gateway.take()) != 1 {
		t.Errorf("owed to %v, want device 0, which is connected and got it once", got)
	}
	if found, rep := h.report(p.ID); found.State != push.Open || rep.Target != 2 || rep.Dropped["unknown"] != 1 {
		t.Errorf("got %s %+v", found.State, rep)
	}
}

func TestAnOpenPushKeepsItsPolicy(t *testing.T) {
	ctx, no := t.Context(), false
	h := newHouse(t, t.TempDir(), newClock())
	h.gateway.connect(0)
	r := opened()
	r.Policy.StoreOffline = &no
	never := h.accept(r)
	if _, _, _, err := h.AddTargets(ctx, theApp, never.ID, devices("a0", "a1")); err != nil {
		t.Fatal(err)
	}
	if _, rep := h.report(never.ID); rep.Pending != 1 || rep.Dropped["offline"] != 1 || len(h.owed(1)) != 0 {
		t.Errorf("now or never: got %+v, owed %v", rep, h.owed(1))
	}
	r = opened()
	r.Policy.Test = true
	test := h.accept(r)
	if _, added, _, err := h.AddTargets(ctx, theApp, test.ID, devices("a0", "a1")); err != nil || added != 1 {
		t.Errorf("test mode: %d added, %v, want the one test device", added, err)
	}
	if _, _, _, err := h.AddTargets(ctx, theApp, test.ID, push.Audience{}); !errors.Is(err, push.Invalid) {
		t.Errorf("an audience of nothing: %v, want invalid", err)
	}
	if _, _, _, err := h.AddTargets(ctx, theApp, test.ID, push.Audience{File: "f", Of: &push.FileOf{Devices: true}}); !errors.Is(err, push.NotFound) {
		t.Errorf("a file that is not there: %v, want not found", err)
	}
	if _, err := h.Cancel(ctx, theApp, test.ID); err != nil || len(h.owed(1)) != 0 {
		t.Errorf("Cancel: %v, owed %v", err, h.owed(1))
	}
	if _, err := h.Pause(ctx, theApp, never.ID); !errors.Is(err, push.Conflict) {
		t.Errorf("Pause of an open push: %v, want conflict", err)
	}
	h.clock.pass(73 * time.Hour)
	h.Sweep(ctx)
	if found, rep := h.report(never.ID); found.State != push.Expired || rep.Dropped["expired"] != 1 {
		t.Errorf("after its time: %s %+v", found.State, rep)
	}
}

func TestAnAdditionOfUnknownOutcome(t *testing.T) {
	ctx := t.Context()
	h := newHouse(t, t.TempDir(), newClock())
	p := h.accept(opened())
	h.unsure.happens["Grow"] = true
	if _, added, _, err := h.AddTargets(ctx, theApp, p.ID, devices("a0", "a1")); err != nil || added != 2 || len(h.owed(1)) != 1 {
		t.Errorf("one that happened: %d added, %v, owed %v", added, err, h.owed(1))
	}
	h.unsure.fail("Grow")
	if _, _, _, err := h.AddTargets(ctx, theApp, p.ID, devices("a2")); !errors.Is(err, push.Unavailable) || len(h.owed(2)) != 0 {
		t.Errorf("one that failed: %v, owed %v", err, h.owed(2))
	}
	if _, added, _, err := h.AddTargets(ctx, theApp, p.ID, devices("a2")); err != nil || added != 1 {
		t.Errorf("again: %d added, %v", added, err)
	}
	h.unsure.happens["Grow"], h.unsure.after = true, "Load" // and the look that follows fails, too
	if _, _, _, err := h.AddTargets(ctx, theApp, p.ID, devices("a3")); !errors.Is(err, push.Unavailable) {
		t.Errorf("one that nobody could confirm: %v, want unavailable", err)
	}
	h.unsure.after = ""
	h.start()
	if len(h.owed(3)) != 1 {
		t.Errorf("it is found later: owed %v, want the push", h.owed(3))
	}
	h.unsure.happens["Move"] = true
	if got, err := h.CloseOpen(ctx, theApp, p.ID); err != nil || got.State != push.Sending {
		t.Errorf("CloseOpen: %s, %v", got.State, err)
	}
}

// Without room among the live sets nothing new is accepted, and what is due waits for room.
func TestNoRoomAmongTheLive(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	h := newHouse(t, dir, newClock())
	soon := h.clock.now().Add(time.Hour)
	r := toAll()
	r.Policy.StartAt = &soon
	p, open := h.accept(r), h.accept(opened())
	h.close()

	h = newHouseOf(t, dir, h.clock, 1)
	h.clock.pass(2 * time.Hour)
	if err := h.Derive(ctx); !errors.Is(err, push.TooMany) {
		t.Errorf("its run: %v, want too many", err)
	}
	if found, _ := h.report(p.ID); found.State != push.Scheduled || len(h.allOwed(p.ID)) != 0 {
		t.Errorf("got %s, owed to %v, want it to wait", found.State, h.allOwed(p.ID))
	}
	if _, _, _, err := h.AddTargets(ctx, theApp, open.ID, devices("a0")); !errors.Is(err, push.TooMany) {
		t.Errorf("an addition: %v, want too many", err)
	}
	h.close()
	h = newHouse(t, dir, h.clock)
	h.start()
	if found, _ := h.report(p.ID); found.State != push.Done || len(h.allOwed(p.ID)) != 9 {
		t.Errorf("got %s, owed to %v, want it sent", found.State, h.allOwed(p.ID))
	}
	used := h.LiveBytes()
	h.close()

	h = newHouseOf(t, dir, h.clock, used)
	for name, r := range map[string]push.Request{"bulk": toAll(), "open": opened()} {
		r.App = theApp
		_, err := h.Accept(ctx, r)
		e, _ := errors.AsType[*push.Error](err)
		if !errors.Is(err, push.TooMany) || e.RetryAfter == 0 {
			t.Errorf("Accept of another, %s: %v, want too many, and when to try again", name, err)
		}
		if _, err := h.Count(ctx, r); !errors.Is(err, push.TooMany) {
			t.Errorf("Count of it: %v, want too many", err)
		}
	}
	h.accept(to("a0")) // needs no room
}

// What has begun, and finds no room after a restart, is owed again when there is room.
func TestWhatHasBegunWaitsForRoomAfterARestart(t *testing.T) {
	dir := t.TempDir()
	h := newHouse(t, dir, newClock())
	first := h.accept(toAll())
	h.start()
	used := h.LiveBytes()
	odd := push.Is(push.WhereTag("odd"))
	r := toAll()
	r.Audience = push.Audience{Where: &odd}
	second := h.accept(r)
	h.start()
	h.close()

	h = newHouseOf(t, dir, h.clock, used)
	if len(h.allOwed(first.ID)) != 9 || len(h.allOwed(second.ID)) != 0 {
		t.Fatalf("owed to %v and %v, want the first only", h.allOwed(first.ID), h.allOwed(second.ID))
	}
	if _, err := h.Cancel(t.Context(), theApp, first.ID); err != nil {
		t.Fatal(err)
	}
	h.Sweep(t.Context())
	h.gateway.connect(1)
	h.start()
	if got := h.allOwed(second.ID); len(got) != 5 || len(h.gateway.take()) != 1 {
		t.Errorf("when there is room it is owed to %v", got)
	}
}
