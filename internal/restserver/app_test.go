package restserver_test

import (
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/restserver"
)

func TestApps(t *testing.T) {
	s := newSite(t, restserver.Options{})
	r := s.call(t, admin, "POST", "/v1/apps", `{"name": "shop", "packages": {"android": "com.example"}, "settings": {"inbox.limit": 7, "umeng.require_ticker": false},
		"native": {"api_key": "mine"}, "umeng": {"android": {"appkey": "a"}}}`)
	card := into[map[string]any](t, r, 201)
	app := card["app"].(map[string]any)
	settings := app["settings"].(map[string]any)
	if app["id"] != "3" || app["time_zone"] != "Asia/Shanghai" || settings["inbox.limit"] != "7" || settings["umeng.require_ticker"] != "false" ||
		card["native"].(map[string]any)["api_key"] != "mine" || app["packages"].(map[string]any)["android"] != "com.example" {
		t.Errorf("card %s lost something of the body", r.body)
	}
	into[restserver.List[push.Push]](t, s.call(t, "Bearer mine", "GET", "/v1/apps/shop/pushes", ""), 200)

	for _, tt := range []struct {
		name, method, path, body, code, field string
		status                                int
	}{
		{"name taken", "POST", "/v1/apps", `{"name": "shop"}`, "conflict", "name", 409},
		{"no name", "POST", "/v1/apps", `{}`, "invalid", "name", 400},
		{"name that is a number", "POST", "/v1/apps", `{"name": "12"}`, "invalid", "name", 400},
		{"unknown platform", "POST", "/v1/apps", `{"name": "x", "packages": {"symbian": "y"}}`, "invalid", "packages.symbian", 400},
		{"unknown setting", "POST", "/v1/apps", `{"name": "x", "settings": {"nonsense": "1"}}`, "invalid", "settings.nonsense", 400},
		{"setting out of range", "PATCH", "/v1/apps/1", `{"settings": {"inbox.limit": 0}}`, "invalid", "settings.inbox.limit", 400},
		{"setting of a wrong type", "PATCH", "/v1/apps/1", `{"settings": {"inbox.limit": [1]}}`, "invalid", "settings.inbox.limit", 400},
		{"unknown time zone", "PATCH", "/v1/apps/1", `{"time_zone": "Asia/Atlantis"}`, "invalid", "time_zone", 400},
		{"id cannot be changed", "PATCH", "/v1/apps/1", `{"id": "9"}`, "invalid", "id", 400},
		{"credentials cannot be patched", "PATCH", "/v1/apps/1", `{"native": {}}`, "invalid", "native", 400},
		{"unknown credential", "POST", "/v1/apps", `{"name": "x", "umeng": {"windows": {}}}`, "invalid", "umeng.windows", 400},
		{"string for a number", "POST", "/v1/apps", `{"name": "x", "aliyun": {"app_key": "1"}}`, "invalid", "aliyun.app_key", 400},
		{"unknown kind of keys", "POST", "/v1/apps/1/rotate-keys", `{"kind": "nonsense"}`, "invalid", "kind", 400},
		{"no kind of keys", "POST", "/v1/apps/1/rotate-keys", `{}`, "invalid", "kind", 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantProblem(t, s.call(t, admin, tt.method, tt.path, tt.body), tt.status, tt.code, tt.field)
		})
	}

	patched := into[push.App](t, s.call(t, admin, "PATCH", "/v1/apps/shop",
		`{"name": "store", "packages": {"ios": "com.example.ios", "android": ""}, "settings": {"inbox.limit": null}}`), 200)
	if patched.Name != "store" || patched.TimeZone != "Asia/Shanghai" || patched.Packages[push.IOS] != "com.example.ios" || len(s.apps[2].Packages) != 1 ||
		len(patched.Settings) != 1 || patched.Settings["umeng.require_ticker"] != "false" {
		t.Errorf("patched app %+v, want a new name, the ios package and one setting left", patched)
	}
	if got := into[push.AppCard](t, s.call(t, admin, "GET", "/v1/apps/store", ""), 200); got.App.ID != 3 || got.Native.APIKey == "" {
		t.Errorf("card %+v, want app 3 with its key", got)
	}
	if got := into[push.AppCard](t, s.call(t, admin, "POST", "/v1/apps/1/rotate-keys", `{"kind": "native"}`), 200); got.Native.APIKey != "rotated-1" {
		t.Errorf("rotated key %q, want rotated-1", got.Native.APIKey)
	}

	bare := s.call(t, admin, "POST", "/v1/apps", `{"name": "bare", "packages": {"ios": ""}}`)
	if !strings.Contains(string(bare.body), `"packages":{"android":"","harmony":"","ios":""}`) || len(s.apps[3].Packages) != 0 {
		t.Errorf("card %s of %v, want all three packages, and none kept", bare.body, s.apps[3])
	}
	if r := s.call(t, admin, "DELETE", "/v1/apps/bare", ""); r.status != 204 {
		t.Errorf("delete answered %d, want 204", r.status)
	}

	first := s.call(t, admin, "GET", "/v1/apps?limit=2", "")
	page := into[restserver.List[push.App]](t, first, 200)
	rest := into[restserver.List[push.App]](t, s.call(t, admin, "GET", "/v1/apps?limit=2&cursor="+page.Next, ""), 200)
	if len(page.Items) != 2 || page.Items[0].ID != 3 || len(rest.Items) != 1 || rest.Items[0].ID != 1 || rest.Next != "" {
		t.Errorf("pages %+v and %+v, want 3 2 and 1", page, rest)
	}
	if strings.Contains(string(first.body), "api_key") || strings.Contains(string(first.body), "null") {
		t.Errorf("list %s, want no credentials and no null", first.body)
	}
	wantProblem(t, s.call(t, admin, "GET", "/v1/apps?cursor=x", ""), 400, "invalid", "cursor")

	if r := s.call(t, admin, "DELETE", "/v1/apps/store", ""); r.status != 204 || len(r.body) != 0 {
		t.Errorf("delete answered %d %s, want 204 and nothing", r.status, r.body)
	}
	wantProblem(t, s.call(t, admin, "GET", "/v1/apps/store", ""), 404, "not_found", "app")
}
