package dispatch_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
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
	law     *law
	clock   *clock
}

// newHouse opens a house over the record in dir, whose clock is c.
func newHouse(t *testing.T, dir string, c *clock) *house {
	t.Helper()
	return newHouseOf(t, dir, c, 0)
}

// newHouseOf is newHouse with so many bytes for live sets.
func newHouseOf(t *testing.T, dir string, c *clock, memory int64) *house {
	t.Helper()
	store, err := sqlstore.Open(t.Context(), filepath.Join(dir, "record.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if apps, _, err := store.Apps(t.Context()); err != nil || len(apps) == 0 {
		if _, err := store.CreateApp(t.Context(), newPeople().app, nil); err != nil {
			t.Fatal(err)
		}
	}
	h := &house{
		t: t, store: store, ledger: report.New(store, store, nil), clock: c,
		gateway: newGate(), people: newPeople(), law: newLaw(),
	}
	h.unsure = &unsure{Store: store, ledger: h.ledger, happens: map[string]bool{}, fails: map[string]bool{}}
	h.people.pushed = h.devices
	h.Dispatcher = dispatch.New(dispatch.Ports{
		Record: h.unsure, Inbox: h.unsure, Inboxes: h.unsure, Receipts: store, Bulk: h.unsure, Changing: h.unsure, Marks: h.ledger,
		Admission: h.law, Templates: store, Gateway: h.gateway, Presence: h.gateway, Audience: h.people, Census: h.people, NextID: c.next,
	}, &dispatch.Options{Now: c.now, LiveMemory: memory})
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

// runs has Run work until the returned function is called, which waits for its end.
func (h *house) runs() (stop func()) {
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Error(err)
		}
	}
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

// start runs every push that is due.
func (h *house) start() {
	h.t.Helper()
	if err := h.Derive(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

// devices returns the devices of which a mark is true for a push, as the registry asks for them.
func (h *house) devices(l push.WherePush) (*ordset.Set, error) {
	p, err := h.store.Find(h.t.Context(), theApp, l.Push)
	if err != nil {
		return nil, err
	}
	if l.Mark != push.MarkTargeted {
		return h.ledger.Devices(h.t.Context(), p, l.Mark)
	}
	set := new(ordset.Set)
	for o := range push.Ordinal(len(names)) {
		in, err := h.store.Targeted(h.t.Context(), p, o)
		if err != nil {
			return nil, err
		}
		if in {
			set.Add(o)
		}
	}
	return set, nil
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
	at   time.Time // zero: it shows synctest's time
	last push.ID
}

func newClock() *clock { return &clock{at: time.Now().Truncate(time.Millisecond)} } // the record forgets keys by the real clock

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.time()
}

func (c *clock) time() time.Time {
	if c.at.IsZero() {
		return time.Now()
	}
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
	c.last = max(c.last+1, push.ID(c.time().Sub(epoch).Milliseconds())<<22)
	return c.last
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
	ledger  *report.Ledger
	mu      sync.Mutex      // guards what follows
	happens map[string]bool // by method: it happens, and Unavailable is answered
	fails   map[string]bool // by method: it does not happen, and Unavailable is answered
	after   string          // a method whose next call fails once something has happened unanswered
}

// fail has the next call of a method fail.
func (u *unsure) fail(method string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fails[method] = true
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

func (u *unsure) Begin(ctx context.Context, s push.Start) error {
	return u.once("Begin", func() error { return u.Store.Begin(ctx, s) })
}

func (u *unsure) Load(ctx context.Context, app push.AppID, id push.ID) (row push.Live, err error) {
	err = u.once("Load", func() error {
		row, err = u.Store.Load(ctx, app, id)
		return err
	})
	return row, err
}

func (u *unsure) Hold(ctx context.Context, app push.AppID, id push.ID, paused bool) error {
	return u.once("Hold", func() error { return u.Store.Hold(ctx, app, id, paused) })
}

func (u *unsure) Grow(ctx context.Context, g push.Growth) error {
	return u.once("Grow", func() error { return u.Store.Grow(ctx, g) })
}

func (u *unsure) Recall(ctx context.Context, r push.Recalling, message *push.Acceptance) error {
	return u.once("Recall", func() error { return u.Store.Recall(ctx, r, message) })
}

func (u *unsure) Replace(ctx context.Context, p push.Push, payload []byte) error {
	return u.once("Replace", func() error { return u.Store.Replace(ctx, p, payload) })
}

func (u *unsure) Advance(ctx context.Context, app push.AppID, id push.ID, cursor push.Ordinal) error {
	return u.once("Advance", func() error { return u.Store.Advance(ctx, app, id, cursor) })
}

// untold are Marks that cannot be told of any now.
type untold struct{ *report.Ledger }

func (untold) Mark(context.Context, push.Push, push.Mark, *ordset.Set) error {
	return &push.Error{Kind: push.Unavailable, Msg: "the record is not there"}
}
