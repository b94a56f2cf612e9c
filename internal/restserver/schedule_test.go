package restserver_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/restserver"
)

const (
	once = `{"audience": {"devices": ["d1"]}, "message": {"data": 1}, "policy": {"start_at": "2026-12-01T09:00:00+08:00"}}`
	// Four Mondays, from the first.
	mondays = `{"audience": {"devices": ["d1"]}, "message": {"data": 1}, "policy": {"ttl": "1h",
		"recurring": {"every": "week", "on": [1], "at": "09:00:00", "from": "2026-11-25T00:00:00+08:00", "until": "2026-12-21T00:00:00+08:00"}}}`
	schedules = "/v1/apps/1/schedules"
)

func TestSchedules(t *testing.T) {
	s := newSite(t, restserver.Options{})
	s.sendOne(t, once)    // 1000
	s.sendOne(t, mondays) // 1001
	s.sendOne(t, once)    // 1002

	r := s.call(t, key1, "GET", schedules+"/1000", "")
	want := `{"id":"1000","app":"1","every":"once","state":"active","created":"2026-11-25T01:00:00Z","next":"2026-12-01T09:00:00+08:00","left":1,` +
		`"request":{"app":"1","audience":{"devices":["d1"]},"message":{"data":1},"policy":{"start_at":"2026-12-01T09:00:00+08:00"},"origin":"rest"}}`
	if got := strings.TrimSpace(string(r.body)); r.status != 200 || got != want {
		t.Errorf("status %d, %s, want %s", r.status, got, want)
	}
	if got := into[push.Schedule](t, s.call(t, key1, "GET", schedules+"/1001", ""), 200); got.Every != "week" || got.Left != 4 || got.Request.Policy.Recurring.On[0] != 1 {
		t.Errorf("schedule %+v, want one that fires on 4 Mondays", got)
	}
	var ids []string
	for cursor := "?limit=2"; cursor != ""; {
		page := into[restserver.List[push.Schedule]](t, s.call(t, key1, "GET", schedules+cursor, ""), 200)
		for _, one := range page.Items {
			ids = append(ids, one.ID.String())
		}
		if cursor = ""; page.Next != "" {
			cursor = "?limit=2&cursor=" + page.Next
		}
	}
	if got := strings.Join(ids, " "); got != "1002 1001 1000" {
		t.Errorf("pages give %s, want 1002 1001 1000", got)
	}
	wantProblem(t, s.call(t, key1, "GET", schedules+"?cursor=x", ""), 400, "invalid", "cursor")
	if r := s.call(t, "Bearer key-2", "GET", "/v1/apps/2/schedules", ""); strings.TrimSpace(string(r.body)) != `{"items":[]}` {
		t.Errorf("another app has %s, want none", r.body)
	}

	t.Run("cancel", func(t *testing.T) {
		got := into[push.Schedule](t, s.call(t, key1, "DELETE", schedules+"/1002", ""), 200)
		if got.State != push.ScheduleCancelled || got.Left != 0 {
			t.Errorf("schedule %+v, want it cancelled", got)
		}
		wantProblem(t, s.call(t, key1, "DELETE", schedules+"/1002", ""), 409, "conflict", "")
		wantProblem(t, s.call(t, key1, "PATCH", schedules+"/1002", `{"message": {"data": 2}}`), 409, "conflict", "")
	})
}

func TestOccurrences(t *testing.T) {
	s := newSite(t, restserver.Options{})
	s.sendOne(t, mondays)
	const path = schedules + "/1000/occurrences"
	all := into[restserver.List[push.Occurrence]](t, s.call(t, key1, "GET", path, ""), 200)
	if len(all.Items) != 4 || all.Next != "" {
		t.Fatalf("%d occurrences, next %q, want 4 and none", len(all.Items), all.Next)
	}
	first := time.Date(2026, 11, 30, 1, 0, 0, 0, time.UTC)
	for i, o := range all.Items {
		if want := first.AddDate(0, 0, 7*i); !o.At.Equal(want) || o.Schedule != 1000 || o.ID == 0 || o.State != push.OccurrenceWaiting {
			t.Errorf("occurrence %d is %+v, want it to wait at %v", i, o, want)
		}
	}
	page := into[restserver.List[push.Occurrence]](t, s.call(t, key1, "GET", path+"?limit=3", ""), 200)
	s.firings[1000] = slices.DeleteFunc(s.firings[1000], func(o push.Occurrence) bool { return o.ID == page.Items[2].ID })
	rest := into[restserver.List[push.Occurrence]](t, s.call(t, key1, "GET", path+"?limit=3&cursor="+page.Next, ""), 200)
	if len(page.Items) != 3 || len(rest.Items) != 1 || rest.Items[0].ID != all.Items[3].ID || rest.Next != "" {
		t.Errorf("pages %+v and %+v, want three and the fourth, though the third has gone", page, rest)
	}

	one := path + "/" + all.Items[0].ID.String()
	if got := into[push.Occurrence](t, s.call(t, key1, "DELETE", one, ""), 200); got.State != push.OccurrenceCancelled || got.ID != all.Items[0].ID {
		t.Errorf("occurrence %+v, want the first, cancelled", got)
	}
	wantProblem(t, s.call(t, key1, "DELETE", one, ""), 409, "conflict", "")
	wantProblem(t, s.call(t, key1, "DELETE", path+"/42", ""), 404, "not_found", "occurrence")
	if got := into[push.Schedule](t, s.call(t, key1, "GET", schedules+"/1000", ""), 200); !got.Next.Equal(all.Items[1].At) {
		t.Errorf("next is %v, want %v", got.Next, all.Items[1].At)
	}

	t.Run("all of a long schedule", func(t *testing.T) {
		s.sendOne(t, `{"audience": {"devices": ["d1"]}, "message": {"data": 1}, "policy": {"recurring": {"every": "day", "at": "09:00:00",
			"from": "2026-12-01T00:00:00Z", "until": "2027-05-29T00:00:00Z"}}}`)
		all := into[restserver.List[push.Occurrence]](t, s.call(t, key1, "GET", schedules+"/1001/occurrences", ""), 200)
		if len(all.Items) != 180 || all.Next != "" {
			t.Errorf("%d occurrences, next %q, want 180 and none", len(all.Items), all.Next)
		}
	})
}

func TestChangeSchedule(t *testing.T) {
	s := newSite(t, restserver.Options{})
	const recurring = `{"every": "day", "at": "10:00:00", "from": "2026-12-01T00:00:00Z", "until": "2026-12-09T00:00:00Z"}`
	for _, tt := range []struct {
		name, of, body, field string // field "ok": it is taken; "same": it changes nothing
	}{
		{"nothing", once, `{}`, "same"},
		{"the message", once, `{"message": {"data": 2, "apns": null}}`, "ok"},
		{"whom it is for", mondays, `{"audience": {"where": {"tag": "vip"}}}`, "ok"},
		{"when once", once, `{"policy": {"start_at": "2026-12-02T09:00:00+08:00", "rate": 5}}`, "ok"},
		{"when again and again", mondays, `{"policy": {"recurring": ` + recurring + `}}`, "ok"},
		{"nulls", mondays, `{"audience": null, "message": null, "policy": null}`, "same"},
		{"once into again and again", once, `{"policy": {"recurring": ` + recurring + `}}`, "policy.recurring"},
		{"once into now", once, `{"policy": {"ttl": "1h"}}`, "policy.start_at"},
		{"again and again into once", mondays, `{"policy": {"start_at": "2026-12-02T09:00:00+08:00"}}`, "policy.recurring"},
		{"again and again into now", mondays, `{"policy": {}}`, "policy.recurring"},
		{"into the past", once, `{"policy": {"start_at": "2026-01-02T09:00:00+08:00"}}`, "policy.start_at"},
		{"no rate", once, `{"policy": {"start_at": "2026-12-02T09:00:00+08:00", "rate": 0}}`, "policy.rate"},
		{"no ttl", once, `{"policy": {"start_at": "2026-12-02T09:00:00+08:00", "ttl": "0s"}}`, "policy.ttl"},
		{"nobody", once, `{"audience": {}}`, "audience"},
		{"a message of nothing", once, `{"message": {}}`, "message"},
		{"a recall", once, `{"message": {"recall": "5"}}`, "message.recall"},
		{"unknown field", once, `{"open": true}`, "open"},
		{"unknown field deep down", once, `{"policy": {"start": "now"}}`, "policy.start"},
		{"a fault of an expression", once, `{"audience": {"where": {"and": []}}}`, "audience.where.and"},
		{"no body", once, ``, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := strings.Replace(s.sendOne(t, tt.of), "pushes", "schedules", 1)
			before := string(s.call(t, key1, "GET", path, "").body)
			r := s.call(t, key1, "PATCH", path, tt.body)
			after := string(s.call(t, key1, "GET", path, "").body)
			if tt.field != "ok" && tt.field != "same" {
				wantProblem(t, r, 400, "invalid", tt.field)
				if after != before {
					t.Errorf("it is %s now, want it to stay %s", after, before)
				}
				return
			}
			into[push.Schedule](t, r, 200)
			if string(r.body) != after || (after == before) != (tt.field == "same") {
				t.Errorf("answered %s, it is %s and was %s", r.body, after, before)
			}
		})
	}
}
