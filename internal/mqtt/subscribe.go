package mqtt

import "encoding/binary"

// The bits of subscription options [section 3.8.3.1 of 5.0]. The QoS is in the lowest two.
const (
	optNoLocal          = 1 << 2
	optRetainAsPublish  = 1 << 3
	retainHandlingShift = 4
	optReserved         = 3 << 6
)

// A Subscribe asks for the messages of topics.
type Subscribe struct {
	PacketID      uint16
	Props         *Properties
	Subscriptions []Subscription // at least one
}

// A Subscription is one topic filter and what is wanted of it. In 3.1.1 there are the first two fields only.
type Subscription struct {
	Filter            string
	QoS               QoS // the greatest that is wanted
	NoLocal           bool
	RetainAsPublished bool
	RetainHandling    byte // 0 send retained messages, 1 if the subscription is new, 2 never
}

// PacketType returns TypeSubscribe.
func (*Subscribe) PacketType() Type { return TypeSubscribe }

func (p *Subscribe) decode(v Version, _ Header, c *cursor) (err error) {
	*p = Subscribe{PacketID: c.uint16()}
	if v == V5 {
		if p.Props, err = c.readProperties(TypeSubscribe); err != nil {
			return err
		}
	}
	for len(c.b) > 0 {
		filter, opts := c.string(), c.byte()
		if c.bad {
			break
		}
		if v == V311 && opts > 3 || opts&optReserved != 0 {
			return malformed("reserved subscription options are set") // [MQTT-3.8.3-5]
		}
		p.Subscriptions = append(p.Subscriptions, Subscription{
			Filter:            filter,
			QoS:               QoS(opts & 3),
			NoLocal:           opts&optNoLocal != 0,
			RetainAsPublished: opts&optRetainAsPublish != 0,
			RetainHandling:    opts >> retainHandlingShift & 3,
		})
	}
	if c.bad {
		return errTruncated()
	}
	return p.check(v)
}

func (p *Subscribe) check(v Version) error {
	if err := checkPacketID(p.PacketID); err != nil {
		return err
	}
	if len(p.Subscriptions) == 0 {
		return protocolError("SUBSCRIBE without a topic filter") // [MQTT-3.8.3-2]
	}
	for i := range p.Subscriptions {
		s := &p.Subscriptions[i]
		switch {
		case s.QoS > ExactlyOnce:
			return malformed("subscription with QoS 3")
		case s.RetainHandling > 2:
			return protocolError("retain handling is 3")
		case v == V5 && s.NoLocal && IsShared(s.Filter):
			return protocolError("no local on a shared subscription") // [MQTT-3.8.3-4]
		}
		if err := CheckFilter(v, s.Filter); err != nil {
			return err
		}
	}
	return nil
}

// Append appends a SUBSCRIBE, as Packet describes. In 3.1.1 the options that it does not have are left out.
func (p *Subscribe) Append(dst []byte, v Version) ([]byte, error) {
	if err := checkAppend(v, TypeSubscribe, p.Props); err != nil {
		return dst, err
	}
	if err := p.check(v); err != nil {
		return dst, err
	}
	start := len(dst)
	dst = appendIDAndProps(dst, v, TypeSubscribe, p.PacketID, p.Props)
	for i := range p.Subscriptions {
		s := &p.Subscriptions[i]
		opts := byte(s.QoS)
		if v == V5 {
			opts |= s.RetainHandling << retainHandlingShift
			if s.NoLocal {
				opts |= optNoLocal
			}
			if s.RetainAsPublished {
				opts |= optRetainAsPublish
			}
		}
		dst = append(appendString(dst, s.Filter), opts)
	}
	return finish(dst, start, 0)
}

// A Suback answers a SUBSCRIBE.
type Suback struct {
	PacketID uint16
	Props    *Properties
	// Reasons has one code for each subscription, in order: the QoS granted or a failure. In 3.1.1 every failure is
	// written, and read, as UnspecifiedError.
	Reasons []ReasonCode
}

// PacketType returns TypeSuback.
func (*Suback) PacketType() Type { return TypeSuback }

func (p *Suback) decode(v Version, _ Header, c *cursor) (err error) {
	*p = Suback{PacketID: c.uint16()}
	if v == V5 {
		if p.Props, err = c.readProperties(TypeSuback); err != nil {
			return err
		}
	}
	p.Reasons = c.reasons()
	if c.bad {
		return errTruncated()
	}
	for _, r := range p.Reasons {
		if v == V311 && r > GrantedQoS2 && r != UnspecifiedError {
			return malformed("SUBACK with a reserved return code") // [MQTT-3.9.3-2] of 3.1.1
		}
	}
	return p.check()
}

func (p *Suback) check() error { return checkReasons(TypeSuback, p.PacketID, p.Reasons) }

// Append appends a SUBACK, as Packet describes.
func (p *Suback) Append(dst []byte, v Version) ([]byte, error) {
	if err := checkAppend(v, TypeSuback, p.Props); err != nil {
		return dst, err
	}
	if err := p.check(); err != nil {
		return dst, err
	}
	start := len(dst)
	dst = appendIDAndProps(dst, v, TypeSuback, p.PacketID, p.Props)
	for _, r := range p.Reasons {
		if v == V311 && r.Failed() {
			r = UnspecifiedError
		}
		dst = append(dst, byte(r))
	}
	return finish(dst, start, 0)
}

// An Unsubscribe ends subscriptions.
type Unsubscribe struct {
	PacketID uint16
	Props    *Properties
	Filters  []string // at least one
}

// PacketType returns TypeUnsubscribe.
func (*Unsubscribe) PacketType() Type { return TypeUnsubscribe }

func (p *Unsubscribe) decode(v Version, _ Header, c *cursor) (err error) {
	*p = Unsubscribe{PacketID: c.uint16()}
	if v == V5 {
		if p.Props, err = c.readProperties(TypeUnsubscribe); err != nil {
			return err
		}
	}
	for len(c.b) > 0 {
		p.Filters = append(p.Filters, c.string())
	}
	if c.bad {
		return errTruncated()
	}
	return p.check(v)
}

func (p *Unsubscribe) check(v Version) error {
	if err := checkPacketID(p.PacketID); err != nil {
		return err
	}
	if len(p.Filters) == 0 {
		return protocolError("UNSUBSCRIBE without a topic filter") // [MQTT-3.10.3-2]
	}
	for _, f := range p.Filters {
		if err := CheckFilter(v, f); err != nil {
			return err
		}
	}
	return nil
}

// Append appends an UNSUBSCRIBE, as Packet describes.
func (p *Unsubscribe) Append(dst []byte, v Version) ([]byte, error) {
	if err := checkAppend(v, TypeUnsubscribe, p.Props); err != nil {
		return dst, err
	}
	if err := p.check(v); err != nil {
		return dst, err
	}
	start := len(dst)
	dst = appendIDAndProps(dst, v, TypeUnsubscribe, p.PacketID, p.Props)
	for _, f := range p.Filters {
		dst = appendString(dst, f)
	}
	return finish(dst, start, 0)
}

// An Unsuback answers an UNSUBSCRIBE.
type Unsuback struct {
	PacketID uint16
	Props    *Properties
	Reasons  []ReasonCode // one for each filter, in order; not in 3.1.1, which cannot refuse
}

// PacketType returns TypeUnsuback.
func (*Unsuback) PacketType() Type { return TypeUnsuback }

func (p *Unsuback) decode(v Version, _ Header, c *cursor) (err error) {
	*p = Unsuback{PacketID: c.uint16()}
	if v == V5 {
		if p.Props, err = c.readProperties(TypeUnsuback); err != nil {
			return err
		}
		p.Reasons = c.reasons()
	}
	if c.bad {
		return errTruncated()
	}
	return p.check(v)
}

func (p *Unsuback) check(v Version) error {
	if v == V311 {
		return checkPacketID(p.PacketID)
	}
	return checkReasons(TypeUnsuback, p.PacketID, p.Reasons)
}

// Append appends an UNSUBACK, as Packet describes.
func (p *Unsuback) Append(dst []byte, v Version) ([]byte, error) {
	if err := checkAppend(v, TypeUnsuback, p.Props); err != nil {
		return dst, err
	}
	if err := p.check(v); err != nil {
		return dst, err
	}
	start := len(dst)
	dst = appendIDAndProps(dst, v, TypeUnsuback, p.PacketID, p.Props)
	if v == V5 {
		for _, r := range p.Reasons {
			dst = append(dst, byte(r))
		}
	}
	return finish(dst, start, 0)
}

// reasons reads reason codes up to the end of the packet.
func (c *cursor) reasons() []ReasonCode {
	b := c.rest()
	if len(b) == 0 {
		return nil
	}
	codes := make([]ReasonCode, len(b))
	for i := range b {
		codes[i] = ReasonCode(b[i])
	}
	return codes
}

func checkReasons(t Type, id uint16, codes []ReasonCode) error {
	if err := checkPacketID(id); err != nil {
		return err
	}
	if len(codes) == 0 {
		return protocolError("answer without a reason code")
	}
	for _, r := range codes {
		if err := r.check(t); err != nil {
			return err
		}
	}
	return nil
}

// appendIDAndProps begins the four packets of this file: first byte, packet identifier and, in 5.0, the properties.
func appendIDAndProps(dst []byte, v Version, t Type, id uint16, props *Properties) []byte {
	dst = binary.BigEndian.AppendUint16(append(dst, byte(t)<<4|t.flags()), id)
	if v == V5 {
		dst = props.append(dst)
	}
	return dst
}
