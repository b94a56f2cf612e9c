package conformance_test

import (
	"bufio"
	"encoding/json"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// mosquitto starts mosquitto_sub as a device. Lines of its output arrive on the channel until it ends.
func (n *node) mosquitto(p phone, args ...string) (lines <-chan string, stop func()) {
	n.t.Helper()
	host, port, err := net.SplitHostPort(n.MQTTAddr())
	if err != nil {
		n.t.Fatal(err)
	}
	args = append([]string{"-h", host, "-p", port, "-u", p.ID, "-P", p.Secret, "-t", "inbox"}, args...)
	cmd := exec.Command("mosquitto_sub", args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		n.t.Fatalf("mosquitto_sub: %v (make deps installs it)", err)
	}
	all := make(chan string, 1000)
	go func() {
		defer close(all)
		for s := bufio.NewScanner(out); s.Scan(); {
			all <- s.Text()
		}
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		_ = cmd.Process.Kill()
		for range all {
		}
		_ = cmd.Wait()
		if stderr.Len() > 0 {
			n.t.Logf("mosquitto_sub says: %s", stderr.String())
		}
	}
	n.t.Cleanup(stop)
	return all, stop
}

// inbox is what arrives on a device.
type inbox struct {
	ID           string
	Notification struct{ Title, Body, Ticker string }
	Data         json.RawMessage
	Extras       map[string]any
}

func next(t *testing.T, lines <-chan string) inbox {
	t.Helper()
	select {
	case line, ok := <-lines:
		if !ok {
			t.Fatal("the client ended")
		}
		var m inbox
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		return m
	case <-time.After(15 * time.Second):
		t.Fatal("nothing arrived")
	}
	panic("not reached")
}

func (n *node) push(body map[string]any) string {
	n.t.Helper()
	var answer struct{ ID string }
	n.call("POST", "/v1/apps/conformance/pushes", "Bearer "+n.card.Native.APIKey, body, &answer)
	return answer.ID
}

func notification(title string) map[string]any {
	return map[string]any{"notification": map[string]any{"title": title, "body": "b"}}
}

func TestMosquittoIsADevice(t *testing.T) {
	each(t, func(t *testing.T, n *node) {
		for _, tt := range []struct {
			name string
			args []string
		}{
			{"MQTT 3.1.1, QoS 1", []string{"-V", "mqttv311", "-q", "1"}},
			{"MQTT 5, QoS 1", []string{"-V", "mqttv5", "-q", "1"}},
			{"MQTT 3.1.1, QoS 0", []string{"-V", "mqttv311", "-q", "0"}},
			{"MQTT 5, QoS 0", []string{"-V", "mqttv5", "-q", "0"}},
			{"MQTT 5, QoS 2 is granted as 1", []string{"-V", "mqttv5", "-q", "2"}},
		} {
			t.Run(tt.name, func(t *testing.T) {
				n.t = t
				p := n.register("android")
				direct := func(title string) string {
					return n.push(map[string]any{"audience": map[string]any{"devices": []string{p.ID}}, "message": notification(title)})
				}
				away := []string{direct("first while away"), direct("second while away")}
				lines, stop := n.mosquitto(p, tt.args...)
				for i, want := range []string{"first while away", "second while away"} {
					if m := next(t, lines); m.Notification.Title != want || m.ID != away[i] {
						t.Fatalf("got %q (%s), want %q (%s)", m.Notification.Title, m.ID, want, away[i])
					}
				}
				online := direct("online")
				if m := next(t, lines); m.ID != online {
					t.Fatalf("got %s, want %s", m.ID, online)
				}
				all := n.push(map[string]any{"audience": map[string]any{"all": true}, "message": notification("to all")})
				if m := next(t, lines); m.ID != all {
					t.Fatalf("got %s, want the broadcast %s", m.ID, all)
				}
				for _, id := range append(away, online, all) { // only what is in the report does not come again
					var r report
					n.eventually(func() string { return "not delivered in the report of " + id }, func() bool {
						r = n.report(id)
						return r.Delivered == 1
					})
					if err := r.sum(); err != nil {
						t.Error(err)
					}
				}
				stop()
				back := direct("sent while away again")
				lines, stop = n.mosquitto(p, tt.args...)
				if m := next(t, lines); m.ID != back {
					t.Fatalf("got %s (%q), want only %s: what was acknowledged does not come again", m.ID, m.Notification.Title, back)
				}
				stop()
			})
		}
	})
}

func TestMosquittoIsRefused(t *testing.T) {
	n := start(t, sqlite)
	p := n.register("android")
	host, port, err := net.SplitHostPort(n.MQTTAddr())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		cmd  string
		args []string
		says string
	}{
		{"a wrong secret", "mosquitto_sub", []string{"-u", p.ID, "-P", "wrong", "-t", "inbox"}, "bad user name or password"},
		{"no credentials", "mosquitto_sub", []string{"-t", "inbox"}, "refused"},
		{"another topic", "mosquitto_sub", []string{"-V", "mqttv5", "-u", p.ID, "-P", p.Secret, "-t", "other", "-E"}, "denied"},
		{"publishing to the inbox", "mosquitto_pub", []string{"-V", "mqttv5", "-u", p.ID, "-P", p.Secret, "-t", "inbox", "-m", "x", "-q", "1"}, ""},
		{"a retained message", "mosquitto_pub", []string{"-V", "mqttv5", "-u", p.ID, "-P", p.Secret, "-t", "event", "-m", "x", "-q", "1", "-r"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"-h", host, "-p", port, "-W", "5"}, tt.args...)
			out, err := exec.CommandContext(t.Context(), tt.cmd, args...).CombinedOutput()
			if err == nil && tt.says == "" && len(out) == 0 {
				t.Errorf("%s %v succeeded, want a refusal", tt.cmd, tt.args)
			}
			if !strings.Contains(strings.ToLower(string(out)), tt.says) {
				t.Errorf("got %q (%v), want %q in it", out, err, tt.says)
			}
		})
	}
}
