package gateway

import "sync/atomic"

// Stats are counts since New, except Connections and Online, which are now.
type Stats struct {
	Connections int    // open, also before their CONNECT
	Online      int    // devices
	Accepted    uint64 // CONNECTs that were accepted
	AuthFailed  uint64 // CONNECTs with a wrong name or secret
	Refused     uint64 // connections that were refused for another reason: the server is full, or what is not offered
	TakenOver   uint64 // connections that gave way to a newer one of their device
	Written     uint64 // messages written
	Acked       uint64 // messages acknowledged, or written at QoS 0
	TooLarge    uint64 // messages above the client's maximum packet size
	Expired     uint64 // messages that expired in a queue
	HeldBack    uint64 // messages that were withdrawn in a queue
	Slow        uint64 // connections closed because their socket accepted nothing, or a withdrawn message too slowly
	Overdue     uint64 // connections closed because an acknowledgement or a sign of life was missing
	Violations  uint64 // connections closed because their client broke the standard
	Events      uint64 // statements that were recorded: of pushes, and edits of labels
}

type counters struct {
	accepted, authFailed, refused, takenOver    atomic.Uint64
	written, acked, tooLarge, expired, heldBack atomic.Uint64
	slow, overdue, violations, events           atomic.Uint64
}

// Stats returns the counts.
func (g *Gateway) Stats() Stats {
	g.mu.Lock()
	links := len(g.links)
	g.mu.Unlock()
	c := &g.stats
	return Stats{
		Connections: links, Online: g.conns.total(),
		Accepted: c.accepted.Load(), AuthFailed: c.authFailed.Load(), Refused: c.refused.Load(),
		TakenOver: c.takenOver.Load(), Written: c.written.Load(), Acked: c.acked.Load(), TooLarge: c.tooLarge.Load(),
		Expired: c.expired.Load(), HeldBack: c.heldBack.Load(), Slow: c.slow.Load(), Overdue: c.overdue.Load(),
		Violations: c.violations.Load(), Events: c.events.Load(),
	}
}
