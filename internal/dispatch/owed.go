package dispatch

import (
	"cmp"
	"context"
	"slices"

	"github.com/carillonpush/carillon/internal/push"
)

// Owed returns what waits for a device and may leave for it now, direct and bulk merged in order of ids, at most limit,
// without the pushes that skip names. Fewer than limit means that nothing else may leave now: of what is held, by quiet
// hours or for its network, Gateway.Wake tells when it is worth asking again.
func (d *Dispatcher) Owed(ctx context.Context, ref push.Ref, limit int, skip func(push.ID) bool) ([]*push.Delivery, error) {
	const op = "dispatch.Owed"
	var owed []*push.Delivery
	var passed map[push.ID]bool // held, or dropped
	for {
		need := limit - len(owed)
		all, more, err := d.waits(ctx, ref, need, func(id push.ID) bool {
			return skip(id) || passed[id] || slices.ContainsFunc(owed, func(d *push.Delivery) bool { return d.ID == id })
		})
		if err != nil {
			return nil, push.Wrap(op, err)
		}
		for _, delivery := range all {
			never := false
			if b := d.bulks.get(ref.App, delivery.ID); b != nil {
				never = !b.offline
			}
			pass, m := d.door(delivery.Rules, ref.App)(ref.Ordinal, delivery.ID, never)
			if pass {
				owed = append(owed, delivery)
				continue
			}
			if m != 0 {
				d.Receipts.Post(delivery.Receipt(ref.Ordinal, m))
			}
			if passed == nil {
				passed = map[push.ID]bool{}
			}
			passed[delivery.ID] = true
		}
		if !more || len(owed) == limit {
			return owed, nil
		}
	}
}

// waits returns what waits for a device, whether it may leave now or not, but for what is paused, at most limit, in order
// of ids. more is whether there may be more than that.
func (d *Dispatcher) waits(ctx context.Context, ref push.Ref, limit int, skip func(push.ID) bool) (all []*push.Delivery, more bool, err error) {
	bulk := d.sets.Owed(ref.App, ref.Ordinal, limit, skip)
	for _, id := range bulk {
		b := d.bulks.get(ref.App, id)
		if b == nil { // it has ended meanwhile
			continue
		}
		own, err := d.own(ctx, b, ref.Ordinal)
		if err != nil {
			return nil, false, err
		}
		all = append(all, own)
	}
	more = len(bulk) == limit
	may, stamp := d.waiting.ask(ref.App, ref.Ordinal)
	if !may {
		return all, more, nil
	}
	empty := true // whether no row waits, not even one that is passed over
	direct, err := d.Inbox.Owed(ctx, ref.App, ref.Ordinal, d.opts.Now(), limit, func(id push.ID) bool {
		empty = false
		return skip(id) || d.held.has(ref.App, id)
	})
	if err != nil {
		return nil, false, err
	}
	if empty && len(direct) == 0 {
		d.waiting.clear(ref.App, ref.Ordinal, stamp)
	}
	if len(direct) == 0 {
		return all, more, nil
	}
	more = more || len(direct) == limit
	all = append(all, direct...)
	slices.SortFunc(all, func(a, b *push.Delivery) int { return cmp.Compare(a.ID, b.ID) })
	return all[:min(limit, len(all))], more, nil
}
