package umengserver_test

import (
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/push"
)

// TestReadingRules holds the table of protocols/umeng.md section 4.2 against the handler: each odd form that senders use
// must come out as the plain form does.
func TestReadingRules(t *testing.T) {
	quoted := func(object string) string { return `"` + strings.ReplaceAll(object, `"`, `\"`) + `"` }
	for _, tt := range []struct{ name, base, odd, plain string }{
		{"empty string is absent", androidNotification, `"alias":"","file_id":"","filter":"","description":"","policy":` +
			`{"start_time":"","expire_time":"","out_biz_no":"","max_send_num":""},"mipush":"","channel_properties":"",` + note(
			`"url":"","activity":"","custom":"","img":"","builder_id":"","set_badge":"","play_sound":"","after_open":""`), ""},
		{"null is absent", androidNotification, `"alias":null,"filter":null,"description":null,"policy":null,"mipush":null,` +
			`"channel_properties":null,"production_mode":null,` + note(`"url":null,"custom":null,"builder_id":null`), ""},
		{"empty array is an empty object", androidNotification, `"channel_properties":[],"local_properties":[],"policy":[],` +
			`"filter":[],"callback_params":[]`, `"channel_properties":{},"local_properties":{},"policy":{},"callback_params":{}`},
		{"empty array is no extra", androidNotification, strings.TrimSuffix(note(""), "}") + `,"extra":[]}`, ""},
		{"object as a string", androidBroadcast, `"payload":` + quoted(`{"display_type":"notification","body":{"ticker":"k","title":"t",`+
			`"text":"x"}}`) + `,"policy":` + quoted(`{"max_send_num":2000}`), `"policy":{"max_send_num":2000}`},
		{"aps as a string", iosNotification, `"payload":{"aps":` + quoted(`{"alert":"hello"}`) + `}`, ""},
		{
			"JSON booleans", androidNotification, `"production_mode":false,"mipush":true,` + note(`"play_vibrate":true,"play_lights":false`),
			`"production_mode":"false","mipush":"true",` + note(`"play_vibrate":"true","play_lights":"false"`),
		},
		{
			"booleans in any case", androidNotification, `"production_mode":"False","mipush":"TRUE"`,
			`"production_mode":"false","mipush":"true"`,
		},
		{"production_mode null", androidNotification, `"production_mode":null`, `"production_mode":"true"`},
		{
			"tokens as an array", androidNotification, `"type":"listcast","device_tokens":["d1","d9"]`,
			`"type":"listcast","device_tokens":"d1,d9"`,
		},
		{
			"stray spaces", androidNotification, `"type":" listcast ","device_tokens":" d1 , ,d9,","mipush":"true","mi_activity":"com.x.Y "`,
			`"type":"listcast","device_tokens":"d1,d9","mipush":"true","mi_activity":"com.x.Y"`,
		},
		{
			"numbers as strings", androidBroadcast, `"policy":{"max_send_num":"1500"},"category":"1",` + note(`"builder_id":"3","set_badge":"7"`),
			`"policy":{"max_send_num":1500},"category":1,` + note(`"builder_id":3,"set_badge":7`),
		},
		{"badge by its older name", androidNotification, note(`"badge":"2"`), note(`"add_badge":2`)},
		{
			"iOS numbers as strings", iosNotification, `"payload":{"aps":{"content-available":"1"},"k":"v"}`,
			`"payload":{"aps":{"content-available":1},"k":"v"}`,
		},
		{"token as a number", androidNotification, `"device_tokens":12345`, `"device_tokens":"12345"`},
		{"appKey", androidNotification, `"appkey":"","appKey":"` + androidKey + `"`, ""},
		{"extra inside the body", androidNotification, note(`"extra":{"a":1},"stranger":true`), ""},
		{"iOS payload with Android's body", iosNotification, `"payload":{"aps":{"alert":"hello"},"display_type":"notification",` +
			`"body":{"title":"t"},"extra":{"a":1}}`, ""},
		{"keys of another type", androidBroadcast, `"device_tokens":"d1","filter":{"where":{}},"alias":"a","alias_type":"b","file_id":"f"`, ""},
		{"single message with a task's policy", androidNotification, `"policy":{"start_time":"2000-01-01 00:00:00"}`, ""},
		{"escaped Unicode", androidNotification, note(`"title":"\u6807\u9898 \u003cb\u003e \/"`), note(`"title":"标题 <b> /"`)},
		{"text in body", harmonyNotification, `"payload":{"display_type":"notification","body":{"title":"t","body":"x"}}`, ""},
		{"Android without after_open", androidNotification, note(""), note(`"after_open":"go_app"`)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			requests := make([]push.Request, 2)
			for i, fields := range []string{tt.odd, tt.plain} {
				h := newHouse()
				if r := post(t, h.server(nil), "/api/send", with(tt.base, fields)); code(r) != "" {
					t.Fatalf("form %d: got %v, want SUCCESS", i, r.Data)
				}
				requests[i] = h.last(t)
				requests[i].RequestID = ""
				if requests[i].Message.APNS != nil { // it is passed on as it came
					requests[i].Message.APNS = []byte(`{}`)
				}
			}
			if got, want := pretty(t, requests[0]), pretty(t, requests[1]); got != want {
				t.Errorf("got %s\nwant %s", got, want)
			}
		})
	}
}

func TestThirdpartyIDIsEchoed(t *testing.T) {
	for _, key := range []string{"thirdparty_id", "thirdparty"} {
		r := post(t, newHouse().server(nil), "/api/send", with(androidNotification, `"feedback":"f","`+key+`":"mine"`))
		if got := r.str(t, "thirdparty_id"); got != "mine" {
			t.Errorf("%s: got %q, want mine", key, got)
		}
	}
}

// TestAnswersHoldStringsOnly guards the senders that read data of a send, and of a FAIL, into a map of strings.
func TestAnswersHoldStringsOnly(t *testing.T) {
	s := newHouse().server(nil)
	for body, id := range map[string]string{androidNotification: "msg_id", iosNotification: "msg_id", androidBroadcast: "task_id", "{": ""} {
		r := post(t, s, "/api/send", body)
		for k, v := range r.Data {
			if _, ok := v.(string); !ok {
				t.Errorf("%s: got %v, want a string", k, v)
			}
		}
		if id != "" && (len(r.Data) != 1 || r.str(t, id) == "") {
			t.Errorf("got %v, want %s alone", r.Data, id)
		}
	}
}
