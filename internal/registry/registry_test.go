package registry_test

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/carillonpush/carillon/internal/identity"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a registry over a record in memory, with a clock that the test turns.
type house struct {
	*registry.Registry
	store *memStore
	keys  *identity.Keyring

	mu      sync.Mutex
	now     time.Time
	revoked []push.Ref
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
	h.Registry = registry.New(h.store, h.store, h.keys, &registry.Options{Activity: h.store, Now: h.clock, Revoked: func(ref push.Ref) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.revoked = append(h.revoked, ref)
	}})
	if err := h.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
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

func ptr[T any](v T) *T { return &v }
