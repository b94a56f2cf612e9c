package storetest

import (
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// appTotals returns the totals of all pushes of an app, by metric.
func appTotals(t *testing.T, p *Ports, app push.AppID) map[push.Metric]int {
	t.Helper()
	all := map[push.Metric]int{}
	err := p.Details.Totals(t.Context(), app, push.ByApp, nil, 0, 1<<30, func(d push.TotalDelta) error {
		all[d.Metric] += d.N
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func personal(t *testing.T, p *Ports, q push.Push, o push.Ordinal) string {
	t.Helper()
	got, err := p.Record.Personal(t.Context(), q.ID, push.DayOf(q.Expires), o)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func testPersonal(t *testing.T, p *Ports) {
	plain, a := direct(1, 24*time.Hour, 1), direct(1, 24*time.Hour, 1, 2, 3)
	a.Personal = map[push.Ordinal][]byte{1: []byte(`{"to":1}`), 3: []byte(`{"to":3}`)}
	b := bulk(1, push.Accepted, 48*time.Hour)
	accept(t, p, plain, a, b)
	own := map[push.Ordinal][]byte{7: []byte(`{"to":7}`), 70_000: []byte(`{"to":70000}`)}
	err := p.Bulk.Begin(t.Context(), push.Start{App: 1, ID: b.Push.ID, Target: chunks(t, 7, 8, 70_000), Count: 3, Personal: own})
	if err != nil {
		t.Fatal(err)
	}
	fails(t, "begin another app's", p.Bulk.Begin(t.Context(), push.Start{App: 2, ID: b.Push.ID, Personal: own}), push.NotFound, "")
	fails(t, "begin again", p.Bulk.Begin(t.Context(), push.Start{App: 1, ID: b.Push.ID, Personal: own}), push.Conflict, "state")
	for _, when := range []string{"now", "after a restart"} {
		for o, want := range map[push.Ordinal]string{1: `{"to":1}`, 2: string(a.Payload), 3: `{"to":3}`} {
			all, err := p.Inbox.Owed(t.Context(), 1, o, noon, 10, none)
			if err != nil {
				t.Fatal(err)
			}
			got := all[len(all)-1]
			if got.ID != a.Push.ID || string(got.Payload) != want {
				t.Errorf("%s device %d is owed %d with %s, want %d with %s", when, o, got.ID, got.Payload, a.Push.ID, want)
			}
			if o == 1 && string(all[0].Payload) != string(plain.Payload) {
				t.Errorf("%s device 1 is owed %s of the other push, want %s", when, all[0].Payload, plain.Payload)
			}
		}
		for _, tt := range []struct {
			q    push.Push
			o    push.Ordinal
			want string
		}{
			{a.Push, 1, `{"to":1}`},
			{a.Push, 2, ""},
			{a.Push, 9, ""},
			{plain.Push, 1, ""},
			{b.Push, 7, `{"to":7}`},
			{b.Push, 70_000, `{"to":70000}`},
			{b.Push, 8, ""},
			{direct(1, 99*time.Hour, 1).Push, 1, ""},
		} {
			if got := personal(t, p, tt.q, tt.o); got != tt.want {
				t.Errorf("%s the payload of push %d for device %d: got %q, want %q", when, tt.q.ID, tt.o, got, tt.want)
			}
		}
		p = p.Reopen(t)
	}
}

func testPersonalOver(t *testing.T, p *Ports) {
	a, b := direct(1, time.Hour, 1), direct(1, 20*24*time.Hour, 1)
	a.Personal, b.Personal = map[push.Ordinal][]byte{1: []byte(`"a"`)}, map[push.Ordinal][]byte{1: []byte(`"b"`)}
	accept(t, p, a, b)
	sweep(t, p, noon.Add(4*24*time.Hour))
	same(t, "when its day is over", personal(t, p, a.Push, 1), "")
	same(t, "of a later day", personal(t, p, b.Push, 1), `"b"`)
	if _, err := p.Record.Find(t.Context(), 1, a.Push.ID); err != nil {
		t.Errorf("the push is kept longer: %v", err)
	}
}

func testRequests(t *testing.T, p *Ports) {
	with := func(a *push.Acceptance, id string) *push.Acceptance {
		a.Push.Request.RequestID = id
		return finish(a.Push, a.Targets...)
	}
	a, b := with(direct(1, 24*time.Hour, 1), "r-1"), with(bulk(1, push.Accepted, 24*time.Hour), "r-2")
	elsewhere, again := with(direct(2, 24*time.Hour, 1), "r-1"), with(direct(1, 48*time.Hour, 2), "r-2")
	accept(t, p, a, b, elsewhere, with(direct(1, time.Hour, 3), ""))
	by := func(what string, app push.AppID, id string, want *push.Acceptance) {
		t.Helper()
		got, err := p.Pushes.ByRequest(t.Context(), app, id)
		if err != nil || got.ID != want.Push.ID || got.Request.RequestID != id || got.App != app {
			t.Errorf("%s: got push %d of app %d, %v, want %d of app %d", what, got.ID, got.App, err, want.Push.ID, app)
		}
	}
	by("a direct push", 1, "r-1", a)
	by("a bulk push", 1, "r-2", b)
	by("the same id in another app", 2, "r-1", elsewhere)
	accept(t, p, again)
	p = p.Reopen(t)
	by("the last of two", 1, "r-2", again)
	for _, id := range []string{"r-3", "R-1", "", "r-1\x00", "\xff"} {
		_, err := p.Pushes.ByRequest(t.Context(), 1, id)
		fails(t, "the id "+id, err, push.NotFound, "")
	}
	for _, id := range []string{"x\x00", "\xff"} {
		_, _, err := p.Record.Accept(t.Context(), with(direct(1, time.Hour, 1), id))
		fails(t, "accept with an id that is no text", err, push.Invalid, "request_id")
	}
}

func testRequestsOver(t *testing.T, p *Ports) {
	const keep = 30 * 24 * time.Hour
	a, b := direct(1, time.Hour, 1), bulk(1, push.Accepted, 48*time.Hour)
	a.Push.Request.RequestID, b.Push.Request.RequestID = "a", "b"
	accept(t, p, a, finish(b.Push))
	sweep(t, p, noon.Add(keep))
	if got, err := p.Pushes.ByRequest(t.Context(), 1, "a"); err != nil || got.ID != a.Push.ID {
		t.Errorf("before its time: got %d, %v, want %d", got.ID, err, a.Push.ID)
	}
	sweep(t, p, noon.Add(keep+2*time.Hour))
	_, err := p.Pushes.ByRequest(t.Context(), 1, "a")
	fails(t, "after its time", err, push.NotFound, "")
	if got, err := p.Pushes.ByRequest(t.Context(), 1, "b"); err != nil || got.ID != b.Push.ID {
		t.Errorf("the other: got %d, %v, want %d", got.ID, err, b.Push.ID)
	}
}

func testMerged(t *testing.T, p *Ports) {
	a, b, c := direct(1, time.Hour, 1, 2, 70_000), direct(1, time.Hour, 1), bulk(1, push.Accepted, time.Hour)
	a.Merged = []push.Ordinal{70_000, 1, 1}
	accept(t, p, a, b, c)
	for _, tt := range []struct {
		name string
		q    *push.Acceptance
		o    push.Ordinal
		want bool
	}{
		{"one of several", a, 1, true},
		{"another", a, 70_000, true},
		{"one that was named once", a, 2, false},
		{"a push that merged none", b, 1, false},
		{"a bulk push", c, 1, false},
		{"a push that is not there", direct(1, 99*time.Hour), 1, false},
	} {
		got, err := p.Pushes.Merged(t.Context(), tt.q.Push, tt.o)
		if err != nil || got != tt.want {
			t.Errorf("%s: got %v, %v, want %v", tt.name, got, err, tt.want)
		}
	}
	want := a.Push
	same(t, "the push", found(t, p, a.Push.ID), want)
}

// testTemplateKept accepts pushes whose payloads have the texts that a template made: what was asked for is found.
func testTemplateKept(t *testing.T, p *Ports) {
	for _, a := range []*push.Acceptance{direct(1, time.Hour, 1), bulk(1, push.Accepted, time.Hour)} {
		want := a.Push
		want.Request.Message = push.Message{
			Template:     &push.TemplateUse{Name: "order", Values: map[string]string{"n": "7"}},
			Notification: &push.Notification{Look: push.Look{Icon: "bell"}},
			Personal:     map[string]map[string]string{"d": {"n": "8"}},
		}
		sent := want
		sent.Request.Message.Notification = &push.Notification{Look: push.Look{Icon: "bell"}, Text: push.Text{Title: "Order 7"}}
		b := finish(sent, a.Targets...)
		b.Push = want
		accept(t, p, b)
		same(t, string(want.Kind), found(t, p, want.ID), want)
	}
}

func testRules(t *testing.T, p *Ports) {
	all := map[push.ID]push.Rules{}
	for _, set := range []func(r *push.Request){
		func(*push.Request) {},
		func(r *push.Request) { r.Policy.Quiet = "drop" },
		func(r *push.Request) { r.Policy.Network, r.Policy.Category = push.WiFi, "news" },
		func(r *push.Request) { r.Policy.Network = push.AnyNetwork },
		func(r *push.Request) { r.Message = push.Message{Recall: 5} },
		func(r *push.Request) { r.Message = push.Message{Template: &push.TemplateUse{Name: "x"}} },
	} {
		a := direct(1, time.Hour, 1)
		a.Push.Request.Message = push.Message{Notification: &push.Notification{Text: push.Text{Title: "t"}}}
		set(&a.Push.Request)
		all[a.Push.ID] = a.Push.Request.Rules()
		accept(t, p, finish(a.Push, 1))
	}
	p = p.Reopen(t)
	owed, err := p.Inbox.Owed(t.Context(), 1, 1, noon, 100, none)
	if err != nil {
		t.Fatal(err)
	}
	got := map[push.ID]push.Rules{}
	for _, d := range owed {
		got[d.ID] = d.Rules
	}
	same(t, "rules", got, all)
}

func testStarted(t *testing.T, p *Ports) {
	day := push.DayOf(noon)
	a := direct(1, time.Hour, 1, 2, 3)
	a.Push.Unknown, a.Push.Request.Origin, a.Push.Request.Policy.Group = 2, "rest", "g"
	a.Marks = []push.Receipt{{App: 1, Push: a.Push.ID, Ordinal: 4, Mark: push.MarkBlacklisted, Day: push.DayOf(a.Push.Expires)}}
	a.Totals = a.Push.Request.Keys(day)
	b := bulk(1, push.Accepted, time.Hour)
	b.Totals = b.Push.Request.Keys(day) // of a bulk push they count when it begins
	quiet := direct(1, time.Hour, 1)
	accept(t, p, a, b, quiet)
	same(t, "of a direct push", appTotals(t, p, 1), map[push.Metric]int{push.MetricPushes: 1, push.MetricTarget: 6, push.MetricUnknown: 2})
	err := p.Bulk.Begin(t.Context(), push.Start{App: 1, ID: b.Push.ID, Target: chunks(t, 1, 2), Count: 2, Unknown: 1, Totals: b.Totals})
	if err != nil {
		t.Fatal(err)
	}
	fails(t, "begin again", p.Bulk.Begin(t.Context(), push.Start{App: 1, ID: b.Push.ID, Totals: b.Totals}), push.Conflict, "state")
	p = p.Reopen(t)
	same(t, "and a bulk push", appTotals(t, p, 1), map[push.Metric]int{push.MetricPushes: 2, push.MetricTarget: 9, push.MetricUnknown: 3})
	got := map[string]int{}
	err = p.Details.Totals(t.Context(), 1, push.ByGroup, nil, day, day, func(d push.TotalDelta) error {
		got[d.Key.Name] += d.N
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "of the group", got, map[string]int{"g": 1 + 6 + 2})
}
