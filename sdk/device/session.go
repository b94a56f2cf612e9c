package device

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/mqtt"
)

const (
	inboxTopic  = "inbox"
	subscribeID = 1

	// queued is how many messages wait for the handler. The server sends at most 32 at QoS 1 before it wants
	// acknowledgements; at QoS 0 a slow handler ends up slowing the connection.
	queued = 1024

	// unanswered is how many PUBLISHes of ours may wait for their PUBACK at a time, unless the server wants fewer.
	unanswered = 16

	writeTimeout = 10 * time.Second

	// handlerGrace is how long a handler may go on when its context has ended, before the connection is closed under it.
	handlerGrace = 5 * time.Second
)

// errClosed says that this side has ended the connection.
var errClosed = errors.New("device: connection closed")

// A session is one connection after its handshake.
type session struct {
	device    *Device
	conn      net.Conn
	reader    *mqtt.Reader
	keepAlive time.Duration
	inbox     chan incoming
	done      chan struct{} // closed by close
	slots     chan struct{} // one for each PUBLISH of ours without a PUBACK; replaced only before the session is used

	mu      sync.Mutex // guards writing to conn, and the fields below
	buf     []byte
	wrote   time.Time
	nextID  uint16
	waiting map[uint16]chan answer // by packet id of a PUBLISH of ours
	cause   error                  // why it was closed; errClosed if we did
	closed  bool
}

// An incoming is a message that waits for the handler.
type incoming struct {
	message  Message
	packetID uint16 // 0 at QoS 0
}

func newSession(d *Device, conn net.Conn) *session {
	return &session{
		device: d, conn: conn, reader: mqtt.NewReader(conn, d.opts.MaxPacket), keepAlive: d.opts.KeepAlive,
		inbox: make(chan incoming, queued), done: make(chan struct{}), waiting: make(map[uint16]chan answer),
		nextID: subscribeID, slots: make(chan struct{}, unanswered),
	}
}

// write sends one packet.
func (s *session) write(p mqtt.Packet) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writeLocked(p)
}

func (s *session) writeLocked(p mqtt.Packet) error {
	b, err := p.Append(s.buf[:0], s.device.version)
	if err != nil {
		return err
	}
	s.buf = b
	s.wrote = time.Now()
	if err := s.conn.SetWriteDeadline(s.wrote.Add(writeTimeout)); err != nil {
		return err
	}
	_, err = s.conn.Write(b)
	return err
}

// awaitSuback reads up to the answer to SUBSCRIBE.
func (s *session) awaitSuback() error {
	for {
		p, err := s.reader.ReadPacket(s.device.version)
		if err != nil {
			return fmt.Errorf("device: subscribe: %w", err)
		}
		ack, ok := p.(*mqtt.Suback)
		if !ok {
			if err := s.receive(p); err != nil {
				return err
			}
			continue
		}
		if ack.PacketID != subscribeID || len(ack.Reasons) != 1 {
			return errors.New("device: subscribe: the answer is to something else")
		}
		if ack.Reasons[0].Failed() {
			return fmt.Errorf("device: subscribe: %v", ack.Reasons[0])
		}
		return nil
	}
}

// run reads, handles and keeps alive until the connection ends, and says why it did. All goroutines have ended when it
// returns.
func (s *session) run(ctx context.Context, handler func(context.Context, Message) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() {
		s.close(s.read())
		cancel() // a handler that is under way has nobody to answer to
	})
	handled := make(chan struct{})
	all.Go(func() {
		defer close(handled)
		s.handle(ctx, handler)
	})

	ping := time.NewTicker(max(s.keepAlive/4, time.Second/2))
	defer ping.Stop()
	for {
		select {
		case <-s.done:
		case <-ctx.Done():
			select { // a message that is being handled is acknowledged yet
			case <-handled:
			case <-s.done:
			case <-time.After(handlerGrace):
			}
			s.goodbye()
		case now := <-ping.C:
			if s.keepAlive > 0 && s.idleSince(now) >= s.keepAlive/2 {
				if err := s.write(new(mqtt.Pingreq)); err != nil {
					s.close(err)
				}
			}
			continue
		}
		break
	}
	all.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

// idleSince returns how long nothing was written.
func (s *session) idleSince(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Sub(s.wrote)
}

// read receives until the stream ends. A server that says nothing for one and a half keep-alives, in spite of our
// PINGREQ, is gone.
func (s *session) read() error {
	for {
		if s.keepAlive > 0 {
			if err := s.conn.SetReadDeadline(time.Now().Add(s.keepAlive*3/2 + time.Second)); err != nil {
				return err
			}
		}
		p, err := s.reader.ReadPacket(s.device.version)
		if err != nil {
			return err
		}
		if err := s.receive(p); err != nil {
			return err
		}
	}
}

// receive takes one packet in.
func (s *session) receive(p mqtt.Packet) error {
	switch p := p.(type) {
	case *mqtt.Publish:
		payload := append([]byte(nil), p.Payload...) // the packet's is the reader's buffer
		m, err := parseMessage(payload, p.QoS > mqtt.AtMostOnce)
		if err != nil {
			s.device.opts.Log.Warn("a payload is no message", "device", s.device.id.DeviceID, "err", err)
			if p.QoS == mqtt.AtMostOnce {
				return nil
			}
			return s.write(&mqtt.Ack{Type: mqtt.TypePuback, PacketID: p.PacketID}) // it would be none next time, too
		}
		select {
		case s.inbox <- incoming{m, p.PacketID}:
		case <-s.done:
		}
	case *mqtt.Ack:
		s.mu.Lock()
		waits := s.waiting[p.PacketID]
		delete(s.waiting, p.PacketID)
		s.mu.Unlock()
		if waits != nil {
			<-s.slots
			a := answer{reason: p.Reason}
			if p.Props != nil {
				a.why = p.Props.ReasonString
			}
			waits <- a // has room for one
		}
	case *mqtt.Disconnect:
		if err := refusal(p.Reason); err != nil {
			return err
		}
		return errors.New("device: the server has disconnected")
	}
	return nil
}

// handle calls handler for what is in the inbox, and acknowledges.
func (s *session) handle(ctx context.Context, handler func(context.Context, Message) error) {
	s.confirm(ctx) // what could not be said on the last connection
	for ctx.Err() == nil {
		var in incoming
		select {
		case in = <-s.inbox:
		case <-s.done:
			return
		case <-ctx.Done():
			return
		}
		m := &in.message
		if m.Recall != "" {
			s.device.recalls.add(m.Recall)
		}
		if m.Recall != "" || !s.device.recalls.has(m.ID) {
			if err := handler(ctx, *m); err != nil {
				s.close(fmt.Errorf("device: handler: %w", err))
				return
			}
		}
		if in.packetID != 0 {
			if err := s.write(&mqtt.Ack{Type: mqtt.TypePuback, PacketID: in.packetID}); err != nil {
				s.close(err)
				return
			}
		}
		if m.Recall != "" && !s.device.opts.ManualRecalls {
			s.device.recalls.owe(m.Recall)
			s.confirm(ctx)
		}
	}
}

// confirm reports what was recalled, also when the program is about to end: nobody would ask again. It goes after the
// acknowledgement: over 3.1.1 a refusal ends the connection, and the recall must not come again for that.
func (s *session) confirm(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handlerGrace)
	defer cancel()
	for _, push := range s.device.recalls.unsaid() {
		a, err := s.publish(ctx, "event", eventPayload(push, Recalled))
		if err != nil {
			return // it is said on the next connection
		}
		s.device.recalls.said(push)
		if err := a.refused("event"); err != nil {
			s.device.opts.Log.Warn("a recall is not confirmed", "device", s.device.id.DeviceID, "err", err)
		}
	}
}

// publish sends a message at QoS 1 and waits for its PUBACK. Its slot and its packet id are free again when that has come,
// however long publish has waited: until then the server counts the PUBLISH as one that is under way.
func (s *session) publish(ctx context.Context, topic string, payload []byte) (answer, error) {
	select {
	case s.slots <- struct{}{}:
	case <-s.done:
		return answer{}, ErrNotConnected // nothing was sent
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
	answered := make(chan answer, 1)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return answer{}, ErrNotConnected
	}
	id := s.freeID()
	s.waiting[id] = answered
	err := s.writeLocked(&mqtt.Publish{Topic: topic, QoS: mqtt.AtLeastOnce, PacketID: id, Payload: payload})
	s.mu.Unlock()
	if err != nil {
		s.close(err) // a part of it may be written
	}
	select {
	case a := <-answered:
		return a, nil
	case <-s.done:
		return s.last(answered)
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

// last returns the answer that came before the connection ended, if one did.
func (s *session) last(answered <-chan answer) (answer, error) {
	select {
	case a := <-answered:
		return a, nil
	default:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return answer{}, fmt.Errorf("%w: %w", ErrUnavailable, s.cause)
}

// freeID returns a packet id that no PUBLISH waits with. mu is held.
func (s *session) freeID() uint16 {
	for {
		s.nextID++
		if _, taken := s.waiting[s.nextID]; !taken && s.nextID != 0 {
			return s.nextID
		}
	}
}

// goodbye tells the server that we leave, and closes.
func (s *session) goodbye() {
	err := s.write(&mqtt.Disconnect{})
	s.close(errors.Join(errClosed, err))
}

// close ends the connection; the first cause is the one that run returns.
func (s *session) close(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if cause == nil {
		cause = errClosed
	}
	s.closed, s.cause = true, cause
	close(s.done)
	s.conn.Close() //nolint:errcheck // there is nothing to do about it
}
