package mqtt

// A Pingreq asks for a sign of life.
type Pingreq struct{}

// PacketType returns TypePingreq.
func (*Pingreq) PacketType() Type { return TypePingreq }

// Append appends a PINGREQ, as Packet describes.
func (*Pingreq) Append(dst []byte, v Version) ([]byte, error) {
	return appendEmpty(dst, v, TypePingreq)
}

// A Pingresp answers a PINGREQ.
type Pingresp struct{}

// PacketType returns TypePingresp.
func (*Pingresp) PacketType() Type { return TypePingresp }

// Append appends a PINGRESP, as Packet describes.
func (*Pingresp) Append(dst []byte, v Version) ([]byte, error) {
	return appendEmpty(dst, v, TypePingresp)
}

func decodePing(v Version, frame []byte) (Packet, error) {
	h, err := openFrame(v, frame)
	switch {
	case err != nil:
		return nil, err
	case h.BodyLen > 0:
		return nil, malformed(h.Type.String() + " with a body")
	case h.Type == TypePingreq:
		return new(Pingreq), nil
	}
	return new(Pingresp), nil
}

func appendEmpty(dst []byte, v Version, t Type) ([]byte, error) {
	if err := v.check(); err != nil {
		return dst, err
	}
	return append(dst, byte(t)<<4, 0), nil
}

// A Disconnect ends the connection. In 3.1.1 only the client sends it, and it can only say NormalDisconnection.
type Disconnect struct {
	Reason ReasonCode
	Props  *Properties
}

// PacketType returns TypeDisconnect.
func (*Disconnect) PacketType() Type { return TypeDisconnect }

func (p *Disconnect) decode(v Version, _ Header, c *cursor) (err error) {
	*p = Disconnect{}
	// 5.0 lets a normal disconnection be empty, and any end without properties [section 3.14.2.1 of 5.0].
	if v == V5 && len(c.b) > 0 {
		p.Reason = ReasonCode(c.byte())
		if len(c.b) > 0 {
			if p.Props, err = c.readProperties(TypeDisconnect); err != nil {
				return err
			}
		}
	}
	return p.Reason.check(TypeDisconnect)
}

// Append appends a DISCONNECT, as Packet describes.
func (p *Disconnect) Append(dst []byte, v Version) ([]byte, error) {
	if err := checkAppend(v, TypeDisconnect, p.Props); err != nil {
		return dst, err
	}
	if err := p.Reason.check(TypeDisconnect); err != nil {
		return dst, err
	}
	const first = byte(TypeDisconnect) << 4
	if v == V311 {
		if p.Reason != NormalDisconnection {
			return dst, errNoReason()
		}
		return append(dst, first, 0), nil
	}
	switch noProps := p.Props == nil || p.Props.present() == 0; {
	case noProps && p.Reason == NormalDisconnection:
		return append(dst, first, 0), nil
	case noProps:
		return append(dst, first, 1, byte(p.Reason)), nil
	}
	start := len(dst)
	dst = p.Props.append(append(dst, first, byte(p.Reason)))
	return finish(dst, start, 0)
}

// An Auth is a step of an extended authentication. It exists in 5.0 only.
type Auth struct {
	Reason ReasonCode  // Success, ContinueAuthentication or ReAuthenticate
	Props  *Properties // with an authentication method, except for a bare Success
}

// PacketType returns TypeAuth.
func (*Auth) PacketType() Type { return TypeAuth }

func (p *Auth) decode(_ Version, _ Header, c *cursor) (err error) {
	*p = Auth{}
	// Unlike in the acknowledgements, reason and properties are left out together or not at all [section 3.15.2.1 of 5.0].
	if len(c.b) > 0 {
		p.Reason = ReasonCode(c.byte())
		if p.Props, err = c.readProperties(TypeAuth); err != nil {
			return err
		}
	}
	return p.check()
}

func (p *Auth) check() error {
	bare := p.Props == nil || p.Props.present() == 0
	if (!bare || p.Reason != Success) && (p.Props == nil || p.Props.AuthMethod == "") {
		return protocolError("AUTH without an authentication method")
	}
	return p.Reason.check(TypeAuth)
}

// Append appends an AUTH, as Packet describes. In 3.1.1 it is an error.
func (p *Auth) Append(dst []byte, v Version) ([]byte, error) {
	if v == V311 {
		return dst, &Error{Reason: ImplementationSpecificError, Msg: "3.1.1 has no AUTH"}
	}
	if err := checkAppend(v, TypeAuth, p.Props); err != nil {
		return dst, err
	}
	if err := p.check(); err != nil {
		return dst, err
	}
	const first = byte(TypeAuth) << 4
	if p.Props == nil || p.Props.present() == 0 {
		return append(dst, first, 0), nil
	}
	start := len(dst)
	dst = p.Props.append(append(dst, first, byte(p.Reason)))
	return finish(dst, start, 0)
}
