package dispatch

import (
	"cmp"
	"context"
	"slices"

	"github.com/carillonpush/carillon/internal/push"
)

// Owed returns what waits for a device now, direct and bulk merged in order of ids, at most limit, without the pushes
// that skip names. Fewer than limit means that nothing else waits.
func (d *Dispatcher) Owed(ctx context.Context, ref push.Ref, limit int, skip func(push.ID) bool) ([]*push.Delivery, error) {
	bulk := d.live.owed(ref.App, ref.Ordinal, limit, skip)
	may, stamp := d.waiting.ask(ref.App, ref.Ordinal)
	if !may {
		return bulk, nil
	}
	empty := true // whether no row waits, not even one that skip names
	direct, err := d.Inbox.Owed(ctx, ref.App, ref.Ordinal, d.opts.Now(), limit, func(id push.ID) bool {
		empty = false
		return skip(id)
	})
	if err != nil {
		return nil, push.Wrap("dispatch.Owed", err)
	}
	if empty && len(direct) == 0 {
		d.waiting.clear(ref.App, ref.Ordinal, stamp)
	}
	if len(bulk) == 0 {
		return direct, nil
	}
	all := append(bulk, direct...)
	slices.SortFunc(all, func(a, b *push.Delivery) int { return cmp.Compare(a.ID, b.ID) })
	return all[:min(limit, len(all))], nil
}
