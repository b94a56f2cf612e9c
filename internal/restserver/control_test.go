package restserver_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/restserver"
)

// sendOne sends a push and returns its path.
func (s *site) sendOne(t *testing.T, body string) string {
	t.Helper()
	return pushes + "/" + into[push.Push](t, s.call(t, key1, "POST", pushes, body), 202).ID.String()
}

func TestPauseResume(t *testing.T) {
	s := newSite(t, restserver.Options{})
	path := s.sendOne(t, hello)
	s.pushes[0].State = push.Sending
	for _, tt := range []struct {
		action, state string // "": it may not
	}{
		{"resume", ""},
		{"close", ""},
		{"pause", "paused"},
		{"pause", ""},
		{"resume", "sending"},
		{"pause", "paused"},
		{"cancel", "cancelled"},
		{"resume", ""},
	} {
		r := s.call(t, key1, "POST", path+"/"+tt.action, "")
		if tt.state == "" {
			wantProblem(t, r, 409, "conflict", "")
			continue
		}
		if p := into[push.Push](t, r, 200); string(p.State) != tt.state {
			t.Errorf("%s: state %s, want %s", tt.action, p.State, tt.state)
		}
	}
}

func TestOpenPush(t *testing.T) {
	s := newSite(t, restserver.Options{})
	path := s.sendOne(t, `{"open": true, "message": {"data": 1}}`)
	for _, tt := range []struct {
		name, body, want string
	}{
		{"two", `{"devices": ["d1", "d2"]}`, `{"id":"1000","state":"open","target":2,"added":2,"unknown":0}`},
		{"one more, and a stranger", `{"devices": ["d2", "d3", "x"]}`, `{"id":"1000","state":"open","target":4,"added":1,"unknown":1}`},
		{"nothing new", `{"devices": ["d1"], "platforms": null}`, `{"id":"1000","state":"open","target":4,"added":0,"unknown":0}`},
		{"an expression", `{"where": {"tag": "vip"}}`, `{"id":"1000","state":"open","target":4,"added":0,"unknown":0}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := s.call(t, key1, "POST", path+"/targets", tt.body)
			if got := strings.TrimSpace(string(r.body)); r.status != 200 || got != tt.want {
				t.Errorf("status %d, %s, want %s", r.status, got, tt.want)
			}
		})
	}
	for _, tt := range []struct {
		name, body, code, field string
		status                  int
	}{
		{"no body", ``, "invalid", "", 400},
		{"nobody", `{}`, "invalid", "", 400},
		{"two forms", `{"all": true, "devices": ["d"]}`, "invalid", "", 400},
		{"an audience in an audience", `{"audience": {"devices": ["d"]}}`, "invalid", "audience", 400},
		{"an empty list", `{"devices": []}`, "invalid", "devices", 400},
		{"a number among names", `{"devices": ["d", 1]}`, "invalid", "devices[1]", 400},
		{"a fault deep down", `{"where": {"and": [{"tag": "a"}, {"not": {"attr": "", "op": "=", "value": "x"}}]}}`, "invalid", "where.and[1].not.attr", 400},
		{"a file of nothing", `{"file": "f"}`, "invalid", "of", 400},
		{"a file that is gone", `{"file": "gone", "of": "devices"}`, "not_found", "file", 404},
		{"an audience that comes to nobody", `{"all": true, "platforms": ["web"]}`, "invalid", "", 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantProblem(t, s.call(t, key1, "POST", path+"/targets", tt.body), tt.status, tt.code, tt.field)
		})
	}
	if p := into[push.Push](t, s.call(t, key1, "POST", path+"/close", ""), 200); p.State != push.Sending {
		t.Errorf("closed, state %s, want sending", p.State)
	}
	wantProblem(t, s.call(t, key1, "POST", path+"/close", ""), 409, "conflict", "")
	wantProblem(t, s.call(t, key1, "POST", path+"/targets", `{"devices": ["d9"]}`), 409, "conflict", "")
}

func TestRecall(t *testing.T) {
	s := newSite(t, restserver.Options{})
	many := func(n int) string { return `{"devices": ["d1"` + strings.Repeat(`, "d1"`, n-1) + `]}` }
	const whole, one = `{"stopped":2,"recalled":1,"confirmed":1,"too_late":1}`, `{"stopped":1,"recalled":0,"confirmed":0,"too_late":0}`
	for _, tt := range []struct {
		name, body, want string
		state            push.State
	}{
		{"without a body", ``, whole, push.Recalled},
		{"with an empty object", `{}`, whole, push.Recalled},
		{"from one", `{"devices": ["d1"]}`, one, push.Sending},
		{"from a device and a stranger", `{"devices": ["x", "d2"]}`, one, push.Sending},
		{"from a thousand", many(1000), one, push.Sending},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := s.sendOne(t, `{"audience": {"devices": ["d1", "d2"]}, "message": {"data": 1}}`)
			s.pushes[len(s.pushes)-1].State = push.Sending
			for range 2 { // again is once
				r := s.call(t, key1, "POST", path+"/recall", tt.body)
				if got := strings.TrimSpace(string(r.body)); r.status != 200 || got != tt.want {
					t.Errorf("status %d, %s, want %s", r.status, got, tt.want)
				}
			}
			if got := s.pushes[len(s.pushes)-1].State; got != tt.state {
				t.Errorf("state %s, want %s", got, tt.state)
			}
			if r := s.call(t, key1, "GET", path, ""); !strings.Contains(string(r.body), `"recall":`+tt.want) {
				t.Errorf("the report says %s, want %s in it", r.body, tt.want)
			}
		})
	}
	path := s.sendOne(t, `{"audience": {"devices": ["d1"]}, "message": {"data": 1}}`)
	for _, tt := range []struct {
		name, body, code, field string
		status                  int
	}{
		{"from nobody, which is not everybody", `{"devices": []}`, "invalid", "devices", 400},
		{"from null, which is not everybody", `{"devices": null}`, "invalid", "devices", 400},
		{"from too many", many(1001), "invalid", "devices", 400},
		{"from one that is not in a list", `{"devices": "d1"}`, "invalid", "devices", 400},
		{"from a number", `{"devices": ["d1", 2]}`, "invalid", "devices[1]", 400},
		{"from an empty name", `{"devices": ["d1", ""]}`, "invalid", "devices[1]", 400},
		{"from strangers", `{"devices": ["x", "y"]}`, "not_found", "devices", 404},
		{"with another field", `{"device": ["d1"]}`, "invalid", "device", 400},
		{"null", `null`, "invalid", "", 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantProblem(t, s.call(t, key1, "POST", path+"/recall", tt.body), tt.status, tt.code, tt.field)
			if got := s.pushes[len(s.pushes)-1].State; got != push.Accepted {
				t.Errorf("state %s, want accepted", got)
			}
		})
	}
	t.Run("with a body that was lost", func(t *testing.T) {
		wantProblem(t, s.call(t, key1, "POST", path+"/recall", "", "Content-Type", "application/json"), 400, "invalid", "")
	})
	t.Run("of what failed", func(t *testing.T) {
		s.pushes[len(s.pushes)-1].State = push.Failed
		wantProblem(t, s.call(t, key1, "POST", path+"/recall", ""), 409, "conflict", "")
	})
}

func TestAccount(t *testing.T) {
	s := newSite(t, restserver.Options{})
	path := s.sendOne(t, hello)
	r := s.call(t, key1, "GET", path+"/devices/d1", "")
	if got := strings.TrimSpace(string(r.body)); r.status != 200 || got != `{"state":"","steps":[]}` {
		t.Errorf("status %d, %s, want steps that are a list", r.status, got)
	}
	at := time.Date(2026, 11, 25, 1, 2, 3, 0, time.UTC)
	s.accounted = push.Account{State: "dropped", Steps: []push.AccountStep{
		{Time: at, Step: "accepted"}, {Step: "not_targeted", Leaf: "and[1].tag", Changed: true}, {Time: at, Step: "dropped", Reason: "collapsed", Push: 42},
	}}
	r = s.call(t, key1, "GET", path+"/devices/a%2Fb", "")
	want := `{"state":"dropped","steps":[{"time":"2026-11-25T01:02:03Z","step":"accepted"},{"step":"not_targeted","leaf":"and[1].tag","changed":true},` +
		`{"time":"2026-11-25T01:02:03Z","step":"dropped","reason":"collapsed","push":"42"}]}`
	if got := strings.TrimSpace(string(r.body)); r.status != 200 || got != want {
		t.Errorf("status %d, %s, want %s", r.status, got, want)
	}
	wantProblem(t, s.call(t, key1, "GET", path+"/devices/x", ""), 404, "not_found", "device")
	wantProblem(t, s.call(t, key1, "GET", pushes+"/9/devices/d1", ""), 404, "not_found", "id")
}

// TestReportSaysWhereAPushIsFrom shows the parts of a report that most pushes do not have.
func TestReportSaysWhereAPushIsFrom(t *testing.T) {
	s := newSite(t, restserver.Options{})
	path := s.sendOne(t, `{"audience": {"devices": ["d1"]}, "message": {"template": {"name": "order"}}, "policy": {"group": "g", "topic": "t"}}`)
	s.pushes[0].Schedule = 77
	got := into[map[string]any](t, s.call(t, key1, "GET", path, ""), 200)
	for field, want := range map[string]any{"schedule": "77", "template": "order", "group": "g", "topic": "t", "recall": nil, "request_id": nil} {
		if got[field] != want {
			t.Errorf("%s is %v, want %v", field, got[field], want)
		}
	}
	list := into[restserver.List[push.Push]](t, s.call(t, key1, "GET", pushes, ""), 200)
	if list.Items[0].Schedule != 77 {
		t.Errorf("the list says %+v, want schedule 77", list.Items[0])
	}
}

// routes are all that is below an app and is about pushes, with what each takes; ID is of a push that is scheduled.
var routes = []struct{ method, path, body, field string }{
	{"GET", "/pushes/ID", "", "id"},
	{"POST", "/pushes/ID/cancel", "", "id"},
	{"POST", "/pushes/ID/pause", "", "id"},
	{"POST", "/pushes/ID/resume", "", "id"},
	{"POST", "/pushes/ID/close", "", "id"},
	{"POST", "/pushes/ID/recall", "{}", "id"},
	{"POST", "/pushes/ID/recall", `{"devices": ["d1"]}`, "id"},
	{"POST", "/pushes/ID/targets", `{"devices": ["d1"]}`, "id"},
	{"GET", "/pushes/ID/devices/d1", "", "id"},
	{"GET", "/schedules/ID", "", "id"},
	{"PATCH", "/schedules/ID", `{}`, "id"},
	{"PATCH", "/schedules/ID", `{"policy": {"ttl": "1h"}}`, "id"},
	{"DELETE", "/schedules/ID", "", "id"},
	{"GET", "/schedules/ID/occurrences", "", "id"},
	{"DELETE", "/schedules/ID/occurrences/ID", "", "id"},
	{"DELETE", "/webhooks/1", "", "id"},
	{"GET", "/webhooks/1/batches", "", "id"},
	{"POST", "/webhooks/1/replay", "{}", "id"},
	{"GET", "/templates/tpl", "", "name"},
	{"DELETE", "/templates/tpl", "", "name"},
	{"POST", "/templates/tpl/preview", "{}", "name"},
	{"GET", "/groups/g", "", "name"},
	{"GET", "/topics/g", "", "name"},
	{"GET", "/requests/r", "", "request_id"},
}

// TestForeignNames shows that what another app has does not exist, that ids which are none do not either, and that bodies and
// queries are read strictly.
func TestForeignNames(t *testing.T) {
	s := newSite(t, restserver.Options{})
	later := `{"audience": {"devices": ["d1"]}, "message": {"data": 1}, "policy": {"start_at": "2026-12-01T09:00:00+08:00", "group": "g"}}`
	into[push.Push](t, s.call(t, key1, "POST", pushes, later, "X-Request-Id", "r"), 202)
	into[map[string]any](t, s.call(t, key1, "POST", "/v1/apps/1/templates", `{"name": "tpl", "title": "t"}`), 201)
	into[map[string]any](t, s.call(t, key1, "POST", "/v1/apps/1/webhooks", `{"url": "https://example.com"}`), 201)
	for _, tt := range routes {
		t.Run(tt.method+" "+tt.path+" "+tt.body, func(t *testing.T) {
			path := strings.ReplaceAll(tt.path, "ID", "1000")
			for _, app := range []string{"/v1/apps/2", "/v1/apps/other"} {
				wantProblem(t, s.call(t, "Bearer key-2", tt.method, app+path, tt.body), 404, "not_found", tt.field)
			}
			wantProblem(t, s.call(t, "Bearer key-2", tt.method, "/v1/apps/1"+path, tt.body), 403, "denied", "")
			wantProblem(t, s.call(t, "", tt.method, "/v1/apps/1"+path, tt.body), 401, "unauthenticated", "")
			r := s.call(t, key1, tt.method, "/v1/apps/1"+path+"?nonsense=1", tt.body)
			wantProblem(t, r, 400, "invalid", "nonsense")
			if tt.field == "id" {
				bad := strings.NewReplacer("ID", "01", "/1", "/01").Replace(tt.path)
				wantProblem(t, s.call(t, key1, tt.method, "/v1/apps/1"+bad, tt.body), 404, "not_found", "id")
			}
			if tt.body != "" {
				r := s.call(t, key1, tt.method, "/v1/apps/1"+path, `{"nonsense": 1}`)
				wantProblem(t, r, 400, "invalid", "nonsense")
			}
		})
	}
	wantProblem(t, s.call(t, key1, "DELETE", "/v1/apps/1/schedules/1000/occurrences/x", ""), 404, "not_found", "occurrence")
	if got := s.pushes[0].State; got != push.Scheduled || len(s.webhooks) != 1 || len(s.templates[1]) != 1 {
		t.Errorf("state %s, %d webhooks, %d templates: something changed", got, len(s.webhooks), len(s.templates[1]))
	}
}

// TestDisabled shows that nobody sends in an app that is switched off, and that an administrator can still stop what is sent.
func TestDisabled(t *testing.T) {
	s := newSite(t, restserver.Options{})
	path := s.sendOne(t, `{"open": true, "message": {"data": 1}}`)
	into[push.App](t, s.call(t, admin, "PATCH", "/v1/apps/1", `{"settings": {"disabled": true}}`), 200)
	for _, tt := range routes {
		r := s.call(t, key1, tt.method, "/v1/apps/1"+strings.ReplaceAll(tt.path, "ID", "1000"), tt.body)
		wantProblem(t, r, 403, "denied", "")
	}
	wantProblem(t, s.call(t, admin, "POST", path+"/targets", `{"devices": ["d1"]}`), 403, "denied", "")
	into[push.Recall](t, s.call(t, admin, "POST", path+"/recall", ""), 200)
	w := httptest.NewRecorder()
	req := httptest.NewRequest("GET", "/v1/apps/1/events", nil)
	req.Header.Set("Authorization", key1)
	s.handler.ServeHTTP(w, req)
	if w.Code != 403 {
		t.Errorf("events answer %d, want 403", w.Code)
	}
}
