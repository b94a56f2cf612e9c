package registry_test

import (
	"strconv"
	"testing"

	"github.com/carillonpush/carillon/internal/push"
)

// BenchmarkAuthenticate is what one reconnecting device costs.
func BenchmarkAuthenticate(b *testing.B) {
	h := newHouse(b)
	dev := h.device(b, h.app(b, "demo"), "one")
	for b.Loop() {
		if _, err := h.Authenticate(string(dev.DeviceID), dev.Secret); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkResolve is what a list of 500 devices costs.
func BenchmarkResolve(b *testing.B) {
	h := newHouse(b)
	card := h.app(b, "demo")
	names := make([]string, 500)
	for i := range names {
		names[i] = string(h.device(b, card, strconv.Itoa(i)).DeviceID)
	}
	for b.Loop() {
		refs, _, _, err := h.Resolve(b.Context(), 1, push.Audience{Devices: names}, 1000)
		if err != nil || len(refs) != 500 {
			b.Fatal(len(refs), err)
		}
	}
}
