//go:build !linux

package device

import (
	"context"
	"net"
	"sync"
	"time"
)

// loop runs the devices i with i % loops == first until ctx ends, with a goroutine for each: other systems have no
// epoll, and nobody measures on them.
func (f *Fleet) loop(ctx context.Context, first, loops int) error {
	slots := make(chan struct{}, max(1, f.opts.Handshakes/loops))
	var all sync.WaitGroup
	for i := first; i < len(f.ids); i += loops {
		all.Go(func() { f.one(ctx, i, slots) })
	}
	all.Wait()
	return nil
}

// one keeps device i connected.
func (f *Fleet) one(ctx context.Context, i int, slots chan struct{}) {
	w := &worker{fleet: f}
	p := new(peer)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		err := f.connection(ctx, w, p, i, sync.OnceFunc(func() { <-slots }))
		if ctx.Err() != nil {
			if p.phase == ready {
				f.count.connected.Add(-1)
			}
			return
		}
		delay, ok := w.lost(p, err)
		if !ok {
			return
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return
		}
	}
}

// connection runs one connection of device i to its end; settled is called when its handshake is over.
func (f *Fleet) connection(ctx context.Context, w *worker, p *peer, i int, settled func()) error {
	defer settled()
	p.phase = dialling
	d := net.Dialer{Timeout: handshakeTimeout}
	if from := f.source(i); from.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: from.AsSlice()}
	}
	conn, err := d.DialContext(ctx, "tcp", f.address.String())
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() }) //nolint:errcheck // it is given up
	defer stop()
	defer conn.Close() //nolint:errcheck // as above
	packet, err := w.connectPacket(nil, i)
	if err != nil {
		return err
	}
	p.phase = connecting
	if _, err := conn.Write(packet); err != nil {
		return err
	}
	buf := make([]byte, 4<<10)
	wait := handshakeTimeout
	for {
		if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return err
		}
		n, err := conn.Read(buf)
		if ne, ok := err.(net.Error); ok && ne.Timeout() && p.phase == ready {
			if _, err := conn.Write([]byte{0xc0, 0}); err != nil { // PINGREQ
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		out, err := w.feed(p, i, buf[:n])
		if len(out) > 0 {
			if _, err := conn.Write(out); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
		if p.phase == ready {
			settled()
			wait = f.opts.KeepAlive / 2
		}
	}
}
