package gateway

import (
	"errors"
	"sync"

	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/internal/push"
)

// A report is what a device says: of a push, or of itself.
type report struct {
	id     push.ID
	mark   push.Mark
	edit   *push.LabelEdit // of itself; nil if it is of a push
	qos    mqtt.QoS
	packet uint16
	reason mqtt.ReasonCode // a failure if it is refused already, and nothing is to be recorded
	why    string          // the reason in words; "" for none
}

// reports are where what devices say waits to be recorded. A device has one queue, whichever of its connections a report
// came by, and one report at a time is recorded: a client's PUBLISHes are acknowledged in order [MQTT-4.6.0-2], and of two
// edits the one that was published later is what holds, even if the device has connected again between them.
type reports struct {
	labels Labels
	desks  [shards]desk
}

// A desk has the devices of one shard.
type desk struct {
	mu     sync.Mutex           // guards queues
	queues map[speaker][]spoken // of devices that have something waiting; the first is being recorded
	_      [48]byte             // two desks do not share a cache line
}

// A speaker is a device, by whichever of its names it connected.
type speaker struct {
	app push.AppID
	o   push.Ordinal
}

// A spoken is a report, the connection that it came by, and where room is given back when it is recorded.
type spoken struct {
	c     *conn
	r     report
	slots chan struct{}
}

// join puts a report behind those of its device. It reports whether there were none: then the caller records it, and what
// follows it.
func (d *desk) join(who speaker, s spoken) (first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queues == nil {
		d.queues = map[speaker][]spoken{}
	}
	queue := d.queues[who]
	d.queues[who] = append(queue, s)
	return len(queue) == 0
}

// next takes the report out that was recorded and returns the one behind it.
func (d *desk) next(who speaker) (s spoken, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	queue := d.queues[who]
	if len(queue) == 1 {
		delete(d.queues, who)
		return spoken{}, false
	}
	queue[0] = spoken{} // it holds a connection
	d.queues[who] = queue[1:]
	return queue[1], true
}

// startReport has a report recorded, after those before it. The goroutine lives while its device has reports.
func (c *conn) startReport(r report, slots chan struct{}) {
	who := speaker{c.device.App, c.device.Ordinal}
	d := &c.g.reports.desks[shardOf(who.app, who.o)]
	s := spoken{c, r, slots}
	if !d.join(who, s) {
		return
	}
	c.g.wg.Add(1)
	go func() {
		defer c.g.wg.Done()
		var fx effects
		for more := true; more; s, more = d.next(who) {
			s.c.record(s.r, &fx)
			<-s.slots
		}
	}()
}

// record has the house record a report, and answers it.
func (c *conn) record(r report, fx *effects) {
	var err error
	switch {
	case r.reason.Failed():
	case r.edit != nil:
		_, err = c.g.reports.labels.EditLabels(c.g.ctx, c.device, *r.edit)
	default:
		err = c.g.house.Event(c.g.ctx, c.device, r.id, r.mark)
	}
	if err == nil && !r.reason.Failed() {
		c.g.stats.events.Add(1)
	}
	fx.reset()
	c.mu.Lock()
	c.s.recorded(r, err, fx)
	c.perform(fx)
	c.unlock()
}

// refusal returns how the standard calls an error of the house, and what is to be said of it: "" for nothing.
func refusal(err error) (reason mqtt.ReasonCode, why string) {
	switch {
	case err == nil:
		return mqtt.Success, ""
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
