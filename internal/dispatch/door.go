package dispatch

import (
	"context"
	"hash/fnv"
	"sync"

	"github.com/carillonpush/carillon/internal/push"
)

// A door decides whether a copy of a push may leave for a device now: it passes, or it is to be dropped under a mark other
// than 0, or it waits. never says that what would wait is dropped: the push is now or never.
type door func(o push.Ordinal, id push.ID, never bool) (pass bool, drop push.Mark)

// door returns the door for what has rules r in app. One that lets everything through costs nothing a device.
func (d *Dispatcher) door(r push.Rules, app push.AppID) door {
	if d.Admission.Idle(app, r) {
		return func(push.Ordinal, push.ID, bool) (bool, push.Mark) { return true, 0 }
	}
	return func(o push.Ordinal, id push.ID, never bool) (bool, push.Mark) {
		v := d.Admission.Admit(d.opts.Now(), app, o, id, r)
		switch {
		case v.Drop != 0:
			return false, v.Drop
		case !v.Held:
			return true, 0
		case never && v.Until.IsZero(): // only of a network is it not known when it comes
			return false, push.MarkNetwork
		case never:
			return false, push.MarkQuiet
		}
		return false, 0
	}
}

// drops collects receipts of what a door drops. It is safe for concurrent use.
type drops struct {
	mu  sync.Mutex // guards all
	all []push.Receipt
}

func (d *drops) add(r push.Receipt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, r)
}

// broadcast hands a bulk push to every connected device that is owed it and that it may leave for now.
func (d *Dispatcher) broadcast(ctx context.Context, b *bulk) {
	d.offer(ctx, b, func(push.Ordinal) bool { return true })
}

// offer is broadcast to the devices for which among is true.
func (d *Dispatcher) offer(ctx context.Context, b *bulk, among func(push.Ordinal) bool) {
	owes := d.sets.Walker(b.push.App, b.push.ID)
	door := d.door(b.delivery.Rules, b.push.App)
	var dropped drops
	leaves := func(o push.Ordinal) bool {
		if !among(o) || !owes(o) {
			return false
		}
		pass, m := door(o, b.push.ID, !b.offline)
		if m != 0 {
			dropped.add(b.delivery.Receipt(o, m))
		}
		return pass
	}
	if b.personal {
		for o := range d.Presence.Online(b.push.App).All() {
			if leaves(o) {
				d.postOwn(ctx, b, o)
			}
		}
	} else {
		d.Gateway.Broadcast(b.delivery, leaves)
	}
	d.Receipts.Post(dropped.all...)
}

// postAll hands b to those of some devices that are connected. Of a push that is not kept for devices that are away, those
// that are get nothing.
func (d *Dispatcher) postAll(ctx context.Context, b *bulk, all []push.Ordinal) {
	door := d.door(b.delivery.Rules, b.push.App)
	var drops []push.Receipt
	for _, o := range all {
		if !d.sets.Owes(b.push.App, b.push.ID, o) { // dropped at the start, removed, or the push is held
			continue
		}
		if !d.Presence.IsOnline(b.push.App, o) {
			if !b.offline {
				drops = append(drops, b.delivery.Receipt(o, push.MarkOffline))
			}
			continue
		}
		switch pass, m := door(o, b.push.ID, !b.offline); {
		case m != 0:
			drops = append(drops, b.delivery.Receipt(o, m))
		case pass:
			d.postOwn(ctx, b, o)
		}
	}
	d.Receipts.Post(drops...)
}

// postOwn hands a personal push to one device. If its payload cannot be read now, the device is asked to try.
func (d *Dispatcher) postOwn(ctx context.Context, b *bulk, o push.Ordinal) {
	own, err := d.own(ctx, b, o)
	if err != nil {
		d.Gateway.Wake(b.push.App, o)
		return
	}
	d.Gateway.Post(o, own)
}

// own returns b as one device gets it.
func (d *Dispatcher) own(ctx context.Context, b *bulk, o push.Ordinal) (*push.Delivery, error) {
	if !b.personal {
		return b.delivery, nil
	}
	payload, err := d.Record.Personal(ctx, b.push.ID, push.DayOf(b.push.Expires), o)
	if err != nil || payload == nil {
		return b.delivery, err
	}
	copied := *b.delivery
	copied.Payload = payload
	return &copied, nil
}

// release has the devices ask again for which something was held, and may not be any more.
func (d *Dispatcher) release(context.Context) {
	d.Admission.Released(d.opts.Now(), d.Gateway.Wake)
}

// hash spreads collapse ids over stripes.
func hash(app push.AppID, id string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return h.Sum64() ^ uint64(app)
}
