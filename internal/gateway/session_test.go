package gateway_test

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/gateway"
	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/internal/push"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts anew; read the difference")

// TestTranscripts plays testdata/*.txt: a line that begins with "> " is what happens to a session, the lines below it are
// what the session wants done.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("transcripts: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(strings.Split(got, "\n"), strings.Split(string(want), "\n")); diff != "" && !*rewrite {
				t.Errorf("transcript (-got +want):\n%s", diff)
			}
		})
	}
}

// A player is one session of a transcript, and what it needs to make its packets.
type player struct {
	t       *testing.T
	sim     *gateway.Sim
	version mqtt.Version
	now     time.Time
	sent    map[push.ID]*push.Delivery
}

var (
	transcriptStart = time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)
	transcriptRef   = push.Ref{App: 1, Ordinal: 7, Generation: 1}
)

// houseErrors are what recorded may say: kinds, and errors with words.
var houseErrors = map[string]error{
	"not_found": push.NotFound, "internal": push.Internal, "too_many": push.TooMany, "denied": push.Denied,
	"too_many_tags": &push.Error{Kind: push.TooMany, Field: "tags", Msg: "at most 100"},
	"disk":          &push.Error{Kind: push.Unavailable, Msg: "the disk is full"},
}

func play(t *testing.T, script string) string {
	var out strings.Builder
	p := &player{t: t}
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "# ") || line == "":
			fmt.Fprintln(&out, line)
		case strings.HasPrefix(line, "== "): // a new session
			p.sim, p.version, p.now, p.sent = gateway.NewSim(transcriptStart), 0, transcriptStart, map[push.ID]*push.Delivery{}
			fmt.Fprintln(&out, line)
		case strings.HasPrefix(line, "> "):
			fmt.Fprintln(&out, line)
			words := strings.Fields(line[2:])
			for _, l := range p.step(words[0], words[1:]) {
				fmt.Fprintln(&out, "    "+l)
			}
		}
	}
	return out.String()
}

func (p *player) step(verb string, args []string) []string {
	switch verb {
	case "full":
		p.sim.Full()
		return nil
	case "accept":
		return p.show(p.sim.Accept(p.now, transcriptRef))
	case "refuse":
		return p.show(p.sim.Refuse(mqtt.ReasonCode(p.number(args[0], 16))))
	case "end":
		return p.show(p.sim.End(mqtt.ReasonCode(p.number(args[0], 16))))
	case "after":
		d, err := time.ParseDuration(args[0])
		if err != nil {
			p.t.Fatal(err)
		}
		p.now = p.now.Add(d)
		return p.show(p.sim.Tick(p.now))
	case "deadline":
		at := p.sim.Deadline()
		if at.IsZero() {
			return []string{"never"}
		}
		return []string{at.Sub(transcriptStart).String()}
	case "recorded":
		o := options(args[1:])
		var err error
		if o["err"] != "" {
			err = houseErrors[o["err"]]
		}
		return p.show(p.sim.Recorded(push.ID(p.number(args[0], 10)), mqtt.QoS(p.number(o["qos"], 10)), uint16(p.number(o["id"], 10)), err))
	case "raw":
		b, err := hex.DecodeString(strings.Join(args, ""))
		if err != nil {
			p.t.Fatal(err)
		}
		return p.show(p.sim.Receive(p.now, b))
	case "offer", "take", "write", "page", "paged", "settled":
		return p.delivery(verb, args)
	}
	frame, err := p.packet(verb, options(args)).Append(nil, p.version)
	if err != nil {
		p.t.Fatalf("%s %v: %v", verb, args, err)
	}
	return p.show(p.sim.Receive(p.now, frame))
}

// delivery are the steps that messages take.
func (p *player) delivery(verb string, args []string) []string {
	switch verb {
	case "page":
		return []string{fmt.Sprint("asks for ", p.sim.Page())}
	case "paged":
		return []string{fmt.Sprint("caught up: ", p.sim.Paged())}
	}
	id := push.ID(p.number(args[0], 10))
	switch verb {
	case "settled":
		return p.show(gateway.Outcome{Resume: p.sim.Settled(id)})
	case "write":
		p.sim.Write(p.now, p.sent[id])
		return nil
	}
	o := options(args[1:])
	d := &push.Delivery{ID: id, App: 1, Kind: push.Direct, Expires: p.now.Add(time.Hour), Payload: []byte("{}")}
	if o["bulk"] != "" {
		d.Kind = push.Bulk
	}
	if o["size"] != "" {
		d.Payload = make([]byte, p.number(o["size"], 10))
	}
	p.sent[id] = d
	offer := p.sim.Offer
	if verb == "take" {
		offer = p.sim.Take
	}
	v, packet := offer(p.now, d)
	if packet != 0 {
		v += fmt.Sprint(" as ", packet)
	}
	return []string{v}
}

// packet makes a client's packet from name=value options; a name alone is true.
func (p *player) packet(verb string, o map[string]string) mqtt.Packet {
	id := uint16(p.number(o["id"], 10))
	qos := mqtt.QoS(p.number(o["qos"], 10))
	switch verb {
	case "connect":
		p.version = map[string]mqtt.Version{"3.1.1": mqtt.V311, "5.0": mqtt.V5}[o["v"]]
		c := &mqtt.Connect{
			ClientID: o["client"], CleanStart: o["keep"] == "", KeepAlive: uint16(p.number(o["keepalive"], 10)),
			HasUsername: true, Username: "dev", HasPassword: true, Password: []byte("secret"),
			Props: &mqtt.Properties{
				ReceiveMaximum: uint16(p.number(o["receive"], 10)), MaximumPacketSize: uint32(p.number(o["max"], 10)),
				AuthMethod: o["auth"],
			},
		}
		if o["mute"] != "" {
			c.Props.RequestProblemInfo = mqtt.Some(false)
		}
		if o["will"] != "" {
			c.Will = &mqtt.Will{Topic: o["will"], QoS: qos, Retain: o["retain"] != ""}
		}
		return c
	case "subscribe":
		s := &mqtt.Subscribe{PacketID: id, Props: &mqtt.Properties{}}
		if o["subid"] != "" {
			s.Props.SubscriptionIDs = []uint32{1}
		}
		for f := range strings.SplitSeq(o["filter"], ",") {
			s.Subscriptions = append(s.Subscriptions, mqtt.Subscription{Filter: f, QoS: qos})
		}
		return s
	case "unsubscribe":
		return &mqtt.Unsubscribe{PacketID: id, Filters: strings.Split(o["filter"], ",")}
	case "publish":
		return &mqtt.Publish{
			Topic: o["topic"], QoS: qos, PacketID: id, Retain: o["retain"] != "", Payload: []byte(o["payload"]),
			Props: &mqtt.Properties{TopicAlias: uint16(p.number(o["alias"], 10))},
		}
	case "puback":
		return &mqtt.Ack{Type: mqtt.TypePuback, PacketID: id, Reason: mqtt.ReasonCode(p.number(o["reason"], 16))}
	case "pubrec":
		return &mqtt.Ack{Type: mqtt.TypePubrec, PacketID: id}
	case "auth":
		return &mqtt.Auth{Props: &mqtt.Properties{AuthMethod: "x"}, Reason: mqtt.ReAuthenticate}
	case "ping":
		return &mqtt.Pingreq{}
	case "disconnect":
		return &mqtt.Disconnect{}
	}
	p.t.Fatalf("no step %q", verb)
	return nil
}

func options(args []string) map[string]string {
	o := map[string]string{}
	for _, a := range args {
		name, value, ok := strings.Cut(a, "=")
		if !ok {
			value = "yes"
		}
		o[name] = value
	}
	return o
}

func (p *player) number(s string, base int) uint64 {
	if s == "" {
		return 0
	}
	n, err := strconv.ParseUint(s, base, 63)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// show writes an outcome, one line an effect.
func (p *player) show(o gateway.Outcome) (lines []string) {
	for _, packet := range o.Packets {
		b, err := packet.Append(nil, p.version)
		if p.version == 0 {
			b, err = packet.Append(nil, mqtt.V311)
		}
		if err != nil {
			p.t.Fatalf("%v cannot be written: %v", packet.PacketType(), err)
		}
		lines = append(lines, fmt.Sprintf("%v %x", packet.PacketType(), b[2:])+meaning(packet))
	}
	for _, r := range o.Receipts {
		lines = append(lines, fmt.Sprintf("receipt: push %v device %v mark %v", r.Push, r.Ordinal, r.Mark))
	}
	if o.Login != "" {
		lines = append(lines, "login "+o.Login)
	}
	if o.Said != "" {
		lines = append(lines, "said "+o.Said)
	}
	if o.Resume {
		lines = append(lines, "read the record")
	}
	if o.Stop {
		lines = append(lines, "close")
	}
	return lines
}

func meaning(p mqtt.Packet) string {
	switch p := p.(type) {
	case *mqtt.Connack:
		return " (" + p.Reason.String() + ")"
	case *mqtt.Disconnect:
		return " (" + p.Reason.String() + ")"
	case *mqtt.Ack:
		if p.Props != nil {
			return fmt.Sprintf(" (%v: %q)", p.Reason, p.Props.ReasonString)
		}
		return " (" + p.Reason.String() + ")"
	case *mqtt.Suback:
		return fmt.Sprintf(" %v", p.Reasons)
	}
	return ""
}

func TestParseEvent(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		ok       bool
	}{
		{"both fields", `{"push": "42", "event": "opened"}`, true},
		{"other order", `{"event":"clicked","push":"42"}`, true},
		{"unknown event", `{"push": "42", "event": "eaten"}`, false},
		{"number for an id", `{"push": 42, "event": "opened"}`, false},
		{"no id", `{"event": "opened"}`, false},
		{"unknown field", `{"push": "42", "event": "opened", "x": "y"}`, false},
		{"field twice", `{"push": "42", "push": "43", "event": "opened"}`, false},
		{"more behind it", `{"push": "42", "event": "opened"} {}`, false},
		{"nested", `{"push": {"push": "42"}, "event": "opened"}`, false},
		{"list", `["42", "opened"]`, false},
		{"nothing", ``, false},
		{"cut off", `{"push": "42", "event": "opened"`, false},
		{"too long", `{"push": "42", "event": "opened"` + strings.Repeat(" ", 4096) + `}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id, _, ok := gateway.ParseEvent([]byte(tt.in))
			if ok != tt.ok || ok && id != 42 {
				t.Errorf("ParseEvent = %v, %v; want %v", id, ok, tt.ok)
			}
		})
	}
}

// The session's account of a socket's queue rests on Size.
func TestSizeIsThatOfTheEncodedPacket(t *testing.T) {
	for _, v := range []string{"3.1.1", "5.0"} {
		for _, qos := range []string{"0", "1"} {
			p := &player{t: t}
			play := func(verb string, args ...string) { p.step(verb, args) }
			p.sim, p.now = gateway.NewSim(transcriptStart), transcriptStart
			play("connect", "v="+v, "client=c")
			play("accept")
			play("subscribe", "id=1", "filter=inbox", "qos="+qos)
			for _, n := range []int{0, 1, 117, 118, 119, 120, 121, 200, 16370, 16371, 16372, 16373, 16374, 16375, 16376, 20000} {
				d := &push.Delivery{ID: 1, Kind: push.Direct, Payload: make([]byte, n)}
				m := &mqtt.Publish{Topic: "inbox", Payload: d.Payload}
				if qos == "1" {
					m.QoS, m.PacketID = 1, 9
				}
				b, err := m.Append(nil, p.version)
				if err != nil {
					t.Fatal(err)
				}
				if got := p.sim.Size(d); got != len(b) {
					t.Errorf("%s, QoS %s, payload %d: size %d, want %d", v, qos, n, got, len(b))
				}
			}
		}
	}
}

func TestBroadcastIDsAreInTheirRangeAndSpread(t *testing.T) {
	seen := map[uint16]bool{}
	for i := range push.ID(1000) { // a push a millisecond
		id := gateway.BroadcastID(91_000_000_000<<22 + i<<22)
		if id < 32768 {
			t.Fatalf("identifier %d, want at least 32768", id)
		}
		seen[id] = true
	}
	if len(seen) < 950 {
		t.Errorf("1000 broadcasts in a row have %d identifiers, want nearly as many", len(seen))
	}
}
