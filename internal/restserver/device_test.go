package restserver_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/restserver"
	"github.com/carillonpush/carillon/sdk/carillon"
)

func TestRegister(t *testing.T) {
	s := newSite(t, restserver.Options{
		RemoteIP: func(*http.Request) netip.Addr { return netip.MustParseAddr("198.51.100.4") },
		MQTT: func(*http.Request) restserver.MQTT {
			return restserver.MQTT{Host: "push.example.com", Port: 1883, TLSPort: 8883, WebSocket: "wss://push.example.com/mqtt"}
		},
	})
	body := `{"app_key": "k", "app_secret": "app-secret", "platform": "ios", "install_id": "0123456789abcdef",
		"attributes": {"app_version": "2.1.0"}, "tokens": {"apns": {"token": "t", "env": "sandbox"}, "hms": "h",
		"webpush": {"endpoint": "https://e", "p256dh": "p", "auth": "a"}}}`
	r := s.call(t, "Device x:y", "POST", "/device/v1/register", body)
	got := into[map[string]any](t, r, 200)
	mqtt := got["mqtt"].(map[string]any)
	if len(got["device_id"].(string)) != 32 || got["channel_id"] != "7000" || got["secret"] == "" ||
		mqtt["host"] != "push.example.com" || mqtt["port"] != 1883.0 || mqtt["tls_port"] != 8883.0 || mqtt["websocket"] != "wss://push.example.com/mqtt" {
		t.Errorf("answer %s, want names, secret and where to connect", r.body)
	}
	d := s.devices[0]
	if d.Platform != push.IOS || d.Tokens["hms"].Token != "h" || d.Tokens["apns"].Env != "sandbox" || d.Tokens["webpush"].Web != "https://e" ||
		s.caller.auth != "Device x:y" || s.caller.remote.String() != "198.51.100.4" {
		t.Errorf("registered %+v with %q from %v, want all of the body", d, s.caller.auth, s.caller.remote)
	}
	replace := func(from, to string) string { return strings.Replace(body, from, to, 1) }
	for _, tt := range []struct {
		name, body, code, field string
		status                  int
	}{
		{"wrong secret", replace("app-secret", "x"), "unauthenticated", "", 401},
		{"short install id", replace("0123456789abcdef", "1"), "invalid", "install_id", 400},
		{"unknown platform", replace(`"ios"`, `"symbian"`), "invalid", "platform", 400},
		{"no platform", replace(`"platform": "ios",`, ``), "invalid", "platform", 400},
		{"unknown field", replace("install_id", "installid"), "invalid", "installid", 400},
		{"unknown channel", replace("hms", "carrier pigeon"), "invalid", "tokens.carrier pigeon", 400},
		{"unknown part of a token", replace("env", "environment"), "invalid", "tokens.apns.environment", 400},
		{"number for a part of a token", replace(`"sandbox"`, `1`), "invalid", "tokens.apns.env", 400},
		{"unknown environment", replace("sandbox", "sandpit"), "invalid", "tokens.apns.env", 400},
		{"part of a token in another case", replace("env", "Env"), "invalid", "tokens.apns.Env", 400},
		{"array for a token", replace(`"h"`, `["h"]`), "invalid", "tokens.hms", 400},
		{"number for an attribute", replace(`"2.1.0"`, `2`), "invalid", "attributes.app_version", 400},
		{"NUL in an attribute", replace("2.1.0", `\u0000`), "invalid", "attributes.app_version", 400},
		{"NUL in a token", replace(`"h"`, `"\u0000"`), "invalid", "tokens.hms", 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantProblem(t, s.call(t, "", "POST", "/device/v1/register", tt.body), tt.status, tt.code, tt.field)
		})
	}
	t.Run("too many from one address", func(t *testing.T) {
		for len(s.devices) < 50 {
			s.register(t)
		}
		r := s.call(t, "", "POST", "/device/v1/register", body)
		wantProblem(t, r, 429, "too_many", "")
		if got := r.header.Get("Retry-After"); got != "2" {
			t.Errorf("Retry-After %q, want 2: 1.5 s rounded up", got)
		}
	})
}

func TestDefaultMQTT(t *testing.T) {
	s := newSite(t, restserver.Options{})
	for host, want := range map[string]restserver.MQTT{
		"push.example.com:8080": {Host: "push.example.com", Port: 1883, WebSocket: "ws://push.example.com:8080/mqtt"},
		"push.example.com":      {Host: "push.example.com", Port: 1883, WebSocket: "ws://push.example.com/mqtt"},
		"[::1]:8080":            {Host: "::1", Port: 1883, WebSocket: "ws://[::1]:8080/mqtt"},
		"[::1]":                 {Host: "::1", Port: 1883, WebSocket: "ws://[::1]/mqtt"},
	} {
		req := httptest.NewRequest("POST", "/device/v1/register",
			strings.NewReader(`{"app_key": "k", "app_secret": "app-secret", "platform": "web", "install_id": "0123456789abcdef"}`))
		req.Host = host
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, req)
		got := into[restserver.RegisterAnswer](t, reply{w.Code, w.Header(), w.Body.Bytes()}, 200)
		if got.MQTT != want {
			t.Errorf("%s is told %+v, want %+v", host, got.MQTT, want)
		}
		if addr, _ := netip.ParseAddrPort(req.RemoteAddr); s.caller.remote != addr.Addr() {
			t.Errorf("registered from %v, want the connection's %v", s.caller.remote, addr.Addr())
		}
	}
}

func TestDevices(t *testing.T) {
	s := newSite(t, restserver.Options{})
	one, _ := s.register(t)
	two, _ := s.register(t)
	const path = "/v1/apps/demo/devices"
	if d := into[push.Device](t, s.call(t, key1, "GET", path+"/"+string(one.DeviceID), ""), 200); d.ChannelID != one.ChannelID {
		t.Errorf("device %+v, want %v", d, one.ChannelID)
	}
	r := s.call(t, key1, "GET", path+"/"+string(one.ChannelID), "")
	if d := into[push.Device](t, r, 200); d.ID != one.DeviceID || !strings.Contains(string(r.body), `"attributes":{}`) {
		t.Errorf("device by channel id %s, want %v with an object of attributes", r.body, one.DeviceID)
	}
	d := into[push.Device](t, s.call(t, key1, "PUT", path+"/"+string(one.DeviceID),
		`{"attributes": {"vip": "1"}, "test": true, "badge": 3, "tokens": {"fcm": "f"}}`), 200)
	if !d.Test || d.Badge != 3 || d.Attributes["vip"] != "1" || d.Tokens["fcm"].Token != "f" {
		t.Errorf("changed device %+v, want all of the body", d)
	}
	page := into[restserver.List[push.Device]](t, s.call(t, key1, "GET", path+"?limit=1", ""), 200)
	rest := into[restserver.List[push.Device]](t, s.call(t, key1, "GET", path+"?limit=1&cursor="+page.Next, ""), 200)
	if len(page.Items) != 1 || page.Items[0].ID != two.DeviceID || len(rest.Items) != 1 || rest.Items[0].ID != one.DeviceID || rest.Next != "" {
		t.Errorf("pages %+v and %+v, want the newer device, then the older", page, rest)
	}
	wantProblem(t, s.call(t, key1, "GET", path+"?cursor=x", ""), 400, "invalid", "cursor")
	wantProblem(t, s.call(t, key1, "PUT", path+"/"+string(one.DeviceID), `{"badge": -1}`), 400, "invalid", "badge")
	wantProblem(t, s.call(t, key1, "PUT", path+"/"+string(one.DeviceID), `{"platform": "ios"}`), 400, "invalid", "platform")
	wantProblem(t, s.call(t, key1, "PUT", path+"/nosuch", `{"badge": 1}`), 404, "not_found", "device")
	wantProblem(t, s.call(t, "Bearer key-2", "GET", "/v1/apps/2/devices/"+string(one.DeviceID), ""), 404, "not_found", "device")
	if r := s.call(t, key1, "DELETE", path+"/"+string(one.DeviceID), ""); r.status != 204 {
		t.Errorf("remove answered %d, want 204", r.status)
	}
	wantProblem(t, s.call(t, key1, "DELETE", path+"/"+string(one.DeviceID), ""), 404, "not_found", "device")
}

func TestMe(t *testing.T) {
	s := newSite(t, restserver.Options{})
	me, auth := s.register(t)
	p := into[push.Push](t, s.call(t, key1, "POST", pushes, hello), 202)
	if d := into[push.Device](t, s.call(t, auth, "GET", "/device/v1/me", ""), 200); d.ID != me.DeviceID {
		t.Errorf("I am %v, want %v", d.ID, me.DeviceID)
	}
	byChannel := "Device " + string(me.ChannelID) + ":" + me.Secret
	if d := into[push.Device](t, s.call(t, byChannel, "PATCH", "/device/v1/me", `{"attributes": {"app_version": "2"}, "network": "wifi"}`), 200); d.Network != push.WiFi {
		t.Errorf("network %q, want wifi", d.Network)
	}
	for _, tt := range []struct{ name, body, field string }{
		{"a device cannot mark itself for tests", `{"test": true}`, "test"},
		{"phone with letters", `{"phone": "12345x"}`, "phone"},
		{"unknown network", `{"network": "pigeon"}`, "network"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantProblem(t, s.call(t, auth, "PATCH", "/device/v1/me", tt.body), 400, "invalid", tt.field)
		})
	}
	t.Run("account", func(t *testing.T) {
		const path = "/device/v1/me/account"
		long := strings.Repeat("a", 128)
		for _, name := range []string{"user-42", long} {
			got := into[map[string]any](t, s.call(t, auth, "PUT", path, `{"account": "`+name+`"}`), 200)
			if got["account"] != name || got["device_id"] != string(me.DeviceID) {
				t.Errorf("logged in as %v, want %s", got, name)
			}
		}
		for _, body := range []string{`{}`, `{"account": ""}`, `{"account": null}`, `{"account": "` + long + `a"}`, `{"account": "\u0000"}`, `{"account": 7}`} {
			wantProblem(t, s.call(t, auth, "PUT", path, body), 400, "invalid", "account")
		}
		if d := into[push.Device](t, s.call(t, key1, "GET", "/v1/apps/1/devices/"+string(me.DeviceID), ""), 200); d.Account != long {
			t.Errorf("account %q for senders, want the one that was logged in", d.Account)
		}
		for range 2 {
			got := into[map[string]any](t, s.call(t, auth, "DELETE", path, ""), 200)
			if _, there := got["account"]; there || got["device_id"] != string(me.DeviceID) {
				t.Errorf("logged out: %v, want the device without an account", got)
			}
		}
		wantProblem(t, s.call(t, "", "PUT", path, `{"account": "a"}`), 401, "unauthenticated", "")
	})
	t.Run("a device does not see what operators say of it", func(t *testing.T) {
		into[push.Device](t, s.call(t, key1, "PUT", "/v1/apps/1/devices/"+string(me.DeviceID), `{"test": true, "blacklisted": true, "badge": 7}`), 200)
		for method, body := range map[string]string{"GET": "", "PATCH": `{"network": "mobile"}`} {
			r := s.call(t, auth, method, "/device/v1/me", body)
			got := into[map[string]any](t, r, 200)
			_, test := got["test"]
			_, blacklisted := got["blacklisted"]
			if test || blacklisted || got["badge"] != 7.0 || got["platform"] != "android" || got["registered"] != "2026-11-25T01:00:00Z" {
				t.Errorf("%s: %s, want the device without test and blacklisted", method, r.body)
			}
		}
	})
	event := func(id, name string) reply {
		return s.call(t, auth, "POST", "/device/v1/events", fmt.Sprintf(`{"push": %s, "event": %q}`, id, name))
	}
	for name, mark := range push.Events() {
		if r := event(`"`+p.ID.String()+`"`, name); r.status != 204 || s.marks[len(s.marks)-1] != mark {
			t.Errorf("event %s answered %d and marked %v, want 204 and %v", name, r.status, s.marks, mark)
		}
	}
	wantProblem(t, event(`"5"`, "opened"), 404, "not_found", "push")
	wantProblem(t, event(`"x"`, "opened"), 400, "invalid", "push")
	wantProblem(t, event(`1000`, "opened"), 400, "invalid", "push")
	wantProblem(t, event(`"1000"`, "eaten"), 400, "invalid", "event")
	wantProblem(t, s.call(t, auth, "POST", "/device/v1/events", `{"event": "opened"}`), 400, "invalid", "push")

	if r := s.call(t, auth, "DELETE", "/device/v1/me", ""); r.status != 204 {
		t.Errorf("remove answered %d, want 204", r.status)
	}
	wantProblem(t, s.call(t, auth, "GET", "/device/v1/me", ""), 401, "unauthenticated", "")
}

// watch opens the inbox over a real connection.
func watch(t *testing.T, s *site, auth string) (*http.Response, context.CancelFunc) {
	t.Helper()
	return watchPath(t, s, auth, "/device/v1/inbox")
}

// watchPath opens a stream over a real connection.
func watchPath(t *testing.T, s *site, auth, path string) (*http.Response, context.CancelFunc) {
	t.Helper()
	server := httptest.NewUnstartedServer(s.handler)
	server.Config.ReadTimeout = 300 * time.Millisecond // the deadlines of ordinary requests must not end a stream
	server.Config.WriteTimeout = 300 * time.Millisecond
	server.Start()
	t.Cleanup(server.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", auth)
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("status %d, content type %q, want 200 text/event-stream", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	return resp, cancel
}

// until reads r up to and with the text want.
func until(t *testing.T, r *http.Response, want string) string {
	t.Helper()
	var got strings.Builder
	b := make([]byte, 1)
	for !strings.HasSuffix(got.String(), want) {
		n, err := r.Body.Read(b)
		got.Write(b[:n])
		if err != nil && !strings.HasSuffix(got.String(), want) {
			t.Fatalf("stream ended with %v after %q, want %q", err, got.String(), want)
		}
	}
	return got.String()
}

// A stuckWriter is a socket whose peer does not read: after the first write, each takes until its deadline.
type stuckWriter struct {
	*httptest.ResponseRecorder
	deadline time.Time
	writes   int
}

func (w *stuckWriter) SetWriteDeadline(t time.Time) error {
	w.deadline = t
	return nil
}

func (w *stuckWriter) Write(b []byte) (int, error) {
	if w.writes++; w.writes == 1 {
		return w.ResponseRecorder.Write(b)
	}
	if w.deadline.IsZero() {
		return 0, errors.New("a write without a deadline would never end")
	}
	return 0, os.ErrDeadlineExceeded
}

func TestInbox(t *testing.T) {
	s := newSite(t, restserver.Options{Heartbeat: 5 * time.Millisecond})
	_, auth := s.register(t)
	_, other := s.register(t)
	feed, refs := make(chan string), make(chan push.Ref, 1)
	ended := make(chan error, 1)
	feeding := func(ctx context.Context, ref push.Ref, write func([]byte) error) error {
		refs <- ref
		for {
			select {
			case <-ctx.Done():
				ended <- ctx.Err()
				return ctx.Err()
			case m := <-feed:
				switch m {
				case "take over":
					return nil
				case "close":
					return errors.New("gateway: closed")
				case "refuse":
					return &push.Error{Kind: push.Denied, Msg: "the app is switched off"}
				}
				if err := write([]byte(m)); err != nil {
					return err
				}
			}
		}
	}

	s.stream = feeding
	t.Run("messages, heartbeats and the end", func(t *testing.T) {
		resp, _ := watch(t, s, auth)
		until(t, resp, ": connected\n\n")
		if ref := <-refs; ref.Ordinal != 0 || ref.App != 1 {
			t.Errorf("stream of %+v, want the device that asked", ref)
		}
		feed <- `{"id":"187649984473770","data":1}`
		until(t, resp, "id: 187649984473770\ndata: {\"id\":\"187649984473770\",\"data\":1}\n\n")
		for range 100 { // longer than the server's time-outs
			until(t, resp, ": beat\n\n")
		}
		feed <- "{\"id\":\"5\",\n\"recall\":\"187649984473770\"}"
		until(t, resp, "id: 5\ndata: {\"id\":\"5\", \"recall\":\"187649984473770\"}\n\n")
		feed <- "take over"
		b := make([]byte, 4096)
		for {
			if _, err := resp.Body.Read(b); err != nil {
				if err.Error() != "EOF" {
					t.Errorf("stream ended with %v, want EOF", err)
				}
				break
			}
		}
	})
	t.Run("a refusal is told", func(t *testing.T) {
		resp, _ := watch(t, s, auth)
		<-refs
		feed <- "refuse"
		until(t, resp, "event: problem\n")
		if got := until(t, resp, "\n\n"); !strings.Contains(got, `"code":"denied"`) {
			t.Errorf("problem %q, want denied", got)
		}
	})
	t.Run("the gateway drains", func(t *testing.T) {
		s.logs.Reset()
		resp, _ := watch(t, s, auth)
		<-refs
		feed <- "close"
		b := make([]byte, 4096)
		for {
			n, err := resp.Body.Read(b)
			if strings.Contains(string(b[:n]), "problem") {
				t.Errorf("stream says %q, want just the end", b[:n])
			}
			if err != nil {
				break
			}
		}
		if s.logs.Len() > 0 {
			t.Errorf("draining was logged as a fault: %s", s.logs)
		}
	})
	t.Run("a reader that does not read", func(t *testing.T) {
		stuck := &stuckWriter{ResponseRecorder: httptest.NewRecorder()}
		req := httptest.NewRequest("GET", "/device/v1/inbox", nil)
		req.Header.Set("Authorization", auth)
		s.stream = func(_ context.Context, _ push.Ref, write func([]byte) error) error {
			err := write([]byte(`{"id":"5"}`))
			if again := write([]byte(`{"id":"6"}`)); again != err {
				t.Errorf("after a failed write: got %v, want %v and nothing written", again, err)
			}
			ended <- err
			return err
		}
		s.handler.ServeHTTP(stuck, req)
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v, want the end of the write's deadline", err)
		}
		if stuck.writes != 2 {
			t.Errorf("%d writes, want none after the one that failed", stuck.writes)
		}
	})
	s.stream = feeding
	t.Run("the device hangs up", func(t *testing.T) {
		resp, cancel := watch(t, s, other)
		until(t, resp, ": connected\n\n")
		if ref := <-refs; ref.Ordinal != 1 {
			t.Errorf("stream of %+v, want the other device", ref)
		}
		cancel()
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("stream ended with %v, want cancelled", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the stream went on after the device had gone")
		}
	})
	wantProblem(t, s.call(t, "Device x:y", "GET", "/device/v1/inbox", ""), 401, "unauthenticated", "")
}

// The client's own list, from which the command line knows its columns, is that of the domain.
func TestClientKnowsTheChannels(t *testing.T) {
	if got, want := carillon.TokenChannels(), push.TokenChannels(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
