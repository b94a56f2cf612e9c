package gateway

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/internal/push"
)

// maxControl is how many bytes of answers may wait for a socket. A client that asks and does not read is cut off.
const maxControl = 16 << 10

// An item is one thing to be written: a message, which is encoded when its turn has come, or bytes.
type item struct {
	d      *push.Delivery
	shared *sharedFrames
	bytes  []byte // of a control packet, framed
	size   int
	packet uint16
	qos    mqtt.QoS
}

// An outbox is what waits for one socket.
type outbox struct {
	queue   []item
	current item   // whose rest this is
	rest    []byte // what is left of the frame that is being written
	control int    // bytes of control packets in queue
	writing bool   // there is a writer's goroutine
	closing bool   // nothing more is put in; the connection ends when it is empty
	dead    bool   // nothing is written any more
	killed  bool   // not even read
}

// A sharedFrames holds the encoded forms of one broadcast, made when first needed.
type sharedFrames struct {
	v311, v5 func() []byte
}

func newSharedFrames(d *push.Delivery) *sharedFrames {
	encode := func(v mqtt.Version) func() []byte {
		return sync.OnceValue(func() []byte { return appendPublish(nil, v, mqtt.AtLeastOnce, broadcastID(d.ID), d) })
	}
	return &sharedFrames{v311: encode(mqtt.V311), v5: encode(mqtt.V5)}
}

// get returns the bytes that fit it, or nil.
func (s *sharedFrames) get(v mqtt.Version, it *item) []byte {
	switch {
	case s == nil || it.qos != mqtt.AtLeastOnce || it.packet != broadcastID(it.d.ID):
		return nil
	case v == mqtt.V5:
		return s.v5()
	case v == mqtt.V311:
		return s.v311()
	}
	return nil
}

func appendPublish(dst []byte, v mqtt.Version, qos mqtt.QoS, packet uint16, d *push.Delivery) []byte {
	p := mqtt.Publish{Topic: topicInbox, QoS: qos, PacketID: packet, Payload: d.Payload}
	dst, err := p.Append(dst, v)
	if err != nil {
		panic("gateway: " + err.Error()) // topic, QoS, identifier and size are ours
	}
	return dst
}

// buffers are for frames on their way to a socket.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

const keepBuffer = 16 << 10

func putBuffer(b *[]byte, used []byte) {
	if cap(used) <= keepBuffer {
		*b = used[:0]
		buffers.Put(b)
	}
}

// control sends a packet that is not a message. c.mu is held.
func (c *conn) control(p mqtt.Packet) {
	b, err := p.Append(nil, c.s.version)
	if err != nil {
		c.g.opt.Log.Error("packet not encoded", "type", p.PacketType(), "err", err)
		return
	}
	c.controlBytes(c.frames.frame(b))
}

// controlBytes sends bytes that are framed already. c.mu is held.
func (c *conn) controlBytes(b []byte) {
	if c.out.control+len(b) > maxControl {
		c.kill()
		return
	}
	c.put(item{bytes: b, size: len(b)})
}

// put writes an item, or queues it if it cannot be written now. c.mu is held.
func (c *conn) put(it item) {
	o := &c.out
	if o.closing || o.dead {
		c.undo(&it)
		return
	}
	if !o.writing && c.raw != nil && c.try(it) {
		return
	}
	if o.writing || len(o.rest) == 0 { // else it is this item that is partly written
		o.queue = append(o.queue, it)
		if it.d == nil {
			o.control += it.size
		}
	}
	if !o.writing {
		o.writing = true
		c.g.wg.Add(1)
		go c.write()
	}
}

// undo takes back that the session let a message go. c.mu is held.
func (c *conn) undo(it *item) {
	if it.d != nil {
		c.s.send.left(it.size)
		c.s.send.forget(it.d.ID)
	}
}

// emit writes an item to a socket as far as it takes it. It reports whether nothing is left of it. c.mu is held, and the
// lane.
func (c *conn) emit(it *item, fd uintptr) bool {
	if !c.passes(it) {
		return true
	}
	frame, buf := c.encode(it)
	if buf != nil {
		defer putBuffer(buf, frame)
	}
	n, err := writeFD(fd, frame)
	switch {
	case err != nil && !errors.Is(err, syscall.EAGAIN):
		c.kill()
		return true
	case n == 0:
		return false
	}
	c.began(it)
	if n == len(frame) {
		c.finished(it)
		return true
	}
	rest := frame[n:]
	if buf != nil || it.d == nil {
		rest = append([]byte(nil), rest...)
	}
	c.out.current, c.out.rest = *it, rest
	return false
}

// passes looks at a message whose turn has come: what has expired or was withdrawn goes no further.
func (c *conn) passes(it *item) bool {
	switch {
	case it.d == nil:
		return true
	case expired(it.d, c.g.opt.Now()):
		c.g.stats.expired.Add(1)
	case c.g.gate.holds(c.device.App, it.d.ID, c.device.Ordinal):
		c.g.stats.heldBack.Add(1)
	default:
		return true
	}
	c.undo(it)
	return false
}

// encode returns an item's bytes. If buf is not nil they are in it, and it is to be given back.
func (c *conn) encode(it *item) (frame []byte, buf *[]byte) {
	if it.d == nil {
		return it.bytes, nil
	}
	if c.frames == plain {
		if b := it.shared.get(c.s.version, it); b != nil {
			return b, nil
		}
	}
	buf = buffers.Get().(*[]byte)
	dst := c.frames.head((*buf)[:0], it.size)
	switch b := it.shared.get(c.s.version, it); {
	case c.s.version == 0:
		dst = append(dst, it.d.Payload...)
	case b != nil:
		dst = append(dst, b...)
	default:
		dst = appendPublish(dst, c.s.version, it.qos, it.packet, it.d)
	}
	return dst, buf
}

func (c *conn) began(it *item) {
	if it.d != nil {
		c.s.send.began(c.g.opt.Now(), it.d.ID)
	}
}

// finished counts a message that is written whole. c.mu is held.
func (c *conn) finished(it *item) {
	if it.d == nil {
		return
	}
	c.g.stats.written.Add(1)
	c.s.send.left(it.size)
	o := c.device.Ordinal
	c.receipts = append(c.receipts, it.d.Receipt(o, push.MarkSent))
	if it.qos == mqtt.AtMostOnce {
		c.g.stats.acked.Add(1)
		c.receipts = append(c.receipts, it.d.Receipt(o, push.MarkDelivered), it.d.Receipt(o, push.MarkUnconfirmed))
	}
	c.s.send.finished(it.d.ID)
}

// pop takes the next item out. c.mu is held.
func (o *outbox) pop() (item, bool) {
	if len(o.queue) == 0 || o.dead {
		o.queue = nil
		return item{}, false
	}
	it := o.queue[0]
	o.queue[0] = item{}
	o.queue = o.queue[1:]
	if it.d == nil {
		o.control -= it.size
	}
	return it, true
}

// write is the writer's goroutine: it lives while something waits for the socket.
func (c *conn) write() {
	defer c.g.wg.Done()
	var err error
	if c.raw != nil {
		err = c.writeReady()
	} else {
		err = c.writeBlocking()
	}
	if err == nil {
		return
	}
	c.mu.Lock()
	if errors.Is(err, os.ErrDeadlineExceeded) && !c.out.dead {
		c.g.stats.slow.Add(1)
	}
	c.out.writing = false
	c.kill()
	c.unlock()
}

// idle is called when the writer has nothing left: the session may have waited for that. c.mu is held.
func (c *conn) idle() {
	c.out.writing = false
	if c.out.closing {
		c.hangUp()
		return
	}
	if c.s.phase == closed { // cut while a write was under way, which succeeded all the same: nobody else wakes the reader
		c.wire.SetReadDeadline(past)
		return
	}
	if c.s.phase == open && c.s.send.resume() {
		c.startDrain()
	}
	c.arm()
}

// writeReady writes whenever the socket can take something.
func (c *conn) writeReady() error {
	c.mu.Lock()
	c.extend()
	c.mu.Unlock()
	for {
		var (
			rs   []push.Receipt
			full bool
		)
		err := c.raw.Write(func(fd uintptr) bool {
			c.mu.Lock()
			defer c.mu.Unlock() // not unlock: the descriptor is locked, and who waits for that may hold c.mu
			over := c.flush(fd)
			rs = c.takeReceipts()
			// A full socket is waited for in here, so that receipts go first.
			full = !over && len(rs) > 0
			return over || full
		})
		c.postReceipts(rs)
		if err != nil || !full {
			return err
		}
	}
}

// flush writes what waits as far as the socket takes it. It reports whether nothing is left, so that the writer's work is
// over. c.mu is held, and the descriptor.
func (c *conn) flush(fd uintptr) bool {
	for {
		if c.out.dead {
			c.idle()
			return true
		}
		if len(c.out.rest) > 0 {
			if !c.emitRest(fd) {
				return false
			}
			continue
		}
		it, ok := c.out.pop()
		if !ok {
			c.wire.SetWriteDeadline(time.Time{})
			c.idle()
			return true
		}
		c.lane.RLock()
		done := c.emit(&it, fd)
		c.lane.RUnlock()
		switch {
		case done:
			c.extend()
		case len(c.out.rest) == 0: // not begun: it is looked at again when its turn comes
			c.out.queue = append([]item{it}, c.out.queue...)
			if it.d == nil {
				c.out.control += it.size
			}
			return false
		}
	}
}

// emitRest goes on with a frame that is partly written. c.mu is held.
func (c *conn) emitRest(fd uintptr) bool {
	n, err := writeFD(fd, c.out.rest)
	if err != nil && !errors.Is(err, syscall.EAGAIN) {
		c.kill()
		return true
	}
	if n > 0 {
		c.extend()
	}
	if c.out.rest = c.out.rest[n:]; len(c.out.rest) > 0 {
		return false
	}
	it := c.out.current
	c.out.rest, c.out.current = nil, item{}
	c.finished(&it)
	return true
}

// extend gives the socket another time-out to accept something. c.mu is held.
func (c *conn) extend() {
	d := c.g.opt.WriteTimeout
	if c.out.closing {
		d = min(d, c.g.opt.Linger)
	}
	c.wire.SetWriteDeadline(time.Now().Add(d))
}

// writeBlocking writes one item after the other.
func (c *conn) writeBlocking() error {
	for {
		c.mu.Lock()
		it, ok := c.out.pop()
		if !ok {
			c.idle()
			c.unlock()
			return nil
		}
		c.lane.RLock()
		if !c.passes(&it) {
			c.lane.RUnlock()
			c.unlock()
			continue
		}
		frame, buf := c.encode(&it)
		c.began(&it)
		c.arm()
		c.extend()
		c.lane.enter(c, &it) // under the lock, so that a withdrawal either is seen above or sees this
		c.lane.RUnlock()
		c.unlock()
		_, err := c.wire.Write(frame)
		if buf != nil {
			putBuffer(buf, frame)
		}
		c.mu.Lock()
		if err == nil {
			c.finished(&it)
		}
		c.lane.exit(c, &it) // before the receipts, which may wait
		c.unlock()
		if err != nil {
			return err
		}
	}
}

// finish ends the connection when what is being written is out. Messages that have not begun stay in the record. c.mu is
// held.
func (c *conn) finish() {
	o := &c.out
	if o.closing {
		return
	}
	kept := o.queue[:0]
	for _, it := range o.queue {
		if it.d == nil {
			kept = append(kept, it)
		} else {
			c.undo(&it)
		}
	}
	o.queue, o.closing = kept, true
	c.room.Signal()
	if !o.writing {
		c.hangUp()
		return
	}
	c.extend()
}

// hangUp says that all is written: the reader closes the connection. It is woken for that. c.mu is held, and perhaps the
// descriptor, so that closing here would wait for itself.
func (c *conn) hangUp() {
	c.out.dead = true
	c.wire.SetReadDeadline(past)
}

// kill gives a connection up on which nothing can be written any more. Reader and writer are woken; the reader closes.
// c.mu is held.
func (c *conn) kill() {
	c.s.phase, c.s.parting = closed, false
	c.out.dead, c.out.killed = true, true
	c.out.queue, c.out.rest = nil, nil
	c.room.Signal()
	c.wire.SetReadDeadline(past)
	c.wire.SetWriteDeadline(past)
}

// past is a deadline that has passed.
var past = time.Unix(1, 0)
