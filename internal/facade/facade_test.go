package facade_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillonpush/carillon/internal/facade"
	"github.com/carillonpush/carillon/internal/push"
)

func TestRequestID(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for range 1000 {
		id := facade.RequestID()
		if !form.MatchString(id) || seen[id] {
			t.Fatalf("got %q, want a new UUID of version 4", id)
		}
		seen[id] = true
	}
}

func TestClient(t *testing.T) {
	proxies, err := push.ParsePrefixes("192.0.2.0/24, 2001:db8::/64, 10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, remote string
		forwarded    []string
		want         string
	}{
		{"no proxy", "198.51.100.7:99", nil, "198.51.100.7"},
		{"no proxy, but a claim", "198.51.100.7:99", []string{"1.1.1.1"}, "198.51.100.7"},
		{"proxy without the header", "192.0.2.1:99", nil, "192.0.2.1"},
		{"proxy", "192.0.2.1:99", []string{"1.1.1.1"}, "1.1.1.1"},
		{"client invents hops", "192.0.2.1:99", []string{"6.6.6.6, 1.1.1.1"}, "1.1.1.1"},
		{"two proxies", "192.0.2.1:99", []string{"6.6.6.6, 1.1.1.1, 10.0.0.1"}, "1.1.1.1"},
		{"two headers", "192.0.2.1:99", []string{"1.1.1.1", "10.0.0.1"}, "1.1.1.1"},
		{"proxies all the way", "192.0.2.1:99", []string{"10.0.0.1, 192.0.2.9"}, "10.0.0.1"},
		{"a word among hops", "192.0.2.1:99", []string{"1.1.1.1, unknown, 10.0.0.1"}, "10.0.0.1"},
		{"IPv6 proxy with a zone", "[2001:db8::1%eth0]:99", []string{"[2001:db8:1::5]:443"}, "2001:db8:1::5"},
		{"IPv4 in IPv6", "[::ffff:192.0.2.1]:99", []string{"::ffff:1.1.1.1"}, "1.1.1.1"},
		{"hop with a port", "192.0.2.1:99", []string{"1.1.1.1:1234"}, "1.1.1.1"},
		{"Unix socket", "@", []string{"1.1.1.1"}, "invalid IP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.RemoteAddr = tt.remote
			r.Header["X-Forwarded-For"] = tt.forwarded
			if got := (facade.Edge{Trusted: proxies}).Client(r).String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestForwardedHostAndScheme(t *testing.T) {
	trusting := facade.Edge{Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}}
	r := httptest.NewRequest(http.MethodPost, "/", nil) // from 192.0.2.1
	if got := trusting.Host(r) + " " + trusting.Scheme(r); got != " http" {
		t.Errorf("no headers: got %q, want no host and http", got)
	}
	r.Header.Set("X-Forwarded-Host", " a.test:8443 , b.test")
	r.Header.Set("X-Forwarded-Proto", "HTTPS, http")
	if got := trusting.Host(r) + " " + trusting.Scheme(r); got != "a.test:8443 https" {
		t.Errorf("trusted: got %q, want the first of each", got)
	}
	if got := (facade.Edge{}).Host(r) + " " + (facade.Edge{}).Scheme(r); got != " http" {
		t.Errorf("not trusted: got %q, want no host and http", got)
	}
	r.TLS = &tls.ConnectionState{}
	if got := (facade.Edge{}).Scheme(r); got != "https" {
		t.Errorf("over TLS: got %q, want https", got)
	}
	r.Header.Set("X-Forwarded-Proto", "gopher")
	if got := trusting.Scheme(r); got != "https" {
		t.Errorf("strange protocol: got %q, want that of the connection", got)
	}
}

func TestAllowed(t *testing.T) {
	addr := netip.MustParseAddr("10.1.2.3")
	for _, tt := range []struct {
		allow string
		addr  netip.Addr
		want  bool
	}{
		{"", addr, true},
		{"", netip.Addr{}, true},
		{"10.0.0.0/8", addr, true},
		{"192.0.2.1, 10.1.2.3", addr, true},
		{"192.0.2.1", addr, false},
		{"10.0.0.0/8", netip.Addr{}, false},
		{"nonsense", addr, false},
	} {
		app := push.App{Settings: push.Settings{push.SettingIPAllow: tt.allow}}
		if got := facade.Allowed(app, tt.addr); got != tt.want {
			t.Errorf("%q, %v: got %t, want %t", tt.allow, tt.addr, got, tt.want)
		}
	}
}

// A countedBody is n bytes and knows how many were read.
type countedBody struct {
	n, read int
	err     error // at the end, instead of io.EOF
}

func (b *countedBody) Read(p []byte) (int, error) {
	if b.read >= b.n {
		return 0, b.err
	}
	n := min(len(p), b.n-b.read)
	b.read += n
	return n, nil
}

func TestReadBody(t *testing.T) {
	const limit = 100_000
	for _, tt := range []struct {
		name    string
		size    int
		length  int64
		kind    push.Kind
		most    int
		closing bool
	}{
		{"announced and too large", 10 * limit, 10 * limit, push.TooLarge, 0, true},
		{"one byte too large", limit + 1, limit + 1, push.TooLarge, 0, true},
		{"unannounced and too large", 10 * limit, -1, push.TooLarge, limit + 64<<10, true},
		{"cut off", 50, 60, push.Invalid, 50, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := &countedBody{n: tt.size, err: errors.New("cut off")}
			r := httptest.NewRequest(http.MethodPost, "/", body)
			r.ContentLength = tt.length
			w := httptest.NewRecorder()
			_, err := facade.ReadBody(w, r, limit)
			if !errors.Is(err, tt.kind) {
				t.Errorf("got %v, want %v", err, tt.kind)
			}
			if body.read > tt.most {
				t.Errorf("read: got %d bytes, want at most %d", body.read, tt.most)
			}
			if closing := w.Header().Get("Connection") == "close"; closing != tt.closing {
				t.Errorf("connection closes: got %t, want %t", closing, tt.closing)
			}
		})
	}
	for _, size := range []int{0, 1, limit} {
		r := httptest.NewRequest(http.MethodPost, "/?a=1", strings.NewReader(strings.Repeat("b", size)))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		got, err := facade.ReadBody(httptest.NewRecorder(), r, limit)
		if err != nil || len(got) != size {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
		if r.Form != nil {
			t.Errorf("%d bytes: the form was parsed", size)
		}
	}
}

// A deadlineWriter notes the read deadlines that are set.
type deadlineWriter struct {
	*httptest.ResponseRecorder
	deadlines []time.Time
}

func (w *deadlineWriter) SetReadDeadline(t time.Time) error {
	w.deadlines = append(w.deadlines, t)
	return nil
}

// TestReadBodyEnds checks that a body has a minute, and that what follows it has as long as it likes. It reads through
// Recover, as façades do.
func TestReadBodyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &deadlineWriter{ResponseRecorder: httptest.NewRecorder()}
		h := facade.Recover(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := facade.ReadBody(w, r, 10); err != nil {
				t.Error(err)
			}
		}), nil, nil)
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader("body")))
		want := []time.Time{time.Now().Add(time.Minute), {}}
		if !slices.EqualFunc(w.deadlines, want, time.Time.Equal) {
			t.Errorf("deadlines: got %v, want %v", w.deadlines, want)
		}
	})
}

func TestDryRun(t *testing.T) {
	for value, want := range map[string]bool{"": false, "0": false, "true": false, "1": true} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("carillon-dry-run", value)
		if got := facade.DryRun(r); got != want {
			t.Errorf("%q: got %t, want %t", value, got, want)
		}
	}
	if _, err := push.ParseID(facade.DryRunID); !errors.Is(err, push.NotFound) {
		t.Errorf("id of a dry run: got %v, want that no push has it", err)
	}
	w := httptest.NewRecorder()
	facade.SetDryRunResult(w, push.Count{Target: 3, Platforms: map[string]int{"ios": 3}})
	want := `{"target":3,"unknown":0,"online":0,"platforms":{"ios":3},"channels":null,"blacklisted":0,"over_limit":0}`
	if got := w.Header().Get("Carillon-Dry-Run-Result"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRecover(t *testing.T) {
	var log bytes.Buffer
	wrap := func(h http.HandlerFunc) http.Handler {
		return facade.Recover(h, slog.New(slog.NewTextHandler(&log, nil)), func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusTeapot)
		})
	}
	serve := func(h http.Handler) (status int, panicked any) {
		w := httptest.NewRecorder()
		defer func() { status, panicked = w.Code, recover() }()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/path", nil))
		return
	}
	if status, p := serve(wrap(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202) })); status != 202 || p != nil || log.Len() > 0 {
		t.Errorf("no panic: got %d, %v, log %q", status, p, log.String())
	}
	if status, p := serve(wrap(func(http.ResponseWriter, *http.Request) { panic("secret words") })); status != 418 || p != nil {
		t.Errorf("panic: got %d, %v, want the answer of fail", status, p)
	}
	if got := log.String(); strings.Contains(got, "secret words") || !strings.Contains(got, "panic=string") || !strings.Contains(got, "/path") {
		t.Errorf("log: got %s, want type and path without what was panicked with", got)
	}
	log.Reset()
	var empty []int
	if status, _ := serve(wrap(func(http.ResponseWriter, *http.Request) { _ = empty[len(empty)] })); status != 418 ||
		!strings.Contains(log.String(), "index out of range") {
		t.Errorf("runtime error: got %d, log %s", status, log.String())
	}
	if _, p := serve(wrap(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("x")); panic(1) })); p != http.ErrAbortHandler {
		t.Errorf("panic within an answer: got %v, want the connection cut", p)
	}
	if _, p := serve(facade.Recover(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), nil,
		nil)); p != http.ErrAbortHandler {
		t.Errorf("abort: got %v, want it passed on", p)
	}
}
