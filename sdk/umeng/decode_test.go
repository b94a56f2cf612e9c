package umeng_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/carillonpush/carillon/sdk/umeng"
)

func decode(t *testing.T, body string) *umeng.SendRequest {
	t.Helper()
	r, err := umeng.DecodeSend([]byte(body))
	if err != nil {
		t.Fatalf("DecodeSend(%s): %v", body, err)
	}
	return r
}

// Each row is a rule of protocols/umeng.md section 4.2: the two bodies mean the same.
func TestReadingRules(t *testing.T) {
	for _, tt := range []struct{ name, sloppy, plain string }{
		{"empty strings are absent", `{"alias":"","file_id":"","filter":"","description":"","policy":{"start_time":""},"channel_properties":"","mipush":"","category":""}`, `{"policy":{}}`},
		{"nulls are absent", `{"alias":null,"filter":null,"policy":null,"payload":null,"production_mode":null,"receipt_url":null}`, `{}`},
		{"an empty body field is absent", `{"payload":{"body":{"url":"","custom":"","builder_id":"","badge":null}}}`, `{"payload":{"body":{}}}`},
		{"empty arrays are empty objects", `{"policy":[],"channel_properties":[ ],"payload":{"body":[],"extra":[]},"local_properties":[]}`, `{"policy":{},"channel_properties":{},"payload":{"body":{},"extra":{}},"local_properties":{}}`},
		{"double-encoded objects", `{"payload":"{\"display_type\":\"message\",\"body\":{\"custom\":\"x\"}}","policy":"{\"out_biz_no\":\"1\"}","filter":" {\"where\": {\"tag\":\"a\"}}"}`, `{"payload":{"display_type":"message","body":{"custom":"x"}},"policy":{"out_biz_no":"1"},"filter":{"where":{"tag":"a"}}}`},
		{"arrays for lists", `{"device_tokens":["a"," b ",null,"c,d"],"alias":["x",7]}`, `{"device_tokens":"a,b,c,d","alias":"x,7"}`},
		{"spaces are trimmed", `{"device_tokens":" a, ,b,","alias":"x , y","mi_activity":"com.x.Y ","type":" unicast "}`, `{"device_tokens":"a,b","alias":"x,y","mi_activity":"com.x.Y","type":"unicast"}`},
		{"numbers and their text", `{"timestamp":1700000000,"alias":7,"category":"1","policy":{"max_send_num":"1000","channel_strategy":{"default":"3"}}}`, `{"timestamp":"1700000000","alias":"7","category":1,"policy":{"max_send_num":1000.0,"channel_strategy":{"default":3}}}`},
		{"appKey", `{"appKey":"k"}`, `{"appkey":"k"}`},
		{"appkey has precedence", `{"APPKEY":"x","appkey":"k","appKey":"y"}`, `{"appkey":"k"}`},
		{"an empty appkey has not", `{"appkey":"","appKey":"k"}`, `{"appkey":"k"}`},
		{"unknown keys", `{"foo":{"bar":[]},"policy":{"x":1}}`, `{"policy":{}}`},
		{"older id key", `{"thirdparty":"9"}`, `{"thirdparty_id":"9"}`},
		{"the last of repeated keys", `{"type":"unicast","type":"listcast"}`, `{"type":"listcast"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, want := decode(t, tt.sloppy), decode(t, tt.plain)
			opts := cmp.Options{cmpopts.IgnoreUnexported(umeng.SendRequest{}), cmpopts.IgnoreFields(umeng.Payload{}, "Raw")}
			if d := cmp.Diff(want, got, opts); d != "" {
				t.Errorf("-plain +sloppy:\n%s", d)
			}
		})
	}
}

func TestReadValues(t *testing.T) {
	r := decode(t, `{"production_mode":false,"mipush":"TRUE","mi_activity":" a.B ","device_tokens":["a",2],"thirdparty_id":5,"feedback":{},
	 "payload":{"display_type":"notification","extra":"{\"k\":12345678901234567890}",
	  "body":"{\"title\":1,\"play_sound\":true,\"play_lights\":\" False \",\"play_vibrate\":\"x\",\"badge\":\"7\",\"custom\":{\"a\": [1]},\"body\":\"b\"}",
	  "aps":"{\"alert\":\"a\"}","own":{"x":1}},
	 "policy":{"in_app":{"in_app":true},"notification_closed_filter":"false"},
	 "channel_properties":{"channel_activity":"c.D ","huawei_channel_importance":"LOW","unknown":[1, 2],"channel_fcm":1}}`)
	b := r.Payload.Body
	for _, tt := range []struct {
		name      string
		got, want any
	}{
		{"production_mode", r.ProductionMode, umeng.False},
		{"mipush", r.MiPush, umeng.True},
		{"tokens", strings.Join(r.DeviceTokens, "|"), "a|2"},
		{"third party's id", r.ThirdpartyID, "5"},
		{"title", b.Title, "1"},
		{"text under its other name", b.Text, "b"},
		{"play_sound", b.PlaySound, umeng.True},
		{"play_lights", b.PlayLights, umeng.False},
		{"invalid play_vibrate is kept", b.PlayVibrate, umeng.Flag("x")},
		{"badge", *b.AddBadge, 7},
		{"custom object", b.CustomText(), `{"a":[1]}`},
		{"extra keeps digits", r.Payload.Extra["k"], json.Number("12345678901234567890")},
		{"alert", *r.Payload.APS.Alert, umeng.Alert{Body: "a"}},
		{"in_app", r.Policy.InApp, umeng.True},
		{"closed filter", r.Policy.NotificationClosedFilter, umeng.False},
		{"newer activity wins", r.VendorActivity(), "c.D"},
		{"channel number", r.ChannelProperties.ChannelFCM, "1"},
		{"channel properties pass through", string(r.ChannelProperties.Raw), `{"channel_activity":"c.D ","huawei_channel_importance":"LOW","unknown":[1,2],"channel_fcm":1}`},
	} {
		if got, want := tt.got, tt.want; got != want {
			t.Errorf("%s: got %#v, want %#v", tt.name, got, want)
		}
	}
	if r.ChannelProperties = nil; r.VendorActivity() != "a.B" {
		t.Errorf("older activity: got %q, want a.B", r.VendorActivity())
	}
}

func TestReadAPS(t *testing.T) {
	for _, tt := range []struct {
		name, payload string
		check         func(p *umeng.Payload) bool
	}{
		{"badge number", `{"aps":{"badge":1}}`, func(p *umeng.Payload) bool { return *p.APS.Badge == "1" }},
		{"relative badge", `{"aps":{"badge":"+1"}}`, func(p *umeng.Payload) bool { return *p.APS.Badge == "+1" }},
		{"badge that clears", `{"aps":{"badge":""}}`, func(p *umeng.Payload) bool { return p.APS.Badge != nil && *p.APS.Badge == "" }},
		{"no badge", `{"aps":{"badge":null}}`, func(p *umeng.Payload) bool { return p.APS.Badge == nil }},
		{"silent as text", `{"aps":{"content-available":"1"}}`, func(p *umeng.Payload) bool { return p.APS.ContentAvailable }},
		{"not silent", `{"aps":{"content-available":0}}`, func(p *umeng.Payload) bool { return !p.APS.ContentAvailable }},
		{"alert object", `{"aps":{"alert":{"title":"t","subtitle":"s","body":"b","loc-key":"l"}}}`, func(p *umeng.Payload) bool {
			return *p.APS.Alert == umeng.Alert{Title: "t", Subtitle: "s", Body: "b"} && strings.Contains(string(p.APS.Raw), `"loc-key":"l"`)
		}},
		{"critical sound", `{"aps":{"sound":{"critical":1}}}`, func(p *umeng.Payload) bool {
			return p.APS.Sound == "" && string(p.APS.Raw) == `{"sound":{"critical":1}}`
		}},
		{"own keys of an iOS app", `{"aps":{},"extra":{"a":1},"body":"b","x":[]}`, func(p *umeng.Payload) bool {
			return len(p.Custom) == 3 && p.Custom["body"] == "b" && p.Body == nil && p.Extra == nil
		}},
		{"strangers of Android", `{"aps":{},"display_type":"notification","body":{},"extra":{},"x":1}`, func(p *umeng.Payload) bool {
			return len(p.Custom) == 1 && p.Body != nil
		}},
	} {
		if p := decode(t, `{"payload":`+tt.payload+`}`).Payload; !tt.check(p) {
			t.Errorf("%s: got %+v from %s", tt.name, p, tt.payload)
		}
	}
}

func TestDecodeRefusesWhatIsNoObject(t *testing.T) {
	for _, body := range []string{
		"", " ", "null", "[]", `""`, "1", "{", `{"a":}`, `{"a":1}x`, `{"a":1}{"a":1}`, "a=1&b=2", `{"a":"` + "\n" + `"}`,
		strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65), strings.Repeat("[", 1_000_000),
	} {
		_, err := umeng.DecodeSend([]byte(body))
		_, err2 := umeng.DecodeTask([]byte(body))
		if !errors.Is(err, umeng.CodeJSON) || !errors.Is(err2, umeng.CodeJSON) {
			t.Errorf("%.40q: got %v and %v, want code 2008", body, err, err2)
		}
	}
	deep := strings.Repeat(`{"a":`, 64) + `"{{{{["` + strings.Repeat("}", 64)
	if _, err := umeng.DecodeSend([]byte(deep)); err != nil {
		t.Errorf("64 levels: got %v, want none", err)
	}
}

func TestRootChecks(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for _, tt := range []struct {
		name, timestamp string
		want            error
	}{
		{"seconds as text", `"1700000000"`, nil},
		{"seconds as number", `1700000000`, nil},
		{"milliseconds", `1700000000123`, nil},
		{"ten minutes ago", `"1699999400"`, nil},
		{"in ten minutes", `"1700000600000"`, nil},
		{"missing", ``, umeng.CodeNoTimestamp},
		{"empty", `""`, umeng.CodeNoTimestamp},
		{"null", `null`, umeng.CodeNoTimestamp},
		{"nine digits", `170000000`, umeng.CodeTimestamp},
		{"eleven digits", `"17000000000"`, umeng.CodeTimestamp},
		{"letters", `"17000000zz"`, umeng.CodeTimestamp},
		{"negative", `-170000000`, umeng.CodeTimestamp},
		{"exponent", `1.70000e+09`, umeng.CodeTimestamp},
		{"object", `{}`, umeng.CodeTimestamp},
		{"just too old", `1699999399999`, umeng.CodeTimestampWindow},
		{"just too new", `1700000600001`, umeng.CodeTimestampWindow},
		{"all zero", `"0000000000"`, umeng.CodeTimestampWindow},
	} {
		body := `{}`
		if tt.timestamp != "" {
			body = `{"timestamp":` + tt.timestamp + `}`
		}
		root, err := umeng.ParseRoot([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if got := root.CheckTimestamp(now); !errors.Is(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
		if key, err := root.AppKey(); !errors.Is(err, umeng.CodeNoAppKey) {
			t.Errorf("%s: got appkey %q and %v, want code 1000", tt.name, key, err)
		}
	}
}

func TestDecodeTask(t *testing.T) {
	got, err := umeng.DecodeTask([]byte(`{"appKey":"k","timestamp":1700000000,"task_id":12,"production_mode":"true","policy":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	if want := (umeng.TaskRequest{AppKey: "k", Timestamp: "1700000000", TaskID: "12"}); *got != want {
		t.Errorf("got %+v, want %+v", *got, want)
	}
	if err := got.Validate(); err != nil {
		t.Errorf("got %v, want none", err)
	}
	for _, body := range []string{`{}`, `{"task_id":" "}`, `{"task_id":null}`, `{"task_id":{}}`} {
		r, err := umeng.DecodeTask([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Validate(); !errors.Is(err, umeng.CodeNoTaskID) {
			t.Errorf("%s: got %v, want code 2053", body, err)
		}
	}
}

func TestReadBounds(t *testing.T) {
	r := decode(t, `{"device_tokens":"`+strings.Repeat("a,", 100_000)+`","description":"`+"\xff\xfe"+`"}`)
	if got := len(r.DeviceTokens); got != umeng.MaxTokens+1 {
		t.Errorf("got %d tokens, want one more than %d", got, umeng.MaxTokens)
	}
	if got := r.Description; got != "\uFFFD" {
		t.Errorf("bytes that are not UTF-8: got %q", got)
	}
}

func TestFlagDefaults(t *testing.T) {
	for _, tt := range []struct {
		flag            umeng.Flag
		orTrue, orFalse bool
		valid           bool
	}{
		{"", true, false, true},
		{umeng.FlagOf(true), true, true, true},
		{umeng.FlagOf(false), false, false, true},
		{"yes", true, false, false},
	} {
		if tt.flag.Or(true) != tt.orTrue || tt.flag.Or(false) != tt.orFalse || tt.flag.Valid() != tt.valid {
			t.Errorf("%q: got %v, %v, valid %v", tt.flag, tt.flag.Or(true), tt.flag.Or(false), tt.flag.Valid())
		}
	}
}

// The size does not depend on how a sender escapes.
func TestPayloadSize(t *testing.T) {
	plain := `{"display_type":"message","body":{"custom":"你<好/\u2028😀"}}`
	want := len(`{"display_type":"message","body":{"custom":"`) + 3 + 1 + 3 + 1 + 3 + 4 + len(`"}}`)
	for _, payload := range []string{
		plain,
		`{ "display_type" : "message",` + "\n\t" + `"body":{"custom":"\u4f60\u003c\u597d\/\u2028\ud83d\ude00"} }`,
		`"{\"display_type\":\"message\",\"body\":{\"custom\":\"你<好/\\u2028😀\"}}"`,
	} {
		if got, err := decode(t, `{"payload":`+payload+`}`).Payload.Size(); got != want || err != nil {
			t.Errorf("%s: got %d, %v, want %d", payload, got, err, want)
		}
	}
	if got, err := umeng.Message("你<好/\u2028😀").Size(); got != want || err != nil {
		t.Errorf("built: got %d, %v, want %d", got, err, want)
	}
	if got, err := umeng.Message("\"\\\n\r\t\b\f\x01").Size(); got != len(`{"body":{"custom":"\"\\\n\r\t\b\f\u0001"},"display_type":"message"}`) || err != nil {
		t.Errorf("escapes: got %d, %v", got, err)
	}
}

// Whatever is read can be validated for every platform, and written and read again without change.
func FuzzDecodeSend(f *testing.F) {
	now := time.Unix(1_700_000_000, 0)
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := umeng.DecodeSend(body)
		if _, taskErr := umeng.DecodeTask(body); (err == nil) != (taskErr == nil) {
			t.Fatalf("send %v, task %v", err, taskErr)
		}
		if err != nil {
			if !errors.Is(err, umeng.CodeJSON) {
				t.Fatalf("got %v, want code 2008", err)
			}
			return
		}
		valid := false
		for _, p := range []umeng.Platform{umeng.Android, umeng.IOS, umeng.Harmony} {
			err := r.Validate(p, now, nil)
			if e, ok := errors.AsType[*umeng.Error](err); err != nil && (!ok || e.Field == "" || e.Code.Generation() == "") {
				t.Fatalf("%s: %v is not an error of the table about a field", p, err)
			}
			valid = valid || err == nil
		}
		if !valid {
			return
		}
		wire, err := json.Marshal(r)
		if err != nil {
			t.Fatalf("valid but does not encode: %v", err)
		}
		again, err := umeng.DecodeSend(wire)
		if err != nil {
			t.Fatalf("%s: %v", wire, err)
		}
		if d := cmp.Diff(r, again, cmpopts.IgnoreUnexported(umeng.SendRequest{}), cmpopts.EquateEmpty()); d != "" {
			t.Errorf("-read +read again:\n%s", d)
		}
	})
}
