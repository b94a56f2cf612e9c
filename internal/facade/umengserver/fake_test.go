package umengserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/facade/umengserver"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/sdk/umeng"
)

// The credentials of protocols/umeng.md section 2.3, and one appkey for each of the other platforms of the same app.
const (
	androidKey = "0123456789abcdef01234567"
	iosKey     = "1123456789abcdef01234567"
	harmonyKey = "2123456789abcdef01234567"
	secret     = "abcdefghijklmnopqrstuvwxyz012345"
	oldSecret  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
)

// now is the time of section 2.3: 2023-11-15 06:13:20 in Beijing.
var now = time.Unix(1_700_000_000, 0)

// A house keeps in memory what façades hand it, by the contract of facade.Pushes: one app, two devices, of which
// "d1" is on Android and "d2" on iOS.
type house struct {
	mu     sync.Mutex
	app    push.App
	asked  []push.Request // everything that came in, dry runs too
	pushes map[push.ID]push.Push
	report map[push.ID]push.Report
	keys   map[push.Key]push.ID
	fail   error         // what every call answers, if it is not nil
	later  time.Duration // how far the server's clock is past now
}

func newHouse() *house {
	return &house{
		app:    push.App{ID: 7, Name: "demo", TimeZone: "Asia/Shanghai", Settings: push.Settings{}},
		pushes: map[push.ID]push.Push{}, report: map[push.ID]push.Report{}, keys: map[push.Key]push.ID{},
	}
}

func (h *house) UmengApp(appkey string) (push.App, push.Platform, []string, error) {
	platforms := map[string]push.Platform{androidKey: push.Android, iosKey: push.IOS, harmonyKey: push.Harmony}
	p, ok := platforms[appkey]
	if !ok {
		return push.App{}, 0, nil, &push.Error{Kind: push.NotFound}
	}
	return h.app, p, []string{secret, oldSecret}, nil
}

func (h *house) check(req push.Request) (known int, err error) {
	h.asked = append(h.asked, req)
	if h.fail != nil {
		return 0, h.fail
	}
	if err := req.Validate(now, h.app); err != nil {
		return 0, err
	}
	if req.Audience.All {
		return 2, nil
	}
	for _, d := range req.Audience.Devices {
		if d == "d1" && req.Audience.Platforms[0] == push.Android || d == "d2" && req.Audience.Platforms[0] == push.IOS {
			known++
		}
	}
	if known == 0 && !req.AllowUnknown {
		return 0, &push.Error{Kind: push.NotFound, Field: "audience.devices"}
	}
	return known, nil
}

func (h *house) Accept(_ context.Context, req push.Request) (push.Push, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := push.Key{Namespace: req.Key.Namespace, Value: req.Key.Value}
	if id, ok := h.keys[key]; ok && !key.Zero() {
		return h.pushes[id], nil
	}
	known, err := h.check(req)
	if err != nil {
		return push.Push{}, err
	}
	p := push.Push{
		ID: push.ID(187_649_984_473_770 + len(h.pushes)), App: req.App, Kind: push.Bulk, State: push.Accepted, Created: now,
		Start: req.Policy.Start(now), Expires: req.Policy.Expiry(now), Request: req,
	}
	if req.Audience.Named() {
		p.Kind, p.Target, p.Unknown = push.Direct, known, len(req.Audience.Devices)-known
	}
	if req.Policy.StartAt != nil {
		p.State = push.Scheduled
	}
	h.pushes[p.ID] = p
	h.keys[key] = p.ID
	return p, nil
}

func (h *house) Count(_ context.Context, req push.Request) (push.Count, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known, err := h.check(req)
	return push.Count{Target: known, Platforms: map[string]int{"android": known}}, err
}

func (h *house) Find(_ context.Context, app push.AppID, id push.ID) (push.Push, push.Report, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, ok := h.pushes[id]
	if h.fail != nil {
		return push.Push{}, push.Report{}, h.fail
	}
	if !ok || p.App != app {
		return push.Push{}, push.Report{}, &push.Error{Kind: push.NotFound}
	}
	return p, h.report[id], nil
}

func (h *house) Cancel(_ context.Context, app push.AppID, id push.ID) (push.Push, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, ok := h.pushes[id]
	if !ok || p.App != app {
		return push.Push{}, &push.Error{Kind: push.NotFound}
	}
	if !p.State.May(push.Cancelled) {
		return p, &push.Error{Kind: push.Conflict}
	}
	p.State = push.Cancelled
	h.pushes[id] = p
	return p, nil
}

func (h *house) server(opts *umengserver.Options) *umengserver.Server {
	o := umengserver.Options{Now: func() time.Time { return now.Add(h.later) }}
	if opts != nil {
		o.Edge, o.Log = opts.Edge, opts.Log
	}
	return umengserver.New(h, h, &o)
}

// last returns the last request that came in.
func (h *house) last(t *testing.T) push.Request {
	t.Helper()
	if len(h.asked) == 0 {
		t.Fatal("nothing came in")
	}
	return h.asked[len(h.asked)-1]
}

// A reply is an answer in the form that all answers have.
type reply struct {
	status int
	header http.Header
	Ret    string
	Data   map[string]any
}

// str returns a member of data, which must be a string.
func (r reply) str(t *testing.T, key string) string {
	t.Helper()
	s, ok := r.Data[key].(string)
	if !ok {
		t.Fatalf("data.%s: got %v, want a string", key, r.Data[key])
	}
	return s
}

// do serves r and checks what holds for every answer.
func do(t *testing.T, s http.Handler, r *http.Request) reply {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	out := reply{status: w.Code, header: w.Header()}
	d := json.NewDecoder(w.Body)
	if err := d.Decode(&out); err != nil || d.More() {
		t.Fatalf("answer is not one JSON object: %v", err)
	}
	if got, want := w.Header().Get("Content-Type"), "application/json;charset=UTF-8"; got != want {
		t.Errorf("Content-Type: got %q, want %q", got, want)
	}
	if out.Data == nil {
		t.Error("answer has no data")
	}
	switch {
	case out.Ret == "SUCCESS" && out.status == http.StatusOK:
	case out.Ret == "FAIL" && (out.status == 400 || out.status == 404 || out.status == 405):
		out.str(t, "error_code")
		out.str(t, "error_msg")
	default:
		t.Errorf("got ret %q with status %d", out.Ret, out.status)
	}
	return out
}

// post signs body as a client does that knows the server as http://HOST, and sends it.
func post(t *testing.T, s http.Handler, path, body string) reply {
	t.Helper()
	return do(t, s, signed(path, body))
}

func signed(path, body string) *http.Request {
	u := "http://push.test" + path
	return httptest.NewRequest(http.MethodPost, u+"?sign="+umeng.Sign("POST", u, []byte(body), secret), strings.NewReader(body))
}

// code returns the error code of a reply, "" of a success.
func code(r reply) string {
	if r.Ret == "SUCCESS" {
		return ""
	}
	c, _ := r.Data["error_code"].(string)
	return c
}

// Requests that are complete. with overrides their fields: of a repeated key the last one counts.
const (
	androidNotification = `{"appkey":"` + androidKey + `","timestamp":"1700000000","type":"unicast","device_tokens":"d1",` +
		`"payload":{"display_type":"notification","body":{"ticker":"k","title":"t","text":"x"}}}`
	androidMessage = `{"appkey":"` + androidKey + `","timestamp":"1700000000","type":"unicast","device_tokens":"d1",` +
		`"payload":{"display_type":"message","body":{"custom":"c"}}}`
	androidBroadcast = `{"appkey":"` + androidKey + `","timestamp":"1700000000","type":"broadcast",` +
		`"payload":{"display_type":"notification","body":{"ticker":"k","title":"t","text":"x"}}}`
	iosNotification = `{"appkey":"` + iosKey + `","timestamp":"1700000000","type":"unicast","device_tokens":"d2",` +
		`"payload":{"aps":{"alert":"hello"}}}`
	harmonyNotification = `{"appkey":"` + harmonyKey + `","timestamp":"1700000000","type":"unicast","device_tokens":"d3",` +
		`"payload":{"display_type":"notification","body":{"title":"t","text":"x"}}}`
)

func with(base, fields string) string {
	if fields == "" {
		return base
	}
	return strings.TrimSuffix(base, "}") + "," + fields + "}"
}

// note is an Android payload: a notification with fields added to its body.
func note(fields string) string {
	return `"payload":{"display_type":"notification","body":` + with(`{"ticker":"k","title":"t","text":"x"}`, fields) + `}`
}

// pretty is v as JSON for people and for diffs.
func pretty(t *testing.T, v any) string {
	t.Helper()
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}
