package umengserver_test

import (
	"errors"
	"testing"

	"github.com/carillonpush/carillon/internal/push"
)

func taskBody(appkey, id string) string {
	return `{"appkey":"` + appkey + `","timestamp":"1700000000","task_id":"` + id + `","production_mode":"true","policy":{}}`
}

// put makes a task known, as if it had come in under the Android appkey (or change's).
func (h *house) put(state push.State, rep push.Report, change func(*push.Push)) string {
	p := push.Push{
		ID: push.ID(1000 + len(h.pushes)), App: h.app.ID, Kind: push.Bulk, State: state, Target: rep.Target,
		Request: push.Request{Origin: "umeng", Audience: push.Audience{All: true, Platforms: []push.Platform{push.Android}}},
	}
	if change != nil {
		change(&p)
	}
	h.pushes[p.ID], h.report[p.ID] = p, rep
	return p.ID.String()
}

func onIOS(p *push.Push) { p.Request.Audience.Platforms = []push.Platform{push.IOS} }

func TestStatus(t *testing.T) {
	rep := push.Report{Target: 9, Sent: 8, Delivered: 6, Opened: 3, Dismissed: 2, Pending: 3}
	for _, tt := range []struct {
		name   string
		state  push.State
		rep    push.Report
		ios    bool
		reason string
		status int
	}{
		{"scheduled", push.Scheduled, push.Report{}, false, "", 7},
		{"queued", push.Accepted, push.Report{}, false, "", 0},
		{"sending", push.Sending, rep, false, "", 1},
		{"paused", push.Paused, rep, false, "", 1},
		{"finished", push.Done, rep, false, "", 2},
		{"finished on iOS", push.Done, rep, true, "", 2},
		{"finished, all have it", push.Done, push.Report{Target: 9, Delivered: 9}, false, "", 2},
		{"failed", push.Failed, push.Report{}, false, "the disk", 3},
		{"cancelled", push.Cancelled, rep, false, "", 4},
		{"taken back", push.Recalled, rep, false, "", 4},
		{"expired before it began", push.Expired, push.Report{}, false, push.ExpiredUnsent, 5},
		{"expired after it began", push.Expired, rep, false, "", 2},
		{"nobody", push.Done, push.Report{}, false, "", 6},
		{"nobody, and its time is over", push.Expired, push.Report{}, false, "", 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse()
			key, sent, change := androidKey, tt.rep.Delivered, func(*push.Push) {}
			if tt.ios {
				key, sent, change = iosKey, tt.rep.Sent, onIOS
			}
			id := h.put(tt.state, tt.rep, func(p *push.Push) { p.Reason = tt.reason; change(p) })
			r := post(t, h.server(nil), "/api/status", taskBody(key, id))
			if got := r.str(t, "task_id"); got != id {
				t.Errorf("task_id: got %q, want %q", got, id)
			}
			for field, want := range map[string]int{
				"status": tt.status, "total_count": tt.rep.Target, "accept_count": tt.rep.Sent, "sent_count": sent,
				"open_count": tt.rep.Opened, "dismiss_count": tt.rep.Dismissed,
			} {
				if got, ok := r.Data[field].(float64); !ok || int(got) != want {
					t.Errorf("%s: got %v, want the number %d", field, r.Data[field], want)
				}
			}
		})
	}
}

func TestCancel(t *testing.T) {
	waiting := push.Report{Target: 9, Delivered: 6, Pending: 3}
	for _, tt := range []struct {
		name  string
		state push.State
		rep   push.Report
		ios   bool
		want  string
	}{
		{"scheduled", push.Scheduled, push.Report{}, false, ""},
		{"queued", push.Accepted, push.Report{}, false, ""},
		{"sending", push.Sending, waiting, false, ""},
		{"paused", push.Paused, waiting, false, ""},
		{"paused on iOS", push.Paused, waiting, true, "1028"},
		{"taken back", push.Recalled, waiting, false, "1028"},
		{"gone through, devices away", push.Done, waiting, false, ""},
		{"gone through, all reached", push.Done, push.Report{Target: 9, Delivered: 9}, false, "1028"},
		{"cancelled", push.Cancelled, waiting, false, "1028"},
		{"expired", push.Expired, waiting, false, "1028"},
		{"failed", push.Failed, waiting, false, "1028"},
		{"scheduled on iOS", push.Scheduled, push.Report{}, true, ""},
		{"queued on iOS", push.Accepted, push.Report{}, true, ""},
		{"sending on iOS", push.Sending, waiting, true, "1028"},
		{"gone through on iOS", push.Done, waiting, true, "1028"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse()
			key, change := androidKey, func(*push.Push) {}
			if tt.ios {
				key, change = iosKey, onIOS
			}
			id := h.put(tt.state, tt.rep, change)
			s := h.server(nil)
			dry := signed("/api/cancel", taskBody(key, id))
			dry.Header.Set("Carillon-Dry-Run", "1")
			if got := code(do(t, s, dry)); got != tt.want {
				t.Errorf("dry run: got %q, want %q", got, tt.want)
			}
			n, _ := push.ParseID(id)
			if got := h.pushes[n].State; got != tt.state {
				t.Fatalf("state after a dry run: got %s, want %s", got, tt.state)
			}
			r := post(t, s, "/api/cancel", taskBody(key, id))
			if got := code(r); got != tt.want {
				t.Fatalf("got %q, want %q", got, tt.want)
			}
			if tt.want != "" {
				return
			}
			if len(r.Data) != 1 || r.str(t, "task_id") != id {
				t.Errorf("data: got %v, want task_id %s alone", r.Data, id)
			}
			if got := h.pushes[n].State; got != push.Cancelled {
				t.Errorf("state: got %s, want cancelled", got)
			}
			if got := code(post(t, s, "/api/cancel", taskBody(key, id))); got != "1028" {
				t.Errorf("again: got %q, want 1028", got)
			}
			if r := post(t, s, "/api/status", taskBody(key, id)); r.Data["status"] != float64(4) {
				t.Errorf("status: got %v, want 4", r.Data["status"])
			}
		})
	}
}

// TestNoTask checks on both endpoints what is no task of the appkey.
func TestNoTask(t *testing.T) {
	h := newHouse()
	direct := h.put(push.Sending, push.Report{}, func(p *push.Push) { p.Kind = push.Direct })
	foreign := h.put(push.Sending, push.Report{}, func(p *push.Push) { p.App = 8 })
	otherKey := h.put(push.Sending, push.Report{}, onIOS)
	otherDialect := h.put(push.Sending, push.Report{}, func(p *push.Push) { p.Request.Origin = "rest" })
	s := h.server(nil)
	for _, path := range []string{"/api/status", "/api/cancel"} {
		for _, tt := range []struct{ name, id, want string }{
			{"missing", "", "2053"},
			{"a message", direct, "1014"},
			{"another app's", foreign, "1014"},
			{"another appkey's", otherKey, "1014"},
			{"another dialect's", otherDialect, "1014"},
			{"unknown", "1", "1014"},
			{"of a dry run", "0", "1014"},
			{"of another shape", "us12345170000000000000", "1014"},
			{"beyond 63 bits", "99999999999999999999", "1014"},
		} {
			if got := code(post(t, s, path, taskBody(androidKey, tt.id))); got != tt.want {
				t.Errorf("%s, task %s: got %q, want %q", path, tt.name, got, tt.want)
			}
		}
		h.fail = errors.New("bug")
		if got := code(post(t, s, path, taskBody(androidKey, "1"))); got != "4000" {
			t.Errorf("%s, record fails: got %q, want 4000", path, got)
		}
		h.fail = nil
	}
}
