package umengserver_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/facade/umengserver"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/sdk/umeng"
)

// Which sends are counted under which quota: all that the service knows, whether they are served yet or not.
func TestQuotasOfSends(t *testing.T) {
	known := map[string]bool{}
	for _, q := range push.Quotas() {
		known[q.Setting] = true
	}
	for _, tt := range []struct {
		name string
		in   umeng.SendRequest
		want string // the setting
	}{
		{"unicast", umeng.SendRequest{Type: umeng.TypeUnicast}, ""},
		{"listcast", umeng.SendRequest{Type: umeng.TypeListcast}, ""},
		{"broadcast", umeng.SendRequest{Type: umeng.TypeBroadcast}, "umeng.broadcasts_per_day"},
		{"broadcast in production mode", umeng.SendRequest{Type: umeng.TypeBroadcast, ProductionMode: umeng.True}, "umeng.broadcasts_per_day"},
		{"broadcast in test mode", umeng.SendRequest{Type: umeng.TypeBroadcast, ProductionMode: umeng.False}, ""},
		{"groupcast", umeng.SendRequest{Type: umeng.TypeGroupcast}, "umeng.groupcasts_per_minute"},
		{"groupcast in test mode", umeng.SendRequest{Type: umeng.TypeGroupcast, ProductionMode: umeng.False}, ""},
		{"filecast", umeng.SendRequest{Type: umeng.TypeFilecast, FileID: "f"}, "umeng.file_sends_per_hour"},
		{"customizedcast with a file", umeng.SendRequest{Type: umeng.TypeCustomizedcast, FileID: "f"}, "umeng.file_sends_per_hour"},
		{"customizedcast with aliases", umeng.SendRequest{Type: umeng.TypeCustomizedcast, Aliases: []string{"a"}}, ""},
	} {
		for platform, credential := range map[push.Platform]string{push.Android: "umeng.android", push.IOS: "umeng.ios", push.Harmony: "umeng.harmony"} {
			var want []push.Use
			if tt.want != "" {
				want = []push.Use{{Setting: tt.want, Credential: credential}}
			}
			if got := umengserver.UsesOf(platform, &tt.in); !slices.Equal(got, want) {
				t.Errorf("%s on %v: got %+v, want %+v", tt.name, platform, got, want)
			}
			if tt.want != "" && !known[tt.want] {
				t.Errorf("%s: no quota has the setting %s", tt.name, tt.want)
			}
		}
	}
}

func TestUsesReachTheHouse(t *testing.T) {
	for _, tt := range []struct {
		name, base, fields, dry string
		want                    []push.Use
	}{
		{"a broadcast", androidBroadcast, "", "", []push.Use{{Setting: "umeng.broadcasts_per_day", Credential: "umeng.android"}}},
		{"of another appkey", with(iosNotification, `"type":"broadcast"`), "", "", []push.Use{{Setting: "umeng.broadcasts_per_day", Credential: "umeng.ios"}}},
		{"in test mode", androidBroadcast, `"production_mode":"false"`, "", nil},
		{"tried only", androidBroadcast, "", "1", nil},
		{"a single message", androidNotification, "", "", nil},
	} {
		h := newHouse()
		r := signed("/api/send", with(tt.base, tt.fields))
		r.Header.Set("Carillon-Dry-Run", tt.dry)
		if got := do(t, h.server(nil), r); code(got) != "" {
			t.Errorf("%s: got %v", tt.name, got.Data)
		}
		if got := h.last(t).Uses; !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// A quota that is used up is 2050 with the quota in words, whichever it is.
func TestQuotaIsUsedUp(t *testing.T) {
	app := push.App{ID: 7, TimeZone: "UTC", Settings: push.Settings{}}
	for setting, words := range map[string]string{
		"umeng.broadcasts_per_day": "10 broadcasts a day", "umeng.groupcasts_per_minute": "5 groupcasts a minute",
		"umeng.file_sends_per_hour": "300 filecasts",
	} {
		h := newHouse()
		h.fail = push.Wrap("dispatch.Accept", push.Charges([]push.Use{{Setting: setting, Credential: "umeng.android"}}, app, now)[0].Refusal(time.Minute))
		got := post(t, h.server(nil), "/api/send", androidBroadcast)
		if code(got) != "2050" || !strings.Contains(got.str(t, "error_msg"), words) || got.status != http.StatusBadRequest {
			t.Errorf("%s: got %v, want 2050 and %q", setting, got.Data, words)
		}
	}
}
