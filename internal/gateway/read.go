package gateway

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/carillonpush/carillon/internal/mqtt"
)

// Before a client has said who it is, its packets may have this many bytes only.
const maxGreeting = 16 << 10

// readBuffer is what one read of a socket takes at most. An idle connection holds no buffer.
const readBuffer = 4 << 10

var readBuffers = sync.Pool{New: func() any { return new([readBuffer]byte) }}

// fxPool spares idle connections their effects.
var fxPool = sync.Pool{New: func() any { return new(effects) }}

// errOver ends reading when the session has.
var errOver = errors.New("gateway: session is over")

// serve runs a connection to its end: it reads in the caller's goroutine. nc is read from, directly or through src.
func (c *conn) serve(nc net.Conn, src io.Reader) {
	defer c.g.discharge(c)
	c.mu.Lock()
	c.arm()
	c.unlock()
	slots := make(chan struct{}, maxEvents)
	if raw, ok := c.raw, src == nil; ok && raw != nil {
		c.readReady(slots)
	} else {
		if src == nil {
			src = nc
		}
		c.readBlocking(src, slots)
	}
	c.mu.Lock()
	polite := c.out.closing && !c.out.killed
	if !polite {
		c.kill()
	}
	c.s.phase = closed
	known := c.device.App != 0
	c.unlock()
	if known {
		c.g.leave(c)
	}
	if polite {
		c.linger(nc)
	}
	nc.Close()
}

// readReady reads whenever something has come, into a buffer that is borrowed until then.
func (c *conn) readReady(slots chan struct{}) {
	var (
		buf   *[readBuffer]byte
		n     int
		fail  error
		carry []byte // the beginning of a packet
	)
	read := func(fd uintptr) bool {
		buf = readBuffers.Get().(*[readBuffer]byte)
		if n, fail = readFD(fd, buf[:]); fail == syscall.EAGAIN {
			readBuffers.Put(buf)
			return false
		}
		return true
	}
	for {
		if err := c.raw.Read(read); err != nil {
			if isTimeout(err) && c.late() {
				continue
			}
			return
		}
		var err error
		if fail == nil && n > 0 {
			carry, err = c.packets(carry, buf[:n], slots)
		}
		readBuffers.Put(buf)
		if fail != nil || n == 0 || err != nil {
			return
		}
	}
}

// packets handles the whole packets in carry and data, and returns what follows them.
func (c *conn) packets(carry, data []byte, slots chan struct{}) ([]byte, error) {
	fx := fxPool.Get().(*effects)
	defer func() {
		fx.reset() // a login has a secret
		fxPool.Put(fx)
	}()
	if carry != nil {
		carry = append(carry, data...)
		data = carry
	}
	for {
		h, err := mqtt.Frame(data, c.inboundLimit())
		switch {
		case err == nil:
		case !errors.Is(err, mqtt.ErrShort):
			c.malformed(err)
			return nil, err
		case len(data) == 0:
			return nil, nil
		case len(data) == len(carry):
			return carry, nil
		default:
			return append([]byte(nil), data...), nil
		}
		if !c.handle(data[:h.Size()], fx, slots) {
			return nil, errOver
		}
		data = data[h.Size():]
	}
}

// inboundLimit returns the most bytes of the next packet. Only the reader changes the phase from greeting.
func (c *conn) inboundLimit() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.s.phase == greeting {
		return min(maxGreeting, c.g.lim.maxPacket)
	}
	return c.g.lim.maxPacket
}

// readBlocking reads from what is no plain socket.
func (c *conn) readBlocking(src io.Reader, slots chan struct{}) {
	var fx effects
	r := mqtt.NewReader(src, 0)
	for {
		r.SetLimit(c.inboundLimit())
		frame, err := r.ReadFrame()
		switch {
		case err == nil:
			if !c.handle(frame, &fx, slots) {
				return
			}
		case isTimeout(err):
			if !c.late() {
				return
			}
		default:
			if _, ok := errors.AsType[*mqtt.Error](err); ok {
				c.malformed(err)
			}
			return
		}
	}
}

// linger waits until what was written is out, says that nothing follows, and lets the device close. To close a socket in
// which something was not read yet would take back what was just written.
func (c *conn) linger(nc net.Conn) {
	buf := readBuffers.Get().(*[readBuffer]byte)
	defer readBuffers.Put(buf)
	until := time.Now().Add(2 * c.g.opt.Linger) // the writer should have given up before
	nc.SetReadDeadline(until)
	half := false
	for left := 1 << 20; left > 0; {
		c.mu.Lock()
		dead, killed := c.out.dead, c.out.killed
		c.unlock()
		if killed {
			return
		}
		if dead && !half {
			half = true
			h, ok := nc.(interface{ CloseWrite() error })
			if !ok || h.CloseWrite() != nil {
				return
			}
			nc.SetReadDeadline(time.Now().Add(c.g.opt.Linger))
		}
		n, err := nc.Read(buf[:])
		left -= n
		if err != nil && (half || !isTimeout(err) || !time.Now().Before(until)) {
			return
		}
	}
}
