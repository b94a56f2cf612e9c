package dispatch_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/push"
)

func TestADirectPushIsKeptAndPosted(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	h.gateway.connect(0)
	p := h.accept(to("a0", "a1", "a4", "nobody", "a0"))
	if diff := cmp.Diff([]posted{{0, p.ID}}, h.gateway.take()); diff != "" {
		t.Errorf("posted (-want +got):\n%s", diff)
	}
	for o, want := range map[push.Ordinal][]push.ID{0: {p.ID}, 1: {p.ID}, 2: {}, 4: {}} {
		if diff := cmp.Diff(want, h.owed(o)); diff != "" {
			t.Errorf("device %d is owed (-want +got):\n%s", o, diff)
		}
	}
	h.acknowledge(p, 0)
	h.acknowledge(p, 0) // twice is once
	found, r := h.report(p.ID)
	if found.Kind != push.Direct || r.Target != 4 || r.Delivered != 1 || r.Pending != 1 {
		t.Errorf("got %s %+v, want target 4, delivered 1, pending 1", found.Kind, r)
	}
	if diff := cmp.Diff(map[string]int{"unknown": 1, "blacklisted": 1}, r.Dropped); diff != "" {
		t.Errorf("dropped (-want +got):\n%s", diff)
	}
	if len(h.owed(0)) != 0 {
		t.Error("what was acknowledged is still owed")
	}
	h.clock.pass(73 * time.Hour)
	if len(h.owed(1)) != 0 {
		t.Error("what has expired is still owed")
	}
	if _, r := h.report(p.ID); r.Pending != 0 || r.Dropped["expired"] != 1 {
		t.Errorf("after the expiry: got %+v, want one expired", r)
	}
	h.Sweep(t.Context())
	if _, r := h.report(p.ID); r.Pending != 0 || r.Dropped["expired"] != 1 {
		t.Errorf("after the sweep: got %+v, want one expired", r)
	}
}

func TestABroadcastIsOneTarget(t *testing.T) {
	dir := t.TempDir()
	c := newClock()
	h := newHouse(t, dir, c)
	h.gateway.connect(1, 4, 7)
	r := toAll()
	r.Audience.Platforms = []push.Platform{push.Android}
	p := h.accept(r)
	if p.Kind != push.Bulk || p.State != push.Accepted || len(h.gateway.take()) != 0 {
		t.Fatalf("got %s %s, want an accepted bulk push of which nothing has left", p.Kind, p.State)
	}
	h.start()
	if diff := cmp.Diff([]posted{{1, p.ID}}, h.gateway.take()); diff != "" {
		t.Errorf("posted (-want +got):\n%s", diff)
	}
	h.acknowledge(p, 1)
	found, rep := h.report(p.ID)
	if found.State != push.Done || rep.Target != 6 || rep.Delivered != 1 || rep.Pending != 4 || rep.Dropped["blacklisted"] != 1 {
		t.Errorf("got %s %+v, want done, target 6, delivered 1, pending 4, blacklisted 1", found.State, rep)
	}
	h.close()

	h = newHouse(t, dir, c) // after a restart it is owed to the same devices
	for o, want := range map[push.Ordinal][]push.ID{0: {p.ID}, 1: {}, 4: {}, 7: {}} {
		if diff := cmp.Diff(want, h.owed(o)); diff != "" {
			t.Errorf("after a restart device %d is owed (-want +got):\n%s", o, diff)
		}
	}
	if err := h.Start(t.Context(), theApp, p.ID); err != nil { // a wake-up too many
		t.Error(err)
	}
	c.pass(73 * time.Hour)
	h.Sweep(t.Context())
	found, rep = h.report(p.ID)
	if found.State != push.Expired || rep.Pending != 0 || rep.Dropped["expired"] != 4 || len(h.owed(0)) != 0 {
		t.Errorf("got %s %+v, want expired with 4 expired", found.State, rep)
	}
}

func TestDirectAndBulkComeInOrder(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	first := h.accept(to("a0"))
	all := h.accept(toAll())
	h.start()
	last := h.accept(to("a0"))
	if diff := cmp.Diff([]push.ID{first.ID, all.ID, last.ID}, h.owed(0)); diff != "" {
		t.Errorf("owed (-want +got):\n%s", diff)
	}
	two, err := h.Owed(t.Context(), push.Ref{App: theApp}, 2, func(id push.ID) bool { return id == first.ID })
	if err != nil || len(two) != 2 || two[0].ID != all.ID || two[1].ID != last.ID {
		t.Errorf("without the first: got %v, %v", two, err)
	}
}

func TestARepeatedKeyIsTheFirstPush(t *testing.T) {
	dir := t.TempDir()
	h := newHouse(t, dir, newClock())
	r := to("a0")
	soon := h.clock.now().Add(time.Minute)
	r.Key = push.Key{Namespace: "test", Value: "k", Strict: true, Keep: time.Hour}
	r.Policy.StartAt = &soon
	first := h.accept(r)
	h.clock.pass(2 * time.Minute) // the start is past: only a repeat may say so
	if again := h.accept(r); again.ID != first.ID {
		t.Errorf("got %s, want the first push %s", again.ID, first.ID)
	}
	other := r
	other.Policy.Rate = 9
	other.App = theApp
	if _, err := h.Accept(t.Context(), other); !errors.Is(err, push.Conflict) {
		t.Errorf("another request under the key: got %v, want conflict", err)
	}
	h.close()
	h = newHouse(t, dir, h.clock)
	if again := h.accept(r); again.ID != first.ID {
		t.Errorf("after a restart: got %s, want the first push %s", again.ID, first.ID)
	}
}

func TestOneKeyAtOnceIsOnePush(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	r := to("a0")
	r.App, r.Key = theApp, push.Key{Namespace: "test", Value: "k", Keep: time.Hour}
	ids := make([]push.ID, 50)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			p, err := h.Accept(t.Context(), r)
			if err != nil {
				t.Error(err)
			}
			ids[i] = p.ID
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("got pushes %v, want one", ids)
		}
	}
	if owed := h.owed(0); len(owed) != 1 {
		t.Errorf("the device is owed %v, want one push", owed)
	}
}

func TestCancel(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	c := newClock()
	h := newHouse(t, dir, c)
	hour := c.now().Add(time.Hour)

	direct := h.accept(to("a0", "a1"))
	h.acknowledge(direct, 0)
	bulk := h.accept(toAll())
	h.start()
	h.acknowledge(bulk, 0)
	later := toAll()
	later.Policy.StartAt = &hour
	scheduled := h.accept(later)
	delivered := h.accept(to("a2"))
	h.acknowledge(delivered, 2)

	for name, p := range map[string]push.Push{"direct": direct, "bulk": bulk, "scheduled": scheduled} {
		got, err := h.Cancel(ctx, theApp, p.ID)
		if err != nil || got.State != push.Cancelled {
			t.Errorf("%s: got %s, %v, want cancelled", name, got.State, err)
		}
		if !h.gateway.held(0, p.ID) {
			t.Errorf("%s: the gateway was not told", name)
		}
		if _, err := h.Cancel(ctx, theApp, p.ID); !errors.Is(err, push.Conflict) {
			t.Errorf("%s again: got %v, want conflict", name, err)
		}
	}
	if _, err := h.Cancel(ctx, theApp, delivered.ID); !errors.Is(err, push.Conflict) {
		t.Errorf("a push that is delivered: got %v, want conflict", err)
	}
	if _, err := h.Cancel(ctx, theApp, 12345); !errors.Is(err, push.NotFound) {
		t.Errorf("no push: got %v, want not found", err)
	}
	if _, err := h.Cancel(ctx, 2, bulk.ID); !errors.Is(err, push.NotFound) {
		t.Errorf("another app's push: got %v, want not found", err)
	}
	c.pass(2 * time.Hour)
	h.start()
	h.start()
	if posts := h.gateway.take(); len(posts) != 0 {
		t.Errorf("posted after the cancel: %v", posts)
	}
	if _, r := h.report(direct.ID); r.Delivered != 1 || r.Dropped["cancelled"] != 1 || r.Pending != 0 {
		t.Errorf("direct: got %+v", r)
	}
	if _, r := h.report(bulk.ID); r.Delivered != 1 || r.Dropped["cancelled"] != 8 || r.Dropped["blacklisted"] != 1 || r.Pending != 0 {
		t.Errorf("bulk: got %+v", r)
	}
	h.close()
	h = newHouse(t, dir, c)
	if owed := h.owed(1); len(owed) != 0 {
		t.Errorf("after a restart a device is owed %v", owed)
	}
}

func TestAScheduledPushStartsOnceItIsDue(t *testing.T) {
	dir := t.TempDir()
	c := newClock()
	h := newHouse(t, dir, c)
	hour := c.now().Add(time.Hour)
	r := to("a0", "nobody")
	r.Policy.StartAt = &hour
	p := h.accept(r)
	if p.State != push.Scheduled || p.Kind != push.Bulk {
		t.Fatalf("got %s %s, want a scheduled bulk push", p.Kind, p.State)
	}
	if err := h.Start(t.Context(), theApp, p.ID); err != nil { // too early
		t.Fatal(err)
	}
	h.close()
	h = newHouse(t, dir, c)
	h.gateway.connect(0)
	if owed := h.owed(0); len(owed) != 0 {
		t.Fatalf("owed before its time: %v", owed)
	}
	c.pass(time.Hour + time.Second)
	h.start()
	h.start()
	if diff := cmp.Diff([]posted{{0, p.ID}}, h.gateway.take()); diff != "" {
		t.Errorf("posted (-want +got):\n%s", diff)
	}
	if found, r := h.report(p.ID); found.State != push.Done || r.Target != 2 || r.Dropped["unknown"] != 1 {
		t.Errorf("got %s %+v, want done with 2 targets, one unknown", found.State, r)
	}
}

func TestARunThatACrashInterruptedIsFinished(t *testing.T) {
	dir := t.TempDir()
	c := newClock()
	h := newHouse(t, dir, c)
	p := h.accept(toAll())
	h.close() // the wake-up is lost with the node

	h = newHouse(t, dir, c)
	h.gateway.connect(3)
	h.start()
	if diff := cmp.Diff([]posted{{3, p.ID}}, h.gateway.take()); diff != "" {
		t.Errorf("posted (-want +got):\n%s", diff)
	}
	if found, _ := h.report(p.ID); found.State != push.Done {
		t.Errorf("got %s, want done", found.State)
	}
}

func TestNowOrNever(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	h.gateway.connect(0)
	no := false
	for name, r := range map[string]push.Request{"direct": to("a0", "a1"), "bulk": toAll()} {
		r.Policy.StoreOffline = &no
		p := h.accept(r)
		h.start()
		if owed := h.owed(1); len(owed) != 0 {
			t.Errorf("%s: a device that was away is owed %v", name, owed)
		}
		if _, rep := h.report(p.ID); rep.Pending != 1 || rep.Dropped["offline"] == 0 {
			t.Errorf("%s: got %+v, want one pending and the others offline", name, rep)
		}
	}
}

func TestTestModeReachesTestDevicesOnly(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	for name, r := range map[string]push.Request{"direct": to("a0", "a1", "i7"), "bulk": toAll()} {
		r.Policy.Test = true
		p := h.accept(r)
		h.start()
		if _, rep := h.report(p.ID); rep.Target != 2 || rep.Pending != 2 {
			t.Errorf("%s: got %+v, want the two test devices", name, rep)
		}
	}
}

func TestEvents(t *testing.T) {
	ctx := t.Context()
	h := newHouse(t, t.TempDir(), newClock())
	direct := h.accept(to("a0"))
	r := toAll()
	r.Audience.Platforms = []push.Platform{push.Android}
	bulk := h.accept(r)
	h.start()
	for _, p := range []push.Push{direct, bulk} {
		for range 2 {
			if err := h.Event(ctx, push.Ref{App: theApp, Ordinal: 0}, p.ID, push.MarkOpened); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.Event(ctx, push.Ref{App: theApp, Ordinal: 8}, p.ID, push.MarkOpened); !errors.Is(err, push.NotFound) {
			t.Errorf("%s: a device that is no target: got %v, want not found", p.Kind, err)
		}
		if _, rep := h.report(p.ID); rep.Opened != 1 {
			t.Errorf("%s: got %d opened, want 1", p.Kind, rep.Opened)
		}
	}
	if err := h.Event(ctx, push.Ref{App: theApp}, direct.ID, push.MarkDelivered); err != nil {
		t.Fatal(err)
	}
	if owed := h.owed(0); len(owed) != 1 || owed[0] != bulk.ID {
		t.Errorf("after the event delivered: owed %v, want the broadcast only", owed)
	}
}

func TestARemovedDeviceIsOwedNothing(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	direct, bulk := h.accept(to("a0", "a1")), h.accept(toAll())
	h.start()
	if err := h.Removed(t.Context(), push.Ref{App: theApp, Ordinal: 0}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []push.Push{direct, bulk} {
		if _, r := h.report(p.ID); r.Dropped["unregistered"] != 1 {
			t.Errorf("%s: got %+v, want one unregistered", p.Kind, r)
		}
	}
	if len(h.owed(0)) != 0 || len(h.owed(1)) != 2 {
		t.Errorf("owed %v and %v, want nothing and both", h.owed(0), h.owed(1))
	}
}

func TestCount(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	h.gateway.connect(0, 9)
	r := toAll()
	r.App = theApp
	got, err := h.Count(t.Context(), r)
	want := push.Count{Target: 10, Online: 2, Platforms: map[string]int{"android": 6, "ios": 4}, Channels: map[string]int{"own": 10, "apns": 2}, Blacklisted: 1}
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestRefusals(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	for _, tt := range []struct {
		name   string
		change func(*push.Request)
		kind   push.Kind
		field  string
	}{
		{"no app", func(r *push.Request) { r.App = 2 }, push.NotFound, "app"},
		{"nobody known", func(r *push.Request) { r.Audience.Devices = []string{"x"} }, push.NotFound, "audience.devices"},
		{"aliases of nobody", func(r *push.Request) {
			r.Audience = push.Audience{Aliases: &push.Aliases{Values: []string{"a"}}}
		}, push.NotFound, "audience.aliases"},
		{"accounts of nobody", func(r *push.Request) { r.Audience = push.Audience{Accounts: []string{"a"}} }, push.NotFound, "audience.accounts"},
		{"an expression that cannot be answered", func(r *push.Request) {
			w := push.Is(push.WhereAttr{Name: "session", Op: push.OpIs, Values: []string{"1"}})
			r.Audience = push.Audience{Where: &w}
		}, push.Invalid, "audience.where.attr"},
		{"a file that is not there", func(r *push.Request) {
			r.Audience = push.Audience{File: "f", Of: &push.FileOf{Devices: true}}
		}, push.NotFound, "audience.file"},
		{"a template", func(r *push.Request) { r.Message = push.Message{Template: &push.TemplateUse{Name: "x"}} }, push.Invalid, "message.template"},
		{"vendor channels only", func(r *push.Request) { r.Policy.Channels = "vendor" }, push.Invalid, "policy.channels"},
		{"a ttl above the app's", func(r *push.Request) { r.Policy.TTL = push.Duration(31 * 24 * time.Hour) }, push.Invalid, "policy.ttl"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := to("a0")
			r.App = theApp
			tt.change(&r)
			_, err := h.Accept(t.Context(), r)
			e, _ := errors.AsType[*push.Error](err)
			if !errors.Is(err, tt.kind) || e.Field != tt.field {
				t.Errorf("got %v, want %v of %s", err, tt.kind, tt.field)
			}
			if _, err := h.Count(t.Context(), r); !errors.Is(err, tt.kind) {
				t.Errorf("Count: got %v, want %v", err, tt.kind)
			}
		})
	}
	unknown := to("x", "y")
	unknown.AllowUnknown = true
	p := h.accept(unknown)
	if _, r := h.report(p.ID); r.Target != 2 || r.Dropped["unknown"] != 2 {
		t.Errorf("a push to strangers that is allowed: got %+v", r)
	}
}

// Devices come and go while direct pushes, broadcasts and acknowledgements cross each other: nothing may be owed for ever
// that was acknowledged, and nothing forgotten that was not.
func TestOwedUnderConcurrency(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	ctx := t.Context()
	const senders, each = 4, 50
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				r := to(names[(s+i)%4])
				if i%10 == 0 {
					r = toAll()
				}
				r.App = theApp
				p, err := h.Accept(ctx, r)
				if err == nil && p.Kind == push.Bulk {
					err = h.Start(ctx, theApp, p.ID)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	got := make([]map[push.ID]bool, 4)
	sent := make(chan struct{})
	var readers sync.WaitGroup
	for o := range got {
		got[o] = map[push.ID]bool{}
		readers.Go(func() {
			for over := false; ; {
				select {
				case <-sent:
					over = true
				default:
				}
				owed, err := h.Owed(ctx, push.Ref{App: theApp, Ordinal: push.Ordinal(o)}, 3, func(push.ID) bool { return false })
				if err != nil {
					t.Error(err)
					return
				}
				if over && len(owed) == 0 {
					return
				}
				for _, d := range owed {
					got[o][d.ID] = true
					if err := h.store.Receive(ctx, d.Receipt(push.Ordinal(o), push.MarkDelivered)); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	close(sent)
	readers.Wait()
	var counts []string
	total := 0
	for _, g := range got {
		total += len(g)
		counts = append(counts, fmt.Sprint(len(g)))
	}
	bulk := senders * each / 10
	if want := senders*each - bulk + 4*bulk; total != want {
		t.Errorf("the devices got %s messages, together %d, want %d", strings.Join(counts, ", "), total, want)
	}
}
