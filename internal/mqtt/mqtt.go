// Package mqtt is the codec of MQTT 3.1.1 and 5.0: bytes to packets and back. It opens no socket, starts no goroutine and
// keeps no state between calls, except for Reader, which buffers a stream.
//
// # Reading
//
// Frame finds the first packet in a buffer of any origin without consuming it; Decode turns the bytes of one packet into
// a struct; Reader does both for an io.Reader. Publish and Ack, which are nearly all of the traffic, can also be decoded
// into a struct that the caller uses again.
//
// What Decode accepts, Append writes and Decode reads back equal: both run the same checks. Every violation is an *Error
// that carries the reason code with which the standard wants it answered.
//
// # Ownership
//
// Strings of a decoded packet are its own. Byte slices (Publish.Payload, Connect.Password, Will.Payload,
// Properties.CorrelationData, Properties.AuthData) alias the frame that was decoded, so they are good for as long as it is.
//
// # One model for both versions
//
// The structs are those of MQTT 5.0. In 3.1.1 Properties are neither written nor read, and a reason code is written as
// what 3.1.1 has for it: the return code of CONNACK, the failure byte of SUBACK. Where 3.1.1 has no way to say a refusal
// (PUBACK, DISCONNECT) Append gives an error, because the packet without its reason would say that all is well.
//
// Sources: OASIS MQTT Version 3.1.1 (29 October 2014) and MQTT Version 5.0 (7 March 2019); comments cite their
// normative statements, such as [MQTT-3.3.1-2], by the numbers of 5.0.
package mqtt

import "strconv"

// A Version is the protocol level of a CONNECT. The zero Version stands for a connection that has not sent one yet.
type Version byte

// The protocol levels that this package speaks.
const (
	V311 Version = 4 // MQTT 3.1.1
	V5   Version = 5 // MQTT 5.0
)

// String returns "3.1.1", "5.0" or the level as a number.
func (v Version) String() string {
	switch v {
	case V311:
		return "3.1.1"
	case V5:
		return "5.0"
	}
	return strconv.Itoa(int(v))
}

// A QoS is a level of delivery: at most once, at least once, exactly once.
type QoS byte

// The three levels. Three is a malformed packet [MQTT-3.3.1-4].
const (
	AtMostOnce  QoS = 0
	AtLeastOnce QoS = 1
	ExactlyOnce QoS = 2
)

// A Type is the kind of a packet: the upper four bits of its first byte.
type Type byte

// The packet types. AUTH exists in 5.0 only.
const (
	TypeConnect Type = iota + 1
	TypeConnack
	TypePublish
	TypePuback
	TypePubrec
	TypePubrel
	TypePubcomp
	TypeSubscribe
	TypeSuback
	TypeUnsubscribe
	TypeUnsuback
	TypePingreq
	TypePingresp
	TypeDisconnect
	TypeAuth
)

// typeWill is the place of a will's properties in the tables of what is legal where; no packet has this type.
const typeWill Type = 0

var typeNames = [...]string{
	"reserved", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE", "SUBACK",
	"UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH",
}

// String returns the standard's name, such as "PUBACK".
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return strconv.Itoa(int(t))
}

// flags returns the lower four bits that the first byte of a packet of type t must have. PUBLISH is not among them: there
// the bits mean something.
func (t Type) flags() byte {
	switch t {
	case TypePubrel, TypeSubscribe, TypeUnsubscribe:
		return 0b0010
	}
	return 0
}

// A Packet is one of *Connect, *Connack, *Publish, *Ack, *Subscribe, *Suback, *Unsubscribe, *Unsuback, *Pingreq,
// *Pingresp, *Disconnect and *Auth.
type Packet interface {
	// PacketType returns the type that the packet is written with.
	PacketType() Type
	// Append appends the packet to dst in the form of v, which is V311 or V5, and returns the extended slice. It is a
	// pure function of the packet and v, so the bytes may be shared between all connections of one version; it keeps
	// nothing of dst and allocates only when dst has no room. A packet that Decode would refuse is an *Error, and dst is
	// returned as it was.
	Append(dst []byte, v Version) ([]byte, error)
}

// decoder is an infrequent packet, which reads its own body.
type decoder interface {
	Packet
	decode(v Version, h Header, c *cursor) error
}

// Decode returns the packet of which frame is the whole, fixed header included. v is the version that the connection's
// CONNECT has agreed on, and zero before it, when a CONNECT is all that is accepted; a CONNECT names its own version and v
// does not matter to it. Which side may send which packet, and in what order, is the caller's to check.
//
// All errors are of type *Error. The packet aliases frame as the package comment says.
func Decode(v Version, frame []byte) (Packet, error) {
	if len(frame) == 0 {
		return nil, malformed("empty frame")
	}
	// What is frequent is decoded without the interface, through which a cursor would escape to the heap.
	switch t := Type(frame[0] >> 4); t {
	case TypePublish:
		p := new(Publish)
		if err := p.Decode(v, frame); err != nil {
			return nil, err
		}
		return p, nil
	case TypePuback, TypePubrec, TypePubrel, TypePubcomp:
		p := new(Ack)
		if err := p.Decode(v, frame); err != nil {
			return nil, err
		}
		return p, nil
	case TypePingreq, TypePingresp:
		return decodePing(v, frame)
	default:
		p := newPacket(t)
		if p == nil {
			return nil, malformed("packet type 0 is reserved")
		}
		if err := decodeFrame(v, frame, p); err != nil {
			return nil, err
		}
		return p, nil
	}
}

// newPacket returns an empty packet of type t, one of the infrequent ones, or nil for the reserved type.
func newPacket(t Type) decoder {
	switch t {
	case TypeConnect:
		return new(Connect)
	case TypeConnack:
		return new(Connack)
	case TypeSubscribe:
		return new(Subscribe)
	case TypeSuback:
		return new(Suback)
	case TypeUnsubscribe:
		return new(Unsubscribe)
	case TypeUnsuback:
		return new(Unsuback)
	case TypeDisconnect:
		return new(Disconnect)
	case TypeAuth:
		return new(Auth)
	}
	return nil
}

// decodeFrame checks what is common to all packets and lets p read its body.
func decodeFrame(v Version, frame []byte, p decoder) error {
	h, err := openFrame(v, frame)
	if err != nil {
		return err
	}
	c := cursor{b: frame[h.HeaderLen:]}
	if err := p.decode(v, h, &c); err != nil {
		return err
	}
	return c.end()
}

// openFrame reads the fixed header of a frame that must be exactly one packet which v allows.
func openFrame(v Version, frame []byte) (Header, error) {
	h, err := Frame(frame, 0)
	switch {
	case err == ErrShort:
		return h, malformed("frame is shorter than its packet")
	case err != nil:
		return h, err
	case h.Size() != len(frame):
		return h, malformed("frame is longer than its packet")
	case h.Type == TypeConnect:
		return h, nil
	case v == 0:
		return h, protocolError("first packet is not CONNECT")
	}
	if err := v.check(); err != nil {
		return h, err
	}
	if v == V5 {
		return h, h.checkMinimal()
	}
	if h.Type == TypeAuth {
		return h, malformed("packet type 15 is reserved in 3.1.1")
	}
	return h, nil
}

// check refuses versions that this package does not write.
func (v Version) check() error {
	if v != V311 && v != V5 {
		return &Error{Reason: UnsupportedProtocolVersion, Msg: "unsupported protocol version"}
	}
	return nil
}
