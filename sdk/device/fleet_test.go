package device_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/sdk/device"
)

func identities(n int) []device.Identity {
	ids := make([]device.Identity, n)
	for i := range ids {
		ids[i] = device.Identity{DeviceID: fmt.Sprintf("%032x", i), Secret: "s"}
	}
	return ids
}

// runFleet runs f until the test ends.
func runFleet(t *testing.T, f *device.Fleet) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
		if s := f.Stats(); s.Connected != 0 {
			t.Errorf("%d devices are connected after Run", s.Connected)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

func wait(t *testing.T, f *device.Fleet, what string, done func(device.FleetStats) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := f.Wait(ctx, done); err != nil {
		t.Fatalf("%s: %v, with %+v", what, err, f.Stats())
	}
}

func TestFleetReceivesAcknowledgesAndCounts(t *testing.T) {
	for _, tt := range []struct {
		name    string
		version int
		qos0    bool
	}{{"MQTT 3.1.1", 4, false}, {"MQTT 5", 5, false}, {"QoS 0", 4, true}} {
		t.Run(tt.name, func(t *testing.T) {
			const n = 300
			b := newBroker(t)
			var byDevice [n]atomic.Int32
			f := device.NewFleet(b.addrPort(), identities(n), &device.FleetOptions{
				Version: tt.version, AtMostOnce: tt.qos0, Handshakes: 50, Loops: 2, Sources: []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")},
				Mark: `"sent":`, OnMessage: func(i int, _ []byte) { byDevice[i].Add(1) },
			})
			runFleet(t, f)
			wait(t, f, "connecting", func(s device.FleetStats) bool { return s.Connected == n })
			for _, id := range identities(n) {
				l := b.link(id.DeviceID)
				for _, push := range []int{7, 8, 7} { // the third is a duplicate
					if err := l.send(fmt.Sprintf(`{"id":"%d","data":{"sent":%d}}`, push, time.Now().UnixNano())); err != nil {
						t.Fatal(err)
					}
				}
			}
			wait(t, f, "receiving", func(s device.FleetStats) bool { return s.Messages == 3*n })
			if !tt.qos0 {
				for range 3 * n {
					next(t, b.acks, "PUBACK")
				}
			}
			want := device.FleetStats{Connected: n, Messages: 3 * n, Duplicates: n, Acknowledged: 3 * n}
			if tt.qos0 {
				want.Acknowledged = 0
			}
			got := f.Stats()
			got.Bytes = 0
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if got := f.Latency().Count(); got != 3*n {
				t.Errorf("got %d latencies, want %d", got, 3*n)
			}
			if p := f.Latency().Percentile(99); p > 20*time.Second {
				t.Errorf("got a 99th percentile of %v", p)
			}
			for i := range byDevice {
				if got := byDevice[i].Load(); got != 3 {
					t.Fatalf("device %d got %d messages, want 3", i, got)
				}
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			from := b.conns[fmt.Sprintf("%032x", 1)].conn.RemoteAddr().String()
			if !strings.HasPrefix(from, "127.0.0.3:") {
				t.Errorf("device 1 came from %s, want 127.0.0.3", from)
			}
		})
	}
}

func TestFleetReconnectsAndGivesUpOnTheRefused(t *testing.T) {
	const n = 20
	bad := fmt.Sprintf("%032x", 3)
	b := newBroker(t, func(b *broker) {
		b.refuse = func(id, _ string) mqtt.ReasonCode {
			if id == bad {
				return mqtt.BadUserNameOrPassword
			}
			return mqtt.Success
		}
	})
	f := device.NewFleet(b.addrPort(), identities(n), &device.FleetOptions{Handshakes: 2})
	runFleet(t, f)
	wait(t, f, "connecting", func(s device.FleetStats) bool { return s.Connected == n-1 && s.Refused == 1 })
	for i := range 5 {
		b.kick(fmt.Sprintf("%032x", 10+i))
	}
	wait(t, f, "connecting again", func(s device.FleetStats) bool { return s.Connected == n-1 && s.Lost == 5 })
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.connects[bad] != 0 {
		t.Errorf("the refused device is connected")
	}
}

func TestFleetKeepsAlive(t *testing.T) {
	b := newBroker(t)
	f := device.NewFleet(b.addrPort(), identities(3), &device.FleetOptions{KeepAlive: 2 * time.Second})
	runFleet(t, f)
	seen := map[string]bool{}
	for len(seen) < 3 {
		seen[next(t, b.pings, "PINGREQ")] = true
	}
}

func TestFleetSurvivesAServerThatIsAway(t *testing.T) {
	b := newBroker(t)
	addr := b.addrPort()
	b.close()
	f := device.NewFleet(addr, identities(5), nil)
	runFleet(t, f)
	wait(t, f, "failing", func(s device.FleetStats) bool { return s.Failures >= 5 })
}

func TestEmptyFleet(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := device.NewFleet(netip.AddrPort{}, nil, nil).Run(ctx); err != nil {
		t.Error(err)
	}
}

// However the stream is cut into reads, a peer does the same.
func TestFeedDoesNotMindWhereTheStreamIsCut(t *testing.T) {
	stream, err := device.Append(mqtt.V311, &mqtt.Connack{}, &mqtt.Suback{PacketID: 1, Reasons: []mqtt.ReasonCode{1}},
		&mqtt.Publish{Topic: "inbox", QoS: 1, PacketID: 5, Payload: []byte(`{"id":"5"}`)}, &mqtt.Pingresp{},
		&mqtt.Publish{Topic: "inbox", QoS: 1, PacketID: 6, Payload: bytes.Repeat([]byte("x"), 300)},
		&mqtt.Publish{Topic: "inbox", Payload: []byte(`{"id":"5"}`)})
	if err != nil {
		t.Fatal(err)
	}
	want, err := device.Append(mqtt.V311, &mqtt.Subscribe{PacketID: 1, Subscriptions: []mqtt.Subscription{{Filter: "inbox", QoS: 1}}},
		&mqtt.Ack{Type: mqtt.TypePuback, PacketID: 5}, &mqtt.Ack{Type: mqtt.TypePuback, PacketID: 6})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		cuts := rapid.SliceOfN(rapid.IntRange(0, len(stream)), 0, 12).Draw(t, "cuts")
		slices.Sort(cuts)
		var chunks [][]byte
		at := 0
		for _, c := range append(cuts, len(stream)) {
			// A fresh buffer that is spoiled afterwards would show a slice that was kept; clone keeps each chunk apart.
			chunks = append(chunks, bytes.Clone(stream[at:c]))
			at = c
		}
		f := device.NewFleet(netip.AddrPort{}, identities(1), nil)
		got, err := device.Feed(f, chunks...)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("got % x, want % x", got, want)
		}
		if s := f.Stats(); s.Messages != 3 || s.Duplicates != 1 || s.Connected != 1 {
			t.Fatalf("got %+v", s)
		}
	})
}

func TestFeedRefuses(t *testing.T) {
	for _, tt := range []struct {
		name    string
		packets []mqtt.Packet
		raw     []byte
	}{
		{"a SUBACK before CONNACK", []mqtt.Packet{&mqtt.Suback{PacketID: 1, Reasons: []mqtt.ReasonCode{1}}}, nil},
		{"two CONNACKs", []mqtt.Packet{&mqtt.Connack{}, &mqtt.Connack{}}, nil},
		{"a refused subscription", []mqtt.Packet{&mqtt.Connack{}, &mqtt.Suback{PacketID: 1, Reasons: []mqtt.ReasonCode{0x80}}}, nil},
		{"garbage", nil, []byte{0x00, 0x00}},
		{"a packet above the limit", nil, []byte{0x30, 0xff, 0xff, 0xff, 0x7f}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := device.Append(mqtt.V311, tt.packets...)
			if err != nil {
				t.Fatal(err)
			}
			f := device.NewFleet(netip.AddrPort{}, identities(1), nil)
			if _, err := device.Feed(f, append(b, tt.raw...)); err == nil {
				t.Error("got no error")
			}
		})
	}
}

func TestPeerIsSmall(t *testing.T) {
	if device.PeerSize > 128 {
		t.Errorf("a peer has %d bytes, want at most 128", device.PeerSize)
	}
}

func TestHistogram(t *testing.T) {
	var h device.Histogram
	if h.Percentile(50) != 0 || h.Mean() != 0 || h.Max() != 0 {
		t.Error("an empty histogram is not 0")
	}
	for i := range 10_000 {
		h.Record(time.Duration(i+1) * time.Millisecond)
	}
	h.Record(-time.Second)
	for _, tt := range []struct {
		p    float64
		want time.Duration
	}{{50, 5 * time.Second}, {99, 9900 * time.Millisecond}, {100, 10 * time.Second}} {
		if got := h.Percentile(tt.p); got < tt.want-tt.want/1000 || got > tt.want+tt.want/30 {
			t.Errorf("percentile %v: got %v, want %v and at most 3 %% more", tt.p, got, tt.want)
		}
	}
	if got, want := h.Max(), 10*time.Second; got != want {
		t.Errorf("got greatest %v, want %v", got, want)
	}
	if got := h.Count(); got != 10_001 {
		t.Errorf("got count %d", got)
	}
	h.Record(1000 * time.Hour) // beyond the last bucket
	if got, want := h.Percentile(100), 1000*time.Hour; got > want || got < time.Hour {
		t.Errorf("got %v", got)
	}
}

func TestLoopbackSources(t *testing.T) {
	got := device.LoopbackSources(45_000)
	if len(got) != 3 || got[0] != netip.MustParseAddr("127.0.1.1") || slices.Compact(slices.Clone(got))[2] != got[2] {
		t.Errorf("got %v", got)
	}
}
