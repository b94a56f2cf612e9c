package restserver_test

import (
	"encoding/json"
	"fmt"
	"net/url"
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
		{"no rate at all", "", with(all, note, `{"rate": 0}`), "policy.rate"},
		{"negative rate", "", with(all, note, `{"rate": -5}`), "policy.rate"},
		{"rate beyond all bounds", "", with(all, note, `{"rate": 2147483648}`), "policy.rate"},
		{"text for open", "", `{"audience": {"all": true}, "message": {"data": 1}, "open": "yes"}`, "open"},
		{"open and later", "", `{"open": true, "message": {"data": 1}, "policy": {"start_at": "2026-12-01T00:00:00Z"}}`, "open"},
		{"open and paced", "", `{"open": true, "message": {"data": 1}, "policy": {"rate": 5}}`, "open"},
		{"open for half an audience", "", `{"open": true, "audience": {"file": "f"}, "message": {"data": 1}}`, "audience.of"},
		{"nobody, though not open", "", `{"open": false, "message": {"data": 1}}`, "audience"},
		{"personal without a template", "", with(`{"devices": ["d"]}`, `{"data": 1, "personal": {"d": {"a": "b"}}}`, `{}`), "message.personal"},
		{"personal for all", "", with(all, `{"template": {"name": "t"}, "personal": {"d": {"a": "b"}}}`, `{}`), "message.personal"},
		{"template without a name", "", with(all, `{"template": {"name": ""}}`, `{}`), "message.template.name"},
		{"recurring in no way", "", with(all, note, `{"recurring": {"every": "year", "at": "09:00:00", "from": "2026-12-01T00:00:00Z", "until": "2026-12-02T00:00:00Z"}}`), "policy.recurring.every"},
		{"recurring at no time", "", with(all, note, `{"recurring": {"every": "day", "at": "9:00", "from": "2026-12-01T00:00:00Z", "until": "2026-12-02T00:00:00Z"}}`), "policy.recurring.at"},
		{"unknown field of recurring", "", with(all, note, `{"recurring": {"every": "day", "times": 3}}`), "policy.recurring.times"},
		{"recurring and later", "", with(all, note, `{"start_at": "2026-12-01T00:00:00Z", "recurring": {"every": "day", "at": "09:00:00", "from": "2026-12-01T00:00:00Z", "until": "2026-12-02T00:00:00Z"}}`), "policy.start_at"},
		{"unknown way to be quiet", "", with(all, note, `{"quiet": "whisper"}`), "policy.quiet"},
		{"unknown network", "", with(all, note, `{"network": "5g"}`), "policy.network"},
		{"sms without a template", "", with(all, note, `{"sms": {"after": "1h"}}`), "policy.sms.template"},
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

// TestSendKinds shows what becomes of pushes that are not sent at once, and that what they ask for arrives.
func TestSendKinds(t *testing.T) {
	s := newSite(t, restserver.Options{})
	const recurring = `{"every": "week", "on": [1, 5], "at": "08:30:00", "from": "2026-11-25T00:00:00+08:00", "until": "2026-12-31T00:00:00+08:00"}`
	for _, tt := range []struct {
		name, body, state, start string
		check                    func(r push.Request) bool
	}{
		{
			"open, for nobody yet", `{"message": {"data": 1}, "open": true}`, "open", "2026-11-25T01:00:00Z",
			func(r push.Request) bool { return r.Open && !r.Audience.Named() },
		},
		{
			"open, for null", `{"audience": null, "message": {"data": 1}, "open": true}`, "open", "2026-11-25T01:00:00Z",
			func(r push.Request) bool { return r.Open },
		},
		{
			"open, for some", `{"audience": {"devices": ["d1"]}, "message": {"data": 1}, "open": true}`, "open", "2026-11-25T01:00:00Z",
			func(r push.Request) bool { return r.Open && r.Audience.Devices[0] == "d1" },
		},
		{
			"not open", `{"audience": {"devices": ["d1"]}, "message": {"data": 1}, "open": false}`, "accepted", "2026-11-25T01:00:00Z",
			func(r push.Request) bool { return !r.Open },
		},
		{
			"later", `{"audience": {"all": true}, "message": {"data": 1}, "policy": {"start_at": "2026-12-01T09:00:00+08:00"}}`, "scheduled", "2026-12-01T09:00:00+08:00",
			func(r push.Request) bool { return r.Policy.StartAt != nil },
		},
		{
			"again and again", `{"audience": {"all": true}, "message": {"data": 1}, "policy": {"recurring": ` + recurring + `}}`, "scheduled", "2026-11-27T08:30:00+08:00",
			func(r push.Request) bool {
				return r.Policy.Recurring.Every == "week" && len(r.Policy.Recurring.On) == 2
			},
		},
		{
			"of a template", `{"audience": {"devices": ["d1"]}, "message": {"template": {"name": "t", "values": {"a": "1"}}, "personal": {"d1": {"a": "2"}}}}`, "accepted", "2026-11-25T01:00:00Z",
			func(r push.Request) bool {
				return r.Message.Template.Values["a"] == "1" && r.Message.Personal["d1"]["a"] == "2"
			},
		},
		{
			"under all rules", `{"audience": {"all": true}, "message": {"data": 1}, "policy": {"rate": 1, "quiet": "drop", "network": "wifi", "collapse_id": "c",
			"sms": {"template": "s", "after": "1h", "unless": "opened"}, "channels": "own_first", "deadline": "1m"}}`, "accepted", "2026-11-25T01:00:00Z",
			func(r push.Request) bool {
				return r.Policy.Rate == 1 && r.Policy.Quiet == "drop" && r.Policy.Network == push.WiFi && r.Policy.SMS.Template == "s" && r.Policy.CollapseID == "c"
			},
		},
		{
			"without a rate", `{"audience": {"all": true}, "message": {"data": 1}, "policy": {"rate": null}}`, "accepted", "2026-11-25T01:00:00Z",
			func(r push.Request) bool { return r.Policy.Rate == 0 },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := into[push.Push](t, s.call(t, key1, "POST", pushes, tt.body), 202)
			start, err := time.Parse(time.RFC3339, tt.start)
			if err != nil {
				t.Fatal(err)
			}
			if string(got.State) != tt.state || !got.Start.Equal(start) {
				t.Errorf("state %s, start %v, want %s, %s", got.State, got.Start, tt.state, tt.start)
			}
			if r := s.pushes[len(s.pushes)-1].Request; !tt.check(r) {
				t.Errorf("request %+v lost something of %s", r, tt.body)
			}
		})
	}
}

// TestQuotas shows what each push is counted under, and what one that is above a quota is answered.
func TestQuotas(t *testing.T) {
	s := newSite(t, restserver.Options{})
	const minute, bulk, daily = "rest.pushes_per_minute", "rest.bulk_pushes_per_minute", "rest.broadcasts_per_day"
	for _, tt := range []struct {
		name, audience string
		want           []string
	}{
		{"devices", `{"devices": ["d"]}`, []string{minute}},
		{"aliases", `{"aliases": {"values": ["a"]}}`, []string{minute}},
		{"accounts", `{"accounts": ["a"]}`, []string{minute}},
		{"an expression", `{"where": {"tag": "a"}}`, []string{minute, bulk}},
		{"a file", `{"file": "f", "of": "devices"}`, []string{minute, bulk}},
		{"everybody", `{"all": true}`, []string{minute, bulk, daily}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			into[push.Push](t, s.call(t, key1, "POST", pushes, `{"audience": `+tt.audience+`, "message": {"data": 1}}`), 202)
			var got []string
			for _, u := range s.pushes[len(s.pushes)-1].Request.Uses {
				if u.Credential != "rest" || u.N > 1 {
					t.Errorf("use %+v, want one of credential rest", u)
				}
				got = append(got, u.Setting)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("counts under %v, want %v", got, tt.want)
			}
		})
	}
	into[push.App](t, s.call(t, admin, "PATCH", "/v1/apps/1", `{"settings": {"rest.broadcasts_per_day": 1, "rest.pushes_per_minute": 3}}`), 200)
	all := `{"audience": {"all": true}, "message": {"data": 1}}`
	into[push.Push](t, s.call(t, key1, "POST", pushes, all), 202)
	r := s.call(t, key1, "POST", pushes, all)
	wantProblem(t, r, 429, "too_many", daily)
	if got := r.header.Get("Retry-After"); got != "91" {
		t.Errorf("Retry-After %q for 90.001 s, want 91", got)
	}
	into[push.Push](t, s.call(t, key1, "POST", pushes, hello), 202)
	got := into[struct{ Items []restserver.Problem }](t, s.call(t, key1, "POST", pushes+"/batch", `{"pushes": [`+hello+`,`+hello+`]}`), 200)
	refused := slices.DeleteFunc(got.Items, func(p restserver.Problem) bool { return p.Code == "" })
	if len(refused) != 1 || refused[0].Code != "too_many" || refused[0].Field != minute {
		t.Errorf("refused %+v of a batch of two, want one as above %s", refused, minute)
	}
	into[push.Push](t, s.call(t, "Bearer key-2", "POST", "/v1/apps/2/pushes", hello), 202)
}

// TestRequestID shows that a request may have a name, under which its push is found.
func TestRequestID(t *testing.T) {
	s := newSite(t, restserver.Options{})
	longest := strings.Repeat("~", 128)
	for _, id := range []string{"order-42", "a/b?c#d%", longest} {
		r := s.call(t, key1, "POST", pushes, hello, "X-Request-Id", id)
		p := into[push.Push](t, r, 202)
		if got := r.header.Get("X-Request-Id"); got != id {
			t.Errorf("answered id %q, want %q", got, id)
		}
		found := s.call(t, key1, "GET", "/v1/apps/1/requests/"+url.PathEscape(id), "")
		got := into[map[string]any](t, found, 200)
		if shown := s.call(t, key1, "GET", pushes+"/"+p.ID.String(), ""); string(shown.body) != string(found.body) || got["request_id"] != id {
			t.Errorf("found %s, want %s with the id", found.body, shown.body)
		}
		wantProblem(t, s.call(t, "Bearer key-2", "GET", "/v1/apps/2/requests/"+url.PathEscape(id), ""), 404, "not_found", "request_id")
	}
	wantProblem(t, s.call(t, key1, "GET", "/v1/apps/1/requests/nobody", ""), 404, "not_found", "request_id")
	before := len(s.pushes)
	for _, bad := range []string{longest + "~", "a b", "a\tb", "kö"} {
		for _, path := range []string{pushes, pushes + "/batch"} {
			r := s.call(t, key1, "POST", path, hello, "X-Request-Id", bad)
			wantProblem(t, r, 400, "invalid", "X-Request-Id")
			if got := r.header.Get("X-Request-Id"); got != "" {
				t.Errorf("answered id %q, want none", got)
			}
		}
	}
	r := s.call(t, key1, "POST", pushes, `{`, "X-Request-Id", "broken")
	wantProblem(t, r, 400, "invalid", "")
	if got := r.header.Get("X-Request-Id"); got != "broken" || len(s.pushes) != before {
		t.Errorf("a refusal answered id %q, and there are %d pushes, want broken and %d", got, len(s.pushes), before)
	}
	if r := s.call(t, key1, "POST", pushes, hello); r.header["X-Request-Id"] != nil || s.pushes[len(s.pushes)-1].Request.RequestID != "" {
		t.Error("a request without an id was given one")
	}

	before = len(s.pushes)
	r = s.call(t, key1, "POST", pushes+"/batch", `{"pushes": [`+hello+`, {}, `+hello+`]}`, "X-Request-Id", "b")
	if got := r.header.Get("X-Request-Id"); r.status != 200 || got != "b" {
		t.Errorf("status %d, id %q, want 200 and b", r.status, got)
	}
	for _, id := range []string{"b#0", "b#2"} {
		got := into[map[string]any](t, s.call(t, key1, "GET", "/v1/apps/1/requests/"+url.PathEscape(id), ""), 200)
		if got["request_id"] != id {
			t.Errorf("found %v, want the push of %s", got, id)
		}
	}
	if n := len(s.pushes) - before; n != 2 {
		t.Errorf("%d pushes were made, want 2", n)
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
	t.Run("with what goes by itself only", func(t *testing.T) {
		from := len(s.pushes)
		open := `{"open": true, "audience": {"devices": ["d"]}, "message": {"data": 1}}`
		again := `{"audience": {"devices": ["d"]}, "message": {"data": 1}, "policy": {"recurring": {"every": "day", "at": "09:00:00", "from": "2026-12-01T00:00:00Z", "until": "2026-12-02T00:00:00Z"}}}`
		got := into[items](t, s.call(t, key1, "POST", pushes+"/batch", batch(open, again, strings.Replace(hello, `}}}`, `}}, "policy": {"rate": 0}}`, 1))), 200)
		for i, field := range []string{"open", "policy.recurring", "policy.rate"} {
			if g := got.Items[i]; g.Code != "invalid" || g.Field != field {
				t.Errorf("item %d is %+v, want it refused for %s", i, g, field)
			}
		}
		if len(s.pushes) != from {
			t.Errorf("%d pushes were made, want none", len(s.pushes)-from)
		}
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
