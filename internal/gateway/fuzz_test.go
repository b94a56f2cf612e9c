package gateway_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/carillonpush/carillon/internal/gateway"
	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/internal/push"
)

// What is taken for a report is one to encoding/json too.
func FuzzParseEvent(f *testing.F) {
	f.Add([]byte(`{"push": "42", "event": "opened"}`))
	f.Add([]byte(`{"event":"opened","push":"042"}`))
	f.Add([]byte(`{"push":"1","event":"opened"}x`))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, mark, ok := gateway.ParseEvent(b)
		if !ok {
			return
		}
		var v struct {
			Push  push.ID `json:"push"`
			Event string  `json:"event"`
		}
		if err := json.Unmarshal(b, &v); err != nil || v.Push != id || push.Events()[v.Event] != mark {
			t.Errorf("read %v %v of %q, which is %+v, %v", id, mark, b, v, err)
		}
	})
}

// Whatever packets come, a session answers with packets that can be written, and with nothing once it has ended.
func FuzzSession(f *testing.F) {
	connect, err := (&mqtt.Connect{ClientID: "c", CleanStart: true, HasUsername: true}).Append(nil, mqtt.V5)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(true, append(connect, 0xc0, 0, 0x40, 2, 0, 1, 0x82, 11, 0, 1, 0, 0, 5, 'i', 'n', 'b', 'o', 'x', 1))
	f.Add(false, []byte{0xe0, 0})
	f.Fuzz(func(t *testing.T, accept bool, stream []byte) {
		sim, version, ended := gateway.NewSim(transcriptStart), mqtt.V311, false
		check := func(o gateway.Outcome) {
			if ended && len(o.Packets)+len(o.Receipts) > 0 {
				t.Fatalf("%d packets after the end", len(o.Packets))
			}
			ended = ended || o.Stop
			for _, p := range o.Packets {
				b, err := p.Append(nil, version)
				if err == nil {
					_, err = mqtt.Decode(version, b)
				}
				if err != nil {
					t.Fatalf("%+v: %v", p, err)
				}
			}
		}
		for {
			h, err := mqtt.Frame(stream, 64<<10)
			if errors.Is(err, mqtt.ErrShort) || err != nil {
				return
			}
			frame := stream[:h.Size()]
			if h.Type == mqtt.TypeConnect {
				version = max(version, mqtt.ConnectVersion(frame))
			}
			o := sim.Receive(transcriptStart, frame)
			check(o)
			if o.Login != "" && accept {
				check(sim.Accept(transcriptStart, transcriptRef))
			}
			stream = stream[h.Size():]
		}
	})
}
