package gateway

import (
	"time"

	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/internal/push"
)

// greet takes the first packet.
func (s *session) greet(now time.Time, frame []byte, fx *effects) {
	p, err := mqtt.Decode(0, frame)
	if err != nil {
		if mqtt.Type(frame[0]>>4) != mqtt.TypeConnect {
			s.violation(err, fx)
			return
		}
		s.version = mqtt.ConnectVersion(frame)
		s.refuse(mqtt.ReasonOf(err), fx)
		return
	}
	c, ok := p.(*mqtt.Connect)
	if !ok {
		s.violation(nil, fx)
		return
	}
	s.version = c.Version
	if reason := s.refuseConnect(c); reason.Failed() {
		s.refuse(reason, fx)
		return
	}
	s.agree(c)
	s.phase = checking
	fx.login = &login{name: c.Username, secret: string(c.Password)}
}

// refuseConnect returns why a CONNECT asks for what there is not, or Success.
func (s *session) refuseConnect(c *mqtt.Connect) mqtt.ReasonCode {
	switch {
	case s.full:
		return mqtt.ConnectionRateExceeded
	case c.Props != nil && (c.Props.AuthMethod != "" || c.Props.AuthData != nil):
		return mqtt.BadAuthenticationMethod
	case c.Will == nil:
		return mqtt.Success
	case c.Version == mqtt.V311:
		return mqtt.NotAuthorized
	case c.Will.Retain:
		return mqtt.RetainNotSupported // [MQTT-3.2.2-13]
	case c.Will.QoS > mqtt.AtLeastOnce:
		return mqtt.QoSNotSupported // [MQTT-3.2.2-12]
	}
	return mqtt.TopicNameInvalid // no topic is offered that a will could be published to
}

// agree takes over what the CONNECT says of the connection and prepares the answer.
func (s *session) agree(c *mqtt.Connect) {
	keep := c.KeepAlive
	s.connack = &mqtt.Connack{}
	window, maxPacket := s.lim.window, 0
	if c.Version == mqtt.V5 {
		no := mqtt.Some(false)
		props := &mqtt.Properties{
			SessionExpiry: mqtt.Some[uint32](0), MaximumQoS: mqtt.Some(mqtt.AtLeastOnce), ReceiveMaximum: maxStatements,
			MaximumPacketSize: uint32(s.lim.maxPacket),
			RetainAvailable:   no, WildcardSubAvailable: no, SubIDAvailable: no, SharedSubAvailable: no,
		}
		if most := s.lim.maxKeepAlive; most > 0 && (keep == 0 || keep > most) {
			keep, props.ServerKeepAlive = most, mqtt.Some(most)
		}
		if c.ClientID == "" {
			props.AssignedClientID = c.Username // unique: a device has one connection
		}
		s.connack.Props = props
		if c.Props != nil {
			if r := int(c.Props.ReceiveMaximum); r > 0 {
				window = min(window, r)
			}
			maxPacket = int(c.Props.MaximumPacketSize)
			s.mute = c.Props.RequestProblemInfo.Set && !c.Props.RequestProblemInfo.Value
		}
	}
	s.keepAlive = time.Duration(keep) * time.Second * 3 / 2 // [MQTT-3.1.2-22]
	s.send = sending{window: window, maxPacket: maxPacket, maxQueue: s.lim.maxQueue}
}

// refuse answers a CONNECT with a reason. 3.1.1 closes where it has no return code.
func (s *session) refuse(reason mqtt.ReasonCode, fx *effects) {
	if _, ok := reason.ReturnCode(); ok || s.version == mqtt.V5 {
		fx.packets = append(fx.packets, &mqtt.Connack{Reason: reason})
	}
	s.phase, fx.stop, s.connack = closed, true, nil
}

// accept opens the connection for the device that the house knows it to be.
func (s *session) accept(now time.Time, ref push.Ref, fx *effects) {
	if s.phase != checking {
		return
	}
	s.phase, s.ref, s.seen = open, ref, now
	fx.packets = append(fx.packets, s.connack)
	s.connack = nil
}

// openStream makes a new session that of a device that takes its inbox by server-sent events: there are no packets, and
// it acknowledges by another way.
func (s *session) openStream(now time.Time, ref push.Ref) (resume bool) {
	s.phase, s.ref, s.seen, s.subscribed, s.qos = open, ref, now, true, mqtt.AtLeastOnce
	s.send = sending{window: s.lim.window, maxQueue: s.lim.maxQueue}
	return s.send.open(0, s.qos)
}
