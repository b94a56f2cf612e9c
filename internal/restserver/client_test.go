package restserver_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/restserver"
	"github.com/carillonpush/carillon/sdk/carillon"
)

// client starts a server over s and a client of its app demo.
func client(t *testing.T, s *site) *carillon.Client {
	t.Helper()
	server := httptest.NewServer(s.handler)
	t.Cleanup(server.Close)
	c := carillon.New(server.URL, "key-1", &carillon.Options{Retries: -1})
	t.Cleanup(func() { c.Close() }) //nolint:errcheck // it is nil
	return c
}

// The client and the server are written apart: this holds the one against the other, call by call.
func TestClientControls(t *testing.T) {
	s := newSite(t, restserver.Options{})
	c, ctx := client(t, s), t.Context()
	data := carillon.Message{Data: json.RawMessage(`1`)}

	p, err := c.Send(ctx, "demo", carillon.PushRequest{Open: true, Message: data}, &carillon.SendOptions{RequestID: "a/b#1"})
	if err != nil || p.State != "open" {
		t.Fatalf("push %+v, %v, want an open one", p, err)
	}
	added, err := c.AddTargets(ctx, "demo", p.ID, carillon.Audience{Devices: []string{"d1", "d2", "x"}})
	if want := (carillon.Targets{ID: p.ID, State: "open", Target: 3, Added: 2, Unknown: 1}); err != nil || added != want {
		t.Errorf("added %+v, %v, want %+v", added, err, want)
	}
	for _, step := range []struct {
		do    func() (carillon.Push, error)
		state string
	}{
		{func() (carillon.Push, error) { return c.ClosePush(ctx, "demo", p.ID) }, "sending"},
		{func() (carillon.Push, error) { return c.PausePush(ctx, "demo", p.ID) }, "paused"},
		{func() (carillon.Push, error) { return c.ResumePush(ctx, "demo", p.ID) }, "sending"},
	} {
		if got, err := step.do(); err != nil || got.State != step.state {
			t.Errorf("push %+v, %v, want it %s", got, err, step.state)
		}
	}
	if r, err := c.RecallPushFrom(ctx, "demo", p.ID, "d2"); err != nil || r.Stopped != 1 {
		t.Errorf("recall %+v, %v, want one stopped", r, err)
	}
	var e *carillon.Error
	if _, err := c.RecallPushFrom(ctx, "demo", p.ID); !errors.As(err, &e) || e.Code != "invalid" || e.Field != "devices" {
		t.Errorf("a recall from nobody: got %v, want devices refused", err)
	}
	if r, err := c.RecallPush(ctx, "demo", p.ID); err != nil || r.Stopped != 2 || r.TooLate != 1 {
		t.Errorf("recall %+v, %v, want both stopped", r, err)
	}
	report, err := c.ShowRequest(ctx, "demo", "a/b#1")
	if err != nil || report.ID != p.ID || report.State != "recalled" || report.Recall == nil || report.RequestID != "a/b#1" || report.Dropped["unknown"] != 1 {
		t.Errorf("report %+v, %v, want that of the push", report, err)
	}
	s.accounted = push.Account{State: "held", Steps: []push.AccountStep{{Time: s.clock, Step: "held", Reason: "quiet"}}}
	if a, err := c.ExplainPush(ctx, "demo", p.ID, "d1"); err != nil || a.State != "held" || !a.Steps[0].Time.Equal(s.clock) || a.Steps[0].Reason != "quiet" {
		t.Errorf("account %+v, %v, want it held", a, err)
	}
}

func TestClientSchedules(t *testing.T) {
	s := newSite(t, restserver.Options{})
	c, ctx := client(t, s), t.Context()
	day := func(month time.Month, day int) time.Time { return time.Date(2026, month, day, 0, 0, 0, 0, time.UTC) }
	p, err := c.Send(ctx, "demo", carillon.PushRequest{
		Audience: carillon.Audience{All: true}, Message: carillon.Message{Notification: &carillon.Notification{Title: "早安"}},
		Policy: carillon.Policy{
			TTL:       carillon.Duration(36 * time.Hour),
			Recurring: &carillon.Recurring{Every: "month", On: []int{1, 31}, At: "08:00:00", From: day(12, 1), Until: day(12, 31)},
		},
	}, nil)
	if err != nil || p.State != "scheduled" {
		t.Fatalf("push %+v, %v, want a schedule", p, err)
	}
	list, err := c.ListSchedules(ctx, "demo", carillon.Page{})
	if err != nil || len(list.Items) != 1 || list.Items[0].Left != 2 || list.Items[0].Request.Policy.TTL != carillon.Duration(36*time.Hour) {
		t.Errorf("schedules %+v, %v, want one with two to come", list, err)
	}
	occurrences, err := c.ListOccurrences(ctx, "demo", p.ID, carillon.Page{})
	if err != nil || len(occurrences.Items) != 2 || !occurrences.Items[0].At.Equal(p.Start) || occurrences.Items[0].State != "waiting" {
		t.Fatalf("occurrences %+v, %v, want two, the first at %v", occurrences, err, p.Start)
	}
	if o, err := c.CancelOccurrence(ctx, "demo", p.ID, occurrences.Items[0].ID); err != nil || o.State != "cancelled" {
		t.Errorf("occurrence %+v, %v, want it cancelled", o, err)
	}
	patched, err := c.PatchSchedule(ctx, "demo", p.ID, carillon.SchedulePatch{Message: &carillon.Message{Data: json.RawMessage(`2`)}})
	if err != nil || string(patched.Request.Message.Data) != "2" || patched.Request.Message.Notification != nil || !patched.Request.Audience.All {
		t.Errorf("schedule %+v, %v, want its message changed, and no more", patched, err)
	}
	if got, err := c.CancelSchedule(ctx, "demo", p.ID); err != nil || got.State != "cancelled" {
		t.Errorf("schedule %+v, %v, want it cancelled", got, err)
	}
	var e *carillon.Error
	if _, err := c.CancelSchedule(ctx, "demo", p.ID); !errors.As(err, &e) || e.Code != "conflict" {
		t.Errorf("again: got %v, want a conflict", err)
	}
	if got, err := c.ShowSchedule(ctx, "demo", p.ID); err != nil || got.Left != 0 || !got.Next.IsZero() {
		t.Errorf("schedule %+v, %v, want nothing to come", got, err)
	}
}

func TestClientTemplatesAndReports(t *testing.T) {
	s := withTotals(t, push.DayIn(time.Now(), push.App{TimeZone: push.DefaultTimeZone}.Location()))
	c, ctx := client(t, s), t.Context()
	for range 2 {
		made, err := c.AddTemplate(ctx, "demo", carillon.Template{Name: "a/b", Title: "#x# ${y}", Defaults: map[string]string{"y": "!"}})
		if err != nil || fmt.Sprint(made.Placeholders) != "[x y]" || !made.Created.Equal(s.clock) {
			t.Errorf("template %+v, %v, want placeholders x and y", made, err)
		}
	}
	if list, err := c.ListTemplates(ctx, "demo", carillon.Page{}); err != nil || len(list.Items) != 1 || list.Items[0].Defaults["y"] != "!" {
		t.Errorf("templates %+v, %v, want one", list, err)
	}
	if got, err := c.PreviewTemplate(ctx, "demo", "a/b", map[string]string{"x": "1"}); err != nil || got.Title != "1 !" {
		t.Errorf("preview %+v, %v, want 1 !", got, err)
	}
	var e *carillon.Error
	if _, err := c.PreviewTemplate(ctx, "demo", "a/b", nil); !errors.As(err, &e) || e.Field != "values.x" {
		t.Errorf("a preview without values: got %v, want values.x refused", err)
	}
	if err := c.DeleteTemplate(ctx, "demo", "a/b"); err != nil {
		t.Error(err)
	}
	if _, err := c.ShowTemplate(ctx, "demo", "a/b"); !errors.As(err, &e) || e.Code != "not_found" {
		t.Errorf("a template that has gone: got %v, want not_found", err)
	}

	if list, err := c.ListGroups(ctx, "demo", carillon.Page{Limit: 1}); err != nil || list.Items[0].Name != "a/b" || list.Next != "a/b" {
		t.Errorf("groups %+v, %v, want a/b first", list, err)
	}
	if g, err := c.ShowGroup(ctx, "demo", "a/b"); err != nil || g.Pushes != 3 || g.Target != 16 || len(g.Days) != 2 || g.Days[0].Channels["own"].Delivered != 3 {
		t.Errorf("group %+v, %v, want 3 pushes on 2 days", g, err)
	}
	if list, err := c.ListTopics(ctx, "demo", carillon.Page{}); err != nil || len(list.Items) != 1 {
		t.Errorf("topics %+v, %v, want one", list, err)
	}
	if g, err := c.ShowTopic(ctx, "demo", "news"); err != nil || g.Delivered != 7 || g.Day != "" {
		t.Errorf("topic %+v, %v, want 7 delivered", g, err)
	}
	one := "c"
	if all, err := c.PushTotals(ctx, "demo", carillon.TotalsQuery{By: "group", Name: &one, Daily: true}); err != nil || len(all) != 1 || all[0].Day == "" {
		t.Errorf("totals %+v, %v, want one day of one group", all, err)
	}
	days, err := c.DeviceDays(ctx, "demo", carillon.Days{From: "2026-11-01", To: "2026-11-03"})
	if err != nil || len(days) != 3 || days[2].Day != "2026-11-03" || days[2].Total != 3 {
		t.Errorf("days %+v, %v, want three", days, err)
	}
}

func TestClientWebhooksAndEvents(t *testing.T) {
	s := newSite(t, restserver.Options{})
	c, ctx := client(t, s), t.Context()
	w, err := c.AddWebhook(ctx, "demo", "https://example.com", []string{"opened"})
	if err != nil || w.ID != "1" || w.Secret != "-_8A" || len(w.Events) != 1 {
		t.Errorf("webhook %+v, %v, want one with its secret", w, err)
	}
	if list, err := c.ListWebhooks(ctx, "demo"); err != nil || len(list.Items) != 1 || list.Items[0].Secret != "" {
		t.Errorf("webhooks %+v, %v, want one without", list, err)
	}
	s.batches[1] = []push.BatchInfo{{ID: 7, Dead: true, Events: 3, Created: s.clock}, {ID: 8, Dead: true}, {ID: 9, Next: s.clock}}
	if list, err := c.ListBatches(ctx, "demo", "1", true, carillon.Page{Limit: 1}); err != nil || list.Items[0].ID != "7" || list.Items[0].Events != 3 || list.Next != "7" {
		t.Errorf("batches %+v, %v, want 7 and more", list, err)
	}
	if n, err := c.ReplayBatches(ctx, "demo", "1", "7"); err != nil || n != 1 {
		t.Errorf("%d replayed, %v, want 1", n, err)
	}
	var e *carillon.Error
	if _, err := c.ReplayBatches(ctx, "demo", "1"); !errors.As(err, &e) || e.Field != "batches" {
		t.Errorf("a replay of none: got %v, want batches refused", err)
	}
	if n, err := c.ReplayWebhook(ctx, "demo", "1"); err != nil || n != 1 {
		t.Errorf("%d replayed, %v, want the other one", n, err)
	}
	if err := c.DeleteWebhook(ctx, "demo", "1"); err != nil {
		t.Error(err)
	}

	got := make(chan carillon.Event)
	followed := make(chan error)
	go func() {
		followed <- c.FollowEvents(ctx, "demo", []string{"opened", "finished"}, func(e carillon.Event) error {
			got <- e
			return nil
		})
	}()
	s.happens("delivered")
	want := s.happens("opened")
	if e := <-got; e.Event != "opened" || e.Push != "42" || e.Device != "app-1" || !e.Time.Equal(want.Time) || !strings.Contains(string(e.Raw), `"push":"42"`) {
		t.Errorf("event %+v, want %+v", e, want)
	}
	s.server.Drain()
	if err := <-followed; !errors.Is(err, carillon.ErrStreamEnded) {
		t.Errorf("got %v, want the end of the stream", err)
	}
	if err := c.FollowEvents(ctx, "demo", []string{"eaten"}, nil); !errors.As(err, &e) || e.Field != "events" {
		t.Errorf("an unknown event: got %v, want events refused", err)
	}
}

// TestClientIsToldWhen shows that a quota says when it has room again.
func TestClientIsToldWhen(t *testing.T) {
	s := newSite(t, restserver.Options{})
	c := client(t, s)
	into[push.App](t, s.call(t, admin, "PATCH", "/v1/apps/1", `{"settings": {"rest.broadcasts_per_day": 1}}`), 200)
	all := carillon.PushRequest{Audience: carillon.Audience{All: true}, Message: carillon.Message{Data: json.RawMessage(`1`)}}
	if _, err := c.Send(t.Context(), "demo", all, nil); err != nil {
		t.Fatal(err)
	}
	var e *carillon.Error
	if _, err := c.Send(t.Context(), "demo", all, nil); !errors.As(err, &e) || e.Code != "too_many" || e.RetryAfter != 91*time.Second {
		t.Errorf("got %v, want too_many for 91 s", err)
	}
}
