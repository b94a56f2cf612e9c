package registry_test

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/carillonpush/carillon/internal/identity"
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a registry over a record in memory, with a clock that the test turns.
type house struct {
	*registry.Registry
	store *memStore
	keys  *identity.Keyring

	snapshot string                  // path; "" for none
	pushes   map[push.ID]*ordset.Set // whom a push reached

	mu        sync.Mutex
	now       time.Time
	revoked   []push.Ref
	networked []push.Ordinal
	removed   []push.Ref
	refuse    error // what telling of a removed device fails with
}

var home = netip.MustParseAddr("192.0.2.7")

func newHouse(t testing.TB) *house {
	t.Helper()
	keys, err := identity.New(map[uint8][]byte{1: bytes.Repeat([]byte{1}, identity.RootSize)})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{store: newMemStore(), keys: keys, now: time.Date(2026, 11, 25, 23, 0, 0, 0, time.UTC)}
	h.restart(t)
	return h
}

// restart replaces the registry by a new one over the same record.
func (h *house) restart(t testing.TB) {
	t.Helper()
	h.Registry = registry.New(h.store.all(), h.keys, &registry.Options{
		Now: h.clock, Snapshot: h.snapshot, Marked: h.marked, Pushed: h.pushed,
		Revoked: func(ref push.Ref) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.revoked = append(h.revoked, ref)
		},
		Networked: func(_ push.AppID, o push.Ordinal) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.networked = append(h.networked, o)
		},
		Removed: func(_ context.Context, ref push.Ref) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.refuse == nil {
				h.removed = append(h.removed, ref)
			}
			return h.refuse
		},
	})
	if err := h.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// all returns m as each of the stores.
func (m *memStore) all() registry.Stores {
	return registry.Stores{Apps: m, Devices: m, Labels: m, Feed: m, Files: m, Activity: m}
}

func (h *house) marked(_ context.Context, _ push.AppID, id push.ID, m push.Mark) (*ordset.Set, error) {
	set := h.pushes[id]
	switch {
	case set == nil:
		return nil, &push.Error{Kind: push.NotFound}
	case m == push.MarkOpened:
		return new(ordset.Set), nil
	}
	return set, nil
}

func (h *house) pushed(_ context.Context, _ push.AppID, id push.ID) error {
	if h.pushes[id] == nil {
		return &push.Error{Kind: push.NotFound}
	}
	return nil
}

func (h *house) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *house) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

func (h *house) wasRevoked(ref push.Ref) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Contains(h.revoked, ref)
}

func (h *house) app(t testing.TB, name string) push.AppCard {
	t.Helper()
	card, err := h.CreateApp(t.Context(), push.App{Name: name}, push.Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	return card
}

// registration is what install n of an app says of itself.
func registration(card push.AppCard, install string) push.Registration {
	return push.Registration{
		AppKey: card.Device.AppKey, AppSecret: card.Device.AppSecret, Platform: push.Android,
		InstallID: install + strings.Repeat("-", push.MinInstallID),
	}
}

func (h *house) device(t testing.TB, card push.AppCard, install string) push.Registered {
	t.Helper()
	got, err := h.Register(t.Context(), registration(card, install), "", home)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (h *house) disable(t testing.TB, card push.AppCard, off string) {
	t.Helper()
	app := card.App
	app.Settings = push.Settings{push.SettingDisabled: off}
	if _, err := h.UpdateApp(t.Context(), app); err != nil {
		t.Fatal(err)
	}
}

// everybody returns the registered devices of app 1 for which w holds; all without one.
func (h *house) everybody(t testing.TB, w ...push.Where) []push.Ordinal {
	t.Helper()
	a := push.Audience{All: true}
	if len(w) > 0 {
		a = push.Audience{Where: &w[0]}
	}
	set, unknown, err := h.Target(context.Background(), 1, a)
	if err != nil || unknown != 0 {
		t.Fatalf("Target = %d unknown, %v", unknown, err)
	}
	return slices.Collect(set.All())
}

func flag(f push.Flag) push.Where { return push.Is(push.WhereFlag{Flag: f, Value: true}) }

func ptr[T any](v T) *T { return &v }
