package conformance_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/config"
	"github.com/carillonpush/carillon/internal/server"
	"github.com/carillonpush/carillon/internal/testpg"
)

func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }

// A node is a whole server on free ports, with one app.
type node struct {
	*server.Server
	t    *testing.T
	card card
}

// card is what creating an app answers, as far as these tests need it.
type card struct {
	App    struct{ ID, Name string }
	Native struct {
		APIKey string `json:"api_key"`
	}
	Device struct {
		AppKey    string `json:"app_key"`
		AppSecret string `json:"app_secret"`
	}
	Umeng struct{ Android, IOS, Harmony umengCredential }
}

type umengCredential struct {
	Appkey string
	Secret string `json:"app_master_secret"`
}

// each runs a test against a node on either database.
func each(t *testing.T, test func(t *testing.T, n *node)) {
	t.Run("sqlite", func(t *testing.T) { test(t, start(t, config.Config{})) })
	t.Run("postgres", func(t *testing.T) { test(t, start(t, config.Config{Database: testpg.URL(t)})) })
}

// start runs a node until the test ends, with c's settings, and creates the app "conformance" in it.
func start(t *testing.T, c config.Config) *node {
	t.Helper()
	c.Data, c.HTTP, c.MQTT, c.Admin = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	s, err := server.New(t.Context(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	n := &node{Server: s, t: t}
	n.call("POST", "/v1/apps", "Bearer "+s.AdminToken(), map[string]any{"name": "conformance"}, &n.card)
	return n
}

// call makes a request with a JSON body and decodes what a 2xx answers; anything else fails the test.
func (n *node) call(method, path, auth string, body, into any) {
	n.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		n.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(n.t.Context(), method, "http://"+n.HTTPAddr()+path, bytes.NewReader(b))
	if err != nil {
		n.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", auth)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		n.t.Fatalf("%s %s: %s %s %v", method, path, resp.Status, answer, err)
	}
	if into != nil {
		if err := json.Unmarshal(answer, into); err != nil {
			n.t.Fatalf("%s %s: %s: %v", method, path, answer, err)
		}
	}
}

// A phone is a registered device.
type phone struct {
	ID      string `json:"device_id"`
	Channel string `json:"channel_id"`
	Secret  string `json:"secret"`
}

// register makes a device of the node's app.
func (n *node) register(platform string) phone {
	n.t.Helper()
	var install [16]byte
	_, _ = rand.Read(install[:])
	var p phone
	n.call("POST", "/device/v1/register", "", map[string]any{
		"app_key": n.card.Device.AppKey, "app_secret": n.card.Device.AppSecret, "platform": platform,
		"install_id": hex.EncodeToString(install[:]), "attributes": map[string]string{"app_version": "2.1.0"},
	}, &p)
	return p
}

// report is a push as native REST shows it.
type report struct {
	ID, Kind, State                    string
	Target, Sent, Delivered, Pending   int
	Opened, Displayed, Clicked, Unconf int
	Dropped                            map[string]int
}

func (n *node) report(id string) report {
	n.t.Helper()
	var r report
	n.call("GET", "/v1/apps/conformance/pushes/"+id, "Bearer "+n.card.Native.APIKey, nil, &r)
	return r
}

// eventually calls ok until it is true; after ten seconds the test fails with what.
func (n *node) eventually(what func() string, ok func() bool) {
	n.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			n.t.Fatal(what())
		}
		select {
		case <-n.t.Context().Done():
			n.t.Fatal(what())
		case <-time.After(10 * time.Millisecond): // a foreign process is waited for
		}
	}
}

// sum checks that every targeted device is accounted for.
func (r report) sum() error {
	n := r.Delivered + r.Pending
	for _, d := range r.Dropped {
		n += d
	}
	if n != r.Target {
		return fmt.Errorf("target %d is not delivered + pending + dropped = %d: %+v", r.Target, n, r)
	}
	return nil
}
