package storetest

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// rich returns a push with something in every part of its request.
func rich(a *push.Acceptance) push.Push {
	p := a.Push
	start, badge := noon.Add(time.Hour), 3
	p.Unknown, p.Target, p.Reason = 2, 3, ""
	p.Request.Origin, p.Request.RequestID = "umeng", "r-1"
	p.Request.Audience.Platforms = []push.Platform{push.Android, push.Harmony}
	p.Request.Message = push.Message{
		Notification: &push.Notification{Text: push.Text{Title: "开门", Body: "ready"}, Badge: &push.Badge{Set: &badge}},
		Data:         []byte(`[1,{"a":"b"}]`),
		Extras:       map[string]json.RawMessage{"order": json.RawMessage(`"42"`)},
		APNS:         []byte(`{"aps":{"mutable-content":1}}`),
		Vendors:      map[string]json.RawMessage{"hms": json.RawMessage(`{"x":1}`)},
	}
	p.Request.Policy = push.Policy{
		StartAt: &start, Rate: 7, CollapseID: "c", TTL: push.Duration(72 * time.Hour),
		Labels: push.Labels{Group: "g", Topic: "t"}, Ways: push.Ways{Channels: "own"},
	}
	return p
}

func testAcceptDirect(t *testing.T, p *Ports) {
	want := rich(direct(1, 72*time.Hour, 5, 1, 9))
	a := finish(want, 5, 1)
	a.Marks = []push.Receipt{{App: 1, Push: want.ID, Ordinal: 9, Mark: push.MarkBlacklisted, Day: push.DayOf(want.Expires)}}
	accept(t, p, a)

	got, err := p.Record.Find(t.Context(), 1, want.ID)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the push", got, want)
	targets, err := p.Report.Targets(t.Context(), got)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "its targets", targets, []push.Ordinal{1, 5, 9})
	same(t, "the receipts of its commit", receipts(p), a.Marks)
	for o, waits := range map[push.Ordinal]int{1: 1, 5: 1, 9: 0} {
		if got := len(owed(t, p, 1, o, noon)); got != waits {
			t.Errorf("device %d is owed %d, want %d", o, got, waits)
		}
	}
	_, err = p.Record.Find(t.Context(), 2, want.ID)
	fails(t, "find it in another app", err, push.NotFound, "")
	_, err = p.Record.Find(t.Context(), 1, want.ID+1)
	fails(t, "find another id", err, push.NotFound, "")
}

func testAcceptBulk(t *testing.T, p *Ports) {
	want := rich(bulk(1, push.Scheduled, 48*time.Hour))
	want.Target, want.Start = 0, noon.Add(time.Hour)
	accept(t, p, finish(want))
	got, err := p.Record.Find(t.Context(), 1, want.ID)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the push", got, want)
	_, err = p.Record.Find(t.Context(), 2, want.ID)
	fails(t, "find it in another app", err, push.NotFound, "")
	newest, err := p.Pushes.Newest(t.Context())
	if err != nil || newest != want.ID {
		t.Errorf("newest: got %d, %v, want %d", newest, err, want.ID)
	}
}

func testKeys(t *testing.T, p *Ports) {
	keyed := func(a *push.Acceptance, value, data string, strict bool) *push.Acceptance {
		a.Push.Request.Message.Data = []byte(data)
		a.Push.Request.Key = push.Key{Namespace: "rest", Value: value, Strict: strict}
		return finish(a.Push, a.Targets...)
	}
	first := keyed(direct(1, time.Hour, 1), "k", `1`, false)
	accept(t, p, first)

	got, repeated, err := p.Record.Accept(t.Context(), keyed(direct(1, time.Hour, 1), "k", `2`, false))
	if err != nil || !repeated || got.ID != first.Push.ID {
		t.Errorf("repeat: got %d, repeated %v, %v, want %d", got.ID, repeated, err, first.Push.ID)
	}
	got, repeated, err = p.Record.Accept(t.Context(), keyed(direct(1, time.Hour, 1), "k", `1`, true))
	if err != nil || !repeated || got.ID != first.Push.ID {
		t.Errorf("strict repeat of the same: got %d, repeated %v, %v, want %d", got.ID, repeated, err, first.Push.ID)
	}
	_, _, err = p.Record.Accept(t.Context(), keyed(direct(1, time.Hour, 1), "k", `2`, true))
	fails(t, "strict repeat of another", err, push.Conflict, "key")
	same(t, "what the repeats left", owed(t, p, 1, 1, noon), []push.ID{first.Push.ID})

	// The same key of another app, or another namespace, is another key.
	other := keyed(direct(1, time.Hour, 1), "k", `3`, false)
	other.Push.Request.Key.Namespace = "umeng"
	accept(t, p, keyed(direct(2, time.Hour, 1), "k", `3`, false), other, keyed(bulk(1, push.Accepted, time.Hour), "b", `4`, false))

	found, fingerprint, err := p.Record.FindKey(t.Context(), 1, first.Push.Request.Key)
	if err != nil || found.ID != first.Push.ID || fingerprint != first.Push.Request.Fingerprint() {
		t.Errorf("find the key: got %d, %v, want %d and the fingerprint of its request", found.ID, err, first.Push.ID)
	}
	_, _, err = p.Record.FindKey(t.Context(), 1, push.Key{Namespace: "rest", Value: "K"})
	fails(t, "find another key", err, push.NotFound, "")
}

func testKeyExpires(t *testing.T, p *Ports) {
	at := func(when time.Time) *push.Acceptance {
		a := direct(1, time.Hour, 1)
		a.Push.Created = when
		a.Push.Request.Key = push.Key{Namespace: "rest", Value: "k", Keep: time.Minute}
		return a
	}
	early, within, late := at(noon), at(noon.Add(time.Minute-time.Millisecond)), at(noon.Add(time.Minute))
	accept(t, p, early)
	got, repeated, err := p.Record.Accept(t.Context(), within)
	if err != nil || !repeated || got.ID != early.Push.ID {
		t.Errorf("just before it expires: got %d, repeated %v, %v, want %d", got.ID, repeated, err, early.Push.ID)
	}
	accept(t, p, late)
	again := at(noon.Add(2*time.Minute - time.Millisecond))
	got, repeated, err = p.Record.Accept(t.Context(), again)
	if err != nil || !repeated || got.ID != late.Push.ID {
		t.Errorf("the key's second life: got %d, repeated %v, %v, want %d", got.ID, repeated, err, late.Push.ID)
	}
}

func testInvalid(t *testing.T, p *Ports) {
	for _, tt := range []struct {
		name  string
		field string
		spoil func(a *push.Acceptance)
	}{
		{"no id", "id", func(a *push.Acceptance) { a.Push.ID = 0 }},
		{"no kind", "kind", func(a *push.Acceptance) { a.Push.Kind = "" }},
		{"no end", "expires", func(a *push.Acceptance) { a.Push.Expires = time.Time{} }},
		{"a device twice", "targets", func(a *push.Acceptance) { a.Targets = []push.Ordinal{3, 4, 3} }},
		{"too many devices", "targets", func(a *push.Acceptance) {
			for o := range push.Ordinal(push.MaxDirect + 1) {
				a.Targets = append(a.Targets, o+10)
			}
		}},
		{"a key that is no text", "key", func(a *push.Acceptance) { a.Push.Request.Key.Value = "\xff" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := direct(1, time.Hour, 1)
			tt.spoil(a)
			_, _, err := p.Record.Accept(t.Context(), a)
			fails(t, "accept", err, push.Invalid, tt.field)
		})
	}
	same(t, "what is owed", owed(t, p, 1, 1, noon), []push.ID{})
}

func testIDTwice(t *testing.T, p *Ports) {
	first := direct(1, time.Hour, 1)
	accept(t, p, first)
	second := direct(1, time.Hour, 2)
	second.Push.ID = first.Push.ID
	_, _, err := p.Record.Accept(t.Context(), second)
	fails(t, "an id that was used", err, push.Conflict, "")
	same(t, "what the second left", owed(t, p, 1, 2, noon), []push.ID{})
}

func testList(t *testing.T, p *Ports) {
	var want []push.ID
	for i := range 60 {
		a := direct(1, time.Duration(1+i%3)*24*time.Hour, push.Ordinal(i))
		if i%4 == 0 {
			a = bulk(1, push.Accepted, time.Hour)
		}
		accept(t, p, a, direct(2, 24*time.Hour, 1))
		want = append(want, a.Push.ID)
	}
	slices.Reverse(want)
	var got []push.ID
	next, pages := push.ID(0), 0
	for {
		page, after, err := p.Pushes.List(t.Context(), 1, next, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range page {
			got = append(got, q.ID)
			if q.App != 1 {
				t.Fatalf("push %d is of app %d, want 1", q.ID, q.App)
			}
		}
		if pages++; pages > 100 {
			t.Fatal("the list has no end")
		}
		if next = after; next == 0 {
			break
		}
	}
	same(t, "all pages", got, want)
	page, next, err := p.Pushes.List(t.Context(), 3, 0, 10)
	if err != nil || len(page) != 0 || next != 0 {
		t.Errorf("an app without pushes: got %d, next %d, %v, want none", len(page), next, err)
	}
}
