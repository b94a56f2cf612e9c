package repotest_test

import (
	"testing"

	"github.com/carillonpush/carillon/internal/repotest"
)

func TestWords(t *testing.T) {
	tree := load(t, map[string]string{
		"docs/a.md": "fine\nsee /home/me/notes\n",
		"a/a.go":    "package a // /home/me\n",
		"LICENSE":   "home\n",
	})
	compare(t, repotest.Words(tree, []string{"/home/me"}), []string{
		`a/a.go:1: says "/home/me"`,
		`docs/a.md:2: says "/home/me"`,
	})
}

func TestSkips(t *testing.T) {
	const source = `package a_test

func TestShort(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	if x := 1; x == 0 || testing.Short() {
		t.Skipf("takes %d minutes", x)
	}
	if testing.Short() {
		t.SkipNow()
	}
	if testing.Short() {
	} else {
		t.Skip("in a full run")
	}
	if os.Getenv("X") == "" {
		t.Skip("no X")
	} else if testing.Short() {
		t.Skip("has X, takes a minute")
	}
	t.Run("inner", func(t *testing.T) { t.Skip("") })
}

func BenchmarkX(b *testing.B) { b.Skipf("no %s", "X") }

func FuzzX(f *testing.F) {
	f.Fuzz(func(t *testing.T, in []byte) { t.Skip("not interesting") })
}

func TestProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { t.Skip("not drawn") })
	lexer.Skip()
}

func property(t *rapid.T) { t.SkipNow() }
`
	const full = "skips in a full run; ask testing.Short, or fail and say what the machine lacks"
	compare(t, repotest.Skips(load(t, map[string]string{"a/a_test.go": source})), []string{
		"a/a_test.go:11: skips without saying why",
		"a/a_test.go:15: " + full,
		"a/a_test.go:18: " + full,
		"a/a_test.go:22: skips without saying why",
		"a/a_test.go:25: " + full,
	})
}

func TestSleeps(t *testing.T) {
	const source = `package a

func f() {
	time.Sleep(1)
	time.Sleep(1) // ok: the kernel tells no one
	time.Sleep(1) // ok:
	time.Sleep(1) // for luck
	clock.Sleep(1)
}
`
	const text = `sleeps; use testing/synctest, a channel or a deadline, or say why not: "// ok: reason"`
	compare(t, repotest.Sleeps(load(t, map[string]string{"a/a.go": source, "a/a_test.go": source})), []string{
		"a/a_test.go:4: " + text,
		"a/a_test.go:6: " + text,
		"a/a_test.go:7: " + text,
	})
}
