package dispatch_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/push"
)

func TestWhatIsHeldAtTheDoorIsNotLost(t *testing.T) {
	for name, r := range kinds() {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, t.TempDir(), newClock())
			h.gateway.connect(0, 1)
			until := h.clock.now().Add(time.Hour)
			h.law.set(0, push.Verdict{Held: true, Until: until})
			p := h.accept(r)
			h.start()
			if diff := cmp.Diff([]posted{{1, p.ID}}, h.gateway.take()); diff != "" {
				t.Errorf("posted (-want +got):\n%s", diff)
			}
			if got := h.owed(0); len(got) != 0 {
				t.Errorf("a device for which it is held gets %v", got)
			}
			s, err := h.Standing(t.Context(), theApp, h.found(p.ID), 0)
			if want := (push.Verdict{Held: true, Until: until}); err != nil || !s.Targeted || s.Verdict != want {
				t.Errorf("standing %+v, %v, want it held", s, err)
			}
			h.Release(t.Context())
			if woken := h.gateway.takeWoken(); len(woken) != 0 {
				t.Errorf("%v were woken too early", woken)
			}
			h.law.set(0, push.Verdict{})
			h.Release(t.Context())
			if woken := h.gateway.takeWoken(); !slices.Contains(woken, 0) {
				t.Errorf("%v were woken, want device 0", woken)
			}
			if got := h.owed(0); !slices.Equal(got, []push.ID{p.ID}) {
				t.Errorf("then it is owed %v, want the push", got)
			}
			if _, rep := h.report(p.ID); rep.Dropped["quiet"] != 0 {
				t.Errorf("got %+v", rep)
			}
		})
	}
}

// found returns a push as the record has it.
func (h *house) found(id push.ID) push.Push {
	h.t.Helper()
	p, err := h.store.Find(h.t.Context(), theApp, id)
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

func TestWhatTheDoorDropsIsReported(t *testing.T) {
	for name, r := range kinds() {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, t.TempDir(), newClock())
			h.gateway.connect(0)
			h.law.set(0, push.Verdict{Drop: push.MarkCapped}) // when it is sent
			h.law.set(1, push.Verdict{Drop: push.MarkCapped}) // when it connects
			p := h.accept(r)
			h.start()
			if posts := h.gateway.take(); len(posts) != 0 {
				t.Errorf("posted %v", posts)
			}
			if got := h.owed(1); len(got) != 0 {
				t.Errorf("owed %v", got)
			}
			h.settled(t, func() bool {
				_, rep := h.report(p.ID)
				return rep.Dropped["capped"] == 2
			})
			h.law.set(1, push.Verdict{})
			if got := h.owed(1); len(got) != 0 {
				t.Errorf("what was dropped is owed: %v", got)
			}
		})
	}
}

// settled waits for receipts that were posted, and are committed within moments.
func (h *house) settled(t *testing.T, is func() bool) {
	t.Helper()
	if err := h.store.Receive(t.Context()); err != nil { // behind what was posted
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); !is(); {
		if time.Now().After(end) {
			t.Fatal("the receipts are not there after 10 s")
		}
		<-time.After(time.Millisecond)
	}
}

// A push that is now or never does not wait for the end of quiet hours, or for another network.
func TestNowOrNeverAtTheDoor(t *testing.T) {
	for name, r := range kinds() {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, t.TempDir(), newClock())
			h.gateway.connect(0, 1)
			h.law.set(0, push.Verdict{Held: true, Until: h.clock.now().Add(time.Hour)})
			h.law.set(1, push.Verdict{Held: true})
			no := false
			r.Policy.StoreOffline = &no
			p := h.accept(r)
			h.start()
			h.settled(t, func() bool {
				_, rep := h.report(p.ID)
				return rep.Dropped["quiet"] == 1 && rep.Dropped["network"] == 1
			})
		})
	}
}

// A page is full of what may leave, however much is held before it, and what is not handed out is not counted.
func TestHeldPushesDoNotHideOthers(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	h.Admission = byPush{h.law, map[push.ID]bool{}}
	var free []push.ID
	for i := range 12 {
		r := to("a0")
		if i%3 == 0 {
			r = toAll()
		}
		p := h.accept(r)
		if i%4 == 3 {
			free = append(free, p.ID)
		} else {
			h.Admission.(byPush).held[p.ID] = true
		}
	}
	h.start()
	for limit := 1; limit <= 4; limit++ {
		got, err := h.Owed(t.Context(), push.Ref{App: theApp}, limit, func(push.ID) bool { return false })
		if err != nil || len(got) != min(limit, len(free)) {
			t.Fatalf("limit %d: got %d, %v", limit, len(got), err)
		}
		for i, d := range got {
			if d.ID != free[i] {
				t.Errorf("limit %d: got %s in place %d, want %s", limit, d.ID, i, free[i])
			}
		}
		if n := len(h.law.counted); n != len(got) {
			t.Errorf("limit %d: %d are counted, want %d", limit, n, len(got))
		}
	}
}

// byPush holds some pushes.
type byPush struct {
	*law
	held map[push.ID]bool
}

func (b byPush) Idle(push.AppID, push.Rules) bool { return false }

func (b byPush) Admit(now time.Time, app push.AppID, o push.Ordinal, id push.ID, r push.Rules) push.Verdict {
	if b.held[id] {
		return push.Verdict{Held: true}
	}
	return b.law.Admit(now, app, o, id, r)
}
