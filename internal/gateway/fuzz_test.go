package gateway_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/carillonpush/carillon/internal/gateway"
	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/internal/push"
)

// What is taken for an event is one to encoding/json too.
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

// What is taken for an edit is one to encoding/json too, names nothing that the payload does not, and is one that the
// domain allows; what is refused says of what field.
func FuzzParseEdit(f *testing.F) {
	for topic, payload := range map[uint8]string{
		0: `{"op":"put","type":"uid","value":"42"}`, 1: `{"op":"add","tags":["vip","北京"]}`, 2: `{"op":"delete"}`,
		3: `{"op":"add","attributes":{"language":"zh","x":""}}`,
	} {
		f.Add(topic, []byte(payload))
	}
	f.Add(uint8(1), []byte(`{"op":"put","tags":[]}`))
	f.Add(uint8(0), []byte(`{"op":"delete","op":"put"}x`))
	topics := gateway.EditTopics()
	f.Fuzz(func(t *testing.T, topic uint8, b []byte) {
		e, err := gateway.ParseEdit(topics[int(topic)%len(topics)], b)
		if err != nil {
			if e != nil || !errors.Is(err, push.Invalid) {
				t.Errorf("got %v, %v of %q; want nothing, and Invalid", e, err, b)
			}
			return
		}
		if err := e.Validate(); err != nil {
			t.Errorf("read %s of %q: %v", gateway.ShowEdit(e), b, err)
		}
		var v struct {
			Op          push.EditOp
			Type, Value string
			Account     string
			Tags        []string
			Attributes  map[string]string
		}
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatalf("read %s of %q, which is no JSON of ours: %v", gateway.ShowEdit(e), b, err)
		}
		named := push.Alias{Type: v.Type, Value: v.Value}
		switch {
		case e.Op != v.Op && !(v.Op == push.Put && e.All == push.AllTags):
			t.Errorf("op %v of %q", e.Op, b)
		case !slices.Equal(e.Tags, v.Tags) || !maps.Equal(e.Attributes, v.Attributes):
			t.Errorf("read %s of %q", gateway.ShowEdit(e), b)
		case len(e.Aliases) > 1, len(e.Aliases) == 1 && e.Aliases[0] != named, len(e.Aliases) == 0 && named != (push.Alias{}):
			t.Errorf("aliases %q of %q", e.Aliases, b)
		case e.Account != nil && e.Op != push.Delete && *e.Account != v.Account:
			t.Errorf("account %q of %q", *e.Account, b)
		case e.All != 0 && (e.Op != push.Delete || len(e.Tags)+len(e.Aliases) > 0):
			t.Errorf("read %s of %q", gateway.ShowEdit(e), b)
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
