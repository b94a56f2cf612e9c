package gateway_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillonpush/carillon/internal/gateway"
	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/internal/push"
)

func inAnHour() time.Time { return time.Now().Add(time.Hour) }

// What is held back from more devices than are remembered comes to all of them when the withdrawal was not committed.
func TestReadmittedBroadcastReachesEverybody(t *testing.T) {
	h, g := newHouse(t, nil)
	d := broadcast(1<<40, "back")
	settle := g.Withdraw(1, d.ID, nil, d.Expires)
	g.HoldBack(d, 5000) // devices that are gone by now
	w := serve(t, g)[0]
	var clients []*client
	for o := range push.Ordinal(3) {
		name := fmt.Sprint("dev", o)
		h.device(name, 10_000+o)
		h.owe(d, 10_000+o)
		c := newClient(t, w.dial(), mqtt.V5).connect(name, nil).subscribe(1)
		clients = append(clients, c)
		c.quiet()
	}
	h.until("all have asked", func() bool { return h.pages >= 3 })
	settle(false)
	for _, c := range clients {
		c.takes("back")
	}
}

// caughtUp returns a device that is subscribed and has read all that the record holds for it.
func caughtUp(t *testing.T, h *house, w way, o push.Ordinal) *client {
	h.device("dev", o)
	c := newClient(t, w.dial(), mqtt.V5).connect("dev", nil).subscribe(1)
	h.send(message(9_999, "first"), o)
	c.takes("first")
	soon(t, "caught up", func() bool { return !h.gw.Behind(1, o) })
	return c
}

func TestCommittedWithdrawalStandsUntilThePushExpires(t *testing.T) {
	var skew atomic.Int64
	h, g := newHouse(t, &gateway.Options{Now: func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }})
	c := caughtUp(t, h, serve(t, g)[0], 7)
	until := inAnHour()
	m := message(1, "withdrawn")
	m.Expires = until.Add(24 * time.Hour) // so that only the withdrawal holds it back
	settle := g.Withdraw(1, 1, nil, until)
	g.Post(7, m)
	c.quiet()
	if got, want := g.Remembered(), (gateway.Memory{Withdrawn: 1, Devices: 1}); got != want {
		t.Errorf("before the commit: got %+v, want %+v", got, want)
	}
	settle(true)
	settle(false)                       // said once
	g.Withdraw(1, 1, nil, until)(false) // a later one that failed does not undo it
	g.Post(7, m)
	c.quiet()
	if got, want := g.Remembered(), (gateway.Memory{Withdrawn: 1}); got != want {
		t.Errorf("after the commit: got %+v, want %+v", got, want)
	}
	skew.Store(int64(time.Hour))
	settle = g.Withdraw(1, 2, nil, until) // looks
	g.Post(7, m)
	c.takes("withdrawn")
	settle(true) // the push has expired meanwhile
	if got, want := g.Remembered(), (gateway.Memory{}); got != want {
		t.Errorf("after the expiry: got %+v, want %+v", got, want)
	}
}

// Of two withdrawals of one push that overlap, the second to fail lets it through.
func TestWithdrawalsOfOnePushOverlap(t *testing.T) {
	h, g := newHouse(t, nil)
	c := caughtUp(t, h, serve(t, g)[0], 7)
	one, two := g.Withdraw(1, 1, nil, inAnHour()), g.Withdraw(1, 1, nil, inAnHour())
	h.send(message(1, "m"), 7)
	one(false)
	c.quiet()
	two(false)
	c.takes("m")
}

// A withdrawal of some devices holds back theirs only, and each that stands holds for itself.
func TestWithdrawalsOfNamedDevices(t *testing.T) {
	h, g := newHouse(t, nil)
	w := serve(t, g)[0]
	id := push.ID(1 << 40)
	clients := map[push.Ordinal]*client{}
	for o := push.Ordinal(1); o <= 3; o++ {
		h.device(fmt.Sprint("dev", o), o)
		clients[o] = newClient(t, w.dial(), mqtt.V5).connect(fmt.Sprint("dev", o), nil).subscribe(1)
		clients[o].quiet()
	}
	// sends makes a message wait for all three and checks who gets it. Nobody else has it afterwards.
	sends := func(when string, to ...push.Ordinal) {
		t.Helper()
		d := broadcast(id, when)
		h.mu.Lock()
		h.pending = map[push.Ordinal][]*push.Delivery{}
		h.mu.Unlock()
		h.owe(d, 1, 2, 3)
		g.Broadcast(d, func(push.Ordinal) bool { return true })
		for o, c := range clients {
			if slices.Contains(to, o) {
				c.takes(when)
				h.until("settled", func() bool { return len(h.pending[o]) == 0 })
			}
			c.quiet()
		}
	}
	one, two, all := g.Withdraw(1, id, []push.Ordinal{1}, inAnHour()), g.Withdraw(1, id, []push.Ordinal{1, 2}, inAnHour()),
		g.Withdraw(1, id, nil, inAnHour())
	sends("all stand")
	one(true)
	sends("the first was committed")
	all(false) // as the end of a pause
	clients[3].takes("the first was committed")
	clients[2].quiet()
	two(false)
	clients[2].takes("the first was committed")
	clients[1].quiet()
	h.until("settled", func() bool { return len(h.pending[2])+len(h.pending[3]) == 0 })

	id++
	g.Withdraw(1, id, []push.Ordinal{}, inAnHour())(true) // nobody's
	g.Withdraw(1, id, []push.Ordinal{1}, inAnHour())(true)
	g.Withdraw(1, id, []push.Ordinal{1, 2}, inAnHour())(false)
	g.Withdraw(1, id, nil, inAnHour())(false)
	g.Withdraw(1, id, []push.Ordinal{3}, inAnHour())(true)
	sends("two are withdrawn", 2)
	id++
	g.Withdraw(1, id, []push.Ordinal{3}, inAnHour())(true)
	g.Withdraw(1, id, nil, inAnHour())(true)
	g.Withdraw(1, id, []push.Ordinal{3}, inAnHour())(false)
	sends("all are withdrawn")
	if got, want := g.Remembered(), (gateway.Memory{Withdrawn: 3}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A push that is paused costs its note and no more, however many are held back for however long, and comes to all of them.
func TestAWithdrawalMayStandForLong(t *testing.T) {
	var skew atomic.Int64
	h, g := newHouse(t, &gateway.Options{Now: func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }})
	c := caughtUp(t, h, serve(t, g)[0], 70_000)
	d := broadcast(1<<40, "paused")
	d.Expires = time.Now().Add(1000 * time.Hour)
	h.owe(d, 70_000)
	settle := g.Withdraw(1, d.ID, nil, d.Expires)
	for range 3 {
		g.HoldBack(d, 50_000)
	}
	g.Post(70_000, d)
	c.quiet()
	if got, want := g.Remembered(), (gateway.Memory{Withdrawn: 1}); got != want {
		t.Errorf("got %+v, want %+v: nobody in particular", got, want)
	}
	skew.Store(int64(48 * time.Hour))
	g.Withdraw(1, 1<<41, nil, inAnHour())(true) // looks for what is over
	g.Post(70_000, d)
	c.quiet()
	settle(false)
	c.takes("paused")
	if got := g.Remembered().Withdrawn; got > 1 {
		t.Errorf("%d pushes are remembered after the end of the pause, want none of it", got)
	}
}

// What is committed is forgotten when the push expires, whatever is still open.
func TestWithdrawalsEndEachForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, g := newHouse(t, nil)
		d := broadcast(1<<40, "m")
		at := func(d time.Duration) time.Time { return time.Now().Add(d) }
		pause := g.Withdraw(1, d.ID, nil, at(time.Minute))
		g.Withdraw(1, d.ID, []push.Ordinal{1}, at(time.Minute))(true)
		g.Withdraw(1, d.ID, nil, at(time.Minute))(true)
		time.Sleep(2 * time.Minute) // ok: the bubble's time
		synctest.Wait()
		g.HoldBack(d, 3)
		if got, want := g.Remembered(), (gateway.Memory{Withdrawn: 1, Devices: 3}); got != want {
			t.Errorf("while the pause stands: got %+v, want %+v", got, want)
		}
		pause(false)
		if got, want := g.Remembered(), (gateway.Memory{}); got != want {
			t.Errorf("in the end: got %+v, want %+v", got, want)
		}
	})
}

// A withdrawal of some devices waits for the copies of those alone that are being handed over.
func TestWithdrawOfNamedDevicesWaitsForTheirCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, g := newHouse(t, nil)
		begun, release, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		go func() {
			ended <- g.Stream(context.Background(), h.device("dev", 7), func([]byte) error {
				begun <- struct{}{}
				<-release
				return nil
			})
		}()
		synctest.Wait()
		h.send(message(1, "m"), 7)
		<-begun
		start := time.Now()
		g.Withdraw(1, 1, []push.Ordinal{6, 8}, inAnHour())(true)
		if got := time.Since(start); got != 0 {
			t.Errorf("waited %v for a copy of another device", got)
		}
		go func() {
			time.Sleep(time.Second) // ok: the bubble's time
			close(release)
		}()
		g.Withdraw(1, 1, []push.Ordinal{7}, inAnHour())(true)
		if got := time.Since(start); got != time.Second {
			t.Errorf("returned after %v, want 1 s: the copy was being handed over", got)
		}
		go g.Close()
		<-ended
	})
}

func TestWithdrawnPushesAreForgottenByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, g := newHouse(t, nil)
		for id := range push.ID(1000) {
			g.Withdraw(1, id+1, nil, time.Now().Add(time.Duration(1000-id)*time.Second))(true)
		}
		g.Withdraw(1, 5000, nil, time.Time{})(true) // never expires
		open := g.Withdraw(1, 5001, nil, time.Now().Add(time.Second))
		time.Sleep(500*time.Second + time.Millisecond) // ok: the bubble's time
		synctest.Wait()
		if got := g.Remembered().Withdrawn; got != 502 {
			t.Errorf("after half of the time: got %d pushes, want 500, the one that never expires and the one not settled", got)
		}
		open(true)
		time.Sleep(501 * time.Second) // ok: the bubble's time
		synctest.Wait()
		if got := g.Remembered().Withdrawn; got != 1 {
			t.Errorf("in the end: got %d pushes, want the one that never expires", got)
		}
	})
}

// withdraw calls Withdraw in a goroutine and returns what tells that it has returned.
func withdraw(g *gateway.Gateway, id push.ID) (returned *atomic.Bool) {
	returned = new(atomic.Bool)
	go func() {
		settle := g.Withdraw(1, id, nil, inAnHour())
		returned.Store(true)
		settle(true)
	}()
	return returned
}

func TestWithdrawIsABarrier(t *testing.T) {
	for i, name := range []string{"TCP", "TLS", "WebSocket"} {
		t.Run(name, func(t *testing.T) {
			h, g := newHouse(t, nil)
			testBarrier(t, h, g, serve(t, g)[i])
		})
	}
}

func testBarrier(t *testing.T, h *house, g *gateway.Gateway, w way) {
	const devices, rounds = 20, 50
	clients := make([]*client, devices)
	for o := range clients {
		name := fmt.Sprint("dev", o)
		h.device(name, push.Ordinal(o))
		clients[o] = newClient(t, w.dial(), mqtt.V311).connect(name, nil).subscribe(0)
	}
	for _, c := range clients {
		c.quiet()
		go io.Copy(io.Discard, c.nc)
	}
	everybody := func(push.Ordinal) bool { return true }
	for round := range push.ID(rounds) {
		d := broadcast(round+1, "x")
		if round%2 == 0 {
			d.Kind = push.Direct
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if d.Kind == push.Bulk {
					g.Broadcast(d, everybody)
					return
				}
				for o := range push.Ordinal(devices) {
					g.Post(o, d)
				}
			})
		}
		for g.Stats().Written == 0 { // at least the first round withdraws in the middle
			continue
		}
		settle := g.Withdraw(1, d.ID, nil, d.Expires)
		at := g.Stats().Written
		wg.Wait()
		settle(true)
		g.Broadcast(d, everybody)
		if after := g.Stats().Written; after != at {
			t.Fatalf("round %d: %d copies written after Withdraw had returned", round, after-at)
		}
	}
}

func TestWithdrawWaitsForCopiesThatAreHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, g := newHouse(t, nil)
		begun, release := make(chan string), make(chan struct{})
		ended := make(chan error, 1)
		go func() {
			ended <- g.Stream(context.Background(), h.device("dev", 7), func(p []byte) error {
				begun <- string(p)
				<-release
				return nil
			})
		}()
		synctest.Wait()
		h.send(message(1, "one"), 7)
		h.send(message(2, "two"), 7)
		<-begun
		one, two := withdraw(g, 1), withdraw(g, 2)
		synctest.Wait()
		if one.Load() || !two.Load() {
			t.Errorf("returned %t and %t, want false and true: the first push is being handed over", one.Load(), two.Load())
		}
		time.Sleep(time.Second) // ok: the bubble's time
		if one.Load() {
			t.Error("returned while the copy was being handed over")
		}
		release <- struct{}{}
		synctest.Wait()
		if !one.Load() {
			t.Error("has not returned though the copy was handed over")
		}
		if s := g.Stats(); s.Written != 1 || s.HeldBack != 1 || s.Slow != 0 {
			t.Errorf("written %d, held back %d, slow %d; want 1, 1 and 0", s.Written, s.HeldBack, s.Slow)
		}
		go g.Close()
		<-ended
	})
}

func TestWithdrawCutsAConnectionThatTakesTooLong(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house, dial func(mqtt.Version) *client) {
		h.device("dev", 7)
		c := dial(mqtt.V311).connect("dev", nil).subscribe(1)
		synctest.Wait()
		h.send(message(1, strings.Repeat("x", 100)), 7)
		if _, err := io.ReadFull(c.nc, make([]byte, 50)); err != nil { // the pipe has no buffer: half is out
			t.Fatal(err)
		}
		start := time.Now()
		h.gw.Withdraw(1, 1, nil, inAnHour())(true)
		if got := time.Since(start); got != 2*time.Second {
			t.Errorf("returned after %v, want 2 s", got)
		}
		if n, err := io.Copy(io.Discard, c.nc); n != 0 || err != nil {
			t.Errorf("%d bytes came after Withdraw had returned, %v; want the end of the connection", n, err)
		}
		if s := h.gw.Stats(); s.Slow != 1 || s.Written != 0 {
			t.Errorf("slow %d, written %d; want 1 and 0", s.Slow, s.Written)
		}
	})
}

// A stream cannot be cut while its writer does not return: Withdraw does not wait for it forever.
func TestWithdrawDoesNotWaitForAStuckStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, g := newHouse(t, nil)
		begun, release, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		go func() {
			ended <- g.Stream(context.Background(), h.device("dev", 7), func([]byte) error {
				close(begun)
				<-release
				return nil
			})
		}()
		synctest.Wait()
		h.send(message(1, "m"), 7)
		<-begun
		start := time.Now()
		g.Withdraw(1, 1, nil, inAnHour())(true)
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("returned after %v, want 2 s for the copy and 1 s for the cut", got)
		}
		start = time.Now()
		close(release)
		if err := <-ended; err != nil {
			t.Errorf("Stream: got %v, want nil", err)
		}
		if got := time.Since(start); got != 0 || g.IsOnline(1, 7) {
			t.Errorf("the stream ended %v after its write, online %v, want at once", got, g.IsOnline(1, 7))
		}
	})
}

// TLS is cut too, where the kernel's buffers are full.
func TestWithdrawCutsTLSThatTakesTooLong(t *testing.T) {
	h, g := newHouse(t, &gateway.Options{WithdrawTimeout: 20 * time.Millisecond, MaxQueue: 64 << 20})
	h.device("dev", 7)
	c := newClient(t, serve(t, g)[1].dial(), mqtt.V311).connect("dev", nil).subscribe(1)
	huge := strings.Repeat("x", 32<<20) // more than the kernel takes
	h.send(message(1, huge), 7)
	for !g.HandingOver(1, 1) {
		time.Sleep(time.Millisecond) // ok: polled until the read has come to it
	}
	g.Withdraw(1, 1, nil, inAnHour())(true)
	if g.HandingOver(1, 1) {
		t.Error("still being handed over after Withdraw had returned")
	}
	if p, err := c.read(); err == nil {
		t.Errorf("got a whole %T of the withdrawn push", p)
	}
	if s := g.Stats(); s.Slow != 1 || s.Written != 0 {
		t.Errorf("slow %d, written %d; want 1 and 0", s.Slow, s.Written)
	}
}
