package gateway_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/gateway"
	"github.com/carillonpush/carillon/internal/push"
)

// A house is gateway.House in memory, with its contract: a message is owed until the receipt that delivers or drops it is
// committed, which a goroutine of its own does, and Settled is called after that.
type house struct {
	tb     testing.TB
	gw     *gateway.Gateway
	labels *labels
	queue  chan []push.Receipt

	mu       sync.Mutex // guards what follows
	secrets  map[string]string
	refs     map[string]push.Ref
	pending  map[push.Ordinal][]*push.Delivery // in order of ids
	marks    map[push.ID]map[push.Ordinal]push.Marked
	presence map[push.Ordinal][]bool
	hold     chan struct{}             // if not nil, Owed waits for it
	event    func(push.ID) error       // what Event returns
	pages    int                       // calls of Owed
	changed  chan struct{}             // closed and replaced at every change
	onMark   func(r push.Receipt) bool // false loses the receipt
	onQueue  func(rs []push.Receipt)   // called before receipts are queued
	removed  map[push.Ref]bool         // that are not registered any more
	atDoor   map[push.ID]bool          // pushes that Owed passes over
}

func newHouse(tb testing.TB, opts *gateway.Options) (*house, *gateway.Gateway) {
	h := &house{
		tb: tb, labels: newLabels(), queue: make(chan []push.Receipt, 1024), secrets: map[string]string{}, refs: map[string]push.Ref{},
		pending: map[push.Ordinal][]*push.Delivery{}, marks: map[push.ID]map[push.Ordinal]push.Marked{},
		presence: map[push.Ordinal][]bool{}, removed: map[push.Ref]bool{}, changed: make(chan struct{}),
	}
	h.gw = gateway.New(h, h.labels, opts)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for rs := range h.queue {
			h.gw.Settled(slices.DeleteFunc(rs, func(r push.Receipt) bool { return !h.commit(r) }))
		}
	}()
	tb.Cleanup(func() {
		h.gw.Close()
		close(h.queue)
		<-done
	})
	return h, h.gw
}

func (h *house) commit(r push.Receipt) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.onMark != nil && !h.onMark(r) {
		return false
	}
	if h.marks[r.Push] == nil {
		h.marks[r.Push] = map[push.Ordinal]push.Marked{}
	}
	h.marks[r.Push][r.Ordinal] = h.marks[r.Push][r.Ordinal].With(r.Mark)
	if r.Mark == push.MarkDelivered || r.Mark.Reason() != "" {
		h.pending[r.Ordinal] = slices.DeleteFunc(h.pending[r.Ordinal], func(d *push.Delivery) bool { return d.ID == r.Push })
	}
	h.wake()
	return true
}

// wake tells those who wait in until. h.mu is held.
func (h *house) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// until waits for something to be so.
func (h *house) until(what string, so func() bool) {
	h.tb.Helper()
	deadline := time.After(10 * time.Second)
	for {
		h.mu.Lock()
		ok, changed := so(), h.changed
		h.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			h.tb.Fatalf("not so after 10 s: %s", what)
		}
	}
}

// device makes a device known, with the secret "secret".
func (h *house) device(name string, o push.Ordinal) push.Ref {
	h.mu.Lock()
	defer h.mu.Unlock()
	ref := push.Ref{App: 1, Ordinal: o, Generation: 1}
	h.refs[name], h.secrets[name] = ref, "secret"
	return ref
}

// owe makes a message wait for devices, as a commit does.
func (h *house) owe(d *push.Delivery, to ...push.Ordinal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range to {
		all := append(slices.Clone(h.pending[o]), d)
		slices.SortFunc(all, func(a, b *push.Delivery) int { return int(a.ID - b.ID) })
		h.pending[o] = all
	}
}

// send makes a message wait and posts it, as dispatch does.
func (h *house) send(d *push.Delivery, o push.Ordinal) {
	h.owe(d, o)
	h.gw.Post(o, d)
}

func (h *house) has(id push.ID, o push.Ordinal, m push.Mark) bool { return h.marks[id][o].Has(m) }

func (h *house) Authenticate(name, secret string) (push.Ref, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ref, ok := h.refs[name]; ok && h.secrets[name] == secret {
		return ref, nil
	}
	return push.Ref{}, push.Unauthenticated
}

func (h *house) Owed(ctx context.Context, ref push.Ref, limit int, skip func(push.ID) bool) ([]*push.Delivery, error) {
	h.mu.Lock()
	hold := h.hold
	h.pages++
	h.wake()
	h.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.removed[ref] {
		return nil, push.Unauthenticated
	}
	var page []*push.Delivery
	for _, d := range h.pending[ref.Ordinal] {
		if len(page) < limit && !skip(d.ID) && !h.atDoor[d.ID] {
			page = append(page, d)
		}
	}
	return page, nil
}

func (h *house) Receipt(rs ...push.Receipt) {
	h.mu.Lock()
	onQueue := h.onQueue
	h.mu.Unlock()
	if onQueue != nil {
		onQueue(rs)
	}
	h.queue <- rs
}

func (h *house) Event(_ context.Context, ref push.Ref, id push.ID, m push.Mark) error {
	h.mu.Lock()
	event := h.event
	h.mu.Unlock()
	if event != nil {
		if err := event(id); err != nil {
			return err
		}
	}
	r := push.Receipt{App: ref.App, Push: id, Ordinal: ref.Ordinal, Mark: m}
	h.commit(r)
	h.gw.Settled([]push.Receipt{r})
	return nil
}

func (h *house) Presence(ref push.Ref, online bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.presence[ref.Ordinal] = append(h.presence[ref.Ordinal], online)
	h.wake()
}

// message returns a direct message that is good for an hour.
func message(id push.ID, payload string) *push.Delivery {
	return &push.Delivery{
		ID: id, App: 1, Kind: push.Direct, Expires: time.Now().Add(time.Hour), Payload: []byte(payload),
	}
}

func broadcast(id push.ID, payload string) *push.Delivery {
	d := message(id, payload)
	d.Kind = push.Bulk
	return d
}
