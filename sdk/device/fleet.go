package device

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/carillonpush/carillon/internal/mqtt"
)

// FleetOptions are the optional parts of a Fleet. The zero value, like nil, means the documented defaults.
type FleetOptions struct {
	// Version is 4 for MQTT 3.1.1, 5 for MQTT 5.0; 0 means 4, which costs the fewest bytes.
	Version int
	// AtMostOnce subscribes at QoS 0.
	AtMostOnce bool
	// KeepAlive is the most time without a packet; 0 means 5 minutes.
	KeepAlive time.Duration
	// Handshakes is how many devices connect at a time; 0 means 256.
	Handshakes int
	// Sources are the local addresses to connect from, in turn. Each has about 28,000 ports for one server; nil lets the
	// system choose.
	Sources []netip.Addr
	// Loops is how many threads own the sockets; 0 means 2, or 1 on a machine with one core.
	Loops int
	// Mark begins the number, in Unix nanoseconds, that the sender has put into each message: with "sent": in it a
	// message with "sent":1764000000000000000 is counted in Latency. "" measures nothing.
	Mark string
	// OnMessage is called for each message, before it is acknowledged, with the index of the device; not for a late copy of one
	// that was recalled. It runs on a loop and must not block; payload is good during the call only. nil for nothing.
	OnMessage func(device int, payload []byte)
}

// FleetStats are counts since the start; Connected and Refused are of the moment.
type FleetStats struct {
	Connected    int64 `json:"connected"` // subscribed: messages can arrive
	Refused      int64 `json:"refused"`   // the server does not want them; they do not try again
	Messages     int64 `json:"messages"`
	Duplicates   int64 `json:"duplicates"` // of Messages: had come before, among the last 64 of the same device
	Acknowledged int64 `json:"acknowledged"`
	Recalls      int64 `json:"recalls"`  // of Messages: took another back, which the device confirmed
	Late         int64 `json:"late"`     // of Messages: had been taken back, among the last 16 of the same device
	Bytes        int64 `json:"bytes"`    // received
	Lost         int64 `json:"lost"`     // connections that ended
	Failures     int64 `json:"failures"` // attempts to connect that failed
}

// A Fleet is many devices in one process. On Linux a few loops own all sockets, so that a device costs under 2 KB beside
// its socket; elsewhere each has a goroutine. It connects by TCP only. Its methods are safe for concurrent use.
type Fleet struct {
	address netip.AddrPort
	ids     []Identity
	opts    FleetOptions
	version mqtt.Version
	subpack []byte // the SUBSCRIBE packet, the same for all

	count   counters
	latency Histogram
}

type counters struct {
	connected, refused, messages, duplicates, acknowledged, recalls, late, bytes, lost, failures atomic.Int64
}

// NewFleet returns a Fleet of the devices ids, which connects to address. Of an identity only DeviceID and Secret are
// used. opts may be nil.
func NewFleet(address netip.AddrPort, ids []Identity, opts *FleetOptions) *Fleet {
	f := &Fleet{address: address, ids: ids, version: mqtt.V311}
	if opts != nil {
		f.opts = *opts
	}
	o := &f.opts
	if o.Version == int(mqtt.V5) {
		f.version = mqtt.V5
	}
	if o.KeepAlive <= 0 {
		o.KeepAlive = 5 * time.Minute
	}
	o.KeepAlive = min(max(o.KeepAlive, time.Second), 65535*time.Second)
	if o.Handshakes <= 0 {
		o.Handshakes = 256
	}
	if o.Loops <= 0 {
		o.Loops = min(2, runtime.GOMAXPROCS(0))
	}
	o.Loops = max(1, min(o.Loops, len(ids)))
	qos := mqtt.AtLeastOnce
	if o.AtMostOnce {
		qos = mqtt.AtMostOnce
	}
	sub := mqtt.Subscribe{PacketID: subscribeID, Subscriptions: []mqtt.Subscription{{Filter: inboxTopic, QoS: qos}}}
	f.subpack, _ = sub.Append(nil, f.version) // a constant packet, which is valid
	return f
}

// Run connects all devices, and again those that lose their connection, until ctx ends; then it disconnects them and
// returns nil. It is called once.
func (f *Fleet) Run(ctx context.Context) error {
	if len(f.ids) == 0 {
		<-ctx.Done()
		return nil
	}
	loops := f.opts.Loops
	errs := make(chan error, loops)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for i := range loops {
		go func() { errs <- f.loop(ctx, i, loops) }()
	}
	var all error
	for range loops {
		if err := <-errs; err != nil {
			cancel() // half a fleet would give wrong figures
			all = errors.Join(all, err)
		}
	}
	return all
}

// Len returns how many devices there are.
func (f *Fleet) Len() int { return len(f.ids) }

// Stats returns the counts.
func (f *Fleet) Stats() FleetStats {
	c := &f.count
	return FleetStats{
		Connected: c.connected.Load(), Refused: c.refused.Load(), Messages: c.messages.Load(), Duplicates: c.duplicates.Load(),
		Acknowledged: c.acknowledged.Load(), Recalls: c.recalls.Load(), Late: c.late.Load(), Bytes: c.bytes.Load(), Lost: c.lost.Load(), Failures: c.failures.Load(),
	}
}

// Latency returns the times from the sender's mark to arrival. It stays in use while the fleet runs.
func (f *Fleet) Latency() *Histogram { return &f.latency }

// Wait returns nil once done says so of the counts, which it is shown every few milliseconds, and otherwise ctx's error.
func (f *Fleet) Wait(ctx context.Context, done func(FleetStats) bool) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if done(f.Stats()) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// source returns the local address of device i; the zero Addr leaves it to the system.
func (f *Fleet) source(i int) netip.Addr {
	if len(f.opts.Sources) == 0 {
		return netip.Addr{}
	}
	return f.opts.Sources[i%len(f.opts.Sources)]
}

// LoopbackSources returns enough addresses of 127.0.0.0/8 for n devices that connect to one loopback server, with
// at most 20,000 ports each.
func LoopbackSources(n int) []netip.Addr {
	all := make([]netip.Addr, 0, n/20_000+1)
	for i := range n/20_000 + 1 {
		all = append(all, netip.AddrFrom4([4]byte{127, 0, byte(1 + i>>8), byte(1 + i)}))
	}
	return all
}
