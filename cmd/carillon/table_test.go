package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/sdk/device"
)

func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "",
		"杭州 é 😀 👩‍🚀 a\u3000b":   "杭州 é 😀 👩‍🚀 a\u3000b",
		"a\tb\r\nc\x00\x1b[1m":  `a\tb\r\nc\x00\x1b[1m`,
		"\x7f\u0085\u009b":      `\x7f\u0085\u009b`,
		"\u202ea\u2066\u200f":   `\u202ea\u2066\u200f`,
		"\u2028\u2029":          `\u2028\u2029`,
		"\xff\ufffd\xe6\x9d\"'": "\\xff\ufffd\\xe6\\x9d\"'",
	} {
		if got := plain(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	if got, want := plainLines("a\r\nb\t\n\x1b", "  "), "a\n  b\\t\n  \\x1b"; got != want {
		t.Errorf("lines: got %q, want %q", got, want)
	}
}

func TestTableKeepsCellsApart(t *testing.T) {
	var b bytes.Buffer
	w := newTable(&b)
	w.row("NAME", "VALUE")
	w.row("a\tb", "x\ny", 7)
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "NAME  VALUE\na\\tb  x\\ny  7\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestListenShowsMessagesPlain(t *testing.T) {
	var b bytes.Buffer
	m := device.Message{ID: "1", Notification: &device.Notification{Title: "\x1b[2Jhi", Body: "one\ntwo\x07"}}
	if err := new(listenCmd).print(&b, m); err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(b.String(), "  ") // the time
	if want := "1\n    title    \\x1b[2Jhi\n    body     one\n             two\\a\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
