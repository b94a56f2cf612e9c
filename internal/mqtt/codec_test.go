package mqtt_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/mqtt"
)

func TestFrame(t *testing.T) {
	for _, tt := range []struct {
		name   string
		buf    string
		limit  int
		want   mqtt.Header
		err    error
		reason mqtt.ReasonCode
	}{
		{name: "nothing yet", err: mqtt.ErrShort},
		{name: "first byte only", buf: "\x30", err: mqtt.ErrShort},
		{name: "length cut off", buf: "\x30\xff\xff\xff", err: mqtt.ErrShort},
		{
			name: "header but no body", buf: "\x30\x05", err: mqtt.ErrShort,
			want: mqtt.Header{Type: mqtt.TypePublish, HeaderLen: 2, BodyLen: 5},
		},
		{name: "whole", buf: "\xc0\x00", want: mqtt.Header{Type: mqtt.TypePingreq, HeaderLen: 2}},
		{
			name: "two packets", buf: "\x62\x02\x00\x01\xc0\x00",
			want: mqtt.Header{Type: mqtt.TypePubrel, Flags: 2, HeaderLen: 2, BodyLen: 2},
		},
		{
			name: "greatest length", buf: "\x3b\xff\xff\xff\x7f", err: mqtt.ErrShort,
			want: mqtt.Header{Type: mqtt.TypePublish, Flags: 0xb, HeaderLen: 5, BodyLen: 268_435_455},
		},
		{
			name: "exactly the limit", buf: "\x30\x03\x00\x01t", limit: 5,
			want: mqtt.Header{Type: mqtt.TypePublish, HeaderLen: 2, BodyLen: 3},
		},
		{
			name: "above the limit, body still to come", buf: "\x30\x04", limit: 5, reason: mqtt.PacketTooLarge,
			want: mqtt.Header{Type: mqtt.TypePublish, HeaderLen: 2, BodyLen: 4},
		},
		{name: "five bytes of length", buf: "\x30\x80\x80\x80\x80", reason: mqtt.MalformedPacket},
		{name: "reserved type", buf: "\x00", reason: mqtt.MalformedPacket},
		{name: "reserved flags", buf: "\x41", reason: mqtt.MalformedPacket},
		{name: "QoS 3", buf: "\x36", reason: mqtt.MalformedPacket},
		{name: "an HTTP request", buf: "GET / HTTP/1.1\r\n", reason: mqtt.MalformedPacket},
		{name: "a TLS handshake", buf: "\x16\x03\x01", reason: mqtt.MalformedPacket},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := mqtt.Frame([]byte(tt.buf), tt.limit)
			if got != tt.want {
				t.Errorf("header: got %+v, want %+v", got, tt.want)
			}
			if tt.err != nil || tt.reason == 0 {
				if err != tt.err {
					t.Errorf("error: got %v, want %v", err, tt.err)
				}
			} else if reason := mqtt.ReasonOf(err); reason != tt.reason {
				t.Errorf("reason: got %v (%v), want %v", reason, err, tt.reason)
			}
		})
	}
}

func TestAppendRefusesWhatDecodeWould(t *testing.T) {
	long := strings.Repeat("x", 65536)
	user := func(name string) *mqtt.Properties {
		return &mqtt.Properties{User: []mqtt.UserProperty{{Name: name}}}
	}
	for _, tt := range []struct {
		name    string
		version mqtt.Version
		packet  mqtt.Packet
		want    mqtt.ReasonCode
	}{
		{"unknown version", 3, &mqtt.Pingreq{}, mqtt.UnsupportedProtocolVersion},
		{"no version", 0, &mqtt.Publish{Topic: "t"}, mqtt.UnsupportedProtocolVersion},
		{"topic too long", mqtt.V311, &mqtt.Publish{Topic: long}, mqtt.MalformedPacket},
		{"topic with a wildcard", mqtt.V5, &mqtt.Publish{Topic: "a/+"}, mqtt.MalformedPacket},
		{"topic that is not UTF-8", mqtt.V5, &mqtt.Publish{Topic: "\xff"}, mqtt.MalformedPacket},
		{"no packet identifier", mqtt.V311, &mqtt.Publish{Topic: "t", QoS: 1}, mqtt.ProtocolError},
		{"QoS 3", mqtt.V311, &mqtt.Publish{Topic: "t", QoS: 3, PacketID: 1}, mqtt.MalformedPacket},
		{"property of another packet", mqtt.V5, &mqtt.Publish{Topic: "t", Props: &mqtt.Properties{WillDelay: 1}}, mqtt.MalformedPacket},
		{"user property with U+0000", mqtt.V5, &mqtt.Publish{Topic: "t", Props: user("\x00")}, mqtt.MalformedPacket},
		{"user property too long", mqtt.V5, &mqtt.Publish{Topic: "t", Props: user(long)}, mqtt.MalformedPacket},
		{
			"correlation data too long", mqtt.V5,
			&mqtt.Publish{Topic: "t", Props: &mqtt.Properties{CorrelationData: []byte(long)}}, mqtt.MalformedPacket,
		},
		{
			"subscription identifier too great", mqtt.V5,
			&mqtt.Publish{Topic: "t", Props: &mqtt.Properties{SubscriptionIDs: []uint32{1 << 28}}}, mqtt.ProtocolError,
		},
		{"acknowledgement of no type", mqtt.V311, &mqtt.Ack{PacketID: 1}, mqtt.ProtocolError},
		{
			"refused PUBACK in 3.1.1", mqtt.V311,
			&mqtt.Ack{Type: mqtt.TypePuback, PacketID: 1, Reason: mqtt.NotAuthorized}, mqtt.ImplementationSpecificError,
		},
		{"CONNACK without return code in 3.1.1", mqtt.V311, &mqtt.Connack{Reason: mqtt.MalformedPacket}, mqtt.ImplementationSpecificError},
		{"DISCONNECT with a reason in 3.1.1", mqtt.V311, &mqtt.Disconnect{Reason: mqtt.ServerBusy}, mqtt.ImplementationSpecificError},
		{"AUTH in 3.1.1", mqtt.V311, &mqtt.Auth{}, mqtt.ImplementationSpecificError},
		{"password too long", mqtt.V5, &mqtt.Connect{HasPassword: true, Password: []byte(long)}, mqtt.MalformedPacket},
		{"will too long", mqtt.V5, &mqtt.Connect{Will: &mqtt.Will{Topic: "t", Payload: []byte(long)}}, mqtt.MalformedPacket},
		{"no filter", mqtt.V5, &mqtt.Subscribe{PacketID: 1}, mqtt.ProtocolError},
		{"no filter to leave", mqtt.V5, &mqtt.Unsubscribe{PacketID: 1}, mqtt.ProtocolError},
		{"no reason", mqtt.V5, &mqtt.Suback{PacketID: 1}, mqtt.ProtocolError},
		{"payload beyond the greatest packet", mqtt.V311, &mqtt.Publish{Topic: "t", Payload: make([]byte, 268_435_453)}, mqtt.PacketTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.packet.Append([]byte("kept"), tt.version)
			if reason := mqtt.ReasonOf(err); reason != tt.want {
				t.Errorf("reason: got %v (%v), want %v", reason, err, tt.want)
			}
			if string(got) != "kept" {
				t.Errorf("dst: got %q, want %q", got, "kept")
			}
		})
	}
}

func TestDecodeIntoReusedStructs(t *testing.T) {
	frame := []byte("\x3b\x0b\x00\x05inbox\x00\x07hi")
	p := mqtt.Publish{Topic: "other", Props: &mqtt.Properties{}, Payload: []byte("old")}
	if err := p.Decode(mqtt.V311, frame); err != nil {
		t.Fatal(err)
	}
	want := mqtt.Publish{Topic: "inbox", QoS: 1, Dup: true, Retain: true, PacketID: 7, Payload: []byte("hi")}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("Publish: got %+v, want %+v", p, want)
	}
	a := mqtt.Ack{Type: mqtt.TypePubrel, Reason: mqtt.PacketIdentifierNotFound, Props: &mqtt.Properties{}}
	if err := a.Decode(mqtt.V5, []byte("\x40\x02\x00\x09")); err != nil {
		t.Fatal(err)
	}
	if want := (mqtt.Ack{Type: mqtt.TypePuback, PacketID: 9}); a != want {
		t.Errorf("Ack: got %+v, want %+v", a, want)
	}
	if got := mqtt.ReasonOf(a.Decode(mqtt.V5, frame)); got != mqtt.ProtocolError {
		t.Errorf("Ack.Decode of a PUBLISH: got %v, want %v", got, mqtt.ProtocolError)
	}
	if got := mqtt.ReasonOf(a.Decode(mqtt.V5, []byte("\x40\x05\x00\x09\x00\x00\x00"))); got != mqtt.MalformedPacket {
		t.Errorf("Ack.Decode with a byte left over: got %v, want %v", got, mqtt.MalformedPacket)
	}
	if got := mqtt.ReasonOf(p.Decode(mqtt.V5, []byte("\x40\x02\x00\x09"))); got != mqtt.ProtocolError {
		t.Errorf("Publish.Decode of a PUBACK: got %v, want %v", got, mqtt.ProtocolError)
	}
}

func TestConnectVersion(t *testing.T) {
	for _, tt := range []struct {
		name  string
		frame string
		want  mqtt.Version
	}{
		{"3.1", "\x10\x09\x00\x06MQIsdp\x03", mqtt.V311},
		{"3.1.1", "\x10\x07\x00\x04MQTT\x04", mqtt.V311},
		{"5.0", "\x10\x07\x00\x04MQTT\x05", mqtt.V5},
		{"6", "\x10\x07\x00\x04MQTT\x06", mqtt.V5},
		{"not there", "\x10\x06\x00\x04MQTT", mqtt.V311},
		{"not a CONNECT", "\xc0\x00", mqtt.V311},
		{"not a packet", "GET", mqtt.V311},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := mqtt.ConnectVersion([]byte(tt.frame)); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestReturnCodes(t *testing.T) {
	for _, tt := range []struct {
		reason mqtt.ReasonCode
		want   mqtt.ReturnCode
		ok     bool
	}{
		{mqtt.Success, 0, true},
		{mqtt.UnsupportedProtocolVersion, 1, true},
		{mqtt.ClientIdentifierNotValid, 2, true},
		{mqtt.ServerUnavailable, 3, true},
		{mqtt.ServerBusy, 3, true},
		{mqtt.BadUserNameOrPassword, 4, true},
		{mqtt.NotAuthorized, 5, true},
		{mqtt.Banned, 5, true},
		{mqtt.MalformedPacket, 0, false},
		{mqtt.PacketTooLarge, 0, false},
	} {
		t.Run(tt.reason.String(), func(t *testing.T) {
			if got, ok := tt.reason.ReturnCode(); got != tt.want || ok != tt.ok {
				t.Errorf("got %d, %v, want %d, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
	for code := mqtt.ReturnCode(0); code <= 5; code++ {
		reason, ok := code.Reason()
		if got, _ := reason.ReturnCode(); !ok || got != code {
			t.Errorf("return code %d comes back from %v as %d", code, reason, got)
		}
	}
	if _, ok := mqtt.ReturnCode(6).Reason(); ok {
		t.Error("return code 6 has a reason, want none")
	}
}

func TestReasonOf(t *testing.T) {
	refused := &mqtt.Error{Reason: mqtt.QuotaExceeded, Msg: "full"}
	for _, tt := range []struct {
		name string
		err  error
		want mqtt.ReasonCode
	}{
		{"no error", nil, mqtt.Success},
		{"an Error", refused, mqtt.QuotaExceeded},
		{"a wrapped Error", fmt.Errorf("gateway: %w", refused), mqtt.QuotaExceeded},
		{"another error", errors.New("disk full"), mqtt.UnspecifiedError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := mqtt.ReasonOf(tt.err); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	if got, want := refused.Error(), "mqtt: quota exceeded: full"; got != want {
		t.Errorf("Error: got %q, want %q", got, want)
	}
	if got, want := mqtt.ReasonCode(0x7f).String(), "reason 0x7F"; got != want {
		t.Errorf("String of an unknown code: got %q, want %q", got, want)
	}
}

func TestTopics(t *testing.T) {
	for _, tt := range []struct {
		name                     string
		text                     string
		topic, filter, filter311 bool
	}{
		{"a word", "inbox", true, true, true},
		{"levels, some empty", "/a//b/", true, true, true},
		{"one slash", "/", true, true, true},
		{"a space and letters beyond ASCII", "一 é", true, true, true},
		{"longest", strings.Repeat("x", 65535), true, true, true},
		{"too long", strings.Repeat("x", 65536), false, false, false},
		{"empty", "", false, false, false},
		{"U+0000", "a\x00", false, false, false},
		{"not UTF-8", "a\x80", false, false, false},
		{"# alone", "#", false, true, true},
		{"# at the end", "a/#", false, true, true},
		{"# in the middle", "a/#/b", false, false, false},
		{"# in a word", "a#", false, false, false},
		{"+ alone", "+", false, true, true},
		{"+ in many levels", "+/a/+", false, true, true},
		{"+ in a word", "a/b+", false, false, false},
		{"+ and #", "+/#", false, true, true},
		{"++", "++", false, false, false},
		{"system topic", "$SYS/#", false, true, true},
		{"shared", "$share/g/a/+", false, true, true},
		{"shared without filter", "$share/g", true, false, true},
		{"shared with an empty filter", "$share/g/", true, false, true},
		{"shared without group", "$share//a", true, false, true},
		{"shared by a wildcard", "$share/+/a", false, false, true},
		{"shared with a bad filter", "$share/g/a#", false, false, false},
		{"a word that only begins like shared", "$shared/a", true, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := mqtt.CheckTopic(tt.text); (err == nil) != tt.topic {
				t.Errorf("CheckTopic: got %v, want valid %v", err, tt.topic)
			}
			if err := mqtt.CheckFilter(mqtt.V5, tt.text); (err == nil) != tt.filter {
				t.Errorf("CheckFilter in 5.0: got %v, want valid %v", err, tt.filter)
			}
			if err := mqtt.CheckFilter(mqtt.V311, tt.text); (err == nil) != tt.filter311 {
				t.Errorf("CheckFilter in 3.1.1: got %v, want valid %v", err, tt.filter311)
			}
		})
	}
	if !mqtt.IsShared("$share/g/t") || mqtt.IsShared("share/g/t") {
		t.Error("IsShared is wrong about $share/g/t or share/g/t")
	}
	if !mqtt.HasWildcard("a/+") || !mqtt.HasWildcard("#") || mqtt.HasWildcard("a") {
		t.Error("HasWildcard is wrong about a/+, # or a")
	}
}

// The bytes of a packet must not depend on what dst held, or they could not be shared between connections.
func TestAppendIsPure(t *testing.T) {
	p := &mqtt.Publish{
		Topic: "inbox", QoS: 1, PacketID: 40000, Payload: bytes.Repeat([]byte("x"), 300),
		Props: &mqtt.Properties{MessageExpiry: mqtt.Some(uint32(60)), ContentType: "application/json"},
	}
	want, err := p.Append(nil, mqtt.V5)
	if err != nil {
		t.Fatal(err)
	}
	dirty := bytes.Repeat([]byte{0xaa}, 1024)
	got, err := p.Append(dirty[:3], mqtt.V5)
	if err != nil || !bytes.Equal(got[3:], want) {
		t.Errorf("into a used buffer: got %x, %v, want %x", got[3:], err, want)
	}
	if !bytes.Equal(dirty[:3], []byte{0xaa, 0xaa, 0xaa}) || !bytes.Equal(dirty[len(got):], bytes.Repeat([]byte{0xaa}, 1024-len(got))) {
		t.Error("Append touched bytes of dst outside of what it appended")
	}
}
