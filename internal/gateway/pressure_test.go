package gateway_test

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillonpush/carillon/internal/gateway"
	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/internal/push"
)

// large is the size of messages of which a few fill a socket.
const large = 60 << 10

// clog posts large messages to a device that does not read, more than its socket can take. It returns the id of the last.
func clog(h *house, o push.Ordinal) push.ID {
	const n = 20 // 1.2 MB, where the kernel holds some smallBuffers
	for id := range push.ID(n) {
		h.send(message(id+1, fmt.Sprintf("%d:%s", id+1, strings.Repeat("x", large))), o)
	}
	return n
}

// drainTo reads messages until the one with the given id and returns the ids in order.
func drainTo(c *client, last push.ID) (ids []push.ID) {
	c.tb.Helper()
	for {
		p := next[*mqtt.Publish](c)
		before, _, _ := bytes.Cut(p.Payload, []byte(":"))
		id, err := push.ParseID(string(before))
		if err != nil {
			c.tb.Fatal(err)
		}
		if ids = append(ids, id); id == last {
			return ids
		}
	}
}

func TestSlowReaderIsBoundedAndLosesNothing(t *testing.T) {
	everyWay(t, &gateway.Options{MaxQueue: 3 * large}, func(t *testing.T, h *house, dial func() *client) {
		h.device("slow", 7)
		h.device("fast", 8)
		slow := dial().connect("slow", nil).subscribe(0)
		fast := dial().connect("fast", nil).subscribe(1)
		const n = 200 // 12 MB; the kernel may hold half of it where its buffers grow
		for id := push.ID(1); id <= n; id++ {
			h.send(message(id, fmt.Sprintf("%d:%s", id, strings.Repeat("x", large))), 7)
		}
		h.send(message(1000, "at once"), 8)
		fast.takes("at once") // nobody waits for the slow one
		var want []push.ID
		for id := push.ID(1); id <= n; id++ {
			want = append(want, id)
		}
		got := drainTo(slow, n)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want each once and in order", got)
		}
		h.until("all delivered", func() bool { return len(h.pending[7]) == 0 })
	})
}

func TestSocketThatAcceptsNothingIsClosed(t *testing.T) {
	h, g := newHouse(t, &gateway.Options{WriteTimeout: 20 * time.Millisecond})
	h.device("dev", 7)
	newClient(t, serve(t, g)[0].dial(), mqtt.V311).connect("dev", nil).subscribe(0)
	last := clog(h, 7)
	h.until("gone", func() bool { return len(h.presence[7]) == 2 })
	if s := g.Stats(); s.Slow != 1 {
		t.Errorf("slow: got %d, want 1", s.Slow)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if got, want := len(h.pending[7]), int(last)-int(g.Stats().Written); got != want || got == 0 {
		t.Errorf("pending: got %d messages, want the %d that were not written", got, want)
	}
}

func TestClientThatAsksAndDoesNotReadIsClosed(t *testing.T) {
	h, g := newHouse(t, nil)
	h.device("dev", 7)
	c := newClient(t, serve(t, g)[0].dial(), mqtt.V5).connect("dev", nil)
	flood := bytes.Repeat([]byte{0xc0, 0}, 1<<16) // PINGREQ
	c.nc.SetWriteDeadline(time.Now().Add(patience))
	for {
		if _, err := c.nc.Write(flood); err != nil {
			break // its answers have filled the sockets and the queue
		}
	}
	h.until("gone", func() bool { return len(h.presence[7]) == 2 })
}

func TestExpiredAndWithdrawnMessagesDoNotLeaveTheQueue(t *testing.T) {
	var skew atomic.Int64
	h, g := newHouse(t, &gateway.Options{MaxQueue: 4 << 20, Now: func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }})
	h.device("dev", 7)
	c := newClient(t, serve(t, g)[0].dial(), mqtt.V5).connect("dev", nil).subscribe(0)
	soon(t, "caught up", func() bool { return !g.Behind(1, 7) }) // else they are read from the record
	begun := clog(h, 7)
	short := message(begun+1, "")
	short.Expires = time.Now().Add(time.Minute)
	h.send(short, 7)
	h.send(message(begun+2, "withdrawn"), 7)
	h.send(message(begun+3, fmt.Sprint(begun+3, ":stays")), 7)
	skew.Store(int64(2 * time.Minute))
	settle := g.Withdraw(1, begun+2, nil, time.Now().Add(time.Hour))
	ids := drainTo(c, begun+3)
	for _, id := range ids {
		if id == begun+1 || id == begun+2 {
			t.Errorf("got %d of %v, which had expired or was withdrawn", id, ids)
		}
	}
	if s := g.Stats(); s.Expired != 1 || s.HeldBack != 1 {
		t.Errorf("expired %d, held back %d; want 1 and 1", s.Expired, s.HeldBack)
	}
	settle(false) // what was not said to be delivered comes after all
	c.takes("withdrawn")
}

func TestBroadcastReachesEachOnce(t *testing.T) {
	h, g := newHouse(t, nil)
	const devices = 500
	ways := serve(t, g)
	clients := make([]*client, devices)
	for o := range clients {
		name := fmt.Sprint("dev", o)
		h.device(name, push.Ordinal(o))
		v := mqtt.V311 + mqtt.Version(o%2)
		clients[o] = newClient(t, ways[min(o%50, 2)].dial(), v).connect(name, nil).subscribe(1)
	}
	d, other := broadcast(1<<40, "all"), broadcast(2<<40, "even")
	for o := range push.Ordinal(devices) {
		h.owe(d, o)
		if o%2 == 0 {
			h.owe(other, o)
		}
	}
	g.Broadcast(d, func(push.Ordinal) bool { return true })
	g.Broadcast(other, func(o push.Ordinal) bool { return o%2 == 0 })
	for o, c := range clients {
		p := next[*mqtt.Publish](c)
		if string(p.Payload) != "all" || p.PacketID != gateway.BroadcastID(d.ID) {
			t.Fatalf("device %d: got %+v, want the broadcast under identifier %d", o, p, gateway.BroadcastID(d.ID))
		}
		c.ack(p)
		if o%2 == 0 {
			c.takes("even")
		}
		c.quiet()
	}
	h.until("all delivered", func() bool {
		for o := range push.Ordinal(devices) {
			if len(h.pending[o]) > 0 {
				return false
			}
		}
		return true
	})
	if s := g.Stats(); s.Written != devices*3/2 || s.Acked != devices*3/2 {
		t.Errorf("written %d, acknowledged %d; want %d", s.Written, s.Acked, devices*3/2)
	}
}

func TestHostileClients(t *testing.T) {
	for _, tt := range []struct {
		name  string
		bytes []byte
	}{
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n")},
		{"packet type 0", []byte{0, 0}},
		{"remaining length of five bytes", []byte{0x10, 0xff, 0xff, 0xff, 0xff, 0xff}},
		{"CONNECT of 256 MB", []byte{0x10, 0xff, 0xff, 0xff, 0x7f, 0}},
		{"PUBLISH first", []byte{0x30, 3, 0, 1, 'a'}},
	} {
		everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
			t.Log(tt.name)
			c := dial()
			if _, err := c.nc.Write(tt.bytes); err != nil {
				t.Fatal(err)
			}
			c.v = mqtt.V311
			c.gone(0)
		})
	}
	everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
		h.device("dev", 7)
		c := dial().connect("dev", nil)
		if _, err := c.nc.Write([]byte{0x32, 0x80, 0x80, 0x08}); err != nil { // 128 KiB announced
			t.Fatal(err)
		}
		c.gone(mqtt.PacketTooLarge)
	})
}

// A pipe's listener accepts one end of a net.Pipe, for tests in which time is not real.
type pipeListener chan net.Conn

func (l pipeListener) Accept() (net.Conn, error) {
	if nc, ok := <-l; ok {
		return nc, nil
	}
	return nil, net.ErrClosed
}
func (l pipeListener) Close() error   { return nil }
func (l pipeListener) Addr() net.Addr { return &net.UnixAddr{} }

// inBubble runs a test with a gateway that is reached by a pipe, where time is not real.
func inBubble(t *testing.T, test func(t *testing.T, h *house, dial func(v mqtt.Version) *client)) {
	synctest.Test(t, func(t *testing.T) {
		h, g := newHouse(t, nil)
		ln := make(pipeListener)
		done := make(chan error, 1)
		go func() { done <- g.Serve(t.Context(), ln) }()
		test(t, h, func(v mqtt.Version) *client {
			here, there := net.Pipe()
			ln <- there
			return newClient(t, here, v)
		})
		go g.Close()
		close(ln)
		if err := <-done; err != gateway.ErrClosed && err != net.ErrClosed {
			t.Errorf("Serve: %v", err)
		}
	})
}

// lasts returns after how long the server ends the connection.
func (c *client) lasts(t *testing.T) time.Duration {
	start := time.Now()
	for {
		c.nc.SetReadDeadline(time.Time{})
		p, err := c.r.ReadPacket(c.v)
		if err != nil {
			return time.Since(start)
		}
		if d, ok := p.(*mqtt.Disconnect); ok {
			t.Logf("told to go: %v", d.Reason)
			return time.Since(start)
		}
	}
}

func TestConnectionsThatFallSilentAreClosed(t *testing.T) {
	t.Run("no CONNECT", func(t *testing.T) {
		inBubble(t, func(t *testing.T, h *house, dial func(mqtt.Version) *client) {
			if got := dial(mqtt.V5).lasts(t); got != 10*time.Second {
				t.Errorf("closed after %v, want 10 s", got)
			}
		})
	})
	t.Run("a CONNECT byte by byte", func(t *testing.T) {
		inBubble(t, func(t *testing.T, h *house, dial func(mqtt.Version) *client) {
			c := dial(mqtt.V5)
			go func() {
				for _, b := range []byte{0x10, 100, 0, 4, 'M', 'Q'} {
					c.nc.Write([]byte{b})
					time.Sleep(3 * time.Second) // ok: the bubble's time
				}
			}()
			if got := c.lasts(t); got != 10*time.Second {
				t.Errorf("closed after %v, want 10 s", got)
			}
			time.Sleep(time.Minute) // ok: in the bubble, until the writer above has ended
		})
	})
	t.Run("no ping within one and a half keep-alives", func(t *testing.T) {
		inBubble(t, func(t *testing.T, h *house, dial func(mqtt.Version) *client) {
			h.device("dev", 7)
			c := dial(mqtt.V5)
			c.write(&mqtt.Connect{
				ClientID: "c", CleanStart: true, KeepAlive: 60, HasUsername: true, Username: "dev",
				HasPassword: true, Password: []byte("secret"),
			})
			next[*mqtt.Connack](c)
			time.Sleep(80 * time.Second) // ok: the bubble's time
			c.quiet()
			if got := c.lasts(t); got != 90*time.Second {
				t.Errorf("closed after %v, want 90 s", got)
			}
		})
	})
	t.Run("no acknowledgement", func(t *testing.T) {
		inBubble(t, func(t *testing.T, h *house, dial func(mqtt.Version) *client) {
			h.device("dev", 7)
			c := dial(mqtt.V5).connect("dev", nil).subscribe(1)
			synctest.Wait()
			h.send(message(1, "m"), 7)
			next[*mqtt.Publish](c)
			if got := c.lasts(t); got != time.Minute {
				t.Errorf("closed after %v, want 60 s", got)
			}
		})
	})
}
