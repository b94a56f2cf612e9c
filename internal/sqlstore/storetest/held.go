package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// held returns the ids of the direct pushes that are paused at now.
func held(t *testing.T, p *Ports, now time.Time) []push.ID {
	t.Helper()
	all, err := p.Inboxes.Held(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	ids := []push.ID{}
	for _, q := range all {
		if q.State != push.Paused || q.Kind != push.Direct {
			t.Errorf("push %d is held, %s and %s", q.ID, q.Kind, q.State)
		}
		ids = append(ids, q.ID)
	}
	return ids
}

func hold(t *testing.T, p *Ports, paused bool, ids ...push.ID) {
	t.Helper()
	for _, id := range ids {
		if err := p.Inboxes.Hold(t.Context(), 1, id, paused); err != nil {
			t.Fatal(err)
		}
	}
}

func testHold(t *testing.T, p *Ports) {
	ids := accept(t, p, direct(1, 24*time.Hour, 1, 2), direct(1, 72*time.Hour, 1), direct(1, 24*time.Hour, 1), direct(1, 48*time.Hour, 1))
	b := bulk(1, push.Sending, time.Hour)
	accept(t, p, b)
	same(t, "at the beginning", held(t, p, noon), []push.ID{})
	hold(t, p, true, ids[1], ids[0], ids[2], ids[0])
	for _, when := range []string{"then", "after a restart"} {
		same(t, "held "+when, held(t, p, noon), ids[:3])
		same(t, "its state "+when, found(t, p, ids[0]).State, push.Paused)
		same(t, "another's "+when, found(t, p, ids[3]).State, push.Done)
		p = p.Reopen(t)
	}
	page, _, err := p.Pushes.List(t.Context(), 1, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	paused := 0
	for _, q := range page {
		if q.State == push.Paused {
			paused++
		}
	}
	same(t, "paused in the list", paused, 3)
	same(t, "what is owed stays", owed(t, p, 1, 2, noon), ids[:1])

	hold(t, p, false, ids[2], ids[2])
	same(t, "one goes on", held(t, p, noon), ids[:2])
	same(t, "its state", found(t, p, ids[2]).State, push.Done)
	if n, err := p.Inbox.Withdraw(t.Context(), 1, ids[0], push.MarkCancelled); err != nil || n != 2 {
		t.Errorf("cancel one that is held: got %d, %v, want 2", n, err)
	}
	same(t, "when it is cancelled", held(t, p, noon), ids[1:2])
	same(t, "its state", found(t, p, ids[0]).State, push.Cancelled)
	hold(t, p, true, ids[0])
	same(t, "a hold that comes too late", held(t, p, noon), ids[1:2])
	recall(t, p, push.Recalling{Push: found(t, p, ids[1])}, nil)
	same(t, "when the other is recalled", held(t, p, noon), []push.ID{})
	same(t, "its state", found(t, p, ids[1]).State, push.Recalled)

	fails(t, "hold another app's", p.Inboxes.Hold(t.Context(), 2, ids[3], true), push.NotFound, "")
	fails(t, "hold a bulk push", p.Inboxes.Hold(t.Context(), 1, b.Push.ID, true), push.NotFound, "")
	fails(t, "hold what is none", p.Inboxes.Hold(t.Context(), 1, 99, true), push.NotFound, "")
}

func testHoldOver(t *testing.T, p *Ports) {
	ids := accept(t, p, direct(1, time.Hour, 1), direct(1, 48*time.Hour, 1))
	hold(t, p, true, ids...)
	same(t, "when one has expired", held(t, p, noon.Add(time.Hour)), ids[1:])
	sweep(t, p, noon.Add(time.Hour))
	same(t, "what waited for it", marked(p), map[push.Mark]int{push.MarkExpired: 1})
	same(t, "its state", found(t, p, ids[0]).State, push.Done)
	same(t, "the other's", found(t, p, ids[1]).State, push.Paused)
	sweep(t, p, noon.Add(40*24*time.Hour))
	same(t, "a month later", held(t, p, noon), slices.Clone(ids[:0]))
}
