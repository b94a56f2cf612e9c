package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"time"
)

// crowd is how many connections above MaxConnections are still told that the server is full. Further ones are closed.
const crowd = 1024

// Serve accepts devices on ln, which may be a TLS listener, until ctx ends or the gateway is closed; it closes ln. Its
// connections go on: Drain and Close end them. It returns nil when ctx ended, ErrClosed when the gateway is closed, and
// else the listener's error.
func (g *Gateway) Serve(ctx context.Context, ln net.Listener) error {
	defer ln.Close()
	if !g.listen(ln) {
		return ErrClosed
	}
	defer g.deafen(ln)
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	var wait time.Duration
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			wait = 0
			g.accept(nc)
		case ctx.Err() != nil:
			return nil
		case g.closing():
			return ErrClosed
		case !temporary(err):
			return err
		default:
			// No descriptors, say. It gets better when connections end.
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			g.opt.Log.Warn("connection not accepted", "err", err, "wait", wait)
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
	}
}

// temporary reports whether Accept may succeed again: the machine is short of something, or the client gave up.
func temporary(err error) bool {
	for _, t := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.ECONNRESET} {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

// accept starts a connection's goroutine.
func (g *Gateway) accept(nc net.Conn) {
	c := newConn(g, nc, plain)
	c.attach(nc)
	if g.crowded() || !g.admit(c) {
		nc.Close()
		return
	}
	go func() {
		if t, ok := nc.(*tls.Conn); ok && !g.shake(t) {
			nc.Close()
			g.discharge(c)
			return
		}
		c.serve(nc, nil)
	}()
}

// shake does the TLS handshake, which must not take longer than a CONNECT may.
func (g *Gateway) shake(t *tls.Conn) bool {
	ctx, cancel := context.WithTimeout(g.ctx, g.opt.ConnectTimeout)
	defer cancel()
	return t.HandshakeContext(ctx) == nil
}

func (g *Gateway) crowded() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.links) >= g.opt.MaxConnections+crowd
}

func (g *Gateway) listen(ln net.Listener) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.draining {
		g.listeners[ln] = struct{}{}
	}
	return !g.draining
}

func (g *Gateway) deafen(ln net.Listener) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.listeners, ln)
}

func (g *Gateway) closing() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.draining
}
