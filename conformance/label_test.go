package conformance_test

import (
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// called is a device as native REST shows it, as far as it is about what it is called.
type called struct {
	Tags       []string
	Account    string
	Attributes map[string]string
	Aliases    []struct{ Type, Value string }
}

func (n *node) device(p phone) called {
	n.t.Helper()
	var d called
	n.call("GET", "/v1/apps/conformance/devices/"+p.ID, "Bearer "+n.card.Native.APIKey, nil, &d)
	return d
}

// publish has mosquitto_pub publish as a device at QoS 1, and returns what it says. It ends when it is acknowledged.
func (n *node) publish(p phone, version, topic, payload string) (says string, err error) {
	n.t.Helper()
	host, port, err := net.SplitHostPort(n.MQTTAddr())
	if err != nil {
		n.t.Fatal(err)
	}
	out, err := exec.CommandContext(n.t.Context(), "mosquitto_pub", "-h", host, "-p", port, "-u", p.ID, "-P", p.Secret,
		"-V", version, "-q", "1", "-t", topic, "-m", payload).CombinedOutput()
	return string(out), err
}

func TestMosquittoSaysWhatItIsCalled(t *testing.T) {
	each(t, func(t *testing.T, n *node) {
		for _, version := range []string{"mqttv311", "mqttv5"} {
			t.Run(version, func(t *testing.T) {
				n.t = t
				p, other := n.register("android"), n.register("android")
				vip := "vip of " + version
				for _, m := range []struct{ topic, payload string }{
					{"device/tags", `{"op": "put", "tags": ["old", "` + vip + `"]}`},
					{"device/tags", `{"op": "delete", "tags": ["old"]}`},
					{"device/tags", `{"op": "add", "tags": ["北京"]}`},
					{"device/alias", `{"op": "put", "type": "uid", "value": "` + version + `"}`},
					{"device/account", `{"op": "put", "account": "ann"}`},
					{"device/attributes", `{"op": "add", "attributes": {"language": "zh"}}`},
				} {
					if says, err := n.publish(p, version, m.topic, m.payload); err != nil || says != "" {
						t.Fatalf("%s %s: %q, %v", m.topic, m.payload, says, err)
					}
				}
				d := n.device(p) // each was acknowledged, so that each is in force
				slices.Sort(d.Tags)
				if want := []string{vip, "北京"}; !slices.Equal(d.Tags, want) {
					t.Errorf("tags %q, want %q", d.Tags, want)
				}
				if d.Account != "ann" || d.Attributes["language"] != "zh" || d.Attributes["app_version"] != "2.1.0" {
					t.Errorf("got %+v, want account ann, language zh and app_version as it was", d)
				}
				if len(d.Aliases) != 1 || d.Aliases[0].Type != "uid" || d.Aliases[0].Value != version {
					t.Errorf("aliases %+v, want uid %s", d.Aliases, version)
				}

				lines, stop := n.mosquitto(p, "-V", version, "-q", "1")
				for name, audience := range map[string]map[string]any{
					"by tag":     {"where": map[string]any{"tag": vip}},
					"by alias":   {"aliases": map[string]any{"type": "uid", "values": []string{version}}},
					"by account": {"where": map[string]any{"and": []any{map[string]any{"account": []string{"ann"}}, map[string]any{"tag": vip}}}},
				} {
					id := n.push(map[string]any{"audience": audience, "message": notification(name)})
					if m := next(t, lines); m.ID != id {
						t.Errorf("%s: got %s, want %s", name, m.ID, id)
					}
				}
				stop()

				// The other device becomes the alias's only owner.
				if says, err := n.publish(other, version, "device/alias", `{"op": "put", "type": "uid", "value": "`+version+`"}`); err != nil || says != "" {
					t.Fatalf("%q, %v", says, err)
				}
				if d, o := n.device(p), n.device(other); len(d.Aliases) != 0 || len(o.Aliases) != 1 {
					t.Errorf("aliases %+v and %+v, want that the second device has the alias and the first none", d.Aliases, o.Aliases)
				}
				for _, m := range []struct{ topic, payload string }{
					{"device/tags", `{"op": "delete"}`}, {"device/account", `{"op": "delete"}`}, {"device/alias", `{"op": "delete"}`},
				} {
					if says, err := n.publish(other, version, m.topic, m.payload); err != nil || says != "" {
						t.Fatalf("%s: %q, %v", m.topic, says, err)
					}
				}
				if o := n.device(other); len(o.Aliases)+len(o.Tags) != 0 || o.Account != "" {
					t.Errorf("got %+v, want a device that is called nothing", o)
				}
			})
		}
	})
}

func TestMosquittoIsToldWhyItsLabelsAreRefused(t *testing.T) {
	n := start(t, sqlite)
	p := n.register("android")
	long := strings.Repeat("x", 129)
	for _, tt := range []struct {
		name, topic, payload string
		says                 string
	}{
		{"no op", "device/tags", `{"tags": ["vip"]}`, "op: "},
		{"an unknown op", "device/tags", `{"op": "set", "tags": ["vip"]}`, "op: "},
		{"an unknown field", "device/account", `{"op": "put", "account": "ann", "x": 1}`, "x: "},
		{"a tag too long", "device/tags", `{"op": "add", "tags": ["vip", "` + long + `"]}`, "tags[1]: "},
		{"an alias without a value", "device/alias", `{"op": "put", "type": "uid"}`, "value: "},
		{"not JSON", "device/attributes", `language=zh`, "json"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			says, err := n.publish(p, "mqttv5", tt.topic, tt.payload)
			says = strings.ToLower(says)
			if !strings.Contains(says, "payload format invalid") || !strings.Contains(says, tt.says) {
				t.Errorf("MQTT 5: got %q (%v), want payload format invalid and %q", says, err, tt.says)
			}
			if says, err := n.publish(p, "mqttv311", tt.topic, tt.payload); err == nil {
				t.Errorf("MQTT 3.1.1: got %q and success, want that the connection ends", says)
			}
		})
	}
	if d := n.device(p); len(d.Tags)+len(d.Aliases) != 0 || d.Account != "" {
		t.Errorf("got %+v, want that nothing has changed", d)
	}
}
