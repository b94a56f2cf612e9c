package dispatch

import (
	"context"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// What a newer push with the same collapse id replaces is dropped with MarkCollapsed, for the devices of the newer push's
// target that would get both. Whoever begins holds the lock of the collapse id, from before its commit until what is older
// has gone: so of two that begin at once one is older. What a direct push replaces of others like it the record drops in the
// commit that accepts it. If the record fails in the midst of the rest, the older one stays: a device then gets both, in
// order, and the collapse id in them says which one to show.

// collapseDirect drops what a direct push, which was just committed, replaces of bulk pushes for its targets.
func (d *Dispatcher) collapseDirect(ctx context.Context, p push.Push, targets []push.Ordinal) {
	if p.Request.Policy.CollapseID != "" && len(targets) > 0 {
		d.replaceBulk(ctx, p, p.Request.Policy.CollapseID, ordset.Of(targets...))
	}
}

// collapseBulk drops what a bulk push, which has just begun or grown, replaces for those of its target that are to get it.
func (d *Dispatcher) collapseBulk(ctx context.Context, b *bulk, targets *ordset.Set) {
	if b.collapse == "" {
		return
	}
	if _, err := d.Inbox.Collapse(ctx, b.push.App, b.collapse, b.push.ID, targets.Has); err != nil {
		d.opts.Log.Warn("direct pushes are not collapsed", "push", b.push.ID, "err", err)
	}
	d.replaceBulk(ctx, b.push, b.collapse, targets)
}

func (d *Dispatcher) replaceBulk(ctx context.Context, p push.Push, id string, targets *ordset.Set) {
	for _, b := range d.bulks.of(p.App) {
		if b.collapse != id || b.push.ID == p.ID || !b.begun() {
			continue
		}
		set := d.sets.PendingSet(b.push.App, b.push.ID)
		if set.Intersect(targets); set.Empty() {
			continue
		}
		older := b.push
		older.State = b.in()
		if err := d.Marks.Mark(ctx, older, push.MarkCollapsed, set); err != nil {
			d.opts.Log.Warn("a bulk push is not collapsed", "push", older.ID, "by", p.ID, "err", err)
			continue
		}
		d.opts.Observe.Settled(push.Bulk, push.MarkCollapsed, d.sets.SettleAll(older.App, older.ID, set))
	}
}
