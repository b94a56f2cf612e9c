package device_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/sdk/device"
)

var phone = device.Identity{DeviceID: "00112233445566778899aabbccddeeff", Secret: "s3cret"}

const payload = `{"id":"187649984473770","time":"2026-11-25T08:00:00Z","expires":"2026-11-28T08:00:00Z",` +
	`"notification":{"title":"开门","badge":{"add":1},"click":{"action":"url","url":"https://x"}},"data":{"a":[1]},"extras":{"order":"42"},"launch":true}`

func TestReceiveAndAcknowledge(t *testing.T) {
	certs := httptest.NewUnstartedServer(nil)
	certs.StartTLS()
	defer certs.Close()
	pool := x509.NewCertPool()
	pool.AddCert(certs.Certificate())

	for _, tt := range []struct {
		name    string
		address func(*broker) string
		opts    device.Options
	}{
		{"MQTT 5 over TCP", (*broker).address, device.Options{}},
		{"MQTT 3.1.1 over TCP", (*broker).address, device.Options{Version: 4}},
		{"MQTT 5 over TLS", func(b *broker) string { return b.overTLS(certs.TLS.Certificates[0]) }, device.Options{TLS: &tls.Config{RootCAs: pool}}},
		{"MQTT 5 over WebSocket", (*broker).overWebSocket, device.Options{}},
		{"MQTT 3.1.1 over WebSocket", (*broker).overWebSocket, device.Options{Version: 4}},
		{"QoS 0", (*broker).address, device.Options{AtMostOnce: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBroker(t)
			got := make(chan device.Message, 1)
			opts := tt.opts
			opts.Address = tt.address(b)
			start(t, device.New(phone, func(_ context.Context, m device.Message) error { got <- m; return nil }, &opts))
			if err := b.link(phone.DeviceID).send(payload); err != nil {
				t.Fatal(err)
			}
			m := next(t, got, "message")
			if m.ID != "187649984473770" || m.Notification.Title != "开门" || *m.Notification.Badge.Add != 1 ||
				m.Notification.Click.URL != "https://x" || string(m.Data) != `{"a":[1]}` || string(m.Extras["order"]) != `"42"` ||
				m.Expires.Sub(m.Time) != 72*time.Hour || string(m.Raw) != payload || m.AtLeastOnce == opts.AtMostOnce || !m.Launch {
				t.Errorf("got %+v", m)
			}
			if !opts.AtMostOnce {
				if got, want := next(t, b.acks, "PUBACK"), phone.DeviceID+" 1"; got != want {
					t.Errorf("got PUBACK %q, want %q", got, want)
				}
			}
		})
	}
}

func TestHandlerErrorLeavesTheMessageUnacknowledged(t *testing.T) {
	b := newBroker(t, func(b *broker) {
		b.hello = func(string, int) []string { return []string{payload} }
	})
	var calls atomic.Int32
	d := device.New(phone, func(context.Context, device.Message) error {
		if calls.Add(1) == 1 {
			return errors.New("the disk is full")
		}
		return nil
	}, &device.Options{Address: b.address(), MinDelay: time.Millisecond})
	start(t, d)
	next(t, b.acks, "PUBACK")
	if got := calls.Load(); got != 2 {
		t.Errorf("the handler was called %d times before the first PUBACK, want 2", got)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if got := b.connects[phone.DeviceID]; got != 2 {
		t.Errorf("got %d connections, want 2", got)
	}
}

func TestWhatIsBeingHandledAtTheEndIsAcknowledged(t *testing.T) {
	b := newBroker(t, func(b *broker) {
		b.hello = func(string, int) []string { return []string{payload, payload} }
	})
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	d := device.New(phone, func(context.Context, device.Message) error { calls++; cancel(); return nil }, &device.Options{Address: b.address()})
	if err := d.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if got, want := next(t, b.acks, "PUBACK"), phone.DeviceID+" 1"; got != want || calls != 1 {
		t.Errorf("got %q after %d messages, want %q after 1", got, calls, want)
	}
}

func TestPayloadThatIsNoMessageIsAcknowledgedAndSkipped(t *testing.T) {
	b := newBroker(t)
	got := make(chan device.Message, 2)
	start(t, device.New(phone, func(_ context.Context, m device.Message) error { got <- m; return nil }, &device.Options{Address: b.address()}))
	for _, p := range []string{"not JSON", payload} {
		if err := b.link(phone.DeviceID).send(p); err != nil {
			t.Fatal(err)
		}
	}
	if m := next(t, got, "message"); m.ID == "" {
		t.Errorf("got %q, want the second message", m.Raw)
	}
	for _, want := range []string{" 1", " 2"} {
		if got := next(t, b.acks, "PUBACK"); !strings.HasSuffix(got, want) {
			t.Errorf("got PUBACK %q, want one that ends in %q", got, want)
		}
	}
}

func TestEvent(t *testing.T) {
	b := newBroker(t, func(b *broker) {
		b.judge = func(p string) mqtt.ReasonCode {
			if strings.Contains(p, `"404"`) {
				return mqtt.ImplementationSpecificError
			}
			return mqtt.Success
		}
	})
	result := make(chan error, 1)
	var d *device.Device
	d = device.New(phone, func(ctx context.Context, m device.Message) error {
		result <- d.Event(ctx, m.ID, device.Opened) // from the handler, while its message is not acknowledged yet
		return nil
	}, &device.Options{Address: b.address()})
	if err := d.Event(t.Context(), "1", device.Opened); !errors.Is(err, device.ErrNotConnected) {
		t.Errorf("before Connect: got %v, want ErrNotConnected", err)
	}
	if err := d.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	start(t, d)
	if err := b.link(phone.DeviceID).send(payload); err != nil {
		t.Fatal(err)
	}
	if err := next(t, result, "event"); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	if got, want := next(t, b.events, "event"), `{"push":"187649984473770","event":"opened"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if err := d.Event(t.Context(), "404", device.Clicked); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestReconnect(t *testing.T) {
	b := newBroker(t)
	got := make(chan device.Message, 10)
	connected := make(chan struct{}, 10)
	start(t, device.New(phone, func(_ context.Context, m device.Message) error { got <- m; return nil },
		&device.Options{Address: b.address(), MinDelay: time.Millisecond, Connected: func() { connected <- struct{}{} }}))
	for i := range 3 {
		next(t, connected, "connection")
		if err := b.link(phone.DeviceID).send(fmt.Sprintf(`{"id":"%d"}`, i+1)); err != nil {
			t.Fatal(err)
		}
		if m := next(t, got, "message"); m.ID != fmt.Sprint(i+1) {
			t.Errorf("got %s, want %d", m.ID, i+1)
		}
		b.kick(phone.DeviceID)
	}
}

func TestRunEndsWhenTryingAgainIsInVain(t *testing.T) {
	t.Run("the identity is refused", func(t *testing.T) {
		for _, version := range []int{4, 5} {
			b := newBroker(t, func(b *broker) {
				b.refuse = func(_, secret string) mqtt.ReasonCode {
					if secret != "right" {
						return mqtt.NotAuthorized
					}
					return mqtt.Success
				}
			})
			err := next(t, start(t, device.New(phone, nil, &device.Options{Address: b.address(), Version: version})), "Run")
			if !errors.Is(err, device.ErrRefused) {
				t.Errorf("version %d: got %v, want ErrRefused", version, err)
			}
		}
	})
	t.Run("another connection has taken over", func(t *testing.T) {
		b := newBroker(t)
		result := start(t, device.New(phone, nil, &device.Options{Address: b.address()}))
		if err := b.link(phone.DeviceID).write(&mqtt.Disconnect{Reason: mqtt.SessionTakenOver}); err != nil {
			t.Fatal(err)
		}
		if err := next(t, result, "Run"); !errors.Is(err, device.ErrTakenOver) {
			t.Errorf("got %v, want ErrTakenOver", err)
		}
	})
	t.Run("a busy server is tried again", func(t *testing.T) {
		var n atomic.Int32
		b := newBroker(t, func(b *broker) {
			b.refuse = func(string, string) mqtt.ReasonCode {
				if n.Add(1) < 3 {
					return mqtt.ServerUnavailable
				}
				return mqtt.Success
			}
		})
		start(t, device.New(phone, nil, &device.Options{Address: b.address(), MinDelay: time.Millisecond}))
		b.link(phone.DeviceID)
	})
}

func TestKeepAlive(t *testing.T) {
	b := newBroker(t)
	start(t, device.New(phone, nil, &device.Options{Address: b.address(), KeepAlive: time.Second}))
	for range 2 {
		if got := next(t, b.pings, "PINGREQ"); got != phone.DeviceID {
			t.Errorf("got a PINGREQ of %q", got)
		}
	}
}

func TestConnectErrors(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for _, tt := range []struct{ name, address, want string }{
		{"no address at all", "", "none of tcp://"},
		{"an address of something else", "http://127.0.0.1", "none of tcp://"},
		{"nobody listens", "tcp://127.0.0.1:1", "refused"},
		{"a web server without WebSocket", "ws" + strings.TrimPrefix(plain.URL, "http"), "HTTP 404"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := device.New(phone, nil, &device.Options{Address: tt.address}).Connect(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	t.Run("a server that says nothing, until the caller has enough", func(t *testing.T) {
		release := make(chan struct{})
		b := newBroker(t, func(b *broker) {
			b.refuse = func(string, string) mqtt.ReasonCode { <-release; return mqtt.Success }
		})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		err := device.New(phone, nil, &device.Options{Address: b.address()}).Connect(ctx)
		close(release)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want DeadlineExceeded", err)
		}
	})
	t.Run("a connection that is made and not run", func(t *testing.T) {
		b := newBroker(t)
		d := device.New(phone, nil, &device.Options{Address: b.address()})
		if err := d.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestEndpointChoosesTheAddress(t *testing.T) {
	b := newBroker(t)
	id := phone
	addr := b.addrPort()
	id.MQTT = device.Endpoint{Host: addr.Addr().String(), Port: int(addr.Port())}
	d := device.New(id, nil, nil)
	if err := d.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.Close() //nolint:errcheck // it is nil
}

func TestBackoffIsRandomAndBounded(t *testing.T) {
	seen := map[time.Duration]bool{}
	for n := range 100 {
		d := device.Backoff(n, time.Second, time.Minute)
		if d < time.Second/2 || d > time.Minute {
			t.Errorf("after %d failures: got %v", n, d)
		}
		if n >= 6 && d < 30*time.Second {
			t.Errorf("after %d failures: got %v, want at least 30s", n, d)
		}
		seen[d] = true
	}
	if len(seen) < 50 {
		t.Errorf("got %d different delays of 100", len(seen))
	}
}

func TestRegister(t *testing.T) {
	var body, auth string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := new(strings.Builder)
		if err := r.Write(b); err != nil {
			t.Error(err)
		}
		body, auth = b.String(), r.Header.Get("Authorization")
		switch {
		case r.URL.Path != "/device/v1/register":
			http.NotFound(w, r)
		case strings.Contains(body, "wrong"):
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprint(w, `{"code":"too_many","field":"app_key","detail":"slowly"}`)
		default:
			fmt.Fprint(w, `{"device_id":"00112233445566778899aabbccddeeff","channel_id":"123","secret":"s","adopted":true,"mqtt":{"host":"h","port":1883}}`)
		}
	}))
	defer srv.Close()
	r := device.Registration{AppKey: "k", AppSecret: "s", Platform: "android", InstallID: "0123456789abcdef", Attributes: map[string]string{"brand": "x"}}
	plain, odd := r, r
	odd.InstallID = "0123456789abcde\xff" // would be U+FFFD, as many others
	if _, err := device.Register(t.Context(), srv.URL, odd, nil); !errors.Is(err, device.ErrInvalid) || body != "" {
		t.Errorf("an id that is not UTF-8: got %v and %q, want ErrInvalid and no request", err, body)
	}
	r.PreviousID, r.PreviousProof = "old-7", "00ff"
	id, err := device.Register(t.Context(), srv.URL+"/", r, &device.RegisterOptions{Current: &phone})
	if err != nil {
		t.Fatal(err)
	}
	if id.DeviceID != phone.DeviceID || id.ChannelID != "123" || id.MQTT.Port != 1883 || !id.Adopted {
		t.Errorf("got %+v", id)
	}
	if want := "Device " + phone.DeviceID + ":s3cret"; auth != want {
		t.Errorf("got Authorization %q, want %q", auth, want)
	}
	if !strings.Contains(body, `"attributes":{"brand":"x"}`) || strings.Contains(body, "tokens") ||
		!strings.Contains(body, `"previous_id":"old-7","previous_proof":"00ff"`) {
		t.Errorf("got body %s", body)
	}
	if _, err := device.Register(t.Context(), srv.URL, plain, nil); err != nil || strings.Contains(body, "previous") || auth != "" {
		t.Errorf("a device that is new: got %v, body %s", err, body)
	}

	r.AppKey = "wrong"
	_, err = device.Register(t.Context(), srv.URL, r, nil)
	var e *device.Error
	if !errors.As(err, &e) || e.Status != 429 || e.Code != "too_many" || e.Field != "app_key" || e.RetryAfter != 7*time.Second {
		t.Errorf("got %#v", err)
	}
	_, err = device.Register(t.Context(), srv.URL+"/elsewhere", r, nil)
	if !errors.As(err, &e) || e.Code != "http_404" {
		t.Errorf("a page of somebody else: got %v", err)
	}
}
