package registry_test

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/carillonpush/carillon/internal/push"
)

// told returns of whose network it was told since the last call.
func (h *house) told() []push.Ordinal {
	h.mu.Lock()
	defer h.mu.Unlock()
	told := h.networked
	h.networked = nil
	return told
}

func TestNetwork(t *testing.T) {
	h := newHouse(t)
	h.snapshot = filepath.Join(t.TempDir(), "index.snapshot")
	h.restart(t)
	card := h.app(t, "demo")
	a, b := h.device(t, card, "a"), h.device(t, card, "b")
	changed := len(h.store.whats())
	for _, tt := range []struct {
		name string
		says push.Network
		is   push.Network
		told bool
	}{
		{"nothing yet", push.AnyNetwork, "", false},
		{"Wi-Fi", push.WiFi, push.WiFi, true},
		{"Wi-Fi again", push.WiFi, push.WiFi, false},
		{"mobile", push.Mobile, push.Mobile, true},
		{"it does not say", push.AnyNetwork, "", true},
		{"and still not", "", "", false},
		{"mobile in the end", push.Mobile, push.Mobile, true},
	} {
		if err := h.SetNetwork(t.Context(), a.Ref, tt.says); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		d, err := h.Device(t.Context(), 1, string(a.DeviceID))
		if got := h.Network(1, a.Ref.Ordinal); got != tt.is || err != nil || d.Network != tt.is {
			t.Errorf("%s: got %q in memory, %q shown, %v; want %q", tt.name, got, d.Network, err, tt.is)
		}
		if told := h.told(); slices.Contains(told, a.Ref.Ordinal) != tt.told {
			t.Errorf("%s: told of %v, want %v", tt.name, told, tt.told)
		}
	}
	if got := len(h.store.whats()) - changed; got != 4 {
		t.Errorf("%d changes were written, want 4", got)
	}
	for _, wrong := range []push.Network{"5G", "WiFi"} {
		if err := h.SetNetwork(t.Context(), a.Ref, wrong); !errors.Is(err, push.Invalid) {
			t.Errorf("%s: got %v, want Invalid", wrong, err)
		}
	}
	if _, err := h.Patch(t.Context(), b.Ref, push.DevicePatch{Network: ptr(push.WiFi)}); err != nil || h.Network(1, b.Ref.Ordinal) != push.WiFi {
		t.Errorf("patched: %q, %v", h.Network(1, b.Ref.Ordinal), err)
	}
	h.told()

	// Who connects and has said is told of; of who has not, nothing depends on it.
	c := h.device(t, card, "c")
	for _, d := range []push.Registered{a, c} {
		h.Presence(d.Ref, true)
		h.Presence(d.Ref, false)
	}
	if told := h.told(); !slices.Equal(told, []push.Ordinal{a.Ref.Ordinal}) {
		t.Errorf("connected: told of %v, want the first", told)
	}

	h.store.scans = 0
	for _, from := range []string{"the record", "the snapshot"} {
		h.restart(t)
		if got := []push.Network{h.Network(1, 0), h.Network(1, 1), h.Network(1, 2), h.Network(1, 99), h.Network(9, 0)}; !slices.Equal(got, []push.Network{push.Mobile, push.WiFi, "", "", ""}) {
			t.Errorf("started from %s: got %q", from, got)
		}
		if told := h.told(); told != nil {
			t.Errorf("started from %s: told of %v", from, told)
		}
		h.Save(t.Context())
	}
	if h.store.scans != 1 {
		t.Errorf("%d starts read the record, want the first", h.store.scans)
	}

	if err := h.Remove(t.Context(), b.Ref); err != nil {
		t.Fatal(err)
	}
	if got := h.Network(1, b.Ref.Ordinal); got != "" || h.told() != nil {
		t.Errorf("a removed device is on %q", got)
	}
	if err := h.SetNetwork(t.Context(), b.Ref, push.WiFi); !errors.Is(err, push.NotFound) {
		t.Errorf("a removed device: got %v, want NotFound", err)
	}
}

func TestZone(t *testing.T) {
	h := newHouse(t)
	dev := h.device(t, h.app(t, "demo"), "a")
	for _, zone := range []string{"Europe/Berlin", "", "+05:30"} {
		if _, err := h.Patch(t.Context(), dev.Ref, push.DevicePatch{Attributes: map[string]string{"time_zone": zone}}); err != nil {
			t.Fatal(err)
		}
		reads := h.store.reads
		if got := h.Zone(1, dev.Ref.Ordinal); got != zone || h.store.reads != reads {
			t.Errorf("got %q, %d reads, want %q and none", got, h.store.reads-reads, zone)
		}
	}
	if got := h.Zone(1, 99) + h.Zone(9, 0); got != "" {
		t.Errorf("got %q of nobody", got)
	}
}

func TestDeviceID(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	a, b := h.device(t, card, "a"), h.device(t, card, "b")
	if err := h.Remove(t.Context(), b.Ref); err != nil {
		t.Fatal(err)
	}
	reads := h.store.reads
	if got := h.DeviceID(1, a.Ref.Ordinal); got != a.DeviceID || h.store.reads != reads {
		t.Errorf("got %s, %d reads, want %s and none", got, h.store.reads-reads, a.DeviceID)
	}
	if got := h.DeviceID(1, b.Ref.Ordinal); got != b.DeviceID {
		t.Errorf("removed: got %s, want %s", got, b.DeviceID)
	}
	if got := h.DeviceID(1, 2) + h.DeviceID(9, 0); got != "" {
		t.Errorf("got %s of nobody", got)
	}
	h.store.fail = func(string) (error, bool) { return &push.Error{Kind: push.Unavailable}, false }
	if got := h.DeviceID(1, b.Ref.Ordinal); got != "" {
		t.Errorf("got %s though the record fails", got)
	}
}
