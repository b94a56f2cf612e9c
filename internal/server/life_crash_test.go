package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/testpg"
	"github.com/carillonpush/carillon/sdk/device"
)

// The second crash test: the life of pushes. Senders schedule, pace, pause, cancel and recall pushes, open some and add
// targets, run into quotas, and repeat what was not answered, while the node is killed with SIGKILL. What was answered and
// what devices and a webhook saw is kept here as tales, and at the end each tale is held against what it was promised.
const (
	lifeDevices = 180
	lifeKills   = 12

	// lifeGrace is how long after an answer something may still arrive on a connection that was there before: the kernel had
	// begun to take it, and this process may be slow to read it. What arrives later is wrong.
	lifeGrace = 3 * time.Second

	// lifeSure is how long before a kill, a cancel or a recall a message arrived whose acknowledgement surely is on disk.
	lifeSure = 1500 * time.Millisecond

	lifePass = 6 * time.Second // how long the pass of a paced push takes
)

// lifeSeed is what the choices of the test follow from, but for the moments of what goes on at the same time.
var lifeSeed = flag.Uint64("life.seed", 0, "the seed of the choices in the test of the life of pushes; 0 draws one")

func TestTheLifeOfPushesSurvivesKills(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { lifeTest(t, "") })
	t.Run("postgres", func(t *testing.T) { lifeTest(t, testpg.URL(t)) })
}

func lifeTest(t *testing.T, database string) {
	if testing.Short() {
		t.Skip("kills and restarts take a minute")
	}
	l := newLife(t, database)
	stopHome := l.connect(l.devices(home))
	stopGuests := l.connect(l.devices(guest))
	sending, stopSending := context.WithCancel(t.Context())
	l.startSenders(sending)

	rng := l.rng(0)
	for round := range lifeKills {
		l.wait(sending, time.Second+rand.N(1200*time.Millisecond)) // the moment of the kill
		if round%2 == 0 {
			stopGuests()
		}
		down := time.Duration(0)
		if round%3 == 1 {
			down = l.dueSoon(rng, round)
		}
		l.kill(down)
		l.repeat(rng, 20)
		if round%2 == 1 {
			stopGuests = l.connect(l.devices(guest))
		}
	}
	stopSending() // what was begun is brought to its end
	l.senders.Wait()
	l.later.Wait()
	stopAway := l.connect(l.devices(away))

	l.awaitPromised()
	l.checkArrivals()
	l.checkReports()
	l.checkTotals()
	l.checkQuotas()
	l.checkHook()
	l.repeat(rng, 1<<20)
	for _, stop := range []func(){stopAway, stopGuests, stopHome} {
		stop()
	}
	l.checkWork()
	l.node.terminate()
}

// The groups of devices, by index.
const (
	home  = iota // connected all the time
	guest        // connected between some kills
	away         // connected when the killing is over
	groups
)

// A life is the devices of the test, what they and the webhook saw, and what was promised.
type life struct {
	t    *testing.T
	seed uint64
	node *killed
	client
	ids     []device.Identity
	index   map[string]int // of a device, by its id
	hook    *hook
	quotas  []*quotaApp
	senders sync.WaitGroup
	later   sync.WaitGroup // what senders have begun and goes on beside them

	mu     sync.Mutex // guards what follows
	tales  []*tale
	asked  []asked
	got    []map[string][]time.Time // by device and push: when a copy arrived
	taken  []map[string][]time.Time // by device and push: when a message arrived that took it back
	says   map[string]string        // by push: its data, as it arrived
	recall map[string]string        // by push that carries a recall: the push that it takes back
	downs  []span
	late   int64
	wrongs int
}

// A span is from one moment to another; without an end it is for good.
type span struct{ from, to time.Time }

func newLife(t *testing.T, database string) *life {
	l := &life{t: t, seed: *lifeSeed, says: map[string]string{}, recall: map[string]string{}, index: map[string]int{}}
	if l.seed == 0 {
		l.seed = rand.Uint64()
	}
	t.Logf("seed %d", l.seed)
	l.node = newKilled(t, database)
	l.node.config.WebhookAllow = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	l.node.start()
	l.client = client{base: "http://" + l.node.config.HTTP, token: l.node.token}
	app := l.createAppWith(t, "life", "UTC", map[string]string{"schedules.unfinished": "10000"})
	l.ids = l.registerAll(t, app, lifeDevices)
	for i, id := range l.ids {
		l.index[id.DeviceID] = i
		l.got, l.taken = append(l.got, map[string][]time.Time{}), append(l.taken, map[string][]time.Time{})
	}
	l.hook = newHook(l)
	l.newQuotas()
	return l
}

// rng returns a source of choices; n tells those of one life apart.
func (l *life) rng(n uint64) *rand.Rand { return rand.New(rand.NewPCG(l.seed, n)) }

// wrong reports a broken promise, the first ones in full.
func (l *life) wrong(format string, args ...any) {
	l.t.Helper()
	l.mu.Lock()
	l.wrongs++
	n := l.wrongs
	l.mu.Unlock()
	if n <= 25 {
		l.t.Errorf("seed %d: "+format, append([]any{l.seed}, args...)...)
	} else {
		l.t.Fail()
	}
}

// wait waits for a while, or until ctx ends: then everything that waits goes on.
func (l *life) wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// devices returns the indexes of a group.
func (l *life) devices(group int) []int {
	var all []int
	for i := range lifeDevices {
		if i%groups == group {
			all = append(all, i)
		}
	}
	return all
}

// connect connects some devices until the function that it returns is called.
func (l *life) connect(devices []int) (stop func()) {
	ids := make([]device.Identity, len(devices))
	for n, i := range devices {
		ids[n] = l.ids[i]
	}
	fleet := device.NewFleet(netip.MustParseAddrPort(l.node.config.MQTT), ids, &device.FleetOptions{
		OnMessage: func(n int, payload []byte) { l.arrived(devices[n], payload) },
	})
	ctx, cancel := context.WithCancel(l.t.Context())
	done := make(chan error, 1)
	go func() { done <- fleet.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			l.t.Errorf("fleet: %v", err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.late += fleet.Stats().Late
	})
}

// arrived notes what a device got.
func (l *life) arrived(i int, payload []byte) {
	var m struct{ ID, Recall, Data string }
	if err := json.Unmarshal(payload, &m); err != nil || m.ID == "" {
		l.wrong("device %d got %q: %v", i, payload, err)
		return
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if m.Recall != "" {
		l.recall[m.ID] = m.Recall
		l.taken[i][m.Recall] = append(l.taken[i][m.Recall], now)
		return
	}
	l.says[m.ID] = m.Data
	l.got[i][m.ID] = append(l.got[i][m.ID], now)
}

// kill kills the node, and starts it again after a while.
func (l *life) kill(down time.Duration) {
	l.t.Helper()
	from := time.Now()
	l.node.kill()
	pause(l.t, down)
	l.mu.Lock()
	l.downs = append(l.downs, span{from, time.Now()})
	l.mu.Unlock()
	l.node.start()
}

// dueSoon schedules a push and an occurrence that are due within moments, and returns how long the node must be down for
// both to be due meanwhile.
func (l *life) dueSoon(rng *rand.Rand, round int) time.Duration {
	l.schedule(rng, fmt.Sprintf("due-%d", round), time.Now().Add(700*time.Millisecond))
	at := time.Now().Add(2 * time.Second).Truncate(time.Second)
	l.recur(rng, fmt.Sprintf("recurs-%d", round), at)
	return time.Until(at) + 200*time.Millisecond
}

// ask asks until there is an answer, also after the senders were stopped: what is being asked must be settled.
func (l *life) ask(method, path string, header map[string]string, body, into any) error {
	for deadline := time.Now().Add(60 * time.Second); ; pause(l.t, 10*time.Millisecond) {
		err := l.call(l.t.Context(), method, path, header, body, into)
		s, answered := errors.AsType[*status](err)
		switch {
		case err == nil, answered && s.code != http.StatusServiceUnavailable:
			if answered && s.code >= 500 {
				l.wrong("%s %s: %v", method, path, err)
			}
			return err
		case time.Now().After(deadline):
			l.wrong("%s %s: not answered within a minute, the last time %v", method, path, err)
			return err
		}
	}
}

// code returns the status of an answer, 0 for a success or none.
func code(err error) int {
	if s, ok := errors.AsType[*status](err); ok {
		return s.code
	}
	return 0
}

// An asked is a request that was accepted under a key, and its first answer.
type asked struct {
	app, key string
	body     map[string]any
	first    answer
}

// An answer is what a push was answered with.
type answer struct {
	ID, Kind, State         string
	Created, Start, Expires time.Time
}

func (a answer) equal(b answer) bool {
	return a.ID == b.ID && a.Kind == b.Kind //XXX
}

// post sends a push under a key until that is answered.
func (l *life) post(app, key string, body map[string]any) (answer, error) {
	var a answer
	err := l.ask("POST", "/v1/apps/"+app+"/pushes", map[string]string{"Idempotency-Key": key}, body, &a)
	if err == nil {
		l.mu.Lock()
		l.asked = append(l.asked, asked{app, key, body, a})
		l.mu.Unlock()
	}
	return a, err
}

// repeat sends requests that were answered again, the newest and as many others, at most n, and holds the answers against the
// first ones. One in five is also sent with another body.
func (l *life) repeat(rng *rand.Rand, n int) {
	l.mu.Lock()
	all := append([]asked(nil), l.asked...)
	l.mu.Unlock()
	some := all[max(0, len(all)-n/2):]
	if n >= len(all) {
		some = all
	} else {
		for range n - len(some) {
			some = append(some, all[rng.IntN(len(all))])
		}
	}
	for _, a := range some {
		var again answer
		header := map[string]string{"Idempotency-Key": a.key}
		path := "/v1/apps/" + a.app + "/pushes"
		if err := l.ask("POST", path, header, a.body, &again); err != nil || !again.equal(a.first) {
			l.wrong("key %s of %s: the first answer was %+v, a repeat %+v, %v", a.key, a.app, a.first, again, err)
		}
		if rng.IntN(5) > 0 {
			continue
		}
		other := map[string]any{"audience": map[string]any{"all": true}, "message": map[string]any{"data": "another " + a.key}}
		if err := l.ask("POST", path, header, other, &again); code(err) != http.StatusConflict {
			l.wrong("key %s of %s with another body: got %+v, %v, want a conflict", a.key, a.app, again, err)
		}
	}
}

// checkWork holds the test to having tested something.
func (l *life) checkWork() {
	told := l.hook.String()
	l.mu.Lock()
	defer l.mu.Unlock()
	kinds, endings, due := map[string]int{}, map[string]int{}, 0
	for _, x := range l.tales {
		kinds[x.kind]++
		endings[x.ending]++
		if len(x.pauses) > 0 {
			endings["paused"]++
		}
		for _, d := range l.downs {
			if x.due.After(d.from) && x.due.Before(d.to) {
				due++
			}
		}
	}
	for _, kind := range []string{"direct", "broadcast", "scheduled", "recurring", "paced", "open"} {
		if kinds[kind] < 5 {
			l.t.Errorf("only %d tales of kind %s: the test tests too little", kinds[kind], kind)
		}
	}
	for _, ending := range []string{"paused", "cancelled", "recalled", "named"} {
		if endings[ending] < 3 {
			l.t.Errorf("only %d tales that were %s: the test tests too little", endings[ending], ending)
		}
	}
	if due < 3 {
		l.t.Errorf("only %d pushes were due while the node was down: the test tests too little", due)
	}
	if l.late > 0 {
		l.t.Errorf("seed %d: %d copies came to devices after the message that took them back", l.seed, l.late)
	}
	copies, twice := 0, 0
	for _, got := range l.got {
		for _, at := range got {
			copies++
			twice += len(at) - 1
		}
	}
	l.t.Logf("%d pushes of kinds %v, endings %v, %d due while the node was down; %d messages arrived, %d once more under the same id; %s",
		len(l.tales), kinds, endings, due, copies, twice, told)
}
