package dispatch_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/push"
)

// occurrence stores a schedule of r with one occurrence, in a minute.
func (h *house) occurrence(r push.Request) push.Occurrence {
	h.t.Helper()
	at := h.clock.now().Add(time.Minute)
	s := push.Schedule{ID: h.clock.next(), App: theApp, Every: "day", State: push.ScheduleActive, Created: h.clock.now(), Request: r}
	o := push.Occurrence{ID: h.clock.next(), Schedule: s.ID, App: theApp, At: at, State: push.OccurrenceWaiting}
	if _, _, err := h.store.AddSchedule(h.t.Context(), s, []push.Occurrence{o}); err != nil {
		h.t.Fatal(err)
	}
	h.clock.pass(time.Minute)
	return o
}

func recurring() push.Request {
	r := to("a0", "nobody")
	r.App = theApp
	r.Policy.TTL = push.Duration(time.Hour)
	return r
}

func TestAnOccurrenceBecomesAPush(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	h := newHouse(t, dir, newClock())
	r := recurring()
	o := h.occurrence(r)
	h.clock.pass(time.Minute) // the node was away for a while
	h.gateway.connect(0)
	p, err := h.Fire(ctx, o, r)
	if err != nil || p.ID != o.ID || p.Schedule != o.Schedule || p.Kind != push.Bulk {
		t.Fatalf("got %+v, %v", p, err)
	}
	if _, err := h.Fire(ctx, o, r); field(err) != "occurrence" || !errors.Is(err, push.Conflict) {
		t.Errorf("fired again: %v, want conflict of the occurrence", err)
	}
	h.start()
	if diff := cmp.Diff([]posted{{0, o.ID}}, h.gateway.take()); diff != "" {
		t.Errorf("posted (-want +got):\n%s", diff)
	}
	got, rep := h.report(o.ID)
	if got.State != push.Done || !got.Start.Equal(o.At) || !got.Expires.Equal(o.At.Add(time.Hour)) || got.Schedule != o.Schedule || rep.Target != 2 {
		t.Errorf("got %+v with %d targets", got, rep.Target)
	}
}

func field(err error) string {
	if e, ok := errors.AsType[*push.Error](err); ok {
		return e.Field
	}
	return ""
}

func TestAnOccurrenceThatCannotBeMade(t *testing.T) {
	for _, tt := range []struct {
		name string
		r    push.Request
		kind push.Kind
	}{
		{"its template is gone", templated(devices("a0"), nil), push.Invalid},
		{"its file is gone", push.Request{Audience: push.Audience{File: "f", Of: &push.FileOf{Devices: true}}, Message: toAll().Message}, push.NotFound},
		{"its devices are gone", to("x"), push.NotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t, t.TempDir(), newClock())
			h.Templates = templates{}
			tt.r.App = theApp
			o := h.occurrence(tt.r)
			if _, err := h.Fire(t.Context(), o, tt.r); !errors.Is(err, tt.kind) {
				t.Errorf("got %v, want %v", err, tt.kind)
			}
			if h.Unfinished() != 0 {
				t.Error("something is to be run")
			}
		})
	}
}

func TestAFiringOfUnknownOutcome(t *testing.T) {
	ctx := t.Context()
	h := newHouse(t, t.TempDir(), newClock())
	h.gateway.connect(0)
	r := recurring()
	o := h.occurrence(r)
	h.unsure.happens["Accept"] = true
	if _, err := h.Fire(ctx, o, r); !errors.Is(err, push.Unavailable) {
		t.Fatalf("got %v, want unavailable", err)
	}
	if _, err := h.Fire(ctx, o, r); field(err) != "occurrence" {
		t.Errorf("again: %v, want conflict of the occurrence", err)
	}
	h.start()
	if diff := cmp.Diff([]posted{{0, o.ID}}, h.gateway.take()); diff != "" {
		t.Errorf("posted (-want +got):\n%s", diff)
	}
	o = h.occurrence(r)
	h.unsure.fail("Accept")
	if _, err := h.Fire(ctx, o, r); !errors.Is(err, push.Unavailable) {
		t.Fatalf("got %v, want unavailable", err)
	}
	if p, err := h.Fire(ctx, o, r); err != nil || p.ID != o.ID {
		t.Errorf("one that failed, fired again: %v, %v", p.ID, err)
	}
	h.start()
	if diff := cmp.Diff([]posted{{0, o.ID}}, h.gateway.take()); diff != "" {
		t.Errorf("posted (-want +got):\n%s", diff)
	}
}

func TestAScheduledPushIsReplaced(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	h := newHouse(t, dir, newClock())
	at := func(d time.Duration) *time.Time { at := h.clock.now().Add(d); return &at }
	r := to("a0")
	r.Policy.StartAt = at(time.Hour)
	r.Origin, r.RequestID = "rest", "q"
	p := h.accept(r)
	change := to("a1", "a2")
	change.Policy.StartAt, change.Policy.TTL = at(3*time.Hour), push.Duration(time.Hour)
	got, err := h.Replace(ctx, theApp, p.ID, change)
	if err != nil || got.ID != p.ID || got.State != push.Scheduled || !got.Expires.Equal(got.Start.Add(time.Hour)) {
		t.Fatalf("got %+v, %v", got, err)
	}
	if found := h.found(p.ID); found.Request.Origin != "rest" || found.Request.RequestID != "q" || !found.Start.Equal(got.Start) {
		t.Errorf("the record has %+v", found)
	}
	h.unsure.happens["Replace"] = true
	change.Policy.StartAt = at(2 * time.Hour)
	if got, err = h.Replace(ctx, theApp, p.ID, change); err != nil {
		t.Fatalf("of unknown outcome: %v", err)
	}
	for _, tt := range []struct {
		name   string
		change func(*push.Request)
		kind   push.Kind
		field  string
	}{
		{"without a start", func(r *push.Request) { r.Policy.StartAt = nil }, push.Invalid, "policy.start_at"},
		{"a start in the past", func(r *push.Request) { r.Policy.StartAt = at(-time.Hour) }, push.Invalid, "policy.start_at"},
		{"strangers", func(r *push.Request) { r.Audience = devices("x") }, push.NotFound, "audience.devices"},
	} {
		bad := change
		tt.change(&bad)
		if _, err := h.Replace(ctx, theApp, p.ID, bad); !errors.Is(err, tt.kind) || field(err) != tt.field {
			t.Errorf("%s: %v, want %v of %s", tt.name, err, tt.kind, tt.field)
		}
	}
	h.clock.pass(90 * time.Minute)
	h.start()
	if got := h.allOwed(p.ID); len(got) != 0 {
		t.Errorf("at its first time it is owed to %v", got)
	}
	h.close()
	h = newHouse(t, dir, h.clock)
	h.clock.pass(time.Hour)
	h.start()
	if got := h.allOwed(p.ID); !slices.Equal(got, []push.Ordinal{1, 2}) {
		t.Errorf("it is owed to %v, want those of the change", got)
	}
	if _, err := h.Replace(ctx, theApp, p.ID, change); !errors.Is(err, push.Conflict) {
		t.Errorf("after it has begun: %v, want conflict", err)
	}
}

// A push that is replaced while its audience is evaluated does not begin with the old one.
func TestReplaceWhileTheAudienceIsEvaluated(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	slow := &slowly{people: h.people, asked: make(chan struct{}), answer: make(chan struct{})}
	soon, later := h.clock.now().Add(time.Minute), h.clock.now().Add(time.Hour)
	r := toAll()
	r.Policy.StartAt = &soon
	p := h.accept(r)
	h.clock.pass(2 * time.Minute)
	h.Audience = slow
	started := make(chan error, 1)
	go func() { started <- h.Start(t.Context(), theApp, p.ID) }()
	<-slow.asked
	r.Policy.StartAt = &later
	if _, err := h.Replace(t.Context(), theApp, p.ID, r); err != nil {
		t.Fatal(err)
	}
	close(slow.answer)
	if err := <-started; err != nil {
		t.Error(err)
	}
	if got := h.found(p.ID); got.State != push.Scheduled || len(h.allOwed(p.ID)) != 0 {
		t.Errorf("got %s, owed to %v, want it scheduled still", got.State, h.allOwed(p.ID))
	}
	h.Audience = h.people
	h.clock.pass(time.Hour)
	h.start()
	if got := h.found(p.ID); got.State != push.Done {
		t.Errorf("at its time: %s, want done", got.State)
	}
}

func TestRecurringPushesAreNotAccepted(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	r := to("a0")
	r.App = theApp
	r.Policy.Recurring = &push.Recurring{Every: "day", At: "09:00:00", From: h.clock.now(), Until: h.clock.now().Add(48 * time.Hour)}
	if _, err := h.Accept(t.Context(), r); !errors.Is(err, push.Invalid) || field(err) != "policy.recurring" {
		t.Errorf("Accept: %v, want invalid policy.recurring", err)
	}
	if err := h.Check(t.Context(), r, h.clock.now()); err != nil {
		t.Errorf("Check: %v", err)
	}
}
