package restserver_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/restserver"
)

func spec(t *testing.T) (map[string]any, []byte) {
	t.Helper()
	s := newSite(t, restserver.Options{Version: "v1.2.3"})
	r := s.call(t, "", "GET", "/openapi.json", "")
	if r.header.Get("Content-Type") != "application/json" {
		t.Errorf("content type %q, want application/json", r.header.Get("Content-Type"))
	}
	return into[map[string]any](t, r, 200), r.body
}

func TestOpenAPI(t *testing.T) {
	doc, raw := spec(t)
	if v, _ := doc["openapi"].(string); !strings.HasPrefix(v, "3.1.") {
		t.Errorf("openapi %q, want 3.1", v)
	}
	if got := doc["info"].(map[string]any)["version"]; got != "v1.2.3" {
		t.Errorf("version %v, want v1.2.3", got)
	}
	var routes []string
	ids := map[string]bool{}
	bodiless := map[string]bool{"cancel-push": true, "pause-push": true, "resume-push": true, "close-push": true, "create-tag": true}
	optional := map[string]bool{"check-index": true, "recall-push": true, "replay-webhook": true}
	for path, item := range doc["paths"].(map[string]any) {
		for method, v := range item.(map[string]any) {
			op := v.(map[string]any)
			routes = append(routes, strings.ToUpper(method)+" "+path)
			id, _ := op["operationId"].(string)
			if id == "" || ids[id] || op["summary"] == nil || op["description"] == nil || op["tags"] == nil {
				t.Errorf("%s %s: id %q must be unique, and there must be summary, description and tags", method, path, id)
			}
			ids[id] = true
			body, ok := op["requestBody"].(map[string]any)
			if needs := method == "post" || method == "put" || method == "patch"; needs && !ok && !bodiless[id] {
				t.Errorf("%s %s has no body", method, path)
			}
			if ok && body["required"] == true == (method == "delete" && id != "untag-devices" || optional[id]) {
				t.Errorf("%s %s: body required %v", method, path, body["required"])
			}
			if id == "upload-file" {
				continue
			}
			if ok && body["content"].(map[string]any)["application/json"].(map[string]any)["example"] == nil {
				t.Errorf("%s %s has no example", method, path)
			}
			if op["responses"].(map[string]any)["default"] == nil {
				t.Errorf("%s %s does not say how errors look", method, path)
			}
		}
	}
	slices.Sort(routes)
	want := []string{
		"DELETE /device/v1/me", "DELETE /device/v1/me/account", "DELETE /device/v1/me/alias", "DELETE /device/v1/me/tags",
		"DELETE /v1/apps/{app}", "DELETE /v1/apps/{app}/devices/{device}", "DELETE /v1/apps/{app}/devices/{device}/account",
		"DELETE /v1/apps/{app}/devices/{device}/aliases", "DELETE /v1/apps/{app}/devices/{device}/tags",
		"DELETE /v1/apps/{app}/schedules/{id}", "DELETE /v1/apps/{app}/schedules/{id}/occurrences/{occurrence}",
		"DELETE /v1/apps/{app}/tags/{tag}", "DELETE /v1/apps/{app}/tags/{tag}/devices",
		"DELETE /v1/apps/{app}/templates/{name}", "DELETE /v1/apps/{app}/webhooks/{id}",
		"GET /device/v1/inbox", "GET /device/v1/me", "GET /v1/apps", "GET /v1/apps/{app}", "GET /v1/apps/{app}/aliases",
		"GET /v1/apps/{app}/devices", "GET /v1/apps/{app}/devices/{device}", "GET /v1/apps/{app}/events",
		"GET /v1/apps/{app}/files/{file}", "GET /v1/apps/{app}/groups", "GET /v1/apps/{app}/groups/{name}",
		"GET /v1/apps/{app}/pushes", "GET /v1/apps/{app}/pushes/{id}", "GET /v1/apps/{app}/pushes/{id}/devices/{device}",
		"GET /v1/apps/{app}/reports/devices", "GET /v1/apps/{app}/reports/pushes", "GET /v1/apps/{app}/requests/{request_id}",
		"GET /v1/apps/{app}/schedules", "GET /v1/apps/{app}/schedules/{id}", "GET /v1/apps/{app}/schedules/{id}/occurrences",
		"GET /v1/apps/{app}/tags", "GET /v1/apps/{app}/tags/{tag}", "GET /v1/apps/{app}/templates",
		"GET /v1/apps/{app}/templates/{name}", "GET /v1/apps/{app}/topics", "GET /v1/apps/{app}/topics/{name}",
		"GET /v1/apps/{app}/webhooks", "GET /v1/apps/{app}/webhooks/{id}/batches",
		"PATCH /device/v1/me", "PATCH /v1/apps/{app}", "PATCH /v1/apps/{app}/schedules/{id}",
		"POST /device/v1/events", "POST /device/v1/me/alias", "POST /device/v1/me/tags", "POST /device/v1/register",
		"POST /v1/apps", "POST /v1/apps/{app}/devices/import", "POST /v1/apps/{app}/devices/{device}/account",
		"POST /v1/apps/{app}/devices/{device}/aliases", "POST /v1/apps/{app}/devices/{device}/tags", "POST /v1/apps/{app}/files",
		"POST /v1/apps/{app}/pushes", "POST /v1/apps/{app}/pushes/batch", "POST /v1/apps/{app}/pushes/{id}/cancel",
		"POST /v1/apps/{app}/pushes/{id}/close", "POST /v1/apps/{app}/pushes/{id}/pause", "POST /v1/apps/{app}/pushes/{id}/recall",
		"POST /v1/apps/{app}/pushes/{id}/resume", "POST /v1/apps/{app}/pushes/{id}/targets",
		"POST /v1/apps/{app}/rotate-keys", "POST /v1/apps/{app}/tags/{tag}/devices", "POST /v1/apps/{app}/templates",
		"POST /v1/apps/{app}/templates/{name}/preview", "POST /v1/apps/{app}/webhooks", "POST /v1/apps/{app}/webhooks/{id}/replay",
		"POST /v1/doctor/index",
		"PUT /device/v1/me/account", "PUT /device/v1/me/alias", "PUT /device/v1/me/tags",
		"PUT /v1/apps/{app}/devices/{device}", "PUT /v1/apps/{app}/devices/{device}/account",
		"PUT /v1/apps/{app}/devices/{device}/aliases", "PUT /v1/apps/{app}/devices/{device}/tags", "PUT /v1/apps/{app}/tags/{tag}",
	}
	if !slices.Equal(routes, want) {
		t.Errorf("routes\n%s\nwant\n%s", strings.Join(routes, "\n"), strings.Join(want, "\n"))
	}

	schemas := doc["components"].(map[string]any)["schemas"].(map[string]any)
	for _, m := range regexp.MustCompile(`"\$ref":"([^"]*)"`).FindAllSubmatch(raw, -1) {
		name, ok := strings.CutPrefix(string(m[1]), "#/components/schemas/")
		if _, exists := schemas[name]; !ok || !exists {
			t.Errorf("reference %s leads nowhere in the document", m[1])
		}
	}
	for name, v := range schemas {
		s := v.(map[string]any)
		if s["description"] == nil {
			t.Errorf("schema %s has no description", name)
		}
		for prop, p := range s["properties"].(map[string]any) {
			if p.(map[string]any)["description"] == nil {
				t.Errorf("%s.%s has no description", name, prop)
			}
		}
	}
}

// TestSchemas holds the document against what Go's JSON does with the same types.
func TestSchemas(t *testing.T) {
	doc, _ := spec(t)
	schemas := doc["components"].(map[string]any)["schemas"].(map[string]any)
	prop := func(schema, name string) string {
		p := schemas[schema].(map[string]any)["properties"].(map[string]any)[name].(map[string]any)
		delete(p, "description")
		delete(p, "examples")
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, tt := range []struct{ schema, name, want string }{
		{"Push", "id", `{"pattern":"^[1-9][0-9]{0,18}$","type":"string"}`},
		{"Push", "app", `{"type":"string"}`},
		{"Push", "kind", `{"enum":["direct","bulk"],"type":"string"}`},
		{"Push", "created", `{"format":"date-time","type":"string"}`},
		{"PushReport", "target", `{"format":"int64","type":"integer"}`},
		{"Policy", "ttl", `{"type":"string"}`},
		{"Policy", "group", `{"type":"string"}`},
		{"Policy", "rate", `{"format":"int64","type":"integer"}`},
		{"Push", "state", `{"enum":["open","scheduled","accepted","sending","paused","done","cancelled","recalled","expired","failed"],"type":"string"}`},
		{"Push", "schedule", `{"pattern":"^[1-9][0-9]{0,18}$","type":"string"}`},
		{"PushReport", "recall", `{"$ref":"#/components/schemas/Recall"}`},
		{"Totals", "dropped", `{"additionalProperties":{"format":"int64","type":"integer"},"type":"object"}`},
		{"DailyTotals", "days", `{"items":{"$ref":"#/components/schemas/Totals"},"type":"array"}`},
		{"RecallBody", "devices", `{"items":{"type":"string"},"maxItems":1000,"minItems":1,"type":"array"}`},
		{"Schedule", "state", `{"enum":["active","finished","cancelled"],"type":"string"}`},
		{"Schedule", "request", `{"$ref":"#/components/schemas/Request"}`},
		{"Request", "policy", `{"$ref":"#/components/schemas/Policy"}`},
		{"Occurrence", "state", `{"enum":["waiting","fired","missed","failed","cancelled"],"type":"string"}`},
		{"Webhook", "id", `{"type":"string"}`},
		{"BatchInfo", "id", `{"type":"string"}`},
		{"Event", "event", `{"enum":["clicked","delivered","dismissed","displayed","dropped","finished","opened","recalled","sent","token_invalid"],"type":"string"}`},
		{"Event", "push", `{"pattern":"^[1-9][0-9]{0,18}$","type":"string"}`},
		{"Policy", "channels", `{"enum":["auto","own","vendor","own_first"],"type":"string"}`},
		{"Policy", "start_at", `{"format":"date-time","type":"string"}`},
		{"Policy", "network", `{"enum":["any","wifi","mobile"],"type":"string"}`},
		{"Audience", "platforms", `{"items":{"enum":["android","ios","harmony","web"],"type":"string"},"type":"array"}`},
		{"Audience", "devices", `{"items":{"type":"string"},"type":"array"}`},
		{"Message", "data", `{}`},
		{"Message", "extras", `{"additionalProperties":{},"type":"object"}`},
		{"Message", "platforms", `{"additionalProperties":{"$ref":"#/components/schemas/Variant"},"type":"object"}`},
		{"Message", "launch", `{"type":"boolean"}`},
		{"Message", "notification", `{"$ref":"#/components/schemas/Notification"}`},
		{"Notification", "title", `{"type":"string"}`},
		{"Notification", "sound", `{"type":"string"}`},
		{"Device", "platform", `{"enum":["android","ios","harmony","web"],"type":"string"}`},
		{"Device", "test", `{"type":"boolean"}`},
		{"BatchBody", "pushes", `{"items":{"$ref":"#/components/schemas/PushBody"},"type":"array"}`},
		{"Audience", "where", `{"$ref":"#/components/schemas/Where"}`},
		{"Where", "and", `{"items":{"$ref":"#/components/schemas/Where"},"minItems":1,"type":"array"}`},
		{"Where", "not", `{"$ref":"#/components/schemas/Where"}`},
		{"Where", "alias", `{"$ref":"#/components/schemas/Aliases"}`},
		{"Where", "op", `{"enum":["=","!=","\u003c","\u003c=","\u003e","\u003e="],"type":"string"}`},
		{"Device", "aliases", `{"items":{"$ref":"#/components/schemas/Alias"},"type":"array"}`},
		{"Imported", "error", `{"$ref":"#/components/schemas/ImportFault"}`},
		{"ImportsBody", "devices", `{"items":{"$ref":"#/components/schemas/ImportBody"},"type":"array"}`},
		{"NamedDevices", "devices", `{"items":{"type":"string"},"type":"array"}`},
		{"RegisterBody", "tokens", `{"additionalProperties":{"oneOf":[{"type":"string"},{"$ref":"#/components/schemas/Token"}]},"type":"object"}`},
	} {
		if got := prop(tt.schema, tt.name); got != tt.want {
			t.Errorf("%s.%s is %s, want %s", tt.schema, tt.name, got, tt.want)
		}
	}
	if _, ok := schemas["Message"].(map[string]any)["properties"].(map[string]any)["recall"]; ok {
		t.Error("the document offers message.recall, which senders are refused")
	}
	for schema, want := range map[string]string{
		"PushBody": "[message]", "SchedulePatchBody": "null", "TemplateBody": "[name]", "WebhookBody": "[url]", "RecallBody": "null",
		"AppBody": "[name]", "RegisterBody": "[app_key app_secret platform install_id]",
		"Alias": "[value]", "Aliases": "[values]", "AliasBody": "[value]", "ImportBody": "[device_id]", "TagsBody": "[tags]",
	} {
		b, _ := json.Marshal(schemas[schema].(map[string]any)["required"])
		if got := strings.NewReplacer(`"`, "", ",", " ").Replace(string(b)); got != want {
			t.Errorf("%s requires %s, want %s", schema, got, want)
		}
	}
}

// TestExamples sends every example of the document, so that none of them is refused for its form.
func TestExamples(t *testing.T) {
	doc, _ := spec(t)
	s := newSite(t, restserver.Options{})
	_, dev := s.register(t)
	future := `{"audience": {"all": true}, "message": {"data": 1}, "policy": {"start_at": "2026-11-26T01:00:00Z"}}`
	into[push.Push](t, s.call(t, key1, "POST", pushes, future), 202) // 1000, which the examples are about
	into[map[string]any](t, s.call(t, key1, "POST", "/v1/apps/1/templates", `{"name": "vip", "title": "#id#"}`), 201)
	sent := 0
	for path, item := range doc["paths"].(map[string]any) {
		for method, v := range item.(map[string]any) {
			body, ok := v.(map[string]any)["requestBody"].(map[string]any)
			if !ok || v.(map[string]any)["operationId"] == "upload-file" {
				continue
			}
			b, err := json.Marshal(body["content"].(map[string]any)["application/json"].(map[string]any)["example"])
			if err != nil {
				t.Fatal(err)
			}
			auth := admin
			if strings.HasPrefix(path, "/device/") {
				auth = dev
			}
			path := strings.NewReplacer("{app}", "demo", "{device}", "7000", "{tag}", "vip", "{id}", "1000", "{name}", "vip").Replace(path)
			r := s.call(t, auth, strings.ToUpper(method), path, string(b))
			if r.status == 400 || strings.Contains(string(r.body), `"invalid"`) {
				t.Errorf("%s %s refuses its own example %s: %s", method, path, b, r.body)
			}
			sent++
		}
	}
	if sent != 37 {
		t.Errorf("%d examples were sent, want 37", sent)
	}
}

// TestExampleOfAnError holds the error that docs/rest.md shows against what a sender gets.
func TestExampleOfAnError(t *testing.T) {
	page, err := os.ReadFile("../../docs/rest.md")
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, restserver.Options{})
	got := s.call(t, key1, "POST", pushes, `{"audience": {"all": true}, "message": {"data": 1}, "policy": {"ttl": "31d"}}`)
	if !strings.Contains(string(page), "```json\n"+string(got.body)+"```") {
		t.Errorf("docs/rest.md shows another error than %s", got.body)
	}
	if _, status, _ := strings.Cut(string(page), "`method_not_allowed` "); !strings.HasPrefix(status, "405 ") {
		t.Error("docs/rest.md does not name the code of 405")
	}
}

func TestDocs(t *testing.T) {
	s := newSite(t, restserver.Options{})
	elsewhere := regexp.MustCompile(`(?i)(https?:)?//[a-z0-9.-]+\.[a-z]+|@import|\burl\(|<base`)
	for path, contentType := range map[string]string{
		"/docs": "text/html; charset=utf-8", "/docs/docs.js": "text/javascript; charset=utf-8", "/docs/docs.css": "text/css; charset=utf-8",
	} {
		r := s.call(t, "", "GET", path, "")
		if r.status != 200 || r.header.Get("Content-Type") != contentType || len(r.body) == 0 {
			t.Errorf("%s: status %d, type %q, %d bytes, want 200 %s", path, r.status, r.header.Get("Content-Type"), len(r.body), contentType)
		}
		if hit := elsewhere.Find(r.body); hit != nil {
			t.Errorf("%s leads elsewhere: %s", path, hit)
		}
		if csp := r.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q, want one that lets nothing else in", path, csp)
		}
		again := s.call(t, "", "GET", path, "", "If-None-Match", r.header.Get("ETag"))
		if again.status != 304 || len(again.body) != 0 {
			t.Errorf("%s: asked again, status %d with %d bytes, want 284 with none", path, again.status, len(again.body))
		}
	}
	page := string(s.call(t, "", "GET", "/docs", "").body)
	for _, m := range regexp.MustCompile(`(?:src|href)="(/[^"]*)"`).FindAllStringSubmatch(page, -1) {
		if r := s.call(t, "", "GET", m[1], ""); r.status != 200 {
			t.Errorf("the page names %s, which answers %d", m[1], r.status)
		}
	}
	if r := s.call(t, "", "GET", "/docs/nothing", ""); r.status != 404 {
		t.Errorf("an unknown file answers %d, want 404", r.status)
	}
	// A problem's type leads to an anchor that the page makes for each code.
	script := string(s.call(t, "", "GET", "/docs/docs.js", "").body)
	for _, code := range []string{"invalid", "unauthenticated", "denied", "not_found", "method_not_allowed", "conflict", "too_large", "too_many", "internal", "unavailable"} {
		if !strings.Contains(script, `["`+code+`", `) {
			t.Errorf("the page does not explain %s", code)
		}
	}
	w := httptest.NewRecorder()
	s.server.Home(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != http.StatusFound || w.Header().Get("Location") != "/docs" {
		t.Errorf("home answers %d to %q, want 282 to /docs", w.Code, w.Header().Get("Location"))
	}
}
