package device_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/sdk/device"
)

const (
	recall = `{"id":"9","recall":"7"}`
	late   = `{"id":"7","notification":{"title":"taken back"}}`
	other  = `{"id":"8","notification":{"title":"stays"},"collapse_id":"score","data":{"recall":"7"}}`
)

// handed returns the ids of the messages that the handler got, up to 8.
func handed(t *testing.T, got <-chan device.Message) (ids []string) {
	t.Helper()
	for {
		m := next(t, got, "message")
		if ids = append(ids, m.ID); m.ID == "8" {
			if m.CollapseID != "score" || m.Recall != "" {
				t.Errorf("got %+v", m)
			}
			return ids
		}
		if m.ID == "9" && m.Recall != "7" {
			t.Errorf("got %+v, want a recall of 7", m)
		}
	}
}

// A recall reaches the handler, is acknowledged and confirmed; a copy that comes after it is acknowledged and not shown.
func TestRecall(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts device.Options
	}{
		{"MQTT 5", device.Options{}},
		{"MQTT 3.1.1", device.Options{Version: 4}},
		{"QoS 0", device.Options{AtMostOnce: true}},
		{"confirmed by the program", device.Options{ManualRecalls: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBroker(t, func(b *broker) {
				b.hello = func(string, int) []string { return []string{late, recall, late, other} }
			})
			got := make(chan device.Message, 10)
			opts := tt.opts
			opts.Address = b.address()
			d := device.New(phone, func(_ context.Context, m device.Message) error { got <- m; return nil }, &opts)
			start(t, d)
			if ids := handed(t, got); !slices.Equal(ids, []string{"7", "9", "8"}) {
				t.Errorf("handed over %v, want 7, 9 and 8: not 7 again", ids)
			}
			for i := range 4 {
				if opts.AtMostOnce {
					break
				}
				if got, want := next(t, b.acks, "PUBACK"), fmt.Sprintf("%s %d", phone.DeviceID, i+1); got != want {
					t.Errorf("got PUBACK %q, want %q", got, want)
				}
			}
			if opts.ManualRecalls {
				if err := d.Event(t.Context(), "7", device.Opened); err != nil { // nothing was said before
					t.Fatal(err)
				}
				if got := next(t, b.events, "event"); !strings.Contains(got, "opened") {
					t.Errorf("got %s, which the program has not said", got)
				}
				return
			}
			if got, want := next(t, b.events, "event"), `{"push":"7","event":"recalled"}`; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// What the connection's end keeps a device from confirming, it confirms on the next; what is refused again and again, where
// a refusal looks like that, it gives up.
func TestRecallIsConfirmedOnTheNextConnection(t *testing.T) {
	for _, tt := range []struct {
		name    string
		version int
		refuse  int32 // how many times
		said    int
	}{
		{"answered", 4, 0, 1},
		{"lost once", 4, 1, 2},
		{"refused over 3.1.1", 4, 100, 3},
		{"refused over 5.0", 5, 100, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var events atomic.Int32
			b := newBroker(t, func(b *broker) {
				b.hello = func(_ string, n int) []string {
					if n == 1 {
						return []string{recall}
					}
					return nil
				}
				b.judge = func(p string) mqtt.ReasonCode {
					if strings.Contains(p, "recalled") && events.Add(1) <= tt.refuse {
						return mqtt.NotAuthorized
					}
					return mqtt.Success
				}
			})
			connected := make(chan struct{}, 100)
			d := device.New(phone, func(context.Context, device.Message) error { return nil },
				&device.Options{Address: b.address(), Version: tt.version, MinDelay: time.Millisecond, Connected: func() { connected <- struct{}{} }})
			start(t, d)
			for range tt.said {
				if got, want := next(t, b.events, "event"), `{"push":"7","event":"recalled"}`; got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
			// Nothing more is said of it: the next is of something else, on whichever connection there is by then.
			for {
				next(t, connected, "connection")
				err := d.Event(t.Context(), "8", device.Opened)
				if err == nil {
					break
				}
				if !errors.Is(err, device.ErrUnavailable) && !errors.Is(err, device.ErrNotConnected) {
					t.Fatal(err)
				}
			}
			for said := ""; !strings.Contains(said, `"8"`); {
				if said = next(t, b.events, "event"); strings.Contains(said, "recalled") {
					t.Errorf("said once more: %s", said)
				}
			}
			if got, want := next(t, b.acks, "PUBACK"), phone.DeviceID+" 1"; got != want || len(b.acks) > 0 {
				t.Errorf("got PUBACK %q and %d more, want %q alone", got, len(b.acks), want)
			}
		})
	}
}

// A handler that fails has not withdrawn the message: the recall comes again, and is confirmed once.
func TestRecallThatIsNotHandledComesAgain(t *testing.T) {
	b := newBroker(t, func(b *broker) {
		b.hello = func(string, int) []string { return []string{recall} }
	})
	var calls atomic.Int32
	start(t, device.New(phone, func(context.Context, device.Message) error {
		if calls.Add(1) == 1 {
			return errors.New("not now")
		}
		return nil
	}, &device.Options{Address: b.address(), MinDelay: time.Millisecond}))
	next(t, b.events, "event")
	if got := calls.Load(); got != 2 || len(b.events) > 0 {
		t.Errorf("the handler was called %d times before the event, %d events more; want 2 and none", got, len(b.events))
	}
}

// A program that ends while it handles a recall has confirmed it.
func TestRecallIsConfirmedAtTheEnd(t *testing.T) {
	b := newBroker(t, func(b *broker) {
		b.hello = func(string, int) []string { return []string{recall} }
	})
	ctx, cancel := context.WithCancel(t.Context())
	d := device.New(phone, func(context.Context, device.Message) error { cancel(); return nil }, &device.Options{Address: b.address()})
	if err := d.Run(ctx); err != nil {
		t.Fatal(err)
	}
	next(t, b.events, "event")
}

// A device remembers the last thousand recalls.
func TestRecallsAreForgotten(t *testing.T) {
	const n = 1001
	b := newBroker(t, func(b *broker) {
		b.hello = func(string, int) (all []string) {
			for i := range n {
				all = append(all, fmt.Sprintf(`{"id":"%d","recall":"%d"}`, 10_000+i, 20_000+i))
			}
			return append(all, `{"id":"20001"}`, `{"id":"21000"}`, `{"id":"20000"}`, other)
		}
	})
	got := make(chan device.Message, 2*n)
	start(t, device.New(phone, func(_ context.Context, m device.Message) error { got <- m; return nil },
		&device.Options{Address: b.address(), ManualRecalls: true}))
	if ids := handed(t, got); !slices.Equal(ids[n:], []string{"20000", "8"}) {
		t.Errorf("handed over %v after the recalls, want 20000, which is forgotten, and 8", ids[n:])
	}
}

func TestFleetUnderstandsRecalls(t *testing.T) {
	for _, v := range []mqtt.Version{mqtt.V311, mqtt.V5} {
		handed := ""
		f := device.NewFleet(newBroker(t).addrPort(), []device.Identity{phone}, &device.FleetOptions{
			Version: int(v), OnMessage: func(_ int, p []byte) { handed += string(p) + "\n" },
		})
		var packets []mqtt.Packet
		for i, payload := range []string{late, recall, late, recall, other} {
			packets = append(packets, &mqtt.Publish{Topic: "inbox", QoS: mqtt.AtLeastOnce, PacketID: uint16(i + 1), Payload: []byte(payload)})
		}
		in, err := device.Append(v, append([]mqtt.Packet{&mqtt.Connack{}, &mqtt.Suback{PacketID: 1, Reasons: []mqtt.ReasonCode{1}}}, packets...)...)
		if err != nil {
			t.Fatal(err)
		}
		out, err := device.Feed(f, in)
		if err != nil {
			t.Fatal(err)
		}
		var acks []uint16
		said := ""
		r := mqtt.NewReader(strings.NewReader(string(out)), 0)
		for {
			p, err := r.ReadPacket(v)
			if err == io.EOF {
				break
			}
			switch p := p.(type) {
			case *mqtt.Ack:
				acks = append(acks, p.PacketID)
			case *mqtt.Publish:
				said += fmt.Sprintf("%s %d %s\n", p.Topic, p.PacketID, p.Payload)
			case nil:
				t.Fatal(err)
			}
		}
		if want := late + "\n" + recall + "\n" + recall + "\n" + other + "\n"; handed != want {
			t.Errorf("handed over\n%swant\n%s", handed, want)
		}
		event := `{"push":"7","event":"recalled"}`
		if want := "event 1 " + event + "\nevent 2 " + event + "\n"; said != want || !slices.Equal(acks, []uint16{1, 2, 3, 4, 5}) {
			t.Errorf("said %q and acknowledged %v; want %q and all", said, acks, want)
		}
		if s := f.Stats(); s.Recalls != 2 || s.Late != 1 || s.Messages != 5 || s.Duplicates != 2 || s.Acknowledged != 5 {
			t.Errorf("got %+v", s)
		}
	}
}

func TestNetwork(t *testing.T) {
	b := newBroker(t, func(b *broker) {
		b.judge = func(p string) mqtt.ReasonCode {
			if strings.Contains(p, "5G") {
				return mqtt.PayloadFormatInvalid
			}
			return mqtt.Success
		}
	})
	d := device.New(phone, nil, &device.Options{Address: b.address()})
	if err := d.Network(t.Context(), device.WiFi); !errors.Is(err, device.ErrNotConnected) {
		t.Errorf("before Connect: got %v, want ErrNotConnected", err)
	}
	connected := make(chan struct{})
	d = device.New(phone, nil, &device.Options{Address: b.address(), Connected: func() { close(connected) }})
	start(t, d)
	next(t, connected, "connection")
	for _, n := range []device.Network{device.WiFi, device.Mobile, device.AnyNetwork} {
		if err := d.Network(t.Context(), n); err != nil {
			t.Errorf("%s: %v", n, err)
		}
		if got, want := next(t, b.events, "network"), fmt.Sprintf(`device/network {"network":%q}`, n); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if err := d.Network(t.Context(), "5G"); !errors.Is(err, device.ErrInvalid) {
		t.Errorf("got %v, want ErrInvalid", err)
	}
}

func TestSetNetworkOverHTTP(t *testing.T) {
	var got string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body map[string]string
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		if n := body["network"]; n != "" && n != "wifi" && n != "mobile" {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"code":"invalid","field":"network","detail":"is wifi or mobile"}`)
			return
		}
		got = fmt.Sprint(r.Method, r.URL.Path, r.Header.Get("Authorization"), body)
		fmt.Fprint(w, `{}`)
	}))
	defer srv.Close()
	for n, says := range map[device.Network]string{device.WiFi: "wifi", device.Mobile: "mobile", device.AnyNetwork: ""} {
		if err := device.SetNetwork(t.Context(), srv.URL+"/", phone, n, nil); err != nil {
			t.Errorf("%s: %v", n, err)
		}
		if want := fmt.Sprint("PATCH", "/device/v1/me", "Device "+phone.DeviceID+":s3cret", map[string]string{"network": says}); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	var e *device.Error
	if err := device.SetNetwork(t.Context(), srv.URL, phone, "5G", http.DefaultClient); !errors.As(err, &e) || e.Code != "invalid" || e.Field != "network" {
		t.Errorf("got %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
}
