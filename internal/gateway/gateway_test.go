package gateway_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/carillonpush/carillon/internal/gateway"
	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/internal/push"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// everyWay runs a test over each transport in each version.
func everyWay(t *testing.T, opts *gateway.Options, test func(t *testing.T, h *house, dial func() *client)) {
	for i := range 3 {
		for _, v := range []mqtt.Version{mqtt.V311, mqtt.V5} {
			t.Run(fmt.Sprint([]string{"TCP", "TLS", "WebSocket"}[i], " ", v), func(t *testing.T) {
				h, g := newHouse(t, opts)
				w := serve(t, g)[i]
				test(t, h, func() *client { return newClient(t, w.dial(), v) })
			})
		}
	}
}

func TestWhatIsOwedComesFirstThenWhatIsNew(t *testing.T) {
	everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
		h.device("dev", 7)
		var want []string
		for id := range push.ID(100) {
			h.owe(message(id+1, fmt.Sprint("m", id+1)), 7)
			want = append(want, fmt.Sprint("m", id+1))
		}
		c := dial().connect("dev", nil)
		c.quiet() // nothing comes before SUBSCRIBE
		c.subscribe(1).takes(want...)
		h.until("all are delivered", func() bool { return len(h.pending[7]) == 0 })
		h.send(message(200, "new"), 7)
		c.takes("new")
		h.until("sent and delivered", func() bool {
			return h.has(200, 7, push.MarkSent) && h.has(200, 7, push.MarkDelivered) && !h.has(200, 7, push.MarkUnconfirmed)
		})
		c.quiet()
	})
}

func TestQoS0IsDeliveredWhenWritten(t *testing.T) {
	everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
		h.device("dev", 7)
		h.owe(message(1, "old"), 7)
		c := dial().connect("dev", nil).subscribe(0)
		c.takes("old")
		h.send(message(2, "new"), 7)
		c.takes("new")
		h.until("unconfirmed", func() bool {
			return h.has(2, 7, push.MarkSent) && h.has(2, 7, push.MarkDelivered) && h.has(2, 7, push.MarkUnconfirmed)
		})
	})
}

func TestWindowIsFilledAgainAsItEmpties(t *testing.T) {
	everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
		h.device("dev", 7)
		c := dial().connect("dev", nil).subscribe(1)
		for id := range push.ID(100) {
			h.send(message(id+1, fmt.Sprint("m", id+1)), 7)
		}
		var first []*mqtt.Publish
		for range 32 {
			p := next[*mqtt.Publish](c)
			p.Payload = bytes.Clone(p.Payload)
			first = append(first, p)
		}
		c.quiet() // the thirty-third waits in the record
		for i, p := range first {
			if got, want := string(p.Payload), fmt.Sprint("m", i+1); got != want {
				t.Fatalf("message %d: got %q, want %q", i, got, want)
			}
			c.ack(p)
		}
		for id := 33; id <= 100; id++ {
			c.takes(fmt.Sprint("m", id))
		}
		h.until("all are delivered", func() bool { return len(h.pending[7]) == 0 })
	})
}

func TestNewestConnectionOfADeviceWins(t *testing.T) {
	everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
		h.device("dev", 7)
		old := dial().connect("dev", nil).subscribe(1)
		h.send(message(1, "m"), 7)
		next[*mqtt.Publish](old) // not acknowledged
		newer := dial().connect("dev", nil).subscribe(1)
		old.gone(mqtt.SessionTakenOver)
		newer.takes("m")
		h.until("delivered", func() bool { return h.has(1, 7, push.MarkDelivered) })
		h.mu.Lock()
		if got := h.presence[7]; !slices.Equal(got, []bool{true}) {
			t.Errorf("presence: got %v, want that it came once", got)
		}
		h.mu.Unlock()
		if got := h.gw.Online(1).Len(); got != 1 {
			t.Errorf("online: got %d, want 1", got)
		}
		newer.write(&mqtt.Disconnect{})
		h.until("gone", func() bool { return slices.Equal(h.presence[7], []bool{true, false}) })
		if got := h.gw.Online(1).Len(); got != 0 {
			t.Errorf("online: got %d, want 0", got)
		}
	})
}

func TestPostWhileTheRecordIsReadIsNotLost(t *testing.T) {
	h, g := newHouse(t, nil)
	h.device("dev", 7)
	h.hold = make(chan struct{})
	c := newClient(t, serve(t, g)[0].dial(), mqtt.V5).connect("dev", nil).subscribe(1)
	h.until("the record is read", func() bool { return h.pages == 1 })
	h.send(message(1, "meanwhile"), 7)
	close(h.hold)
	c.takes("meanwhile")
	c.quiet()
}

func TestWrongSecretIsRefused(t *testing.T) {
	everyWay(t, &gateway.Options{FailDelay: time.Millisecond}, func(t *testing.T, h *house, dial func() *client) {
		h.device("dev", 7)
		c := dial()
		c.write(&mqtt.Connect{ClientID: "c", CleanStart: true, HasUsername: true, Username: "dev", HasPassword: true, Password: []byte("x")})
		if got := next[*mqtt.Connack](c).Reason; got != mqtt.BadUserNameOrPassword {
			t.Errorf("CONNACK: got %v, want bad user name or password", got)
		}
		if got := h.gw.Online(1).Len(); got != 0 {
			t.Errorf("online: got %d, want 0", got)
		}
	})
}

func TestRevokedDeviceIsToldToGo(t *testing.T) {
	everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
		ref := h.device("dev", 7)
		c := dial().connect("dev", nil)
		other := ref
		other.Generation = 2
		h.gw.Disconnect(other) // another device
		c.quiet()
		h.gw.Disconnect(ref)
		c.gone(mqtt.AdministrativeAction)
	})
}

func TestDrainTellsDevicesToGo(t *testing.T) {
	everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
		h.device("dev", 7)
		c := dial().connect("dev", nil)
		done := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			done <- h.gw.Drain(ctx)
		}()
		c.gone(mqtt.ServerShuttingDown)
		c.nc.Close()
		if err := <-done; err != nil {
			t.Errorf("Drain: %v", err)
		}
		if s := h.gw.Stats(); s.Connections != 0 || s.Online != 0 {
			t.Errorf("after Drain: %+v, want nobody", s)
		}
	})
}

func TestEventsAreAcknowledgedWhenRecorded(t *testing.T) {
	everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
		h.device("dev", 7)
		release := make(chan struct{})
		h.event = func(id push.ID) error {
			<-release
			if id == 404 {
				return push.NotFound
			}
			return nil
		}
		c := dial().connect("dev", nil)
		for i := range uint16(3) {
			c.write(&mqtt.Publish{Topic: "event", QoS: 1, PacketID: i + 1, Payload: []byte(`{"push":"42","event":"opened"}`)})
		}
		c.quiet() // the connection works while they wait
		close(release)
		for i := range uint16(3) {
			if a := next[*mqtt.Ack](c); a.PacketID != i+1 || a.Reason != mqtt.Success {
				t.Errorf("got %+v, want PUBACK %d", a, i+1)
			}
		}
		h.until("recorded", func() bool { return h.has(42, 7, push.MarkOpened) })
		c.write(&mqtt.Publish{Topic: "event", QoS: 1, PacketID: 9, Payload: []byte(`{"push":"404","event":"opened"}`)})
		if c.v == mqtt.V5 {
			if a := next[*mqtt.Ack](c); a.PacketID != 9 || a.Reason != mqtt.NotAuthorized {
				t.Errorf("got %+v, want PUBACK 9 not authorized", a)
			}
			return
		}
		c.gone(0)
	})
}

func TestMessageAboveTheClientsPacketSizeIsDropped(t *testing.T) {
	h, g := newHouse(t, nil)
	h.device("dev", 7)
	h.owe(message(1, strings.Repeat("x", 500)), 7)
	h.owe(message(2, "small"), 7)
	c := newClient(t, serve(t, g)[0].dial(), mqtt.V5).connect("dev", &mqtt.Properties{MaximumPacketSize: 200}).subscribe(1)
	c.takes("small")
	h.until("dropped", func() bool { return h.has(1, 7, push.MarkTooLarge) && len(h.pending[7]) == 0 })
}

func TestFullServerRefuses(t *testing.T) {
	h, g := newHouse(t, &gateway.Options{MaxConnections: 1})
	h.device("dev", 7)
	w := serve(t, g)[0]
	newClient(t, w.dial(), mqtt.V5).connect("dev", nil)
	c := newClient(t, w.dial(), mqtt.V5)
	c.write(&mqtt.Connect{ClientID: "c", CleanStart: true})
	if got := next[*mqtt.Connack](c).Reason; got != mqtt.ConnectionRateExceeded {
		t.Errorf("CONNACK: got %v, want connection rate exceeded", got)
	}
}

func TestStream(t *testing.T) {
	h, g := newHouse(t, nil)
	ref := h.device("dev", 7)
	for id := range push.ID(40) {
		h.owe(message(id+1, fmt.Sprint("m", id+1)), 7)
	}
	got := make(chan string, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- g.Stream(context.Background(), ref, func(p []byte) error {
			got <- string(p)
			return nil
		})
	}()
	for id := range push.ID(40) { // more than a window: each needs the receipts before it
		if p := <-got; p != fmt.Sprint("m", id+1) {
			t.Fatalf("got %q, want m%d", p, id+1)
		}
		if err := h.Event(t.Context(), ref, id+1, push.MarkDelivered); err != nil {
			t.Fatal(err)
		}
	}
	h.until("all sent", func() bool { return h.has(40, 7, push.MarkSent) })
	newClient(t, serve(t, g)[0].dial(), mqtt.V5).connect("dev", nil)
	if err := <-ended; err != nil {
		t.Errorf("Stream: got %v, want nil: another connection took over", err)
	}
	if len(got) > 0 {
		t.Errorf("%d payloads more than were owed", len(got))
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- g.Stream(ctx, ref, func([]byte) error { return nil }) }()
	h.until("stream took over", func() bool { return g.Stats().TakenOver == 2 })
	cancel()
	if err := <-ended; err != context.Canceled {
		t.Errorf("Stream: got %v, want context canceled", err)
	}
}

func TestDrainEndsConnectionsThatNeverSpoke(t *testing.T) {
	h, g := newHouse(t, &gateway.Options{Linger: 10 * time.Millisecond})
	ref := h.device("dev", 7)
	ways := serve(t, g)
	for _, w := range ways[:2] { // of TLS not even the handshake
		nc := w.dial()
		defer nc.Close()
	}
	for g.Stats().Connections < 2 {
		runtime.Gosched()
	}
	release, ended := make(chan struct{}), make(chan error, 1)
	h.owe(message(1, "m"), 7)
	began := make(chan struct{})
	go func() {
		ended <- g.Stream(context.Background(), ref, func([]byte) error {
			close(began)
			<-release
			return nil
		})
	}()
	<-began
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	time.AfterFunc(100*time.Millisecond, func() { close(release) })
	if err := g.Drain(ctx); err != context.DeadlineExceeded {
		t.Errorf("Drain: got %v, want that its time was up: a stream was being written", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Stream: got %v, want nil", err)
	}
	if err := g.Stream(t.Context(), ref, nil); err != gateway.ErrClosed {
		t.Errorf("Stream after Drain: got %v, want ErrClosed", err)
	}
}

func TestWakeHasTheRecordAsked(t *testing.T) {
	h, g := newHouse(t, nil)
	ref := h.device("dev", 7)
	c := newClient(t, serve(t, g)[0].dial(), mqtt.V5).connect("dev", nil)
	g.Wake(ref.App, ref.Ordinal) // not subscribed: nothing is asked
	c.subscribe(1)
	h.until("caught up", func() bool { return h.pages == 1 })
	h.owe(message(1, "m"), 7) // nobody posts it
	g.Wake(ref.App, ref.Ordinal)
	c.takes("m")
	g.Wake(1, 99) // not here
}

// What the house holds at its door is passed over, whatever comes after it; once it may leave, Wake has it come.
func TestWhatIsHeldAtTheDoorComesWhenItMay(t *testing.T) {
	everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
		ref := h.device("dev", 7)
		h.mu.Lock()
		h.atDoor = map[push.ID]bool{2: true}
		h.mu.Unlock()
		for id := range push.ID(40) { // more than a page
			h.owe(message(id+1, fmt.Sprint("m", id+1)), 7)
		}
		c := dial().connect("dev", nil).subscribe(1)
		for id := 1; id <= 40; id++ {
			if id != 2 {
				c.takes(fmt.Sprint("m", id))
			}
		}
		h.send(message(41, "new"), 7) // the connection has caught up
		c.takes("new")
		g := h.gw
		g.Wake(ref.App, ref.Ordinal)
		c.quiet()
		h.mu.Lock()
		h.atDoor = nil
		h.mu.Unlock()
		g.Wake(ref.App, ref.Ordinal)
		c.takes("m2")
	})
}

// A bulk push may come to one device after the other, and with the device's own payload: its packet identifier is that of the
// push, as if it were broadcast.
func TestPostOfABulkPushIsLikeABroadcast(t *testing.T) {
	everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
		h.device("ann", 7)
		h.device("bob", 8)
		all := map[push.Ordinal]*client{7: dial().connect("ann", nil).subscribe(1), 8: dial().connect("bob", nil).subscribe(1)}
		id := push.ID(1 << 40)
		receives := func(o push.Ordinal, payload string) {
			t.Helper()
			p := next[*mqtt.Publish](all[o])
			if string(p.Payload) != payload || p.PacketID != gateway.BroadcastID(id) {
				t.Errorf("got %q with identifier %d, want %q with %d", p.Payload, p.PacketID, payload, gateway.BroadcastID(id))
			}
			all[o].ack(p)
		}
		for o, payload := range map[push.Ordinal]string{7: "for ann", 8: "for bob"} {
			h.send(broadcast(id, payload), o)
			receives(o, payload)
		}
		h.until("delivered", func() bool { return h.has(id, 7, push.MarkDelivered) && h.has(id, 8, push.MarkDelivered) })
		h.until("nothing waits", func() bool { return len(h.pending[7])+len(h.pending[8]) == 0 })

		// What waits in the record comes with the same identifier, whether it was posted or not.
		id++
		d := broadcast(id, "paced")
		h.owe(d, 7, 8)
		h.gw.Post(7, d)
		receives(7, "paced")
		h.gw.Broadcast(d, func(o push.Ordinal) bool { return o == 8 })
		receives(8, "paced")
		all[7].quiet()
	})
}

func TestStreamEndsWithItsWritersError(t *testing.T) {
	h, g := newHouse(t, nil)
	ref := h.device("dev", 7)
	h.owe(message(1, "m"), 7)
	if err := g.Stream(t.Context(), ref, func([]byte) error { return io.ErrClosedPipe }); err != io.ErrClosedPipe {
		t.Errorf("Stream: got %v, want the writer's error", err)
	}
	if got := h.gw.Online(1).Len(); got != 0 {
		t.Errorf("online: got %d, want 0", got)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.pending[7]) != 1 || h.has(1, 7, push.MarkSent) {
		t.Errorf("pending %d, marks %b; want it pending and not sent", len(h.pending[7]), h.marks[1][7])
	}
}
