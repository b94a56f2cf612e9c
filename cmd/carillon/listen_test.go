package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/carillonpush/carillon/internal/mqtt"
)

// A mqttNode accepts devices, sends each the same messages, and notes what they answer.
type mqttNode struct {
	net.Listener
	messages []string
	refuse   bool
	answers  chan string
	wg       sync.WaitGroup
}

func startMQTT(t *testing.T, refuse bool, messages ...string) *mqttNode {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &mqttNode{Listener: ln, messages: messages, refuse: refuse, answers: make(chan string, 100)}
	n.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			n.wg.Go(func() { n.serve(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); n.wg.Wait() }) //nolint:errcheck // a test's end
	return n
}

func (n *mqttNode) serve(c net.Conn) {
	defer c.Close() //nolint:errcheck // it is over
	var v mqtt.Version
	send := func(p mqtt.Packet) {
		if b, err := p.Append(nil, v); err == nil {
			c.Write(b) //nolint:errcheck // the binary may have gone
		}
	}
	r := mqtt.NewReader(c, 0)
	for {
		p, err := r.ReadPacket(v)
		if err != nil {
			return
		}
		switch p := p.(type) {
		case *mqtt.Connect:
			v = p.Version
			if n.refuse {
				send(&mqtt.Connack{Reason: mqtt.NotAuthorized})
				return
			}
			n.answers <- "connect " + p.Username + " " + string(p.Password)
			send(&mqtt.Connack{})
		case *mqtt.Subscribe:
			send(&mqtt.Suback{PacketID: p.PacketID, Reasons: []mqtt.ReasonCode{mqtt.GrantedQoS1}})
			for i, m := range n.messages {
				send(&mqtt.Publish{Topic: "inbox", QoS: 1, PacketID: uint16(i + 1), Payload: []byte(m)})
			}
		case *mqtt.Publish:
			n.answers <- "event " + string(p.Payload)
			send(&mqtt.Ack{Type: mqtt.TypePuback, PacketID: p.PacketID})
		case *mqtt.Ack:
			n.answers <- fmt.Sprintf("ack %d", p.PacketID)
		case *mqtt.Disconnect:
			n.answers <- "disconnect"
			return
		}
	}
}

func (n *mqttNode) url() string { return "tcp://" + n.Addr().String() }

// heard returns what the node has noted.
func (n *mqttNode) heard() []string {
	n.Close() //nolint:errcheck // nobody else is to come
	n.wg.Wait()
	close(n.answers)
	var all []string
	for a := range n.answers {
		all = append(all, a)
	}
	return all
}

func TestListenPrintsAndAcknowledges(t *testing.T) {
	n := startMQTT(t, false,
		`{"id":"5","notification":{"title":"开门","body":"two\nlines","click":{"action":"url","url":"https://x"}},"extras":{"order":"42"},"data":[1]}`,
		`{"id":"6","recall":"5"}`)
	cmd := command(t, nil, "listen", "--device", "d1", "--secret", "s1", "--mqtt", n.url(), "--event", "opened", "--count", "2")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	for _, want := range []string{"title    开门", "body     two\n             lines", "click    url https://x", `extra    order = "42"`, "data     [1]", "recalls 5"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, &stdout)
		}
	}
	got := strings.Join(n.heard(), "; ")
	if want := `connect d1 s1; event {"push":"5","event":"opened"}; ack 1; ack 2; event {"push":"5","event":"recalled"}; disconnect`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestListenAsJSONPrintsMessagesAsTheyCame(t *testing.T) {
	n := startMQTT(t, false, `{"id":"5","later":{"x":1}}`, `{"id":"6"}`)
	cmd := command(t, []string{"CARILLON_DEVICE_SECRET=s1"}, "listen", "--device", "d1", "--mqtt", n.url(), "--mqtt-version", "4", "--count", "2", "--json")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		lines = append(lines, s.Text())
	}
	if got, want := strings.Join(lines, "\n"), `{"id":"5","later":{"x":1}}`+"\n"+`{"id":"6"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestListenFails(t *testing.T) {
	quiet, closed := startMQTT(t, false), startMQTT(t, true)
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"the device is not known", []string{"--mqtt", closed.url()}, "does not know this device"},
		{"nothing comes in time", []string{"--mqtt", quiet.url(), "--count", "1", "--for", "50ms"}, "0 of 1 messages"},
		{"nobody listens", []string{"--mqtt", "tcp://127.0.0.1:1"}, "--mqtt sets another"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := command(t, nil, append([]string{"listen", "--device", "d", "--secret", "s"}, tt.args...)...).CombinedOutput()
			if err == nil || !strings.Contains(string(out), tt.want) {
				t.Errorf("got %v with %s, want %q", err, out, tt.want)
			}
		})
	}
}

func TestListenKeepsItsIdentity(t *testing.T) {
	n := startMQTT(t, false, `{"id":"5"}`)
	registered := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		registered++
		host, port, _ := net.SplitHostPort(n.Addr().String())
		fmt.Fprintf(w, `{"device_id":"dev%d","secret":"s","mqtt":{"host":%q,"port":%s}}`, registered, host, port)
	}))
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "phone.json")
	for range 2 {
		cmd := command(t, nil, "listen", "--server", srv.URL, "--app-key", "k", "--app-secret", "s", "--save", file, "--count", "1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	if registered != 1 {
		t.Errorf("registered %d times, want once", registered)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("the identity has mode %o, want 600", got)
	}
	var id struct {
		DeviceID string `json:"device_id"`
	}
	b, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(b, &id) != nil || id.DeviceID != "dev1" {
		t.Errorf("got %s, %v", b, err)
	}
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := command(t, nil, "listen", "--save", file).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "holds no identity") {
		t.Errorf("a spoiled file: got %v with %s", err, out)
	}
}
