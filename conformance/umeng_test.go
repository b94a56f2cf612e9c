package conformance_test

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/config"
	"github.com/carillonpush/carillon/sdk/umeng"
)

var sqlite = config.Config{}

func TestUmengClient(t *testing.T) {
	each(t, func(t *testing.T, n *node) {
		ctx := t.Context()
		client := umeng.NewClient(n.card.Umeng.Android.Appkey, n.card.Umeng.Android.Secret, &umeng.Options{BaseURL: "http://" + n.HTTPAddr()})
		p := n.register("android")
		iphone := n.register("ios")
		lines, _ := n.mosquitto(p, "-q", "1")
		apple, _ := n.mosquitto(iphone, "-q", "1")

		sent, err := client.Send(ctx, umeng.Unicast(p.ID, umeng.Notification("title", "text")))
		if err != nil {
			t.Fatal(err)
		}
		m := next(t, lines)
		if m.ID != sent.MsgID || m.Notification.Title != "title" || m.Notification.Ticker == "" || m.Notification.Body != "text" {
			t.Errorf("got %+v, want message %s", m, sent.MsgID)
		}
		if sent, err = client.Send(ctx, umeng.Listcast([]string{p.ID, "made-up-token", iphone.ID}, umeng.Notification("list", "x"))); err != nil {
			t.Fatal(err)
		}
		if m := next(t, lines); m.ID != sent.MsgID {
			t.Errorf("listcast: got %s, want %s", m.ID, sent.MsgID)
		}
		var r report
		n.eventually(func() string { return fmt.Sprintf("listcast is not delivered: %+v", r) }, func() bool {
			r = n.report(sent.MsgID)
			return r.Delivered == 1
		})
		// The iPhone is a device of the app, but the Android appkey does not reach it: it is neither a target nor unknown.
		if r.Target != 2 || r.Dropped["unknown"] != 1 {
			t.Errorf("listcast: got %+v, want 2 targets, 1 of them unknown", r)
		}

		task := umeng.Broadcast(umeng.Notification("all", "x"))
		task.Policy = &umeng.Policy{OutBizNo: "biz-1"}
		first, err := client.Send(ctx, task)
		if err != nil {
			t.Fatal(err)
		}
		if m := next(t, lines); m.ID != first.TaskID {
			t.Errorf("broadcast: got %s, want %s", m.ID, first.TaskID)
		}
		if again, err := client.Send(ctx, task); err != nil || again.TaskID != first.TaskID {
			t.Errorf("a repeated out_biz_no: got %+v, %v, want task %s", again, err, first.TaskID)
		}
		var st *umeng.Status
		n.eventually(func() string { return fmt.Sprintf("status: %+v", st) }, func() bool {
			if st, err = client.Status(ctx, first.TaskID); err != nil {
				t.Fatal(err)
			}
			return st.Status == 2 && st.SentCount == 1
		})
		select {
		case line := <-apple:
			t.Errorf("the iPhone got %s: an Android appkey addresses Android devices only", line)
		default:
		}
		if _, err := client.Status(ctx, sent.MsgID); !errors.Is(err, umeng.CodeNoTask) {
			t.Errorf("the status of a msg_id: got %v, want 1014", err)
		}

		later := umeng.Broadcast(umeng.Notification("never", "x"))
		later.Policy = &umeng.Policy{StartTime: umeng.FormatTime(time.Now().Add(time.Hour))}
		scheduled, err := client.Send(ctx, later)
		if err != nil {
			t.Fatal(err)
		}
		if st, err := client.Status(ctx, scheduled.TaskID); err != nil || st.Status != 7 {
			t.Errorf("a scheduled task: got %+v, %v, want status 7", st, err)
		}
		if err := client.Cancel(ctx, scheduled.TaskID); err != nil {
			t.Fatal(err)
		}
		if st, err := client.Status(ctx, scheduled.TaskID); err != nil || st.Status != 4 {
			t.Errorf("a cancelled task: got %+v, %v, want status 4", st, err)
		}
		if err := client.Cancel(ctx, scheduled.TaskID); !errors.Is(err, umeng.CodeNotCancellable) {
			t.Errorf("cancelling again: got %v, want 1028", err)
		}
	})
}

// raw posts a body signed for url to path, as an SDK that is not ours.
func (n *node) raw(path, url, body string, c umengCredential, header map[string]string) (int, string) {
	n.t.Helper()
	sum := md5.Sum([]byte("POST" + url + body + c.Secret))
	req, err := http.NewRequestWithContext(n.t.Context(), "POST", "http://"+n.HTTPAddr()+path+"?sign="+hex.EncodeToString(sum[:]), strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	for k, v := range header {
		if k == "Host" {
			req.Host = v
		}
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// Requests as the SDKs of protocols/umeng.md section 4 put them on the wire.
func TestUmengSDKsOnTheWire(t *testing.T) {
	n := start(t, config.Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, PublicURLs: []string{"https://push.example.com/umeng"}})
	c := n.card.Umeng.Android
	p := n.register("android")
	lines, _ := n.mosquitto(p, "-q", "1")
	here := "http://" + n.HTTPAddr() + "/api/send"
	const unicast = `{"appkey":"APPKEY","timestamp":"NOW","type":"unicast","device_tokens":"TOKEN","payload":{"display_type":"notification",` +
		`"body":{"ticker":"你好","title":"标题","text":"内容","after_open":"go_app"}},"production_mode":"true"}`
	for _, tt := range []struct {
		name   string
		url    string
		header map[string]string
		body   string
		title  string
	}{
		{
			"official PHP: form content type, escaped Unicode and slashes", here,
			map[string]string{"Content-Type": "application/x-www-form-urlencoded"},
			`{"appkey":"APPKEY","timestamp":"NOW","production_mode":"true","type":"unicast","device_tokens":"TOKEN","payload":{"display_type":"notification",` +
				`"body":{"ticker":"\u4f60\u597d","title":"\u6807\u9898","text":"a\/b","after_open":"go_app"},"extra":{"test":"helloworld"}},"channel_properties":[]}`, "标题",
		},
		{"official Java: text/plain", here, map[string]string{"Content-Type": "text/plain; charset=UTF-8"}, unicast, "标题"},
		{
			"official Python: no content type, spaces between", here,
			map[string]string{"Content-Type": ""},
			`{"appkey": "APPKEY", "timestamp": "NOW", "type": "unicast", "device_tokens": "TOKEN", "payload": {"display_type": "notification", ` +
				`"body": {"ticker": "\u4f60\u597d", "title": "\u6807\u9898", "text": "x", "after_open": "go_app", "play_vibrate": "false"}}, "mipush": "false"}`, "标题",
		},
		{
			"booleans and numbers as JSON, absent fields as empty strings and null", here,
			map[string]string{"Content-Type": "application/json"},
			`{"appkey":"APPKEY","timestamp":NOW,"type":"unicast","device_tokens":"TOKEN","alias":"","filter":null,"production_mode":true,"mipush":false,` +
				`"payload":{"display_type":"notification","body":{"ticker":"t","title":"loose","text":"x","builder_id":"","play_sound":true,"after_open":"go_app"}},"policy":{"start_time":""}}`, "loose",
		},
		{
			"payload as a string that holds JSON", here, nil,
			`{"appkey":"APPKEY","timestamp":"NOW","type":"unicast","device_tokens":["TOKEN"],"payload":"{\"display_type\":\"notification\",\"body\":{\"ticker\":\"t\",\"title\":\"double\",\"text\":\"x\"}}"}`, "double",
		},
		{
			"keys of other types beside, appKey in camel case", here, nil,
			`{"appKey":"APPKEY","timestamp":"NOW","type":"unicast","device_tokens":" TOKEN ","file_id":"PF1","filter":{"where":{}},"payload":{"display_type":"notification","aps":{"alert":"x"},` +
				`"body":{"ticker":"t","title":"strangers","text":"x","extra":{"a":"b"}}}}`, "strangers",
		},
		{"re-pointed by the hosts file, http", "http://msg.umeng.com/api/send", map[string]string{"Host": "msg.umeng.com"}, unicast, "标题"},
		{"re-pointed by the hosts file, https ended by a proxy", "https://msgapi.umeng.com/api/send", map[string]string{"Host": "msgapi.umeng.com", "X-Forwarded-Proto": "https"}, unicast, "标题"},
		{"signed for the vendor, sent here", "https://msgapi.umeng.com/api/send", nil, unicast, "标题"},
		{"behind a proxy that strips a path", "https://push.example.com/umeng/api/send", map[string]string{"Host": "127.0.0.1:1"}, unicast, "标题"},
		{"behind a trusted proxy that names the host", "https://api.example.net/api/send", map[string]string{"X-Forwarded-Host": "api.example.net"}, unicast, "标题"},
		{"with the default port in the Host header", "http://api.example.net/api/send", map[string]string{"Host": "api.example.net:80"}, unicast, "标题"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n.t = t
			body := strings.NewReplacer("APPKEY", c.Appkey, "NOW", fmt.Sprint(time.Now().Unix()), "TOKEN", p.ID).Replace(tt.body)
			status, answer := n.raw("/api/send", tt.url, body, c, tt.header)
			var got struct {
				Ret  string
				Data map[string]string
			}
			if err := json.Unmarshal([]byte(answer), &got); err != nil || status != 200 || got.Ret != "SUCCESS" {
				t.Fatalf("got %d %s (%v)", status, answer, err)
			}
			if m := next(t, lines); m.ID != got.Data["msg_id"] || m.Notification.Title != tt.title {
				t.Errorf("got %+v, want message %s %q", m, got.Data["msg_id"], tt.title)
			}
		})
	}
}

func TestUmengRefusals(t *testing.T) {
	n := start(t, sqlite)
	c := n.card.Umeng.Android
	here := "http://" + n.HTTPAddr() + "/api/send"
	fill := strings.NewReplacer("APPKEY", c.Appkey, "NOW", fmt.Sprint(time.Now().Unix()), "OLD", fmt.Sprint(time.Now().Add(-11*time.Minute).Unix()))
	for _, tt := range []struct {
		name string
		url  string
		body string
		code string
	}{
		{"a wrong signature", "http://elsewhere.example/api/send", `{"appkey":"APPKEY","timestamp":"NOW","type":"broadcast"}`, "2027"},
		{"an old request", here, `{"appkey":"APPKEY","timestamp":"OLD","type":"broadcast"}`, "2028"},
		{"an unknown app", here, `{"appkey":"0123456789abcdef01234567","timestamp":"NOW","type":"broadcast"}`, "2021"},
		{"not JSON", here, `appkey=APPKEY`, "2008"},
		{"no payload", here, `{"appkey":"APPKEY","timestamp":"NOW","type":"broadcast"}`, "1001"},
		{"no ticker", here, `{"appkey":"APPKEY","timestamp":"NOW","type":"broadcast","payload":{"display_type":"notification","body":{"title":"t","text":"x"}}}`, "1008"},
		{"no token", here, `{"appkey":"APPKEY","timestamp":"NOW","type":"unicast","payload":{"display_type":"notification","body":{"ticker":"t","title":"t","text":"x"}}}`, "1015"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n.t = t
			status, answer := n.raw("/api/send", tt.url, fill.Replace(tt.body), c, nil)
			var got struct {
				Ret  string
				Data map[string]string
			}
			if err := json.Unmarshal([]byte(answer), &got); err != nil {
				t.Fatal(err)
			}
			if status != 400 || got.Ret != "FAIL" || got.Data["error_code"] != tt.code {
				t.Errorf("got %d %s, want 400 and %s", status, answer, tt.code)
			}
		})
	}
}
