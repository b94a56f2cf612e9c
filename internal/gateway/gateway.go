// Package gateway is where devices are connected: MQTT 3.1.1 and 5.0 over TCP, TLS and WebSocket, and server-sent events.
//
// It keeps nothing that the record keeps. What a device is owed is read when it subscribes, and again whenever there is
// room for what could not be taken before; what is posted meanwhile to a connection that cannot take it only leaves a note
// that there is more. So a slow device costs a bounded queue, and a lost one nothing.
//
// The protocol of one connection is a session, which does no I/O. Around it is a thin shell: a goroutine that reads, the
// poster's own goroutine that writes as long as the socket takes it, and one that writes while it does not.
//
// Order of locks: a shard's presence, under which a connection that is taken over is ended; a shard's map, a connection, its
// descriptor's (which RawConn.Write holds while it runs its function, and while it waits for the socket), a lane of the
// gate. A desk, where what devices say waits, comes after a connection and before none. One goroutine takes the two of a
// connection the other way round: its writer. Nobody waits for it there, since with the connection locked the descriptor is
// asked for only while there is no writer, and a writer that has said that it is none does not lock the connection in there
// again. House.Receipt is called under none of them, because it may wait for a commit, whose caller waits for a connection
// in Settled; so Settled and Wake leave nobody's receipts to be posted by whoever comes next. House.Presence is called under
// the first, so that its calls come in order: it may call Online, IsOnline and Wake, but not Disconnect. House.Event and
// the methods of Labels are called under none, one call a device at a time, in the order in which the device has spoken; they may
// call Disconnect.
package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// ErrClosed is returned by Serve and Stream when the gateway was told to drain or close.
var ErrClosed = errors.New("gateway: closed")

// Options are the settings of a Gateway. Zero values mean the defaults given.
type Options struct {
	MaxConnections int           // above it a CONNECT is refused; 1,000,000
	MaxQueue       int           // bytes of messages that wait for one socket; 256 KiB
	MaxPacket      int           // bytes of an inbound packet; 64 KiB
	MaxDrains      int           // devices for which the record is read at a time; 256
	Window         int           // messages under way to one device; 32
	MaxKeepAlive   time.Duration // what a 5.0 client is told when it asks for more, or for none; 20 min, whole seconds
	ConnectTimeout time.Duration // until the CONNECT is complete; 10 s
	AckTimeout     time.Duration // until a message is acknowledged; 60 s
	WriteTimeout   time.Duration // how long a socket may accept nothing; 30 s
	FailDelay      time.Duration // before a wrong secret is answered; 250 ms
	Linger         time.Duration // how long a connection that is told to go may take; 1 s
	Now            func() time.Time
	Log            *slog.Logger // nil discards

	// WithdrawTimeout is how long Withdraw waits for a copy that is being handed to a connection which may block, before it
	// cuts that connection; 2 s, at most WriteTimeout.
	WithdrawTimeout time.Duration
}

func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	c.MaxConnections = or(c.MaxConnections, 1_000_000)
	c.MaxQueue = or(c.MaxQueue, 256<<10)
	c.MaxPacket = or(c.MaxPacket, 64<<10)
	c.MaxDrains = or(c.MaxDrains, 256)
	c.Window = or(c.Window, 32)
	c.MaxKeepAlive = or(c.MaxKeepAlive, 20*time.Minute)
	c.ConnectTimeout = or(c.ConnectTimeout, 10*time.Second)
	c.AckTimeout = or(c.AckTimeout, 60*time.Second)
	c.WriteTimeout = or(c.WriteTimeout, 30*time.Second)
	c.FailDelay = or(c.FailDelay, 250*time.Millisecond)
	c.Linger = or(c.Linger, time.Second)
	c.WithdrawTimeout = min(or(c.WithdrawTimeout, 2*time.Second), c.WriteTimeout)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func or[T int | time.Duration](v, absent T) T {
	if v > 0 {
		return v
	}
	return absent
}

// A Gateway holds the connections of devices. Its methods are safe for concurrent use.
type Gateway struct {
	house      House
	opt        Options
	lim        limits
	conns      registry
	gate       gate
	statements statements
	drains     chan struct{} // a token for each device whose record is read
	stats      counters

	// ctx ends when the gateway is closed. It is kept because what it ends is begun by calls that have none, such as Post.
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // of all goroutines

	mu        sync.Mutex // guards what follows
	draining  bool
	listeners map[net.Listener]struct{}
	links     map[*conn]struct{} // every connection, also before its CONNECT
}

// New returns a Gateway that has started nothing yet. opts may be nil.
func New(house House, labels Labels, opts *Options) *Gateway {
	g := &Gateway{
		house: house, opt: opts.withDefaults(), listeners: map[net.Listener]struct{}{}, links: map[*conn]struct{}{},
	}
	g.lim = limits{
		window: g.opt.Window, maxQueue: g.opt.MaxQueue, maxPacket: g.opt.MaxPacket, ackTimeout: g.opt.AckTimeout,
		connectTime: g.opt.ConnectTimeout, maxKeepAlive: uint16(min(g.opt.MaxKeepAlive/time.Second, 1<<16-1)),
	}
	g.drains = make(chan struct{}, g.opt.MaxDrains)
	g.gate.now = g.opt.Now
	g.statements.labels = labels
	g.conns.init()
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g
}

// Post hands d to one device, if it is connected here and has caught up with the record; else the record keeps it.
func (g *Gateway) Post(o push.Ordinal, d *push.Delivery) {
	if c := g.conns.find(d.App, o); c != nil {
		c.post(d, nil)
	}
}

// parallel is from how many connections on a broadcast is worth several goroutines.
const parallel = 1024

// Broadcast hands d to every connected device of d's app for which owed is true, and returns when each has it, has it
// queued or knows that there is more. owed must be safe for concurrent use.
func (g *Gateway) Broadcast(d *push.Delivery, owed func(push.Ordinal) bool) {
	shared := newSharedFrames(d)
	workers := 1
	if g.conns.count(d.App) >= parallel {
		workers = runtime.GOMAXPROCS(0)
	}
	var next atomic.Int32
	work := func() {
		var batch []*conn
		for {
			i := int(next.Add(1)) - 1
			if i >= shards {
				return
			}
			batch = g.conns.shards[i].of(d.App, batch[:0])
			for _, c := range batch {
				if owed(c.device.Ordinal) {
					c.post(d, shared)
				}
			}
			clear(batch)
		}
	}
	var wg sync.WaitGroup
	for range workers - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
}

// Online returns the devices of app that are connected now. The caller owns the set.
func (g *Gateway) Online(app push.AppID) *ordset.Set { return g.conns.online(app) }

// IsOnline reports whether a device is connected now.
func (g *Gateway) IsOnline(app push.AppID, o push.Ordinal) bool { return g.conns.find(app, o) != nil }

// Settled says that receipts are durable. Messages that they deliver or drop give their room to others.
func (g *Gateway) Settled(receipts []push.Receipt) {
	for i := range receipts {
		r := &receipts[i]
		if r.Mark != push.MarkDelivered && r.Mark.Reason() == "" {
			continue
		}
		if c := g.conns.find(r.App, r.Ordinal); c != nil {
			c.settled(r.Push)
		}
	}
}

// Wake has the device's connection, if there is one, ask the record again.
func (g *Gateway) Wake(app push.AppID, o push.Ordinal) {
	if c := g.conns.find(app, o); c != nil {
		c.wake()
	}
}

// Disconnect ends the connection of a device that was removed or whose secret was revoked, and drops what the device has
// said by it and by those before it and is not recorded yet. A device that has its ordinal in another generation is not
// meant.
func (g *Gateway) Disconnect(ref push.Ref) {
	revoked := func(c *conn) bool { return c.device.Generation == ref.Generation }
	if c := g.conns.find(ref.App, ref.Ordinal); c != nil && revoked(c) {
		g.leave(c)
		c.end(mqtt.AdministrativeAction)
	}
	who := speaker{ref.App, ref.Ordinal}
	g.statements.of(who).drop(who, revoked) // after the end, so that nothing joins behind it
}

// Drain stops accepting, tells all devices to go and waits until they have, at most Options.Linger each after the last
// byte; acknowledgements that come until then are taken. When ctx ends first, what is left is cut off,
// and ctx's error returned. Afterwards the gateway is closed.
func (g *Gateway) Drain(ctx context.Context) error {
	for _, c := range g.stop() {
		c.end(mqtt.ServerShuttingDown)
	}
	done := make(chan struct{})
	go func() {
		g.wg.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	g.Close()
	<-done
	return err
}

// Close cuts all connections off and returns when no goroutine is left. It may be called again.
func (g *Gateway) Close() error {
	left := g.stop()
	g.cancel()
	g.gate.close()
	for _, c := range left {
		c.cut()
	}
	g.wg.Wait()
	return nil
}

// stop closes the listeners, lets nobody in any more and returns who is there.
func (g *Gateway) stop() []*conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.draining = true
	for ln := range g.listeners {
		ln.Close()
	}
	left := make([]*conn, 0, len(g.links))
	for c := range g.links {
		left = append(left, c)
	}
	return left
}

// admit counts a new connection in. It reports false when the gateway is closed.
func (g *Gateway) admit(c *conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.draining {
		return false
	}
	g.links[c] = struct{}{}
	c.s.full = len(g.links) > g.opt.MaxConnections
	g.wg.Add(1)
	return true
}

// discharge counts a connection out. Its goroutine does nothing after it.
func (g *Gateway) discharge(c *conn) {
	g.mu.Lock()
	delete(g.links, c)
	g.mu.Unlock()
	g.wg.Done()
}

// enter makes a connection its device's. The one that was is over before c can be found and revoked: what its client says
// from then on would not be dropped with what c's says.
func (g *Gateway) enter(c *conn) {
	g.conns.put(c, func(old *conn) {
		if old == nil {
			g.house.Presence(c.device, true)
			return
		}
		g.stats.takenOver.Add(1)
		old.end(mqtt.SessionTakenOver)
	})
}

// leave takes a connection from the devices that are online, if it is still its device's.
func (g *Gateway) leave(c *conn) {
	g.conns.remove(c, func() { g.house.Presence(c.device, false) })
}
