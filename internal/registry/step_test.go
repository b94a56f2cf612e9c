package registry_test

import (
	"errors"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Whatever happens to devices, in whatever order, with restarts and failing writes between, record and memory agree in
// the end, and the newest secret that a device was given is the only one that opens.
func TestMemoryFollowsTheRecord(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHouse(t)
		card := h.app(t, "demo")
		const installs = 5
		var have [installs]push.Registered
		fail := func() {
			h.store.fail = nil
			if rapid.IntRange(0, 5).Draw(rt, "fails") == 0 {
				done := rapid.Bool().Draw(rt, "happens all the same")
				h.store.fail = func(string) (error, bool) { return &push.Error{Kind: push.Unavailable}, done }
			}
		}
		step := func(i int) {
			fail()
			switch rapid.IntRange(0, 4).Draw(rt, "op") {
			case 0, 1:
				auth := ""
				if rapid.Bool().Draw(rt, "with secret") {
					auth = have[i].Secret
				}
				got, err := h.Register(rt.Context(), registration(card, strconv.Itoa(i)), auth, home)
				if err == nil {
					have[i] = got
				} else if !errors.Is(err, push.Unavailable) {
					rt.Fatalf("Register = %v", err)
				}
			case 2:
				patch := push.DevicePatch{Test: ptr(rapid.Bool().Draw(rt, "test")), Blacklisted: ptr(rapid.Bool().Draw(rt, "blacklisted"))}
				if _, err := h.Patch(rt.Context(), have[i].Ref, patch); err != nil && !errors.Is(err, push.Unavailable) && !errors.Is(err, push.NotFound) {
					rt.Fatalf("Patch = %v", err)
				}
			case 3:
				if err := h.Remove(rt.Context(), have[i].Ref); err != nil && !errors.Is(err, push.Unavailable) && !errors.Is(err, push.NotFound) {
					rt.Fatalf("Remove = %v", err)
				}
			case 4:
				h.restart(t)
			}
		}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			step(rapid.IntRange(0, installs-1).Draw(rt, "install"))
		}
		h.store.fail = nil
		for i := range have {
			old := have[i]
			got, err := h.Register(rt.Context(), registration(card, strconv.Itoa(i)), "", home)
			if err != nil {
				rt.Fatal(err)
			}
			if ref, err := h.Authenticate(string(got.DeviceID), got.Secret); err != nil || ref != got.Ref {
				rt.Fatalf("Authenticate = %+v, %v, want %+v", ref, err, got.Ref)
			}
			if _, err := h.Authenticate(string(old.DeviceID), old.Secret); !errors.Is(err, push.Unauthenticated) {
				rt.Fatalf("the secret before: %v, want Unauthenticated", err)
			}
		}
		agree(rt, h)
		h.restart(t)
		agree(rt, h)
	})
}

// agree compares the index with the record.
func agree(t *rapid.T, h *house) {
	var all, test, black ordset.Set
	for _, row := range h.store.devices {
		if !row.Removed.IsZero() {
			continue
		}
		all.Add(row.Ref.Ordinal)
		if row.Test {
			test.Add(row.Ref.Ordinal)
		}
		if row.Blacklisted {
			black.Add(row.Ref.Ordinal)
		}
	}
	for name, pair := range map[string][2]*ordset.Set{
		"everybody": {h.Everybody(1, nil), &all}, "test": {h.Test(1), &test}, "blacklisted": {h.Blacklisted(1), &black},
	} {
		got, want := slices.Collect(pair[0].All()), slices.Collect(pair[1].All())
		if !slices.Equal(got, want) {
			t.Fatalf("%s: index %v, record %v", name, got, want)
		}
	}
}
