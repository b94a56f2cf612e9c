package gateway

import (
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Withdraw is a barrier: when it returns, no copy of the push will start to be written. A copy that the kernel has begun to
// take is completed. On TLS and event streams, where it cannot be seen how much of a copy has left, Withdraw waits for the
// copies of this push that are being handed over, at most Options.WithdrawTimeout, and then cuts their connections; only
// an event stream whose write does not return for that may still hand its copy over later.
//
// The caller then says once whether the withdrawal was committed. If so, it is remembered until the push expires, at until
// (zero: for good). If not, copies may be written again, and the devices from which some were held back ask the record
// again; but a withdrawal that was once committed stands, whatever a later one says. Until settle is called the push is
// held back. Withdraw may wait, so that it must not be called by what Settled's or a stream's caller waits for.
func (g *Gateway) Withdraw(app push.AppID, id push.ID, until time.Time) (settle func(committed bool)) {
	w := withdrawn{app, id}
	n := g.gate.withdraw(w)
	if still := g.gate.await(w, g.opt.WithdrawTimeout); len(still) > 0 {
		for _, c := range still {
			g.stats.slow.Add(1)
			c.cut()
		}
		g.gate.await(w, g.opt.Linger) // the write of a socket that is cut returns at once
	}
	var once sync.Once
	return func(committed bool) {
		once.Do(func() {
			from, all := g.gate.settle(w, n, committed, until)
			g.readmit(app, from, all)
		})
	}
}

// readmit has the devices of app that are named, or all, ask the record again.
func (g *Gateway) readmit(app push.AppID, from []push.Ordinal, all bool) {
	for _, o := range from {
		if c := g.conns.find(app, o); c != nil {
			c.wake()
		}
	}
	if !all {
		return
	}
	for i := range g.conns.shards {
		for _, c := range g.conns.shards[i].of(app, nil) {
			c.wake()
		}
	}
}
