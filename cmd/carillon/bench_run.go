package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillonpush/carillon/sdk/carillon"
	"github.com/carillonpush/carillon/sdk/device"
)

const (
	registering = 64   // devices that register at a time
	maxSenders  = 1024 // and connections that are kept
	stall       = 15 * time.Second
)

// A benchApp is the app that a run makes for itself.
type benchApp struct {
	id   string
	card carillon.AppCard
}

// prepare opens the node and makes an app.
func (b *bench) prepare(ctx context.Context, messages int) (err error) {
	if err := enoughFiles(b.flags.Devices); err != nil {
		return err
	}
	b.show.phase("starting the node")
	if b.node, err = openNode(ctx, b.flags); err != nil {
		return err
	}
	b.app.card, err = b.node.api.CreateApp(ctx, carillon.NewApp{
		Name: "bench-" + randomHex(6),
		Settings: map[string]string{
			"device.registrations_per_minute": "0",
			"inbox.limit":                     strconv.Itoa(min(100_000, 500+messages)), // nothing is to give way
		},
	})
	if err != nil {
		return b.node.blame(err)
	}
	b.app.id = b.app.card.App.ID
	return nil
}

// remove deletes the app, unless its whole node goes away.
func (a benchApp) remove(n *node) error {
	if a.id == "" || n.child != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return n.api.DeleteApp(ctx, a.id)
}

// fresh returns what a new device says of itself.
func (b *bench) fresh(int) device.Registration {
	return device.Registration{
		AppKey: b.app.card.Device.AppKey, AppSecret: b.app.card.Device.AppSecret, Platform: "android", InstallID: randomHex(16),
	}
}

// register registers all devices, each as it says of itself. What the node does afterwards is measured.
func (b *bench) register(ctx context.Context, says func(i int) device.Registration) error {
	b.ids = make([]device.Identity, b.flags.Devices)
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: registering}}
	defer client.CloseIdleConnections()
	var next, done atomic.Int64
	ctx, cancel := context.WithTimeout(ctx, b.flags.Duration)
	defer cancel()
	work, ctx := errgroup.WithContext(ctx)
	stop := b.show.watch("registering", func() (int64, int64) { return done.Load(), int64(len(b.ids)) })
	defer stop()
	for range registering {
		work.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(b.ids) {
					return nil
				}
				id, err := device.Register(ctx, b.node.server, says(i), &device.RegisterOptions{HTTPClient: client})
				if err != nil {
					return err
				}
				b.ids[i] = id
				done.Add(1)
			}
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	b.result.RSSBefore, _ = b.node.rss()
	b.cpu, _ = b.node.cpu()
	return nil
}

// startFleet begins to connect the devices.
func (b *bench) startFleet(ctx context.Context) error {
	end := b.ids[0].MQTT
	if end.Port == 0 {
		return errors.New("the node offers no MQTT over TCP, which bench needs")
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", end.Host)
	if err != nil || len(ips) == 0 {
		return fmt.Errorf("the node's MQTT address: %w", err)
	}
	opts := &device.FleetOptions{Version: b.flags.MQTT, AtMostOnce: b.flags.QoS == 0, Mark: sentMark}
	address := netip.AddrPortFrom(ips[0].Unmap(), uint16(end.Port))
	if address.Addr().IsLoopback() && address.Addr().Is4() && len(b.ids) > 20_000 {
		opts.Sources = device.LoopbackSources(len(b.ids))
	}
	b.fleet = device.NewFleet(address, b.ids, opts)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- b.fleet.Run(ctx) }()
	b.stop = func() error { cancel(); return <-ended }
	return nil
}

// connect connects all devices.
func (b *bench) connect(ctx context.Context) error {
	began := time.Now()
	if err := b.startFleet(ctx); err != nil {
		return err
	}
	all := int64(len(b.ids))
	stop := b.show.watch("connecting", func() (int64, int64) { return b.fleet.Stats().Connected, all })
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, b.flags.Duration)
	defer cancel()
	err := b.fleet.Wait(ctx, func(s device.FleetStats) bool { return s.Connected == all || s.Refused > 0 })
	if s := b.fleet.Stats(); err != nil || s.Refused > 0 {
		return fmt.Errorf("%d of %d devices connected in %v, %d were refused, %d attempts failed", s.Connected, all,
			time.Since(began).Round(time.Second), s.Refused, s.Failures)
	}
	b.result.Connect = rateOf(all, time.Since(began))
	b.perConnection()
	b.cpu, _ = b.node.cpu() // what counts is what follows
	return nil
}

// perConnection notes by how much the connections have made the node grow.
func (b *bench) perConnection() {
	if rss, ok := b.node.rss(); ok && b.result.RSSBefore > 0 {
		b.result.RSSPerConnection = (rss - b.result.RSSBefore) / int64(len(b.ids))
	}
}

// sendAndReceive sends to devices that are online until all has arrived.
func (b *bench) sendAndReceive(ctx context.Context, send sendFlags, many manyFlags) error {
	began := time.Now()
	accepted, err := b.send(ctx, send, many)
	if err != nil {
		return err
	}
	return b.receive(ctx, began, accepted)
}

// storeAndDrain sends to devices that are away, then lets them come.
func (b *bench) storeAndDrain(ctx context.Context, send sendFlags, many manyFlags) error {
	accepted, err := b.send(ctx, send, many)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := b.startFleet(ctx); err != nil {
		return err
	}
	return b.receive(ctx, began, accepted)
}

// broadcast sends to all devices, one message after another.
func (b *bench) broadcast(ctx context.Context, send sendFlags) error {
	ctx, cancel := context.WithTimeout(ctx, b.flags.Duration)
	defer cancel()
	var accepts device.Histogram
	began := time.Now()
	all := int64(send.Messages) * int64(len(b.ids))
	stop := b.show.watch("broadcasting", func() (int64, int64) { return b.fleet.Stats().Messages, all })
	defer stop()
	for i := range send.Messages {
		start := time.Now()
		if _, err := b.node.api.Send(ctx, b.app.id, carillon.PushRequest{
			Audience: carillon.Audience{All: true}, Message: benchMessage(send.Size, start),
		}, nil); err != nil {
			return err
		}
		accepts.Record(time.Since(start))
		want := int64(i+1) * int64(len(b.ids))
		if err := b.fleet.Wait(ctx, func(s device.FleetStats) bool { return s.Messages-s.Duplicates >= want }); err != nil {
			break // what is missing is in the result
		}
	}
	took := time.Since(began)
	b.result.Accept = rateOf(accepts.Count(), took)
	b.result.AcceptLatency = percentiles(&accepts)
	b.delivered(all, took)
	return ctx.Err()
}

// hold lets the connections be.
func (b *bench) hold(ctx context.Context, d time.Duration) error {
	until := time.Now().Add(d)
	stop := b.show.watch("holding", func() (int64, int64) {
		return int64((d - time.Until(until)) / time.Second), int64(d / time.Second)
	})
	defer stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
	}
	b.perConnection() // once more: connecting has left garbage
	if s := b.fleet.Stats(); s.Lost > 0 {
		return fmt.Errorf("%d idle connections were lost", s.Lost)
	}
	return nil
}

// receive waits until as many messages have arrived as were accepted, or none for a while.
func (b *bench) receive(ctx context.Context, began time.Time, accepted int64) error {
	stop := b.show.watch("receiving", func() (int64, int64) { return b.fleet.Stats().Messages, accepted })
	defer stop()
	wait, cancel := context.WithTimeout(ctx, b.flags.Duration)
	defer cancel()
	last, moved := int64(0), time.Now()
	err := b.fleet.Wait(wait, func(s device.FleetStats) bool {
		if s.Messages != last {
			last, moved = s.Messages, time.Now()
		}
		return s.Messages-s.Duplicates >= accepted || time.Since(moved) > stall
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	took := moved.Sub(began) // err is the phase's time-out: what is missing is in the result
	_ = err
	b.delivered(accepted, took)
	return nil
}

// delivered notes what arrived of what was expected.
func (b *bench) delivered(expected int64, took time.Duration) {
	s := b.fleet.Stats()
	r := &b.result
	r.Expected, r.Duplicates = expected, s.Duplicates
	r.Missing = max(0, expected-(s.Messages-s.Duplicates))
	r.Deliver = rateOf(s.Messages, took)
	r.DeliverLatency = percentiles(b.fleet.Latency())
}

// finish measures the node once more.
func (b *bench) finish() {
	r := &b.result
	if rss, ok := b.node.rss(); ok {
		r.RSSAfter = rss
	}
	if cpu, ok := b.node.cpu(); ok {
		r.CPUSeconds = cpu - b.cpu
		if n := r.Expected - r.Missing; n > 0 {
			r.CPUSecondsPerMillion = r.CPUSeconds / float64(n) * 1e6
		}
	}
}

// enoughFiles reports whether this process may have a socket for each device.
func enoughFiles(devices int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if need := uint64(devices) + 1200; need > limit.Cur {
		return fmt.Errorf("%d devices need %d open files and the limit is %d; raise it with: ulimit -n %d", devices, need, limit.Cur, need)
	}
	return nil
}

// send sends all messages and returns how many were accepted.
func (b *bench) send(ctx context.Context, send sendFlags, many manyFlags) (accepted int64, err error) {
	if many.Senders < 1 || many.Senders > maxSenders || many.Batch < 1 || many.Batch > 1000 {
		return 0, usage("--senders is 1 to %d, and --batch 1 to 1000", maxSenders)
	}
	b.result.Senders, b.result.Via, b.result.Batch = many.Senders, many.Via, many.Batch
	one, batch, err := b.sender(many, send.Size)
	if err != nil {
		return 0, err
	}
	b.result.Batch = batch
	var next, done atomic.Int64
	var latency device.Histogram
	total := int64(send.Messages)
	stop := b.show.watch("sending", func() (int64, int64) { return done.Load(), total })
	defer stop()
	limit, cancel := context.WithTimeout(ctx, b.flags.Duration)
	defer cancel()
	began := time.Now()
	work, limit := errgroup.WithContext(limit)
	for range many.Senders {
		work.Go(func() error {
			for limit.Err() == nil {
				from := next.Add(int64(batch)) - int64(batch)
				if from >= total {
					return nil
				}
				n := int(min(int64(batch), total-from))
				start := time.Now()
				if err := one(limit, int(from), n); err != nil {
					return err
				}
				latency.Record(time.Since(start))
				done.Add(int64(n))
			}
			return nil
		})
	}
	err = work.Wait()
	took := time.Since(began)
	// The phase's end is no failure: what was accepted by then counts. A request that it cut off may have been accepted too.
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = nil
	}
	b.result.Accept = rateOf(done.Load(), took)
	b.result.AcceptLatency = percentiles(&latency)
	return done.Load(), err
}

// sentMark begins the time of sending in a message.
const sentMark = `"sent":`

// minSize is the size of a message with nothing but the time of sending.
const minSize = 64

// benchMessage returns a message of about size bytes that says when it was sent.
func benchMessage(size int, now time.Time) carillon.Message {
	return carillon.Message{Data: fmt.Appendf(nil, `{%s%d,"pad":%q}`, sentMark, now.UnixNano(), padding(size))}
}

var pad = sync.OnceValue(func() string { return strings.Repeat("0123456789abcdef", 4096) })

// padding returns what a message of size bytes needs beside the time of sending.
func padding(size int) string { return pad()[:max(0, min(size-minSize+16, len(pad())))] }
