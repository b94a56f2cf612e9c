package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/config"
	"github.com/carillonpush/carillon/internal/testpg"
	"github.com/carillonpush/carillon/sdk/device"
)

// The crash test: senders push to 1,000 devices, half of them away, while the node is killed with SIGKILL at random
// moments. At the end every push that was answered has reached every device that it was for, nothing that was cancelled
// before it left has, and what came twice came under one id.
const (
	crashDevices = 1000
	crashOnline  = 500 // of them; the others connect when the killing is over
	crashSenders = 6

	crashKills    = 20
	crashProgress = 5 // pushes that are answered between two kills, at least
)

func TestNothingAnsweredIsLostToKills(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { crashTest(t, "") })
	t.Run("postgres", func(t *testing.T) { crashTest(t, testpg.URL(t)) })
}

func crashTest(t *testing.T, database string) {
	if testing.Short() {
		t.Skip("kills and restarts take half a minute")
	}
	n := newKilled(t, database)
	n.start()
	f := newCrashFleet(t, n)
	stopOnline := f.run(0, crashOnline)

	sending, stopSending := context.WithCancel(t.Context())
	var senders sync.WaitGroup
	for i := range crashSenders {
		senders.Go(func() { f.send(sending, i) })
	}
	for range crashKills {
		f.progress(crashProgress)
		pause(t, time.Duration(rand.IntN(500))*time.Millisecond) // the moment of the kill
		n.kill()
		n.start()
	}
	f.progress(crashProgress) // some work after the last restart, too
	stopSending()
	senders.Wait()
	stopAway := f.run(crashOnline, crashDevices)

	f.awaitAll()
	f.check()
	f.reports(200)
	stopAway()
	stopOnline()
	n.terminate()
}

// pause waits for a while, or until the test ends.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// A killed is a node in a process of its own, on addresses that stay.
type killed struct {
	t      *testing.T
	config config.Config
	cmd    *exec.Cmd
	token  string
}

func newKilled(t *testing.T, database string) *killed {
	n := &killed{t: t, config: config.Config{Data: t.TempDir(), Database: database}}
	for _, addr := range []*string{&n.config.HTTP, &n.config.MQTT, &n.config.Admin} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		*addr = ln.Addr().String()
		defer ln.Close()
	}
	t.Cleanup(func() {
		if n.cmd != nil {
			_ = n.cmd.Process.Kill()
			_ = n.cmd.Wait()
		}
	})
	return n
}

// start starts the process and waits until it is ready.
func (n *killed) start() {
	n.t.Helper()
	c, err := json.Marshal(n.config)
	if err != nil {
		n.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	n.cmd = exec.Command(self)
	n.cmd.Env = append(os.Environ(), nodeEnv+"="+string(c))
	n.cmd.Stderr = os.Stderr
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	for deadline := time.Now().Add(60 * time.Second); ; {
		resp, err := http.Get("http://" + n.config.Admin + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == 200 {
				break
			}
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("the node does not come up: %v", err)
		}
		pause(n.t, 5*time.Millisecond)
	}
	token, err := os.ReadFile(n.config.AdminTokenPath())
	if err != nil {
		n.t.Fatal(err)
	}
	n.token = string(token[:len(token)-1])
}

func (n *killed) kill() {
	n.t.Helper()
	if err := n.cmd.Process.Kill(); err != nil {
		n.t.Fatal(err)
	}
	_ = n.cmd.Wait() // it says that it was killed
	n.cmd = nil
}

// terminate ends the process in peace, and holds it to exit 0.
func (n *killed) terminate() {
	n.t.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		n.t.Fatal(err)
	}
	err := n.cmd.Wait()
	n.cmd = nil
	if err != nil {
		n.t.Errorf("after SIGTERM: %v, want exit 0", err)
	}
}

// A crashFleet is the devices, and what was promised to them.
type crashFleet struct {
	t      *testing.T
	node   *killed
	client client
	ids    []device.Identity

	mu        sync.Mutex // guards what follows
	got       []map[string]int
	promised  []map[string]bool // by device: pushes that were answered
	cancelled map[string]bool   // pushes whose cancel was answered before they could have left
	answered  int
}

func newCrashFleet(t *testing.T, n *killed) *crashFleet {
	f := &crashFleet{
		t: t, node: n, client: client{base: "http://" + n.config.HTTP, token: n.token},
		got: make([]map[string]int, crashDevices), promised: make([]map[string]bool, crashDevices), cancelled: map[string]bool{},
	}
	f.ids = f.client.registerAll(t, f.client.createApp(t, "crash"), crashDevices)
	for i := range crashDevices {
		f.got[i], f.promised[i] = map[string]int{}, map[string]bool{}
	}
	return f
}

// run connects the devices from lo to hi until the function that it returns is called.
func (f *crashFleet) run(lo, hi int) (stop func()) {
	fleet := device.NewFleet(netip.MustParseAddrPort(f.node.config.MQTT), f.ids[lo:hi], &device.FleetOptions{
		OnMessage: func(i int, payload []byte) {
			var m struct{ ID string }
			if err := json.Unmarshal(payload, &m); err != nil {
				f.t.Errorf("device %d got %q: %v", lo+i, payload, err)
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			f.got[lo+i][m.ID]++
		},
	})
	ctx, cancel := context.WithCancel(f.t.Context())
	done := make(chan error, 1)
	go func() { done <- fleet.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			f.t.Errorf("fleet: %v", err)
		}
	})
}

// send makes one sender's pushes until ctx ends. It asks again, under the same key, until it has an answer.
func (f *crashFleet) send(ctx context.Context, sender int) {
	for i := 0; ctx.Err() == nil; i++ {
		key := fmt.Sprintf("%d-%d", sender, i)
		switch {
		case sender == 0 && i%10 == 9:
			f.broadcast(key)
		case sender == 1:
			f.cancelledBeforeItLeft(key)
		default:
			f.direct(key, 1+rand.IntN(5))
		}
	}
}

// until retries do until it has an answer, also after ctx has ended: what is being asked must be settled.
func (f *crashFleet) until(do func(context.Context) error) bool {
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); pause(f.t, 10*time.Millisecond) {
		if err := do(f.t.Context()); err == nil {
			return true
		}
	}
	f.t.Error("no answer within a minute")
	return false
}

func (f *crashFleet) direct(key string, n int) {
	targets := map[int]bool{}
	var names []string
	for range n {
		if i := rand.IntN(crashDevices); !targets[i] {
			targets[i] = true
			names = append(names, f.ids[i].DeviceID)
		}
	}
	var id string
	if !f.until(func(ctx context.Context) (err error) {
		id, err = f.client.push(ctx, "crash", key, map[string]any{"audience": map[string]any{"devices": names}, "message": map[string]any{"data": key}})
		return err
	}) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answered++
	for i := range targets {
		f.promised[i][id] = true
	}
}

func (f *crashFleet) broadcast(key string) {
	var id string
	if !f.until(func(ctx context.Context) (err error) {
		id, err = f.client.push(ctx, "crash", key, map[string]any{"audience": map[string]any{"all": true}, "message": map[string]any{"data": key}})
		return err
	}) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answered++
	for i := range crashDevices {
		f.promised[i][id] = true
	}
}

// cancelledBeforeItLeft pushes to a device that is away, or schedules a broadcast, and cancels it.
func (f *crashFleet) cancelledBeforeItLeft(key string) {
	body := map[string]any{"audience": map[string]any{"devices": []string{f.ids[crashOnline+rand.IntN(crashDevices-crashOnline)].DeviceID}}, "message": map[string]any{"data": key}}
	if rand.IntN(2) == 0 {
		body["audience"] = map[string]any{"all": true}
		body["policy"] = map[string]any{"start_at": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}
	}
	var id string
	if !f.until(func(ctx context.Context) (err error) {
		id, err = f.client.push(ctx, "crash", key, body)
		return err
	}) {
		return
	}
	if !f.until(func(ctx context.Context) error {
		err := f.client.cancel(ctx, "crash", id)
		if e, ok := err.(*status); ok && e.code == http.StatusConflict {
			return nil // the answer to an earlier attempt was lost with the node
		}
		return err
	}) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cancelled[id] = true
}

// progress waits until n more pushes are answered: a kill of a node that does nothing shows nothing.
func (f *crashFleet) progress(n int) {
	f.t.Helper()
	answered := func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.answered + len(f.cancelled)
	}
	for before, deadline := answered(), time.Now().Add(60*time.Second); answered() < before+n; pause(f.t, 5*time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatal("no push was answered for a minute")
		}
	}
}

// missing returns how many promised messages have not arrived, and one of them.
func (f *crashFleet) missing() (n int, example string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, promised := range f.promised {
		for id := range promised {
			if f.got[i][id] == 0 {
				n++
				example = fmt.Sprintf("push %s to device %d (%s)", id, i, f.ids[i].DeviceID)
			}
		}
	}
	return n, example
}

func (f *crashFleet) awaitAll() {
	f.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; pause(f.t, 50*time.Millisecond) {
		n, example := f.missing()
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("%d promised messages did not arrive, among them %s", n, example)
		}
	}
}

// reports holds the reports of some pushes against the truth: all of their devices have acknowledged, and every sum is right.
func (f *crashFleet) reports(n int) {
	f.t.Helper()
	f.mu.Lock()
	all := map[string]int{}
	for _, promised := range f.promised {
		for id := range promised {
			all[id]++
		}
	}
	f.mu.Unlock()
	deadline := time.Now().Add(60 * time.Second)
	for id, want := range all {
		if n--; n < 0 {
			return
		}
		for {
			var r struct {
				Target, Delivered, Pending int
				Dropped                    map[string]int
			}
			if err := f.client.call(f.t.Context(), "GET", "/v1/apps/crash/pushes/"+id, nil, nil, &r); err != nil {
				f.t.Fatal(err)
			}
			sum := r.Delivered + r.Pending
			for _, d := range r.Dropped {
				sum += d
			}
			if sum != r.Target || r.Target != want {
				f.t.Fatalf("push %s to %d devices: %+v does not add up", id, want, r)
			}
			if r.Delivered == want {
				break
			}
			if time.Now().After(deadline) {
				f.t.Fatalf("push %s has reached all of its %d devices, but its report says %+v", id, want, r)
			}
			pause(f.t, 20*time.Millisecond)
		}
	}
}

// check holds what arrived against what was promised.
func (f *crashFleet) check() {
	f.mu.Lock()
	defer f.mu.Unlock()
	messages, twice := 0, 0
	for i, got := range f.got {
		for id, n := range got {
			messages++
			twice += n - 1
			if f.cancelled[id] {
				f.t.Errorf("device %d got push %s, which was cancelled before it could leave", i, id)
			}
		}
	}
	if f.answered < crashKills || len(f.cancelled) == 0 {
		f.t.Errorf("only %d pushes and %d cancels were answered: the test tests too little", f.answered, len(f.cancelled))
	}
	f.t.Logf("%d pushes answered, %d cancelled before they left; %d messages arrived, %d of them once more under the same id", f.answered, len(f.cancelled), messages, twice)
}
