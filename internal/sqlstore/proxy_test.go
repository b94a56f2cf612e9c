package sqlstore_test

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// A cut is where a proxy cuts the connection of the next COMMIT.
type cut int32

const (
	uncut       cut = iota
	beforeAsked     // the server never sees the COMMIT
	onceAsked       // the server does, but not that the client has gone
	onceDone        // the server has answered, but the client does not see it
)

// A proxy stands between a store and PostgreSQL, and loses what it is told to lose.
type proxy struct {
	url    string
	server string
	next   atomic.Int32 // a cut

	all sync.WaitGroup

	mu    sync.Mutex // guards conns
	conns []net.Conn
}

// newProxy starts a proxy before the database at dsn. It ends with t.
func newProxy(t *testing.T, dsn string) *proxy {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{server: u.Host}
	u.Host = l.Addr().String()
	p.url = u.String()
	p.all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			p.all.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close() // most are closed already
		}
		p.mu.Unlock()
		p.all.Wait()
	})
	return p
}

func (p *proxy) serve(client net.Conn) {
	server, err := net.Dial("tcp4", p.server)
	p.mu.Lock()
	p.conns = append(p.conns, client)
	if err == nil {
		p.conns = append(p.conns, server)
	}
	p.mu.Unlock()
	if err != nil {
		_ = client.Close()
		return
	}
	var mute atomic.Bool // the server's next answer is lost, and the connection with it
	p.all.Go(func() {
		buf := make([]byte, 32<<10)
		for {
			n, err := server.Read(buf)
			if err != nil || mute.Load() {
				break
			}
			if _, err := client.Write(buf[:n]); err != nil {
				break
			}
		}
		_ = client.Close()
	})
	_, _ = io.Copy(&cutter{p: p, client: client, server: server, mute: &mute}, client)
	if !mute.Load() {
		_, _ = client.Close(), server.Close()
	}
}

// A cutter passes on what the client says, and cuts the connection where the proxy says.
type cutter struct {
	p              *proxy
	client, server net.Conn
	mute           *atomic.Bool
}

// cancelRequest begins what a client says on a connection of its own to have a query cancelled. It asks for that, without
// waiting, when it gives a connection up; in a network that loses things it may as well be lost.
const cancelRequest = "\x00\x00\x00\x10\x04\xd2\x16\x2e"

func (c *cutter) Write(b []byte) (int, error) {
	if bytes.HasPrefix(b, []byte(cancelRequest)) {
		return 0, io.ErrClosedPipe
	}
	// A simple query, whose message the client writes in one piece.
	if !bytes.Contains(b, []byte("COMMIT\x00")) {
		return c.server.Write(b)
	}
	switch cut(c.p.next.Swap(int32(uncut))) {
	case beforeAsked:
		_ = c.client.Close()
		return 0, io.ErrClosedPipe
	case onceAsked:
		c.mute.Store(true)
		n, err := c.server.Write(b)
		_ = c.client.Close()
		return n, err
	case onceDone:
		c.mute.Store(true)
	}
	return c.server.Write(b)
}
