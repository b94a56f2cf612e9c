package push_test

import (
	"math"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/push"
)

func TestVersionsCompare(t *testing.T) {
	for _, tt := range []struct {
		name, a, b string
		want       int
	}{
		{"numbers, not text", "1.10", "1.9", 1},
		{"a missing part is 0", "1", "1.0.0", 0},
		{"a missing part is below 1", "1.2", "1.2.1", -1},
		{"leading zeros do not count", "1.02", "1.2", 0},
		{"more digits than an integer has", "1.18446744073709551616", "1.18446744073709551615", 1},
		{"text is above numbers", "1.beta", "1.99", 1},
		{"text is above what is missing", "1.beta", "1", 1},
		{"text compares as text", "1.beta", "1.alpha", 1},
		{"a suffix makes a part text", "2.0-rc1", "2.0", 1},
		{"a v is text", "v1.0", "9", 1},
		{"capitals are other text", "1.RC", "1.rc", -1},
		{"an empty version is 0", "", "0", 0},
		{"an empty version is below", "", "0.0.1", -1},
		{"a dot at the end adds nothing", "1.", "1", 0},
		{"a dot at the start is a part that is 0", ".5", "0.5", 0},
		{"two dots are a part that is 0", "1..2", "1.0.2", 0},
		{"the same", "3.2.1", "3.2.1", 0},
		{"digits of other scripts are text", "1.٣", "1.4", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := push.CompareVersions(tt.a, tt.b); got != tt.want {
				t.Errorf("%q and %q: got %d, want %d", tt.a, tt.b, got, tt.want)
			}
			if got := push.CompareVersions(tt.b, tt.a); got != -tt.want {
				t.Errorf("%q and %q: got %d, want %d", tt.b, tt.a, got, -tt.want)
			}
		})
	}
}

// The order is a total preorder; so the versions that are below one that is below another are below the other, too, and
// an index may put them in order.
func TestVersionsAreInOrder(t *testing.T) {
	version := rapid.StringMatching(`[0-9a]{0,2}(\.[0-9ab-]{0,2}){0,3}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := version.Draw(t, "a"), version.Draw(t, "b"), version.Draw(t, "c")
		ab, bc, ac := push.CompareVersions(a, b), push.CompareVersions(b, c), push.CompareVersions(a, c)
		switch {
		case push.CompareVersions(a, a) != 0:
			t.Fatalf("%q is not equal to itself", a)
		case push.CompareVersions(b, a) != -ab:
			t.Fatalf("%q and %q: %d, and the other way round %d", a, b, ab, push.CompareVersions(b, a))
		case ab < -1 || ab > 1:
			t.Fatalf("%q and %q: %d", a, b, ab)
		case ab <= 0 && bc <= 0 && (ac > 0 || ac == 0 && ab+bc < 0):
			t.Fatalf("%q, %q, %q: %d and %d, but %d", a, b, c, ab, bc, ac)
		case push.CompareVersions(a+".0", a) != 0:
			t.Fatalf("%q.0 is not equal to %q", a, a)
		}
	})
}

func TestVersionAttributes(t *testing.T) {
	for name, want := range map[string]bool{"app_version": true, "os_version": true, "sdk_version": false, "App_Version": false, "": false} {
		if got := push.IsVersion(name); got != want {
			t.Errorf("%q: got %v, want %v", name, got, want)
		}
	}
}

func TestNumbersAreRead(t *testing.T) {
	for _, tt := range []struct {
		text string
		want float64
		ok   bool
	}{
		{"0", 0, true},
		{"-0", 0, true},
		{"42", 42, true},
		{"+42", 42, true},
		{"-1.5", -1.5, true},
		{".5", 0.5, true},
		{"5.", 5, true},
		{"007", 7, true},
		{"1e3", 1000, true},
		{"1E-3", 0.001, true},
		{"1e-999", 0, true}, // too small to tell from 0
		{"1e999", 0, false},
		{"", 0, false},
		{" 1", 0, false},
		{"1 ", 0, false},
		{"1,5", 0, false},
		{"1.2.3", 0, false},
		{"1_000", 0, false},
		{"0x10", 0, false},
		{"0x1p-2", 0, false},
		{"NaN", 0, false},
		{"inf", 0, false},
		{"-Infinity", 0, false},
		{"一", 0, false},
		{"true", 0, false},
	} {
		t.Run(tt.text, func(t *testing.T) {
			got, ok := push.ParseNumber(tt.text)
			if ok != tt.ok || ok && got != tt.want {
				t.Errorf("got %v, %v, want %v, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.Float64().Filter(func(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }).Draw(t, "f")
		if got, ok := push.ParseNumber(strconv.FormatFloat(f, 'g', -1, 64)); !ok || got != f {
			t.Fatalf("%v became %v, %v", f, got, ok)
		}
		if got, ok := push.ParseNumber(rapid.String().Draw(t, "s")); ok && (math.IsNaN(got) || math.IsInf(got, 0)) {
			t.Fatalf("got %v, which has no order", got)
		}
	})
}

func TestCompareNumbers(t *testing.T) {
	for _, tt := range []struct {
		a, b  string
		order int
		ok    bool
	}{
		{"10", "9", 1, true},
		{"9007199254740993", "9007199254740992", 1, true}, // alike as floating-point numbers
		{"-9007199254740993", "-9007199254740992", -1, true},
		{"+7", "7", 0, true},
		{"1e3", "1000", 0, true},
		{"1.50", "1.5", 0, true},
		{"0.1", "0.2", -1, true},
		{"1e-999999999", "0", 0, true}, // and quickly
		{"seven", "7", 0, false},
		{"7", "", 0, false},
	} {
		if order, ok := push.CompareNumbers(tt.a, tt.b); order != tt.order || ok != tt.ok {
			t.Errorf("CompareNumbers(%q, %q) = %d, %t, want %d, %t", tt.a, tt.b, order, ok, tt.order, tt.ok)
		}
	}
}
