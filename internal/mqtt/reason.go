package mqtt

import (
	"errors"
	"fmt"
)

// A ReasonCode is the one-byte result of an operation. Codes below 0x80 are successes. The names are the standard's
// [section 2.4 of 5.0].
type ReasonCode byte

// The reason codes. Some share a number and differ by packet: 0x00 is also the normal disconnection and the grant of QoS 0.
const (
	Success                           ReasonCode = 0x00
	NormalDisconnection               ReasonCode = 0x00
	GrantedQoS0                       ReasonCode = 0x00
	GrantedQoS1                       ReasonCode = 0x01
	GrantedQoS2                       ReasonCode = 0x02
	DisconnectWithWillMessage         ReasonCode = 0x04
	NoMatchingSubscribers             ReasonCode = 0x10
	NoSubscriptionExisted             ReasonCode = 0x11
	ContinueAuthentication            ReasonCode = 0x18
	ReAuthenticate                    ReasonCode = 0x19
	UnspecifiedError                  ReasonCode = 0x80
	MalformedPacket                   ReasonCode = 0x81
	ProtocolError                     ReasonCode = 0x82
	ImplementationSpecificError       ReasonCode = 0x83
	UnsupportedProtocolVersion        ReasonCode = 0x84
	ClientIdentifierNotValid          ReasonCode = 0x85
	BadUserNameOrPassword             ReasonCode = 0x86
	NotAuthorized                     ReasonCode = 0x87
	ServerUnavailable                 ReasonCode = 0x88
	ServerBusy                        ReasonCode = 0x89
	Banned                            ReasonCode = 0x8A
	ServerShuttingDown                ReasonCode = 0x8B
	BadAuthenticationMethod           ReasonCode = 0x8C
	KeepAliveTimeout                  ReasonCode = 0x8D
	SessionTakenOver                  ReasonCode = 0x8E
	TopicFilterInvalid                ReasonCode = 0x8F
	TopicNameInvalid                  ReasonCode = 0x90
	PacketIdentifierInUse             ReasonCode = 0x91
	PacketIdentifierNotFound          ReasonCode = 0x92
	ReceiveMaximumExceeded            ReasonCode = 0x93
	TopicAliasInvalid                 ReasonCode = 0x94
	PacketTooLarge                    ReasonCode = 0x95
	MessageRateTooHigh                ReasonCode = 0x96
	QuotaExceeded                     ReasonCode = 0x97
	AdministrativeAction              ReasonCode = 0x98
	PayloadFormatInvalid              ReasonCode = 0x99
	RetainNotSupported                ReasonCode = 0x9A
	QoSNotSupported                   ReasonCode = 0x9B
	UseAnotherServer                  ReasonCode = 0x9C
	ServerMoved                       ReasonCode = 0x9D
	SharedSubscriptionsNotSupported   ReasonCode = 0x9E
	ConnectionRateExceeded            ReasonCode = 0x9F
	MaximumConnectTime                ReasonCode = 0xA0
	SubscriptionIDsNotSupported       ReasonCode = 0xA1
	WildcardSubscriptionsNotSupported ReasonCode = 0xA2
)

// reasons holds the name of each code and the packets that may carry it [table 2-6 of 5.0].
var reasons = [256]struct {
	name string
	in   typeSet
}{
	Success: {"success", setOf(TypeConnack, TypePuback, TypePubrec, TypePubrel, TypePubcomp, TypeSuback,
		TypeUnsuback, TypeDisconnect, TypeAuth)},
	GrantedQoS1:               {"granted QoS 1", setOf(TypeSuback)},
	GrantedQoS2:               {"granted QoS 2", setOf(TypeSuback)},
	DisconnectWithWillMessage: {"disconnect with will message", setOf(TypeDisconnect)},
	NoMatchingSubscribers:     {"no matching subscribers", setOf(TypePuback, TypePubrec)},
	NoSubscriptionExisted:     {"no subscription existed", setOf(TypeUnsuback)},
	ContinueAuthentication:    {"continue authentication", setOf(TypeAuth)},
	ReAuthenticate:            {"re-authenticate", setOf(TypeAuth)},
	UnspecifiedError: {"unspecified error", setOf(TypeConnack, TypePuback, TypePubrec, TypeSuback, TypeUnsuback,
		TypeDisconnect)},
	MalformedPacket: {"malformed packet", setOf(TypeConnack, TypeDisconnect)},
	ProtocolError:   {"protocol error", setOf(TypeConnack, TypeDisconnect)},
	ImplementationSpecificError: {"implementation specific error", setOf(TypeConnack, TypePuback, TypePubrec,
		TypeSuback, TypeUnsuback, TypeDisconnect)},
	UnsupportedProtocolVersion: {"unsupported protocol version", setOf(TypeConnack)},
	ClientIdentifierNotValid:   {"client identifier not valid", setOf(TypeConnack)},
	BadUserNameOrPassword:      {"bad user name or password", setOf(TypeConnack)},
	NotAuthorized: {"not authorized", setOf(TypeConnack, TypePuback, TypePubrec, TypeSuback, TypeUnsuback,
		TypeDisconnect)},
	ServerUnavailable:       {"server unavailable", setOf(TypeConnack)},
	ServerBusy:              {"server busy", setOf(TypeConnack, TypeDisconnect)},
	Banned:                  {"banned", setOf(TypeConnack)},
	ServerShuttingDown:      {"server shutting down", setOf(TypeDisconnect)},
	BadAuthenticationMethod: {"bad authentication method", setOf(TypeConnack, TypeDisconnect)},
	KeepAliveTimeout:        {"keep alive timeout", setOf(TypeDisconnect)},
	SessionTakenOver:        {"session taken over", setOf(TypeDisconnect)},
	TopicFilterInvalid:      {"topic filter invalid", setOf(TypeSuback, TypeUnsuback, TypeDisconnect)},
	TopicNameInvalid:        {"topic name invalid", setOf(TypeConnack, TypePuback, TypePubrec, TypeDisconnect)},
	PacketIdentifierInUse: {"packet identifier in use", setOf(TypePuback, TypePubrec, TypeSuback,
		TypeUnsuback)},
	PacketIdentifierNotFound: {"packet identifier not found", setOf(TypePubrel, TypePubcomp)},
	ReceiveMaximumExceeded:   {"receive maximum exceeded", setOf(TypeDisconnect)},
	TopicAliasInvalid:        {"topic alias invalid", setOf(TypeDisconnect)},
	PacketTooLarge:           {"packet too large", setOf(TypeConnack, TypeDisconnect)},
	MessageRateTooHigh:       {"message rate too high", setOf(TypeDisconnect)},
	QuotaExceeded: {"quota exceeded", setOf(TypeConnack, TypePuback, TypePubrec, TypeSuback,
		TypeDisconnect)},
	AdministrativeAction: {"administrative action", setOf(TypeDisconnect)},
	PayloadFormatInvalid: {"payload format invalid", setOf(TypeConnack, TypePuback, TypePubrec,
		TypeDisconnect)},
	RetainNotSupported:                {"retain not supported", setOf(TypeConnack, TypeDisconnect)},
	QoSNotSupported:                   {"QoS not supported", setOf(TypeConnack, TypeDisconnect)},
	UseAnotherServer:                  {"use another server", setOf(TypeConnack, TypeDisconnect)},
	ServerMoved:                       {"server moved", setOf(TypeConnack, TypeDisconnect)},
	SharedSubscriptionsNotSupported:   {"shared subscriptions not supported", setOf(TypeSuback, TypeDisconnect)},
	ConnectionRateExceeded:            {"connection rate exceeded", setOf(TypeConnack, TypeDisconnect)},
	MaximumConnectTime:                {"maximum connect time", setOf(TypeDisconnect)},
	SubscriptionIDsNotSupported:       {"subscription identifiers not supported", setOf(TypeSuback, TypeDisconnect)},
	WildcardSubscriptionsNotSupported: {"wildcard subscriptions not supported", setOf(TypeSuback, TypeDisconnect)},
}

// String returns the standard's name in lower case, "success" for 0x00 of any packet, or the number of an unknown code.
func (r ReasonCode) String() string {
	if name := reasons[r].name; name != "" {
		return name
	}
	return fmt.Sprintf("reason 0x%02X", byte(r))
}

// Failed reports whether r is an error: 0x80 or greater.
func (r ReasonCode) Failed() bool { return r >= 0x80 }

// check refuses a code that a packet of type t may not carry.
func (r ReasonCode) check(t Type) error {
	if !reasons[r].in.has(t) {
		return malformed("reason code is not one of this packet type")
	}
	return nil
}

// A typeSet is a set of packet types, one bit each.
type typeSet uint16

func setOf(types ...Type) (s typeSet) {
	for _, t := range types {
		s |= 1 << t
	}
	return s
}

func (s typeSet) has(t Type) bool { return s>>t&1 == 1 }

// An Error is a violation of the standard.
type Error struct {
	Reason ReasonCode // what to tell the peer: in CONNACK before the connection is accepted, in DISCONNECT after it
	Msg    string     // what is wrong, for operators; contains nothing of the packet
}

// Error returns both parts.
func (e *Error) Error() string { return "mqtt: " + e.Reason.String() + ": " + e.Msg }

// ReasonOf returns the reason code of an *Error in err's tree, Success for nil and UnspecifiedError for other errors.
func ReasonOf(err error) ReasonCode {
	if err == nil {
		return Success
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return UnspecifiedError
}

func malformed(msg string) error     { return &Error{Reason: MalformedPacket, Msg: msg} }
func protocolError(msg string) error { return &Error{Reason: ProtocolError, Msg: msg} }

// A ReturnCode is the result in a CONNACK of MQTT 3.1.1.
type ReturnCode byte

// The return codes of 3.1.1, by the names of its table 3.1.
const (
	ConnectionAccepted          ReturnCode = 0
	UnacceptableProtocolVersion ReturnCode = 1
	IdentifierRejected          ReturnCode = 2
	ServerUnavailable311        ReturnCode = 3
	BadUserNameOrPassword311    ReturnCode = 4
	NotAuthorized311            ReturnCode = 5
)

// ReturnCode returns what a 3.1.1 CONNACK says for r. ok is false where 3.1.1 has no code; then the standard wants the
// connection closed without a CONNACK.
func (r ReasonCode) ReturnCode() (c ReturnCode, ok bool) {
	switch r {
	case Success:
		return ConnectionAccepted, true
	case UnsupportedProtocolVersion:
		return UnacceptableProtocolVersion, true
	case ClientIdentifierNotValid:
		return IdentifierRejected, true
	case ServerUnavailable, ServerBusy, QuotaExceeded, UseAnotherServer, ServerMoved, ConnectionRateExceeded:
		return ServerUnavailable311, true
	case BadUserNameOrPassword:
		return BadUserNameOrPassword311, true
	case NotAuthorized, Banned, BadAuthenticationMethod:
		return NotAuthorized311, true
	}
	return 0, false
}

// returnCodeReasons are the reason codes that mean what the return codes of 3.1.1 do, in their order.
var returnCodeReasons = [...]ReasonCode{
	Success, UnsupportedProtocolVersion, ClientIdentifierNotValid, ServerUnavailable, BadUserNameOrPassword,
	NotAuthorized,
}

// Reason returns the reason code that means what c does. ok is false for a number that 3.1.1 reserves.
func (c ReturnCode) Reason() (r ReasonCode, ok bool) {
	if int(c) >= len(returnCodeReasons) {
		return 0, false
	}
	return returnCodeReasons[c], true
}
