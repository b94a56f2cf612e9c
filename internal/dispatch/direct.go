package dispatch

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// acceptDirect makes a push to named devices durable and posts it.
func (d *Dispatcher) acceptDirect(ctx context.Context, a *push.Acceptance, app push.App, t text, named []push.Named) (push.Push, error) {
	a.Limit = app.Settings.Int(push.SettingInboxLimit)
	a.Push.State = push.Done // its first pass is the post that follows the commit
	p := a.Push
	d.sort(a, named)
	a.Push.Target = len(a.Targets) + len(a.Marks)
	p.Target = a.Push.Target
	if p.Request.Message.Recall == 0 {
		a.Totals = p.Request.Keys(push.DayIn(p.Start, app.Location()))
	}
	var err error
	if a.Payload, a.Personal, err = t.payloads(p, named); err != nil {
		return push.Push{}, err
	}
	if id := p.Request.Policy.CollapseID; id != "" {
		defer d.collapse.lock(hash(p.App, id))() // until what is older has gone
	}
	stored, repeated, err := d.Record.Accept(ctx, a)
	switch {
	case repeated:
		return d.again(ctx, stored, p.Request), nil
	case is(err, push.Unavailable):
		if unknown(err) {
			d.maybes.add(maybe{p.App, a.Targets, p.Created.Add(doubtFor)})
			d.remind(p.App, a.Targets)
		}
		return push.Push{}, err
	case err != nil:
		return push.Push{}, err
	}
	d.opts.Observe.Accepted(push.Direct, p.Request.Origin)
	for _, o := range a.Targets {
		d.waiting.add(p.App, o)
	}
	d.collapseDirect(ctx, p, a.Targets)
	d.post(a)
	return p, nil
}

// post hands a direct push that was just accepted to those of its devices that it may leave for now.
func (d *Dispatcher) post(a *push.Acceptance) {
	p := a.Push
	shared := &push.Delivery{
		ID: p.ID, App: p.App, Kind: push.Direct, Expires: p.Expires, Payload: a.Payload, Rules: rules(p.Request),
	}
	never := !p.Request.Policy.Offline()
	door := d.door(shared.Rules, p.App)
	var drops []push.Receipt
	for _, o := range a.Targets {
		if !d.Presence.IsOnline(p.App, o) { // what is not handed out is not counted at the door
			continue
		}
		delivery := shared
		if own := a.Personal[o]; own != nil {
			copied := *shared
			copied.Payload = own
			delivery = &copied
		}
		switch pass, m := door(o, p.ID, never); {
		case m != 0:
			drops = append(drops, delivery.Receipt(o, m))
		case pass:
			d.Gateway.Post(o, delivery)
		}
	}
	d.Receipts.Post(drops...)
}

// sort divides the named devices of a direct push into those that get it and those that are dropped at once, and notes for
// which of them several names stand.
func (d *Dispatcher) sort(a *push.Acceptance, named []push.Named) {
	p := a.Push
	delivery := push.Delivery{ID: p.ID, App: p.App, Kind: push.Direct, Expires: p.Expires}
	for _, n := range named {
		o := n.Ordinal
		if p.Request.Policy.Test && !n.Test { // not in the target at all
			continue
		}
		if n.Merged {
			a.Merged = append(a.Merged, o)
		}
		switch {
		case n.Blacklisted:
			a.Marks = append(a.Marks, delivery.Receipt(o, push.MarkBlacklisted))
		case !p.Request.Policy.Offline() && !d.Presence.IsOnline(p.App, o):
			a.Marks = append(a.Marks, delivery.Receipt(o, push.MarkOffline))
		default:
			a.Targets = append(a.Targets, o)
		}
	}
}

// A maybe is a direct push of which nobody could say whether it was committed: it may be, even later than the answer.
type maybe struct {
	app     push.AppID
	devices []push.Ordinal
	until   time.Time
}

const maxMaybes = 100_000

// maybes are asked about again and again until they cannot be committed any more.
type maybes struct {
	mu  sync.Mutex // guards all
	all []maybe
}

func (m *maybes) add(one maybe) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.all) < maxMaybes { // beyond that the senders' retries must do
		m.all = append(m.all, one)
	}
}

// take returns what may be committed still, and forgets what is past at now.
func (m *maybes) take(now time.Time) []maybe {
	m.mu.Lock()
	defer m.mu.Unlock()
	due := slices.Clone(m.all)
	m.all = slices.DeleteFunc(m.all, func(one maybe) bool { return !one.until.After(now) })
	return due
}
