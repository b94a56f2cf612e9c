package registry_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/push"
)

// imports imports devices into app 1, of which none is refused.
func (h *house) imports(t testing.TB, all ...push.Import) []push.Imported {
	t.Helper()
	got, err := h.Import(t.Context(), 1, all)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range got {
		if a.Err != nil {
			t.Fatalf("import %d: %v", i, a.Err)
		}
	}
	return got
}

func TestImport(t *testing.T) {
	h := newHouse(t)
	h.app(t, "demo")
	all := []push.Import{
		{
			PreviousID: "old-1", Platform: push.IOS, Account: "ann", Phone: "10001", Tags: []string{"a", "b"}, Test: ptr(true),
			Aliases: []push.Alias{{Type: "uid", Value: "1"}}, Attributes: map[string]string{"city": "杭州"}, Tokens: map[string]push.Token{"apns": {Token: "t"}},
		},
		{PreviousID: "old-2", Tags: []string{"b"}},
		{PreviousID: "old-1", Attributes: map[string]string{"brand": "x"}},
	}
	got := h.imports(t, all...)
	if !got[0].Added || !got[1].Added || got[2].Added || got[0].Device != got[2].Device || got[0].Device == got[1].Device {
		t.Errorf("Import = %+v", got)
	}
	if feed := h.store.whats(); !slices.Equal(feed, []string{"import", "import"}) {
		t.Errorf("the feed says %v", feed)
	}
	d, err := h.Device(t.Context(), 1, "old-1")
	if err != nil || text(d) != "a b|uid:1|brand=x city=杭州|ann" || d.ID != got[0].Device || d.Platform != push.IOS || d.Phone != "10001" || !d.Test ||
		d.Tokens["apns"].Token != "t" || d.PreviousID != "old-1" || !d.LastActive.IsZero() || !d.Registered.Equal(h.clock()) || !d.Bound.Equal(h.clock()) {
		t.Errorf("Device = %+v, %v", d, err)
	}
	if d, err := h.Device(t.Context(), 1, "old-2"); err != nil || d.Platform != push.Android || text(d) != "b|||" {
		t.Errorf("Device = %+v, %v", d, err)
	}

	// A second time changes nothing, and what is left out stays.
	h.store.feed = nil
	h.restart(t)
	again := h.imports(t, all...)
	for i := range again {
		if again[i].Added || again[i].Device != got[i].Device {
			t.Errorf("again: %+v, want %+v", again[i], got[i])
		}
	}
	h.imports(t, push.Import{PreviousID: "old-1", Test: ptr(false), Tokens: map[string]push.Token{"apns": {}}, Attributes: map[string]string{"brand": ""}})
	d, err = h.Device(t.Context(), 1, "old-1")
	if err != nil || text(d) != "a b|uid:1|city=杭州|ann" || d.Test || len(d.Tokens) != 0 {
		t.Errorf("changed: %+v, %v", d, err)
	}
	if len(h.store.devices) != 2 || !slices.Equal(h.store.whats(), []string{"import"}) {
		t.Errorf("%d devices, the feed says %v", len(h.store.devices), h.store.whats())
	}
}

func TestImportRefuses(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	h.set(t, card, push.SettingTags, "3", push.SettingDeviceTags, "2", push.SettingDeviceAliases, "1")
	h.imports(t, push.Import{PreviousID: "ios", Platform: push.IOS})
	alias := func(values ...string) (all []push.Alias) {
		for _, v := range values {
			all = append(all, push.Alias{Value: v})
		}
		return all
	}
	var all []push.Import
	var kinds []push.Kind
	var fields []string
	for _, tt := range []struct {
		what  push.Import
		kind  push.Kind // Internal: it is well
		field string
	}{
		{push.Import{PreviousID: "1", Tags: []string{"a"}, Aliases: alias("x")}, 0, ""},
		{push.Import{PreviousID: ""}, push.Invalid, "device_id"},
		{push.Import{PreviousID: "2", Tags: []string{"a", strings.Repeat("x", 129)}}, push.Invalid, "tags[1]"},
		{push.Import{PreviousID: "3", Aliases: alias("1", "2")}, push.TooMany, "aliases[1]"},
		{push.Import{PreviousID: "4", Tags: []string{"b", "c", "d"}}, push.TooMany, "tags"},
		{push.Import{PreviousID: "5", Tags: []string{"d", "e"}, Aliases: alias("y")}, 0, ""},
		{push.Import{PreviousID: "6", Tags: []string{"f"}}, push.TooMany, "tags"},
		{push.Import{PreviousID: "ios", Platform: push.Android}, push.Conflict, "platform"},
		{push.Import{PreviousID: "1", Aliases: alias("z")}, push.TooMany, "aliases[0]"},
		{push.Import{PreviousID: "ios", Attributes: map[string]string{"a": "1"}}, 0, ""},
		{push.Import{PreviousID: "7", Tokens: map[string]push.Token{"pager": {}}}, push.Invalid, "tokens.pager"},
		{push.Import{PreviousID: "8", Aliases: alias("x")}, 0, ""},
	} {
		all, kinds, fields = append(all, tt.what), append(kinds, tt.kind), append(fields, tt.field)
	}
	got, err := h.Import(t.Context(), 1, all)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range got {
		if kinds[i] == 0 {
			if a.Err != nil || a.Device == "" {
				t.Errorf("import %d = %+v, want it done", i, a)
			}
			continue
		}
		fails(t, fmt.Sprint("import ", i), a.Err, kinds[i], fields[i])
		if a.Device != "" || a.Added {
			t.Errorf("import %d, which is refused, is %+v", i, a)
		}
	}
	if n := len(h.store.devices); n != 4 {
		t.Errorf("%d devices, want 4", n)
	}
	if got := listTags(t, h); len(got) != 3 || got["a"] != 1 || got["d"] != 1 || got["e"] != 1 {
		t.Errorf("tags are %v", got)
	}
	next := h.device(t, card, "next")
	if next.Ref.Ordinal > 7 {
		t.Errorf("the next device is %d: refused imports use up many ordinals", next.Ref.Ordinal)
	}
	for _, bad := range [][]push.Import{nil, make([]push.Import, push.MaxImports+1)} {
		_, err := h.Import(t.Context(), 1, bad)
		fails(t, "how many", err, push.Invalid, "devices")
	}
	_, err = h.Import(t.Context(), 9, all)
	fails(t, "no app", err, push.NotFound, "app")
	h.store.fail = func(string) (error, bool) { return &push.Error{Kind: push.Unavailable}, false }
	_, err = h.Import(t.Context(), 1, all)
	fails(t, "the record is away", err, push.Unavailable, "")
}

// proofOf computes a proof as the documentation says.
func proofOf(key, previousID string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(previousID))
	return hex.EncodeToString(mac.Sum(nil))
}

func TestAdopt(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	imported := h.imports(t, push.Import{
		PreviousID: "old", Tags: []string{"vip"}, Attributes: map[string]string{"city": "1", "brand": "x"}, Tokens: map[string]push.Token{"hms": {Token: "t"}},
	})[0]
	own := h.device(t, card, "phone") // it came before it knew its old id
	if _, err := h.EditLabels(t.Context(), own.Ref, push.LabelEdit{Op: push.Add, Aliases: []push.Alias{{Value: "x"}}}); err != nil {
		t.Fatal(err)
	}
	reg := registration(card, "phone")
	reg.PreviousID, reg.Attributes = "old", map[string]string{"city": "2"}
	for name, proof := range map[string]string{
		"none": "", "a wrong one": strings.Repeat("0", 64), "of another id": proofOf(card.Native.APIKey, "old2"),
		"under another key": proofOf("ck_x", "old"), "in capitals": strings.ToUpper(proofOf(card.Native.APIKey, "old")),
	} {
		reg.PreviousProof = proof
		_, err := h.Register(t.Context(), reg, own.Secret, home)
		fails(t, "a proof: "+name, err, push.Denied, "previous_proof")
	}
	if len(h.revoked) != 0 || len(h.removed) != 0 {
		t.Errorf("revoked %v, removed %v", h.revoked, h.removed)
	}
	reg.PreviousProof = proofOf(card.Native.APIKey, "old")
	got, err := h.Register(t.Context(), reg, own.Secret, home)
	if err != nil || !got.Adopted || got.DeviceID != imported.Device {
		t.Fatalf("Register = %+v, %v, want device %s", got, err, imported.Device)
	}
	if !slices.Equal(h.removed, []push.Ref{own.Ref}) || !h.wasRevoked(own.Ref) {
		t.Errorf("removed %v, revoked %v, want %v", h.removed, h.revoked, own.Ref)
	}
	for range 2 {
		if _, err := h.Authenticate(string(own.DeviceID), own.Secret); !errors.Is(err, push.Unauthenticated) {
			t.Errorf("the device before: %v", err)
		}
		if _, err := h.Authenticate(string(got.DeviceID), got.Secret); err != nil {
			t.Errorf("the device now: %v", err)
		}
		d, err := h.Device(t.Context(), 1, "old")
		if err != nil || text(d) != "vip||brand=x city=2|" || d.Tokens["hms"].Token != "t" || d.Reset || push.DayOf(d.LastActive) != push.DayOf(h.clock()) {
			t.Errorf("Device = %+v, %v", d, err)
		}
		if names, err := h.NamedDevices(t.Context(), 1, push.Names{Kind: push.ByAlias, Values: []string{"x"}}); err != nil || len(names) != 0 {
			t.Errorf("the alias of the removed device is of %v, %v", names, err)
		}
		if all := h.everybody(t); len(all) != 1 {
			t.Errorf("%d devices, want 1", len(all))
		}
		h.restart(t)
	}

	// From now on it registers as ever, with its secret and without a proof.
	for _, previous := range []string{"old", ""} {
		reg.PreviousID, reg.PreviousProof = previous, ""
		again, err := h.Register(t.Context(), reg, got.Secret, home)
		if err != nil || again.Secret != got.Secret || again.DeviceID != got.DeviceID || again.Adopted != (previous != "") {
			t.Errorf("again with %q = %+v, %v", previous, again, err)
		}
	}
	// A fresh install of the same phone, which has the proof, takes it over; the secret before is dead.
	second := registration(card, "new install")
	second.PreviousID, second.PreviousProof = "old", proofOf(card.Native.APIKey, "old")
	taken, err := h.Register(t.Context(), second, "", home)
	if err != nil || !taken.Adopted || taken.DeviceID != got.DeviceID || taken.Secret == got.Secret || !h.wasRevoked(got.Ref) {
		t.Errorf("a fresh install = %+v, %v", taken, err)
	}
	if _, err := h.Authenticate(string(got.DeviceID), got.Secret); !errors.Is(err, push.Unauthenticated) {
		t.Errorf("the secret before: %v", err)
	}
}

func TestAdoptKinds(t *testing.T) {
	h := newHouse(t)
	card, other := h.app(t, "demo"), h.app(t, "other")
	h.imports(t, push.Import{PreviousID: "a"}, push.Import{PreviousID: "b", Platform: push.IOS})
	register := func(card push.AppCard, install, previous, proof string) (push.Registered, error) {
		reg := registration(card, install)
		reg.PreviousID, reg.PreviousProof = previous, proof
		return h.Register(t.Context(), reg, "", home)
	}
	_, err := register(card, "one", "b", proofOf(card.Native.APIKey, "b"))
	fails(t, "another platform", err, push.Conflict, "platform")
	if got, err := register(card, "two", "never heard of", ""); err != nil || got.Adopted {
		t.Errorf("an unknown id = %+v, %v, want a device like others", got, err)
	}
	if got, err := register(other, "two", "a", ""); err != nil || got.Adopted {
		t.Errorf("an id of another app = %+v, %v, want a device like others", got, err)
	}
	_, err = register(card, "three", "a", proofOf(other.Native.APIKey, "a"))
	fails(t, "a proof of another app", err, push.Denied, "previous_proof")

	// A rotated key proves for a day.
	rotated, err := h.RotateKeys(t.Context(), 1, "native")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := register(card, "three", "a", proofOf(card.Native.APIKey, "a")); err != nil || !got.Adopted {
		t.Errorf("the key before = %+v, %v", got, err)
	}
	h.pass(25 * 60 * 60 * 1e9)
	_, err = register(card, "four", "a", proofOf(card.Native.APIKey, "a"))
	fails(t, "the key before, a day later", err, push.Denied, "previous_proof")

	// An open app: the first to name it, and nobody after it.
	h.set(t, card, push.SettingAdoptPrevious, "open")
	h.imports(t, push.Import{PreviousID: "c"})
	first, err := register(card, "five", "c", "")
	if err != nil || !first.Adopted {
		t.Fatalf("the first = %+v, %v", first, err)
	}
	_, err = register(card, "six", "c", "")
	fails(t, "the second", err, push.Denied, "previous_id")
	h.imports(t, push.Import{PreviousID: "c", Tags: []string{"x"}}) // importing again does not open it again
	_, err = register(card, "six", "c", "")
	fails(t, "the second, after another import", err, push.Denied, "previous_id")
	if got, err := register(card, "six", "c", proofOf(rotated.Native.APIKey, "c")); err != nil || !got.Adopted {
		t.Errorf("the second, with a proof = %+v, %v", got, err)
	}

	// A device that was removed is not imported any more.
	if err := h.Remove(t.Context(), first.Ref); err != nil {
		t.Fatal(err)
	}
	if got, err := register(card, "seven", "c", ""); err != nil || got.Adopted {
		t.Errorf("after it was removed = %+v, %v", got, err)
	}
	if again := h.imports(t, push.Import{PreviousID: "c"})[0]; !again.Added || again.Device == first.DeviceID {
		t.Errorf("imported once more = %+v", again)
	}
}

// What the removed device was owed is dropped, if not at once then later.
func TestAdoptTellsUntilItIsHeard(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	h.imports(t, push.Import{PreviousID: "old"})
	own := h.device(t, card, "phone")
	reg := registration(card, "phone")
	reg.PreviousID, reg.PreviousProof = "old", proofOf(card.Native.APIKey, "old")
	h.refuse = errors.New("not now")
	if got, err := h.Register(t.Context(), reg, "", home); err != nil || !got.Adopted {
		t.Fatalf("Register = %+v, %v", got, err)
	}
	h.Settle(context.Background())
	h.refuse = nil
	for range 2 {
		h.Settle(context.Background())
	}
	if !slices.Equal(h.removed, []push.Ref{own.Ref}) {
		t.Errorf("told of %v, want once of %v", h.removed, own.Ref)
	}
}

// Once a phone is the device, an import that comes again does not know better what the phone says of itself.
func TestImportAgainAfterAdoption(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	line := push.Import{
		PreviousID: "old", Account: "old-user", Phone: "13800000000", Tags: []string{"vip"},
		Attributes: map[string]string{"app_version": "1.0"}, Tokens: map[string]push.Token{"hms": {Token: "dead"}},
	}
	h.imports(t, line)
	reg := registration(card, "phone")
	reg.PreviousID, reg.PreviousProof = "old", proofOf(card.Native.APIKey, "old")
	reg.Attributes, reg.Tokens = map[string]string{"app_version": "2.0"}, map[string]push.Token{"hms": {Token: "live"}}
	got, err := h.Register(t.Context(), reg, "", home)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Relabel(t.Context(), got.Ref, push.LabelEdit{Op: push.Delete, Account: ptr("somebody else")}); err != nil {
		t.Fatal(err)
	}
	if d, err := h.Device(t.Context(), 1, "old"); err != nil || d.Account != "old-user" {
		t.Errorf("a logout of another account: %q, %v, want that it changes nothing", d.Account, err)
	}
	if err := h.Relabel(t.Context(), got.Ref, push.LabelEdit{Op: push.Delete, Account: ptr("old-user")}); err != nil {
		t.Fatal(err)
	}
	line.Tags = []string{"vip", "corrected"} // what senders say is added as ever
	h.imports(t, line)
	d, err := h.Device(t.Context(), 1, "old")
	if err != nil {
		t.Fatal(err)
	}
	if d.Account != "" || d.Attributes["app_version"] != "2.0" || d.Tokens["hms"].Token != "live" || !slices.Equal(d.Tags, []string{"corrected", "vip"}) {
		t.Errorf("got account %q, attributes %v, tags %v, want what the phone said", d.Account, d.Attributes, d.Tags)
	}
	answers, err := h.Import(t.Context(), 1, []push.Import{{PreviousID: string(got.DeviceID), Tags: []string{"x"}}})
	if err != nil {
		t.Fatal(err)
	}
	fails(t, "a device by its own id", answers[0].Err, push.Conflict, "device_id")
}
