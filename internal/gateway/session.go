package gateway

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/internal/push"
)

// The topics that there are, beside those of edits.
const (
	topicInbox   = "inbox"
	topicEvent   = "event"
	topicNetwork = "device/network"
)

// A phase is where a connection stands.
type phase uint8

const (
	greeting phase = iota // nothing but a CONNECT may come
	checking              // the house is asked who this is
	open
	closed
)

// limits are what all sessions of a gateway share.
type limits struct {
	window       int           // messages under way to one device
	maxQueue     int           // bytes that wait for one socket
	maxPacket    int           // bytes of an inbound packet
	ackTimeout   time.Duration // from a message's write to its acknowledgement
	connectTime  time.Duration // from the first byte possible to the CONNECT
	maxKeepAlive uint16        // seconds; what a 5.0 client is told when it asks for more, or for none
}

// A session is the protocol state of one connection: packets go in, packets and other effects come out. It does no I/O,
// starts no goroutine and reads no clock. It is not safe for concurrent use.
type session struct {
	lim        *limits
	phase      phase
	version    mqtt.Version // zero for a device that takes server-sent events
	full       bool         // the server has no room: the CONNECT will be refused
	parting    bool         // closed by the server, which takes acknowledgements that are under way
	subscribed bool
	qos        mqtt.QoS
	unanswered uint8 // statements at QoS 1
	mute       bool  // the client wants no reason strings
	keepAlive  time.Duration
	seen       time.Time // when the last whole packet came; before the CONNECT, when the connection did
	ref        push.Ref
	connack    *mqtt.Connack // while checking: the answer if all is well
	send       sending
}

// effects are what a session wants done, in this order: what was said queued to be recorded, packets written, receipts
// posted, the login checked. They are reused from packet to packet.
type effects struct {
	packets  []mqtt.Packet
	receipts []push.Receipt
	login    *login
	said     *statement
	resume   bool // there is room again for what waits in the record
	stop     bool // the connection ends when the packets are written
	ack      mqtt.Ack
}

// A login is what a CONNECT proves its device with.
type login struct{ name, secret string }

func (fx *effects) reset() {
	clear(fx.packets)
	fx.packets, fx.receipts = fx.packets[:0], fx.receipts[:0]
	fx.login, fx.said, fx.resume, fx.stop = nil, nil, false, false
}

func newSession(lim *limits, now time.Time) session {
	return session{lim: lim, seen: now}
}

// receive takes one whole packet.
func (s *session) receive(now time.Time, frame []byte, fx *effects) {
	if s.phase == greeting {
		s.greet(now, frame, fx)
		return
	}
	acknowledges := mqtt.Type(frame[0]>>4) == mqtt.TypePuback
	if s.phase != open && !(s.parting && acknowledges) {
		return
	}
	s.seen = now
	if acknowledges {
		if err := fx.ack.Decode(s.version, frame); err != nil {
			s.violation(err, fx)
			return
		}
		s.acknowledged(&fx.ack, fx)
		return
	}
	p, err := mqtt.Decode(s.version, frame)
	if err != nil {
		s.violation(err, fx)
		return
	}
	switch p := p.(type) {
	case *mqtt.Pingreq:
		fx.packets = append(fx.packets, &mqtt.Pingresp{})
	case *mqtt.Publish:
		s.published(p, fx)
	case *mqtt.Subscribe:
		s.subscribe(p, fx)
	case *mqtt.Unsubscribe:
		s.unsubscribe(p, fx)
	case *mqtt.Disconnect:
		s.phase, fx.stop = closed, true
	default:
		// A second CONNECT, an AUTH without a method that CONNECT named, what only QoS 2 needs and what only servers send.
		s.end(mqtt.ProtocolError, fx)
	}
}

// violation ends a connection whose client breaks the standard.
func (s *session) violation(err error, fx *effects) {
	s.parting = false // what follows cannot be told apart
	if s.phase == greeting {
		s.phase, fx.stop = closed, true // no CONNECT, so there is nobody to tell
		return
	}
	s.end(mqtt.ReasonOf(err), fx)
}

// end closes the connection for a reason. 3.1.1 has no way to say it.
func (s *session) end(reason mqtt.ReasonCode, fx *effects) {
	if s.phase == closed {
		return
	}
	if s.phase == open && s.version == mqtt.V5 {
		fx.packets = append(fx.packets, &mqtt.Disconnect{Reason: reason})
	}
	s.parting = s.phase == open && reason == mqtt.ServerShuttingDown
	s.phase, fx.stop = closed, true
}

// acknowledged takes a PUBACK. One for a packet that was not sent on this connection changes nothing: the standard knows
// no error for it.
func (s *session) acknowledged(a *mqtt.Ack, fx *effects) {
	m := push.MarkDelivered
	if a.Reason.Failed() {
		m = push.MarkRefused // the client will not have it; sending it again is not allowed
	}
	if r, ok := s.send.acked(a.PacketID, m, s.ref); ok {
		fx.receipts = append(fx.receipts, r)
		fx.resume = s.phase == open && s.send.resume()
	}
}

func (s *session) subscribe(p *mqtt.Subscribe, fx *effects) {
	answer := &mqtt.Suback{PacketID: p.PacketID, Reasons: make([]mqtt.ReasonCode, len(p.Subscriptions))}
	identified := p.Props != nil && len(p.Props.SubscriptionIDs) > 0
	first := !s.subscribed
	for i, sub := range p.Subscriptions {
		reason := refuseFilter(s.version, sub.Filter)
		if identified {
			reason = mqtt.SubscriptionIDsNotSupported
		}
		if !reason.Failed() {
			s.subscribed, s.qos = true, min(sub.QoS, mqtt.AtLeastOnce)
			reason = mqtt.ReasonCode(s.qos)
		}
		answer.Reasons[i] = reason
	}
	fx.packets = append(fx.packets, answer)
	if first && s.subscribed {
		fx.resume = s.send.open(s.version, s.qos)
	} else {
		s.send.qos = s.qos
	}
}

// refuseFilter returns why a topic filter cannot be subscribed to, or Success.
func refuseFilter(v mqtt.Version, filter string) mqtt.ReasonCode {
	switch {
	case filter == topicInbox:
		return mqtt.Success
	case v == mqtt.V5 && mqtt.IsShared(filter):
		return mqtt.SharedSubscriptionsNotSupported
	case mqtt.HasWildcard(filter):
		return mqtt.WildcardSubscriptionsNotSupported
	}
	return mqtt.TopicFilterInvalid
}

func (s *session) unsubscribe(p *mqtt.Unsubscribe, fx *effects) {
	answer := &mqtt.Unsuback{PacketID: p.PacketID, Reasons: make([]mqtt.ReasonCode, len(p.Filters))}
	for i, f := range p.Filters {
		if f == topicInbox && s.subscribed {
			s.subscribed = false
			s.send.shut()
		} else {
			answer.Reasons[i] = mqtt.NoSubscriptionExisted
		}
	}
	fx.packets = append(fx.packets, answer)
}

// published takes a PUBLISH: a statement, or what is not offered.
func (s *session) published(p *mqtt.Publish, fx *effects) {
	switch {
	case p.QoS > mqtt.AtLeastOnce:
		s.end(mqtt.QoSNotSupported, fx)
		return
	case p.Retain:
		s.end(mqtt.RetainNotSupported, fx)
		return
	case p.Props != nil && p.Props.TopicAlias != 0:
		s.end(mqtt.TopicAliasInvalid, fx) // none were offered, so none may be used [MQTT-3.3.2-9]
		return
	}
	st := statement{qos: p.QoS, packet: p.PacketID}
	switch {
	case p.Topic == topicEvent:
		var ok bool
		if st.id, st.mark, ok = parseEvent(p.Payload); !ok {
			st.reason = mqtt.PayloadFormatInvalid
		}
	case isEditTopic(p.Topic):
		var err error
		st.edit, err = parseEdit(p.Topic, p.Payload)
		st.reason, st.why = refusal(err)
	case p.Topic == topicNetwork:
		var err error
		st.on, err = parseNetwork(p.Payload)
		st.reason, st.why = refusal(err)
	case p.Topic == topicInbox:
		st.reason = mqtt.NotAuthorized // one device does not write to another's
	default:
		st.reason = mqtt.TopicNameInvalid
	}
	// A refusal waits for the answers to what came before it, as other answers do. 3.1.1 has none but the end.
	if st.reason.Failed() && (s.unanswered == 0 || st.qos == mqtt.AtMostOnce || s.version == mqtt.V311) {
		s.answer(st, fx)
		return
	}
	if st.qos == mqtt.AtLeastOnce {
		if s.version == mqtt.V5 && s.unanswered >= maxStatements {
			s.end(mqtt.ReceiveMaximumExceeded, fx)
			return
		}
		s.unanswered++
	}
	fx.said = &st
}

// recorded says what became of a statement that published gave out.
func (s *session) recorded(st statement, err error, fx *effects) {
	if s.phase != open {
		return
	}
	if st.qos == mqtt.AtLeastOnce {
		s.unanswered--
	}
	if !st.reason.Failed() {
		st.reason, st.why = refusal(err)
	}
	s.answer(st, fx)
}

// answer acknowledges a statement or refuses it. 3.1.1 can refuse by closing only; at QoS 0 there is no answer in 5.0. What
// the client is to say again is not answered: its connection ends.
func (s *session) answer(st statement, fx *effects) {
	switch {
	case st.reason == mqtt.ServerBusy, s.version == mqtt.V311 && st.reason.Failed():
		s.end(st.reason, fx)
	case st.qos == mqtt.AtLeastOnce:
		ack := &mqtt.Ack{Type: mqtt.TypePuback, PacketID: st.packet, Reason: st.reason}
		if s.version == mqtt.V5 && s.explains(st.why) {
			ack.Props = &mqtt.Properties{ReasonString: st.why}
		}
		fx.packets = append(fx.packets, ack)
	}
}

// maxWhy is the most bytes of a reason string, and aroundWhy of what is around it in a PUBACK: the fixed header, the
// identifier, the reason, the properties' length, the property's name and the string's length.
const (
	maxWhy    = 512
	aroundWhy = 3 + 2 + 1 + 2 + 1 + 2
)

// explains reports whether the client may be told why in a PUBACK [MQTT-3.1.2-29, MQTT-3.4.2-2].
func (s *session) explains(why string) bool {
	return why != "" && len(why) <= maxWhy && utf8.ValidString(why) && !strings.ContainsRune(why, 0) &&
		!s.mute && (s.send.maxPacket == 0 || aroundWhy+len(why) <= s.send.maxPacket)
}

// deadline returns when tick has something to do if nothing comes until then, zero for never.
func (s *session) deadline() time.Time {
	var at time.Time
	switch {
	case s.phase == greeting || s.phase == checking:
		return s.seen.Add(s.lim.connectTime)
	case s.phase == closed:
		return at
	case s.keepAlive > 0:
		at = s.seen.Add(s.keepAlive)
	}
	if oldest := s.send.oldest(); oldest != 0 {
		if d := time.Unix(0, oldest).Add(s.lim.ackTimeout); at.IsZero() || d.Before(at) {
			at = d
		}
	}
	return at
}

// tick looks at what time has brought.
func (s *session) tick(now time.Time, fx *effects) {
	switch {
	case s.phase == closed:
	case s.phase != open:
		if now.Sub(s.seen) >= s.lim.connectTime {
			s.phase, fx.stop = closed, true
		}
	case s.keepAlive > 0 && now.Sub(s.seen) >= s.keepAlive:
		s.end(mqtt.KeepAliveTimeout, fx)
	case s.send.overdue(now.Add(-s.lim.ackTimeout).UnixNano()):
		s.end(mqtt.UnspecifiedError, fx) // the standard has no code for an acknowledgement that does not come
	default:
		fx.resume = s.send.resume()
	}
}
