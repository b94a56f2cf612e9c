package gateway

import (
	"context"
	"errors"
	"sync"

	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/internal/push"
)

// How many statements may wait to be recorded.
const (
	maxStatements = 8  // of one connection, before no more is read of it; the receive maximum that a 5.0 client is told
	maxQueued     = 64 // of one device, by whichever of its connections: who reconnects and goes on is told to come later
)

// A statement is what a device says: of a push, or of itself.
type statement struct {
	id     push.ID
	mark   push.Mark
	edit   *push.LabelEdit // of itself; nil if it is of something else
	on     push.Network    // the network that it is on; "" if it is of something else
	qos    mqtt.QoS
	packet uint16
	reason mqtt.ReasonCode // a failure if it is refused already, and nothing is to be recorded
	why    string          // the reason in words; "" for none
}

// statements are where what devices say waits to be recorded. A device has one queue, whichever of its connections a
// statement came by, and one statement at a time is recorded: a client's PUBLISHes are acknowledged in order
// [MQTT-4.6.0-2], and of two edits the one that was published later is what holds, even if the device has connected again
// between them. So a statement joins the queue before its connection can be taken over.
type statements struct {
	labels Labels
	desks  [shards]desk
}

// of returns the desk of a device.
func (s *statements) of(who speaker) *desk { return &s.desks[shardOf(who.app, who.o)] }

// A desk has the devices of one shard.
type desk struct {
	mu     sync.Mutex           // guards queues
	queues map[speaker][]queued // of devices that have something waiting; the first is being recorded
	_      [48]byte             // two desks do not share a cache line
}

// A speaker is a device, by whichever of its names it connected.
type speaker struct {
	app push.AppID
	o   push.Ordinal
}

// A queued is a statement that waits, or is being recorded.
type queued struct {
	c      *conn // that it came by
	record func()
	drop   context.CancelFunc // what is dropped is not recorded; if it is being recorded, then as the house ends it
}

// join puts a statement behind those of its device. It reports whether there was room, and whether there were none: then
// the caller sees to it that it is recorded, and what follows it.
func (d *desk) join(who speaker, q queued) (joined, first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	queue := d.queues[who]
	if len(queue) >= maxQueued {
		return false, false
	}
	if d.queues == nil {
		d.queues = map[speaker][]queued{}
	}
	d.queues[who] = append(queue, q)
	return true, len(queue) == 0
}

// next takes the statement out that was recorded and returns the one behind it.
func (d *desk) next(who speaker) (q queued, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	queue := d.queues[who]
	if len(queue) == 1 {
		delete(d.queues, who)
		return queued{}, false
	}
	queue[0] = queued{} // it holds a connection
	d.queues[who] = queue[1:]
	return queue[1], true
}

// drop drops what a device has said by some of its connections.
func (d *desk) drop(who speaker, by func(*conn) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, q := range d.queues[who] {
		if by(q.c) {
			q.drop()
		}
	}
}

func (c *conn) speaker() speaker { return speaker{c.device.App, c.device.Ordinal} }

// join has a statement recorded after those before it. A device of which too much waits is told to come later. c.mu is held.
func (c *conn) join(st statement, fx *effects) {
	who := c.speaker()
	d := c.g.statements.of(who)
	ctx, cancel := context.WithCancel(c.g.ctx)
	q := queued{c: c, record: func() { c.record(ctx, st) }, drop: cancel}
	joined, first := d.join(who, q)
	if !joined {
		cancel()
		c.s.end(mqtt.ServerBusy, fx)
		return
	}
	c.waiting++
	if first {
		c.g.wg.Go(func() { // as long as the device has statements
			for more := true; more; q, more = d.next(who) {
				q.record()
				q.drop() // frees its context
			}
		})
	}
}

// record has the house record a statement, and answers it. When ctx has ended the statement was dropped.
func (c *conn) record(ctx context.Context, st statement) {
	var err error
	switch {
	case st.reason.Failed():
	case ctx.Err() != nil:
		err = ctx.Err()
	case st.edit != nil:
		err = c.g.statements.labels.Relabel(ctx, c.device, *st.edit)
	case st.on != "":
		err = c.g.statements.labels.SetNetwork(ctx, c.device, st.on)
	default:
		err = c.g.house.Event(ctx, c.device, st.id, st.mark)
	}
	if err == nil && !st.reason.Failed() {
		c.g.stats.events.Add(1)
	}
	if err != nil && ctx.Err() != nil { // however the house says it
		err = &push.Error{Op: "gateway.record", Kind: push.Unavailable, Err: err}
	}
	var fx effects
	c.mu.Lock()
	c.waiting--
	c.room.Signal()
	c.s.recorded(st, err, &fx)
	c.perform(&fx)
	c.unlock()
	if errors.Is(err, push.Unavailable) {
		// The client will say it again, and what it has said since: what is recorded before that would be out of order.
		who := c.speaker()
		c.g.statements.of(who).drop(who, func(by *conn) bool { return by == c })
	}
}

// refusal returns how the standard calls an error of the house, and what is to be said of it: "" for nothing. What cannot
// be recorded now is ServerBusy, which is no PUBACK's reason: an acknowledged PUBLISH is not sent again.
func refusal(err error) (reason mqtt.ReasonCode, why string) {
	switch {
	case err == nil:
		return mqtt.Success, ""
	case errors.Is(err, push.Unavailable):
		return mqtt.ServerBusy, ""
	case errors.Is(err, push.NotFound), errors.Is(err, push.Denied):
		reason = mqtt.NotAuthorized
	case errors.Is(err, push.Invalid):
		reason = mqtt.PayloadFormatInvalid
	case errors.Is(err, push.TooMany):
		reason = mqtt.QuotaExceeded
	default:
		return mqtt.UnspecifiedError, "" // a fault of ours is nothing to tell a device of
	}
	var e *push.Error
	if errors.As(err, &e) && e.Msg != "" {
		why = e.Msg
		if e.Field != "" {
			why = e.Field + ": " + why
		}
	}
	return reason, why
}
