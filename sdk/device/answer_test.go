package device_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/sdk/device"
)

// connected returns a device that is connected to b, and runs. It does not soon connect again.
func connected(t *testing.T, b *broker) *device.Device {
	t.Helper()
	d := device.New(phone, nil, &device.Options{Address: b.address(), MinDelay: time.Minute})
	if err := d.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	start(t, d)
	return d
}

// login has d log an account in, and returns what comes of it when the broker has seen it.
func login(t *testing.T, ctx context.Context, b *broker, d *device.Device, account string) <-chan error {
	t.Helper()
	result := make(chan error, 1)
	go func() { result <- d.Login(ctx, account) }()
	if got, want := next(t, b.events, "PUBLISH"), fmt.Sprintf(`device/account {"op":"put","account":%q}`, account); got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	return result
}

// A caller who does not wait any more does not make room: the server counts the PUBLISH until it has answered.
func TestReceiveMaximumIsKeptAlsoIfCallersGiveUp(t *testing.T) {
	b := newBroker(t, func(b *broker) { b.silent, b.receiveMaximum = true, 2 })
	d := connected(t, b)
	for _, account := range []string{"ann", "ben"} {
		ctx, cancel := context.WithCancel(t.Context())
		result := login(t, ctx, b, d, account)
		cancel()
		if err := next(t, result, "Login"); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want Canceled", account, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := d.Login(ctx, "one too many"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want DeadlineExceeded", err)
	}
	// The answers make room, and go to nobody else.
	if err := b.link(phone.DeviceID).write(&mqtt.Ack{Type: mqtt.TypePuback, PacketID: 2, Reason: mqtt.QuotaExceeded}); err != nil {
		t.Fatal(err)
	}
	result := login(t, t.Context(), b, d, "cem") // and not "one too many"
	if err := b.link(phone.DeviceID).write(&mqtt.Ack{Type: mqtt.TypePuback, PacketID: 4}); err != nil {
		t.Fatal(err)
	}
	if err := next(t, result, "Login"); err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

func TestOutcomeIsUnknownIfTheConnectionIsLost(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(*broker)
		says string
	}{
		{"the connection is lost", func(b *broker) { b.kick(phone.DeviceID) }, "EOF"},
		{"the server cannot record it now", func(b *broker) {
			if err := b.link(phone.DeviceID).write(&mqtt.Disconnect{Reason: mqtt.ServerBusy}); err != nil {
				b.t.Error(err)
			}
		}, "server busy"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBroker(t, func(b *broker) { b.silent, b.receiveMaximum = true, 1 })
			d := connected(t, b)
			sent := login(t, t.Context(), b, d, "ann")
			waits := make(chan error, 1)
			go func() { waits <- d.Login(t.Context(), "ben") }()
			tt.end(b)
			if err := next(t, sent, "Login"); !errors.Is(err, device.ErrUnavailable) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want ErrUnavailable, %q", err, tt.says)
			}
			if err := next(t, waits, "Login"); !errors.Is(err, device.ErrNotConnected) {
				t.Errorf("what was not sent: got %v, want ErrNotConnected", err)
			}
		})
	}
}

func TestWhatCannotBeSaidIsNotSent(t *testing.T) {
	b := newBroker(t)
	d := connected(t, b)
	const odd = "a\xff"
	for _, tt := range []struct {
		name string
		say  func(context.Context) error
	}{
		{"a type that is not UTF-8", func(c context.Context) error { return d.SetAlias(c, odd, "42") }},
		{"a value that is not UTF-8", func(c context.Context) error { return d.AddAlias(c, "uid", odd) }},
		{"a tag that is not UTF-8", func(c context.Context) error { return d.AddTags(c, "vip", odd) }},
		{"an account that is not UTF-8", func(c context.Context) error { return d.Login(c, odd) }},
		{"an attribute that is not UTF-8", func(c context.Context) error { return d.SetAttributes(c, map[string]string{"city": odd}) }},
		{"a name that is not UTF-8", func(c context.Context) error { return d.SetAttributes(c, map[string]string{odd: "x"}) }},
		{"more than 4 KiB", func(c context.Context) error { return d.AddTags(c, strings.Repeat("x", 4096)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.say(t.Context()); !errors.Is(err, device.ErrInvalid) {
				t.Errorf("got %v, want ErrInvalid", err)
			}
		})
	}
	if err := d.Login(t.Context(), "\ufffd"); err != nil { // a character like others
		t.Error(err)
	}
	if got, want := next(t, b.events, "PUBLISH"), "device/account {\"op\":\"put\",\"account\":\"\ufffd\"}"; got != want {
		t.Errorf("got %s, want %s, and nothing before it", got, want)
	}
}
