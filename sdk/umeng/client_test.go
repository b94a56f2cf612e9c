package umeng_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/sdk/umeng"
)

const (
	testKey    = "0123456789abcdef01234567"
	testSecret = "abcdefghijklmnopqrstuvwxyz012345"
)

// fake is a small server of the service: it verifies as a server does, then hands over to answer.
func fake(t testing.TB, answer func(path string, body []byte) (status int, reply []byte)) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(fakeHandler(answer))
	t.Cleanup(srv.Close)
	return srv
}

func fakeHandler(answer func(path string, body []byte) (status int, reply []byte)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fail := func(err error) {
			e, ok := errors.AsType[*umeng.Error](err)
			if !ok {
				panic(err)
			}
			w.WriteHeader(e.Status)
			_, _ = w.Write(e.Envelope())
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		root, err := umeng.ParseRoot(body)
		if err != nil {
			fail(err)
			return
		}
		if key, err := root.AppKey(); err != nil || key != testKey {
			fail(umeng.NewError(umeng.CodeUnknownAppKey, ""))
			return
		}
		if err := root.CheckTimestamp(time.Now()); err != nil {
			fail(err)
			return
		}
		urls := umeng.CandidateURLs(umeng.Received{Host: r.Host, Target: r.RequestURI})
		if !umeng.Verify(r.URL.Query().Get("sign"), testSecret, body, urls) {
			fail(umeng.NewError(umeng.CodeSignature, ""))
			return
		}
		status, reply := answer(r.URL.Path, body)
		w.WriteHeader(status)
		_, _ = w.Write(reply)
	})
}

func TestClientSend(t *testing.T) {
	var got []byte
	var contentType string
	inner := fakeHandler(func(path string, body []byte) (int, []byte) {
		got = body
		if path != umeng.PathSend {
			t.Errorf("path: got %s", path)
		}
		return 200, umeng.SendResult{TaskID: "77", ThirdpartyID: "t"}.Envelope()
	})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		contentType = r.Header.Get("Content-Type")
		inner.ServeHTTP(w, r)
	}))
	defer srv.Close()
	c := umeng.NewClient(testKey, testSecret, &umeng.Options{BaseURL: srv.URL + "/", Clock: time.Now})
	badge := 3
	req := umeng.Broadcast(umeng.Notification("标题 <b>", "内容").OpenURL("https://example.com/?a=1&b=2").With("k", 1).Badge(badge))
	req.Payload.Body.PlaySound = umeng.FlagOf(false)
	req.Policy = &umeng.Policy{OutBizNo: "order-1", MaxSendNum: 2000, ChannelStrategy: 3, NotificationClosedFilter: umeng.True, InApp: umeng.True}
	req.ProductionMode = umeng.False
	req.ChannelProperties = &umeng.ChannelProperties{ChannelActivity: "a.B"}
	req.LocalProperties = &umeng.LocalProperties{ChannelID: "c"}
	req.CallbackParams = json.RawMessage(`{"x":1}`)
	res, err := c.Send(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if want := (umeng.SendResult{TaskID: "77", ThirdpartyID: "t"}); *res != want {
		t.Errorf("got %+v, want %+v", *res, want)
	}
	if contentType != "application/json" {
		t.Errorf("content type: got %q", contentType)
	}
	var wire map[string]any
	if err := json.Unmarshal(got, &wire); err != nil {
		t.Fatal(err)
	}
	if ts, _ := wire["timestamp"].(string); len(ts) != 10 {
		t.Errorf("timestamp: got %v, want a string of 10 digits", wire["timestamp"])
	}
	delete(wire, "timestamp")
	want := map[string]any{
		"appkey": testKey, "type": "broadcast", "production_mode": "false",
		"policy": map[string]any{
			"out_biz_no": "order-1", "max_send_num": 2000.0, "channel_strategy": map[string]any{"default": 3.0},
			"notification_closed_filter": true, "in_app": map[string]any{"in_app": true},
		},
		"channel_properties": map[string]any{"channel_activity": "a.B"}, "local_properties": map[string]any{"channel_id": "c"},
		"callback_params": map[string]any{"x": 1.0},
		"payload": map[string]any{"display_type": "notification", "extra": map[string]any{"k": 1.0}, "body": map[string]any{
			"ticker": "标题 <b>", "title": "标题 <b>", "text": "内容", "after_open": "go_url", "url": "https://example.com/?a=1&b=2",
			"set_badge": 3.0, "play_sound": "false",
		}},
	}
	if d := cmp.Diff(want, wire); d != "" {
		t.Errorf("-want +sent:\n%s", d)
	}
	if req.AppKey != "" || req.Timestamp != "" {
		t.Errorf("the request was changed: %q %q", req.AppKey, req.Timestamp)
	}
	if byValue, err := json.Marshal(*decode(t, string(got))); err != nil || !strings.Contains(string(byValue), `"appkey":"`+testKey) {
		t.Errorf("a request encodes otherwise by value: %s, %v", byValue, err)
	}
}

func TestPayloadsOnTheWire(t *testing.T) {
	for _, tt := range []struct {
		name    string
		payload *umeng.Payload
		want    string
	}{
		{"title and body", umeng.AppleNotification("t", "b").Badge(0).With("k", "v"), `{"aps":{"alert":{"title":"t","body":"b"},"badge":0},"k":"v"}`},
		{"body alone", umeng.AppleNotification("", "b"), `{"aps":{"alert":"b"}}`},
		{"silent", umeng.AppleSilent(), `{"aps":{"content-available":1}}`},
		{"relative badge", &umeng.Payload{APS: &umeng.APS{Badge: new("+1"), MutableContent: true}}, `{"aps":{"badge":"+1","mutable-content":1}}`},
		{"activity", umeng.Notification("t", "x").OpenActivity("a.B"), `{"body":{"ticker":"t","title":"t","text":"x","after_open":"go_activity","activity":"a.B"},"display_type":"notification"}`},
		{"custom action", umeng.Notification("t", "x").OpenCustom(`{"a":1}`), `{"body":{"ticker":"t","title":"t","text":"x","after_open":"go_custom","custom":"{\"a\":1}"},"display_type":"notification"}`},
		{"raw", &umeng.Payload{APS: &umeng.APS{Raw: json.RawMessage(`{"alert":"x","new":1}`)}}, `{"aps":{"alert":"x","new":1}}`},
	} {
		if got, err := json.Marshal(tt.payload); err != nil || string(got) != tt.want {
			t.Errorf("%s: got %s, %v, want %s", tt.name, got, err, tt.want)
		}
	}
}

func TestClientTasks(t *testing.T) {
	srv := fake(t, func(path string, body []byte) (int, []byte) {
		r, err := umeng.DecodeTask(body)
		switch {
		case err != nil || r.TaskID != "77":
			return 400, umeng.NewError(umeng.CodeNoTask, "task_id").Envelope()
		case path == umeng.PathStatus: // the real service's form for iOS
			return 200, []byte(`{"ret":"SUCCESS","data":{"task_id":"77","status":2,"total_count":5,"sent_count":"4","open_count":1}}`)
		case path == umeng.PathCancel:
			return 200, umeng.CancelResult{TaskID: r.TaskID}.Envelope()
		default:
			return 404, nil
		}
	})
	c := umeng.NewClient(testKey, testSecret, &umeng.Options{BaseURL: srv.URL})
	got, err := c.Status(t.Context(), "77")
	if err != nil {
		t.Fatal(err)
	}
	if want := (umeng.Status{TaskID: "77", Status: umeng.Finished, TotalCount: 5, SentCount: 4, OpenCount: 1}); *got != want {
		t.Errorf("got %+v, want %+v", *got, want)
	}
	if err := c.Cancel(t.Context(), "77"); err != nil {
		t.Errorf("cancel: got %v, want none", err)
	}
	if _, err := c.Status(t.Context(), "78"); !errors.Is(err, umeng.CodeNoTask) {
		t.Errorf("status of another: got %v, want code 1014", err)
	}
	if err := c.Cancel(t.Context(), "78"); !errors.Is(err, umeng.CodeNoTask) {
		t.Errorf("cancel of another: got %v, want code 1014", err)
	}
	wrong := umeng.NewClient(testKey, "another secret", &umeng.Options{BaseURL: srv.URL})
	if err := wrong.Cancel(t.Context(), "77"); !errors.Is(err, umeng.CodeSignature) {
		t.Errorf("wrong secret: got %v, want code 2027", err)
	}
	late := umeng.NewClient(testKey, testSecret, &umeng.Options{BaseURL: srv.URL, Clock: func() time.Time { return time.Now().Add(-time.Hour) }})
	if err := late.Cancel(t.Context(), "77"); !errors.Is(err, umeng.CodeTimestampWindow) {
		t.Errorf("slow clock: got %v, want code 2028", err)
	}
}

func TestClientAnswers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		reply  string
		code   umeng.Code // 0: a transport error
	}{
		{"code as text", 400, `{"ret":"FAIL","data":{"error_code":"2021","error_msg":"m"}}`, 2021},
		{"code as number", 400, `{"ret":"FAIL","data":{"error_code":2021}}`, 2021},
		{"refusal with 200", 200, `{"ret":"fail","data":{"error_code":"2021"}}`, 2021},
		{"success with 400", 400, `{"ret":"SUCCESS","data":{"msg_id":"1"}}`, 0},
		{"gateway page", 502, `<html>`, 0},
		{"refusal with 500", 500, `{"ret":"FAIL","data":{"error_code":"2021"}}`, 0},
		{"not JSON", 200, `ok`, 0},
	} {
		srv := fake(t, func(string, []byte) (int, []byte) { return tt.status, []byte(tt.reply) })
		c := umeng.NewClient(testKey, testSecret, &umeng.Options{BaseURL: srv.URL})
		_, err := c.Send(t.Context(), umeng.Unicast("a", umeng.Message("x")))
		if tt.code != 0 {
			if !errors.Is(err, tt.code) {
				t.Errorf("%s: got %v, want code %d", tt.name, err, int(tt.code))
			}
			continue
		}
		if te, ok := errors.AsType[*umeng.TransportError](err); !ok || te.Status != tt.status || te.Op != "send" {
			t.Errorf("%s: got %v, want a transport error with %d", tt.name, err, tt.status)
		}
	}
}

// A signature holds for one URL, so a client that followed would send it elsewhere.
func TestClientFollowsNoRedirect(t *testing.T) {
	var calls atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer srv.Close()
	err := umeng.NewClient(testKey, testSecret, &umeng.Options{BaseURL: srv.URL}).Cancel(t.Context(), "1")
	if te, ok := errors.AsType[*umeng.TransportError](err); !ok || te.Status != http.StatusTemporaryRedirect || calls.Load() != 1 {
		t.Errorf("got %v after %d calls, want a transport error with 307 after one", err, calls.Load())
	}
}

// roundTrip is an http.RoundTripper.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestClientRepeatsOnlyWhatIsSafe(t *testing.T) {
	task := umeng.Broadcast(umeng.Message("x"))
	keyed := umeng.Broadcast(umeng.Message("x"))
	keyed.Policy = &umeng.Policy{OutBizNo: "1"}
	single := umeng.Unicast("a", umeng.Message("x"))
	single.Policy = keyed.Policy
	for _, tt := range []struct {
		name  string
		call  func(ctx context.Context, c *umeng.Client) error
		tries int32
	}{
		{"task with a key", func(ctx context.Context, c *umeng.Client) error { _, err := c.Send(ctx, keyed); return err }, 3},
		{"task without a key", func(ctx context.Context, c *umeng.Client) error { _, err := c.Send(ctx, task); return err }, 1},
		{"single message", func(ctx context.Context, c *umeng.Client) error { _, err := c.Send(ctx, single); return err }, 1},
		{"status", func(ctx context.Context, c *umeng.Client) error { _, err := c.Status(ctx, "1"); return err }, 3},
		{"cancel", func(ctx context.Context, c *umeng.Client) error { return c.Cancel(ctx, "1") }, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var tries atomic.Int32
				var sent []string
				down := errors.New("connection refused")
				c := umeng.NewClient(testKey, testSecret, &umeng.Options{HTTPClient: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					tries.Add(1)
					body, err := io.ReadAll(r.Body)
					sent = append(sent, r.URL.String()+string(body))
					return nil, errors.Join(down, err)
				})}})
				err := tt.call(t.Context(), c)
				if _, ok := errors.AsType[*umeng.TransportError](err); !ok || !errors.Is(err, down) || strings.Contains(err.Error(), "sign=") {
					t.Errorf("got %v, want a transport error without URL", err)
				}
				if tries.Load() != tt.tries {
					t.Errorf("got %d tries, want %d", tries.Load(), tt.tries)
				}
				for _, s := range sent {
					if s != sent[0] {
						t.Errorf("a repeat differs: %s, %s", s, sent[0])
					}
				}
			})
		})
	}
}

func TestClientStopsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		c := umeng.NewClient(testKey, testSecret, &umeng.Options{Retries: 100, HTTPClient: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			return nil, errors.New("down")
		})}})
		begin := time.Now()
		if _, err := c.Status(ctx, "1"); err == nil {
			t.Error("got none, want an error")
		}
		if took := time.Since(begin); took != 100*time.Millisecond {
			t.Errorf("took %v, want 100ms", took)
		}
	})
}
