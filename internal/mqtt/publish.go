package mqtt

import (
	"encoding/binary"
	"slices"
)

// A Publish carries a message.
type Publish struct {
	Topic    string // empty only in 5.0 and with a topic alias
	QoS      QoS
	Dup      bool // sent before; false at QoS 0
	Retain   bool
	PacketID uint16 // not 0 at QoS 1 and 2; not written, and 0 when read, at QoS 0
	Props    *Properties
	Payload  []byte // may be empty; aliases the frame
}

// PacketType returns TypePublish.
func (*Publish) PacketType() Type { return TypePublish }

// Decode is like the function Decode for a frame that is known to be a PUBLISH, and reuses p: all its fields are
// overwritten. It does not allocate when there are no properties and the topic is the one that p had before.
func (p *Publish) Decode(v Version, frame []byte) error {
	h, err := openFrame(v, frame)
	if err != nil {
		return err
	}
	if h.Type != TypePublish {
		return protocolError("packet is not a PUBLISH")
	}
	return p.decode(v, h, &cursor{b: frame[h.HeaderLen:]})
}

func (p *Publish) decode(v Version, h Header, c *cursor) (err error) {
	*p = Publish{Topic: p.Topic, QoS: QoS(h.Flags >> 1 & 3), Dup: h.Flags&8 != 0, Retain: h.Flags&1 != 0}
	if topic := c.binary(); string(topic) != p.Topic {
		p.Topic = string(topic)
	}
	if p.QoS > AtMostOnce {
		p.PacketID = c.uint16()
	}
	if c.bad {
		return errTruncated()
	}
	if v == V5 {
		if p.Props, err = c.readProperties(TypePublish); err != nil {
			return err
		}
	}
	p.Payload = c.rest()
	return p.check(v)
}

func (p *Publish) check(v Version) error {
	switch {
	case p.QoS > ExactlyOnce:
		return malformed("PUBLISH with QoS 3") // [MQTT-3.3.1-4]
	case p.QoS == AtMostOnce && p.Dup:
		return malformed("DUP at QoS 0") // [MQTT-3.3.1-2]
	case p.QoS > AtMostOnce && p.PacketID == 0:
		return checkPacketID(0)
	case v == V5 && p.Topic == "":
		if p.Props == nil || p.Props.TopicAlias == 0 {
			return protocolError("PUBLISH with neither topic nor topic alias")
		}
		return nil
	}
	return CheckTopic(p.Topic)
}

// Append appends a PUBLISH, as Packet describes.
func (p *Publish) Append(dst []byte, v Version) ([]byte, error) {
	if err := checkAppend(v, TypePublish, p.Props); err != nil {
		return dst, err
	}
	if err := p.check(v); err != nil {
		return dst, err
	}
	start := len(dst)
	// One growth for all: 5 bytes of header, the topic with its length, the packet identifier, the properties' length.
	dst = slices.Grow(dst, 5+2+len(p.Topic)+2+1+len(p.Payload))
	first := byte(TypePublish)<<4 | byte(p.QoS)<<1
	if p.Dup {
		first |= 8
	}
	if p.Retain {
		first |= 1
	}
	dst = appendString(append(dst, first), p.Topic)
	if p.QoS > AtMostOnce {
		dst = binary.BigEndian.AppendUint16(dst, p.PacketID)
	}
	if v == V5 {
		dst = p.Props.append(dst)
	}
	dst, err := finish(dst, start, len(p.Payload))
	if err != nil {
		return dst, err
	}
	return append(dst, p.Payload...), nil
}

// An Ack is one of the four answers in the exchange of a message: PUBACK at QoS 1; PUBREC, PUBREL and PUBCOMP, in this
// order, at QoS 2.
type Ack struct {
	Type     Type // TypePuback, TypePubrec, TypePubrel or TypePubcomp
	PacketID uint16
	Reason   ReasonCode // Success in 3.1.1, where Append refuses failures
	Props    *Properties
}

// PacketType returns a.Type.
func (a *Ack) PacketType() Type { return a.Type }

// Decode is like the function Decode for a frame that is known to be one of the four, and reuses a: all its fields are
// overwritten. It does not allocate when there are no properties.
func (a *Ack) Decode(v Version, frame []byte) error {
	h, err := openFrame(v, frame)
	if err != nil {
		return err
	}
	if h.Type < TypePuback || h.Type > TypePubcomp {
		return protocolError("packet is not an acknowledgement of a message")
	}
	c := cursor{b: frame[h.HeaderLen:]}
	if err := a.decode(v, h, &c); err != nil {
		return err
	}
	return c.end()
}

func (a *Ack) decode(v Version, h Header, c *cursor) (err error) {
	*a = Ack{Type: h.Type, PacketID: c.uint16()}
	if c.bad {
		return errTruncated()
	}
	// 5.0 lets a success end here, and any code end without properties [section 3.4.2.1 of 5.0].
	if v == V5 && len(c.b) > 0 {
		a.Reason = ReasonCode(c.byte())
		if len(c.b) > 0 {
			if a.Props, err = c.readProperties(a.Type); err != nil {
				return err
			}
		}
	}
	return a.check()
}

func (a *Ack) check() error {
	if err := checkPacketID(a.PacketID); err != nil {
		return err
	}
	return a.Reason.check(a.Type)
}

// Append appends a PUBACK, PUBREC, PUBREL or PUBCOMP, as Packet describes.
func (a *Ack) Append(dst []byte, v Version) ([]byte, error) {
	if a.Type < TypePuback || a.Type > TypePubcomp {
		return dst, protocolError("type of an Ack is none of the four")
	}
	if err := checkAppend(v, a.Type, a.Props); err != nil {
		return dst, err
	}
	if err := a.check(); err != nil {
		return dst, err
	}
	first, hi, lo := byte(a.Type)<<4|a.Type.flags(), byte(a.PacketID>>8), byte(a.PacketID)
	if v == V311 {
		if a.Reason.Failed() {
			return dst, errNoReason()
		}
		return append(dst, first, 2, hi, lo), nil
	}
	switch noProps := a.Props == nil || a.Props.present() == 0; {
	case noProps && a.Reason == Success:
		return append(dst, first, 2, hi, lo), nil
	case noProps:
		return append(dst, first, 3, hi, lo, byte(a.Reason)), nil
	}
	start := len(dst)
	dst = a.Props.append(append(dst, first, hi, lo, byte(a.Reason)))
	return finish(dst, start, 0)
}

// errNoReason is the error of a refusal that 3.1.1 can only express by closing the connection.
func errNoReason() error {
	return &Error{Reason: ImplementationSpecificError, Msg: "3.1.1 has no reason code in this packet"}
}
