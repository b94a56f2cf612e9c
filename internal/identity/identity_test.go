package identity_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/identity"
	"github.com/carillonpush/carillon/internal/push"
)

var update = flag.Bool("update", false, "write testdata/golden.txt anew: only for a new version of ids")

// root returns a root key that is the same in every run.
func root(seed byte) []byte { return bytes.Repeat([]byte{seed}, identity.RootSize) }

func ring(t testing.TB, roots map[uint8][]byte) *identity.Keyring {
	t.Helper()
	k, err := identity.New(roots)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// refs draws refs that both names can hold.
func refs() *rapid.Generator[push.Ref] {
	return rapid.Custom(func(t *rapid.T) push.Ref {
		return push.Ref{
			App:        push.AppID(rapid.Uint32Range(1, 1<<23-1).Draw(t, "app")),
			Ordinal:    push.Ordinal(rapid.Uint32().Draw(t, "ordinal")),
			Generation: rapid.Uint8Range(1, 255).Draw(t, "generation"),
			Platform:   rapid.SampledFrom(push.Platforms()).Draw(t, "platform"),
		}
	})
}

func TestNamesRoundTrip(t *testing.T) {
	k := ring(t, map[uint8][]byte{1: root(1)})
	rapid.Check(t, func(t *rapid.T) {
		ref := refs().Draw(t, "ref")
		id, channel := k.DeviceID(ref), k.ChannelID(ref)
		if len(id) != 32 || strings.ToLower(string(id)) != string(id) {
			t.Fatalf("device id %q, want 32 lower-case hex digits", id)
		}
		if n, err := strconv.ParseInt(string(channel), 10, 64); err != nil || n < 0 || len(channel) > 19 {
			t.Fatalf("channel id %q, want a decimal number of at most 19 digits", channel)
		}
		if got, err := k.Parse(string(id)); err != nil || got != ref {
			t.Fatalf("Parse(device id) = %+v, %v, want %+v", got, err, ref)
		}
		ref.Platform = 0 // which a channel id does not say
		if got, err := k.Parse(string(channel)); err != nil || got != ref {
			t.Fatalf("Parse(channel id) = %+v, %v, want %+v", got, err, ref)
		}
	})
}

func TestAppAboveTheSecondName(t *testing.T) {
	k := ring(t, map[uint8][]byte{1: root(1)})
	ref := push.Ref{App: 1 << 23, Ordinal: 1, Generation: 1, Platform: push.IOS}
	if got := k.ChannelID(ref); got != "" {
		t.Errorf("channel id of app 2^23 = %q, want none", got)
	}
	if got, err := k.Parse(string(k.DeviceID(ref))); err != nil || got != ref {
		t.Errorf("Parse(device id) = %+v, %v, want %+v", got, err, ref)
	}
	if got := k.DeviceID(push.Ref{App: 1, Generation: 1}); got != "" {
		t.Errorf("device id of a ref without platform = %q, want none", got)
	}
}

// A permutation is onto as well as one to one: every number of 63 bits is the image of its own inverse.
func TestChannelIDsArePermuted(t *testing.T) {
	k := ring(t, map[uint8][]byte{1: root(1)})
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Uint64Range(0, 1<<63-1).Draw(t, "x")
		there, back := k.Permute(x), k.Invert(x)
		if there >= 1<<63 || back >= 1<<63 {
			t.Fatalf("permute %d, invert %d leave 63 bits", there, back)
		}
		if got := k.Invert(there); got != x {
			t.Fatalf("invert(permute(x)) = %d, want %d", got, x)
		}
		if got := k.Permute(back); got != x {
			t.Fatalf("permute(invert(x)) = %d, want %d", got, x)
		}
	})
	seen := map[uint64]bool{}
	for x := range uint64(50_000) {
		seen[k.Permute(x)] = true
	}
	if len(seen) != 50_000 {
		t.Errorf("50000 numbers have %d images", len(seen))
	}
}

func TestMadeUpDeviceIDs(t *testing.T) {
	k, other := ring(t, map[uint8][]byte{1: root(1)}), ring(t, map[uint8][]byte{1: root(2)})
	rapid.Check(t, func(t *rapid.T) {
		ref := refs().Draw(t, "ref")
		id := []byte(k.DeviceID(ref))
		i := rapid.IntRange(0, 31).Draw(t, "i")
		if id[i] == 'f' {
			id[i] = '0'
		} else {
			id[i] = 'f'
		}
		random := hex.EncodeToString(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "random"))
		for name, id := range map[string]string{
			"one digit changed": string(id), "random": random, "of another keyring": string(other.DeviceID(ref)),
		} {
			if got, err := k.Parse(id); !errors.Is(err, push.NotFound) {
				t.Fatalf("%s: Parse = %+v, %v, want NotFound", name, got, err)
			}
		}
	})
}

// A channel id that is made up names somebody of the app that it was made up for with negligible chance: apps have few
// numbers, and the permutation spreads guesses over all 2^23 of them.
func TestMadeUpChannelIDs(t *testing.T) {
	k := ring(t, map[uint8][]byte{1: root(1)})
	hits := 0
	for n := range 100_000 {
		ref, err := k.Parse(strconv.Itoa(1_000_000_000 + n))
		if err == nil && ref.App <= 2 && ref.Generation == 1 {
			hits++
		}
	}
	if hits > 2 {
		t.Errorf("%d of 100000 made-up channel ids fall on apps 1 and 2 at generation 1", hits)
	}
}

func TestRefusedNames(t *testing.T) {
	k := ring(t, map[uint8][]byte{1: root(1)})
	id := string(k.DeviceID(push.Ref{App: 7, Ordinal: 3, Generation: 1, Platform: push.Android}))
	for _, tt := range []struct{ name, text string }{
		{"empty", ""},
		{"upper-case hex", strings.ToUpper(id)},
		{"a digit short", id[:31]},
		{"a digit more", id + "0"},
		{"space around", " " + id[:30] + " "},
		{"not hex", strings.Repeat("g", 32)},
		{"sign", "+12"},
		{"negative", "-12"},
		{"leading zero", "012"},
		{"above 63 bits", "9223372036854775808"},
		{"20 digits", "10000000000000000000"},
		{"other digits", "١٢٣"},
		{"32 decimal digits", strings.Repeat("1", 32)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := k.Parse(tt.text); !errors.Is(err, push.NotFound) {
				t.Errorf("Parse(%q) = %+v, %v, want NotFound", tt.text, got, err)
			}
		})
	}
}

func TestDeviceSecret(t *testing.T) {
	k := ring(t, map[uint8][]byte{1: root(1)})
	rapid.Check(t, func(t *rapid.T) {
		id := k.DeviceID(refs().Draw(t, "ref"))
		epoch := rapid.Uint32().Draw(t, "epoch")
		secret := k.DeviceSecret(id, epoch)
		if len(secret) != 44 {
			t.Fatalf("secret has %d characters, want 44", len(secret))
		}
		if !k.VerifySecret(id, epoch, secret) {
			t.Fatal("the secret does not verify")
		}
		b := []byte(secret)
		b[rapid.IntRange(0, 43).Draw(t, "i")] ^= 1
		for name, ok := range map[string]bool{
			"next epoch":        k.VerifySecret(id, epoch+1, secret),
			"another device":    k.VerifySecret("0"+id[1:], epoch, secret) && id[0] != '0',
			"one character off": k.VerifySecret(id, epoch, string(b)),
			"cut short":         k.VerifySecret(id, epoch, secret[:43]),
			"empty":             k.VerifySecret(id, epoch, ""),
		} {
			if ok {
				t.Fatalf("%s: verifies", name)
			}
		}
	})
}

func TestKeysAreReplaced(t *testing.T) {
	old := ring(t, map[uint8][]byte{1: root(1)})
	both := ring(t, map[uint8][]byte{1: root(1), 2: root(2)})
	ref := push.Ref{App: 1, Ordinal: 1, Generation: 1, Platform: push.Web}
	id := old.DeviceID(ref)
	if both.DeviceID(ref) != id || both.ChannelID(ref) != old.ChannelID(ref) || both.Hash("x", 1, "y") != old.Hash("x", 1, "y") {
		t.Error("a second root changes names or hashes")
	}
	if !both.VerifySecret(id, 0, old.DeviceSecret(id, 0)) {
		t.Error("a secret of root 1 does not verify beside root 2")
	}
	if s := both.DeviceSecret(id, 0); s == old.DeviceSecret(id, 0) || old.VerifySecret(id, 0, s) {
		t.Error("new secrets are not of root 2")
	}
	if got, err := both.Open("l", old.Seal("l", []byte("s"))); err != nil || string(got) != "s" {
		t.Errorf("a value sealed under root 1 opens as %q, %v", got, err)
	}
	if _, err := old.Open("l", both.Seal("l", []byte("s"))); !errors.Is(err, push.Internal) {
		t.Errorf("a value of an unknown root: %v, want Internal", err)
	}
}

func TestSeal(t *testing.T) {
	k := ring(t, map[uint8][]byte{1: root(1)})
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOf(rapid.Byte()).Draw(t, "plain")
		label := rapid.String().Draw(t, "label")
		sealed := k.Seal(label, plain)
		if got, err := k.Open(label, sealed); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("Open = %x, %v, want %x", got, err, plain)
		}
		if bytes.Equal(sealed, k.Seal(label, plain)) {
			t.Fatal("sealing twice gives the same bytes")
		}
		if _, err := k.Open(label+"x", sealed); err == nil {
			t.Fatal("opens under another label")
		}
		cut := rapid.IntRange(0, len(sealed)-1).Draw(t, "cut")
		if _, err := k.Open(label, sealed[:cut]); err == nil {
			t.Fatal("opens when cut short")
		}
		sealed[cut] ^= 0x40
		if _, err := k.Open(label, sealed); err == nil {
			t.Fatal("opens when changed")
		}
	})
}

func TestHashKeepsPurposesApart(t *testing.T) {
	k := ring(t, map[uint8][]byte{1: root(1)})
	h := k.Hash("install", 1, "v")
	if h == k.Hash("install", 2, "v") || h == k.Hash("native", 1, "v") || h == k.Hash("install", 1, "w") {
		t.Error("hashes of different things are the same")
	}
	if h != k.Hash("install", 1, "v") {
		t.Error("the same thing has two hashes")
	}
}

func TestRootsAreChecked(t *testing.T) {
	for _, tt := range []struct {
		name  string
		roots map[uint8][]byte
	}{
		{"none", nil},
		{"no first", map[uint8][]byte{2: root(1)}},
		{"number zero", map[uint8][]byte{0: root(1), 1: root(1)}},
		{"short", map[uint8][]byte{1: root(1)[:31]}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := identity.New(tt.roots); err == nil {
				t.Error("is taken")
			}
		})
	}
}

// What a keyring gives out must stay what it is: ids are in other people's databases.
func TestGolden(t *testing.T) {
	k := ring(t, map[uint8][]byte{1: root(1), 2: root(2)})
	var b strings.Builder
	for _, ref := range []push.Ref{
		{App: 1, Ordinal: 0, Generation: 1, Platform: push.Android},
		{App: 1, Ordinal: 1, Generation: 1, Platform: push.IOS},
		{App: 2, Ordinal: 65_536, Generation: 2, Platform: push.Harmony},
		{App: 1<<23 - 1, Ordinal: 1<<32 - 1, Generation: 255, Platform: push.Web},
	} {
		id := k.DeviceID(ref)
		fmt.Fprintf(&b, "app %d ordinal %d generation %d platform %s = %s %s\n", ref.App, ref.Ordinal, ref.Generation, ref.Platform, id, k.ChannelID(ref))
		fmt.Fprintf(&b, "secret of %s at 0, 9 = %s %s\n", id, k.DeviceSecret(id, 0), k.DeviceSecret(id, 9))
	}
	fmt.Fprintf(&b, "hash install 1 value = %x\n", k.Hash("install", 1, "value"))
	path := filepath.Join("testdata", "golden.txt")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	sealed, _ := hex.DecodeString("02b8d25329f57277d688805da4aef235525c3dfcb32fb1f6c7e55bbdd36f3056201e6b731c")
	if got, err := k.Open("1/umeng.ios/key", sealed); err != nil || string(got) != "a secret" {
		t.Errorf("Open of a stored value = %q, %v, want %q", got, err, "a secret")
	}
}
