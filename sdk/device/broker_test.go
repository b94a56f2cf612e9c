package device_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/sdk/device"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A broker is the server's side of the protocol for tests: it accepts devices, sends what it is told to, and notes what
// they answer.
type broker struct {
	t  *testing.T
	ln net.Listener

	// refuse answers CONNECT; nil accepts everybody.
	refuse func(id, secret string) mqtt.ReasonCode
	// judge answers what a device publishes; nil accepts all.
	judge func(payload string) mqtt.ReasonCode
	// why goes with each refusal, where the protocol has words; "" is none.
	why string
	// silent has it answer nothing that a device publishes.
	silent bool
	// receiveMaximum is how many PUBLISHes it says it takes at a time; 0 says nothing.
	receiveMaximum uint16
	// hello is sent to a device when it has subscribed; nil is nothing.
	hello func(id string, connection int) []string

	mu       sync.Mutex // guards the fields below
	conns    map[string]*link
	connects map[string]int
	all      map[net.Conn]bool
	closed   bool

	acks   chan string // "device packet-id"
	events chan string // payloads; of what is no event, with its topic before it
	pings  chan string // devices
	wg     sync.WaitGroup
}

// A link is one connection of a device.
type link struct {
	conn net.Conn
	v    mqtt.Version
	qos  mqtt.QoS
	mu   sync.Mutex // guards writing and next
	next uint16
}

// newBroker returns a broker that listens; setup changes it before it does.
func newBroker(t *testing.T, setup ...func(*broker)) *broker {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{
		t: t, ln: ln, conns: map[string]*link{}, connects: map[string]int{}, all: map[net.Conn]bool{},
		acks: make(chan string, 100_000), events: make(chan string, 100), pings: make(chan string, 100_000),
	}
	for _, change := range setup {
		change(b)
	}
	b.wg.Go(func() { b.accept(ln) })
	t.Cleanup(b.close)
	return b
}

func (b *broker) close() {
	b.ln.Close() //nolint:errcheck // a test's end
	b.mu.Lock()
	b.closed = true
	for c := range b.all {
		c.Close() //nolint:errcheck // a test's end
	}
	b.mu.Unlock()
	b.wg.Wait()
}

func (b *broker) address() string { return "tcp://" + b.ln.Addr().String() }

func (b *broker) addrPort() netip.AddrPort { return netip.MustParseAddrPort(b.ln.Addr().String()) }

// overTLS serves the same on another listener, and returns its address.
func (b *broker) overTLS(cert tls.Certificate) string {
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { ln.Close() }) //nolint:errcheck // a test's end
	b.wg.Go(func() { b.accept(ln) })
	return "tls://" + ln.Addr().String()
}

// overWebSocket serves the same at /mqtt, and returns its address.
func (b *broker) overWebSocket() string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"mqtt"}})
		if err == nil {
			b.serve(websocket.NetConn(context.Background(), c, websocket.MessageBinary))
		}
	}))
	b.t.Cleanup(srv.Close)
	return "ws" + strings.TrimPrefix(srv.URL, "http") + "/mqtt"
}

func (b *broker) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		b.wg.Go(func() { b.serve(c) })
	}
}

func (b *broker) serve(c net.Conn) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		c.Close() //nolint:errcheck // a test's end
		return
	}
	b.all[c] = true
	b.mu.Unlock()
	defer func() {
		c.Close() //nolint:errcheck // it is over
		b.mu.Lock()
		delete(b.all, c)
		b.mu.Unlock()
	}()
	r := mqtt.NewReader(c, 0)
	p, err := r.ReadPacket(0)
	connect, ok := p.(*mqtt.Connect)
	if err != nil || !ok {
		return
	}
	id, l := connect.Username, &link{conn: c, v: connect.Version}
	if b.refuse != nil {
		if reason := b.refuse(id, string(connect.Password)); reason.Failed() {
			l.write(&mqtt.Connack{Reason: reason}) //nolint:errcheck // the device may have gone
			return
		}
	}
	b.mu.Lock()
	b.connects[id]++
	n := b.connects[id]
	b.mu.Unlock()
	if l.write(&mqtt.Connack{Props: &mqtt.Properties{ReceiveMaximum: b.receiveMaximum}}) != nil {
		return
	}
	for {
		p, err := r.ReadPacket(l.v)
		if err != nil {
			return
		}
		if b.packet(id, n, l, p) != nil {
			return
		}
	}
}

// packet answers one packet of device id, in its n-th connection.
func (b *broker) packet(id string, n int, l *link, p mqtt.Packet) error {
	switch p := p.(type) {
	case *mqtt.Subscribe:
		l.qos = p.Subscriptions[0].QoS
		if err := l.write(&mqtt.Suback{PacketID: p.PacketID, Reasons: []mqtt.ReasonCode{mqtt.ReasonCode(l.qos)}}); err != nil {
			return err
		}
		b.mu.Lock()
		b.conns[id] = l
		b.mu.Unlock()
		if b.hello != nil {
			for _, payload := range b.hello(id, n) {
				l.send(payload) //nolint:errcheck // the device may have gone
			}
		}
	case *mqtt.Ack:
		b.acks <- fmt.Sprintf("%s %d", id, p.PacketID)
	case *mqtt.Publish:
		said := string(p.Payload)
		if p.Topic != "event" {
			said = p.Topic + " " + said
		}
		b.events <- said
		if b.silent {
			return nil
		}
		ack := &mqtt.Ack{Type: mqtt.TypePuback, PacketID: p.PacketID}
		if b.judge != nil {
			ack.Reason = b.judge(string(p.Payload))
		}
		switch {
		case ack.Reason.Failed() && l.v == mqtt.V311:
			return errors.New("refused") // 3.1.1 has no other way
		case ack.Reason.Failed() && b.why != "":
			ack.Props = &mqtt.Properties{ReasonString: b.why}
		}
		return l.write(ack)
	case *mqtt.Pingreq:
		b.pings <- id
		return l.write(&mqtt.Pingresp{})
	case *mqtt.Disconnect:
		return errors.New("gone")
	}
	return nil
}

func (l *link) write(p mqtt.Packet) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writeLocked(p)
}

func (l *link) writeLocked(p mqtt.Packet) error {
	b, err := p.Append(nil, l.v)
	if err != nil {
		return err
	}
	_, err = l.conn.Write(b)
	return err
}

// send publishes payload under the next packet id.
func (l *link) send(payload string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	p := &mqtt.Publish{Topic: "inbox", QoS: l.qos, Payload: []byte(payload)}
	if l.qos > 0 {
		p.PacketID = l.next
	}
	return l.writeLocked(p)
}

// link returns the connection of a device that has subscribed.
func (b *broker) link(id string) *link {
	b.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		b.mu.Lock()
		l := b.conns[id]
		b.mu.Unlock()
		if l != nil {
			return l
		}
		time.Sleep(time.Millisecond) // ok: polls, with a deadline, for a subscription that arrives over a socket
	}
	b.t.Fatalf("%s has not subscribed", id)
	return nil
}

// kick closes a device's connection.
func (b *broker) kick(id string) {
	l := b.link(id)
	b.mu.Lock()
	delete(b.conns, id)
	b.mu.Unlock()
	l.conn.Close() //nolint:errcheck // that is the point
}

// next returns what comes from c within ten seconds.
func next[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: nothing came", what)
		panic("unreachable")
	}
}

// start runs d until the test ends, and returns what Run returns.
func start(t *testing.T, d *device.Device) <-chan error {
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { result <- d.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return result
}
