package umengserver_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/push"
)

// TestCodes gives every code of protocols/umeng.md section 12 that a send can trigger here its trigger. Codes of the
// steps before the endpoint are in TestOrder.
func TestCodes(t *testing.T) {
	long := strings.Repeat("x", 2100)
	many := strings.TrimSuffix(strings.Repeat("t,", 501), ",")
	for _, tt := range []struct{ want, name, base, fields string }{
		{"1016", "type missing", androidNotification, `"type":""`},
		{"2048", "type unknown", androidNotification, `"type":"customizedcase"`},
		{"1001", "payload missing", androidNotification, `"payload":null`},
		{"1001", "payload an array", androidNotification, `"payload":[1]`},
		{"1027", "policy a word", androidNotification, `"policy":"soon"`},
		{"1015", "unicast without a token", androidNotification, `"device_tokens":" , "`},
		{"1015", "listcast without tokens", androidNotification, `"type":"listcast","device_tokens":[]`},
		{"2015", "unicast with two tokens", androidNotification, `"device_tokens":"d1,d2"`},
		{"2015", "listcast with 501 tokens", androidNotification, `"type":"listcast","device_tokens":"` + many + `"`},
		{"4020", "token with a space", androidNotification, `"device_tokens":"d 1"`},
		{"5005", "iOS token too long", iosNotification, `"device_tokens":"` + strings.Repeat("a", 129) + `"`},
		{"2047", "no alias type", androidNotification, `"type":"customizedcast","alias":"a"`},
		{"2009", "neither alias nor file", androidNotification, `"type":"customizedcast","alias_type":"uid"`},
		{"2049", "alias and file", androidNotification, `"type":"customizedcast","alias_type":"uid","alias":"a","file_id":"f"`},
		{"2011", "501 aliases", androidNotification, `"type":"customizedcast","alias_type":"uid","alias":"` + many + `"`},
		{"2018", "filecast without a file", androidNotification, `"type":"filecast"`},
		{"2016", "groupcast without a filter", androidNotification, `"type":"groupcast"`},
		{"1018", "customizedcast", androidNotification, `"type":"customizedcast","alias_type":"uid","alias":"a"`},
		{"1018", "customizedcast by file", androidNotification, `"type":"customizedcast","alias_type":"uid","file_id":"f"`},
		{"1018", "filecast", androidNotification, `"type":"filecast","file_id":"f"`},
		{"1018", "groupcast", androidNotification, `"type":"groupcast","filter":{"where":{"and":[{"tag":"a"}]}}`},
		{"1017", "filecast is checked to its end", androidNotification, `"type":"filecast","file_id":"f","production_mode":"x"`},
		{"1004", "no display_type", androidNotification, `"payload":{"body":{}}`},
		{"1019", "unknown display_type", androidNotification, `"payload":{"display_type":"popup"}`},
		{"1019", "scene on Android", androidNotification, `"payload":{"display_type":"scene"}`},
		{"1002", "no body", androidNotification, `"payload":{"display_type":"message"}`},
		{"1003", "message without custom", androidNotification, `"payload":{"display_type":"message","body":{}}`},
		{"1003", "go_custom without custom", androidNotification, note(`"after_open":"go_custom"`)},
		{"1008", "no ticker", androidNotification, note(`"ticker":""`)},
		{"1009", "no title", androidNotification, note(`"title":null`)},
		{"1010", "no text", androidNotification, note(`"text":""`)},
		{"1005", "img is no URL", androidNotification, note(`"img":"ftp://a"`)},
		{"1022", "go_url without url", androidNotification, note(`"after_open":"go_url"`)},
		{"1007", "url is no URL", androidNotification, note(`"after_open":"go_url","url":"javascript:x"`)},
		{"1024", "go_activity without activity", androidNotification, note(`"after_open":"go_activity"`)},
		{"1026", "extra a word", androidNotification, strings.TrimSuffix(note(""), "}") + `,"extra":"a"}`},
		{"2025", "no aps", iosNotification, `"payload":{"k":"v"}`},
		{"5003", "neither alert nor content-available", iosNotification, `"payload":{"aps":{"badge":1}}`},
		{"5004", "alert a number in an array", iosNotification, `"payload":{"aps":{"alert":[1]}}`},
		{"5002", "reserved key", iosNotification, `"payload":{"aps":{"alert":"a"},"d":1}`},
		{"2022", "payload too long for Android", androidNotification, note(`"text":"` + long[:1900] + `"`)},
		{"2022", "payload too long for iOS", iosNotification, `"payload":{"aps":{"alert":"` + long + `"}}`},
		{"2022", "what is around the payload too long", androidNotification, `"callback_params":{"k":"` + strings.Repeat("x", 70_000) + `"}`},
		{"1011", "play_vibrate", androidNotification, note(`"play_vibrate":"x"`)},
		{"1012", "play_lights", androidNotification, note(`"play_lights":"x"`)},
		{"1013", "play_sound", androidNotification, note(`"play_sound":"x"`)},
		{"1017", "production_mode", androidNotification, `"production_mode":"test"`},
		{"2039", "start_time without seconds", androidBroadcast, `"policy":{"start_time":"2023-11-16 06:13"}`},
		{"2039", "expire_time in words", androidNotification, `"policy":{"expire_time":"tomorrow"}`},
		{"2002", "start_time now", androidBroadcast, `"policy":{"start_time":"2023-11-15 06:13:20"}`},
		{"2046", "start_time in eight days", androidBroadcast, `"policy":{"start_time":"2023-11-23 06:13:20"}`},
		{"2003", "expire_time now", androidNotification, `"policy":{"expire_time":"2023-11-15 06:13:20"}`},
		{
			"2003", "expire_time before start_time", androidBroadcast,
			`"policy":{"start_time":"2023-11-16 00:00:00","expire_time":"2023-11-15 23:59:59"}`,
		},
		{"2040", "expire_time in eight days", androidNotification, `"policy":{"expire_time":"2023-11-23 06:13:20"}`},
		{"2024", "max_send_num 0", androidBroadcast, `"policy":{"max_send_num":0}`},
		{"2024", "max_send_num a word", androidBroadcast, `"policy":{"max_send_num":"fast"}`},
		{"1027", "apns_collapse_id of words", iosNotification, `"policy":{"apns_collapse_id":"two words"}`},
		{"2008", "channel_properties a word", androidNotification, `"channel_properties":"x"`},
		{"4020", "token with a control character", androidNotification, `"device_tokens":"d\u0000"`},
		{"4020", "listcast with DEL in a token", androidNotification, `"type":"listcast","device_tokens":"d1,d\u007f2"`},
		{"5005", "iOS token with a control character", iosNotification, `"device_tokens":"d\u0001"`},
		{"1002", "NUL in a title", androidNotification, note(`"title":"\u0000"`)},
		{"1002", "NUL in what opens", androidNotification, note(`"after_open":"go_activity","activity":"a\u0000"`)},
		{"1026", "NUL in a name of extra", androidNotification, strings.TrimSuffix(note(""), "}") + `,"extra":{"\u0000":"a"}}`},
		{"2008", "NUL in a description", androidNotification, `"description":"\u0000"`},
		{"2008", "NUL in a notification channel", androidNotification, `"local_properties":{"channel_id":"\u0000"}`},
		{"1027", "NUL in out_biz_no", androidBroadcast, `"policy":{"out_biz_no":"\u0000"}`},
		{"5004", "NUL in an alert", iosNotification, `"payload":{"aps":{"alert":{"title":"t","body":"\u0000"}}}`},
		{"2025", "NUL in a sound", iosNotification, `"payload":{"aps":{"alert":"a","sound":"\u0000"}}`},
		{"1001", "NUL in a key beside aps", iosNotification, `"payload":{"aps":{"alert":"a"},"\u0000":1}`},
	} {
		t.Run(tt.want+" "+tt.name, func(t *testing.T) {
			h := newHouse()
			r := post(t, h.server(nil), "/api/send", with(tt.base, tt.fields))
			if got := code(r); got != tt.want || len(h.pushes) != 0 {
				t.Errorf("got %q (%v) and %d pushes, want %s and none", got, r.Data["error_msg"], len(h.pushes), tt.want)
			}
		})
	}
	if r := post(t, newHouse().server(nil), "/api/send", with(androidNotification, `"type":"filecast","file_id":"f"`)); !strings.Contains(
		r.str(t, "error_msg"), "filecast is not enabled in this version") {
		t.Errorf("filecast: got %q, want it to say what is missing", r.str(t, "error_msg"))
	}
}

func TestSettingsChangeWhatIsValid(t *testing.T) {
	noTicker := note(`"ticker":""`)
	for _, tt := range []struct{ name, setting, value, base, fields, want string }{
		{"ticker needed", push.SettingUmengRequireTicker, "true", androidNotification, noTicker, "1008"},
		{"ticker optional", push.SettingUmengRequireTicker, "false", androidNotification, noTicker, ""},
		{"ticker never needed on HarmonyOS", push.SettingUmengRequireTicker, "true", harmonyNotification, "", ""},
		{"smaller payload limit", push.SettingUmengPayloadLimit, "40", androidNotification, "", "2022"},
		{
			"larger payload limit", push.SettingUmengPayloadLimit, "4096", androidNotification,
			note(`"text":"` + strings.Repeat("文", 1000) + `"`), "",
		},
		{"shorter life", push.SettingMaxTTL, "1h", androidNotification, `"policy":{"expire_time":"2023-11-15 08:00:00"}`, "2040"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse()
			h.app.Settings[tt.setting] = tt.value
			if got := code(post(t, h.server(nil), "/api/send", with(tt.base, tt.fields))); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestRefusalNamesTheField checks that what the house refuses is named as the sender called it.
func TestRefusalNamesTheField(t *testing.T) {
	for _, tt := range []struct{ base, fields, want string }{
		{androidNotification, note(`"title":"\u0000"`), "payload.body: "},
		{androidBroadcast, `"policy":{"out_biz_no":"\u0000"}`, "policy.out_biz_no: "},
		{androidNotification, `"description":"\u0000"`, "description: "},
		{iosNotification, `"payload":{"aps":{"alert":"\u0000"}}`, "payload.aps.alert: "},
		{iosNotification, `"payload":{"aps":{"alert":"a","thread-id":"\u0000"}}`, "payload.aps: "},
	} {
		got := post(t, newHouse().server(nil), "/api/send", with(tt.base, tt.fields)).str(t, "error_msg")
		if !strings.HasPrefix(got, tt.want) || got == tt.want {
			t.Errorf("%s: got %q, want %q and what is wrong with it", tt.fields, got, tt.want)
		}
	}
}

// TestHouseFailures checks what a sender is told when the house cannot.
func TestHouseFailures(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{errors.New("bug"), "4000"},
		{&push.Error{Kind: push.Internal}, "4000"},
		{fmt.Errorf("wrapped: %w", &push.Error{Kind: push.Unavailable}), "4001"},
		{&push.Error{Kind: push.TooMany}, "2050"},
		{&push.Error{Kind: push.Conflict}, "4002"},
		{&push.Error{Kind: push.Denied}, "2000"},
		{&push.Error{Kind: push.NotFound}, "2021"},
		{&push.Error{Kind: push.TooLarge}, "2022"},
		{&push.Error{Kind: push.Invalid, Field: "message.notification.title"}, "1002"},
		{&push.Error{Kind: push.Invalid, Field: "policy.quiet"}, "1027"},
		{&push.Error{Kind: push.Invalid, Field: "policy.start_at"}, "2002"},
		{&push.Error{Kind: push.Invalid, Field: "policy.expire_at"}, "2040"},
		{&push.Error{Kind: push.Invalid, Field: "audience.devices"}, "4020"},
		{&push.Error{Kind: push.Invalid, Field: "audience"}, "1015"},
		{&push.Error{Kind: push.Invalid, Field: "else"}, "2008"},
	} {
		h := newHouse()
		h.fail = tt.err
		for _, dry := range []string{"", "1"} {
			r := signed("/api/send", androidNotification)
			r.Header.Set("Carillon-Dry-Run", dry)
			if got := code(do(t, h.server(nil), r)); got != tt.want {
				t.Errorf("%v, dry run %q: got %s, want %s", tt.err, dry, got, tt.want)
			}
		}
	}
}
