package gateway_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/carillonpush/carillon/internal/gateway"
	"github.com/carillonpush/carillon/internal/mqtt"
)

// A client is one device's side of a connection.
type client struct {
	tb testing.TB
	nc net.Conn
	r  *mqtt.Reader
	v  mqtt.Version
}

// patience is how long a client waits for what must come.
const patience = 10 * time.Second

func newClient(tb testing.TB, nc net.Conn, v mqtt.Version) *client {
	tb.Cleanup(func() { nc.Close() })
	return &client{tb: tb, nc: nc, r: mqtt.NewReader(nc, 0), v: v}
}

func (c *client) write(p mqtt.Packet) {
	c.tb.Helper()
	b, err := p.Append(nil, c.v)
	if err != nil {
		c.tb.Fatal(err)
	}
	if _, err := c.nc.Write(b); err != nil {
		c.tb.Fatal(err)
	}
}

func (c *client) read() (mqtt.Packet, error) {
	c.nc.SetReadDeadline(time.Now().Add(patience))
	return c.r.ReadPacket(c.v)
}

// next returns the next packet, which has to be a T.
func next[T mqtt.Packet](c *client) T {
	c.tb.Helper()
	p, err := c.read()
	if err != nil {
		var want T
		c.tb.Fatalf("reading a %T: %v", want, err)
	}
	t, ok := p.(T)
	if !ok {
		c.tb.Fatalf("got %T %+v, want %T", p, p, t)
	}
	return t
}

// gone checks that the connection ends with the given reason in 5.0, and ends in 3.1.1.
func (c *client) gone(reason mqtt.ReasonCode) {
	c.tb.Helper()
	if c.v == mqtt.V5 {
		if d := next[*mqtt.Disconnect](c); d.Reason != reason {
			c.tb.Errorf("disconnected with %v, want %v", d.Reason, reason)
		}
	}
	if p, err := c.read(); !errors.Is(err, io.EOF) {
		c.tb.Errorf("got %v, %v; want the end of the connection", p, err)
	}
}

// connect logs in.
func (c *client) connect(name string, props *mqtt.Properties) *client {
	c.tb.Helper()
	c.write(&mqtt.Connect{
		ClientID: "c", CleanStart: true, HasUsername: true, Username: name, HasPassword: true, Password: []byte("secret"),
		Props: props,
	})
	if a := next[*mqtt.Connack](c); a.Reason != mqtt.Success {
		c.tb.Fatalf("CONNACK: got %v, want success", a.Reason)
	}
	return c
}

func (c *client) subscribe(qos mqtt.QoS) *client {
	c.tb.Helper()
	c.write(&mqtt.Subscribe{PacketID: 1, Subscriptions: []mqtt.Subscription{{Filter: "inbox", QoS: qos}}})
	if a := next[*mqtt.Suback](c); a.Reasons[0] != mqtt.ReasonCode(qos) {
		c.tb.Fatalf("SUBACK: got %v, want QoS %d", a.Reasons, qos)
	}
	return c
}

func (c *client) ack(p *mqtt.Publish) {
	c.tb.Helper()
	c.write(&mqtt.Ack{Type: mqtt.TypePuback, PacketID: p.PacketID})
}

// takes reads messages with the given payloads in order, and acknowledges them.
func (c *client) takes(payloads ...string) {
	c.tb.Helper()
	for _, want := range payloads {
		p := next[*mqtt.Publish](c)
		if string(p.Payload) != want || p.Topic != "inbox" || p.Dup || p.Retain {
			c.tb.Fatalf("got %+v with payload %q, want %q", p, p.Payload, want)
		}
		if p.QoS == mqtt.AtLeastOnce {
			c.ack(p)
		}
	}
}

// quiet checks that nothing came before an answer to a ping.
func (c *client) quiet() {
	c.tb.Helper()
	c.write(&mqtt.Pingreq{})
	next[*mqtt.Pingresp](c)
}

// A way is one way to reach a gateway.
type way struct {
	name string
	dial func() net.Conn
}

// serve has g accept on loopback and returns the ways to it.
func serve(tb testing.TB, g *gateway.Gateway) []way {
	ctx, cancel := context.WithCancel(context.Background())
	listen := func() net.Listener {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		return ln
	}
	plain, secure := listen(), listen()
	cert := certificate(tb)
	done := make(chan error, 2)
	go func() { done <- g.Serve(ctx, smallListener{plain}) }()
	go func() {
		done <- g.Serve(ctx, tls.NewListener(secure, &tls.Config{Certificates: []tls.Certificate{cert}}))
	}()
	web := httptest.NewServer(g)
	tb.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil && !errors.Is(err, gateway.ErrClosed) {
				tb.Errorf("Serve: %v", err)
			}
		}
		g.Close()
		web.Close()
	})
	dial := func(addr net.Addr) net.Conn {
		nc, err := net.Dial("tcp", addr.String())
		if err != nil {
			tb.Fatal(err)
		}
		if err := nc.(*net.TCPConn).SetReadBuffer(smallBuffer); err != nil {
			tb.Fatal(err)
		}
		return nc
	}
	return []way{
		{"TCP", func() net.Conn { return dial(plain.Addr()) }},
		{"TLS", func() net.Conn { return tls.Client(dial(secure.Addr()), &tls.Config{InsecureSkipVerify: true}) }},
		{"WebSocket", func() net.Conn {
			d := ws.Dialer{Protocols: []string{"mqtt"}}
			nc, br, hs, err := d.Dial(context.Background(), "ws"+web.URL[len("http"):]+"/mqtt")
			if err != nil || hs.Protocol != "mqtt" {
				tb.Fatalf("WebSocket: %v, protocol %q", err, hs.Protocol)
			}
			if br != nil {
				tb.Fatal("WebSocket: bytes before any were asked for")
			}
			return &wsConn{Conn: nc}
		}},
	}
}

// smallBuffer is what the kernel holds for tests in which a client does not read.
const smallBuffer = 32 << 10

// A smallListener gives its connections small buffers, which do not grow.
type smallListener struct{ net.Listener }

func (l smallListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err == nil {
		err = nc.(*net.TCPConn).SetWriteBuffer(smallBuffer)
	}
	return nc, err
}

// A wsConn is the client's side of a WebSocket. It writes in two frames what it can, for the server has to take that.
type wsConn struct {
	net.Conn
	in []byte
}

func (c *wsConn) Read(p []byte) (int, error) {
	for len(c.in) == 0 {
		b, op, err := wsutil.ReadServerData(c.Conn)
		if err != nil {
			if _, ok := errors.AsType[wsutil.ClosedError](err); ok {
				err = io.EOF
			}
			return 0, err
		}
		if op != ws.OpBinary {
			return 0, errors.New("not a binary frame")
		}
		c.in = b
	}
	n := copy(p, c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *wsConn) Write(p []byte) (int, error) {
	half := len(p) / 2
	frames := []ws.Frame{
		ws.NewFrame(ws.OpBinary, false, p[:half:half]), ws.NewPingFrame([]byte("x")), ws.NewFrame(ws.OpContinuation, true, p[half:]),
	}
	var all []byte
	for _, f := range frames {
		b, err := ws.CompileFrame(ws.MaskFrame(f))
		if err != nil {
			return 0, err
		}
		all = append(all, b...)
	}
	_, err := c.Conn.Write(all)
	return len(p), err
}

func certificate(tb testing.TB) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
