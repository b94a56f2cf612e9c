package registry_test

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/registry"
	"github.com/carillonpush/carillon/internal/sqlstore"
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

// base is how many devices BenchmarkStart starts with. Set it to a million by hand.
const base = 100_000

// recorded returns a registry over a record on disk.
func recorded(b *testing.B, dir string) (*registry.Registry, *sqlstore.Store) {
	b.Helper()
	s, err := sqlstore.Open(b.Context(), filepath.Join(dir, "record.db"), nil)
	if err != nil {
		b.Fatal(err)
	}
	r := registry.New(registry.Stores{Apps: s, Devices: s, Labels: s, Feed: s, Files: s, Activity: s}, newHouse(b).keys, &registry.Options{
		Snapshot: filepath.Join(dir, "index.snapshot"),
	})
	if err := r.Load(b.Context()); err != nil {
		b.Fatal(err)
	}
	return r, s
}

// someImports returns a thousand devices, from number n on.
func someImports(n int) []push.Import {
	all := make([]push.Import, push.MaxImports)
	for i := range all {
		at := n + i
		all[i] = push.Import{
			PreviousID: fmt.Sprint("old-", at), Tags: []string{fmt.Sprint("t", at%200), fmt.Sprint("u", at%50)},
			Aliases: []push.Alias{{Type: "uid", Value: strconv.Itoa(at)}}, Tokens: map[string]push.Token{"hms": {Token: fmt.Sprint("token-", at)}},
			Attributes: map[string]string{"app_version": fmt.Sprint("1.", at%30), "province": strconv.Itoa(at % 34), "city": strconv.Itoa(at % 300), "brand": strconv.Itoa(at % 8)},
		}
	}
	return all
}

// BenchmarkImport is what importing a thousand devices costs, with all that they bring, on disk.
func BenchmarkImport(b *testing.B) {
	r, s := recorded(b, b.TempDir())
	defer s.Close()
	if _, err := r.CreateApp(b.Context(), push.App{Name: "demo"}, push.Credentials{}); err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		if _, err := r.Import(b.Context(), 1, someImports(n)); err != nil {
			b.Fatal(err)
		}
		n += push.MaxImports
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "devices/s")
}

// BenchmarkStart is what a start costs, with the snapshot and without.
func BenchmarkStart(b *testing.B) {
	dir := b.TempDir()
	r, s := recorded(b, dir)
	if _, err := r.CreateApp(b.Context(), push.App{Name: "demo"}, push.Credentials{}); err != nil {
		b.Fatal(err)
	}
	for n := 0; n < base; n += push.MaxImports {
		if _, err := r.Import(b.Context(), 1, someImports(n)); err != nil {
			b.Fatal(err)
		}
	}
	start := func(b *testing.B) {
		for b.Loop() {
			r, s := recorded(b, dir)
			if n := r.Platforms(1)[push.Android]; n != base {
				b.Fatal(n)
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(base*float64(b.N)/b.Elapsed().Seconds(), "devices/s")
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("record", start)
	r, s = recorded(b, dir)
	r.Save(b.Context())
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("snapshot", start)
}
