package gateway

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/gobwas/ws"

	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/internal/push"
)

// A wire is what carries bytes to a device.
type wire interface {
	Write(p []byte) (int, error)
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
	Close() error
}

// A conn is the shell around one session: it moves bytes and does what the session wants.
type conn struct {
	g      *Gateway
	wire   wire
	raw    syscall.RawConn // nil: writing may block, so that only the writer's goroutine does it
	frames framing
	lane   *lane
	device push.Ref // set before the registry knows the connection

	mu       sync.Mutex // guards what follows
	s        session
	out      outbox
	receipts []push.Receipt // empty whenever mu is free: whoever frees it posts them, so that Settled never has to
	armed    time.Time      // the wire's read deadline, zero for none
	waiting  int            // statements that are not recorded
	room     sync.Cond      // of mu: tells the reader that waiting is less, or that the session is over
}

func newConn(g *Gateway, w wire, f framing) *conn {
	now := g.opt.Now()
	c := &conn{g: g, wire: w, frames: f, lane: g.gate.pick(), s: newSession(&g.lim, now)}
	c.room.L = &c.mu
	return c
}

// attach makes c write without blocking where the wire allows that.
func (c *conn) attach(nc net.Conn) {
	if tcp, ok := nc.(*net.TCPConn); ok && canTry {
		if raw, err := tcp.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
}

// unlock frees c.mu and posts the receipts that came up under it. It must not be called under the descriptor's lock.
func (c *conn) unlock() {
	rs := c.takeReceipts()
	c.mu.Unlock()
	c.postReceipts(rs)
}

// takeReceipts returns the receipts that came up under c.mu, which is held, for postReceipts after it.
func (c *conn) takeReceipts() []push.Receipt {
	rs := c.receipts
	c.receipts = nil
	return rs
}

// postReceipts may wait for a commit, and the committer for any lock that Settled takes, so that no lock may be held.
func (c *conn) postReceipts(rs []push.Receipt) {
	if len(rs) > 0 {
		c.g.house.Receipt(rs...)
	}
}

// perform does what the session wants, except for logins and statements, which wait for the house. c.mu is held.
func (c *conn) perform(fx *effects) {
	for _, p := range fx.packets {
		c.control(p)
	}
	for _, r := range fx.receipts {
		if r.Mark == push.MarkDelivered {
			c.g.stats.acked.Add(1)
		}
		c.receipts = append(c.receipts, r)
	}
	if fx.resume {
		c.startDrain()
	}
	if fx.stop {
		if c.frames == websocket {
			c.controlBytes(ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, ""))))
		}
		c.finish()
	}
}

// handle takes one inbound packet. It reports whether reading goes on, and returns when it may: a client that says more than
// is recorded waits.
func (c *conn) handle(frame []byte, fx *effects) bool {
	fx.reset()
	c.mu.Lock()
	before := c.s.phase
	c.s.receive(c.g.opt.Now(), frame, fx)
	login := fx.login
	if fx.stop {
		c.countStop(before, mqtt.Type(frame[0]>>4))
	}
	if fx.said != nil {
		c.join(*fx.said, fx)
	}
	c.perform(fx)
	c.unlock()
	if login != nil {
		c.login(login, fx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.waiting > maxStatements && c.s.phase == open {
		c.room.Wait()
	}
	return c.s.phase != closed || c.s.parting
}

// countStop counts a connection that ended by what its client sent.
func (c *conn) countStop(before phase, sent mqtt.Type) {
	switch {
	case before == greeting:
		c.g.stats.refused.Add(1)
	case sent != mqtt.TypeDisconnect:
		c.g.stats.violations.Add(1)
	}
}

// malformed ends a connection on which something came that is no packet.
func (c *conn) malformed(err error) {
	var fx effects
	c.mu.Lock()
	if c.s.phase != closed {
		c.g.stats.violations.Add(1)
	}
	c.s.violation(err, &fx)
	c.perform(&fx)
	c.unlock()
}

// login asks the house who a CONNECT is and opens the connection.
func (c *conn) login(l *login, fx *effects) {
	ref, err := c.g.house.Authenticate(l.name, l.secret)
	if err == nil {
		c.device = ref
		c.g.enter(c)
		// Whoever was revoked before that was not yet found by Disconnect.
		if _, err = c.g.house.Authenticate(l.name, l.secret); err != nil {
			c.g.leave(c)
		}
	}
	reason := mqtt.Success
	switch {
	case err == nil:
		c.g.stats.accepted.Add(1)
	case errors.Is(err, push.Denied):
		reason = mqtt.NotAuthorized
	case errors.Is(err, push.Unauthenticated), errors.Is(err, push.NotFound), errors.Is(err, push.Invalid):
		reason = mqtt.BadUserNameOrPassword
	default:
		reason = mqtt.ServerUnavailable
	}
	if reason.Failed() {
		c.g.stats.authFailed.Add(1)
		c.pause(c.g.opt.FailDelay) // guessing is slow on one connection, and connections are counted
	}
	fx.reset()
	c.mu.Lock()
	if reason.Failed() {
		c.s.refuse(reason, fx)
	} else {
		c.s.accept(c.g.opt.Now(), ref, fx)
	}
	c.perform(fx)
	c.arm()
	c.unlock()
}

// pause waits for d, or for the gateway's end.
func (c *conn) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.g.ctx.Done():
	}
}

// post offers a message that was just accepted.
func (c *conn) post(d *push.Delivery, shared *sharedFrames) {
	now := c.g.opt.Now()
	c.mu.Lock()
	if c.s.phase == open {
		v, packet := c.s.send.offer(now, d)
		c.dispatch(v, packet, d, shared)
		if v == waits && c.s.send.resume() {
			c.startDrain()
		}
		c.arm()
	}
	c.unlock()
}

// dispatch does what the verdict on a message asks for. c.mu is held.
func (c *conn) dispatch(v verdict, packet uint16, d *push.Delivery, shared *sharedFrames) {
	switch v {
	case taken:
		c.put(item{d: d, packet: packet, qos: c.s.qos, size: c.s.send.size(d), shared: shared})
	case tooLarge:
		c.g.stats.tooLarge.Add(1)
		c.receipts = append(c.receipts, d.Receipt(c.device.Ordinal, push.MarkTooLarge))
	}
}

// settled says that it is durable what became of a message.
func (c *conn) settled(id push.ID) {
	c.mu.Lock()
	c.s.send.settled(id)
	if c.s.phase == open && c.s.send.resume() {
		c.startDrain()
	}
	c.unlock()
}

// wake has the record asked again.
func (c *conn) wake() {
	c.mu.Lock()
	if c.s.phase == open && c.s.send.ready {
		c.s.send.more = true
		if c.s.send.resume() {
			c.startDrain()
		}
	}
	c.unlock()
}

// end closes the connection for a reason, as soon as what is being written is out.
func (c *conn) end(reason mqtt.ReasonCode) {
	var fx effects
	c.mu.Lock()
	c.s.end(reason, &fx)
	c.perform(&fx)
	c.unlock()
}

// cut closes the connection at once.
func (c *conn) cut() {
	c.mu.Lock()
	c.kill()
	c.unlock()
}

// arm has the reader woken in time for the session's deadline. A deadline that lies later than the one that is set is left
// for then, so that most packets cost no timer. c.mu is held.
func (c *conn) arm() {
	at := c.s.deadline()
	if at.IsZero() || !c.armed.IsZero() && !at.Before(c.armed) {
		return
	}
	c.armed = at
	// The session's clock may not be the machine's.
	c.wire.SetReadDeadline(time.Now().Add(at.Sub(c.g.opt.Now())))
}

// late is called when a read's deadline has passed. It reports whether reading goes on.
func (c *conn) late() bool {
	var fx effects
	c.mu.Lock()
	defer c.unlock()
	if c.s.phase == closed {
		return false
	}
	before := c.s.phase
	c.s.tick(c.g.opt.Now(), &fx)
	if fx.stop && before == open {
		c.g.stats.overdue.Add(1)
	}
	c.perform(&fx)
	c.armed = time.Time{}
	if c.s.phase == closed {
		return false
	}
	if at := c.s.deadline(); at.IsZero() {
		c.wire.SetReadDeadline(time.Time{})
	} else {
		c.arm()
	}
	return true
}

// isTimeout reports whether a read ended because of its deadline.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
