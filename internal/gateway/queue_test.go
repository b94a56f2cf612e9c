package gateway_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/gateway"
	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/internal/push"
)

// A jam is a record whose queue is full for the receipts of one push.
type jam struct {
	id      push.ID
	waiting chan struct{} // closed when a receipt waits
	room    chan struct{} // closed to let it through
	once    sync.Once
}

func (h *house) jam(id push.ID) *jam {
	j := &jam{id: id, waiting: make(chan struct{}), room: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onQueue = func(rs []push.Receipt) {
		if rs[len(rs)-1].Push == j.id {
			j.once.Do(func() { close(j.waiting) })
			<-j.room
		}
	}
	return j
}

// returns checks that f does.
func returns(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Errorf("%s waits for room in the record's queue", what)
	}
}

// The committer makes room in the queue when it is through, and it calls Settled: so nobody may wait for room with
// something that Settled, or a poster whom Settled waits for, needs.
func TestReceiptsThatWaitForRoomStopNobody(t *testing.T) {
	for _, qos := range []mqtt.QoS{0, 1} {
		everyWay(t, &gateway.Options{MaxQueue: 4 << 20}, func(t *testing.T, h *house, dial func() *client) {
			ref := h.device("dev", 7)
			c := dial().connect("dev", nil).subscribe(qos)
			h.send(message(100, "first"), 7)
			c.takes("first") // caught up, so that what is posted does not come from the record
			h.until("first is delivered", func() bool { return len(h.pending[7]) == 0 })
			j := h.jam(20)
			release := sync.OnceFunc(func() { close(j.room) })
			var poster sync.WaitGroup
			defer poster.Wait()
			defer release()
			poster.Go(func() { clog(h, 7) }) // where the kernel takes it all, it is the poster who waits
			drainTo(c, 20)
			<-j.waiting // the writer, which has emptied its queue
			returns(t, "Post", func() { h.gw.Post(7, message(101, "next")) })
			if t.Failed() {
				return // c.mu is held
			}
			returns(t, "Settled", func() {
				h.gw.Settled([]push.Receipt{{App: 1, Push: 1, Ordinal: 7, Mark: push.MarkDelivered}})
			})
			returns(t, "Wake", func() { h.gw.Wake(ref.App, ref.Ordinal) })
			returns(t, "Withdraw", func() { h.gw.Withdraw(1, 102, nil, inAnHour())(false) })
			release()
			c.takes("next")
		})
	}
}

// A writer that waits for a full socket has posted the receipts of what it wrote before.
func TestReceiptsDoNotWaitForTheSocket(t *testing.T) {
	h, g := newHouse(t, &gateway.Options{MaxQueue: 4 << 20})
	h.device("dev", 7)
	c := newClient(t, serve(t, g)[0].dial(), mqtt.V5).connect("dev", nil).subscribe(1)
	h.send(message(100, "first"), 7)
	c.takes("first")
	clog(h, 7)
	for id := push.ID(5); id <= 10; id++ {
		drainTo(c, id)
		h.until("what has arrived is sent", func() bool { return h.has(id, 7, push.MarkSent) })
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.has(20, 7, push.MarkSent) {
		t.Error("the socket took everything, so that this test tests nothing")
	}
}

func TestReceiptsOfOneMomentArePostedTogether(t *testing.T) {
	everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
		var (
			mu    sync.Mutex
			calls [][]push.Receipt
		)
		h.onQueue = func(rs []push.Receipt) {
			mu.Lock()
			defer mu.Unlock()
			calls = append(calls, append([]push.Receipt(nil), rs...))
		}
		h.device("dev", 7)
		c := dial().connect("dev", nil).subscribe(0)
		h.send(message(1, "m"), 7)
		c.takes("m")
		h.until("unconfirmed", func() bool { return h.has(1, 7, push.MarkUnconfirmed) })
		mu.Lock()
		defer mu.Unlock()
		if len(calls) != 1 || len(calls[0]) != 3 {
			t.Errorf("got %v, want sent, delivered and unconfirmed in one call", calls)
		}
	})
}

// Acknowledgements that cross the server's good-bye are taken, also if part of one came before it.
func TestDrainTakesLastAcknowledgements(t *testing.T) {
	everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
		h.device("dev", 7)
		c := dial().connect("dev", nil).subscribe(1)
		h.send(message(1, "one"), 7)
		h.send(message(2, "two"), 7)
		h.send(message(3, "three"), 7)
		var acks []byte
		for range 3 {
			b, err := (&mqtt.Ack{Type: mqtt.TypePuback, PacketID: next[*mqtt.Publish](c).PacketID}).Append(nil, c.v)
			if err != nil {
				t.Fatal(err)
			}
			acks = append(acks, b...)
		}
		write := func(b []byte) {
			if _, err := c.nc.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		write(acks[:6]) // one and a half
		h.until("one is delivered", func() bool { return h.has(1, 7, push.MarkDelivered) })
		done := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			done <- h.gw.Drain(ctx)
		}()
		h.until("ended", func() bool { return len(h.presence[7]) == 2 })
		write(acks[6:10]) // the rest of the second and half of the third
		if _, ok := c.nc.(*wsConn); ok {
			write(acks[10:]) // nothing may follow the answer to a close frame
			c.gone(mqtt.ServerShuttingDown)
		} else {
			c.gone(mqtt.ServerShuttingDown)
			write(acks[10:])
		}
		h.until("all are delivered", func() bool { return h.has(2, 7, push.MarkDelivered) && h.has(3, 7, push.MarkDelivered) })
		c.nc.Close()
		if err := <-done; err != nil {
			t.Errorf("Drain: %v", err)
		}
		if s := h.gw.Stats(); s.Violations != 0 || s.Acked != 3 {
			t.Errorf("violations %d, acknowledged %d; want 0 and 3", s.Violations, s.Acked)
		}
	})
}

// A connection that was ended because its device was removed or replaced has nothing to say any more.
func TestAcknowledgementsAfterRevocationAreNotTaken(t *testing.T) {
	everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
		ref := h.device("dev", 7)
		c := dial().connect("dev", nil).subscribe(1)
		h.send(message(1, "m"), 7)
		p := next[*mqtt.Publish](c)
		h.gw.Disconnect(ref)
		c.gone(mqtt.AdministrativeAction)
		c.ack(p)
		c.nc.Close()
		if err := h.gw.Drain(t.Context()); err != nil {
			t.Errorf("Drain: %v", err)
		}
		h.until("sent", func() bool { return h.has(1, 7, push.MarkSent) })
		if s := h.gw.Stats(); s.Acked != 0 {
			t.Errorf("acknowledged: got %d, want 0", s.Acked)
		}
	})
}

// A device that is removed after it has proved who it is, and before Disconnect can find it, gets nothing.
func TestStreamOfADeviceThatWasJustRemoved(t *testing.T) {
	h, g := newHouse(t, nil)
	ref := h.device("dev", 7)
	h.owe(message(1, "secret"), 7)
	h.removed[ref] = true
	g.Disconnect(ref) // finds nobody
	err := g.Stream(t.Context(), ref, func([]byte) error {
		t.Error("a message for a device that was removed")
		return nil
	})
	if err != nil {
		t.Errorf("Stream: got %v, want nil: the device was told to go", err)
	}
	if g.IsOnline(1, 7) {
		t.Error("still online")
	}
}

func TestIsOnline(t *testing.T) {
	h, g := newHouse(t, nil)
	h.device("dev", 7)
	c := newClient(t, serve(t, g)[0].dial(), mqtt.V5).connect("dev", nil)
	for _, tt := range []struct {
		name string
		app  push.AppID
		o    push.Ordinal
		want bool
	}{{"connected", 1, 7, true}, {"another device", 1, 8, false}, {"another app", 2, 7, false}} {
		if got := g.IsOnline(tt.app, tt.o); got != tt.want {
			t.Errorf("%s: got %t, want %t", tt.name, got, tt.want)
		}
	}
	c.write(&mqtt.Disconnect{})
	h.until("gone", func() bool { return len(h.presence[7]) == 2 })
	if g.IsOnline(1, 7) {
		t.Error("online after it has gone")
	}
}
