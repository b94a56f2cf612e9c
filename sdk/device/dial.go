package device

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/coder/websocket"

	"github.com/carillonpush/carillon/internal/mqtt"
)

// handshakeTimeout is the most time from dialling to the answer to SUBSCRIBE.
const handshakeTimeout = 30 * time.Second

// open dials, connects and subscribes.
func (d *Device) open(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	address := d.opts.Address
	if address == "" {
		address = d.id.MQTT.address()
	}
	conn, err := dial(ctx, address, &d.opts)
	if err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	// The handshake below reads and writes; ending ctx ends it by closing under it.
	stop := context.AfterFunc(ctx, func() { conn.Close() }) //nolint:errcheck // it is given up
	s, err := d.handshake(conn)
	if !stop() {
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		conn.Close() //nolint:errcheck // it is given up
		return nil, err
	}
	return s, nil
}

// address returns the endpoint's best address.
func (e Endpoint) address() string {
	switch {
	case e.TLSPort != 0:
		return "tls://" + net.JoinHostPort(e.Host, strconv.Itoa(e.TLSPort))
	case e.Port != 0:
		return "tcp://" + net.JoinHostPort(e.Host, strconv.Itoa(e.Port))
	}
	return e.WebSocket
}

// dial opens the stream that an address names.
func dial(ctx context.Context, address string, opts *Options) (net.Conn, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	switch u.Scheme {
	case "tcp", "mqtt":
		return new(net.Dialer).DialContext(ctx, "tcp", u.Host)
	case "tls", "mqtts":
		return (&tls.Dialer{Config: opts.TLS}).DialContext(ctx, "tcp", u.Host)
	case "ws", "wss":
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: opts.TLS, Proxy: http.ProxyFromEnvironment}}
		c, resp, err := websocket.Dial(ctx, address, &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{"mqtt"}})
		if err != nil {
			if resp != nil {
				return nil, fmt.Errorf("WebSocket: HTTP %d: %w", resp.StatusCode, err)
			}
			return nil, fmt.Errorf("WebSocket: %w", err)
		}
		if c.Subprotocol() != "mqtt" {
			c.CloseNow() //nolint:errcheck // it is given up
			return nil, errors.New("WebSocket: the server does not speak MQTT")
		}
		c.SetReadLimit(int64(opts.MaxPacket) + 5)
		// The context of NetConn would end the connection with it; the session closes it itself.
		return websocket.NetConn(context.WithoutCancel(ctx), c, websocket.MessageBinary), nil
	}
	return nil, fmt.Errorf("address %q is none of tcp://, tls://, ws://, wss://", address)
}

// handshake exchanges CONNECT and SUBSCRIBE. A message may come before the answer to SUBSCRIBE has; it is kept.
func (d *Device) handshake(conn net.Conn) (*session, error) {
	s := newSession(d, conn)
	connect := &mqtt.Connect{
		CleanStart: true, KeepAlive: uint16(d.opts.KeepAlive / time.Second), ClientID: d.id.DeviceID,
		HasUsername: true, Username: d.id.DeviceID, HasPassword: true, Password: []byte(d.id.Secret),
	}
	if d.version == mqtt.V5 {
		connect.Props = &mqtt.Properties{MaximumPacketSize: uint32(d.opts.MaxPacket)}
	}
	if err := s.write(connect); err != nil {
		return nil, fmt.Errorf("device: connect: %w", err)
	}
	p, err := s.reader.ReadPacket(d.version)
	if err != nil {
		return nil, fmt.Errorf("device: connect: %w", err)
	}
	ack, ok := p.(*mqtt.Connack)
	if !ok {
		return nil, fmt.Errorf("device: connect: got %v instead of CONNACK", p.PacketType())
	}
	if err := refusal(ack.Reason); err != nil {
		return nil, err
	}
	if props := ack.Props; props != nil {
		if props.ServerKeepAlive.Set {
			s.keepAlive = time.Duration(props.ServerKeepAlive.Value) * time.Second
		}
		if props.ReceiveMaximum > 0 && props.ReceiveMaximum < unanswered {
			s.slots = make(chan struct{}, props.ReceiveMaximum)
		}
	}
	qos := mqtt.AtLeastOnce
	if d.opts.AtMostOnce {
		qos = mqtt.AtMostOnce
	}
	sub := &mqtt.Subscribe{PacketID: subscribeID, Subscriptions: []mqtt.Subscription{{Filter: inboxTopic, QoS: qos}}}
	if err := s.write(sub); err != nil {
		return nil, fmt.Errorf("device: subscribe: %w", err)
	}
	return s, s.awaitSuback()
}

// refusal returns the error that a CONNACK or DISCONNECT with reason stands for; nil for a success.
func refusal(reason mqtt.ReasonCode) error {
	switch reason {
	case mqtt.BadUserNameOrPassword, mqtt.NotAuthorized, mqtt.Banned, mqtt.ClientIdentifierNotValid:
		return fmt.Errorf("%w: %v", ErrRefused, reason)
	case mqtt.SessionTakenOver:
		return ErrTakenOver
	}
	if reason.Failed() {
		return fmt.Errorf("device: the server says %v", reason)
	}
	return nil
}
