package dispatch_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/push"
)

// mark makes a receipt durable.
func (h *house) mark(p push.Push, o push.Ordinal, m push.Mark) {
	h.t.Helper()
	d := push.Delivery{ID: p.ID, App: p.App, Kind: p.Kind, Expires: p.Expires}
	if err := h.store.Receive(h.t.Context(), d.Receipt(o, m)); err != nil {
		h.t.Fatal(err)
	}
}

// recall takes a push back.
func (h *house) recall(p push.Push, devices ...string) push.Recall {
	h.t.Helper()
	r, err := h.Recall(h.t.Context(), theApp, p.ID, devices)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// messages returns the pushes that carry a recall.
func (h *house) messages(of push.ID) (all []push.Push) {
	h.t.Helper()
	page, _, err := h.store.List(h.t.Context(), theApp, 0, 100)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, p := range page {
		found, err := h.store.Find(h.t.Context(), theApp, p.ID)
		if err != nil {
			h.t.Fatal(err)
		}
		if found.Request.Message.Recall == of {
			all = append(all, found)
		}
	}
	return all
}

// Device 0 has it, 1 was sent it, 2 has opened it; 3 was connected since, and nobody knows whether it got a copy.
func TestARecallTakesAPushBackEverywhere(t *testing.T) {
	for name, r := range map[string]push.Request{"direct": to("a0", "a1", "a2", "a3", "a5"), "bulk": toAll()} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			h := newHouse(t, dir, newClock())
			p := h.accept(r)
			h.start()
			h.mark(p, 0, push.MarkDelivered)
			h.mark(p, 1, push.MarkSent)
			h.mark(p, 2, push.MarkDelivered)
			h.mark(p, 2, push.MarkOpened)
			h.people.active = []int{0, 3}
			h.gateway.connect(0, 3)

			got := h.recall(p)
			stopped := map[string]int{"direct": 2, "bulk": 6}[name]
			want := push.Recall{Stopped: stopped, Recalled: 2, TooLate: 1}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("recall (-want +got):\n%s", diff)
			}
			if again := h.recall(p); again != got {
				t.Errorf("again: got %+v, want %+v", again, got)
			}
			all := h.messages(p.ID)
			if len(all) != 1 {
				t.Fatalf("%d pushes carry the recall, want one", len(all))
			}
			h.gateway.take()
			h.start()
			if diff := cmp.Diff([]posted{{0, all[0].ID}, {3, all[0].ID}}, h.gateway.take()); diff != "" {
				t.Errorf("posted (-want +got):\n%s", diff)
			}
			if text := h.gateway.payloads[posted{0, all[0].ID}]; !strings.Contains(text, `"recall":"`+p.ID.String()+`"`) {
				t.Errorf("the message is %s", text)
			}
			if to := h.allOwed(all[0].ID); !slices.Equal(to, []push.Ordinal{0, 1, 2, 3}) {
				t.Errorf("the recall is owed to %v, want those that have, or may have, got it", to)
			}
			if to := h.allOwed(p.ID); len(to) != 0 || !h.gateway.gone(p.ID) {
				t.Errorf("the push is owed to %v, withdrawn %v", to, h.gateway.gone(p.ID))
			}
			h.mark(p, 0, push.MarkRecalled)
			found, rep := h.report(p.ID)
			want.Confirmed = 1
			if found.State != push.Recalled || rep.Recall == nil || *rep.Recall != want {
				t.Errorf("got %s, %+v, want recalled, %+v", found.State, rep.Recall, want)
			}
			h.close()
			h = newHouse(t, dir, h.clock)
			if to := h.allOwed(p.ID); len(to) != 0 || len(h.allOwed(all[0].ID)) != 4 {
				t.Errorf("after a restart owed to %v, the recall to %v", to, h.allOwed(all[0].ID))
			}
			if again := h.recall(p); again != want || len(h.messages(p.ID)) != 1 {
				t.Errorf("after a restart: got %+v, want %+v", again, want)
			}
		})
	}
}

func TestARecallFromNamedDevices(t *testing.T) {
	for name, r := range map[string]push.Request{"direct": to("a0", "a1", "a2", "a3"), "bulk": toAll()} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			h := newHouse(t, t.TempDir(), newClock())
			p := h.accept(r)
			h.start()
			h.mark(p, 0, push.MarkDelivered)
			got := h.recall(p, "a0", "a1", "nobody")
			if want := (push.Recall{Stopped: 1, Recalled: 1}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if again := h.recall(p, "a1", "a0"); again != got || len(h.messages(p.ID)) != 1 {
				t.Errorf("again: got %+v and %d messages, want %+v and one", again, len(h.messages(p.ID)), got)
			}
			h.start()
			message := h.messages(p.ID)[0].ID
			if to := h.allOwed(message); !slices.Equal(to, []push.Ordinal{0}) {
				t.Errorf("the recall is owed to %v, want device 0 only, since 1 was never connected", to)
			}
			if to := h.allOwed(p.ID); slices.Contains(to, 1) || !slices.Contains(to, 2) || !h.gateway.held(1, p.ID) || h.gateway.held(2, p.ID) {
				t.Errorf("the push is owed to %v, want neither 0 nor 1", to)
			}
			if got := h.recall(p, "a2"); got != (push.Recall{Stopped: 2, Recalled: 1}) || len(h.messages(p.ID)) != 1 {
				t.Errorf("from one that has not got it: got %+v and %d messages", got, len(h.messages(p.ID)))
			}
			if found, _ := h.report(p.ID); found.State != push.Done {
				t.Errorf("the push is %s, want it as it was", found.State)
			}
			_, err := h.Recall(ctx, theApp, p.ID, []string{"nobody"})
			if e, _ := errors.AsType[*push.Error](err); !errors.Is(err, push.NotFound) || e.Field != "devices" {
				t.Errorf("from strangers: %v, want not found of devices", err)
			}
			if _, err := h.Recall(ctx, theApp, p.ID, []string{""}); !errors.Is(err, push.Invalid) {
				t.Errorf("from a name that is none: %v, want invalid", err)
			}
			whole := h.recall(p)
			if whole.Recalled != 1 || h.state(p.ID) != push.Recalled || len(h.allOwed(p.ID)) != 0 {
				t.Errorf("then whole: got %+v, %s, owed to %v", whole, h.state(p.ID), h.allOwed(p.ID))
			}
		})
	}
}

func TestARecallOfWhatNobodyHasGot(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	soon := h.clock.now().Add(time.Hour)
	scheduled := toAll()
	scheduled.Policy.StartAt = &soon
	for name, r := range map[string]push.Request{"scheduled": scheduled, "accepted": toAll(), "open": opened()} {
		p := h.accept(r)
		for range 2 {
			if got := h.recall(p); got != (push.Recall{}) || h.state(p.ID) != push.Recalled {
				t.Errorf("%s: got %+v, %s, want recalled, and nothing to be told", name, got, h.state(p.ID))
			}
		}
		if n := len(h.messages(p.ID)); n != 0 {
			t.Errorf("%s: %d messages, want none", name, n)
		}
	}
	h.clock.pass(2 * time.Hour)
	h.start()
	if n := h.Unfinished(); n != 0 {
		t.Errorf("%d pushes are still to be run", n)
	}
}

// What is over stays as it is, and is taken back where it has arrived.
func TestARecallOfWhatIsOver(t *testing.T) {
	for name, r := range kinds() {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, t.TempDir(), newClock())
			p := h.accept(r)
			h.start()
			h.mark(p, 0, push.MarkDelivered)
			h.clock.pass(73 * time.Hour)
			h.Sweep(t.Context())
			if got := h.recall(p); got.Recalled != 1 || got.Stopped != 0 {
				t.Errorf("got %+v, want one recalled", got)
			}
			h.start()
			if to := h.allOwed(h.messages(p.ID)[0].ID); !slices.Equal(to, []push.Ordinal{0}) {
				t.Errorf("the recall is owed to %v", to)
			}
			if found, rep := h.report(p.ID); found.State == push.Recalled || rep.Dropped["expired"] == 0 {
				t.Errorf("got %s %+v, want it expired as before", found.State, rep)
			}
			_, err := h.Recall(t.Context(), theApp, h.messages(p.ID)[0].ID, nil)
			if !errors.Is(err, push.Conflict) {
				t.Errorf("a recall of the recall: %v, want conflict", err)
			}
		})
	}
}

func TestARecallOfUnknownOutcome(t *testing.T) {
	for name, r := range kinds() {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, t.TempDir(), newClock())
			p := h.accept(r)
			h.start()
			h.mark(p, 0, push.MarkDelivered)
			h.unsure.fail("Recall")
			if _, err := h.Recall(t.Context(), theApp, p.ID, nil); !errors.Is(err, push.Unavailable) {
				t.Fatalf("one that failed: %v, want unavailable", err)
			}
			if h.gateway.held(1, p.ID) || len(h.owed(1)) != 1 || len(h.messages(p.ID)) != 0 {
				t.Errorf("afterwards: held back %v, owed %v", h.gateway.held(1, p.ID), h.owed(1))
			}
			h.unsure.happens["Recall"] = true
			if got := h.recall(p); got.Recalled != 1 || h.state(p.ID) != push.Recalled || len(h.owed(1)) != 0 {
				t.Errorf("one that happened: %+v, %s, owed %v", got, h.state(p.ID), h.owed(1))
			}
			h.start()
			if to := h.allOwed(h.messages(p.ID)[0].ID); !slices.Contains(to, 0) {
				t.Errorf("the recall is owed to %v", to)
			}
		})
	}
}

// What a crash after the commit left undone, the run of the message does.
func TestARecallThatACrashInterrupted(t *testing.T) {
	dir := t.TempDir()
	h := newHouse(t, dir, newClock())
	p := h.accept(toAll())
	h.start()
	h.mark(p, 0, push.MarkDelivered)
	h.Marks = untold{h.ledger}
	if _, err := h.Recall(t.Context(), theApp, p.ID, nil); !errors.Is(err, push.Unavailable) {
		t.Fatalf("got %v, want unavailable", err)
	}
	h.close()
	h = newHouse(t, dir, h.clock)
	h.start()
	if _, rep := h.report(p.ID); rep.Recall == nil || rep.Recall.Recalled != 1 {
		t.Errorf("got %+v, want one told", rep.Recall)
	}
}
