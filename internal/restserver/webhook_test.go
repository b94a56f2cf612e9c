package restserver_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/restserver"
)

const webhooks = "/v1/apps/1/webhooks"

func TestWebhooks(t *testing.T) {
	s := newSite(t, restserver.Options{})
	for _, tt := range []struct{ body, want string }{
		{`{"url": "https://example.com/a", "events": ["opened", "dropped"]}`, `{"id":"1","url":"https://example.com/a","events":["opened","dropped"],"created":"2026-11-25T01:00:00Z","secret":"-_8A"}`},
		{`{"url": "http://example.com"}`, `{"id":"2","url":"http://example.com","events":[],"created":"2026-11-25T01:00:00Z","secret":"-_8B"}`},
		{`{"url": "https://example.com/c", "events": []}`, `{"id":"3","url":"https://example.com/c","events":[],"created":"2026-11-25T01:00:00Z","secret":"-_8C"}`},
	} {
		r := s.call(t, key1, "POST", webhooks, tt.body)
		if got := strings.TrimSpace(string(r.body)); r.status != 201 || got != tt.want {
			t.Errorf("status %d, %s, want 201, %s", r.status, got, tt.want)
		}
	}
	r := s.call(t, key1, "GET", webhooks+"?limit=2", "")
	want := `{"items":[{"id":"1","url":"https://example.com/a","events":["opened","dropped"],"created":"2026-11-25T01:00:00Z"},` +
		`{"id":"2","url":"http://example.com","events":[],"created":"2026-11-25T01:00:00Z"}],"next":"0000000000000000002"}`
	if got := strings.TrimSpace(string(r.body)); got != want {
		t.Errorf("list %s, want %s", got, want)
	}
	rest := into[restserver.List[push.Webhook]](t, s.call(t, key1, "GET", webhooks+"?cursor=0000000000000000002", ""), 200)
	if len(rest.Items) != 1 || rest.Items[0].ID != 3 || rest.Next != "" {
		t.Errorf("the rest is %+v, want webhook 3", rest)
	}
	if r := s.call(t, "Bearer key-2", "GET", "/v1/apps/2/webhooks", ""); strings.TrimSpace(string(r.body)) != `{"items":[]}` {
		t.Errorf("another app has %s, want none", r.body)
	}
	if r := s.call(t, key1, "DELETE", webhooks+"/2", ""); r.status != 204 {
		t.Errorf("status %d, want 204", r.status)
	}
	wantProblem(t, s.call(t, key1, "DELETE", webhooks+"/2", ""), 404, "not_found", "id")
	if strings.Contains(s.logs.String(), "-_8") {
		t.Errorf("a secret is in the log: %s", s.logs)
	}
}

func TestWebhookRefusals(t *testing.T) {
	s := newSite(t, restserver.Options{})
	for _, tt := range []struct{ name, body, field string }{
		{"without an address", `{}`, "url"},
		{"with another scheme", `{"url": "ftp://example.com"}`, "url"},
		{"with a path only", `{"url": "/hook"}`, "url"},
		{"with credentials", `{"url": "https://u:p@example.com"}`, "url"},
		{"with a fragment", `{"url": "https://example.com/#a"}`, "url"},
		{"with a long address", `{"url": "https://example.com/` + strings.Repeat("a", 2048) + `"}`, "url"},
		{"of an unknown event", `{"url": "https://example.com", "events": ["opened", "exploded"]}`, "events"},
		{"of an event twice", `{"url": "https://example.com", "events": ["opened", "opened"]}`, "events"},
		{"with a secret of one's own", `{"url": "https://example.com", "secret": "s"}`, "secret"},
		{"with a number among events", `{"url": "https://example.com", "events": [1]}`, "events[0]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantProblem(t, s.call(t, key1, "POST", webhooks, tt.body), 400, "invalid", tt.field)
		})
	}
	for range push.MaxWebhooks {
		into[map[string]any](t, s.call(t, key1, "POST", webhooks, `{"url": "https://example.com"}`), 201)
	}
	wantProblem(t, s.call(t, key1, "POST", webhooks, `{"url": "https://example.com"}`), 429, "too_many", "webhooks")
	if len(s.webhooks) != push.MaxWebhooks {
		t.Errorf("%d webhooks, want %d", len(s.webhooks), push.MaxWebhooks)
	}
}

func TestBatches(t *testing.T) {
	s := newSite(t, restserver.Options{})
	into[map[string]any](t, s.call(t, key1, "POST", webhooks, `{"url": "https://example.com"}`), 201)
	reset := func() {
		s.batches[1] = nil
		for i := range 5 {
			b := push.BatchInfo{ID: int64(i + 1), Created: s.clock, Events: 1000, Dead: i%2 == 0, Attempts: i}
			if !b.Dead {
				b.Next = s.clock.Add(time.Minute)
			}
			s.batches[1] = append(s.batches[1], b)
		}
		s.batches[1][0].Error = "answered 500"
	}
	reset()
	const path = webhooks + "/1/batches"
	for _, tt := range []struct{ query, want, next string }{
		{"", "1 2 3 4 5", ""},
		{"?limit=5", "1 2 3 4 5", ""},
		{"?limit=2", "1 2", "2"},
		{"?limit=2&cursor=2", "3 4", "4"},
		{"?limit=2&cursor=4", "5", ""},
		{"?dead=true", "1 3 5", ""},
		{"?dead=true&limit=1&cursor=1", "3", "3"},
		{"?dead=false&cursor=5", "", ""},
	} {
		page := into[restserver.List[push.BatchInfo]](t, s.call(t, key1, "GET", path+tt.query, ""), 200)
		var ids []string
		for _, b := range page.Items {
			ids = append(ids, fmt.Sprint(b.ID))
		}
		if got := strings.Join(ids, " "); got != tt.want || page.Next != tt.next {
			t.Errorf("%s: %q, next %q, want %q, %q", tt.query, got, page.Next, tt.want, tt.next)
		}
	}
	r := s.call(t, key1, "GET", path+"?limit=2", "")
	want := `{"items":[{"id":"1","created":"2026-11-25T01:00:00Z","attempts":0,"dead":true,"error":"answered 500","events":1000},` +
		`{"id":"2","created":"2026-11-25T01:00:00Z","attempts":1,"next":"2026-11-25T01:01:00Z","dead":false,"events":1000}],"next":"2"}`
	if got := strings.TrimSpace(string(r.body)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for query, field := range map[string]string{"cursor=x": "cursor", "cursor=-1": "cursor", "dead=perhaps": "dead", "limit=0": "limit"} {
		wantProblem(t, s.call(t, key1, "GET", path+"?"+query, ""), 400, "invalid", field)
	}

	many := `{"batches": ["1"` + strings.Repeat(`, "1"`, 1000) + `]}`
	for _, tt := range []struct{ name, body, want, field string }{
		{"all without a body", ``, `{"replayed":3}`, ""},
		{"all with an empty object", `{}`, `{"replayed":3}`, ""},
		{"two, of which one is not dead", `{"batches": ["2", "3"]}`, `{"replayed":1}`, ""},
		{"one that is not there", `{"batches": ["77"]}`, `{"replayed":0}`, ""},
		{"none, which is not all", `{"batches": []}`, "", "batches"},
		{"null, which is not all", `{"batches": null}`, "", "batches"},
		{"too many", many, "", "batches"},
		{"a number", `{"batches": [1]}`, "", "batches[0]"},
		{"no id", `{"batches": ["1", "x"]}`, "", "batches[1]"},
		{"another field", `{"batch": ["1"]}`, "", "batch"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reset()
			r := s.call(t, key1, "POST", webhooks+"/1/replay", tt.body)
			if tt.want == "" {
				wantProblem(t, r, 400, "invalid", tt.field)
				if page, _ := (afterwards{s.house}).Batches(t.Context(), 1, 1, true, 0, 10); len(page) != 3 {
					t.Errorf("%d batches are dead, want the 3 that were", len(page))
				}
				return
			}
			if got := strings.TrimSpace(string(r.body)); r.status != 200 || got != tt.want {
				t.Errorf("status %d, %s, want %s", r.status, got, tt.want)
			}
		})
	}
}
