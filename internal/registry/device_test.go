package registry_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/registry"
)

func TestRegisterAndAuthenticate(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	reg := registration(card, "one")
	reg.Attributes = map[string]string{"brand": "x", "empty": ""}
	reg.Tokens = map[string]push.Token{"hms": {Token: "t"}}
	got, err := h.Register(t.Context(), reg, "", home)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		h.store.reads = 0
		for _, name := range []string{string(got.DeviceID), string(got.ChannelID)} {
			if ref, err := h.Authenticate(name, got.Secret); err != nil || ref != got.Ref {
				t.Errorf("Authenticate(%s) = %+v, %v, want %+v", name, ref, err, got.Ref)
			}
			for _, wrong := range []string{"", "x", got.Secret[1:], strings.ToLower(got.Secret)} {
				if _, err := h.Authenticate(name, wrong); !errors.Is(err, push.Unauthenticated) {
					t.Errorf("a wrong secret: %v, want Unauthenticated", err)
				}
			}
		}
		if h.store.reads != 0 {
			t.Errorf("Authenticate read the record %d times", h.store.reads)
		}
		h.restart(t)
	}
	d, err := h.Device(t.Context(), card.App.ID, string(got.ChannelID))
	if err != nil {
		t.Fatal(err)
	}
	want := push.Device{
		ID: got.DeviceID, ChannelID: got.ChannelID, App: card.App.ID, Platform: push.Android, Ref: got.Ref,
		Attributes: map[string]string{"brand": "x"}, Tokens: reg.Tokens,
		Times: push.Times{Registered: h.clock(), LastActive: time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC), Changed: h.clock()},
	}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Errorf("Device (-want +got):\n%s", diff)
	}
	for _, name := range []string{"", "12345", strings.Repeat("0", 32), strings.ToUpper(string(got.DeviceID))} {
		if _, err := h.Authenticate(name, got.Secret); !errors.Is(err, push.Unauthenticated) {
			t.Errorf("Authenticate(%q) = %v, want Unauthenticated", name, err)
		}
	}
}

func TestRegisterAgain(t *testing.T) {
	for _, tt := range []struct {
		name string
		auth func(push.Registered) string
		same bool
	}{
		{"with the secret", func(r push.Registered) string { return r.Secret }, true},
		{"with a header", func(r push.Registered) string { return "Device " + string(r.DeviceID) + ":" + r.Secret }, true},
		{"without", func(push.Registered) string { return "" }, false},
		{"with a wrong secret", func(r push.Registered) string { return r.Secret[:43] }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t)
			card := h.app(t, "demo")
			reg := registration(card, "one")
			reg.Attributes = map[string]string{"a": "1", "b": "2"}
			first, err := h.Register(t.Context(), reg, "", home)
			if err != nil {
				t.Fatal(err)
			}
			reg.Attributes = map[string]string{"b": "", "c": "3"}
			second, err := h.Register(t.Context(), reg, tt.auth(first), home)
			if err != nil {
				t.Fatal(err)
			}
			if second.Ref != first.Ref || second.DeviceID != first.DeviceID || (second.Secret == first.Secret) != tt.same {
				t.Errorf("same device %t, same secret %t, want true, %t", second.Ref == first.Ref, second.Secret == first.Secret, tt.same)
			}
			if h.wasRevoked(first.Ref) == tt.same {
				t.Errorf("revoked %t, want %t", !tt.same, tt.same)
			}
			for range 2 { // the epoch survives a restart
				if _, err := h.Authenticate(string(first.DeviceID), first.Secret); (err == nil) != tt.same {
					t.Errorf("the first secret: %v, want valid %t", err, tt.same)
				}
				if _, err := h.Authenticate(string(first.DeviceID), second.Secret); err != nil {
					t.Errorf("the second secret: %v", err)
				}
				h.restart(t)
			}
			d, err := h.Device(t.Context(), card.App.ID, string(first.DeviceID))
			if err != nil || d.Reset == tt.same || !maps.Equal(d.Attributes, map[string]string{"a": "1", "c": "3"}) {
				t.Errorf("device = %+v, %v", d, err)
			}
		})
	}
}

func TestRegisterUnchangedWritesNothing(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	first := h.device(t, card, "one")
	h.store.feed = nil
	if _, err := h.Register(t.Context(), registration(card, "one"), first.Secret, home); err != nil || len(h.store.whats()) != 0 {
		t.Errorf("wrote %v, %v, want nothing", h.store.whats(), err)
	}
	h.pass(24 * time.Hour) // but a new day of activity
	if _, err := h.Register(t.Context(), registration(card, "one"), first.Secret, home); err != nil || !slices.Equal(h.store.whats(), []string{"register"}) {
		t.Errorf("wrote %v, %v, want one register", h.store.whats(), err)
	}
}

func TestRegisterRefuses(t *testing.T) {
	h := newHouse(t)
	card, other := h.app(t, "demo"), h.app(t, "other")
	h.device(t, card, "one")
	many := map[string]string{}
	for i := range push.MaxAttributes {
		many["k"+strconv.Itoa(i)] = "v"
	}
	full := registration(card, "full")
	full.Attributes = many
	if _, err := h.Register(t.Context(), full, "", home); err != nil {
		t.Fatal(err)
	}
	h.store.feed = nil
	for _, tt := range []struct {
		name string
		harm func(*push.Registration)
		want push.Kind
	}{
		{"a wrong app secret", func(r *push.Registration) { r.AppSecret = "x" }, push.Unauthenticated},
		{"another app's secret", func(r *push.Registration) { r.AppSecret = other.Device.AppSecret }, push.Unauthenticated},
		{"an unknown app key", func(r *push.Registration) { r.AppKey = "x" }, push.Unauthenticated},
		{"a short install id", func(r *push.Registration) { r.InstallID = "short" }, push.Invalid},
		{"no platform", func(r *push.Registration) { r.Platform = 0 }, push.Invalid},
		{"another platform for an install", func(r *push.Registration) { r.Platform = push.IOS }, push.Conflict},
		{"an unknown token channel", func(r *push.Registration) { r.Tokens = map[string]push.Token{"pager": {Token: "t"}} }, push.Invalid},
		{"more attributes than fit", func(r *push.Registration) {
			r.InstallID = full.InstallID
			r.Attributes = map[string]string{"one.more": "v"}
		}, push.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reg := registration(card, "one")
			tt.harm(&reg)
			if _, err := h.Register(t.Context(), reg, "", home); !errors.Is(err, tt.want) {
				t.Errorf("Register = %v, want %v", err, tt.want)
			}
			if len(h.store.whats()) != 0 || len(h.revoked) != 0 {
				t.Errorf("changed %v, revoked %v", h.store.whats(), h.revoked)
			}
		})
	}
}

func TestRegistrationsByAddress(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	app := card.App
	app.Settings = push.Settings{push.SettingRegistrationsAddress: "60"}
	if _, err := h.UpdateApp(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	n := 0
	try := func(addr string) error {
		n++
		_, err := h.Register(t.Context(), registration(card, strconv.Itoa(n)), "", netip.MustParseAddr(addr))
		return err
	}
	for range 60 {
		if err := try("2001:db8::1"); err != nil {
			t.Fatal(err)
		}
	}
	var e *push.Error
	if err := try("2001:db8::2"); !errors.As(err, &e) || e.Kind != push.TooMany || e.RetryAfter <= 0 || e.RetryAfter > time.Second {
		t.Errorf("the 61st from one /64: %v, want TooMany with a second to wait", err)
	}
	if err := try("2001:db8:0:1::1"); err != nil {
		t.Errorf("another /64: %v", err)
	}
	if err := try("192.0.2.1"); err != nil {
		t.Errorf("an IPv4 address: %v", err)
	}
	h.pass(e.RetryAfter)
	if err := try("2001:db8::1"); err != nil {
		t.Errorf("after the wait: %v", err)
	}
	if err := try("2001:db8::1"); !errors.Is(err, push.TooMany) {
		t.Errorf("two after the wait: %v, want TooMany", err)
	}
}

func TestPatch(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	dev := h.device(t, card, "one")
	h.store.feed = nil
	got, err := h.Patch(t.Context(), dev.Ref, push.DevicePatch{
		Attributes: map[string]string{"city": "杭州"}, Tokens: map[string]push.Token{"fcm": {Token: "f"}},
		Phone: ptr("+8613800000000"), Network: ptr(push.WiFi), Test: ptr(true), Blacklisted: ptr(true), Badge: ptr(3),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.Attributes["city"] != "杭州" || got.Tokens["fcm"].Token != "f" || got.Phone == "" || got.Network != push.WiFi || !got.Test || !got.Blacklisted || got.Badge != 3 {
		t.Errorf("Patch = %+v", got)
	}
	if !slices.Equal(h.store.whats(), []string{"attributes,tokens,marks"}) {
		t.Errorf("the feed says %v", h.store.whats())
	}
	if len(h.everybody(t, flag(push.FlagTest))) != 1 || len(h.everybody(t, flag(push.FlagBlacklisted))) != 1 {
		t.Error("the index does not know the marks")
	}
	got, err = h.Patch(t.Context(), dev.Ref, push.DevicePatch{Tokens: map[string]push.Token{"fcm": {}}, Test: ptr(false)})
	if err != nil || len(got.Tokens) != 0 || got.Test || got.Badge != 3 || len(h.everybody(t, flag(push.FlagTest))) != 0 {
		t.Errorf("taken back: %+v, %v", got, err)
	}
	h.store.feed = nil
	if _, err := h.Patch(t.Context(), dev.Ref, push.DevicePatch{}); err != nil || len(h.store.whats()) != 0 {
		t.Errorf("an empty patch: wrote %v, %v", h.store.whats(), err)
	}
	if _, err := h.Patch(t.Context(), dev.Ref, push.DevicePatch{Phone: ptr("call me")}); !errors.Is(err, push.Invalid) {
		t.Errorf("a wrong phone: %v, want Invalid", err)
	}
	older := dev.Ref
	older.Generation = 2
	if _, err := h.Patch(t.Context(), older, push.DevicePatch{Badge: ptr(1)}); !errors.Is(err, push.NotFound) {
		t.Errorf("another generation: %v, want NotFound", err)
	}
}

func TestRemove(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	dev := h.device(t, card, "one")
	if _, err := h.Patch(t.Context(), dev.Ref, push.DevicePatch{Phone: ptr("12345"), Test: ptr(true)}); err != nil {
		t.Fatal(err)
	}
	if err := h.Remove(t.Context(), dev.Ref); err != nil {
		t.Fatal(err)
	}
	if !h.wasRevoked(dev.Ref) {
		t.Error("not revoked")
	}
	for range 2 {
		if _, err := h.Authenticate(string(dev.DeviceID), dev.Secret); !errors.Is(err, push.Unauthenticated) {
			t.Errorf("Authenticate = %v, want Unauthenticated", err)
		}
		if _, err := h.Device(t.Context(), 1, string(dev.DeviceID)); !errors.Is(err, push.NotFound) {
			t.Errorf("Device = %v, want NotFound", err)
		}
		if n := len(h.everybody(t)) + len(h.everybody(t, flag(push.FlagTest))); n != 0 {
			t.Errorf("the index holds it %d times", n)
		}
		h.restart(t)
	}
	if err := h.Remove(t.Context(), dev.Ref); !errors.Is(err, push.NotFound) {
		t.Errorf("removing twice: %v, want NotFound", err)
	}
	if row := h.store.devices[key(1, 0)]; row.Phone != "" || len(row.Attributes) != 0 {
		t.Errorf("the record still knows %+v", row)
	}
	again := h.device(t, card, "one") // the install comes back as somebody else
	if again.DeviceID == dev.DeviceID || again.Ref.Ordinal != 1 {
		t.Errorf("registered as %+v", again.Ref)
	}
}

func TestDevicesPageByPage(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	var want []push.DeviceID
	for i := range 10 {
		d := h.device(t, card, strconv.Itoa(i))
		if i%3 == 1 {
			if err := h.Remove(t.Context(), d.Ref); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want = slices.Insert(want, 0, d.DeviceID)
	}
	for limit := range 8 {
		var got []push.DeviceID
		for cursor := ""; ; {
			page, next, err := h.Devices(t.Context(), 1, cursor, limit+1)
			if err != nil || len(page) > limit+1 {
				t.Fatalf("%d devices, %v", len(page), err)
			}
			for _, d := range page {
				got = append(got, d.ID)
			}
			if cursor = next; cursor == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %v, want %v", limit+1, got, want)
		}
	}
	for _, cursor := range []string{"x", "0", "-1", "4294967296"} {
		if _, _, err := h.Devices(t.Context(), 1, cursor, 5); !errors.Is(err, push.Invalid) {
			t.Errorf("cursor %q: %v, want Invalid", cursor, err)
		}
	}
	if _, _, err := h.Devices(t.Context(), 9, "", 5); !errors.Is(err, push.NotFound) {
		t.Errorf("no app: %v, want NotFound", err)
	}
}

func TestResolve(t *testing.T) {
	h := newHouse(t)
	card, other := h.app(t, "demo"), h.app(t, "other")
	a, b, c := h.device(t, card, "a"), h.device(t, card, "b"), h.device(t, card, "c")
	foreign := h.device(t, other, "a")
	if err := h.Remove(t.Context(), c.Ref); err != nil {
		t.Fatal(err)
	}
	// The name of a device that will have b's ordinal after b, which is nobody yet.
	later := string(h.keys.DeviceID(push.Ref{App: 1, Ordinal: b.Ref.Ordinal, Generation: 2, Platform: push.Android}))
	for _, tt := range []struct {
		name      string
		names     []string
		platforms []push.Platform
		want      []push.Ref
		unknown   int
	}{
		{"nobody", nil, nil, []push.Ref{}, 0},
		{"one", []string{string(b.DeviceID)}, nil, []push.Ref{b.Ref}, 0},
		{"one by its second name", []string{string(b.ChannelID)}, nil, []push.Ref{b.Ref}, 0},
		{"one made up", []string{strings.Repeat("0", 32)}, nil, []push.Ref{}, 1},
		{"one of another app", []string{string(foreign.DeviceID)}, nil, []push.Ref{}, 1},
		{"one of another app by its second name", []string{string(foreign.ChannelID)}, nil, []push.Ref{}, 1},
		{"one of another generation", []string{later}, nil, []push.Ref{}, 1},
		{"one removed", []string{string(c.DeviceID)}, nil, []push.Ref{}, 1},
		{"one of another platform", []string{string(a.DeviceID)}, []push.Platform{push.IOS, push.Web}, []push.Ref{}, 0},
		{"one of the platform", []string{string(a.DeviceID)}, []push.Platform{push.Android}, []push.Ref{a.Ref}, 0},
		{
			"many, some twice",
			[]string{string(b.DeviceID), "x", string(a.ChannelID), string(b.ChannelID), "x", "y", string(a.DeviceID)},
			nil,
			[]push.Ref{b.Ref, a.Ref},
			2,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			named, unknown, _, err := h.Resolve(t.Context(), 1, push.Audience{Devices: tt.names, Platforms: tt.platforms}, 1000)
			if err != nil {
				t.Fatal(err)
			}
			got := []push.Ref{}
			for _, n := range named {
				got = append(got, n.Ref)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || unknown != tt.unknown {
				t.Errorf("unknown %d, want %d; refs (-want +got):\n%s", unknown, tt.unknown, diff)
			}
		})
	}
}

// A name of one app never reaches a device of another, whatever the ordinal.
func TestNamesStayInTheirApp(t *testing.T) {
	h := newHouse(t)
	cards := []push.AppCard{h.app(t, "one"), h.app(t, "two"), h.app(t, "three")}
	var all []push.Registered
	for _, card := range cards {
		for i := range 5 {
			all = append(all, h.device(t, card, strconv.Itoa(i)))
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.SampledFrom(all).Draw(t, "device")
		app := rapid.SampledFrom(cards).Draw(t, "app").App.ID
		for _, name := range []string{string(d.DeviceID), string(d.ChannelID)} {
			refs, unknown, _, err := h.Resolve(context.Background(), app, push.Audience{Devices: []string{name}}, 1000)
			if err != nil {
				t.Fatal(err)
			}
			if want := app == d.Ref.App; (len(refs) == 1) != want || (unknown == 0) != want {
				t.Fatalf("app %d, a name of app %d: %v, %d unknown", app, d.Ref.App, refs, unknown)
			}
			if _, err := h.Device(context.Background(), app, name); (err == nil) != (app == d.Ref.App) {
				t.Fatalf("app %d, a name of app %d: Device = %v", app, d.Ref.App, err)
			}
		}
	})
}

// A write that failed for its caller and happened all the same is found out at once.
func TestUncertainWrites(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	dev := h.device(t, card, "one")
	unsure := func(op string) (error, bool) {
		if op == "FindDevices" {
			return nil, false
		}
		return &push.Error{Kind: push.Unavailable}, true
	}

	h.store.fail = unsure
	if _, err := h.Register(t.Context(), registration(card, "two"), "", home); !errors.Is(err, push.Unavailable) {
		t.Fatalf("Register = %v, want Unavailable", err)
	}
	if err := h.Remove(t.Context(), dev.Ref); !errors.Is(err, push.Unavailable) {
		t.Fatalf("Remove = %v, want Unavailable", err)
	}
	h.store.fail = nil
	two := h.device(t, card, "two")
	if two.Ref.Ordinal != 1 {
		t.Errorf("the second try is device %d, want 1, which the first made", two.Ref.Ordinal)
	}
	if _, err := h.Authenticate(string(two.DeviceID), two.Secret); err != nil {
		t.Errorf("Authenticate = %v", err)
	}
	if err := h.Remove(t.Context(), dev.Ref); !errors.Is(err, push.NotFound) {
		t.Errorf("Remove = %v, want NotFound: it is removed", err)
	}
	if slices.Contains(h.everybody(t), dev.Ref.Ordinal) {
		t.Error("the index still holds the removed device")
	}
}

// A caller that gives up does not leave record and memory apart.
func TestCallerGivesUp(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	ctx, cancel := context.WithCancel(t.Context())
	h.store.fail = func(string) (error, bool) { cancel(); return nil, false }
	got, err := h.Register(ctx, registration(card, "one"), "", home)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Authenticate(string(got.DeviceID), got.Secret); err != nil {
		t.Errorf("Authenticate = %v", err)
	}
}

func TestConcurrentChangesOfOneDevice(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	dev := h.device(t, card, "one")
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			if _, err := h.Patch(t.Context(), dev.Ref, push.DevicePatch{Attributes: map[string]string{fmt.Sprint("k", i): "v"}}); err != nil {
				t.Error(err)
			}
			if _, err := h.Register(t.Context(), registration(card, "both"), "", home); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	d, err := h.Device(t.Context(), 1, string(dev.DeviceID))
	if err != nil || len(d.Attributes) != 40 {
		t.Errorf("%d attributes, %v, want 40: changes were lost", len(d.Attributes), err)
	}
	if n := len(h.everybody(t)); n != 2 {
		t.Errorf("%d devices, want 2: one install is one device", n)
	}
}

func TestActivityIsFlushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		card := h.app(t, "demo")
		stays, leaves := h.device(t, card, "stays"), h.device(t, card, "leaves")
		today := push.DayOf(h.clock())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h.Run(ctx) }()
		day := func(d push.Registered) push.Day {
			h.store.mu.Lock()
			defer h.store.mu.Unlock()
			return push.DayOf(h.store.devices[key(1, d.Ref.Ordinal)].LastActive)
		}

		h.Presence(stays.Ref, true)
		h.Presence(leaves.Ref, true)
		h.Presence(leaves.Ref, false)
		time.Sleep(61 * time.Second) // ok: synctest turns the clock
		if day(stays) != today || day(leaves) != today {
			t.Errorf("days %v and %v after a minute, want %v", day(stays), day(leaves), today)
		}
		h.pass(2 * time.Hour) // over midnight
		h.store.mu.Lock()
		h.store.fail = func(op string) (error, bool) { return &push.Error{Kind: push.Unavailable}, false }
		h.store.mu.Unlock()
		time.Sleep(time.Minute) // ok: synctest turns the clock
		if day(stays) != today {
			t.Errorf("day %v though the record fails", day(stays))
		}
		h.store.mu.Lock()
		h.store.fail = nil
		h.store.mu.Unlock()
		time.Sleep(time.Minute) // ok: synctest turns the clock
		if day(stays) != today+1 || day(leaves) != today {
			t.Errorf("days %v and %v after midnight, want %v and %v", day(stays), day(leaves), today+1, today)
		}
		h.Presence(leaves.Ref, true)
		if d, err := h.Device(t.Context(), 1, string(leaves.DeviceID)); err != nil || push.DayOf(d.LastActive) != today+1 {
			t.Errorf("shown as last active %v, %v, before it is written", d.LastActive, err)
		}
		cancel()
		if err := <-done; err != nil || day(leaves) != today+1 {
			t.Errorf("Run = %v, day %v at the end, want %v", err, day(leaves), today+1)
		}
	})
}

func TestOptionsMayBeNil(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	dev := h.device(t, card, "one")
	r := registry.New(h.store.all(), h.keys, nil)
	if err := r.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Presence(dev.Ref, true)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Run(ctx); err != nil {
		t.Errorf("Run = %v", err)
	}
	if err := r.Remove(t.Context(), dev.Ref); err != nil {
		t.Errorf("Remove = %v", err)
	}
}
