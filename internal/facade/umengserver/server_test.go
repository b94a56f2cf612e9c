package umengserver_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/facade"
	"github.com/carillonpush/carillon/internal/facade/umengserver"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/sdk/umeng"
)

// TestSignatureVectors sends the bodies of protocols/umeng.md section 2.3 with the signatures given there.
func TestSignatureVectors(t *testing.T) {
	text, err := os.ReadFile("../../../sdk/umeng/testdata/sign.txt")
	if err != nil {
		t.Fatal(err)
	}
	bodies, served := map[string]string{}, 0
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSpace(line), " ", 4)
		switch {
		case f[0] == "body":
			bodies[f[1]] = f[3]
		case f[0] == "sign":
			u, err := url.Parse(f[1])
			if err != nil {
				t.Fatal(err)
			}
			if u.Path == "/upload" {
				continue // not served yet
			}
			served++
			// The proxy of the prefixed address strips the prefix.
			target := strings.TrimPrefix(u.Path, "/umeng")
			r := httptest.NewRequest(http.MethodPost, target+"?sign="+f[3], strings.NewReader(bodies[f[2]]))
			r.Host = u.Host
			s := newHouse().server(&umengserver.Options{Edge: facade.Edge{Public: []string{"https://push.example.com/umeng"}}})
			want := ""
			if target != umeng.PathSend {
				want = "1014" // the task is unknown, but the signature was right
			}
			if got := code(do(t, s, r)); got != want {
				t.Errorf("%s, body %s: got %q, want %q", f[1], f[2], got, want)
			}
		}
	}
	if served < 8 {
		t.Errorf("vectors that were served: got %d, want at least 8", served)
	}
}

func TestSignatureCandidates(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // httptest's address
	for _, tt := range []struct {
		name   string
		client string // the URL that the client hashed
		target string // what arrives
		host   string
		header http.Header
		edge   facade.Edge
		want   string
	}{
		{"as it arrives", "http://a.test:8080/api/send", "/api/send", "a.test:8080", nil, facade.Edge{}, ""},
		{"TLS ended by a proxy", "https://a.test/api/send", "/api/send", "a.test", nil, facade.Edge{}, ""},
		{"default port added by a proxy", "https://a.test/api/send", "/api/send", "a.test:443", nil, facade.Edge{}, ""},
		{"hosts file points at us, HTTP", "http://msg.umeng.com/api/send", "/api/send", "10.0.0.1:80", nil, facade.Edge{}, ""},
		{"hosts file points at us, HTTPS", "https://msgapi.umeng.com/api/send", "/api/send", "10.0.0.1", nil, facade.Edge{}, ""},
		{"HTTP_PROXY names us", "http://b.test/api/send", "http://b.test/api/send", "a.test", nil, facade.Edge{}, ""},
		{
			"host forwarded by a trusted proxy", "https://b.test/api/send", "/api/send", "a.test",
			http.Header{"X-Forwarded-Host": {"b.test, c.test"}},
			facade.Edge{Trusted: trusted},
			"",
		},
		{
			"host forwarded by anybody", "https://b.test/api/send", "/api/send", "a.test",
			http.Header{"X-Forwarded-Host": {"b.test"}},
			facade.Edge{},
			"2027",
		},
		{
			"public host with a port", "https://b.test:8443/api/send", "/api/send", "a.test", nil,
			facade.Edge{Public: []string{"https://b.test:8443"}},
			"",
		},
		{
			"public host with a prefix", "https://b.test/push/api/send", "/api/send", "a.test", nil,
			facade.Edge{Public: []string{"https://b.test/push/"}},
			"",
		},
		{"double slash after the host", "http://a.test//api/send", "//api/send", "a.test", nil, facade.Edge{}, ""},
		{"double slashes anywhere", "http://a.test/api///send", "/api///send", "a.test", nil, facade.Edge{}, ""},
		{"double slash after a proxy", "http://b.test//api/send", "http://b.test//api/send", "a.test", nil, facade.Edge{}, ""},
		{"double slash that was not sent", "http://a.test//api/send", "/api/send", "a.test", nil, facade.Edge{}, "2027"},
		{"another host", "http://b.test/api/send", "/api/send", "a.test", nil, facade.Edge{}, "2027"},
		{"another path", "http://a.test/api/status", "/api/send", "a.test", nil, facade.Edge{}, "2027"},
		{"query in the hash", "http://a.test/api/send?x=1", "/api/send", "a.test", nil, facade.Edge{}, "2027"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sign := umeng.Sign("POST", tt.client, []byte(androidNotification), secret)
			r := httptest.NewRequest(http.MethodPost, tt.target+"?sign="+sign, strings.NewReader(androidNotification))
			r.Host = tt.host
			if tt.header != nil {
				r.Header = tt.header
			}
			h := newHouse()
			if got := code(do(t, h.server(&umengserver.Options{Edge: tt.edge}), r)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if accepted := len(h.pushes) == 1; accepted != (tt.want == "") {
				t.Errorf("accepted: got %t, want %t", accepted, tt.want == "")
			}
		})
	}
}

func TestSignatureForms(t *testing.T) {
	const u = "http://push.test/api/send"
	body := []byte(androidNotification)
	right := umeng.Sign("POST", u, body, secret)
	for _, tt := range []struct{ name, query, want string }{
		{"upper case", "?sign=" + strings.ToUpper(right), ""},
		{"other parameters beside it", "?a=1&sign=" + right + "&b=%zz", ""},
		{"secret that was replaced", "?sign=" + umeng.Sign("POST", u, body, oldSecret), ""},
		{"no query", "", "2007"},
		{"empty", "?sign=", "2007"},
		{"wrong secret", "?sign=" + umeng.Sign("POST", u, body, "x"), "2027"},
		{"cut short", "?sign=" + right[:31], "2027"},
		{"other body", "?sign=" + umeng.Sign("POST", u, append(body, ' '), secret), "2027"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, u+tt.query, bytes.NewReader(body))
			if got := code(do(t, newHouse().server(nil), r)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestHTTPForms sends what section 4.1 saw on the wire, through a real connection.
func TestHTTPForms(t *testing.T) {
	srv := httptest.NewServer(newHouse().server(nil))
	defer srv.Close()
	u := srv.URL + umeng.PathSend
	for _, contentType := range []string{
		"application/json", "application/x-www-form-urlencoded", "text/plain; charset=UTF-8", "",
		"multipart/form-data; boundary=x",
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
			u+"?sign="+umeng.Sign("POST", u, []byte(androidNotification), secret), strings.NewReader(androidNotification))
		if err != nil {
			t.Fatal(err)
		}
		r.Header["Content-Type"] = nil
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		r.Header.Set("Expect", "100-continue")
		res, err := srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(body), `"ret":"SUCCESS"`) {
			t.Errorf("content type %q: got %d %s %v, want SUCCESS", contentType, res.StatusCode, body, err)
		}
	}
}

// TestClient speaks to the server with the client of the same package.
func TestClient(t *testing.T) {
	h := newHouse()
	srv := httptest.NewServer(umengserver.New(h, h, nil))
	defer srv.Close()
	c := umeng.NewClient(androidKey, secret, &umeng.Options{BaseURL: srv.URL})
	sent, err := c.Send(t.Context(), umeng.Broadcast(umeng.Notification("t", "x")))
	if err != nil || sent.TaskID == "" {
		t.Fatalf("Send: got %+v, %v, want a task", sent, err)
	}
	st, err := c.Status(t.Context(), sent.TaskID)
	if err != nil || st.Status != umeng.Queued {
		t.Errorf("Status: got %+v, %v, want queued", st, err)
	}
	if err := c.Cancel(t.Context(), sent.TaskID); err != nil {
		t.Errorf("Cancel: %v", err)
	}
	if err := c.Cancel(t.Context(), sent.TaskID); !errors.Is(err, umeng.CodeNotCancellable) {
		t.Errorf("second Cancel: got %v, want 1028", err)
	}
}

func TestPathsAndMethods(t *testing.T) {
	s := newHouse().server(nil)
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/api/send", 405},
		{http.MethodPut, "/api/status", 405},
		{http.MethodOptions, "/api/cancel", 405},
		{http.MethodPost, "/api/nothing", 404},
		{http.MethodPost, "/api/send/", 404},
		{http.MethodPost, "/api/send//", 404},
		{http.MethodGet, "//api///send", 405},
		{http.MethodPost, "//api/nothing", 404},
		{http.MethodPost, "//upload", 404},
		{http.MethodGet, "/upload", 404},
	} {
		r := do(t, s, httptest.NewRequest(tt.method, tt.path, nil))
		if r.status != tt.status {
			t.Errorf("%s %s: got %d, want %d", tt.method, tt.path, r.status, tt.status)
		}
		if allow := r.header.Get("Allow"); (allow == "POST") != (tt.status == 405) {
			t.Errorf("%s %s: got Allow %q", tt.method, tt.path, allow)
		}
	}
	for path, want := range map[string]bool{
		"/api/send": true, "/api/x/y": true, "/upload": true, "/upload/x": false, "/apiex.htm": false, "/api": false, "/": false,
		"//api/send": true, "/api//send": true, "///upload": true, "//v1/apps": false, "//": false, "": false,
	} {
		if got := umengserver.Owns(path); got != want {
			t.Errorf("Owns(%q): got %t, want %t", path, got, want)
		}
	}
}

// An endless body counts how much of it is read.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.read += len(p)
	return len(p), nil
}

func TestBodyLimit(t *testing.T) {
	for name, announced := range map[string]int64{"length announced": 1 << 40, "length unknown": -1} {
		t.Run(name, func(t *testing.T) {
			body := &endless{}
			r := httptest.NewRequest(http.MethodPost, "/api/send?sign=x", body)
			r.ContentLength = announced
			got := do(t, newHouse().server(nil), r)
			if code(got) != "2008" || got.header.Get("Connection") != "close" {
				t.Errorf("got %q, Connection %q, want 2008 and close", code(got), got.header.Get("Connection"))
			}
			if most := facade.DefaultBodyLimit + 64<<10; body.read > most {
				t.Errorf("bytes read: got %d, want at most %d", body.read, most)
			}
		})
	}
	// The same over a connection: the sender is still writing when the answer comes.
	srv := httptest.NewServer(newHouse().server(nil))
	defer srv.Close()
	res, err := srv.Client().Post(srv.URL+"/api/send?sign=x", "application/json", io.LimitReader(&endless{}, 64<<20))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || res.StatusCode != http.StatusBadRequest || !strings.Contains(string(answer), `"error_code":"2008"`) {
		t.Errorf("64 MiB: got %d %s %v, want FAIL 2008", res.StatusCode, answer, err)
	}
	// A body of exactly the limit is read: what is wrong is found by its length alone.
	big := with(androidNotification, `"description":"`)
	big = strings.TrimSuffix(big, "}")
	big += strings.Repeat("a", facade.DefaultBodyLimit-len(big)-2) + `"}`
	if got := code(post(t, newHouse().server(nil), "/api/send", big)); got != "2022" {
		t.Errorf("4 MiB: got %q, want 2022", got)
	}
}

func TestAddresses(t *testing.T) {
	for _, tt := range []struct{ name, allow, forwarded, want string }{
		{"everybody", "", "", ""},
		{"the network", "192.0.2.0/24", "", ""},
		{"another network", "10.0.0.0/8", "", "2054"},
		{"forwarded by the trusted proxy", "10.0.0.0/8", "10.1.2.3", ""},
		{"forwarded, but another", "10.0.0.0/8", "172.16.0.1", "2054"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse()
			h.app.Settings[push.SettingIPAllow] = tt.allow
			r := signed("/api/send", androidNotification)
			r.Header.Set("X-Forwarded-For", tt.forwarded)
			s := h.server(&umengserver.Options{Edge: facade.Edge{Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}}})
			if got := code(do(t, s, r)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestOrder breaks everything at once and mends it step by step: the codes must come in the order of section 13.
func TestOrder(t *testing.T) {
	h := newHouse()
	h.app.Settings[push.SettingDisabled] = "true"
	h.app.Settings[push.SettingIPAllow] = "10.0.0.0/8"
	s := h.server(nil)
	sign := func(body string) string { return umeng.Sign("POST", "http://push.test/api/send", []byte(body), secret) }
	body := `{"type":"nothing"`
	step := func(want, change string, query string) {
		t.Helper()
		body += change
		r := httptest.NewRequest(http.MethodPost, "http://push.test/api/send"+query, strings.NewReader(body))
		if got := code(do(t, s, r)); got != want {
			t.Errorf("after %q: got %q, want %q", change, got, want)
		}
	}
	step("2008", "", "")
	step("1000", "}", "")
	fields := func(more string) string { body = strings.TrimSuffix(body, "}"); return "," + more + "}" }
	step("2021", fields(`"appkey":"nobody"`), "")
	step("2000", fields(`"appkey":"`+androidKey+`"`), "")
	h.app.Settings[push.SettingDisabled] = "false"
	step("2054", "", "")
	h.app.Settings[push.SettingIPAllow] = ""
	step("2052", "", "")
	step("2036", fields(`"timestamp":"17"`), "")
	step("2028", fields(`"timestamp":"1600000000"`), "")
	step("2007", fields(`"timestamp":"1700000000"`), "")
	step("2027", "", "?sign="+sign("other"))
	mend := func(want, more string) { t.Helper(); c := fields(more); step(want, c, "?sign="+sign(body+c)) }
	mend("2048", `"policy":7`)
	mend("1001", `"type":"unicast"`)
	mend("1027", `"payload":{}`)
	mend("1015", `"policy":{"max_send_num":"x","start_time":"soon"}`)
	mend("1004", `"device_tokens":"d1"`)
	mend("1002", `"payload":{"display_type":"notification"}`)
	mend("1008", `"payload":{"display_type":"notification","body":{"play_sound":"loud"}}`)
	mend("1013", `"production_mode":"test",`+note(`"play_sound":"loud"`))
	mend("1017", note(""))
	mend("2024", `"production_mode":"true"`)
	mend("", `"policy":{}`)
	if len(h.asked) != 1 {
		t.Errorf("requests that went through: got %d, want 1", len(h.asked))
	}
}

func TestTimestampWindow(t *testing.T) {
	s := newHouse().server(nil)
	for _, tt := range []struct {
		name, timestamp, want string
	}{
		{"seconds as text", `"1700000000"`, ""},
		{"seconds as a number", `1700000000`, ""},
		{"milliseconds", `1700000000123`, ""},
		{"ten minutes ago", strconv.FormatInt(now.Unix()-600, 10), ""},
		{"ten minutes ahead", strconv.FormatInt(now.Unix()+600, 10), ""},
		{"a second more ago", strconv.FormatInt(now.Unix()-601, 10), "2028"},
		{"a millisecond more ahead", strconv.FormatInt(now.UnixMilli()+600_001, 10), "2028"},
		{"null", `null`, "2052"},
		{"empty", `""`, "2052"},
		{"eleven digits", `17000000000`, "2036"},
		{"an object", `{}`, "2036"},
	} {
		if got := code(post(t, s, "/api/send", with(androidNotification, `"timestamp":`+tt.timestamp))); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestNothingLeaks checks that logs hold neither the secret nor what was sent.
func TestNothingLeaks(t *testing.T) {
	var log bytes.Buffer
	h := newHouse()
	s := h.server(&umengserver.Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	body := strings.ReplaceAll(androidNotification, `"x"`, `"private words"`)
	post(t, s, "/api/send", with(body, `"production_mode":"private flag"`))
	h.fail = &push.Error{Kind: push.Unavailable, Op: "record", Err: errors.New("disk full")}
	post(t, s, "/api/send", body)
	for _, word := range []string{"private", secret, "d1 ", umeng.Sign("POST", "http://push.test/api/send", []byte(body), secret)} {
		if strings.Contains(log.String(), word) {
			t.Errorf("the log holds %q", word)
		}
	}
	for _, word := range []string{"1017", "production_mode", "4001", "disk full"} {
		if !strings.Contains(log.String(), word) {
			t.Errorf("the log does not say %q:\n%s", word, log.String())
		}
	}
}
