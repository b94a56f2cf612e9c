package mqtt_test

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/mqtt"
)

// will stands for the properties of a will in legal, where it is no packet.
const will mqtt.Type = 0

// legal lists the identifiers of the properties of each packet as the standard's sections on the packets do, which is the
// other way round from the table of the codec.
var legal = map[mqtt.Type][]int{
	will:                 {24, 1, 2, 3, 8, 9, 38},
	mqtt.TypeConnect:     {17, 33, 39, 34, 25, 23, 38, 21, 22},
	mqtt.TypeConnack:     {17, 33, 36, 37, 39, 18, 34, 31, 38, 40, 41, 42, 19, 26, 28, 21, 22},
	mqtt.TypePublish:     {1, 2, 35, 8, 9, 38, 11, 3},
	mqtt.TypePuback:      {31, 38},
	mqtt.TypePubrec:      {31, 38},
	mqtt.TypePubrel:      {31, 38},
	mqtt.TypePubcomp:     {31, 38},
	mqtt.TypeSubscribe:   {11, 38},
	mqtt.TypeSuback:      {31, 38},
	mqtt.TypeUnsubscribe: {38},
	mqtt.TypeUnsuback:    {31, 38},
	mqtt.TypeDisconnect:  {17, 31, 38, 28},
	mqtt.TypeAuth:        {21, 22, 31, 38},
}

var (
	text     = rapid.StringMatching(`[^\x00]{0,20}`)
	someText = rapid.StringMatching(`[^\x00]{1,20}`)
	data     = rapid.SliceOfN(rapid.Byte(), 0, 200)
	topic    = rapid.StringMatching(`[^\x00+#]{1,20}`)
	filter   = rapid.StringMatching(`([a-z]{0,3}/|\+/){0,4}([a-z]{1,3}|\+|#)`)
	packetID = rapid.Uint16Min(1)
	qos      = rapid.Custom(func(t *rapid.T) mqtt.QoS { return mqtt.QoS(rapid.IntRange(0, 2).Draw(t, "qos")) })
)

// setProperty gives property id a value that is not the same as its absence.
func setProperty(t *rapid.T, p *mqtt.Properties, id int) {
	u16, u32, flag := rapid.Uint16Min(1).Draw(t, "u16"), rapid.Uint32Min(1).Draw(t, "u32"), rapid.Bool().Draw(t, "flag")
	s := someText.Draw(t, "text")
	switch id {
	case 1:
		p.PayloadIsText = true
	case 2:
		p.MessageExpiry = mqtt.Some(u32 - 1)
	case 3:
		p.ContentType = s
	case 8:
		p.ResponseTopic = topic.Draw(t, "response topic")
	case 9:
		p.CorrelationData = data.Draw(t, "correlation data")
	case 11:
		p.SubscriptionIDs = []uint32{rapid.Uint32Range(1, 268_435_455).Draw(t, "subscription id")}
	case 17:
		p.SessionExpiry = mqtt.Some(u32 - 1)
	case 18:
		p.AssignedClientID = s
	case 19:
		p.ServerKeepAlive = mqtt.Some(u16 - 1)
	case 21:
		p.AuthMethod = s
	case 22:
		p.AuthMethod, p.AuthData = s, data.Draw(t, "auth data")
	case 23:
		p.RequestProblemInfo = mqtt.Some(flag)
	case 24:
		p.WillDelay = u32
	case 25:
		p.RequestResponseInfo = true
	case 26:
		p.ResponseInfo = s
	case 28:
		p.ServerReference = s
	case 31:
		p.ReasonString = s
	case 33:
		p.ReceiveMaximum = u16
	case 34:
		p.TopicAliasMaximum = u16
	case 35:
		p.TopicAlias = u16
	case 36:
		p.MaximumQoS = mqtt.Some(mqtt.QoS(u16 & 1))
	case 37:
		p.RetainAvailable = mqtt.Some(flag)
	case 38:
		p.User = append(p.User, mqtt.UserProperty{Name: s, Value: text.Draw(t, "value")})
	case 39:
		p.MaximumPacketSize = u32
	case 40:
		p.WildcardSubAvailable = mqtt.Some(flag)
	case 41:
		p.SubIDAvailable = mqtt.Some(flag)
	case 42:
		p.SharedSubAvailable = mqtt.Some(flag)
	default:
		t.Fatalf("no property %d", id)
	}
}

// properties draws properties for a packet of type where, or nil; always nil in 3.1.1.
func properties(t *rapid.T, v mqtt.Version, where mqtt.Type) *mqtt.Properties {
	if v == mqtt.V311 || len(legal[where]) == 0 {
		return nil
	}
	ids := rapid.SliceOfDistinct(rapid.SampledFrom(legal[where]), rapid.ID[int]).Draw(t, "properties")
	if len(ids) == 0 {
		return nil
	}
	p := new(mqtt.Properties)
	for _, id := range ids {
		setProperty(t, p, id)
	}
	return p
}

func reasons(t *rapid.T, codes ...mqtt.ReasonCode) []mqtt.ReasonCode {
	return rapid.SliceOfN(rapid.SampledFrom(codes), 1, 10).Draw(t, "reasons")
}

// packet draws a packet of type kind that v can carry in full, with slices as Decode gives them.
func packet(t *rapid.T, v mqtt.Version, kind mqtt.Type) mqtt.Packet {
	props := properties(t, v, kind)
	switch kind {
	case mqtt.TypeConnect:
		return connect(t, v, props)
	case mqtt.TypeConnack:
		p := &mqtt.Connack{Props: props, Reason: rapid.SampledFrom([]mqtt.ReasonCode{0, 0x84, 0x85, 0x86, 0x87, 0x88}).Draw(t, "reason")}
		p.SessionPresent = p.Reason == 0 && rapid.Bool().Draw(t, "session present")
		return p
	case mqtt.TypePublish:
		p := &mqtt.Publish{
			Topic: topic.Draw(t, "topic"), QoS: qos.Draw(t, "qos"), Retain: rapid.Bool().Draw(t, "retain"),
			Props: props, Payload: data.Draw(t, "payload"),
		}
		if p.QoS > 0 {
			p.PacketID, p.Dup = packetID.Draw(t, "id"), rapid.Bool().Draw(t, "dup")
		}
		return p
	case mqtt.TypeSubscribe:
		p := &mqtt.Subscribe{PacketID: packetID.Draw(t, "id"), Props: props}
		for range rapid.IntRange(1, 5).Draw(t, "n") {
			s := mqtt.Subscription{Filter: filter.Draw(t, "filter"), QoS: qos.Draw(t, "qos")}
			if v == mqtt.V5 {
				s.NoLocal, s.RetainAsPublished = rapid.Bool().Draw(t, "no local"), rapid.Bool().Draw(t, "as published")
				s.RetainHandling = rapid.ByteMax(2).Draw(t, "retain handling")
			}
			p.Subscriptions = append(p.Subscriptions, s)
		}
		return p
	case mqtt.TypeSuback:
		return &mqtt.Suback{PacketID: packetID.Draw(t, "id"), Props: props, Reasons: reasons(t, 0, 1, 2, 0x80)}
	case mqtt.TypeUnsubscribe:
		return &mqtt.Unsubscribe{
			PacketID: packetID.Draw(t, "id"), Props: props, Filters: rapid.SliceOfN(filter, 1, 5).Draw(t, "filters"),
		}
	case mqtt.TypeUnsuback:
		p := &mqtt.Unsuback{PacketID: packetID.Draw(t, "id"), Props: props}
		if v == mqtt.V5 {
			p.Reasons = reasons(t, 0, 0x11, 0x80, 0x87)
		}
		return p
	case mqtt.TypePingreq:
		return &mqtt.Pingreq{}
	case mqtt.TypePingresp:
		return &mqtt.Pingresp{}
	case mqtt.TypeDisconnect:
		p := &mqtt.Disconnect{Props: props}
		if v == mqtt.V5 {
			p.Reason = rapid.SampledFrom([]mqtt.ReasonCode{0, 4, 0x81, 0x82, 0x8d, 0x8e, 0x95}).Draw(t, "reason")
		}
		return p
	case mqtt.TypeAuth:
		p := &mqtt.Auth{Props: props, Reason: rapid.SampledFrom([]mqtt.ReasonCode{0, 0x18, 0x19}).Draw(t, "reason")}
		if p.Props == nil {
			p.Props = new(mqtt.Properties)
		}
		p.Props.AuthMethod = someText.Draw(t, "method")
		return p
	}
	a := &mqtt.Ack{Type: kind, PacketID: packetID.Draw(t, "id"), Props: props}
	if v == mqtt.V5 {
		failure := mqtt.QuotaExceeded
		if kind == mqtt.TypePubrel || kind == mqtt.TypePubcomp {
			failure = mqtt.PacketIdentifierNotFound
		}
		a.Reason = rapid.SampledFrom([]mqtt.ReasonCode{mqtt.Success, failure}).Draw(t, "reason")
	}
	return a
}

func connect(t *rapid.T, v mqtt.Version, props *mqtt.Properties) *mqtt.Connect {
	p := &mqtt.Connect{
		Version: v, CleanStart: rapid.Bool().Draw(t, "clean start"), KeepAlive: rapid.Uint16().Draw(t, "keep alive"),
		ClientID: someText.Draw(t, "client id"), Props: props,
	}
	if rapid.Bool().Draw(t, "has will") {
		p.Will = &mqtt.Will{
			QoS: qos.Draw(t, "will qos"), Retain: rapid.Bool().Draw(t, "will retain"), Props: properties(t, v, will),
			Topic: topic.Draw(t, "will topic"), Payload: data.Draw(t, "will payload"),
		}
	}
	if p.HasUsername = rapid.Bool().Draw(t, "has username"); p.HasUsername {
		p.Username = text.Draw(t, "username")
	}
	if v == mqtt.V5 || p.HasUsername {
		if p.HasPassword = rapid.Bool().Draw(t, "has password"); p.HasPassword {
			p.Password = data.Draw(t, "password")
		}
	}
	return p
}

// What is written is read back equal; it is a whole packet, so that neither a byte less nor a byte more will do.
func TestRoundTrip(t *testing.T) {
	for kind := mqtt.TypeConnect; kind <= mqtt.TypeAuth; kind++ {
		for _, tt := range versions {
			if kind == mqtt.TypeAuth && tt.v == mqtt.V311 {
				continue // 3.1.1 has no AUTH
			}
			t.Run(kind.String()+" "+tt.name, rapid.MakeCheck(func(t *rapid.T) {
				want := packet(t, tt.v, kind)
				frame, err := want.Append(nil, tt.v)
				if err != nil {
					t.Fatalf("Append of %+v: %v", want, err)
				}
				h, err := mqtt.Frame(append(frame, 0xff), 0)
				if err != nil || h.Size() != len(frame) || h.Type != kind {
					t.Fatalf("Frame: got %+v, %v, want %v of %d bytes", h, err, kind, len(frame))
				}
				got, err := mqtt.Decode(tt.v, frame)
				if err != nil || !reflect.DeepEqual(got, want) {
					t.Fatalf("Decode: got %+v, %v, want %+v", got, err, want)
				}
				cut := rapid.IntRange(0, len(frame)-1).Draw(t, "cut")
				if _, err := mqtt.Frame(frame[:cut], 0); err != mqtt.ErrShort {
					t.Fatalf("Frame of %d bytes: got %v, want %v", cut, err, mqtt.ErrShort)
				}
				if p, err := mqtt.Decode(tt.v, append(frame, 0)); err == nil {
					t.Fatalf("Decode with a byte too many: got %+v, want an error", p)
				}
			}))
		}
	}
}

// A property is accepted in the packets that the standard lists it for, and in no other.
func TestPropertiesWhereTheyAreLegal(t *testing.T) {
	known := slices.Compact(slices.Sorted(slices.Values(slices.Concat(slices.Collect(maps.Values(legal))...))))
	if len(known) != 27 {
		t.Fatalf("got %d properties, want the standard's 27", len(known))
	}
	for kind, ids := range legal {
		t.Run(kind.String(), rapid.MakeCheck(func(t *rapid.T) {
			id := rapid.SampledFrom(known).Draw(t, "property")
			p := new(mqtt.Properties)
			if kind == mqtt.TypeAuth {
				p.AuthMethod = "m" // without which nothing else is accepted
			}
			setProperty(t, p, id)
			_, err := carrier(kind, p).Append(nil, mqtt.V5)
			if got, want := err == nil, slices.Contains(ids, id); got != want {
				t.Fatalf("property %d: got %v, want accepted %v", id, err, want)
			}
		}))
	}
}

// carrier returns a valid packet of type kind with p.
func carrier(kind mqtt.Type, p *mqtt.Properties) mqtt.Packet {
	switch kind {
	case will:
		return &mqtt.Connect{Will: &mqtt.Will{Topic: "t", Props: p}}
	case mqtt.TypeConnect:
		return &mqtt.Connect{Props: p}
	case mqtt.TypeConnack:
		return &mqtt.Connack{Props: p}
	case mqtt.TypePublish:
		return &mqtt.Publish{Topic: "t", Props: p}
	case mqtt.TypeSubscribe:
		return &mqtt.Subscribe{PacketID: 1, Props: p, Subscriptions: []mqtt.Subscription{{Filter: "t"}}}
	case mqtt.TypeSuback:
		return &mqtt.Suback{PacketID: 1, Props: p, Reasons: []mqtt.ReasonCode{0}}
	case mqtt.TypeUnsubscribe:
		return &mqtt.Unsubscribe{PacketID: 1, Props: p, Filters: []string{"t"}}
	case mqtt.TypeUnsuback:
		return &mqtt.Unsuback{PacketID: 1, Props: p, Reasons: []mqtt.ReasonCode{0}}
	case mqtt.TypeDisconnect:
		return &mqtt.Disconnect{Props: p}
	case mqtt.TypeAuth:
		return &mqtt.Auth{Props: p}
	}
	return &mqtt.Ack{Type: kind, PacketID: 1, Props: p}
}
