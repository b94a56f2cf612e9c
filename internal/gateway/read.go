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
	in := c.inlet(nc, src)
	for {
		if err := in.next(); err != nil && !(isTimeout(err) && c.late()) {
			break
		}
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
		c.linger(nc, in)
	}
	nc.Close()
}

// An inlet reads what a device sends.
type inlet interface {
	// next waits until something has come and has it handled. After a time-out it may be called again.
	next() error
}

// inlet returns how nc is read, directly or through src.
func (c *conn) inlet(nc net.Conn, src io.Reader) inlet {
	if src == nil && c.raw != nil {
		in := &readyInlet{c: c}
		in.read = in.tryRead
		return in
	}
	if src == nil {
		src = nc
	}
	return &blockingInlet{c: c, r: mqtt.NewReader(src, 0)}
}

// A readyInlet reads a plain socket whenever something has come, into a buffer that is borrowed until then.
type readyInlet struct {
	c     *conn
	carry []byte // the beginning of a packet

	read func(fd uintptr) bool // tryRead, made once
	buf  *[readBuffer]byte
	n    int
	fail error
}

func (in *readyInlet) tryRead(fd uintptr) bool {
	in.buf = readBuffers.Get().(*[readBuffer]byte)
	if in.n, in.fail = readFD(fd, in.buf[:]); in.fail == syscall.EAGAIN {
		readBuffers.Put(in.buf)
		in.buf = nil
		return false
	}
	return true
}

func (in *readyInlet) next() error {
	if err := in.c.raw.Read(in.read); err != nil {
		return err
	}
	buf := in.buf
	in.buf = nil
	defer readBuffers.Put(buf)
	if in.fail == nil && in.n == 0 {
		in.fail = io.EOF
	}
	if in.fail != nil {
		return in.fail
	}
	var err error
	in.carry, err = in.c.packets(in.carry, buf[:in.n])
	return err
}

// packets handles the whole packets in carry and data, and returns what follows them.
func (c *conn) packets(carry, data []byte) ([]byte, error) {
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
		if !c.handle(data[:h.Size()], fx) {
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

// A blockingInlet reads what is no plain socket.
type blockingInlet struct {
	c  *conn
	r  *mqtt.Reader
	fx effects
}

func (in *blockingInlet) next() error {
	in.r.SetLimit(in.c.inboundLimit())
	frame, err := in.r.ReadFrame()
	if err != nil {
		if _, ok := errors.AsType[*mqtt.Error](err); ok {
			in.c.malformed(err)
		}
		return err
	}
	if !in.c.handle(frame, &in.fx) {
		return errOver
	}
	return nil
}

// rest reads what comes after the end and is not looked at.
type rest struct{ net.Conn }

func (r rest) next() error {
	buf := readBuffers.Get().(*[readBuffer]byte)
	defer readBuffers.Put(buf)
	_, err := r.Read(buf[:])
	return err
}

// maxLinger is how often a connection that is told to go is read at most.
const maxLinger = 1 << 10

// linger waits until what was written is out, says that nothing follows, and lets the device close. Acknowledgements that
// were under way are taken, if they count. To close a socket in which something was not read yet would take back what was
// just written.
func (c *conn) linger(nc net.Conn, in inlet) {
	until := time.Now().Add(2 * c.g.opt.Linger) // the writer should have given up before
	nc.SetReadDeadline(until)
	half := false
	for range maxLinger {
		c.mu.Lock()
		dead, killed := c.out.dead, c.out.killed
		if !c.s.parting {
			in = rest{nc}
		}
		c.mu.Unlock()
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
		if err := in.next(); err != nil && (half || !isTimeout(err) || !time.Now().Before(until)) {
			return
		}
	}
}
