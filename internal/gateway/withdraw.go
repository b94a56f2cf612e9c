package gateway

import (
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Withdraw is a barrier: when it returns, no copy of the push will start to be written for the devices, with nil for any. A
// copy that the kernel has begun to take is completed. On TLS and event streams, where it cannot be seen how much of a copy
// has left, Withdraw waits for the copies of this push that are being handed over, at most Options.WithdrawTimeout, and then
// cuts their connections; only an event stream whose write does not return for that may still hand its copy over later.
//
// The caller then says once whether the withdrawal was committed. If so, it is remembered until the push expires, at until
// (zero: for good). If not, its copies may be written again, and the devices from which some were held back ask the record
// again. Until settle is called the push is held back, for however long. Several withdrawals of a push may stand, of all and
// of some devices, and each is settled for itself: a copy leaves when none holds it back, and what was once committed stands
// whatever others say. Withdraw may wait, so that it must not be called by what Settled's or a stream's caller waits for.
func (g *Gateway) Withdraw(app push.AppID, id push.ID, devices []push.Ordinal, until time.Time) (settle func(committed bool)) {
	w := withdrawn{app, id}
	var of *ordset.Set
	if devices != nil {
		of = ordset.Of(devices...)
	}
	it := g.gate.withdraw(w, of)
	if still := g.gate.await(w, it, g.opt.WithdrawTimeout); len(still) > 0 {
		for _, c := range still {
			g.stats.slow.Add(1)
			c.cut()
		}
		g.gate.await(w, it, g.opt.Linger) // the write of a socket that is cut returns at once
	}
	var once sync.Once
	return func(committed bool) {
		once.Do(func() {
			from, all := g.gate.settle(w, it, committed, until)
			g.readmit(app, from, all)
		})
	}
}

// readmit has the devices of app that are in from, which may be nil, or all, ask the record again.
func (g *Gateway) readmit(app push.AppID, from *ordset.Set, all bool) {
	if all {
		for i := range g.conns.shards {
			for _, c := range g.conns.shards[i].of(app, nil) {
				c.wake()
			}
		}
		return
	}
	if from == nil {
		return
	}
	for o := range from.All() {
		if c := g.conns.find(app, o); c != nil {
			c.wake()
		}
	}
}
