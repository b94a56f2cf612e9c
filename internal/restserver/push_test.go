package restserver_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/restserver"
)

const (
	key1   = "Bearer key-1"
	admin  = "Bearer " + adminToken
	hello  = `{"audience": {"devices": ["d1"]}, "message": {"notification": {"title": "hi"}}}`
	pushes = "/v1/apps/1/pushes"
)

func TestSend(t *testing.T) {
	s := newSite(t, restserver.Options{})
	body := `{"audience": {"devices": ["d1", "d2"], "platforms": ["ios"]},
		"message": {"notification": {"title": "开门", "body": "ready", "sound": "", "badge": {"add": 1},
			"click": {"action": "url", "url": "https://example.com"}}, "data": [1, "x"], "extras": {"order": "42"}},
		"policy": {"ttl": "2d", "rate": 1000, "store_offline": false, "group": "ab-1"}}`
	got := into[map[string]any](t, s.call(t, key1, "POST", pushes, body), 202)
	if got["id"] != "1000" || got["kind"] != "direct" || got["state"] != "accepted" {
		t.Errorf("answer %v, want id 1000 as a string, kind direct, state accepted", got)
	}
	req := s.pushes[0].Request
	if req.App != 1 || req.Origin != "rest" || req.Audience.Platforms[0] != push.IOS || req.Policy.TTL.Std() != 48*time.Hour ||
		req.Policy.Offline() || req.Policy.Group != "ab-1" || *req.Message.Notification.Sound != "" ||
		string(req.Message.Data) != `[1, "x"]` || string(req.Message.Extras["order"]) != `"42"` {
		t.Errorf("request %+v lost something of %s", req, body)
	}

	t.Run("null is absent", func(t *testing.T) {
		into[push.Push](t, s.call(t, key1, "POST", pushes, `{"audience": {"all": true, "where": null, "devices": null, "of": null, "platforms": null},
			"message": {"notification": null, "data": null, "apns": null, "extras": {"k": null}, "vendors": {"hms": null}, "platforms": {"ios": null},
			"offline": null, "launch": null}, "policy": {"ttl": null, "start_at": null, "sms": null, "network": null}}`), 202)
		req := s.pushes[len(s.pushes)-1].Request
		if req.Audience.Where != nil || req.Message.APNS != nil || len(req.Message.Vendors) != 0 || req.Message.Variants != nil ||
			string(req.Message.Data) != "null" || string(req.Message.Extras["k"]) != "null" || req.Policy.TTL != 0 {
			t.Errorf("request %+v, want null kept in data and extras only", req)
		}
		into[push.Push](t, s.call(t, key1, "POST", pushes, `{"audience": {"all": true}, "message": {"data": 1}, "policy": null}`), 202)
	})
	t.Run("the caller's own names in any case", func(t *testing.T) {
		into[push.Push](t, s.call(t, key1, "POST", pushes, `{"audience": {"all": true}, "message": {"data": {"Data": 1}, "extras": {"ORDER": 1, "\u0041": 2},
			"apns": {"aps": {"Alert": 1}}, "vendors": {"HMS": {"X": 1}}, "notification": {"title": "T: \"\"", "click": {"action": "custom", "custom": {"C": 1}}}}}`), 202)
		if m := s.pushes[len(s.pushes)-1].Request.Message; string(m.Extras["A"]) != "2" || string(m.Vendors["HMS"]) != `{"X": 1}` {
			t.Errorf("message %+v, want the names as they were", m)
		}
	})
	t.Run("what some devices get instead", func(t *testing.T) {
		into[push.Push](t, s.call(t, key1, "POST", pushes, `{"audience": {"all": true}, "message": {"data": 1, "launch": true,
			"offline": {"title": "o"}, "platforms": {"ios": {"notification": {"title": "i"}, "data": 2, "extras": {"k": 3}}}}}`), 202)
		m := s.pushes[len(s.pushes)-1].Request.Message
		if v := m.Variants[push.IOS]; !m.Launch || m.Offline.Title != "o" || v == nil || v.Notification.Title != "i" || string(v.Data) != "2" || string(v.Extras["k"]) != "3" {
			t.Errorf("message %+v, want launch, offline and platforms", m)
		}
		r := s.call(t, key1, "POST", pushes, `{"audience": {"all": true}, "message": {"data": 1, "platforms": {"ios": {"notification": {"titel": "i"}}}}}`)
		wantProblem(t, r, 400, "invalid", "message.platforms.ios.notification.titel")
	})
	t.Run("by name, as administrator, without a content type", func(t *testing.T) {
		into[push.Push](t, s.call(t, admin, "POST", "/v1/apps/demo/pushes", `{"audience": {"all": true}, "message": {"data": 1}}`), 202)
	})
	t.Run("with another content type", func(t *testing.T) {
		into[push.Push](t, s.call(t, key1, "POST", pushes, hello, "Content-Type", "application/x-www-form-urlencoded"), 202)
	})
	t.Run("dry run", func(t *testing.T) {
		before := len(s.pushes)
		r := s.call(t, key1, "POST", pushes+"?dry_run=true", body)
		got := into[map[string]any](t, r, 200)
		if got["target"] != 2.0 || got["platforms"] == nil || len(s.pushes) != before {
			t.Errorf("dry run answered %s and left %d pushes, want target 2, objects for maps and %d", r.body, len(s.pushes), before)
		}
		into[map[string]any](t, s.call(t, key1, "POST", pushes, body, "Carillon-Dry-Run", "1"), 200)
		if len(s.pushes) != before {
			t.Error("a dry run by the header was sent")
		}
		into[push.Push](t, s.call(t, key1, "POST", pushes+"?dry_run=false", body), 202)
	})
}

func TestSendRefusals(t *testing.T) {
	s := newSite(t, restserver.Options{})
	with := func(audience, message, policy string) string {
		return fmt.Sprintf(`{"audience": %s, "message": %s, "policy": %s}`, audience, message, policy)
	}
	const all, note = `{"all": true}`, `{"notification": {"title": "t"}}`
	for _, tt := range []struct{ name, query, body, field string }{
		{"empty body", "", ` `, ""},
		{"malformed", "", `{"audience": `, ""},
		{"two values", "", hello + hello, ""},
		{"null", "", `null`, ""},
		{"an array", "", `[]`, ""},
		{"not UTF-8", "", "{\"audience\": {\"devices\": [\"\xff\"]}}", ""},
		{"unknown field", "", `{"audience": {"all": true}, "messages": {}}`, "messages"},
		{"unknown field deep down", "", with(all, `{"notification": {"titel": "t"}}`, `{}`), "message.notification.titel"},
		{"unknown field in a map's value", "", with(all, `{"template": {"name": "n", "values": {"a.b": 1}}}`, `{}`), "message.template.values.a.b"},
		{"unknown field of file", "", with(`{"file": "f", "of": {"x": 1}}`, note, `{}`), "audience.of"},
		{"string for a number", "", with(all, note, `{"rate": "10"}`), "policy.rate"},
		{"fraction for a whole number", "", with(all, note, `{"rate": 1.5}`), "policy.rate"},
		{"number for a string", "", with(all, `{"notification": {"title": 1}}`, `{}`), "message.notification.title"},
		{"string for an object", "", with(`"all"`, note, `{}`), "audience"},
		{"object for an array", "", with(`{"devices": {}}`, note, `{}`), "audience.devices"},
		{"number in an array of strings", "", with(`{"devices": ["a", 2]}`, note, `{}`), "audience.devices[1]"},
		{"array for a map", "", with(all, `{"data": 1, "extras": []}`, `{}`), "message.extras"},
		{"unknown platform", "", with(`{"all": true, "platforms": ["ios", "symbian"]}`, note, `{}`), "audience.platforms[1]"},
		{"malformed duration", "", with(all, note, `{"ttl": "3 days"}`), "policy.ttl"},
		{"number for a duration", "", with(all, note, `{"ttl": 60}`), "policy.ttl"},
		{"no ttl at all", "", with(all, note, `{"ttl": "0s"}`), "policy.ttl"},
		{"no ttl at all, in days", "", with(all, note, `{"ttl": "0d"}`), "policy.ttl"},
		{"empty ttl", "", with(all, note, `{"ttl": ""}`), "policy.ttl"},
		{"field in another case", "", `{"Audience": {"all": true}, "message": {"data": 1}}`, "Audience"},
		{"field in another case deep down", "", with(all, `{"data": 1, "NOTIFICATION": {"title": "t"}}`, `{}`), "message.NOTIFICATION"},
		{"field in another case, escaped", "", with(all, `{"data": 1, "\u004cines": []}`, `{}`), "message.Lines"},
		{"letter that only folds to a field's", "", with(all, note, `{"te\u017ft": true}`), "policy.te\u017ft"},
		{"field in another case beside free names", "", with(all, `{"data": {"A": 1}, "extras": {"B": 1}, "notification": {"Title": "t"}}`, `{}`), "message.notification.Title"},
		{"field of file in another case", "", with(`{"file": "f", "of": {"Alias": "x"}}`, note, `{}`), "audience.of.Alias"},
		{"null for everything", "", with(`{"where": null, "devices": null}`, note, `{}`), "audience"},
		{"malformed time", "", with(all, note, `{"start_at": "tomorrow"}`), "policy.start_at"},
		{"time in the past", "", with(all, note, `{"start_at": "2020-01-01T00:00:00Z"}`), "policy.start_at"},
		{"ttl above the app's", "", with(all, note, `{"ttl": "31d"}`), "policy.ttl"},
		{"nobody", "", with(`{}`, note, `{}`), "audience"},
		{"nothing to send", "", with(all, `{}`, `{}`), "message"},
		{"no notification text", "", with(all, `{"notification": {}}`, `{}`), "message.notification.title"},
		{"recall, which has a route", "", with(all, `{"recall": "5"}`, `{}`), "message.recall"},
		{"unknown parameter", "?dryrun=true", hello, "dryrun"},
		{"malformed flag", "?dry_run=maybe", hello, "dry_run"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantProblem(t, s.call(t, key1, "POST", pushes+tt.query, tt.body), 400, "invalid", tt.field)
		})
	}
	if len(s.pushes) != 0 {
		t.Errorf("%d pushes were made by bad requests, want 0", len(s.pushes))
	}
	if s.logs.Len() != 0 {
		t.Errorf("bad requests were logged as faults: %s", s.logs)
	}
}

func TestIdempotencyKey(t *testing.T) {
	s := newSite(t, restserver.Options{})
	first := into[push.Push](t, s.call(t, key1, "POST", pushes, hello, "Idempotency-Key", "order-42"), 202)
	again := into[push.Push](t, s.call(t, key1, "POST", pushes, hello, "Idempotency-Key", "order-42"), 202)
	if first.ID != again.ID || len(s.pushes) != 1 {
		t.Errorf("the repeat is push %v of %d, want %v of 1", again.ID, len(s.pushes), first.ID)
	}
	want := push.Key{Namespace: "rest", Value: "order-42", Strict: true, Keep: 7 * 24 * time.Hour}
	if got := s.pushes[0].Request.Key; got != want {
		t.Errorf("key %+v, want %+v", got, want)
	}
	other := strings.Replace(hello, "hi", "ho", 1)
	wantProblem(t, s.call(t, key1, "POST", pushes, other, "Idempotency-Key", "order-42"), 409, "conflict", "Idempotency-Key")
	for _, bad := range []string{strings.Repeat("k", 257), "kö"} {
		wantProblem(t, s.call(t, key1, "POST", pushes, hello, "Idempotency-Key", bad), 400, "invalid", "Idempotency-Key")
	}
}

func TestBatch(t *testing.T) {
	s := newSite(t, restserver.Options{})
	bad := `{"audience": {"devices": ["d"]}, "message": {"notification": {"titel": "x"}}}`
	bulk := `{"audience": {"all": true}, "message": {"data": 1}}`
	type item struct{ ID, Kind, State, Code, Field string }
	type items struct{ Items []item }
	to := func(device string) string { return strings.Replace(hello, `"d1"`, `"`+device+`"`, 1) }
	batch := func(all ...string) string { return `{"pushes": [` + strings.Join(all, ",") + `]}` }

	// The three good ones are accepted at the same time: the house lets none go before all are there.
	s.meeting.together = 3
	got := into[items](t, s.call(t, key1, "POST", pushes+"/batch", batch(to("d"), bad, to("e"), bulk, `7`, to("f")), "Idempotency-Key", "b"), 200)
	s.meeting.together = 0
	ids := map[string]bool{}
	for i, want := range []item{{}, {Code: "invalid", Field: "message.notification.titel"}, {}, {Code: "invalid", Field: "audience"}, {Code: "invalid"}, {}} {
		g := got.Items[i]
		if g.Code != want.Code || g.Field != want.Field || (want.Code == "") != (g.State == "accepted" && g.Kind == "direct") {
			t.Errorf("item %d is %+v, want %+v", i, g, want)
		}
		ids[g.ID] = true
	}
	if len(got.Items) != 6 || len(ids) != 4 || len(s.pushes) != 3 { // three ids and "" of the problems
		t.Fatalf("%d items, ids %v, %d pushes, want 6, three different ones and 3", len(got.Items), ids, len(s.pushes))
	}
	again := into[items](t, s.call(t, key1, "POST", pushes+"/batch", batch(to("d"), bad, to("e"), bulk, `7`, to("f")), "Idempotency-Key", "b"), 200)
	if len(s.pushes) != 3 || again.Items[0] != got.Items[0] || again.Items[5] != got.Items[5] {
		t.Errorf("the repeat answered %+v with %d pushes, want %+v with 3", again, len(s.pushes), got)
	}

	t.Run("a device gets its messages in the order of the batch", func(t *testing.T) {
		var all []string
		for i := range 30 {
			all = append(all, fmt.Sprintf(`{"audience": {"devices": ["one", "other%d"]}, "message": {"data": %d}}`, i, i))
		}
		from := len(s.pushes)
		into[items](t, s.call(t, key1, "POST", pushes+"/batch", batch(all...)), 200)
		for i, p := range s.pushes[from:] {
			if want := strconv.Itoa(i); string(p.Request.Message.Data) != want {
				t.Fatalf("push %d of the batch carries %s, want %s", i, p.Request.Message.Data, want)
			}
		}
	})
	t.Run("keys of items are not those of single pushes", func(t *testing.T) {
		single := into[push.Push](t, s.call(t, key1, "POST", pushes, strings.Replace(hello, "hi", "ho", 1), "Idempotency-Key", "b#0"), 202)
		if want := (push.Key{Namespace: "rest.batch", Value: "b#0", Strict: true, Keep: 7 * 24 * time.Hour}); ids[single.ID.String()] ||
			!slices.ContainsFunc(s.pushes[:3], func(p push.Push) bool { return p.Request.Key == want }) {
			t.Errorf("push %v, want a new one, and a batch item under %+v", single.ID, want)
		}
	})
	t.Run("empty", func(t *testing.T) {
		wantProblem(t, s.call(t, key1, "POST", pushes+"/batch", batch()), 400, "invalid", "pushes")
	})
	t.Run("too many", func(t *testing.T) {
		many := make([]string, 1001)
		for i := range many {
			many[i] = "{}"
		}
		wantProblem(t, s.call(t, key1, "POST", pushes+"/batch", batch(many...)), 400, "invalid", "pushes")
	})
	t.Run("not a list", func(t *testing.T) {
		wantProblem(t, s.call(t, key1, "POST", pushes+"/batch", `{"pushes": {}}`), 400, "invalid", "pushes")
	})
	t.Run("larger than a single push may be", func(t *testing.T) {
		big := strings.Replace(hello, "hi", strings.Repeat("x", 60_000), 1)
		got := into[items](t, s.call(t, key1, "POST", pushes+"/batch", batch(strings.Split(strings.Repeat(big+"\n", 100), "\n")[:100]...)), 200)
		if len(got.Items) != 100 || got.Items[99].State != "accepted" {
			t.Errorf("%d items, the last %+v, want 100 accepted", len(got.Items), got.Items[99])
		}
	})
	t.Run("a fault of ours is one item's", func(t *testing.T) {
		s.fail = fmt.Errorf("disk on fire: %w", push.Internal)
		got := into[items](t, s.call(t, key1, "POST", pushes+"/batch", batch(hello)), 200)
		if got.Items[0].Code != "internal" || !strings.Contains(s.logs.String(), "disk on fire") {
			t.Errorf("item %+v and log %s, want internal and its cause in the log", got.Items[0], s.logs)
		}
	})
}

func TestShowListCancel(t *testing.T) {
	s := newSite(t, restserver.Options{})
	for range 5 {
		into[push.Push](t, s.call(t, key1, "POST", pushes, hello), 202)
	}
	r := s.call(t, key1, "GET", pushes+"/1003", "")
	got := into[map[string]any](t, r, 200)
	if got["id"] != "1003" || got["kind"] != "direct" || got["target"] != 3.0 || got["pending"] != 1.0 || got["channels"] == nil ||
		got["dropped"].(map[string]any)["unknown"] != 1.0 {
		t.Errorf("report %s, want the push and its counts in one object", r.body)
	}
	if !strings.HasPrefix(string(r.body), `{"id":"1003","kind":"direct","state":"accepted"`) {
		t.Errorf("report %s, want id, kind and state first", r.body)
	}
	wantProblem(t, s.call(t, key1, "GET", pushes+"/9", ""), 404, "not_found", "id")
	wantProblem(t, s.call(t, key1, "GET", pushes+"/x9", ""), 404, "not_found", "id")
	wantProblem(t, s.call(t, "Bearer key-2", "GET", "/v1/apps/2/pushes/1003", ""), 404, "not_found", "id")

	type list struct {
		Items []struct{ ID string }
		Next  string
	}
	var ids []string
	cursor := ""
	for range 10 {
		page := into[list](t, s.call(t, key1, "GET", pushes+"?limit=2&cursor="+cursor, ""), 200)
		for _, i := range page.Items {
			ids = append(ids, i.ID)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if want := "1004 1003 1002 1001 1000"; strings.Join(ids, " ") != want {
		t.Errorf("pages give %v, want %s", ids, want)
	}
	if r := s.call(t, "Bearer key-2", "GET", "/v1/apps/2/pushes", ""); strings.TrimSpace(string(r.body)) != `{"items":[]}` {
		t.Errorf("empty list is %s, want {\"items\":[]}", r.body)
	}
	for query, field := range map[string]string{"limit=0": "limit", "limit=1001": "limit", "limit=x": "limit", "cursor=x": "cursor", "page=2": "page"} {
		wantProblem(t, s.call(t, key1, "GET", pushes+"?"+query, ""), 400, "invalid", field)
	}

	if p := into[push.Push](t, s.call(t, key1, "POST", pushes+"/1002/cancel", ""), 200); p.State != push.Cancelled {
		t.Errorf("state %q, want cancelled", p.State)
	}
	wantProblem(t, s.call(t, key1, "POST", pushes+"/1002/cancel", ""), 409, "conflict", "")
	wantProblem(t, s.call(t, key1, "POST", pushes+"/77/cancel", ""), 404, "not_found", "id")
}

func FuzzPushBody(f *testing.F) {
	for _, seed := range []string{
		hello, `{`, `null`, `[]`, `{"audience": {"where": {"tag": "x"}}, "message": {"data": null}}`,
		`{"audience": {"where": {"and": [{"not": {"attr": "Level", "in": ["A", 1, true]}}, {"or": [{"active_within": "7d"}, {"Tag": "x"}]}]}}, "message": {"data": 1}}`,
		`{"audience": {"file": "f", "of": {"alias": "uid"}}, "message": {"template": {"name": "n"}, "personal": {"a": {"b": "c"}}}}`,
		`{"audience": {"aliases": {"type": "", "values": ["a"]}}, "message": {"notification": {"title": "t", "repeat": {"times": 2, "within": "1h"},
			"badge": {"set": 1}, "click": {"action": "custom", "custom": {}}, "show_from": "2026-01-01T00:00:00Z"}, "apns": {"aps": {}}, "vendors": {"hms": {}}}}`,
		`{"audience": {"all": true}, "message": {"data": 1}, "policy": {"recurring": {"every": "day", "on": [1], "at": "09:00:00"},
			"sms": {"template": "x", "after": "1h"}, "channels": "own_first", "deadline": "1m", "only": ["fcm"], "expire_at": "x"}}`,
		"{\"\u0000\": 1}", `{"message": {"extras": {"` + strings.Repeat("k", 100) + `": ` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}}}`,
	} {
		f.Add([]byte(seed))
	}
	s := newSite(f, restserver.Options{})
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, path := range []string{pushes + "?dry_run=1", pushes + "/batch"} {
			r := s.call(t, key1, "POST", path, string(body)+" ")
			if r.status != 200 && r.status != 400 {
				t.Fatalf("status %d, want 200 or 400: %s", r.status, r.body)
			}
			if !json.Valid(r.body) {
				t.Fatalf("answer is not JSON: %s", r.body)
			}
			if strings.Contains(string(r.body), `"internal"`) {
				t.Fatalf("bad input is answered as a fault of ours: %s", r.body)
			}
			if r.status == 400 {
				if p := into[restserver.Problem](t, r, 400); p.Code != "invalid" || p.Detail == "" || p.Detail == "the body cannot be read" {
					t.Fatalf("problem %+v does not say what is wrong", p)
				}
			}
		}
	})
}
