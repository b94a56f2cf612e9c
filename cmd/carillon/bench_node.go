package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/carillonpush/carillon/sdk/carillon"
)

// A node is the server that is measured: one that runs already, or a child process, so that its memory and time are its
// own.
type node struct {
	server string
	api    *carillon.Client
	pid    int // 0 if it is not known

	child  *exec.Cmd // nil if it is somebody else's
	exited chan struct{}
	log    tail
	dir    string
}

const (
	startTimeout = 60 * time.Second // a first start makes its database
	stopTimeout  = 30 * time.Second
)

// openNode returns the node that the flags name, or starts one.
func openNode(ctx context.Context, f *benchFlags) (*node, error) {
	if f.Server != "" {
		token, err := (&clientFlags{Server: f.Server, Token: f.Token, Data: f.Data}).token()
		if err != nil {
			return nil, err
		}
		return &node{server: f.Server, api: benchClient(f.Server, token), pid: f.PID}, nil
	}
	n := &node{exited: make(chan struct{})}
	if err := n.start(ctx, f.Database); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// benchClient returns a client that repeats nothing, since that would be measured twice, and keeps a connection for each
// sender.
func benchClient(server, token string) *carillon.Client {
	return carillon.New(server, token, &carillon.Options{Retries: -1, HTTPClient: &http.Client{
		Timeout: time.Minute, Transport: &http.Transport{MaxIdleConns: maxSenders, MaxIdleConnsPerHost: maxSenders, IdleConnTimeout: time.Minute},
	}})
}

// start starts a child on free ports and waits until it is ready.
func (n *node) start(ctx context.Context, database string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	if n.dir, err = os.MkdirTemp("", "carillon-bench-"); err != nil {
		return err
	}
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	n.server = "http://" + ports[0]
	args := []string{"serve", "--data", n.dir, "--http", ports[0], "--mqtt", ports[1], "--admin", ports[2], "--log-level", "warn"}
	n.child = exec.Command(program, args...)
	n.child.Stdout, n.child.Stderr = &n.log, &n.log
	n.child.Env = cleanEnv(os.Environ())
	if database != "" {
		n.child.Env = append(n.child.Env, "CARILLON_DATABASE="+database) // not where ps shows it
	}
	n.child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for bench, which ends the child in its own time
	if err := n.child.Start(); err != nil {
		n.child = nil
		return err
	}
	n.pid = n.child.Process.Pid
	go func() {
		n.child.Wait() //nolint:errcheck // close looks at the state
		close(n.exited)
	}()
	if err := n.ready(ctx, "http://"+ports[2]+"/readyz"); err != nil {
		return err
	}
	token, err := os.ReadFile(filepath.Join(n.dir, "admin.token"))
	if err != nil {
		return err
	}
	n.api = benchClient(n.server, strings.TrimSpace(string(token)))
	return nil
}

// ready waits until url answers 200.
func (n *node) ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close() //nolint:errcheck // nothing is written
			if resp.StatusCode == http.StatusOK {
				http.DefaultClient.CloseIdleConnections()
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return n.blame(errors.New("the node did not become ready"))
		case <-n.exited:
			return n.blame(errors.New("the node ended while starting"))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// blame adds to err what the child last said.
func (n *node) blame(err error) error {
	if n == nil || n.child == nil {
		return err
	}
	if said := strings.TrimSpace(n.log.String()); said != "" {
		return fmt.Errorf("%w\nThe node said:\n%s", err, said)
	}
	return err
}

// close stops a child, and removes its data.
func (n *node) close() error {
	var err error
	if n.api != nil {
		err = n.api.Close()
	}
	if n.child != nil {
		n.child.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
		select {
		case <-n.exited:
		case <-time.After(stopTimeout):
			n.child.Process.Kill() //nolint:errcheck // as above
			<-n.exited
			err = errors.Join(err, n.blame(errors.New("the node did not drain in time and was killed")))
		}
	}
	if n.dir != "" {
		err = errors.Join(err, os.RemoveAll(n.dir))
	}
	return err
}

// freePorts returns n loopback addresses that nobody listens on at the moment.
func freePorts(n int) ([]string, error) {
	var all []string
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close() //nolint:errcheck // only its port was wanted; open until all are found, so that they differ
		all = append(all, ln.Addr().String())
	}
	return all, nil
}

// cleanEnv returns env without variables that would change how the child runs.
func cleanEnv(env []string) []string {
	var kept []string
	for _, v := range env {
		if !strings.HasPrefix(v, "CARILLON_") {
			kept = append(kept, v)
		}
	}
	return kept
}

// A tail keeps the last 4 KB that are written to it. It is safe for concurrent use.
type tail struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

// Write never fails.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf.Write(b)
	if over := t.buf.Len() - 4096; over > 0 {
		t.buf.Next(over)
	}
	return len(b), nil
}

// String returns what is kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}
