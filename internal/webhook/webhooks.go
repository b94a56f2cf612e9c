// Package webhook tells apps' servers what happened: by calls to addresses that they gave, and as a stream to whoever
// follows.
//
// What a webhook is told is in the record first: a fold of the report's ledger writes it there, each happening once, in
// batches. A batch is called until the receiver answers 2xx, for a day, and then kept as dead until it is replayed. So calls
// are made at least once, and one batch has the same number every time. Of one webhook the oldest batch goes first: while the
// receiver does not answer, or says that it cannot, the others wait behind it. A batch that it refuses for what it is goes
// aside alone.
//
// The stream is what happens from now on and nothing else; it is told after the commit, too.
package webhook

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Options changes how Webhooks work. The zero Options is the default.
type Options struct {
	Allow   []netip.Prefix   // networks that are called though they are not public
	Now     func() time.Time // nil means time.Now
	Log     *slog.Logger     // nil discards
	TLS     *tls.Config      // of calls; nil is Go's default
	Timeout time.Duration    // of a call; 0 means 10s
	AtOnce  int              // webhooks that are called at the same time; 0 means 64
	Buffer  int              // events that may wait for a follower of the stream; 0 means 262,144
	Most    int              // followers of an app's stream; 0 means 32
}

func (o *Options) fill() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Timeout == 0 {
		o.Timeout = callTimeout
	}
	if o.AtOnce == 0 {
		o.AtOnce = 64
	}
	if o.Buffer == 0 {
		o.Buffer = 1 << 18
	}
	if o.Most == 0 {
		o.Most = 32
	}
}

// Webhooks are safe for concurrent use. Load them before the first Wanted.
type Webhooks struct {
	ports  Ports
	opts   Options
	guard  guard
	client *http.Client
	slots  chan struct{} // one for each webhook that is being called

	mu      sync.RWMutex // guards what follows
	byApp   map[push.AppID][]push.Webhook
	changes int // of byApp, so that a list that was read before one is not taken for newer

	turns   turns
	batched batched
	stream  stream
}

// New returns Webhooks that have read nothing yet. opts may be nil.
func New(p Ports, opts *Options) *Webhooks {
	w := &Webhooks{ports: p, byApp: map[push.AppID][]push.Webhook{}}
	if opts != nil {
		w.opts = *opts
	}
	w.opts.fill()
	w.guard = newGuard(w.opts.Allow)
	w.client = newClient(w.guard, w.opts.TLS, w.opts.Timeout)
	w.slots = make(chan struct{}, w.opts.AtOnce)
	w.turns.init()
	w.batched.init()
	w.stream.init(w.opts.Buffer, w.opts.Most)
	return w
}

// Load reads which webhooks there are.
func (w *Webhooks) Load(ctx context.Context) error {
	w.mu.RLock()
	before := w.changes
	w.mu.RUnlock()
	all, err := w.ports.Store.Webhooks(ctx)
	if err != nil {
		return push.Wrap("webhook.Load", err)
	}
	byApp := map[push.AppID][]push.Webhook{}
	for _, h := range all {
		byApp[h.App] = append(byApp[h.App], h)
	}
	for _, hooks := range byApp {
		slices.SortFunc(hooks, byID)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changes == before {
		w.byApp = byApp
	}
	return nil
}

func byID(a, b push.Webhook) int { return int(a.ID - b.ID) }

// deriveEvery is how often it is looked for calls that are due and that nobody is woken for.
const deriveEvery = time.Minute

// Run has calls made that are due, until ctx ends. It then returns nil. The calls themselves are Work's.
func (w *Webhooks) Run(ctx context.Context) error {
	defer w.client.CloseIdleConnections()
	w.derive(ctx) // what is due since the last Run
	tick := time.NewTicker(deriveEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.batched.some:
			for _, h := range w.batched.take() {
				w.wake(ctx, h.app, h.id, time.Time{})
			}
		case <-tick.C:
			if err := w.Load(ctx); err != nil && ctx.Err() == nil { // an app may have gone with its webhooks
				w.opts.Log.Warn("webhooks not read, will be tried again", "err", err)
			}
			w.derive(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

// derive asks for work on every webhook that has something to be told: wake-ups are hints, and hints get lost.
func (w *Webhooks) derive(ctx context.Context) {
	next, err := w.ports.Batches.NextBatch(ctx)
	if err != nil {
		if ctx.Err() == nil {
			w.opts.Log.Warn("webhooks' batches not read, will be tried again", "err", err)
		}
		return
	}
	w.mu.RLock()
	var all []push.Webhook
	for _, hooks := range w.byApp {
		all = append(all, hooks...)
	}
	w.mu.RUnlock()
	for _, h := range all {
		if at, ok := next[h.ID]; ok {
			w.wake(ctx, h.App, h.ID, at)
		}
	}
}

// wake asks for work on a webhook at a time, and not before it may be called again. If that fails, derive asks again.
func (w *Webhooks) wake(ctx context.Context, app push.AppID, id push.WebhookID, at time.Time) {
	now := w.opts.Now()
	if held := w.turns.heldUntil(id, now); held.After(at) {
		at = held
	}
	if !at.After(now) {
		at = time.Time{}
	}
	if err := w.ports.Jobs.Wake(ctx, app, id, at); err != nil && ctx.Err() == nil {
		w.opts.Log.Warn("wake-up failed, will be asked for again", "webhook", id, "err", err)
	}
}

// Batched notes that there is something new for a webhook. It does no I/O.
func (w *Webhooks) Batched(app push.AppID, id push.WebhookID) { w.batched.add(hook{app, id}) }

// Wanted returns the webhooks of app, their secrets sealed. Nobody may change the slice.
func (w *Webhooks) Wanted(app push.AppID) []push.Webhook {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.byApp[app]
}

// Webhooks returns those of app in order of ids, without their secrets. The caller owns the slice.
func (w *Webhooks) Webhooks(app push.AppID) []push.Webhook {
	all := slices.Clone(w.Wanted(app))
	for i := range all {
		all[i].Secret = nil
	}
	return all
}

// find returns a webhook of app, its secret sealed.
func (w *Webhooks) find(app push.AppID, id push.WebhookID) (push.Webhook, error) {
	for _, h := range w.Wanted(app) {
		if h.ID == id {
			return h, nil
		}
	}
	return push.Webhook{}, &push.Error{Kind: push.NotFound, Field: "webhook", Msg: "no such webhook"}
}

// secretBytes is the length of a secret: that of the hash, as HMAC asks.
const secretBytes = 32

// label binds a sealed secret to its webhook: the id is not known yet when it is sealed.
func label(h push.Webhook) string { return h.App.String() + "/webhook/" + h.URL }

// AddWebhook makes a webhook of h and a secret, which is in what it returns and is not shown again. Invalid, also if the
// address is written as a number that may not be called; TooMany.
func (w *Webhooks) AddWebhook(ctx context.Context, h push.Webhook) (push.Webhook, error) {
	const op = "webhook.AddWebhook"
	if err := h.Validate(); err != nil {
		return push.Webhook{}, push.Wrap(op, err)
	}
	if u, err := url.Parse(h.URL); err == nil {
		if a, err := netip.ParseAddr(u.Hostname()); err == nil && !w.guard.allows(a) {
			return push.Webhook{}, &push.Error{Op: op, Kind: push.Invalid, Field: "url", Msg: "is not an address of the public internet"}
		}
	}
	secret := make([]byte, secretBytes)
	rand.Read(secret) // never fails: it stops the program instead
	h.ID, h.Created, h.Events = 0, w.opts.Now(), slices.Sorted(slices.Values(h.Events))
	h.Secret = w.ports.Sealer.Seal(label(h), secret)
	stored, err := w.ports.Store.AddWebhook(ctx, h, push.MaxWebhooks)
	if err != nil {
		return push.Webhook{}, push.Wrap(op, err)
	}
	w.mu.Lock()
	w.changes++
	hooks := append(slices.Clone(w.byApp[h.App]), stored)
	slices.SortFunc(hooks, byID)
	w.byApp[h.App] = hooks
	w.mu.Unlock()
	stored.Secret = secret
	return stored, nil
}

// RemoveWebhook removes one with what it was still to be told. NotFound.
func (w *Webhooks) RemoveWebhook(ctx context.Context, app push.AppID, id push.WebhookID) error {
	if err := w.ports.Store.RemoveWebhook(ctx, app, id); err != nil {
		return push.Wrap("webhook.RemoveWebhook", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changes++
	w.byApp[app] = slices.DeleteFunc(slices.Clone(w.byApp[app]), func(h push.Webhook) bool { return h.ID == id })
	w.turns.release(id)
	return nil
}

// Batches returns what a webhook is still to be told, oldest first, dead only if dead, with ids above after, at most limit.
// NotFound.
func (w *Webhooks) Batches(
	ctx context.Context, app push.AppID, id push.WebhookID, dead bool, after int64, limit int,
) ([]push.BatchInfo, error) {
	const op = "webhook.Batches"
	if _, err := w.find(app, id); err != nil {
		return nil, push.Wrap(op, err)
	}
	all, err := w.ports.Batches.ListBatches(ctx, id, dead, after, limit)
	return all, push.Wrap(op, err)
}

// Replay makes dead batches due again, those of ids or all if there are none, and returns how many. They are called at once,
// also if the webhook was to be left alone for some time. NotFound.
func (w *Webhooks) Replay(ctx context.Context, app push.AppID, id push.WebhookID, ids []int64) (int, error) {
	const op = "webhook.Replay"
	if _, err := w.find(app, id); err != nil {
		return 0, push.Wrap(op, err)
	}
	n, err := w.ports.Batches.ReplayBatches(ctx, id, ids, w.opts.Now())
	if err != nil {
		return 0, push.Wrap(op, err)
	}
	w.turns.release(id)
	w.wake(ctx, app, id, time.Time{})
	return n, nil
}
