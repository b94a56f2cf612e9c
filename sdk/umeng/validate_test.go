package umeng_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/carillonpush/carillon/sdk/umeng"
)

// noon is 2026-03-01 12:00:00 in Beijing.
var noon = time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC)

const (
	androidPayload = `"payload":{"display_type":"notification","body":{"ticker":"t","title":"t","text":"t"}}`
	iosPayload     = `"payload":{"aps":{"alert":"a"}}`
)

// The request has one fault after another; each mends the first one and meets the next, in the order of protocols/umeng.md
// section 13.
func TestValidationOrder(t *testing.T) {
	r := map[string]any{
		"type": nil, "policy": "{", "production_mode": "test", "category": "x",
		"payload": map[string]any{
			"extra": "x",
			"body": map[string]any{
				"img": "ftp://x", "sound": []any{1}, "after_open": "go_url", "play_vibrate": "1", "play_lights": "1", "play_sound": "1",
				"url": "", "custom": strings.Repeat("x", 2000),
			},
		},
	}
	payload := r["payload"].(map[string]any)
	body := payload["body"].(map[string]any)
	r["payload"], payload["body"] = 7, "no"
	policy := map[string]any{"start_time": "soon", "expire_time": "2026-03-09 13:00:00", "max_send_num": -1}
	set := func(m map[string]any, k string, v any) func() { return func() { m[k] = v } }
	for _, step := range []struct {
		want umeng.Code
		mend func()
	}{
		{1016, set(r, "type", "anycast")},
		{2048, set(r, "type", "broadcast")},
		{1001, set(r, "payload", payload)},
		{1027, set(r, "policy", policy)},
		{2008, func() { r["category"] = 1; r["type"] = "listcast" }},
		{1015, set(r, "device_tokens", strings.Repeat("a,", 501))},
		{2015, set(r, "device_tokens", "a b")},
		{4020, set(r, "type", "broadcast")},
		{1004, set(payload, "display_type", "scene")},
		{1019, set(payload, "display_type", "notification")},
		{1002, set(payload, "body", body)},
		{1008, set(body, "ticker", "t")},
		{1009, set(body, "title", "t")},
		{1010, set(body, "text", "t")},
		{1005, set(body, "img", "HTTPS://x")},
		{1002, set(body, "sound", "s")},
		{1022, set(body, "url", "file:///x")},
		{1007, set(body, "after_open", "go_activity")},
		{1024, set(body, "after_open", "go_other")},
		{1002, set(body, "after_open", "go_custom")},
		{1026, set(payload, "extra", map[string]any{})},
		{2022, set(body, "custom", nil)},
		{1003, set(body, "after_open", nil)},
		{1011, set(body, "play_vibrate", true)},
		{1012, set(body, "play_lights", "FALSE")},
		{1013, set(body, "play_sound", "true")},
		{1017, set(r, "production_mode", true)},
		{2039, set(policy, "start_time", "2026-03-01 12:00:00")},
		{2002, set(policy, "start_time", "2026-03-08 12:00:01")},
		{2046, set(policy, "start_time", "2026-03-02 12:00:00")},
		{2040, set(policy, "expire_time", "2026-03-02 12:00:00")},
		{2003, set(policy, "expire_time", "2026-03-09 12:00:00")},
		{2024, set(policy, "max_send_num", 5)},
		{0, nil},
	} {
		wire, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		err = decode(t, string(wire)).Validate(umeng.Android, noon, nil)
		if step.want == 0 {
			if err != nil {
				t.Errorf("all mended: got %v, want none", err)
			}
			break
		}
		if !errors.Is(err, step.want) {
			t.Fatalf("got %v, want %v, of %.300s", err, step.want, wire)
		}
		step.mend()
	}
}

func TestValidate(t *testing.T) {
	tokens := func(n int) string { return strings.TrimSuffix(strings.Repeat("a,", n), ",") }
	for _, tt := range []struct {
		name     string
		platform umeng.Platform
		body     string
		want     error
	}{
		{"unicast", umeng.Android, `"type":"unicast","device_tokens":"a",` + androidPayload, nil},
		{"unicast to two", umeng.Android, `"type":"unicast","device_tokens":"a,b",` + androidPayload, umeng.CodeTooManyTokens},
		{"unicast to nobody", umeng.IOS, `"type":"unicast","device_tokens":" , ",` + iosPayload, umeng.CodeNoDeviceTokens},
		{"tokens as an object", umeng.IOS, `"type":"unicast","device_tokens":{},` + iosPayload, umeng.CodeNoDeviceTokens},
		{"500 tokens", umeng.Android, `"type":"listcast","device_tokens":"` + tokens(500) + `",` + androidPayload, nil},
		{"a token with a control character", umeng.Android, `"type":"unicast","device_tokens":"a\u0000",` + androidPayload, umeng.CodeToken},
		{"an iOS token with a control character", umeng.IOS, `"type":"listcast","device_tokens":"a,b\u001bc",` + iosPayload, umeng.CodeIOSToken},
		{"a long iOS token", umeng.IOS, `"type":"unicast","device_tokens":"` + strings.Repeat("a", 129) + `",` + iosPayload, umeng.CodeIOSToken},
		{"customizedcast without alias_type", umeng.IOS, `"type":"customizedcast",` + iosPayload, umeng.CodeNoAliasType},
		{"customizedcast without alias", umeng.IOS, `"type":"customizedcast","alias_type":"t",` + iosPayload, umeng.CodeNoAlias},
		{"customizedcast with both", umeng.IOS, `"type":"customizedcast","alias_type":"t","alias":7,"file_id":"f",` + iosPayload, umeng.CodeAliasAndFile},
		{"501 aliases", umeng.IOS, `"type":"customizedcast","alias_type":"t","alias":"` + tokens(501) + `",` + iosPayload, umeng.CodeTooManyAliases},
		{"customizedcast", umeng.IOS, `"type":"customizedcast","alias_type":"t","alias":7,` + iosPayload, nil},
		{"filecast without file", umeng.IOS, `"type":"filecast",` + iosPayload, umeng.CodeNoFileID},
		{"groupcast without filter", umeng.IOS, `"type":"groupcast",` + iosPayload, umeng.CodeNoFilter},
		{"groupcast with an empty filter", umeng.IOS, `"type":"groupcast","filter":[],` + iosPayload, umeng.CodeNoFilter},
		{"groupcast with a filter that is text", umeng.IOS, `"type":"groupcast","filter":"x",` + iosPayload, umeng.CodeNoFilter},
		{"groupcast by group", umeng.Android, `"type":"groupcast","group_id":"1",` + androidPayload, nil},
		{"groupcast by group on iOS", umeng.IOS, `"type":"groupcast","group_id":"1",` + iosPayload, umeng.CodeNoFilter},
		{"a broken filter that is not used", umeng.IOS, `"type":"broadcast","filter":"x","device_tokens":{},` + iosPayload, nil},

		{"message without custom", umeng.Android, `"type":"broadcast","payload":{"display_type":"message","body":{"custom":""}}`, umeng.CodeNoCustom},
		{"message", umeng.Android, `"type":"broadcast","payload":{"display_type":"message","body":{"custom":{},"play_sound":"x"}}`, nil},
		{"no aps", umeng.IOS, `"type":"broadcast",` + androidPayload, umeng.CodeNoAPS},
		{"aps is text", umeng.IOS, `"type":"broadcast","payload":{"aps":"x"}`, umeng.CodeNoAPS},
		{"no alert", umeng.IOS, `"type":"broadcast","payload":{"aps":[]}`, umeng.CodeNoAlert},
		{"an empty alert", umeng.IOS, `"type":"broadcast","payload":{"aps":{"alert":{}}}`, umeng.CodeNoAlert},
		{"a numeric alert", umeng.IOS, `"type":"broadcast","payload":{"aps":{"alert":5}}`, umeng.CodeAlert},
		{"silent", umeng.IOS, `"type":"broadcast","payload":{"aps":{"content-available":1}}`, nil},
		{"reserved key", umeng.IOS, `"type":"broadcast","payload":{"aps":{"alert":"a"},"p":null}`, umeng.CodeReservedKey},
		{"strangers of Android", umeng.IOS, `"type":"broadcast","payload":{"aps":{"alert":"a"},"display_type":"x","body":{"play_sound":"x"},"extra":"x"}`, nil},
		{"HarmonyOS needs no ticker", umeng.Harmony, `"type":"broadcast","payload":{"display_type":"notification","body":{"title":"t","body":"t","after_open":"go_ability","uri":"u"}}`, nil},
		{"ability of nothing", umeng.Harmony, `"type":"broadcast","payload":{"display_type":"notification","body":{"title":"t","text":"t","after_open":"go_ability"}}`, umeng.CodeBody},
		{"ability on Android", umeng.Android, `"type":"broadcast","payload":{"display_type":"notification","body":{"ticker":"t","title":"t","text":"t","after_open":"go_ability","uri":"u"}}`, umeng.CodeBody},
		{"scene", umeng.Harmony, `"type":"unicast","device_tokens":"a","payload":{"display_type":"scene","channels_body":{"harmony":{"type":"live_view"}}}`, nil},
		{"scene without content", umeng.Harmony, `"type":"unicast","device_tokens":"a","payload":{"display_type":"scene"}`, umeng.CodeBody},
		{"scene for all", umeng.Harmony, `"type":"broadcast","payload":{"display_type":"scene","channels_body":{"harmony":{}}}`, umeng.CodeDisplayType},

		{"mipush of another kind", umeng.Android, `"type":"broadcast","mipush":"yes",` + androidPayload, umeng.CodeJSON},
		{"mipush elsewhere", umeng.IOS, `"type":"broadcast","mipush":"yes",` + iosPayload, nil},
		{"channel properties are text", umeng.Android, `"type":"broadcast","channel_properties":"x",` + androidPayload, umeng.CodeJSON},
		{"strategy out of range", umeng.Android, `"type":"broadcast","policy":{"channel_strategy":{"default":5}},` + androidPayload, umeng.CodePolicy},
		{"strategy is a number", umeng.Android, `"type":"broadcast","policy":{"channel_strategy":3},` + androidPayload, umeng.CodePolicy},
		{"in_app is text", umeng.Android, `"type":"broadcast","policy":{"in_app":{"in_app":"maybe"}},` + androidPayload, umeng.CodePolicy},
		{"rate of zero", umeng.Android, `"type":"broadcast","policy":{"max_send_num":0},` + androidPayload, umeng.CodeSendRate},
		{"rate is text", umeng.Android, `"type":"broadcast","policy":{"max_send_num":"fast"},` + androidPayload, umeng.CodeSendRate},
		{"long collapse id", umeng.IOS, `"type":"broadcast","policy":{"apns_collapse_id":"` + strings.Repeat("x", 65) + `"},` + iosPayload, umeng.CodePolicy},
		{"start of a single message is ignored", umeng.IOS, `"type":"unicast","device_tokens":"a","policy":{"start_time":"x"},` + iosPayload, nil},
		{"expiry of a single message is not", umeng.IOS, `"type":"unicast","device_tokens":"a","policy":{"expire_time":"2026-03-01 12:00:00"},` + iosPayload, umeng.CodeExpireTime},
		{"a fraction of a second", umeng.IOS, `"type":"broadcast","policy":{"expire_time":"2026-03-01 13:00:00.5"},` + iosPayload, umeng.CodeTimeFormat},
		{"a day that is not", umeng.IOS, `"type":"broadcast","policy":{"start_time":"2026-02-30 13:00:00"},` + iosPayload, umeng.CodeTimeFormat},
		{"time is an object", umeng.IOS, `"type":"broadcast","policy":{"start_time":{}},` + iosPayload, umeng.CodeTimeFormat},
	} {
		if err := decode(t, "{"+tt.body+"}").Validate(tt.platform, noon, nil); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestValidateOptions(t *testing.T) {
	r := umeng.Broadcast(umeng.Notification("title", "text"))
	r.Payload.Body.Ticker = ""
	if err := r.Validate(umeng.Android, noon, nil); !errors.Is(err, umeng.CodeNoTicker) {
		t.Errorf("without ticker: got %v, want code 1008", err)
	}
	if err := r.Validate(umeng.Android, noon, &umeng.ValidateOptions{OptionalTicker: true}); err != nil {
		t.Errorf("ticker optional: got %v, want none", err)
	}
	size, err := r.Payload.Size()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		limit int
		want  error
	}{{size, nil}, {size - 1, umeng.CodePayloadTooLong}} {
		err := r.Validate(umeng.Android, noon, &umeng.ValidateOptions{OptionalTicker: true, PayloadLimit: tt.limit})
		if !errors.Is(err, tt.want) {
			t.Errorf("%d bytes under a limit of %d: got %v, want %v", size, tt.limit, err, tt.want)
		}
	}
}

func TestPlatformLimits(t *testing.T) {
	for _, tt := range []struct {
		platform umeng.Platform
		payload  func(n int) *umeng.Payload
		limit    int
	}{
		{umeng.Android, func(n int) *umeng.Payload { return umeng.Message(strings.Repeat("x", n)) }, 1840},
		{umeng.Harmony, func(n int) *umeng.Payload { return umeng.Message(strings.Repeat("x", n)) }, 2048},
		{umeng.IOS, func(n int) *umeng.Payload { return umeng.AppleNotification("t", strings.Repeat("x", n)) }, 2012},
	} {
		frame, err := tt.payload(0).Size()
		if err != nil {
			t.Fatal(err)
		}
		if tt.platform == umeng.IOS { // an empty body has no key of its own
			frame += len(`,"body":""`)
		}
		for over, want := range []error{nil, umeng.CodePayloadTooLong} {
			p := tt.payload(tt.limit - frame + over)
			if size, _ := p.Size(); size != tt.limit+over {
				t.Errorf("%s: built %d bytes, want %d", tt.platform, size, tt.limit+over)
			}
			if err := umeng.Broadcast(p).Validate(tt.platform, noon, nil); !errors.Is(err, want) {
				t.Errorf("%s, %d bytes over: got %v, want %v", tt.platform, over, err, want)
			}
		}
	}
}

func TestTimes(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.ParseInLocation(umeng.TimeLayout, s, umeng.Beijing)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, tt := range []struct {
		name          string
		typ           umeng.Type
		policy        *umeng.Policy
		loc           *time.Location
		start, expire time.Time
	}{
		{"no policy", umeng.TypeBroadcast, nil, nil, time.Time{}, noon.Add(72 * time.Hour)},
		{"scheduled", umeng.TypeBroadcast, &umeng.Policy{StartTime: "2026-03-02 12:00:00"}, nil, at("2026-03-02 12:00:00"), at("2026-03-05 12:00:00")},
		{"latest of all", umeng.TypeBroadcast, &umeng.Policy{StartTime: "2026-03-08 12:00:00", ExpireTime: "2026-03-15 12:00:00"}, nil, at("2026-03-08 12:00:00"), at("2026-03-15 12:00:00")},
		{"in another zone", umeng.TypeBroadcast, &umeng.Policy{ExpireTime: "2026-03-01 12:00:00"}, time.UTC, time.Time{}, noon.Add(8 * time.Hour)},
		{"single message", umeng.TypeUnicast, &umeng.Policy{StartTime: "2020-01-01 00:00:00"}, nil, time.Time{}, noon.Add(72 * time.Hour)},
	} {
		r := &umeng.SendRequest{Type: tt.typ, Policy: tt.policy}
		start, expire, err := r.Times(noon, tt.loc)
		if err != nil || !start.Equal(tt.start) || !expire.Equal(tt.expire) {
			t.Errorf("%s: got %v, %v, %v, want %v, %v", tt.name, start, expire, err, tt.start, tt.expire)
		}
	}
	if got := umeng.FormatTime(noon); got != "2026-03-01 12:00:00" {
		t.Errorf("FormatTime: got %s", got)
	}
	for sent, want := range map[int]int{0: 0, 1: 1000, 1000: 1000, 5000: 5000} {
		if got := (&umeng.Policy{MaxSendNum: sent}).Rate(); got != want {
			t.Errorf("Rate of %d: got %d, want %d", sent, got, want)
		}
	}
}
