package main

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillonpush/carillon/internal/admission"
	"github.com/carillonpush/carillon/internal/dispatch"
	"github.com/carillonpush/carillon/internal/identity"
	"github.com/carillonpush/carillon/internal/jobs"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/registry"
	"github.com/carillonpush/carillon/internal/report"
	"github.com/carillonpush/carillon/internal/sqlstore"
	"github.com/carillonpush/carillon/internal/webhook"
)

// The apps: nobody of the first is ever online, everybody of the second always is.
const (
	away   push.AppID = 1
	online push.AppID = 2
)

// A house is the rooms of a server over the record of a place, and the gateway of this program.
type house struct {
	store      *sqlstore.Store
	keys       *identity.Keyring
	clock      *identity.Clock
	registry   *registry.Registry
	admission  *admission.Gate
	ledger     *report.Ledger
	webhooks   *webhook.Webhooks
	queue      *jobs.Queue
	dispatcher *dispatch.Dispatcher
	gate       *gate
	starts     *starts

	receipts atomic.Int64 // that were committed
	deaf     atomic.Bool  // nobody is told of receipts: their commits are all there is

	closes []func() error
}

// houseOptions change a house. nil is the default.
type houseOptions struct {
	online     int   // how many devices of the app online are online
	acks       bool  // every device acknowledges what it is handed
	liveMemory int64 // bytes for live sets; 0 is the default
}

// open opens a house, as internal/server does. The caller closes it.
func open(ctx context.Context, p *place, opts *houseOptions) (h *house, err error) {
	if opts == nil {
		opts = &houseOptions{}
	}
	h = &house{}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()
	if h.store, err = sqlstore.Open(ctx, p.record(), nil); err != nil {
		return h, err
	}
	h.closes = append(h.closes, h.store.Close)
	if h.keys, err = identity.Open(ctx, filepath.Join(p.dir, "server.key"), h.store); err != nil {
		return h, err
	}
	newest, err := h.store.Newest(ctx)
	if err != nil {
		return h, err
	}
	h.clock = identity.NewClock(0, newest, time.Now)
	h.queue, err = jobs.Open(ctx, p.jobs(), jobs.Handlers{
		"webhook": func(ctx context.Context, app push.AppID, id int64) error {
			return h.webhooks.Work(ctx, app, push.WebhookID(id))
		},
	}, nil)
	if err != nil {
		return h, err
	}
	h.closes = append(h.closes, h.queue.Close)
	h.wire(p, opts)
	load := func(ctx context.Context) error { // before the ledger shortens the log
		return h.admission.Load(ctx, func(yield func(push.Logged) error) error { return h.store.Unfolded(ctx, yield) })
	}
	for _, load := range []func(context.Context) error{h.registry.Load, h.webhooks.Load, load, h.ledger.Load, h.dispatcher.Load} {
		if err := load(ctx); err != nil {
			return h, err
		}
	}
	return h, nil
}

// wire makes the rooms and ties them to each other.
func (h *house) wire(p *place, opts *houseOptions) {
	h.registry = registry.New(registry.Stores{
		Apps: h.store, Devices: h.store, Labels: h.store, Feed: h.store, Files: h.store, Activity: h.store,
	}, h.keys, &registry.Options{Snapshot: filepath.Join(p.dir, "index.snapshot")})
	h.admission = admission.New(h.registry, h.store, nil)
	h.webhooks = webhook.New(webhook.Ports{
		Store: h.store, Batches: h.store, Devices: h.registry, Pushes: h.store, Sealer: h.keys, Jobs: wakes{h.queue},
	}, &webhook.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	h.ledger = report.New(h.store, h.store, &report.Options{
		BeforeFold: h.admission.Save, Wanted: h.webhooks.Wanted, Happened: h.webhooks.Happened,
		Followed: h.webhooks.Followed, Batched: h.webhooks.Batched,
	})
	h.gate, h.starts = newGate(h.store, opts.online, opts.acks), &starts{Store: h.store, begun: map[push.ID]chan struct{}{}}
	h.closes = append(h.closes, h.gate.close)
	h.dispatcher = dispatch.New(dispatch.Ports{
		Record: h.store, Inbox: h.store, Inboxes: h.store, Receipts: h.store, Bulk: h.starts, Changing: h.store,
		Gateway: h.gate, Presence: h.gate, Audience: h.registry, Census: h.registry,
		Marks: h.ledger, Admission: h.admission, Templates: h.store, NextID: h.clock.Next,
	}, &dispatch.Options{LiveMemory: opts.liveMemory})
	h.store.OnReceipts(func(row push.Logged) {
		if !h.deaf.Load() {
			h.admission.Counted(row)
			h.ledger.Apply(row)
			h.dispatcher.Settled(row.Receipts)
		}
		h.receipts.Add(int64(len(row.Receipts)))
	})
}

type wakes struct{ queue *jobs.Queue }

// Wake implements webhook.Jobs.
func (w wakes) Wake(ctx context.Context, app push.AppID, id push.WebhookID, at time.Time) error {
	return w.queue.Wake(ctx, "webhook", app, int64(id), at)
}

// runs has rooms work until the house is closed.
func (h *house) runs(ctx context.Context, rooms ...func(context.Context) error) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	errs := make([]error, len(rooms))
	var group sync.WaitGroup
	for i, room := range rooms {
		group.Go(func() { errs[i] = room(ctx) })
	}
	h.closes = append(h.closes, func() error {
		stop()
		group.Wait()
		return errors.Join(errs...)
	})
}

func (h *house) close() error {
	var err error
	for len(h.closes) > 0 {
		last := len(h.closes) - 1
		err = errors.Join(err, h.closes[last]())
		h.closes = h.closes[:last]
	}
	return err
}

// closed closes h after what ended with err.
func closed(h *house, err error) error { return errors.Join(err, h.close()) }

// starts is the record of bulk pushes, and notes when one is done.
type starts struct {
	*sqlstore.Store

	mu    sync.Mutex // guards begun
	begun map[push.ID]chan struct{}
}

// Move implements dispatch.Bulk.
func (s *starts) Move(ctx context.Context, app push.AppID, id push.ID, from, to push.State, reason string) error {
	err := s.Store.Move(ctx, app, id, from, to, reason)
	if err == nil && to == push.Done {
		close(s.done(id))
	}
	return err
}

// done returns what is closed when a push is done, once.
func (s *starts) done(id push.ID) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.begun[id]
	if c == nil {
		c = make(chan struct{})
		s.begun[id] = c
	}
	return c
}

// await waits until a push is done.
func (s *starts) await(ctx context.Context, id push.ID) error {
	c := s.done(id)
	select {
	case <-c:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	delete(s.begun, id)
	s.mu.Unlock()
	return nil
}
