package mqtt_test

import (
	"bytes"
	"testing"

	"github.com/carillonpush/carillon/internal/mqtt"
)

// message is a push of ordinary size, as the gateway sends it in v.
func message() *mqtt.Publish {
	return &mqtt.Publish{
		Topic: "inbox", QoS: mqtt.AtLeastOnce, PacketID: 40000, Payload: bytes.Repeat([]byte("x"), 1024),
		Props: &mqtt.Properties{MessageExpiry: mqtt.Some(uint32(3600)), ContentType: "application/json"},
	}
}

var versions = []struct {
	name string
	v    mqtt.Version
}{{"v311", mqtt.V311}, {"v5", mqtt.V5}}

func TestHotPathsDoNotAllocate(t *testing.T) {
	dst := make([]byte, 0, 4096)
	for _, tt := range versions {
		p, ack := message(), &mqtt.Ack{Type: mqtt.TypePuback, PacketID: 7}
		refusal := &mqtt.Ack{Type: mqtt.TypePuback, PacketID: 7, Reason: mqtt.NoMatchingSubscribers, Props: &mqtt.Properties{ReasonString: "none"}}
		plain := message()
		plain.Props = nil
		publishFrame, _ := plain.Append(nil, tt.v)
		ping := []byte{0xc0, 0}
		ackFrame, _ := ack.Append(nil, tt.v)
		for _, op := range []struct {
			name string
			do   func() error
		}{
			{"append PUBLISH", func() error { _, err := p.Append(dst, tt.v); return err }},
			{"append PUBACK", func() error { _, err := ack.Append(dst, tt.v); return err }},
			{"append PUBACK with properties", func() error { _, err := refusal.Append(dst, tt.v); return err }},
			{"append PINGREQ", func() error { _, err := new(mqtt.Pingreq).Append(dst, tt.v); return err }},
			{"decode PUBLISH again", func() error { return plain.Decode(tt.v, publishFrame) }},
			{"decode PUBACK again", func() error { return ack.Decode(tt.v, ackFrame) }},
			{"decode PINGREQ", func() error { _, err := mqtt.Decode(tt.v, ping); return err }},
		} {
			t.Run(op.name+" "+tt.name, func(t *testing.T) {
				var err error
				if got := testing.AllocsPerRun(100, func() { err = op.do() }); got != 0 || err != nil {
					t.Errorf("got %v allocations, %v, want none", got, err)
				}
			})
		}
	}
}

func BenchmarkAppendPublish(b *testing.B) {
	for _, tt := range versions {
		b.Run(tt.name, func(b *testing.B) {
			p, dst := message(), make([]byte, 0, 2048)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Append(dst, tt.v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecodePublish(b *testing.B) {
	for _, tt := range versions {
		frame, err := message().Append(nil, tt.v)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := mqtt.Decode(tt.v, frame); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(tt.name+" reused", func(b *testing.B) {
			var p mqtt.Publish
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Decode(tt.v, frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPuback(b *testing.B) {
	for _, tt := range versions {
		b.Run("append "+tt.name, func(b *testing.B) {
			a, dst := &mqtt.Ack{Type: mqtt.TypePuback, PacketID: 7}, make([]byte, 0, 16)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Append(dst, tt.v); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("decode reused "+tt.name, func(b *testing.B) {
			var a mqtt.Ack
			frame := []byte{0x40, 2, 0, 7}
			b.ReportAllocs()
			for b.Loop() {
				if err := a.Decode(tt.v, frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
