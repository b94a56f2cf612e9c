package device

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/mqtt"
)

// Options are the optional parts of a Device. The zero value, like nil, means the documented defaults.
type Options struct {
	// Address is tcp://host:port, tls://host:port, ws://…/mqtt or wss://…/mqtt. "" means what the identity says: TLS if it
	// has a port for it, else TCP, else WebSocket.
	Address string
	// Version is the protocol's level: 4 for MQTT 3.1.1, 5 for MQTT 5.0. 0 means 5.
	Version int
	// AtMostOnce subscribes at QoS 0: a message counts as delivered when it is written, and one that gets lost is lost.
	AtMostOnce bool
	// KeepAlive is the most time without a packet, in whole seconds up to 18 h; 0 means 60 s. The server may shorten it.
	KeepAlive time.Duration
	// TLS is for tls:// and wss://; nil means the machine's certificates.
	TLS *tls.Config
	// MaxPacket is the size in bytes of the greatest packet accepted; 0 means 256 KiB.
	MaxPacket int
	// MinDelay and MaxDelay bound the time before connecting again, which doubles with each failure and is random below
	// that; 0 means 500 ms and 60 s.
	MinDelay, MaxDelay time.Duration
	// ManualRecalls leaves it to the program to report Recalled of the message that a recall names. Else the Device does, when
	// the handler has returned nil for the recall.
	ManualRecalls bool
	// Connected is called each time that messages can arrive; nil for nothing.
	Connected func()
	// Log gets connections, losses and payloads that are no message; nil discards.
	Log *slog.Logger
}

// Errors that end Run, since trying again would not help. All others are tried again.
var (
	// ErrRefused says that the server does not accept the identity: it was removed, or registered again elsewhere.
	ErrRefused = errors.New("device: the server refused the identity")
	// ErrTakenOver says that the same identity has connected from elsewhere. Only MQTT 5.0 can tell.
	ErrTakenOver = errors.New("device: another connection has taken over")
	// ErrNotConnected says that there is no connection to say something on: the server has not seen it.
	ErrNotConnected = errors.New("device: not connected")
	// ErrUnavailable says that the connection has ended before the server has answered, because it was lost or because the
	// server cannot record anything now. Whether it has recorded what was said is not known: say it again, which does no harm,
	// once there is a connection. Over MQTT 3.1.1 it may be a refusal too, and then it comes again.
	ErrUnavailable = errors.New("device: not answered")
)

// A Device keeps one device connected. Its methods are safe for concurrent use; Run is called once.
type Device struct {
	id      Identity
	handler func(context.Context, Message) error
	opts    Options
	version mqtt.Version

	mu      sync.Mutex // guards current
	current *session

	recalls recalls
}

// New returns a Device that has not connected yet. handler is called for each message, one after another, by Run; when
// it returns nil the message is acknowledged, and otherwise the connection is closed, so that the message comes again.
//
// A message whose Recall is set takes an earlier one back: the handler withdraws what it has shown of that. The Device says
// that it has, and if a copy of the message that was taken back comes late, acknowledges it without calling the handler. It
// remembers the last thousand recalls, as long as the program runs. opts may be nil.
func New(id Identity, handler func(context.Context, Message) error, opts *Options) *Device {
	d := &Device{id: id, handler: handler}
	if opts != nil {
		d.opts = *opts
	}
	o := &d.opts
	if o.KeepAlive <= 0 {
		o.KeepAlive = time.Minute
	}
	o.KeepAlive = min(max(o.KeepAlive, time.Second), 65535*time.Second)
	if o.MaxPacket <= 0 {
		o.MaxPacket = 256 << 10
	}
	if o.MinDelay <= 0 {
		o.MinDelay = 500 * time.Millisecond
	}
	if o.MaxDelay <= 0 {
		o.MaxDelay = time.Minute
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d.version = mqtt.V5
	if o.Version == int(mqtt.V311) {
		d.version = mqtt.V311
	}
	return d
}

// Connect connects and subscribes, and returns when the server has agreed. It is optional: Run connects if Connect did
// not, and goes on with the connection if it did. Messages are handled by Run only. Errors are ErrRefused, or say why
// there is no connection.
func (d *Device) Connect(ctx context.Context) error {
	s, err := d.open(ctx)
	if err != nil {
		return err
	}
	d.mu.Lock()
	old := d.current
	d.current = s
	d.mu.Unlock()
	if old != nil {
		old.close(nil)
	}
	return nil
}

// Close ends the connection that Connect has made, for a Device whose Run is never called. It may be called twice.
func (d *Device) Close() error {
	if s := d.take(); s != nil {
		s.goodbye()
	}
	return nil
}

// Run keeps the device connected and handles its messages until ctx ends; then it returns nil, after the message that is
// being handled was acknowledged. It returns ErrRefused or ErrTakenOver when going on is in vain.
func (d *Device) Run(ctx context.Context) error {
	failures := 0
	for {
		began := time.Now()
		err := d.once(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrRefused), errors.Is(err, ErrTakenOver):
			return err
		}
		// A connection that has held for a while was not the fault of the server's, so the delay starts over.
		if time.Since(began) > d.opts.MaxDelay {
			failures = 0
		}
		delay := backoff(failures, d.opts.MinDelay, d.opts.MaxDelay)
		failures++
		d.opts.Log.Info("connection lost", "device", d.id.DeviceID, "again_in", delay, "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(delay):
		}
	}
}

// once runs one connection to its end.
func (d *Device) once(ctx context.Context) error {
	d.mu.Lock()
	s := d.current
	d.mu.Unlock()
	if s == nil {
		var err error
		if s, err = d.open(ctx); err != nil {
			return err
		}
		d.mu.Lock()
		d.current = s
		d.mu.Unlock()
	}
	defer d.take()
	d.opts.Log.Debug("connected", "device", d.id.DeviceID)
	if d.opts.Connected != nil {
		d.opts.Connected()
	}
	return s.run(ctx, d.handler)
}

// take removes the current session and returns it.
func (d *Device) take() *session {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.current
	d.current = nil
	return s
}

// Event reports what became of the push with id push, and returns when the server has it on disk. It may be called from
// the handler. Errors are ErrNotConnected, ErrUnavailable, ctx's, after which the server may have it all the same, ErrInvalid,
// or another refusal of the server.
func (d *Device) Event(ctx context.Context, push string, e Event) error {
	return d.say(ctx, "event", "event", eventPayload(push, e))
}

func eventPayload(push string, e Event) []byte {
	return fmt.Appendf(nil, `{"push":%q,"event":%q}`, push, e)
}

// backoff returns how long to wait after the given number of failures before this one: random, so that many devices
// that lost one server do not return at once, from half of the doubled delay up.
func backoff(failures int, least, most time.Duration) time.Duration {
	d := most
	if failures < 30 && least<<failures > 0 {
		d = min(most, least<<failures)
	}
	return d/2 + rand.N(d/2+1)
}
