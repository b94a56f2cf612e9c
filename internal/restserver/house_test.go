package restserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/restserver"
)

// A house is all the ports in memory. It keeps their contracts for a handful of apps, devices and pushes.
type house struct {
	mu      sync.Mutex // guards all below
	apps    []push.App
	keys    map[string]push.AppID
	devices []push.Device
	removed map[push.DeviceID]bool
	pushes  []push.Push
	byKey   map[string]push.Push
	prints  map[string][32]byte
	meeting meeting
	marks   []push.Mark
	fail    error // what Accept, Find and Event answer, if set
	stream  func(ctx context.Context, ref push.Ref, write func([]byte) error) error
	caller  struct {
		auth   string
		remote netip.Addr
	} // of the last registration
	clock time.Time
	shown int // devices that Device has returned

	later // what is done with pushes afterwards

	tags     []push.Tag // in order of their making
	files    []push.File
	uploaded []string // the lines of the last file
	wrong    int      // devices of which the index says something else than the record
}

// A meeting is how many callers Accept has seen, and how many it waits for before it lets any go.
type meeting struct {
	waiting  int
	together int
	arrived  *sync.Cond // signalled when waiting changes; its lock is the house's
}

func newHouse() *house {
	h := &house{
		keys: map[string]push.AppID{}, removed: map[push.DeviceID]bool{}, byKey: map[string]push.Push{},
		prints: map[string][32]byte{}, clock: time.Date(2026, 11, 25, 1, 0, 0, 0, time.UTC), later: newLater(),
	}
	h.meeting.arrived = sync.NewCond(&h.mu)
	return h
}

func (h *house) ports() restserver.House {
	r, l := registry{h}, afterwards{h}
	return restserver.House{
		Pushes: h, Control: l, Events: h, Apps: r, Keys: r, Devices: r, Lists: r, Inbox: h,
		Labels: r, Tags: r, Files: r, Imports: r, Doctor: r,
		Late: restserver.Late{
			Accounts: l, Schedules: l, Occurrences: l, Templates: l, Reports: l, Webhooks: l, Stream: l,
		},
	}
}

func (h *house) Accept(_ context.Context, req push.Request) (push.Push, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.meeting.waiting++
	h.meeting.arrived.Broadcast()
	for h.meeting.waiting < h.meeting.together {
		h.meeting.arrived.Wait()
	}
	if h.fail != nil {
		return push.Push{}, h.fail
	}
	app, err := h.find(req.App.String())
	if err != nil {
		return push.Push{}, err
	}
	if err := req.Validate(h.clock, app); err != nil {
		return push.Push{}, push.Wrap("dispatch.Accept", err)
	}
	if !req.Key.Zero() {
		k := fmt.Sprint(req.App, req.Key.Namespace, req.Key.Value)
		if first, ok := h.byKey[k]; ok {
			if req.Key.Strict && h.prints[k] != req.Fingerprint() {
				return push.Push{}, &push.Error{Kind: push.Conflict, Field: "key", Msg: "the key was used for a different request"}
			}
			return first, nil
		}
		defer func() { h.byKey[k], h.prints[k] = h.pushes[len(h.pushes)-1], req.Fingerprint() }()
	}
	if err := h.charge(req, app); err != nil {
		return push.Push{}, err
	}
	p := push.Push{
		ID: push.ID(1000 + len(h.pushes)), App: req.App, Kind: push.Bulk, State: push.Accepted, Created: h.clock,
		Start: req.Policy.Start(h.clock), Expires: req.Policy.Expiry(h.clock), Request: req,
	}
	switch {
	case req.Open:
		p.State = push.Open
	case req.Policy.Recurring != nil || req.Policy.StartAt != nil:
		p.State = push.Scheduled
		h.plan(&p, app)
	case req.Audience.Named():
		p.Kind = push.Direct
	}
	h.aim(&p, req.Audience)
	h.pushes = append(h.pushes, p)
	return p, nil
}

func (h *house) Count(_ context.Context, req push.Request) (push.Count, error) {
	app, err := registry{h}.FindApp(req.App.String())
	if err != nil {
		return push.Count{}, err
	}
	return push.Count{Target: len(req.Audience.Devices)}, req.Validate(h.clock, app)
}

func (h *house) Find(_ context.Context, app push.AppID, id push.ID) (push.Push, push.Report, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		return push.Push{}, push.Report{}, h.fail
	}
	for _, p := range h.pushes {
		if p.ID == id && p.App == app {
			r := push.Report{Target: 3, Sent: 2, Delivered: 1, Pending: 1, Dropped: map[string]int{"unknown": 1}}
			if recall, ok := h.recalls[id]; ok {
				r.Recall = &recall
			}
			return p, r, nil
		}
	}
	return push.Push{}, push.Report{}, &push.Error{Kind: push.NotFound, Field: "id", Msg: "no such push"}
}

func (h *house) List(_ context.Context, app push.AppID, before push.ID, limit int) (page []push.Push, next push.ID, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range slices.Backward(h.pushes) {
		if p.App != app || (before != 0 && p.ID >= before) {
			continue
		}
		if len(page) == limit {
			return page, page[limit-1].ID, nil
		}
		page = append(page, p)
	}
	return page, 0, nil
}

func (h *house) Cancel(_ context.Context, app push.AppID, id push.ID) (push.Push, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, p := range h.pushes {
		switch {
		case p.ID != id || p.App != app:
		case !p.State.May(push.Cancelled):
			return push.Push{}, &push.Error{Kind: push.Conflict, Msg: "nothing of it is pending"}
		default:
			h.pushes[i].State = push.Cancelled
			return h.pushes[i], nil
		}
	}
	return push.Push{}, &push.Error{Kind: push.NotFound, Field: "id", Msg: "no such push"}
}

func (h *house) Event(_ context.Context, _ push.Ref, id push.ID, m push.Mark) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.ContainsFunc(h.pushes, func(p push.Push) bool { return p.ID == id }) {
		return &push.Error{Kind: push.NotFound, Field: "push", Msg: "this device was never sent it"}
	}
	h.marks = append(h.marks, m)
	return nil
}

func (h *house) Stream(ctx context.Context, ref push.Ref, write func([]byte) error) error {
	return h.stream(ctx, ref, write)
}

// find is FindApp with h.mu held.
func (h *house) find(idOrName string) (push.App, error) {
	for _, a := range h.apps {
		if a.ID.String() == idOrName || a.Name == idOrName {
			return a, nil
		}
	}
	return push.App{}, &push.Error{Kind: push.NotFound, Field: "app", Msg: "no such app"}
}

// registry is the house's apps and devices: its method names would collide with those of pushes.
type registry struct{ h *house }

func (r registry) CreateApp(_ context.Context, app push.App, creds push.Credentials) (push.AppCard, error) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	if _, err := r.h.find(app.Name); err == nil {
		return push.AppCard{}, &push.Error{Kind: push.Conflict, Field: "name", Msg: "the name is taken"}
	}
	app.ID, app.Created = push.AppID(len(r.h.apps)+1), r.h.clock
	r.h.apps = append(r.h.apps, app)
	if creds.Native.APIKey == "" {
		creds.Native.APIKey = "key-" + app.ID.String()
	}
	r.h.keys[creds.Native.APIKey] = app.ID
	return push.AppCard{App: app, Credentials: creds}, nil
}

func (r registry) UpdateApp(_ context.Context, app push.App) (push.App, error) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	for i, a := range r.h.apps {
		if a.ID == app.ID {
			r.h.apps[i] = app
			return app, nil
		}
	}
	return push.App{}, &push.Error{Kind: push.NotFound, Msg: "no such app"}
}

func (r registry) DeleteApp(_ context.Context, id push.AppID) error {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	r.h.apps = slices.DeleteFunc(slices.Clone(r.h.apps), func(a push.App) bool { return a.ID == id })
	return nil
}

func (r registry) FindApp(idOrName string) (push.App, error) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	return r.h.find(idOrName)
}

func (r registry) Apps() []push.App {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	return slices.Clone(r.h.apps)
}

func (r registry) ByAPIKey(key string) (push.App, error) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	if id, ok := r.h.keys[key]; ok {
		return r.h.find(id.String())
	}
	return push.App{}, &push.Error{Kind: push.Unauthenticated, Msg: "not an API key"}
}

func (r registry) Card(id push.AppID) (push.AppCard, error) {
	app, err := r.FindApp(id.String())
	return push.AppCard{App: app, Credentials: push.Credentials{Native: push.NativeCredential{APIKey: "key-" + id.String()}}}, err
}

func (r registry) RotateKeys(_ context.Context, id push.AppID, kind string) (push.AppCard, error) {
	if kind != "native" {
		return push.AppCard{}, &push.Error{Kind: push.Invalid, Field: "kind", Msg: "no such kind of keys"}
	}
	r.h.mu.Lock()
	r.h.keys["rotated-"+id.String()] = id
	r.h.mu.Unlock()
	card, err := r.Card(id)
	card.Native.APIKey = "rotated-" + id.String()
	return card, err
}

func (r registry) Register(_ context.Context, reg push.Registration, auth string, remote netip.Addr) (push.Registered, error) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	r.h.caller.auth, r.h.caller.remote = auth, remote
	if reg.AppSecret != "app-secret" {
		return push.Registered{}, &push.Error{Kind: push.Unauthenticated, Msg: "the app key or its secret is wrong"}
	}
	if len(r.h.devices) >= 50 {
		return push.Registered{}, &push.Error{Kind: push.TooMany, Msg: "too many registrations", RetryAfter: 1500 * time.Millisecond}
	}
	if reg.PreviousID != "" {
		if done, err := r.adopt(reg); done.DeviceID != "" || err != nil {
			return done, err
		}
	}
	ref := push.Ref{App: 1, Ordinal: push.Ordinal(len(r.h.devices)), Generation: 1, Platform: reg.Platform}
	d := push.Device{
		ID: push.DeviceID(fmt.Sprintf("%032x", len(r.h.devices)+1)), ChannelID: push.ChannelID(strconv.Itoa(7000 + len(r.h.devices))),
		App: 1, Platform: reg.Platform, Attributes: reg.Attributes, Tokens: reg.Tokens, Ref: ref,
	}
	d.Registered = r.h.clock
	r.h.devices = append(r.h.devices, d)
	return push.Registered{DeviceID: d.ID, ChannelID: d.ChannelID, Secret: "s-" + string(d.ID), Ref: ref}, nil
}

func (r registry) Authenticate(name, secret string) (push.Ref, error) {
	d, err := r.find(1, name)
	if err != nil || secret != "s-"+string(d.ID) {
		return push.Ref{}, &push.Error{Kind: push.Unauthenticated, Msg: "the device or its secret is wrong"}
	}
	return d.Ref, nil
}

func (r registry) Device(_ context.Context, app push.AppID, name string) (push.Device, error) {
	d, err := r.find(app, name)
	if err == nil {
		r.h.mu.Lock()
		defer r.h.mu.Unlock()
		r.h.shown++
	}
	return d, err
}

// find returns a device that is not removed by any of its names.
func (r registry) find(app push.AppID, name string) (push.Device, error) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	for _, d := range r.h.devices {
		if d.App == app && (string(d.ID) == name || string(d.ChannelID) == name || d.PreviousID == name) && !r.h.removed[d.ID] {
			return d, nil
		}
	}
	return push.Device{}, &push.Error{Kind: push.NotFound, Field: "device", Msg: "no such device"}
}

func (r registry) Patch(_ context.Context, ref push.Ref, p push.DevicePatch) (push.Device, error) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	d := &r.h.devices[ref.Ordinal]
	if p.Attributes != nil {
		d.Attributes = p.Attributes
	}
	if p.Tokens != nil {
		d.Tokens = p.Tokens
	}
	if p.Test != nil {
		d.Test = *p.Test
	}
	if p.Badge != nil {
		d.Badge = *p.Badge
	}
	if p.Network != nil {
		d.Network = *p.Network
	}
	if p.Account != nil {
		d.Account = *p.Account
	}
	return *d, nil
}

func (r registry) Remove(_ context.Context, ref push.Ref) error {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	r.h.removed[r.h.devices[ref.Ordinal].ID] = true
	return nil
}

func (r registry) Devices(_ context.Context, app push.AppID, cursor string, limit int) (page []push.Device, next string, err error) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	from := len(r.h.devices) - 1
	if cursor != "" {
		if from, err = strconv.Atoi(cursor); err != nil {
			return nil, "", &push.Error{Kind: push.Invalid, Field: "cursor", Msg: "is not one that a list gave"}
		}
	}
	for i := from; i >= 0; i-- {
		if len(page) == limit {
			return page, strconv.Itoa(i), nil
		}
		if r.h.devices[i].App == app {
			page = append(page, r.h.devices[i])
		}
	}
	return page, "", nil
}

// A site is a Server over a house, with an app "demo" (id 1, key-1) and one "other" (id 2, key-2).
type site struct {
	*house
	handler http.Handler
	server  *restserver.Server
	logs    *bytes.Buffer
}

const adminToken = "admin-token"

func newSite(t testing.TB, opts restserver.Options) *site {
	t.Helper()
	h := newHouse()
	for _, name := range []string{"demo", "other"} {
		if _, err := (registry{h}).CreateApp(t.Context(), push.App{Name: name, TimeZone: push.DefaultTimeZone}, push.Credentials{}); err != nil {
			t.Fatal(err)
		}
	}
	logs := new(bytes.Buffer)
	opts.AdminToken = adminToken
	opts.Log = slog.New(slog.NewJSONHandler(logs, nil))
	s := restserver.New(h.ports(), &opts)
	return &site{h, s.Handler(), s, logs}
}

// A reply is an answer, read.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// call asks with an Authorization header, unless auth is "".
func (s *site) call(t testing.TB, auth, method, path, body string, headers ...string) reply {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req := httptest.NewRequest(method, path, r)
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, req)
	return reply{w.Code, w.Header(), w.Body.Bytes()}
}

// into reads the body as T.
func into[T any](t testing.TB, r reply, status int) T {
	t.Helper()
	var v T
	if r.status != status {
		t.Fatalf("status %d, want %d: %s", r.status, status, r.body)
	}
	if err := json.Unmarshal(r.body, &v); err != nil {
		t.Fatalf("answer is not JSON: %v: %s", err, r.body)
	}
	return v
}

// wantProblem checks that r is a problem of this shape.
func wantProblem(t testing.TB, r reply, status int, code, field string) restserver.Problem {
	t.Helper()
	p := into[restserver.Problem](t, r, status)
	if got := r.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q, want application/problem+json", got)
	}
	if p.Status != status || p.Code != code || p.Field != field || p.Type == "" || p.Title == "" || p.Detail == "" {
		t.Errorf("problem %+v, want status %d, code %q, field %q and type, title and detail", p, status, code, field)
	}
	return p
}

// register makes a device and returns it and its Authorization header.
func (s *site) register(t testing.TB) (restserver.RegisterAnswer, string) {
	t.Helper()
	got := into[restserver.RegisterAnswer](t, s.call(t, "", "POST", "/device/v1/register",
		`{"app_key": "k", "app_secret": "app-secret", "platform": "android", "install_id": "0123456789abcdef"}`), 200)
	return got, "Device " + string(got.DeviceID) + ":" + got.Secret
}
