package restserver_test

import (
	"fmt"
	"testing"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/restserver"
)

// Half of a surrogate pair is no character, and U+FFFD is one: what a body says must not become the other.
func TestHalfACharacterIsRefused(t *testing.T) {
	s := newSite(t, restserver.Options{})
	one, dev := s.register(t)
	path := "/v1/apps/1/devices/" + string(one.DeviceID)
	before := fmt.Sprint(s.devices, s.tags, s.pushes)
	for _, tt := range []struct{ name, auth, method, path, body, field string }{
		{"a tag", key1, "PUT", path + "/tags", `{"tags": ["a", "\udfff"]}`, "tags[1]"},
		{"a device's alias", dev, "PUT", "/device/v1/me/alias", `{"value": "x\ud83d"}`, "value"},
		{"an account", dev, "PUT", "/device/v1/me/account", `{"account": "\ud83d\ud83d"}`, "account"},
		{"an attribute's value", dev, "PATCH", "/device/v1/me", `{"attributes": {"city": "\udfff"}}`, "attributes.city"},
		{"a device to import", key1, "POST", "/v1/apps/1/devices/import", `{"devices": [{"device_id": "a"}, {"device_id": "\udfff"}]}`, "devices[1].device_id"},
		{"an expression", key1, "POST", "/v1/apps/1/pushes", `{"audience": {"where": {"or": [{"tag": "a"}, {"tag": "\udfff"}]}}, "message": {"data": 1}}`, "audience.where.or[1].tag"},
		{"a name to send to", key1, "POST", "/v1/apps/1/pushes", `{"audience": {"accounts": ["\udfff"]}, "message": {"data": 1}}`, "audience.accounts[0]"},
		{"data", key1, "POST", "/v1/apps/1/pushes", `{"audience": {"all": true}, "message": {"data": {"a": "\udfff"}}}`, "message.data.a"},
		{"an extra's name", key1, "POST", "/v1/apps/1/pushes", `{"audience": {"all": true}, "message": {"data": 1, "extras": {"\udfff": 1}}}`, "message.extras"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantProblem(t, s.call(t, tt.auth, tt.method, tt.path, tt.body), 400, "invalid", tt.field)
			if got := fmt.Sprint(s.devices, s.tags, s.pushes); got != before {
				t.Errorf("something changed: %s, want %s", got, before)
			}
		})
	}
	t.Run("whole characters are taken", func(t *testing.T) {
		into[push.Device](t, s.call(t, key1, "PUT", path+"/tags", `{"tags": ["\ud83d\ude00", "\ufffd", "\\ud83d"]}`), 200)
		if got, want := s.labels(t, one.DeviceID), `\ud83d � 😀 |  |`; got != want {
			t.Errorf("the device has %q, want %q", got, want)
		}
	})
}
