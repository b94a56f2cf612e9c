package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/config"
	"github.com/carillonpush/carillon/internal/server"
	"github.com/carillonpush/carillon/internal/testpg"
	"github.com/carillonpush/carillon/sdk/device"
)

// patience is how long a transcript waits for what is to come.
const patience = 20 * time.Second

// A stage is a node with an app called shop, and the phones of a transcript.
type stage struct {
	t      *testing.T
	base   string
	mqtt   string
	token  string
	key    string // the app's device key and secret
	secret string
	vars   vars
	phones map[string]*phone
	online int
}

// A phone is a device of a transcript.
type phone struct {
	id   device.Identity
	dev  *device.Device
	stop func()

	mu   sync.Mutex // guards got
	got  [][]byte   // what arrived and was not asked for yet
	more chan struct{}
}

func newStage(t *testing.T, database string) *stage {
	c := config.Default()
	c.Data, c.HTTP, c.MQTT, c.Admin = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0", ""
	if database == "postgres" {
		c.Database = testpg.URL(t)
	}
	s, err := server.New(t.Context(), c, &server.Options{Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, s.Close()); err != nil {
			t.Error(err)
		}
	})
	st := &stage{
		t: t, base: "http://" + s.HTTPAddr(), mqtt: "tcp://" + s.MQTTAddr(), token: s.AdminToken(),
		vars: vars{}, phones: map[string]*phone{},
	}
	status, answer, err := st.call("POST", "/v1/apps", nil, `{"name": "shop"}`)
	if err != nil || status != http.StatusCreated {
		t.Fatalf("no app: %d %s %v", status, answer, err)
	}
	var made struct {
		Device struct {
			Key    string `json:"app_key"`
			Secret string `json:"app_secret"`
		}
	}
	if err := json.Unmarshal(answer, &made); err != nil {
		t.Fatal(err)
	}
	st.key, st.secret = made.Device.Key, made.Device.Secret
	return st
}

// play does one step, and compares.
func (s *stage) play(step transcriptStep) error {
	first, rest, _ := strings.Cut(step.head, " ")
	switch {
	case first == "$":
		return s.command(rest, step.body)
	case first == strings.ToUpper(first):
		return s.request(first, rest, step)
	}
	what, arg, _ := strings.Cut(rest, " ")
	return s.phone(first, what, arg)
}

// call makes a request as an administrator.
func (s *stage) call(method, path string, headers []string, body string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.base+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, b, err
}

// request makes a call and compares its answer. What only reads is asked again until it is as expected.
func (s *stage) request(method, path string, step transcriptStep) error {
	var headers, body []string
	for _, line := range step.body {
		if body == nil && !strings.HasPrefix(line, "{") {
			headers = append(headers, s.vars.fill(line))
			continue
		}
		body = append(body, s.vars.fill(line))
	}
	code, want, _ := strings.Cut(strings.Join(step.answer, "\n"), " ")
	ask := func() error {
		status, answer, err := s.call(method, s.vars.fill(path), headers, strings.Join(body, "\n"))
		if err != nil {
			return err
		}
		if strconv.Itoa(status) != code {
			return fmt.Errorf("got %d, want %s: %s", status, code, answer)
		}
		if want == "" {
			return nil
		}
		return s.vars.matchJSON(want, answer)
	}
	if method != http.MethodGet {
		return ask()
	}
	return s.until(ask)
}

// until tries again until there is no error, for as long as it has patience.
func (s *stage) until(try func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := try()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-s.t.Context().Done():
			return err
		}
	}
}

// command runs the binary, and looks for lines in what it prints.
func (s *stage) command(line string, expected []string) error {
	args := split(strings.TrimPrefix(s.vars.fill(line), "carillon "))
	return s.until(func() error {
		cmd := command(s.t, []string{"CARILLON_SERVER=" + s.base, "CARILLON_TOKEN=" + s.token, "TZ=Asia/Shanghai"}, args...)
		out, err := cmd.Output()
		if err != nil {
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				err = fmt.Errorf("%w: %s", err, exit.Stderr)
			}
			return err
		}
		return s.vars.matchLines(expected, string(out))
	})
}

// phone has a phone do something, or wait for something.
func (s *stage) phone(name, what, arg string) error {
	p := s.phones[name]
	if p == nil && what != "registers" {
		return fmt.Errorf("%s has not registered", name)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	switch what {
	case "registers":
		var install [16]byte
		_, _ = rand.Read(install[:])
		id, err := device.Register(ctx, s.base, device.Registration{
			AppKey: s.key, AppSecret: s.secret, Platform: "android", InstallID: hex.EncodeToString(install[:]),
		}, nil)
		s.phones[name], s.vars["$"+name] = &phone{id: id, more: make(chan struct{}, 1)}, id.DeviceID
		return err
	case "connects":
		s.online++
		p.connect(ctx, s)
		return s.settled()
	case "disconnects":
		s.online--
		p.stop()
		return s.settled()
	case "gets":
		return s.gets(ctx, p, arg)
	}
	return p.dev.Event(ctx, s.vars.fill(arg), device.Event(what))
}

// connect keeps the phone connected until it is stopped.
func (p *phone) connect(ctx context.Context, s *stage) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p.dev = device.New(p.id, func(_ context.Context, m device.Message) error {
		p.mu.Lock()
		p.got = append(p.got, bytes.Clone(m.Raw))
		p.mu.Unlock()
		select {
		case p.more <- struct{}{}:
		default:
		}
		return nil
	}, &device.Options{Address: s.mqtt})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.dev.Run(ctx) // it ends when the phone is stopped
	}()
	var once sync.Once
	p.stop = func() {
		once.Do(func() {
			cancel()
			<-done
		})
	}
	s.t.Cleanup(p.stop)
}

// settled waits until the node has seen who is connected.
func (s *stage) settled() error {
	return s.until(func() error {
		_, answer, err := s.call("POST", "/v1/apps/shop/pushes?dry_run=true", nil, `{"audience": {"all": true}, "message": {"data": 1}}`)
		if err != nil {
			return err
		}
		return s.vars.matchJSON(fmt.Sprintf(`{"online": %d}`, s.online), answer)
	})
}

// gets waits for a message that is as expected, and takes it out.
func (s *stage) gets(ctx context.Context, p *phone, expected string) error {
	for {
		p.mu.Lock()
		for i, m := range p.got {
			if s.vars.matchJSON(s.vars.fill(expected), m) == nil {
				p.got = append(p.got[:i], p.got[i+1:]...)
				p.mu.Unlock()
				return nil
			}
		}
		have := string(bytes.Join(p.got, []byte("\n")))
		p.mu.Unlock()
		select {
		case <-p.more:
		case <-ctx.Done():
			return fmt.Errorf("it did not come; what came is\n%s", have)
		}
	}
}
