package mqtt

import "encoding/binary"

// protocolName is the name that both versions send; level 3 called itself MQIsdp.
const protocolName = "MQTT"

// The bits of the connect flags [section 3.1.2.3 of 5.0]. The QoS of the will takes the two bits at willQoSShift.
const (
	flagCleanStart   = 1 << 1
	flagWill         = 1 << 2
	willQoSShift     = 3
	flagWillRetain   = 1 << 5
	flagPassword     = 1 << 6
	flagUsername     = 1 << 7
	flagsWillDetails = 3<<willQoSShift | flagWillRetain
)

// A Connect opens a session; the client sends it first and once.
type Connect struct {
	// Version is what the client speaks. Decode sets it to V311 or V5 and refuses others with UnsupportedProtocolVersion;
	// Append writes its own argument instead.
	Version    Version
	CleanStart bool   // clean session in 3.1.1
	KeepAlive  uint16 // seconds; 0 turns it off
	Props      *Properties
	ClientID   string // may be empty; in 3.1.1 only together with CleanStart
	Will       *Will  // nil for none
	// Username and Password are absent unless their Has is set. In 3.1.1 there is no password without a user name.
	HasUsername bool
	Username    string
	HasPassword bool
	Password    []byte // aliases the frame
}

// A Will is the message that the server publishes when the connection is lost.
type Will struct {
	QoS     QoS
	Retain  bool
	Props   *Properties
	Topic   string
	Payload []byte // at most 65,535 bytes; aliases the frame
}

// PacketType returns TypeConnect.
func (*Connect) PacketType() Type { return TypeConnect }

// ConnectVersion returns the version in which a server answers a CONNECT that Decode has refused: V5 if its protocol level
// can be read and is 5 or more, and V311 otherwise.
func ConnectVersion(frame []byte) Version {
	h, err := Frame(frame, 0)
	if err != nil || h.Type != TypeConnect {
		return V311
	}
	c := cursor{b: frame[h.HeaderLen:h.Size()]}
	if string(c.binary()) == protocolName && c.byte() >= byte(V5) {
		return V5
	}
	return V311
}

func (p *Connect) decode(_ Version, h Header, c *cursor) error {
	name, level := c.binary(), Version(c.byte())
	if c.bad {
		return errTruncated()
	}
	// A wrong name gets the same answer as a wrong level [MQTT-3.1.2-1, MQTT-3.1.2-2]. It is told from the level first,
	// because the rest of the packet can be read in a known version only.
	if string(name) != protocolName || level != V311 && level != V5 {
		return &Error{Reason: UnsupportedProtocolVersion, Msg: "CONNECT is neither of MQTT 3.1.1 nor of 5.0"}
	}
	if level == V5 {
		if err := h.checkMinimal(); err != nil {
			return err
		}
	}
	flags := c.byte()
	switch {
	case flags&1 != 0:
		return malformed("reserved connect flag is set") // [MQTT-3.1.2-3]
	case flags&flagWill == 0 && flags&flagsWillDetails != 0:
		return malformed("QoS or retain of a will that there is not") // [MQTT-3.1.2-11, MQTT-3.1.2-13]
	}
	*p = Connect{Version: level, CleanStart: flags&flagCleanStart != 0, KeepAlive: c.uint16()}
	if err := p.decodePayload(flags, c); err != nil {
		return err
	}
	if c.bad {
		return errTruncated()
	}
	return p.check(level)
}

// decodePayload reads the properties and what follows them.
func (p *Connect) decodePayload(flags byte, c *cursor) (err error) {
	if p.Version == V5 {
		if p.Props, err = c.readProperties(TypeConnect); err != nil {
			return err
		}
	}
	p.ClientID = c.string()
	if flags&flagWill != 0 {
		p.Will = &Will{QoS: QoS(flags >> willQoSShift & 3), Retain: flags&flagWillRetain != 0}
		if p.Version == V5 {
			if p.Will.Props, err = c.readProperties(typeWill); err != nil {
				return err
			}
		}
		p.Will.Topic, p.Will.Payload = c.string(), c.binary()
	}
	if p.HasUsername = flags&flagUsername != 0; p.HasUsername {
		p.Username = c.string()
	}
	if p.HasPassword = flags&flagPassword != 0; p.HasPassword {
		p.Password = c.binary()
	}
	return nil
}

// check refuses what a CONNECT of v may not be. Decode has checked the properties already, like those of all packets.
func (p *Connect) check(v Version) error {
	if err := checkString(p.ClientID); err != nil {
		return err
	}
	if err := checkString(p.Username); err != nil {
		return err
	}
	if err := checkBinary(p.Password); err != nil {
		return err
	}
	if v == V311 && p.ClientID == "" && !p.CleanStart {
		return &Error{Reason: ClientIdentifierNotValid, Msg: "no client identifier for a session to keep"} // [MQTT-3.1.3-8] of 3.1.1
	}
	if v == V311 && p.HasPassword && !p.HasUsername {
		return malformed("password without a user name") // [MQTT-3.1.2-22] of 3.1.1
	}
	if p.Will == nil {
		return nil
	}
	if p.Will.QoS > ExactlyOnce {
		return malformed("will with QoS 3") // [MQTT-3.1.2-12]
	}
	if err := CheckTopic(p.Will.Topic); err != nil {
		return err
	}
	return checkBinary(p.Will.Payload)
}

// Append appends a CONNECT, as Packet describes.
func (p *Connect) Append(dst []byte, v Version) ([]byte, error) {
	if err := p.checkAppend(v); err != nil {
		return dst, err
	}
	start := len(dst)
	dst = append(dst, byte(TypeConnect)<<4)
	dst = appendString(dst, protocolName)
	dst = append(dst, byte(v), p.flags())
	dst = binary.BigEndian.AppendUint16(dst, p.KeepAlive)
	if v == V5 {
		dst = p.Props.append(dst)
	}
	dst = appendString(dst, p.ClientID)
	if p.Will != nil {
		if v == V5 {
			dst = p.Will.Props.append(dst)
		}
		dst = appendString(dst, p.Will.Topic)
		dst = appendBinary(dst, p.Will.Payload)
	}
	if p.HasUsername {
		dst = appendString(dst, p.Username)
	}
	if p.HasPassword {
		dst = appendBinary(dst, p.Password)
	}
	return finish(dst, start, 0)
}

func (p *Connect) checkAppend(v Version) error {
	if err := v.check(); err != nil {
		return err
	}
	if v == V5 {
		if err := p.Props.check(TypeConnect); err != nil {
			return err
		}
		if p.Will != nil {
			if err := p.Will.Props.check(typeWill); err != nil {
				return err
			}
		}
	}
	return p.check(v)
}

func (p *Connect) flags() (f byte) {
	if p.CleanStart {
		f |= flagCleanStart
	}
	if p.Will != nil {
		f |= flagWill | byte(p.Will.QoS)<<willQoSShift
		if p.Will.Retain {
			f |= flagWillRetain
		}
	}
	if p.HasUsername {
		f |= flagUsername
	}
	if p.HasPassword {
		f |= flagPassword
	}
	return f
}

// A Connack answers a CONNECT.
type Connack struct {
	SessionPresent bool // false unless Reason is Success
	// Reason is a reason code in both versions; in 3.1.1 it is written as its ReasonCode.ReturnCode, and Append gives an
	// error if there is none.
	Reason ReasonCode
	Props  *Properties
}

// PacketType returns TypeConnack.
func (*Connack) PacketType() Type { return TypeConnack }

func (p *Connack) decode(v Version, _ Header, c *cursor) (err error) {
	flags, code := c.byte(), c.byte()
	if flags > 1 {
		return malformed("reserved flags of CONNACK are set") // [MQTT-3.2.2-1]
	}
	*p = Connack{SessionPresent: flags == 1, Reason: ReasonCode(code)}
	if v == V5 {
		if p.Props, err = c.readProperties(TypeConnack); err != nil {
			return err
		}
	} else {
		reason, ok := ReturnCode(code).Reason()
		if !ok {
			return malformed("CONNACK with a reserved return code")
		}
		p.Reason = reason
	}
	return p.check()
}

func (p *Connack) check() error {
	if p.SessionPresent && p.Reason != Success {
		return protocolError("session present in a refusal") // [MQTT-3.2.2-6]
	}
	return p.Reason.check(TypeConnack)
}

// Append appends a CONNACK, as Packet describes.
func (p *Connack) Append(dst []byte, v Version) ([]byte, error) {
	if err := checkAppend(v, TypeConnack, p.Props); err != nil {
		return dst, err
	}
	if err := p.check(); err != nil {
		return dst, err
	}
	var flags byte
	if p.SessionPresent {
		flags = 1
	}
	if v == V311 {
		code, ok := p.Reason.ReturnCode()
		if !ok {
			return dst, &Error{Reason: ImplementationSpecificError, Msg: "3.1.1 has no return code for the reason"}
		}
		return append(dst, byte(TypeConnack)<<4, 2, flags, byte(code)), nil
	}
	start := len(dst)
	dst = append(dst, byte(TypeConnack)<<4, flags, byte(p.Reason))
	return finish(p.Props.append(dst), start, 0)
}

// checkAppend checks what is common to the writing of all packets: the version, and the properties if it has them.
func checkAppend(v Version, t Type, props *Properties) error {
	if err := v.check(); err != nil {
		return err
	}
	if v == V5 {
		return props.check(t)
	}
	return nil
}
