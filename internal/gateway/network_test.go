package gateway_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/gateway"
	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/internal/push"
)

func TestParseNetwork(t *testing.T) {
	for _, tt := range []struct {
		name, in, want string // the network, or the path of what is wrong and a colon
	}{
		{"Wi-Fi", `{"network":"wifi"}`, "wifi"},
		{"mobile", ` { "network" : "mobile" } `, "mobile"},
		{"it does not say", `{"network":"any"}`, "any"},
		{"nothing", `{}`, "network:"},
		{"empty", `{"network":""}`, "network:"},
		{"another", `{"network":"ethernet"}`, "network:"},
		{"another case", `{"network":"WiFi"}`, "network:"},
		{"null", `{"network":null}`, "network:"},
		{"a list", `{"network":["wifi"]}`, "network:"},
		{"with an op", `{"op":"put","network":"wifi"}`, "op:"},
		{"twice", `{"network":"wifi","network":"mobile"}`, "network:"},
		{"no object", `"wifi"`, ":"},
		{"too long", `{"network":"wifi"` + strings.Repeat(" ", 4096) + `}`, ":"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, err := gateway.ParseNetwork([]byte(tt.in))
			got := string(n)
			if e, ok := err.(*push.Error); ok && e.Kind == push.Invalid && e.Msg != "" && n == "" {
				got = e.Field + ":"
			}
			if got != tt.want {
				t.Errorf("got %s (%v), want %s", got, err, tt.want)
			}
		})
	}
}

// What a device says of its network is done in order with all else that it says, and answered as that is.
func TestNetworkIsReported(t *testing.T) {
	everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
		h.device("dev", 7)
		slow := newSlowRecord(t, h)
		c := dial().connect("dev", nil)
		slow.login(c, 1)
		c.edit("device/network", `{"network":"wifi"}`, 2)
		slow.login(c, 3)
		c.write(&mqtt.Publish{Topic: "device/network", Payload: []byte(`{"network":"any"}`)})
		waiting(t, h.gw, 4)
		slow.release()
		for id := range uint16(3) {
			c.done(id+1, mqtt.Success, "")
		}
		waiting(t, h.gw, 0)
		want := []string{slow.want[0], "on wifi", slow.want[1], "on any"}
		if diff := cmp.Diff(h.labels.edits(7), want); diff != "" {
			t.Errorf("edits (-got +want):\n%s", diff)
		}
		c.edit("device/network", `{"network":"5G"}`, 4)
		if c.v == mqtt.V311 {
			c.gone(0)
			return
		}
		c.done(4, mqtt.PayloadFormatInvalid, "network: is wifi, mobile or any")
		h.labels.mu.Lock()
		h.labels.gone[7] = true
		h.labels.mu.Unlock()
		c.edit("device/network", `{"network":"mobile"}`, 5)
		c.done(5, mqtt.NotAuthorized, "no such device")
	})
}
