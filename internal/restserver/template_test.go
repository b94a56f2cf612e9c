package restserver_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/restserver"
)

const templates = "/v1/apps/1/templates"

func TestTemplates(t *testing.T) {
	s := newSite(t, restserver.Options{})
	body := `{"name": "a/b 单", "title": "Order #id#", "body": "is ${state}, #id#", "defaults": {"state": "ready"}}`
	want := `{"name":"a/b 单","title":"Order #id#","body":"is ${state}, #id#","defaults":{"state":"ready"},"created":"2026-11-25T01:00:00Z","placeholders":["id","state"]}`
	for _, status := range []int{201, 200} { // new, and then in the place of itself
		r := s.call(t, key1, "POST", templates, body)
		if got := strings.TrimSpace(string(r.body)); r.status != status || got != want {
			t.Errorf("status %d, %s, want %d, %s", r.status, got, status, want)
		}
	}
	one := templates + "/" + url.PathEscape("a/b 单")
	if got := strings.TrimSpace(string(s.call(t, key1, "GET", one, "").body)); got != want {
		t.Errorf("shown as %s, want %s", got, want)
	}
	if r := s.call(t, key1, "POST", templates, `{"name": "/", "body": "none"}`); r.status != 201 || !strings.Contains(string(r.body), `"placeholders":[]`) {
		t.Errorf("status %d, %s, want 201 and no placeholders", r.status, r.body)
	}

	t.Run("preview", func(t *testing.T) {
		for _, tt := range []struct{ body, want, field string }{
			{`{"values": {"id": "42"}}`, `{"title":"Order 42","body":"is ready, 42"}`, ""},
			{`{"values": {"id": "", "state": "late"}}`, `{"title":"Order ","body":"is late, "}`, ""},
			{`{}`, "", "values.id"},
			{`{"values": null}`, "", "values.id"},
			{`{"values": {"id": "1", "colour": "red"}}`, "", "values.colour"},
			{`{"values": {"id": 42}}`, "", "values.id"},
			{`{"value": {}}`, "", "value"},
			{``, "", ""},
		} {
			r := s.call(t, key1, "POST", one+"/preview", tt.body)
			if tt.want == "" {
				wantProblem(t, r, 400, "invalid", tt.field)
				continue
			}
			if got := strings.TrimSpace(string(r.body)); r.status != 200 || got != tt.want {
				t.Errorf("%s: status %d, %s, want %s", tt.body, r.status, got, tt.want)
			}
		}
		wantProblem(t, s.call(t, key1, "POST", templates+"/nosuch/preview", `{}`), 404, "not_found", "name")
	})
	t.Run("delete", func(t *testing.T) {
		if r := s.call(t, key1, "DELETE", templates+"/%2F", ""); r.status != 204 || len(r.body) != 0 {
			t.Errorf("status %d, %s, want 204 and nothing", r.status, r.body)
		}
		wantProblem(t, s.call(t, key1, "DELETE", templates+"/%2F", ""), 404, "not_found", "name")
		wantProblem(t, s.call(t, key1, "GET", templates+"/%2F", ""), 404, "not_found", "name")
	})
	t.Run("list", func(t *testing.T) {
		for i := range 4 {
			s.call(t, key1, "POST", templates, fmt.Sprintf(`{"name": "t%d", "title": "#x#"}`, 3-i))
		}
		var names []string
		for query := "?limit=2"; query != ""; {
			page := into[restserver.List[restserver.TemplateAnswer]](t, s.call(t, key1, "GET", templates+query, ""), 200)
			for _, one := range page.Items {
				names = append(names, one.Name)
			}
			if query = ""; page.Next != "" {
				query = "?limit=2&cursor=" + url.QueryEscape(page.Next)
			}
		}
		if got := strings.Join(names, ", "); got != "a/b 单, t0, t1, t2, t3" {
			t.Errorf("pages give %s, want them in order of names", got)
		}
		if r := s.call(t, "Bearer key-2", "GET", "/v1/apps/2/templates", ""); strings.TrimSpace(string(r.body)) != `{"items":[]}` {
			t.Errorf("another app has %s, want none", r.body)
		}
	})
}

func TestTemplateRefusals(t *testing.T) {
	s := newSite(t, restserver.Options{})
	for _, tt := range []struct{ name, body, field string }{
		{"without a name", `{"title": "t"}`, "name"},
		{"with a long name", `{"name": "` + strings.Repeat("n", 257) + `", "title": "t"}`, "name"},
		{"without a text", `{"name": "n"}`, "title"},
		{"with a placeholder that does not end", `{"name": "n", "body": "a ${b"}`, "body"},
		{"with a placeholder without a name", `{"name": "n", "title": "${}"}`, "title"},
		{"with a default for nothing", `{"name": "n", "title": "#a#", "defaults": {"b": "1"}}`, "defaults.b"},
		{"with a long text", `{"name": "n", "body": "` + strings.Repeat("b", 4097) + `"}`, "body"},
		{"with a number for a default", `{"name": "n", "title": "#a#", "defaults": {"a": 1}}`, "defaults.a"},
		{"with an unknown field", `{"name": "n", "title": "t", "created": "now"}`, "created"},
		{"with another field in upper case", `{"Name": "n", "title": "t"}`, "Name"},
		{"of nothing", ``, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantProblem(t, s.call(t, key1, "POST", templates, tt.body), 400, "invalid", tt.field)
		})
	}
	for i := range 20 {
		into[map[string]any](t, s.call(t, key1, "POST", templates, fmt.Sprintf(`{"name": "t%d", "title": "t"}`, i)), 201)
	}
	wantProblem(t, s.call(t, key1, "POST", templates, `{"name": "one more", "title": "t"}`), 429, "too_many", "templates")
	if n := len(s.templates[1]); n != 20 {
		t.Errorf("%d templates, want the 20 that were taken", n)
	}
}
