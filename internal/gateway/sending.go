package gateway

import (
	"slices"
	"time"

	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/internal/push"
)

// The packet identifiers of broadcasts begin here; those below are for direct messages.
const firstBroadcastID = 1 << 15

// broadcastID returns the packet identifier of a broadcast. It follows from the push alone, so that all connections use
// the same and can share the bytes, without anybody keeping a table of them. Ids of pushes that follow one another differ
// in few bits, which the multiplication spreads over all of the result's.
func broadcastID(id push.ID) uint16 {
	return firstBroadcastID | uint16(uint64(id)*0x9E3779B97F4A7C15>>49)
}

// A flightState is how far a message has come.
type flightState uint8

const (
	flightQueued flightState = iota // in the socket's queue
	flightSent                      // its write has begun; not acknowledged
	flightDone                      // acknowledged, or will never be; its receipt is not durable yet
)

// A flight is a message that this connection has taken from the record's hands: it is under way until it is acknowledged
// and that is durable. Until then a page of the record may contain it, and must not be sent again.
type flight struct {
	id     push.ID
	at     int64 // Unix nanoseconds of the last change of state
	day    push.Day
	packet uint16 // 0 at QoS 0
	state  flightState
	read   bool // it came from the record, so that it may be posted yet
}

func (f *flight) receipt(ref push.Ref, m push.Mark) push.Receipt {
	return push.Receipt{App: ref.App, Push: f.id, Ordinal: ref.Ordinal, Mark: m, Day: f.day}
}

// sending is the way of messages out of one connection: what is under way, and whether something waits in the record.
//
// A message that cannot be taken now only sets more. Whoever makes room and sees more reads the record again; so nothing
// is lost, and nothing is kept here that the record keeps.
type sending struct {
	version   mqtt.Version
	qos       mqtt.QoS
	next      uint16 // the last packet identifier of a direct message
	ready     bool   // subscribed
	draining  bool   // somebody reads the record
	more      bool   // the record holds, or may hold, something that was not read
	stalled   bool   // a broadcast waits for its packet identifier
	window    int
	maxPacket int // bytes; 0 is no limit
	maxQueue  int // bytes
	queued    int // bytes that wait for the socket
	flights   []flight
	// What was read from the record and is settled already may still be on its way here from whoever accepted it.
	recent []push.ID
}

// maxRecent is how many settled messages are remembered. Forgetting one too early costs a second copy, nothing else.
const maxRecent = 16

// A verdict is what becomes of a message that is offered.
type verdict uint8

const (
	skipped  verdict = iota // not subscribed, or it is under way already
	waits                   // it stays in the record; more is set
	tooLarge                // the client will never take it: it is dropped, with a receipt
	taken
)

// open begins with what is owed. It reports whether somebody has to read the record.
func (q *sending) open(v mqtt.Version, qos mqtt.QoS) bool {
	q.version, q.qos, q.ready, q.more = v, qos, true, true
	return q.resume()
}

func (q *sending) shut() { q.ready, q.more = false, false }

// offer takes a message that was just accepted, if the connection has caught up with the record.
func (q *sending) offer(now time.Time, d *push.Delivery) (verdict, uint16) {
	if !q.ready {
		return skipped, 0
	}
	if q.draining || q.more {
		q.more = true
		return waits, 0
	}
	if slices.Contains(q.recent, d.ID) {
		return skipped, 0
	}
	return q.admit(now, d, false)
}

// take takes a message from the record. A packet identifier comes with the verdict taken.
func (q *sending) take(now time.Time, d *push.Delivery) (verdict, uint16) {
	return q.admit(now, d, true)
}

func (q *sending) admit(now time.Time, d *push.Delivery, read bool) (verdict, uint16) {
	size := q.size(d)
	switch {
	case !q.ready || q.has(d.ID):
		return skipped, 0
	case q.room() == 0:
		q.more = true
		return waits, 0
	case q.maxPacket > 0 && size > q.maxPacket:
		q.add(now, d, flight{state: flightDone, read: read})
		return tooLarge, 0
	}
	var packet uint16
	if q.qos == mqtt.AtLeastOnce && q.version != 0 {
		if packet = q.packetID(d); packet == 0 {
			q.more, q.stalled = true, true
			return waits, 0
		}
	}
	q.add(now, d, flight{packet: packet, read: read})
	q.queued += size
	return taken, packet
}

func (q *sending) add(now time.Time, d *push.Delivery, f flight) {
	f.id, f.at, f.day = d.ID, now.UnixNano(), d.Receipt(0, 0).Day
	q.flights = append(q.flights, f)
}

// size returns the bytes of d's PUBLISH.
func (q *sending) size(d *push.Delivery) int {
	if q.version == 0 {
		return len(d.Payload)
	}
	n := 2 + len(topicInbox) + len(d.Payload)
	if q.qos > mqtt.AtMostOnce {
		n += 2
	}
	if q.version == mqtt.V5 {
		n++ // no properties
	}
	head := 2
	for m := n; m >= 0x80; m >>= 7 {
		head++
	}
	return head + n
}

// packetID returns a free packet identifier for d, or 0 if it has to wait for its own.
func (q *sending) packetID(d *push.Delivery) uint16 {
	if d.Kind != push.Direct {
		if p := broadcastID(d.ID); !q.holds(p) {
			return p
		}
		return 0
	}
	for {
		q.next = q.next%(firstBroadcastID-1) + 1
		if !q.holds(q.next) {
			return q.next // found at once, or after at most window others
		}
	}
}

// holds reports whether the client may still acknowledge a packet identifier.
func (q *sending) holds(packet uint16) bool {
	for i := range q.flights {
		if f := &q.flights[i]; f.packet == packet && f.state != flightDone {
			return true
		}
	}
	return false
}

func (q *sending) find(id push.ID) int {
	for i := range q.flights {
		if q.flights[i].id == id {
			return i
		}
	}
	return -1
}

func (q *sending) has(id push.ID) bool { return q.find(id) >= 0 }

// ids returns the messages under way.
func (q *sending) ids() []push.ID {
	all := make([]push.ID, len(q.flights))
	for i := range q.flights {
		all[i] = q.flights[i].id
	}
	return all
}

// drop removes the flight at i. An idle connection keeps no memory for flights.
func (q *sending) drop(i int) {
	q.stalled = false // it may have held the packet identifier that is waited for
	last := len(q.flights) - 1
	q.flights[i] = q.flights[last]
	if q.flights = q.flights[:last]; last == 0 && cap(q.flights) > 2 {
		q.flights = nil
	}
}

// room returns how many messages may be taken now.
func (q *sending) room() int {
	if q.queued >= q.maxQueue {
		return 0
	}
	return max(0, q.window-len(q.flights))
}

// began says that the write of a message has begun.
func (q *sending) began(now time.Time, id push.ID) {
	if i := q.find(id); i >= 0 && q.flights[i].state == flightQueued {
		q.flights[i].state, q.flights[i].at = flightSent, now.UnixNano()
	}
}

// finished says that a message was written whole. At QoS 0 nothing follows.
func (q *sending) finished(id push.ID) {
	if i := q.find(id); i >= 0 && q.flights[i].packet == 0 && q.version != 0 {
		q.flights[i].state = flightDone
	}
}

// left says that size bytes do not wait for the socket any more.
func (q *sending) left(size int) { q.queued -= size }

// forget takes a message out that was not written and will not be.
func (q *sending) forget(id push.ID) {
	if i := q.find(id); i >= 0 {
		q.drop(i)
	}
}

// acked takes the acknowledgement of a packet identifier. It reports false if the connection waits for none such.
func (q *sending) acked(packet uint16, m push.Mark, ref push.Ref) (push.Receipt, bool) {
	for i := range q.flights {
		if f := &q.flights[i]; f.packet == packet && f.state == flightSent {
			f.state = flightDone
			q.stalled = false
			return f.receipt(ref, m), true
		}
	}
	return push.Receipt{}, false
}

// settled says that it is durable that id was delivered or dropped: the record will not return it again. A packet
// identifier that the client still holds stays taken; only a stream, which has none, is free of it here.
func (q *sending) settled(id push.ID) {
	i := q.find(id)
	if i < 0 || q.flights[i].state == flightQueued {
		return
	}
	if f := q.flights[i]; f.state == flightDone || q.version == 0 {
		if f.read {
			if len(q.recent) == maxRecent {
				q.recent = append(q.recent[:0], q.recent[1:]...)
			}
			q.recent = append(q.recent, id)
		}
		q.drop(i)
	}
}

// oldest returns when the longest waiting flight changed last, in Unix nanoseconds, 0 if none waits.
func (q *sending) oldest() (at int64) {
	for i := range q.flights {
		if f := &q.flights[i]; f.state != flightQueued && (at == 0 || f.at < at) {
			at = f.at
		}
	}
	return at
}

// overdue reports whether a message that was sent before limit is not acknowledged. What was acknowledged and is not
// durable by then never will be: it is forgotten, and the record asked again.
func (q *sending) overdue(limit int64) bool {
	q.recent = nil
	for i := len(q.flights) - 1; i >= 0; i-- {
		switch f := &q.flights[i]; {
		case f.at > limit:
		case f.state == flightSent:
			return true
		case f.state == flightDone:
			q.drop(i)
			q.more = q.ready
		}
	}
	return false
}

// resume reports whether somebody has to read the record now, and counts on it. It waits for half a window, so that a
// busy device does not cost a read of the record for each message.
func (q *sending) resume() bool {
	if !q.more || q.draining || !q.ready || q.stalled || q.queued > q.maxQueue/2 {
		return false
	}
	if room := q.room(); room == 0 || len(q.flights) > 0 && room < q.window/2 {
		return false
	}
	q.draining = true
	return true
}

// page returns how many messages the reader of the record shall ask for. With 0 its work is over: whoever makes room goes
// on.
func (q *sending) page() int {
	n := q.room()
	if !q.ready || q.stalled {
		n = 0
	}
	if n == 0 {
		q.draining, q.more = false, q.ready
		return 0
	}
	q.more = false
	return n
}

// paged says that the record returned the last page that there is. It reports whether the connection has caught up, so
// that the reader's work is over.
func (q *sending) paged() bool {
	if q.more {
		return false
	}
	q.draining = false
	return true
}
