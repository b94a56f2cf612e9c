package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/carillonpush/carillon/internal/config"
	"github.com/carillonpush/carillon/internal/server"
	"github.com/carillonpush/carillon/internal/testpg"
	"github.com/carillonpush/carillon/sdk/device"
)

// A node is a server that runs inside the test.
type node struct {
	*server.Server
	t      *testing.T
	config config.Config
	stop   func()
	client
}

func local(t *testing.T) config.Config {
	return config.Config{Data: t.TempDir(), HTTP: "127.0.0.1:0", MQTT: "127.0.0.1:0", Admin: "127.0.0.1:0"}
}

// run starts a node until stop or the end of the test.
func run(t *testing.T, c config.Config, opts *server.Options) *node {
	t.Helper()
	s, err := server.New(t.Context(), c, opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	n := &node{Server: s, t: t, config: c, client: client{"http://" + s.HTTPAddr(), s.AdminToken()}}
	stopped := false
	n.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	t.Cleanup(n.stop)
	return n
}

// each runs a test on both databases.
func each(t *testing.T, test func(t *testing.T, c config.Config)) {
	t.Run("sqlite", func(t *testing.T) { test(t, local(t)) })
	t.Run("postgres", func(t *testing.T) {
		c := local(t)
		c.Database = testpg.URL(t)
		test(t, c)
	})
}

func (n *node) register(c card) device.Identity {
	n.t.Helper()
	var install [16]byte
	_, _ = rand.Read(install[:])
	id, err := device.Register(n.t.Context(), n.base, device.Registration{
		AppKey: c.Device.AppKey, AppSecret: c.Device.AppSecret, Platform: "android", InstallID: hex.EncodeToString(install[:]),
	}, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	return id
}

// connect runs a device until the function that it returns is called. Ids arrive on the channel.
func (n *node) connect(id device.Identity, opts *device.Options) (<-chan string, func()) {
	n.t.Helper()
	got := make(chan string, 100)
	up := make(chan struct{}, 10)
	o := device.Options{}
	if opts != nil {
		o = *opts
	}
	if o.Address == "" {
		o.Address = "tcp://" + n.MQTTAddr() // which differs from run to run of one node
	}
	o.Connected = func() { up <- struct{}{} }
	d := device.New(id, func(_ context.Context, m device.Message) error {
		got <- m.ID
		return nil
	}, &o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	stop := func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, device.ErrTakenOver) {
			n.t.Errorf("device: %v", err)
		}
	}
	select {
	case <-up:
	case err := <-done:
		n.t.Fatalf("device: %v", err)
	case <-time.After(20 * time.Second):
		n.t.Fatal("the device does not connect")
	}
	return got, stop
}

func arrives(t *testing.T, got <-chan string, want string) {
	t.Helper()
	select {
	case id := <-got:
		if id != want {
			t.Fatalf("got push %s, want %s", id, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("push %s does not arrive", want)
	}
}

func (n *node) send(body map[string]any) string {
	n.t.Helper()
	id, err := n.push(n.t.Context(), "app", "", body)
	if err != nil {
		n.t.Fatal(err)
	}
	return id
}

func toDevice(id device.Identity) map[string]any {
	return map[string]any{"audience": map[string]any{"devices": []string{id.DeviceID}}, "message": map[string]any{"data": 1}}
}

func toAll() map[string]any {
	return map[string]any{"audience": map[string]any{"all": true}, "message": map[string]any{"data": 1}}
}

func TestAcrossARestart(t *testing.T) {
	each(t, func(t *testing.T, c config.Config) {
		n := run(t, c, nil)
		card := n.createApp(t, "app")
		here, away := n.register(card), n.register(card)
		got, stop := n.connect(here, nil)
		arrives(t, got, n.send(toDevice(here)))
		all := n.send(toAll())
		arrives(t, got, all)
		waits := n.send(toDevice(away))
		stop()
		token := n.token
		n.stop()

		n = run(t, c, nil)
		if n.token != token {
			t.Error("the admin token has changed")
		}
		got, stop = n.connect(here, nil)
		defer stop()
		arrives(t, got, n.send(toDevice(here))) // and nothing before it
		got, stop = n.connect(away, nil)
		defer stop()
		arrives(t, got, all)
		arrives(t, got, waits)
		var r struct{ Delivered, Target int }
		for deadline := time.Now().Add(20 * time.Second); r.Delivered != 1; pause(t, 5*time.Millisecond) {
			if err := n.call(t.Context(), "GET", "/v1/apps/app/pushes/"+waits, nil, nil, &r); err != nil {
				t.Fatal(err)
			}
			if time.Now().After(deadline) {
				t.Fatalf("got %+v, want it delivered", r)
			}
		}
	})
}

func TestNothingIsLeftRunning(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	defer httpClient.CloseIdleConnections()
	n := run(t, local(t), nil)
	card := n.createApp(t, "app")
	id := n.register(card)
	got, stop := n.connect(id, nil)
	arrives(t, got, n.send(toAll()))
	stop()
	n.stop()
	http.DefaultClient.CloseIdleConnections()
}

func TestASecondProcessIsKeptOut(t *testing.T) {
	n := run(t, local(t), nil)
	if s, err := server.New(t.Context(), n.config, nil); err == nil {
		_ = s.Close()
		t.Error("two nodes in one data directory")
	}
}

func TestOpeningFailsWithoutTheKeyring(t *testing.T) {
	c := local(t)
	n := run(t, c, nil)
	n.createApp(t, "app")
	n.stop()
	if err := os.Remove(c.ServerKeyPath()); err != nil {
		t.Fatal(err)
	}
	if s, err := server.New(t.Context(), c, nil); err == nil {
		_ = s.Close()
		t.Error("a node started with a new keyring over an old record: every id and secret would be dead")
	}
}

func TestTransports(t *testing.T) {
	c := local(t)
	c.HTTPS, c.MQTTS = "127.0.0.1:0", "127.0.0.1:0"
	var pool *x509.CertPool
	c.TLSCert, c.TLSKey, pool = certificate(t)
	n := run(t, c, nil)
	card := n.createApp(t, "app")
	trust := &tls.Config{RootCAs: pool, ServerName: "localhost"}
	for _, tt := range []struct {
		name string
		opts device.Options
	}{
		{"TCP, 3.1.1", device.Options{Address: "tcp://" + n.MQTTAddr(), Version: 4}},
		{"TCP, 5.0", device.Options{Address: "tcp://" + n.MQTTAddr()}},
		{"TLS", device.Options{Address: "tls://" + n.MQTTSAddr(), TLS: trust}},
		{"WebSocket", device.Options{Address: "ws://" + n.HTTPAddr() + "/mqtt"}},
		{"WebSocket over TLS", device.Options{Address: "wss://" + n.HTTPSAddr() + "/mqtt", TLS: trust}},
		{"QoS 0", device.Options{Address: "tcp://" + n.MQTTAddr(), AtMostOnce: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := n.register(card)
			waits := n.send(toDevice(id))
			got, stop := n.connect(id, &tt.opts)
			defer stop()
			arrives(t, got, waits)
			arrives(t, got, n.send(toDevice(id)))
			arrives(t, got, n.send(toAll()))
		})
	}
}

// certificate makes a key pair for localhost in files.
func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := errors.Join(
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	return certFile, keyFile, pool
}

func TestInboxAsAnEventStream(t *testing.T) {
	each(t, func(t *testing.T, c config.Config) {
		n := run(t, c, nil)
		card := n.createApp(t, "app")
		id := n.register(card)
		auth := "Device " + id.DeviceID + ":" + id.Secret
		waits := n.send(toDevice(id))
		open := func() (events *bufio.Scanner, end func()) {
			ctx, cancel := context.WithCancel(t.Context())
			req, err := http.NewRequestWithContext(ctx, "GET", n.base+"/device/v1/inbox", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", auth)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if ct := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || !strings.HasPrefix(ct, "text/event-stream") {
				t.Fatalf("got %s %s", resp.Status, ct)
			}
			return bufio.NewScanner(resp.Body), func() { cancel(); resp.Body.Close() }
		}
		next := func(s *bufio.Scanner) string {
			for s.Scan() {
				if id, ok := strings.CutPrefix(s.Text(), "id: "); ok {
					return id
				}
			}
			t.Fatalf("the stream ended: %v", s.Err())
			return ""
		}
		acknowledge := func(push string) {
			if err := n.call(t.Context(), "POST", "/device/v1/events", map[string]string{"Authorization": auth}, map[string]string{"push": push, "event": "delivered"}, nil); err != nil {
				t.Fatal(err)
			}
		}
		events, end := open()
		if got := next(events); got != waits {
			t.Fatalf("got %s, want %s", got, waits)
		}
		all := n.send(toAll())
		if got := next(events); got != all {
			t.Fatalf("got %s, want the broadcast %s", got, all)
		}
		acknowledge(waits)
		end()
		events, end = open()
		defer end()
		if got := next(events); got != all {
			t.Fatalf("got %s, want the broadcast %s, which was not acknowledged", got, all)
		}
	})
}

func TestAdminPages(t *testing.T) {
	n := run(t, local(t), nil)
	card := n.createApp(t, "app")
	id := n.register(card)
	got, stop := n.connect(id, nil)
	defer stop()
	arrives(t, got, n.send(toDevice(id)))
	page := func(path string) string {
		resp, err := http.Get("http://" + n.AdminAddr() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %s %v", path, resp.Status, err)
		}
		return string(b)
	}
	if got := page("/healthz"); got != "ok\n" {
		t.Errorf("/healthz: got %q", got)
	}
	if got := page("/readyz"); got != "ready\n" {
		t.Errorf("/readyz: got %q", got)
	}
	for _, want := range []string{
		"carillon_connections 1", `carillon_pushes_accepted_total{kind="direct",origin="rest"} 1`,
		`carillon_deliveries_total{channel="own",kind="direct"} 1`, "carillon_commit_writes_count", "carillon_inbox_rows 0",
	} {
		for deadline := time.Now().Add(10 * time.Second); !strings.Contains(page("/metrics"), want); pause(t, 10*time.Millisecond) {
			if time.Now().After(deadline) {
				t.Errorf("/metrics lacks %s", want)
				break
			}
		}
	}
	page("/debug/pprof/heap")
	if resp, err := http.Get(n.base + "/metrics"); err != nil || resp.StatusCode != 404 {
		t.Errorf("/metrics on the public address: got %v, %v, want 404", resp.Status, err)
	} else {
		resp.Body.Close()
	}
}

func TestAppsAreApart(t *testing.T) {
	n := run(t, local(t), nil)
	mine := n.createApp(t, "app")
	var other card
	if err := n.call(t.Context(), "POST", "/v1/apps", nil, map[string]any{"name": "other"}, &other); err != nil {
		t.Fatal(err)
	}
	id := n.register(mine)
	foreign := client{n.base, other.Native.APIKey}
	var st *status
	if _, err := foreign.push(t.Context(), "app", "", toDevice(id)); !errors.As(err, &st) || st.code != 403 {
		t.Errorf("another app's key: got %v, want 403", err)
	}
	if _, err := foreign.push(t.Context(), "other", "", toDevice(id)); !errors.As(err, &st) || st.code != 404 {
		t.Errorf("a device of another app: got %v, want 404: none of the named devices is of this app", err)
	}
	if _, err := (client{n.base, "wrong"}).push(t.Context(), "app", "", toDevice(id)); !errors.As(err, &st) || st.code != 401 {
		t.Errorf("a wrong key: got %v, want 401", err)
	}
}

func TestARemovedDeviceIsGone(t *testing.T) {
	n := run(t, local(t), nil)
	card := n.createApp(t, "app")
	id := n.register(card)
	d := device.New(id, func(context.Context, device.Message) error { return nil }, &device.Options{MinDelay: time.Millisecond})
	done := make(chan error, 1)
	go func() { done <- d.Run(t.Context()) }()
	waits := n.send(toDevice(id))
	if err := n.call(t.Context(), "DELETE", "/v1/apps/app/devices/"+id.DeviceID, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if !errors.Is(err, device.ErrRefused) {
			t.Errorf("its connection: got %v, want refused", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it is still connected")
	}
	var st *status
	if _, err := n.push(t.Context(), "app", "", toDevice(id)); !errors.As(err, &st) || st.code != 404 {
		t.Errorf("a push to it: got %v, want 404", err)
	}
	var r struct {
		Target, Delivered, Pending int
		Dropped                    map[string]int
	}
	if err := n.call(t.Context(), "GET", "/v1/apps/app/pushes/"+waits, nil, nil, &r); err != nil {
		t.Fatal(err)
	}
	if r.Target != 1 || r.Pending != 0 || r.Delivered+r.Dropped["unregistered"] != 1 {
		t.Errorf("what it was owed: got %+v, want it delivered before or unregistered", r)
	}
}

func TestDemoPrintsWhatToPaste(t *testing.T) {
	c := local(t)
	c.Demo = true
	var out lockedBuffer
	n := run(t, c, &server.Options{Out: &out, Version: "test"})
	var app card
	for deadline := time.Now().Add(10 * time.Second); ; pause(t, 10*time.Millisecond) {
		if err := n.call(t.Context(), "GET", "/v1/apps/demo", nil, nil, &app); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	n.stop()
	for _, want := range []string{app.Device.AppKey, app.Native.APIKey, n.HTTPAddr(), "mosquitto_sub", `"type":"broadcast"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the cheat sheet lacks %q", want)
		}
	}
}

func TestABodyAboveItsLimitIsNotRead(t *testing.T) {
	n := run(t, local(t), nil)
	n.createApp(t, "app")
	for _, path := range []string{"/v1/apps/app/pushes", "/api/send?sign=00000000000000000000000000000000", "/device/v1/register"} {
		conn, err := net.Dial("tcp", n.HTTPAddr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		// The body never comes: an answer shows that nobody waited for it.
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 1073741824\r\n\r\n", path, n.HTTPAddr(), n.token)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		want := 413
		if strings.HasPrefix(path, "/api/") {
			want = 400
		}
		if resp.StatusCode != want {
			t.Errorf("%s: got %s, want %d", path, resp.Status, want)
		}
	}
}

// A lockedBuffer may be written and read by several goroutines.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
