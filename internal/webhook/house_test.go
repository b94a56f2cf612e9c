package webhook_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/sqlstore"
	"github.com/carillonpush/carillon/internal/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// A record is what webhooks need of one, and the fold that adds to it.
type record interface {
	webhook.Store
	webhook.Batches
	Fold(ctx context.Context, f push.Fold) error
}

// memStore keeps the contracts of webhook.Store and webhook.Batches in memory.
type memStore struct {
	mu      sync.Mutex // guards what follows
	last    push.WebhookID
	lastID  int64
	hooks   []push.Webhook
	batches []push.Batch
}

func (s *memStore) Webhooks(context.Context) ([]push.Webhook, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.hooks), nil
}

func (s *memStore) AddWebhook(_ context.Context, w push.Webhook, most int) (push.Webhook, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, h := range s.hooks {
		if h.App == w.App {
			n++
		}
	}
	switch {
	case w.App != 1 && w.App != 2:
		return push.Webhook{}, &push.Error{Kind: push.NotFound, Field: "app"}
	case n >= most:
		return push.Webhook{}, &push.Error{Kind: push.TooMany, Field: "webhooks"}
	}
	s.last++
	w.ID = s.last
	s.hooks = append(s.hooks, w)
	return w, nil
}

func (s *memStore) RemoveWebhook(_ context.Context, app push.AppID, id push.WebhookID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.hooks)
	s.hooks = slices.DeleteFunc(s.hooks, func(w push.Webhook) bool { return w.App == app && w.ID == id })
	if len(s.hooks) == before {
		return &push.Error{Kind: push.NotFound}
	}
	s.batches = slices.DeleteFunc(s.batches, func(b push.Batch) bool { return b.Webhook == id })
	return nil
}

func (s *memStore) Fold(_ context.Context, f push.Fold) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range f.Batches {
		if slices.ContainsFunc(s.hooks, func(w push.Webhook) bool { return w.ID == b.Webhook }) {
			s.lastID++
			b.ID = s.lastID
			s.batches = append(s.batches, b)
		}
	}
	return nil
}

func (s *memStore) DueBatches(_ context.Context, id push.WebhookID, now time.Time, limit int) ([]push.Batch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []push.Batch
	for _, b := range s.batches {
		if b.Webhook == id && !b.Next.IsZero() && !b.Next.After(now) && len(all) < limit {
			all = append(all, b)
		}
	}
	return all, nil
}

func (s *memStore) NextBatch(context.Context) (map[push.WebhookID]time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[push.WebhookID]time.Time{}
	for _, b := range s.batches {
		if at, ok := all[b.Webhook]; !b.Next.IsZero() && (!ok || b.Next.Before(at)) {
			all[b.Webhook] = b.Next
		}
	}
	return all, nil
}

func (s *memStore) EndBatch(_ context.Context, b push.Batch, told bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.batches {
		if s.batches[i].ID != b.ID || s.batches[i].Webhook != b.Webhook {
			continue
		}
		if told {
			s.batches = slices.Delete(s.batches, i, i+1)
		} else {
			s.batches[i].Attempts, s.batches[i].Next, s.batches[i].Error = b.Attempts, b.Next, b.Error
		}
		return nil
	}
	return nil
}

func (s *memStore) ListBatches(_ context.Context, id push.WebhookID, dead bool, after int64, limit int) ([]push.BatchInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []push.BatchInfo
	for _, b := range s.batches {
		if b.Webhook != id || b.ID <= after || dead && !b.Next.IsZero() || len(all) == limit {
			continue
		}
		all = append(all, push.BatchInfo{
			ID: b.ID, Created: b.Created, Attempts: b.Attempts, Next: b.Next, Dead: b.Next.IsZero(), Error: b.Error,
			Events: len(b.Happened),
		})
	}
	return all, nil
}

func (s *memStore) ReplayBatches(_ context.Context, id push.WebhookID, ids []int64, now time.Time) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for i, b := range s.batches {
		if b.Webhook == id && b.Next.IsZero() && (len(ids) == 0 || slices.Contains(ids, b.ID)) {
			s.batches[i].Next = now
			n++
		}
	}
	return n, nil
}

// records runs a test on the record in memory and on the real one.
func records(t *testing.T, test func(t *testing.T, r record)) {
	t.Run("memory", func(t *testing.T) { test(t, new(memStore)) })
	t.Run("sqlite", func(t *testing.T) {
		s, err := sqlstore.Open(t.Context(), filepath.Join(t.TempDir(), "carillon.db"), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}()
		for _, name := range []string{"one", "two"} {
			if _, err := s.CreateApp(t.Context(), push.App{Name: name}, nil); err != nil {
				t.Fatal(err)
			}
		}
		test(t, s)
	})
}

// sealer seals by putting the label in front.
type sealer struct{}

func (sealer) Seal(label string, plain []byte) []byte { return append([]byte(label+"\n"), plain...) }

func (sealer) Open(label string, sealed []byte) ([]byte, error) {
	if len(sealed) < len(label)+1 || string(sealed[:len(label)+1]) != label+"\n" {
		return nil, errors.New("sealed for another place")
	}
	return sealed[len(label)+1:], nil
}

// A house is everything around the webhooks, with a clock that the test moves.
type house struct {
	*webhook.Webhooks
	t      *testing.T
	record record

	mu    sync.Mutex // guards what follows
	now   time.Time
	wakes []wake
	push  push.Push
	lost  error // of Find
}

type wake struct {
	id push.WebhookID
	at time.Time
}

func (h *house) Wake(_ context.Context, _ push.AppID, id push.WebhookID, at time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at.IsZero() {
		at = h.now
	}
	h.wakes = append(h.wakes, wake{id, at})
	return nil
}

func (h *house) Find(_ context.Context, _ push.AppID, id push.ID) (push.Push, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.lost != nil:
		return push.Push{}, h.lost
	case id != h.push.ID:
		return push.Push{}, &push.Error{Kind: push.NotFound}
	}
	return h.push, nil
}

func (h *house) DeviceID(_ push.AppID, o push.Ordinal) push.DeviceID {
	return push.DeviceID("device-" + strconv.Itoa(int(o)))
}

func (h *house) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *house) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

// nextWake takes the earliest wake-up, and moves the clock to it; false if there is none.
func (h *house) nextWake() (wake, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.wakes) == 0 {
		return wake{}, false
	}
	i := 0
	for j, w := range h.wakes {
		if w.at.Before(h.wakes[i].at) {
			i = j
		}
	}
	w := h.wakes[i]
	h.wakes = slices.Delete(h.wakes, i, i+1)
	if w.at.After(h.now) {
		h.now = w.at
	}
	return w, true
}

// run does what wake-ups ask for, in order of time, until none is left before a time.
func (h *house) run(until time.Time) {
	h.t.Helper()
	for {
		h.mu.Lock()
		due := slices.ContainsFunc(h.wakes, func(w wake) bool { return w.at.Before(until) })
		h.mu.Unlock()
		if !due {
			return
		}
		w, _ := h.nextWake()
		if err := h.Work(h.t.Context(), 1, w.id); err != nil {
			h.t.Fatal(err)
		}
	}
}

func newHouse(t *testing.T, r record, change func(*webhook.Options)) *house {
	t.Helper()
	h := &house{t: t, record: r, now: noon, push: push.Push{ID: 8, App: 1, State: push.Done}}
	opts := &webhook.Options{Allow: loopback, Now: h.clock}
	if change != nil {
		change(opts)
	}
	h.Webhooks = webhook.New(webhook.Ports{Store: r, Batches: r, Devices: h, Pushes: h, Sealer: sealer{}, Jobs: h}, opts)
	if err := h.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	// What calls leave open ends with the house.
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := h.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return h
}

// add makes a webhook of app 1.
func (h *house) add(url string, events ...string) push.Webhook {
	h.t.Helper()
	w, err := h.AddWebhook(h.t.Context(), push.Webhook{App: 1, URL: url, Events: events})
	if err != nil {
		h.t.Fatal(err)
	}
	return w
}

// happened returns one happening of a mark on a device of push 8.
func happened(o push.Ordinal, m push.Mark) push.Happening {
	return push.Happening{Receipt: push.Receipt{App: 1, Push: 8, Ordinal: o, Mark: m}, At: noon.Add(-time.Second)}
}

// fold adds a batch for w, as a fold of the ledger does, and says so.
func (h *house) fold(w push.Webhook, all ...push.Happening) {
	h.t.Helper()
	now := h.clock()
	b := push.Batch{App: 1, Webhook: w.ID, Created: now, Next: now, Happened: all}
	if err := h.record.Fold(h.t.Context(), push.Fold{Batches: []push.Batch{b}}); err != nil {
		h.t.Fatal(err)
	}
	if err := h.Wake(h.t.Context(), 1, w.ID, time.Time{}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) list(w push.Webhook, dead bool) []push.BatchInfo {
	h.t.Helper()
	all, err := h.Batches(h.t.Context(), 1, w.ID, dead, 0, 1000)
	if err != nil {
		h.t.Fatal(err)
	}
	return all
}

// A call is one that a receiver got.
type call struct {
	header http.Header
	body   []byte
	at     time.Time
}

func (c call) batch() string { return c.header.Get("Carillon-Batch") }

// A receiver is an app's server. It answers as answer says, 204 if that is nil.
type receiver struct {
	*httptest.Server
	answer func(w http.ResponseWriter, r *http.Request, n int)

	mu    sync.Mutex // guards calls
	calls []call
}

func newReceiver(t *testing.T, h *house, answer func(w http.ResponseWriter, r *http.Request, n int)) *receiver {
	t.Helper()
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		b, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		r.calls = append(r.calls, call{req.Header.Clone(), b, h.clock()})
		n := len(r.calls)
		r.mu.Unlock()
		if r.answer == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		r.answer(w, req, n)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) got() []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

func (r *receiver) batches() []string {
	var all []string
	for _, c := range r.got() {
		all = append(all, c.batch())
	}
	return all
}
