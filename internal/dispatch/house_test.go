package dispatch_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/dispatch"
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/report"
	"github.com/carillonpush/carillon/internal/sqlstore"
)

const theApp = push.AppID(1)

// A house is a Dispatcher with a real record, and fakes of its neighbours.
type house struct {
	*dispatch.Dispatcher
	t       *testing.T
	store   *sqlstore.Store
	unsure  *unsure
	ledger  *report.Ledger
	gateway *gate
	people  *people
	jobs    *wakes
	clock   *clock
}

// newHouse opens a house over the record in dir, whose clock is c.
func newHouse(t *testing.T, dir string, c *clock) *house {
	t.Helper()
	store, err := sqlstore.Open(t.Context(), filepath.Join(dir, "record.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{
		t: t, store: store, ledger: report.New(store, nil), clock: c,
		gateway: &gate{online: map[push.Ordinal]bool{}, withdrawn: map[push.ID]bool{}}, people: newPeople(), jobs: &wakes{},
	}
	h.unsure = &unsure{Store: store, happens: map[string]bool{}, fails: map[string]bool{}}
	h.Dispatcher = dispatch.New(dispatch.Ports{
		Record: h.unsure, Inbox: h.unsure, Receipts: store, Bulk: h.unsure, Gateway: h.gateway, Presence: h.gateway, Audience: h.people, Census: h.people, Jobs: h.jobs, NextID: c.next,
	}, &dispatch.Options{Now: c.now})
	store.OnReceipts(func(row push.Logged) {
		h.ledger.Apply(row)
		h.Settled(row.Receipts)
	})
	if err := errors.Join(h.ledger.Load(t.Context()), h.Load(t.Context())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.close)
	return h
}

func (h *house) close() {
	if err := h.store.Close(); err != nil {
		h.t.Errorf("Close: %v", err)
	}
}

// accept sends r as app 1 and returns the push.
func (h *house) accept(r push.Request) push.Push {
	h.t.Helper()
	r.App = theApp
	p, err := h.Accept(h.t.Context(), r)
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// start runs every push that somebody was woken for.
func (h *house) start() {
	h.t.Helper()
	for _, id := range h.jobs.take() {
		if err := h.Start(h.t.Context(), theApp, id); err != nil {
			h.t.Fatal(err)
		}
	}
}

// owed returns the ids of what a device is owed.
func (h *house) owed(o push.Ordinal) []push.ID {
	h.t.Helper()
	all, err := h.Owed(h.t.Context(), push.Ref{App: theApp, Ordinal: o}, 100, func(push.ID) bool { return false })
	if err != nil {
		h.t.Fatal(err)
	}
	ids := []push.ID{}
	for _, d := range all {
		ids = append(ids, d.ID)
	}
	return ids
}

// acknowledge makes the receipt of a push on a device durable.
func (h *house) acknowledge(p push.Push, o push.Ordinal) {
	h.t.Helper()
	d := push.Delivery{ID: p.ID, App: p.App, Kind: p.Kind, Expires: p.Expires}
	if err := h.store.Receive(h.t.Context(), d.Receipt(o, push.MarkDelivered)); err != nil {
		h.t.Fatal(err)
	}
}

// report returns a push as the record has it, and its report, which must add up.
func (h *house) report(id push.ID) (push.Push, push.Report) {
	h.t.Helper()
	p, err := h.store.Find(h.t.Context(), theApp, id)
	if err != nil {
		h.t.Fatal(err)
	}
	r, err := h.ledger.Report(h.t.Context(), p, h.clock.now())
	if err != nil {
		h.t.Fatal(err)
	}
	sum := r.Delivered + r.Pending
	for _, n := range r.Dropped {
		sum += n
	}
	if sum != r.Target {
		h.t.Errorf("push %s: target %d is not delivered + pending + dropped = %d: %+v", id, r.Target, sum, r)
	}
	return p, r
}

// A clock is set by the test. It makes ids as the real one does.
type clock struct {
	mu   sync.Mutex
	at   time.Time
	last push.ID
}

func newClock() *clock { return &clock{at: time.Now().Truncate(time.Millisecond)} } // the record forgets keys by the real clock

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func (c *clock) next() push.ID {
	c.mu.Lock()
	defer c.mu.Unlock()
	epoch := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	c.last = max(c.last+1, push.ID(c.at.Sub(epoch).Milliseconds())<<22)
	return c.last
}

// A gate is a gateway that only notes what it is handed.
type gate struct {
	mu        sync.Mutex
	online    map[push.Ordinal]bool
	posted    []posted
	woken     []push.Ordinal
	withdrawn map[push.ID]bool
}

func (g *gate) IsOnline(_ push.AppID, o push.Ordinal) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.online[o]
}

func (g *gate) Wake(_ push.AppID, o push.Ordinal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.woken = append(g.woken, o)
}

type posted struct {
	Device push.Ordinal
	Push   push.ID
}

func (g *gate) Post(o push.Ordinal, d *push.Delivery) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.online[o] && !g.withdrawn[d.ID] {
		g.posted = append(g.posted, posted{o, d.ID})
	}
}

func (g *gate) Broadcast(d *push.Delivery, owed func(push.Ordinal) bool) {
	for o := range g.Online(d.App).All() {
		if owed(o) {
			g.Post(o, d)
		}
	}
}

func (g *gate) Online(push.AppID) *ordset.Set {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := new(ordset.Set)
	for o := range g.online {
		s.Add(o)
	}
	return s
}

func (g *gate) Withdraw(_ push.AppID, id push.ID, _ time.Time) (settle func(bool)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.withdrawn[id] = true
	return func(committed bool) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if !committed {
			delete(g.withdrawn, id)
		}
	}
}

// take returns what was posted since it was last called.
func (g *gate) take() []posted {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.posted
	g.posted = nil
	return all
}

// wakes are the pushes that somebody was woken for.
type wakes struct {
	mu  sync.Mutex
	ids []push.ID
}

func (w *wakes) Wake(_ context.Context, _ push.AppID, id push.ID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.ids, id) {
		w.ids = append(w.ids, id)
	}
	return nil
}

func (w *wakes) take() []push.ID {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.ids
	w.ids = nil
	return all
}

func to(devices ...string) push.Request {
	return push.Request{Audience: push.Audience{Devices: devices}, Message: push.Message{Data: json.RawMessage(`"x"`)}}
}

func toAll() push.Request {
	return push.Request{Audience: push.Audience{All: true}, Message: push.Message{Data: json.RawMessage(`"x"`)}}
}

// unsure is a record that at times cannot say what has become of a write.
type unsure struct {
	*sqlstore.Store
	mu      sync.Mutex      // guards what follows
	happens map[string]bool // by method: it happens, and Unavailable is answered
	fails   map[string]bool // by method: it does not happen, and Unavailable is answered
	after   string          // a method whose next call fails once something has happened unanswered
}

// once does a write as the test has said for the next one of this method.
func (u *unsure) once(method string, do func() error) error {
	u.mu.Lock()
	happens, fails := u.happens[method], u.fails[method]
	delete(u.happens, method)
	delete(u.fails, method)
	u.mu.Unlock()
	if fails {
		return &push.Error{Kind: push.Unavailable, Msg: "the record is not there"}
	}
	if err := do(); err != nil || !happens {
		return err
	}
	u.mu.Lock()
	if u.after != "" {
		u.fails[u.after] = true
	}
	u.mu.Unlock()
	return &push.Error{Kind: push.Unavailable, Msg: "the outcome is unknown"}
}

func (u *unsure) Accept(ctx context.Context, a *push.Acceptance) (p push.Push, repeated bool, err error) {
	err = u.once("Accept", func() error {
		p, repeated, err = u.Store.Accept(ctx, a)
		return err
	})
	return p, repeated && err == nil, err
}

func (u *unsure) Find(ctx context.Context, app push.AppID, id push.ID) (p push.Push, err error) {
	err = u.once("Find", func() error {
		p, err = u.Store.Find(ctx, app, id)
		return err
	})
	if err != nil {
		return push.Push{}, err
	}
	return p, nil
}

func (u *unsure) Withdraw(ctx context.Context, app push.AppID, id push.ID, m push.Mark) (n int, err error) {
	err = u.once("Withdraw", func() error {
		n, err = u.Store.Withdraw(ctx, app, id, m)
		return err
	})
	return n, err
}

func (u *unsure) Move(ctx context.Context, app push.AppID, id push.ID, from, to push.State, reason string) error {
	return u.once("Move", func() error { return u.Store.Move(ctx, app, id, from, to, reason) })
}

func (u *unsure) Begin(ctx context.Context, app push.AppID, id push.ID, target []push.Chunk, count, unknown int, marked map[push.Mark][]push.Chunk) error {
	return u.once("Begin", func() error { return u.Store.Begin(ctx, app, id, target, count, unknown, marked) })
}
