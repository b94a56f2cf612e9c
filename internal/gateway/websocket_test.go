package gateway_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/carillonpush/carillon/internal/gateway"
	"github.com/carillonpush/carillon/internal/mqtt"
)

func TestWebSocketNeedsTheSubprotocol(t *testing.T) {
	_, g := newHouse(t, nil)
	web := httptest.NewServer(g)
	defer web.Close()
	for _, tt := range []struct {
		name, protocols string
		upgrade         bool
		want            int
	}{
		{"no upgrade", "mqtt", false, http.StatusBadRequest},
		{"no sub-protocol", "", true, http.StatusBadRequest},
		{"another sub-protocol", "mqttv3.1, chat", true, http.StatusBadRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), "GET", web.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Sec-WebSocket-Protocol", tt.protocols)
			r.Header.Set("Sec-WebSocket-Version", "13")
			r.Header.Set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
			if tt.upgrade {
				r.Header.Set("Connection", "Upgrade")
				r.Header.Set("Upgrade", "websocket")
			}
			resp, err := web.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != tt.want {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.want)
			}
		})
	}
}

// frames are what a WebSocket client sends that is not as it should be, and the status that it is closed with.
func TestWebSocketFramesThatAreRefused(t *testing.T) {
	masked := func(f ws.Frame) []byte { return ws.MustCompileFrame(ws.MaskFrame(f)) }
	for _, tt := range []struct {
		name  string
		bytes []byte
		want  ws.StatusCode
	}{
		{"text", masked(ws.NewTextFrame([]byte("hello"))), ws.StatusUnsupportedData},
		{"no mask", ws.MustCompileFrame(ws.NewBinaryFrame([]byte{0xc0, 0})), ws.StatusProtocolError},
		{"continuation of nothing", masked(ws.NewFrame(ws.OpContinuation, true, []byte("x"))), ws.StatusProtocolError},
		{"ping in parts", masked(ws.NewFrame(ws.OpPing, false, nil)), ws.StatusProtocolError},
		{"reserved opcode", masked(ws.NewFrame(ws.OpCode(5), true, nil)), ws.StatusProtocolError},
		{"huge frame", []byte{0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}, ws.StatusMessageTooBig},
		{"close", masked(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusGoingAway, "bye"))), ws.StatusGoingAway},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, g := newHouse(t, nil)
			h.device("dev", 7)
			c := newClient(t, serve(t, g)[2].dial(), mqtt.V311).connect("dev", nil)
			nc := c.nc.(*wsConn).Conn
			if _, err := nc.Write(tt.bytes); err != nil {
				t.Fatal(err)
			}
			nc.SetReadDeadline(time.Now().Add(patience))
			_, _, err := wsutil.ReadServerData(nc)
			if closed, ok := err.(wsutil.ClosedError); !ok || closed.Code != tt.want {
				t.Errorf("got %v, want to be closed with %d", err, tt.want)
			}
			nc.Close()
			h.until("gone", func() bool { return len(h.presence[7]) == 2 })
		})
	}
}

// A packet may come in as many frames as it has bytes, with time-outs of the server in between.
func TestWebSocketPacketInManyFrames(t *testing.T) {
	h, g := newHouse(t, &gateway.Options{AckTimeout: time.Millisecond})
	h.device("dev", 7)
	c := newClient(t, serve(t, g)[2].dial(), mqtt.V5).connect("dev", nil).subscribe(0)
	h.send(message(1, "m"), 7)
	c.takes("m") // has the server look at the clock from now on
	frame, err := (&mqtt.Publish{Topic: "event", QoS: 1, PacketID: 3, Payload: []byte(`{"push":"1","event":"opened"}`)}).Append(nil, mqtt.V5)
	if err != nil {
		t.Fatal(err)
	}
	var nc net.Conn = c.nc.(*wsConn).Conn
	for _, b := range frame {
		for _, part := range ws.MustCompileFrame(ws.MaskFrame(ws.NewBinaryFrame([]byte{b}))) {
			if _, err := nc.Write([]byte{part}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if a := next[*mqtt.Ack](c); a.PacketID != 3 || a.Reason != mqtt.Success {
		t.Errorf("got %+v, want PUBACK 3", a)
	}
}
