package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Stream gives a device its inbox as payloads, one call of write for each, in the same order and under the same rules as
// MQTT does: the newest connection of a device wins, and at most Options.Window messages are under way. The device
// acknowledges by House.Event, and Settled makes room. write is called by one goroutine at a time, never after Stream has
// returned, and should not block for longer than a socket may. A payload counts as gone when write has returned: Withdraw
// waits for that, at most Options.WithdrawTimeout.
//
// The caller has authenticated ref. House.Owed, which is asked first, tells whether the device was removed or its app
// switched off since. That its secret was replaced it cannot tell, since the ref is the same: a device whose secret is
// replaced while it opens a stream keeps that stream until something else ends it.
//
// Stream returns nil when another connection took over or the device was told to go, ctx's error when that ended, write's
// error, TooMany, or ErrClosed.
func (g *Gateway) Stream(ctx context.Context, ref push.Ref, write func(payload []byte) error) error {
	w := &streamWire{write: write, woken: make(chan struct{}, 1)}
	c := newConn(g, w, plain)
	c.device = ref
	if g.crowded() || !g.admit(c) {
		return ErrClosed
	}
	defer g.discharge(c)
	if c.s.full {
		return &push.Error{Op: "gateway.Stream", Kind: push.TooMany, Msg: "no more devices are taken"}
	}
	g.open(c)
	defer g.leave(c)
	stop := context.AfterFunc(ctx, c.cut)
	defer stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-w.woken:
		case <-timer.C:
			c.late()
		}
		c.mu.Lock()
		over, at := c.s.phase == closed, c.s.deadline()
		writing := c.out.writing
		c.unlock()
		if over && !writing {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.err == nil {
				return ctx.Err()
			}
			return w.err
		}
		wait := time.Hour
		if !at.IsZero() && !over {
			wait = at.Sub(g.opt.Now())
		}
		timer.Reset(wait)
	}
}

// open puts a stream in its device's place and begins with what is owed.
func (g *Gateway) open(c *conn) {
	g.enter(c)
	g.stats.accepted.Add(1)
	c.mu.Lock()
	if c.s.phase == greeting && c.s.openStream(g.opt.Now(), c.device) {
		c.startDrain()
	}
	c.unlock()
}

// A streamWire is the wire of a device that takes server-sent events. There is nothing to read: what would wake a reader
// wakes Stream.
type streamWire struct {
	write func(payload []byte) error
	woken chan struct{}

	mu  sync.Mutex // guards err
	err error
}

// Write hands one payload over.
func (w *streamWire) Write(p []byte) (int, error) {
	if err := w.write(p); err != nil {
		w.mu.Lock()
		w.err = err
		w.mu.Unlock()
		return 0, err
	}
	return len(p), nil
}

// SetReadDeadline wakes Stream, which asks the session for its deadline.
func (w *streamWire) SetReadDeadline(time.Time) error {
	select {
	case w.woken <- struct{}{}:
	default:
	}
	return nil
}

// SetWriteDeadline leaves it to the function how long it takes.
func (w *streamWire) SetWriteDeadline(time.Time) error { return nil }

// Close does nothing: Stream's caller owns what is written to.
func (w *streamWire) Close() error { return nil }
