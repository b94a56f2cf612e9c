package dispatch_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/push"
)

// template stores one whose title is "Hello #name#", and whose body has a default.
func (h *house) template() {
	h.Templates = templates{"hello": {
		App: theApp, Name: "hello", Title: "Hello #name#", Body: "It is ${day}", Defaults: map[string]string{"day": "Monday"},
	}}
}

// templates are those of the app.
type templates map[string]push.Template

func (t templates) FindTemplate(_ context.Context, _ push.AppID, name string) (push.Template, error) {
	found, ok := t[name]
	if !ok {
		return push.Template{}, &push.Error{Kind: push.NotFound, Field: "name", Msg: "no such template"}
	}
	return found, nil
}

func templated(a push.Audience, values map[string]string) push.Request {
	return push.Request{Audience: a, Message: push.Message{Template: &push.TemplateUse{Name: "hello", Values: values}}}
}

// title returns what a device is shown of a push, as it gets it when it connects.
func (h *house) title(o push.Ordinal) string {
	h.t.Helper()
	owed, err := h.Owed(h.t.Context(), push.Ref{App: theApp, Ordinal: o}, 1, func(push.ID) bool { return false })
	if err != nil || len(owed) != 1 {
		h.t.Fatalf("owed %v, %v", owed, err)
	}
	return shown(h.t, owed[0].Payload)
}

func shown(t *testing.T, payload []byte) string {
	t.Helper()
	var m push.InboxMessage
	if err := json.Unmarshal(payload, &m); err != nil || m.Notification == nil {
		t.Fatalf("%s: %v", payload, err)
	}
	return m.Notification.Title + ". " + m.Notification.Body
}

func TestTemplatesAreRenderedWhenAPushIsAccepted(t *testing.T) {
	for name, a := range map[string]push.Audience{"direct": devices("a0"), "bulk": {All: true}} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, t.TempDir(), newClock())
			h.template()
			p := h.accept(templated(a, map[string]string{"name": "you"}))
			h.Templates = templates{}
			h.start()
			if got := h.title(0); got != "Hello you. It is Monday" {
				t.Errorf("got %q", got)
			}
			if use := h.found(p.ID).Request.Message.Template; use == nil || use.Name != "hello" {
				t.Errorf("the request keeps %+v, want its template", use)
			}
		})
	}
}

func TestPersonalPushes(t *testing.T) {
	names := map[string]map[string]string{"a0": {"name": "Ann"}, "a1": {"name": "Bob", "day": "Tuesday"}}
	for name, later := range map[string]bool{"direct": false, "bulk": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			h := newHouse(t, dir, newClock())
			h.template()
			h.gateway.connect(0, 2)
			r := templated(devices("a0", "a1", "a2"), map[string]string{"name": "all"})
			r.Message.Personal = names
			if soon := h.clock.now().Add(time.Minute); later {
				r.Policy.StartAt = &soon
			}
			p := h.accept(r)
			h.clock.pass(2 * time.Minute)
			h.start()
			got := map[push.Ordinal]string{}
			for _, one := range h.gateway.take() {
				got[one.Device] = shown(t, []byte(h.gateway.payloads[posted{one.Device, p.ID}]))
			}
			want := map[push.Ordinal]string{0: "Hello Ann. It is Monday", 2: "Hello all. It is Monday"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("posted (-want +got):\n%s", diff)
			}
			h.close()
			h = newHouse(t, dir, h.clock)
			for o, want := range []string{"Hello Ann. It is Monday", "Hello Bob. It is Tuesday", "Hello all. It is Monday"} {
				if got := h.title(push.Ordinal(o)); got != want {
					t.Errorf("device %d gets %q, want %q", o, got, want)
				}
			}
		})
	}
}

// If everybody has values of his own, the common ones need not be complete.
func TestEverybodysOwnValuesAreEnough(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	h.template()
	r := templated(devices("a0", "a1"), nil)
	r.Message.Personal = map[string]map[string]string{"a0": {"name": "Ann"}, "a1": {"name": "Bob"}}
	h.accept(r)
	if a, b := h.title(0), h.title(1); a != "Hello Ann. It is Monday" || b != "Hello Bob. It is Monday" {
		t.Errorf("got %q and %q", a, b)
	}
}

func TestTemplateErrorsNameTheField(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	h.template()
	personal := func(all map[string]map[string]string) push.Request {
		r := templated(devices("a0", "a1"), map[string]string{"name": "all"})
		r.Message.Personal = all
		return r
	}
	unknown := templated(devices("a0"), nil)
	unknown.Message.Template.Name = "other"
	for _, tt := range []struct {
		name  string
		r     push.Request
		field string
	}{
		{"no such template", unknown, "message.template"},
		{"a value is missing", templated(devices("a0"), nil), "message.template.values.name"},
		{"a value is missing in a bulk push", templated(push.Audience{All: true}, nil), "message.template.values.name"},
		{"a value for nothing", templated(devices("a0"), map[string]string{"name": "x", "nme": "x"}), "message.template.values.nme"},
		{"a personal value for nothing", personal(map[string]map[string]string{"a0": {"nme": "x"}}), "message.personal.nme"},
		{"values of somebody who is not named", personal(map[string]map[string]string{"a5": {"name": "x"}}), "message.personal"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.r.App = theApp
			_, err := h.Accept(t.Context(), tt.r)
			e, _ := errors.AsType[*push.Error](err)
			if !errors.Is(err, push.Invalid) || e.Field != tt.field {
				t.Errorf("got %v, want invalid %s", err, tt.field)
			}
			if err := h.Check(t.Context(), tt.r, h.clock.now()); !errors.Is(err, push.Invalid) {
				t.Errorf("Check: %v, want invalid", err)
			}
			if _, err := h.Count(t.Context(), tt.r); !errors.Is(err, push.Invalid) {
				t.Errorf("Count: %v, want invalid", err)
			}
		})
	}
}

// A template that has gone when a personal push begins ends it, and the push says why.
func TestATemplateThatIsGoneWhenThePushBegins(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	h.template()
	soon := h.clock.now().Add(time.Minute)
	r := templated(devices("a0"), nil)
	r.Message.Personal, r.Policy.StartAt = map[string]map[string]string{"a0": {"name": "Ann"}}, &soon
	p := h.accept(r)
	h.Templates = templates{}
	h.clock.pass(time.Hour)
	h.start()
	if got := h.found(p.ID); got.State != push.Failed || got.Reason != "message.template: no such template" {
		t.Errorf("got %s, %q", got.State, got.Reason)
	}
}

func TestQuotas(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	h.people.app.Settings = push.Settings{"rest.pushes_per_minute": "3"}
	use := func(r push.Request) push.Request {
		r.App, r.Uses = theApp, []push.Use{{Setting: "rest.pushes_per_minute", Credential: "rest"}}
		return r
	}
	keyed := use(to("a0"))
	keyed.Key = push.Key{Namespace: "test", Value: "k", Keep: time.Hour}
	test := use(to("a0"))
	test.Policy.Test = true
	for range 2 { // a repeat uses nothing
		h.accept(keyed)
	}
	h.accept(use(toAll()))
	h.accept(test)
	if _, err := h.Count(t.Context(), use(to("a0"))); err != nil {
		t.Errorf("Count: %v", err)
	}
	if _, err := h.Accept(t.Context(), use(to("nobody"))); !errors.Is(err, push.NotFound) {
		t.Errorf("a request that is refused: %v, want not found", err)
	}
	h.accept(use(to("a0"))) // the third
	_, err := h.Accept(t.Context(), use(toAll()))
	e, _ := errors.AsType[*push.Error](err)
	if !errors.Is(err, push.TooMany) || e.Field != "rest.pushes_per_minute" || e.RetryAfter <= 0 {
		t.Errorf("the fourth: %v, want too many", err)
	}
	h.accept(keyed) // and a repeat is answered all the same
}
