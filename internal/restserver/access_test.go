package restserver_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/restserver"
)

func TestAccess(t *testing.T) {
	s := newSite(t, restserver.Options{})
	_, dev := s.register(t)
	for _, tt := range []struct {
		name, auth, method, path string
		status                   int
		code                     string
	}{
		{"no credentials", "", "GET", pushes, 401, "unauthenticated"},
		{"another scheme", "Basic key-1", "GET", pushes, 401, "unauthenticated"},
		{"empty key", "Bearer ", "GET", pushes, 401, "unauthenticated"},
		{"unknown key", "Bearer nonsense", "GET", pushes, 401, "unauthenticated"},
		{"a device on a sender's route", dev, "GET", pushes, 401, "unauthenticated"},
		{"own key, scheme in lower case", "bearer key-1", "GET", pushes, 200, ""},
		{"own key, app by name", key1, "GET", "/v1/apps/demo/pushes", 200, ""},
		{"key of another app", "Bearer key-2", "GET", pushes, 403, "denied"},
		{"key, app that does not exist", "Bearer key-2", "GET", "/v1/apps/nosuch/pushes", 403, "denied"},
		{"admin, app that does not exist", admin, "GET", "/v1/apps/nosuch/pushes", 404, "not_found"},
		{"key on the list of apps", key1, "GET", "/v1/apps", 403, "denied"},
		{"key on its own app", key1, "GET", "/v1/apps/1", 403, "denied"},
		{"key rotates keys", key1, "POST", "/v1/apps/1/rotate-keys", 403, "denied"},
		{"admin shows an app", admin, "GET", "/v1/apps/1", 200, ""},
		{"sender on a device's route", key1, "GET", "/device/v1/me", 401, "unauthenticated"},
		{"device without a secret", "Device 1", "GET", "/device/v1/me", 401, "unauthenticated"},
		{"device with a wrong secret", dev + "x", "GET", "/device/v1/me", 401, "unauthenticated"},
		{"device", dev, "GET", "/device/v1/me", 200, ""},
		{"unknown route", admin, "GET", "/v1/nothing", 404, "not_found"},
		{"unknown route of devices", dev, "GET", "/device/v2/me", 404, "not_found"},
		{"unknown path", "", "GET", "/nothing", 404, "not_found"},
		{"double slash in front", key1, "GET", "/" + pushes, 404, "not_found"},
		{"double slash inside", key1, "POST", "/v1/apps/1//pushes", 404, "not_found"},
		{"dots", key1, "POST", "/v1/apps/1/devices/../pushes", 404, "not_found"},
		{"a dot at the end", "", "GET", "/docs/.", 404, "not_found"},
		{"slash at the end", key1, "GET", pushes + "/", 404, "not_found"},
		{"double slash before the documentation", "", "GET", "//docs", 404, "not_found"},
		{"wrong method of the document", "", "POST", "/openapi.json", 405, "method_not_allowed"},
		{"wrong method", key1, "DELETE", pushes, 405, "method_not_allowed"},
		{"NUL in a name", key1, "GET", "/v1/apps/1/devices/a%00b", 404, "not_found"},
		{"bytes that are no UTF-8 in a name", key1, "GET", "/v1/apps/1/devices/%ff", 404, "not_found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := s.call(t, tt.auth, tt.method, tt.path, "")
			if tt.code == "" {
				if r.status != tt.status {
					t.Fatalf("status %d, want %d: %s", r.status, tt.status, r.body)
				}
				return
			}
			p := into[restserver.Problem](t, r, tt.status)
			if p.Code != tt.code || r.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("problem %+v as %s, want code %q", p, r.header.Get("Content-Type"), tt.code)
			}
			if challenge := r.header.Get("WWW-Authenticate"); (challenge != "") != (tt.status == 401) {
				t.Errorf("WWW-Authenticate %q with status %d", challenge, tt.status)
			}
		})
	}
	t.Run("a foreign key learns nothing of apps", func(t *testing.T) {
		there := s.call(t, "Bearer key-2", "GET", "/v1/apps/1/pushes", "")
		nowhere := s.call(t, "Bearer key-2", "GET", "/v1/apps/99/pushes", "")
		if string(there.body) != string(nowhere.body) || there.status != nowhere.status {
			t.Errorf("%s for an app that exists, %s for one that does not", there.body, nowhere.body)
		}
	})
	t.Run("allowed methods are named", func(t *testing.T) {
		r := s.call(t, admin, "PUT", "/v1/apps/1", "{}")
		if got := r.header.Get("Allow"); got != "GET, PATCH, DELETE" {
			t.Errorf("Allow %q, want GET, PATCH, DELETE", got)
		}
	})
	t.Run("no admin token, no administrator", func(t *testing.T) {
		h := newHouse()
		server := httptest.NewServer(restserver.New(h.ports(), nil).Handler())
		defer server.Close()
		req, _ := http.NewRequest("GET", server.URL+"/v1/apps", nil)
		for _, auth := range []string{"Bearer ", "Bearer", "Bearer x"} {
			req.Header.Set("Authorization", auth)
			resp, err := server.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 401 {
				t.Errorf("status %d for %q, want 401", resp.StatusCode, auth)
			}
		}
	})
}

func TestAddressAndDisabled(t *testing.T) {
	from := netip.MustParseAddr("192.0.2.7")
	s := newSite(t, restserver.Options{RemoteIP: func(*http.Request) netip.Addr { return from }})
	set := func(settings string) {
		t.Helper()
		into[push.App](t, s.call(t, admin, "PATCH", "/v1/apps/1", `{"settings": `+settings+`}`), 200)
	}
	set(`{"ip_allow": "10.0.0.0/8, 192.0.2.7"}`)
	into[push.Push](t, s.call(t, key1, "POST", pushes, hello), 202)
	from = netip.MustParseAddr("::ffff:10.1.2.3") // as a dual-stack socket names it
	into[push.Push](t, s.call(t, key1, "POST", pushes, hello), 202)
	from = netip.MustParseAddr("192.0.2.8")
	wantProblem(t, s.call(t, key1, "POST", pushes, hello), 403, "denied", "")
	into[push.Push](t, s.call(t, admin, "POST", pushes, hello), 202)
	from = netip.Addr{}
	wantProblem(t, s.call(t, key1, "POST", pushes, hello), 403, "denied", "")

	set(`{"ip_allow": null, "disabled": true}`)
	wantProblem(t, s.call(t, key1, "GET", pushes, ""), 403, "denied", "")
	wantProblem(t, s.call(t, admin, "POST", pushes, hello), 403, "denied", "")
	set(`{"disabled": null}`)
	into[push.Push](t, s.call(t, key1, "POST", pushes, hello), 202)
}

func TestKinds(t *testing.T) {
	s := newSite(t, restserver.Options{})
	secret := errors.New("password=hunter2")
	for _, tt := range []struct {
		err    error
		status int
		code   string
		field  string
		retry  string
		logged bool
	}{
		{&push.Error{Kind: push.Invalid, Field: "policy.ttl", Msg: "is long", Err: secret}, 400, "invalid", "policy.ttl", "", false},
		{&push.Error{Kind: push.Unauthenticated, Msg: "who?", Err: secret}, 401, "unauthenticated", "", "", false},
		{&push.Error{Kind: push.Denied, Msg: "no", Err: secret}, 403, "denied", "", "", false},
		{&push.Error{Kind: push.NotFound, Msg: "none", Err: secret}, 404, "not_found", "", "", false},
		{&push.Error{Kind: push.Conflict, Msg: "taken", Err: secret}, 409, "conflict", "", "", false},
		{&push.Error{Kind: push.TooLarge, Msg: "big", Err: secret}, 413, "too_large", "", "", false},
		{&push.Error{Kind: push.TooMany, Msg: "often", RetryAfter: 90 * time.Second}, 429, "too_many", "", "90", false},
		{&push.Error{Kind: push.TooMany, Msg: "often", RetryAfter: 10 * time.Millisecond}, 429, "too_many", "", "1", false},
		{&push.Error{Kind: push.TooMany, Msg: "often"}, 429, "too_many", "", "1", false},
		{&push.Error{Kind: push.Internal, Field: "x", Msg: "gory", Err: secret}, 500, "internal", "", "", true},
		{&push.Error{Kind: push.Unavailable, Msg: "later", Err: secret}, 503, "unavailable", "", "1", true},
		{push.Wrap("outer", &push.Error{Kind: push.Conflict, Msg: "taken"}), 409, "conflict", "", "", false},
		{fmt.Errorf("plain %w", secret), 500, "internal", "", "", true},
		{push.Kind(200), 500, "internal", "", "", true},
	} {
		t.Run(tt.err.Error(), func(t *testing.T) {
			s.fail = tt.err
			s.logs.Reset()
			r := s.call(t, key1, "GET", pushes+"/1", "")
			wantProblem(t, r, tt.status, tt.code, tt.field)
			if got := r.header.Get("Retry-After"); got != tt.retry {
				t.Errorf("Retry-After %q, want %q", got, tt.retry)
			}
			if strings.Contains(string(r.body), "hunter2") || strings.Contains(string(r.body), "gory") {
				t.Errorf("the cause is shown: %s", r.body)
			}
			if (s.logs.Len() > 0) != tt.logged {
				t.Errorf("log %q, want logged %v", s.logs, tt.logged)
			}
		})
	}
}

func TestPanic(t *testing.T) {
	s := newSite(t, restserver.Options{})
	s.apps[0].Settings = nil
	s.meeting.arrived = nil // Accept calls Broadcast on it
	defer func() { s.meeting.arrived = nil }()
	wantProblem(t, s.call(t, admin, "GET", "/v1/apps/1/pushes/x", ""), 404, "not_found", "id")
	r := s.call(t, key1, "POST", pushes, hello)
	wantProblem(t, r, 500, "internal", "")
	r = s.call(t, key1, "POST", pushes+"/batch", `{"pushes": [`+hello+`]}`)
	if r.status != 200 || !strings.Contains(string(r.body), `"internal"`) {
		t.Errorf("batch with a panic answered %d %s, want 200 with an internal problem", r.status, r.body)
	}
	if !strings.Contains(s.logs.String(), "handler panicked") {
		t.Errorf("log %s, want the panic", s.logs)
	}
}

// deadlines is a writer that remembers the deadlines it was given.
type deadlines struct {
	*httptest.ResponseRecorder
	read, write []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.read = append(d.read, t)
	return nil
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.write = append(d.write, t)
	return nil
}

// TestDeadlines shows that a peer that stalls is given up, and that a connection is handed on without deadlines.
func TestDeadlines(t *testing.T) {
	s := newSite(t, restserver.Options{})
	const files = "/v1/apps/1/files"
	for _, tt := range []struct{ path, body string }{{pushes, hello}, {files, "a"}, {files, strings.Repeat("refused", 50)}} {
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		req := httptest.NewRequest("POST", tt.path, strings.NewReader(tt.body))
		req.Header.Set("Authorization", key1)
		s.handler.ServeHTTP(w, req)
		for name, got := range map[string][]time.Time{"read": w.read, "write": w.write} {
			if len(got) != 2 || time.Until(got[0]) < time.Second || time.Until(got[0]) > 10*time.Minute || !got[1].IsZero() {
				t.Errorf("%s: %s deadlines %v, want one in the next minutes and then none", tt.path, name, got)
			}
		}
	}
}

// endless is a body that counts what was read of it.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.read += len(p)
	return len(p), nil
}

func TestBodyLimit(t *testing.T) {
	s := newSite(t, restserver.Options{})
	do := func(length int64, path string) (reply, int) {
		body := &endless{}
		req := httptest.NewRequest("POST", path, io.NopCloser(body))
		req.ContentLength = length
		req.Header.Set("Authorization", key1)
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, req)
		return reply{w.Code, w.Header(), w.Body.Bytes()}, body.read
	}
	r, n := do(4<<20+1, pushes)
	wantProblem(t, r, 413, "too_large", "")
	if n != 0 {
		t.Errorf("read %d bytes of a body that says it is too large, want 0", n)
	}
	r, n = do(-1, pushes)
	wantProblem(t, r, 413, "too_large", "")
	if n > 6<<20 || r.header.Get("Connection") != "close" {
		t.Errorf("read %d bytes of an endless body, Connection %q, want about the limit and close", n, r.header.Get("Connection"))
	}
	r, n = do(-1, pushes+"/batch")
	wantProblem(t, r, 413, "too_large", "")
	if n < 16<<20 || n > 24<<20 {
		t.Errorf("read %d bytes of an endless batch, want about its limit of 16 MiB", n)
	}
	r, n = do(16<<20+1, pushes+"/batch")
	wantProblem(t, r, 413, "too_large", "")
	if n != 0 {
		t.Errorf("read %d bytes of a batch that says it is too large, want 0", n)
	}
	if r, n := do(-1, "/v1/apps/2/pushes"); r.status != 403 || n != 0 {
		t.Errorf("status %d after %d bytes for a foreign key, want 403 after 0", r.status, n)
	}
	// What is exactly as large as allowed is read.
	exact := hello + strings.Repeat(" ", 4<<20-len(hello))
	into[push.Push](t, s.call(t, key1, "POST", pushes, exact), 202)
}
