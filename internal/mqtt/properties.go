package mqtt

import "encoding/binary"

// An Opt is a value that may be absent. The zero Opt is.
type Opt[T any] struct {
	Value T
	Set   bool
}

// Some returns an Opt that holds v.
func Some[T any](v T) Opt[T] { return Opt[T]{Value: v, Set: true} }

// Or returns the value, or absent if there is none.
func (o Opt[T]) Or(absent T) T {
	if o.Set {
		return o.Value
	}
	return absent
}

// A UserProperty is a name and value that the standard gives no meaning.
type UserProperty struct{ Name, Value string }

// Properties are the properties of a packet of MQTT 5.0 [section 2.2.2 of 5.0]. Each packet type has its own set of
// legal ones; others are refused, by Decode and by Append. A field of its zero value is absent, so a property that is
// sent with the value that its absence means is not told from an absent one. A *Properties that is nil has none, and
// Decode gives nil for a packet without any. Durations are in seconds, sizes in bytes.
type Properties struct {
	PayloadIsText        bool // payload format indicator: the payload is UTF-8
	MessageExpiry        Opt[uint32]
	ContentType          string
	ResponseTopic        string
	CorrelationData      []byte   // absent if nil
	SubscriptionIDs      []uint32 // 1 to 268,435,455 each; SUBSCRIBE has at most one
	SessionExpiry        Opt[uint32]
	AssignedClientID     string
	ServerKeepAlive      Opt[uint16]
	AuthMethod           string
	AuthData             []byte    // absent if nil
	RequestProblemInfo   Opt[bool] // absent means true
	WillDelay            uint32
	RequestResponseInfo  bool
	ResponseInfo         string
	ServerReference      string
	ReasonString         string
	ReceiveMaximum       uint16 // absent means 65,535
	TopicAliasMaximum    uint16
	TopicAlias           uint16
	MaximumQoS           Opt[QoS]  // 0 or 1; absent means 2
	RetainAvailable      Opt[bool] // absent means true
	User                 []UserProperty
	MaximumPacketSize    uint32    // absent means no limit
	WildcardSubAvailable Opt[bool] // absent means true
	SubIDAvailable       Opt[bool] // absent means true
	SharedSubAvailable   Opt[bool] // absent means true
}

// The property identifiers [table 2-4 of 5.0].
const (
	propPayloadFormat       = 1
	propMessageExpiry       = 2
	propContentType         = 3
	propResponseTopic       = 8
	propCorrelationData     = 9
	propSubscriptionID      = 11
	propSessionExpiry       = 17
	propAssignedClientID    = 18
	propServerKeepAlive     = 19
	propAuthMethod          = 21
	propAuthData            = 22
	propRequestProblemInfo  = 23
	propWillDelay           = 24
	propRequestResponseInfo = 25
	propResponseInfo        = 26
	propServerReference     = 28
	propReasonString        = 31
	propReceiveMaximum      = 33
	propTopicAliasMaximum   = 34
	propTopicAlias          = 35
	propMaximumQoS          = 36
	propRetainAvailable     = 37
	propUser                = 38
	propMaximumPacketSize   = 39
	propWildcardSub         = 40
	propSubID               = 41
	propSharedSub           = 42
)

// propLegal holds the packets in which each property may stand. An identifier that is in none does not exist.
var propLegal = [...]typeSet{
	propPayloadFormat:       setOf(TypePublish, typeWill),
	propMessageExpiry:       setOf(TypePublish, typeWill),
	propContentType:         setOf(TypePublish, typeWill),
	propResponseTopic:       setOf(TypePublish, typeWill),
	propCorrelationData:     setOf(TypePublish, typeWill),
	propSubscriptionID:      setOf(TypePublish, TypeSubscribe),
	propSessionExpiry:       setOf(TypeConnect, TypeConnack, TypeDisconnect),
	propAssignedClientID:    setOf(TypeConnack),
	propServerKeepAlive:     setOf(TypeConnack),
	propAuthMethod:          setOf(TypeConnect, TypeConnack, TypeAuth),
	propAuthData:            setOf(TypeConnect, TypeConnack, TypeAuth),
	propRequestProblemInfo:  setOf(TypeConnect),
	propWillDelay:           setOf(typeWill),
	propRequestResponseInfo: setOf(TypeConnect),
	propResponseInfo:        setOf(TypeConnack),
	propServerReference:     setOf(TypeConnack, TypeDisconnect),
	propReasonString: setOf(TypeConnack, TypePuback, TypePubrec, TypePubrel, TypePubcomp, TypeSuback, TypeUnsuback,
		TypeDisconnect, TypeAuth),
	propReceiveMaximum:    setOf(TypeConnect, TypeConnack),
	propTopicAliasMaximum: setOf(TypeConnect, TypeConnack),
	propTopicAlias:        setOf(TypePublish),
	propMaximumQoS:        setOf(TypeConnack),
	propRetainAvailable:   setOf(TypeConnack),
	propUser: setOf(typeWill, TypeConnect, TypeConnack, TypePublish, TypePuback, TypePubrec, TypePubrel, TypePubcomp,
		TypeSubscribe, TypeSuback, TypeUnsubscribe, TypeUnsuback, TypeDisconnect, TypeAuth),
	propMaximumPacketSize: setOf(TypeConnect, TypeConnack),
	propWildcardSub:       setOf(TypeConnack),
	propSubID:             setOf(TypeConnack),
	propSharedSub:         setOf(TypeConnack),
}

// A propSet is a set of properties, one bit each.
type propSet uint64

// add puts id into the set if it is present.
func (s *propSet) add(id int, present bool) {
	if present {
		*s |= 1 << id
	}
}

// present returns the properties that have a value.
func (p *Properties) present() (s propSet) {
	s.add(propPayloadFormat, p.PayloadIsText)
	s.add(propMessageExpiry, p.MessageExpiry.Set)
	s.add(propContentType, p.ContentType != "")
	s.add(propResponseTopic, p.ResponseTopic != "")
	s.add(propCorrelationData, p.CorrelationData != nil)
	s.add(propSubscriptionID, len(p.SubscriptionIDs) > 0)
	s.add(propSessionExpiry, p.SessionExpiry.Set)
	s.add(propAssignedClientID, p.AssignedClientID != "")
	s.add(propServerKeepAlive, p.ServerKeepAlive.Set)
	s.add(propAuthMethod, p.AuthMethod != "")
	s.add(propAuthData, p.AuthData != nil)
	s.add(propRequestProblemInfo, p.RequestProblemInfo.Set)
	s.add(propWillDelay, p.WillDelay != 0)
	s.add(propRequestResponseInfo, p.RequestResponseInfo)
	s.add(propResponseInfo, p.ResponseInfo != "")
	s.add(propServerReference, p.ServerReference != "")
	s.add(propReasonString, p.ReasonString != "")
	s.add(propReceiveMaximum, p.ReceiveMaximum != 0)
	s.add(propTopicAliasMaximum, p.TopicAliasMaximum != 0)
	s.add(propTopicAlias, p.TopicAlias != 0)
	s.add(propMaximumQoS, p.MaximumQoS.Set)
	s.add(propRetainAvailable, p.RetainAvailable.Set)
	s.add(propUser, len(p.User) > 0)
	s.add(propMaximumPacketSize, p.MaximumPacketSize != 0)
	s.add(propWildcardSub, p.WildcardSubAvailable.Set)
	s.add(propSubID, p.SubIDAvailable.Set)
	s.add(propSharedSub, p.SharedSubAvailable.Set)
	return s
}

// check refuses properties that a packet of type where, or the will, may not have, and values that cannot be.
func (p *Properties) check(where Type) error {
	if p == nil {
		return nil
	}
	present := p.present()
	for id, legal := range propLegal {
		if present>>id&1 == 1 && !legal.has(where) {
			return errIllegalProperty()
		}
	}
	for _, s := range [...]string{
		p.ContentType, p.ResponseTopic, p.AssignedClientID, p.AuthMethod, p.ResponseInfo, p.ServerReference, p.ReasonString,
	} {
		if err := checkString(s); err != nil {
			return err
		}
	}
	for _, u := range p.User {
		if err := checkString(u.Name); err != nil {
			return err
		}
		if err := checkString(u.Value); err != nil {
			return err
		}
	}
	if len(p.CorrelationData) > maxString || len(p.AuthData) > maxString {
		return malformed("binary property is longer than 65535 bytes")
	}
	for _, id := range p.SubscriptionIDs {
		if id == 0 || id > maxRemaining {
			return protocolError("subscription identifier is out of range")
		}
	}
	switch {
	case where == TypeSubscribe && len(p.SubscriptionIDs) > 1:
		return protocolError("more than one subscription identifier")
	case p.ResponseTopic != "" && CheckTopic(p.ResponseTopic) != nil:
		return protocolError("response topic contains a wildcard") // [MQTT-3.3.2-14]
	case p.MaximumQoS.Set && p.MaximumQoS.Value > AtLeastOnce:
		return protocolError("maximum QoS is neither 0 nor 1")
	case p.AuthData != nil && p.AuthMethod == "":
		return protocolError("authentication data without a method")
	}
	return nil
}

// An illegal property and an unknown one are the same fault: the identifier is not valid for the packet [section 2.2.2.2
// of 5.0].
func errIllegalProperty() error { return malformed("property is not one of this packet type") }

// readProperties reads the length and properties of a packet of type where.
func (c *cursor) readProperties(where Type) (*Properties, error) {
	body := cursor{b: c.take(c.varint())}
	if c.bad {
		return nil, errTruncated()
	}
	if len(body.b) == 0 {
		return nil, nil
	}
	p := new(Properties)
	var seen propSet
	for len(body.b) > 0 {
		id := body.varint()
		if id >= len(propLegal) || !propLegal[id].has(where) {
			return nil, errIllegalProperty()
		}
		repeats := id == propUser || id == propSubscriptionID && where == TypePublish
		if seen>>id&1 == 1 && !repeats {
			return nil, protocolError("property is given twice")
		}
		seen.add(id, true)
		if err := p.read(id, &body); err != nil {
			return nil, err
		}
	}
	if body.bad {
		return nil, errTruncated()
	}
	if p.present() == 0 {
		return nil, nil // all had the value that absence means
	}
	return p, p.check(where)
}

// read reads the value of one property. A value that is too short is left to the cursor.
func (p *Properties) read(id int, c *cursor) (err error) {
	switch id {
	case propPayloadFormat:
		p.PayloadIsText, err = c.bool()
	case propMessageExpiry:
		p.MessageExpiry = Some(c.uint32())
	case propContentType:
		p.ContentType = c.string()
	case propResponseTopic:
		if p.ResponseTopic = c.string(); p.ResponseTopic == "" && !c.bad {
			err = malformed("response topic is empty")
		}
	case propCorrelationData:
		p.CorrelationData = c.binary()
	case propSubscriptionID:
		p.SubscriptionIDs = append(p.SubscriptionIDs, uint32(c.varint())) // 0 is refused by check
	case propSessionExpiry:
		p.SessionExpiry = Some(c.uint32())
	case propAssignedClientID:
		p.AssignedClientID = c.string()
	case propServerKeepAlive:
		p.ServerKeepAlive = Some(c.uint16())
	case propAuthMethod:
		p.AuthMethod = c.string()
	case propAuthData:
		p.AuthData = c.binary()
	case propRequestProblemInfo:
		p.RequestProblemInfo, err = c.optBool()
	case propWillDelay:
		p.WillDelay = c.uint32()
	case propRequestResponseInfo:
		p.RequestResponseInfo, err = c.bool()
	case propResponseInfo:
		p.ResponseInfo = c.string()
	case propServerReference:
		p.ServerReference = c.string()
	case propReasonString:
		p.ReasonString = c.string()
	case propReceiveMaximum:
		if p.ReceiveMaximum = c.uint16(); p.ReceiveMaximum == 0 && !c.bad {
			err = protocolError("receive maximum is 0")
		}
	case propTopicAliasMaximum:
		p.TopicAliasMaximum = c.uint16()
	case propTopicAlias:
		if p.TopicAlias = c.uint16(); p.TopicAlias == 0 && !c.bad {
			err = &Error{Reason: TopicAliasInvalid, Msg: "topic alias is 0"} // [MQTT-3.3.2-8]
		}
	case propMaximumQoS:
		p.MaximumQoS = Some(QoS(c.byte()))
	case propRetainAvailable:
		p.RetainAvailable, err = c.optBool()
	case propUser:
		p.User = append(p.User, UserProperty{c.string(), c.string()})
	case propMaximumPacketSize:
		if p.MaximumPacketSize = c.uint32(); p.MaximumPacketSize == 0 && !c.bad {
			err = protocolError("maximum packet size is 0")
		}
	case propWildcardSub:
		p.WildcardSubAvailable, err = c.optBool()
	case propSubID:
		p.SubIDAvailable, err = c.optBool()
	case propSharedSub:
		p.SharedSubAvailable, err = c.optBool()
	}
	return err
}

// bool reads a byte that must be 0 or 1.
func (c *cursor) bool() (bool, error) {
	b := c.byte()
	if b > 1 {
		return false, protocolError("property is neither 0 nor 1")
	}
	return b == 1, nil
}

func (c *cursor) optBool() (Opt[bool], error) {
	b, err := c.bool()
	return Some(b), err
}

// append appends the length and the properties, in the order of their identifiers. They have been checked.
func (p *Properties) append(dst []byte) []byte {
	if p == nil {
		return append(dst, 0)
	}
	at := len(dst)
	dst = p.appendMessage(dst)
	dst = p.appendSession(dst)
	dst = p.appendLimits(dst)
	return insertVarint(dst, at, len(dst)-at)
}

// appendMessage appends the properties of messages and subscriptions, 1 to 11.
func (p *Properties) appendMessage(dst []byte) []byte {
	if p.PayloadIsText {
		dst = append(dst, propPayloadFormat, 1)
	}
	dst = appendUint32Prop(dst, propMessageExpiry, p.MessageExpiry.Value, p.MessageExpiry.Set)
	dst = appendStringProp(dst, propContentType, p.ContentType)
	dst = appendStringProp(dst, propResponseTopic, p.ResponseTopic)
	if p.CorrelationData != nil {
		dst = appendBinary(append(dst, propCorrelationData), p.CorrelationData)
	}
	for _, id := range p.SubscriptionIDs {
		dst = appendVarint(append(dst, propSubscriptionID), int(id))
	}
	return dst
}

// appendSession appends the properties of sessions and answers, 17 to 31.
func (p *Properties) appendSession(dst []byte) []byte {
	dst = appendUint32Prop(dst, propSessionExpiry, p.SessionExpiry.Value, p.SessionExpiry.Set)
	dst = appendStringProp(dst, propAssignedClientID, p.AssignedClientID)
	dst = appendUint16Prop(dst, propServerKeepAlive, p.ServerKeepAlive.Value, p.ServerKeepAlive.Set)
	dst = appendStringProp(dst, propAuthMethod, p.AuthMethod)
	if p.AuthData != nil {
		dst = appendBinary(append(dst, propAuthData), p.AuthData)
	}
	dst = appendBoolProp(dst, propRequestProblemInfo, p.RequestProblemInfo)
	dst = appendUint32Prop(dst, propWillDelay, p.WillDelay, p.WillDelay != 0)
	if p.RequestResponseInfo {
		dst = append(dst, propRequestResponseInfo, 1)
	}
	dst = appendStringProp(dst, propResponseInfo, p.ResponseInfo)
	dst = appendStringProp(dst, propServerReference, p.ServerReference)
	return appendStringProp(dst, propReasonString, p.ReasonString)
}

// appendLimits appends what the two sides allow each other, 33 to 42.
func (p *Properties) appendLimits(dst []byte) []byte {
	dst = appendUint16Prop(dst, propReceiveMaximum, p.ReceiveMaximum, p.ReceiveMaximum != 0)
	dst = appendUint16Prop(dst, propTopicAliasMaximum, p.TopicAliasMaximum, p.TopicAliasMaximum != 0)
	dst = appendUint16Prop(dst, propTopicAlias, p.TopicAlias, p.TopicAlias != 0)
	if p.MaximumQoS.Set {
		dst = append(dst, propMaximumQoS, byte(p.MaximumQoS.Value))
	}
	dst = appendBoolProp(dst, propRetainAvailable, p.RetainAvailable)
	for _, u := range p.User {
		dst = appendString(appendString(append(dst, propUser), u.Name), u.Value)
	}
	dst = appendUint32Prop(dst, propMaximumPacketSize, p.MaximumPacketSize, p.MaximumPacketSize != 0)
	dst = appendBoolProp(dst, propWildcardSub, p.WildcardSubAvailable)
	dst = appendBoolProp(dst, propSubID, p.SubIDAvailable)
	return appendBoolProp(dst, propSharedSub, p.SharedSubAvailable)
}

func appendUint32Prop(dst []byte, id byte, v uint32, present bool) []byte {
	if !present {
		return dst
	}
	return binary.BigEndian.AppendUint32(append(dst, id), v)
}

func appendUint16Prop(dst []byte, id byte, v uint16, present bool) []byte {
	if !present {
		return dst
	}
	return binary.BigEndian.AppendUint16(append(dst, id), v)
}

func appendBoolProp(dst []byte, id byte, v Opt[bool]) []byte {
	switch {
	case !v.Set:
		return dst
	case v.Value:
		return append(dst, id, 1)
	}
	return append(dst, id, 0)
}

func appendStringProp(dst []byte, id byte, s string) []byte {
	if s == "" {
		return dst
	}
	return appendString(append(dst, id), s)
}
