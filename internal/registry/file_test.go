package registry_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

func zipped(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// stored returns what the record holds of a file.
func (h *house) stored(t testing.TB, id push.FileID) (text string, parts []int) {
	t.Helper()
	err := h.store.ReadFile(t.Context(), 1, id, func(part []byte) error {
		text += string(part)
		parts = append(parts, len(part))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return text, parts
}

func TestAddFile(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	h.set(t, card, push.SettingFileKeep, "2h")
	long := strings.Repeat("x", push.MaxLine)
	for _, tt := range []struct {
		name, text, want string
		lines            int
	}{
		{"nothing", "", "", 0},
		{"one line", "a", "a\n", 1},
		{"lines", "a\nb\n", "a\nb\n", 2},
		{"lines of Windows, empty ones, a mark", "\ufeffa\r\n\r\n\n猫 b\r\n\nc", "a\n猫 b\nc\n", 3},
		{"a mark that is not at the start", "a\n\ufeffb", "a\n\ufeffb\n", 2},
		{"the longest", long + "\r\n" + long, long + "\n" + long + "\n", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for i, body := range [][]byte{[]byte(tt.text), zipped(t, tt.text)} {
				f, err := h.AddFile(t.Context(), 1, bytes.NewReader(body))
				if err != nil || f.Lines != tt.lines || f.Bytes != len(tt.text) || f.App != 1 || len(f.ID) != 24 ||
					!f.Created.Equal(h.clock()) || !f.Expires.Equal(h.clock().Add(2*time.Hour)) {
					t.Errorf("zipped %d: %+v, %v, want %d lines of %d bytes", i, f, err, tt.lines, len(tt.text))
					continue
				}
				if text, _ := h.stored(t, f.ID); text != tt.want {
					t.Errorf("stored %q, want %q", text, tt.want)
				}
				if got, err := h.FindFile(t.Context(), 1, f.ID); err != nil || got != f {
					t.Errorf("FindFile = %+v, %v, want %+v", got, err, f)
				}
				_, err = h.FindFile(t.Context(), 2, f.ID)
				fails(t, "of another app", err, push.NotFound, "file")
			}
		})
	}
}

func TestAddFileInParts(t *testing.T) {
	h := newHouse(t)
	h.app(t, "demo")
	random := rand.New(rand.NewPCG(1, 2))
	var text strings.Builder
	n := 0
	for text.Len() < 2<<20 {
		fmt.Fprintf(&text, "%0*d\n", 1+random.IntN(push.MaxLine), n)
		n++
	}
	f, err := h.AddFile(t.Context(), 1, bytes.NewReader(zipped(t, text.String())))
	if err != nil || f.Lines != n {
		t.Fatalf("AddFile = %+v, %v, want %d lines", f, err, n)
	}
	got, parts := h.stored(t, f.ID)
	if got != text.String() {
		t.Error("the text is another")
	}
	for i, size := range parts {
		if size > 256<<10 || i < len(parts)-1 && size < 255<<10 {
			t.Errorf("part %d has %d bytes", i, size)
		}
	}
}

// A half is a body that ends before its time.
type half struct {
	r   io.Reader
	err error
}

func (h half) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	if errors.Is(err, io.EOF) {
		err = h.err
	}
	return n, err
}

func TestAddFileRefuses(t *testing.T) {
	h := newHouse(t)
	h.app(t, "demo")
	line := strings.Repeat("x", 127) + "\n"
	large := []byte(strings.Repeat(line, push.MaxFile/len(line)) + "y")
	member := zipped(t, strings.Repeat(line, 1<<20/len(line))) // gzip files one after another are one
	good := zipped(t, "a\nb\n")
	broken := bytes.Clone(good)
	broken[len(broken)-5] ^= 1
	gone := errors.New("the caller is gone")
	for _, tt := range []struct {
		name  string
		body  io.Reader
		kind  push.Kind
		field string
	}{
		{"a line too long", strings.NewReader("a\n\n" + strings.Repeat("x", push.MaxLine+1)), push.Invalid, "line 3"},
		{"a very long line", strings.NewReader("a\n" + strings.Repeat("x", 1<<20)), push.Invalid, "line 2"},
		{"not UTF-8", strings.NewReader("a\nb\xff\nc"), push.Invalid, "line 2"},
		{"NUL", strings.NewReader("a\x00"), push.Invalid, "line 1"},
		{"too large", bytes.NewReader(large), push.TooLarge, "file"},
		{"too large when unzipped", bytes.NewReader(append(bytes.Repeat(member, push.MaxFileBytes>>20), good...)), push.TooLarge, "file"},
		{"half of a gzip", bytes.NewReader(good[:len(good)-9]), push.Invalid, "file"},
		{"hardly any gzip", bytes.NewReader(good[:4]), push.Invalid, "file"},
		{"a wrong checksum", bytes.NewReader(broken), push.Invalid, "file"},
		{"gzip and then something", io.MultiReader(bytes.NewReader(good), strings.NewReader("more")), push.Invalid, "file"},
		{"a caller who goes", half{strings.NewReader("a\nb"), gone}, push.Internal, ""},
		{"a caller who goes, zipped", half{bytes.NewReader(good[:12]), gone}, push.Internal, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := h.AddFile(t.Context(), 1, tt.body)
			fails(t, "AddFile", err, tt.kind, tt.field)
			if len(h.store.files) != 0 {
				t.Errorf("%d files are there", len(h.store.files))
			}
		})
	}
	exactly := bytes.NewReader(large[:push.MaxFile])
	if f, err := h.AddFile(t.Context(), 1, exactly); err != nil || f.Bytes != push.MaxFile {
		t.Errorf("the largest: %+v, %v", f, err)
	}
	_, err := h.AddFile(t.Context(), 9, strings.NewReader("a"))
	fails(t, "no app", err, push.NotFound, "app")
}

func TestTargetOfFile(t *testing.T) {
	h, all := crowd(t)
	var text strings.Builder
	for i := range 2500 { // more than one batch; strangers between
		fmt.Fprintf(&text, "stranger-%d\n", i)
		if i%1000 == 0 {
			fmt.Fprintf(&text, "%s\n%s\nold-2\n333\n", all[0].DeviceID, all[1].ChannelID)
		}
	}
	text.WriteString("stranger-2499\nstranger-2499")
	f, err := h.AddFile(t.Context(), 1, strings.NewReader(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name      string
		of        push.FileOf
		platforms []push.Platform
		devices   int
		unknown   int
	}{
		{"devices", push.FileOf{Devices: true}, nil, 4, 2500},
		{"devices of a platform", push.FileOf{Devices: true}, []push.Platform{push.IOS}, 1, 2500},
		{"aliases", push.FileOf{Alias: "uid"}, nil, 0, 2500 + 3*4},
	} {
		a := push.Audience{File: string(f.ID), Of: &tt.of, Platforms: tt.platforms}
		set, unknown, err := h.Target(t.Context(), 1, a)
		if err != nil || set.Len() != tt.devices || unknown != tt.unknown {
			t.Errorf("%s: %d devices, %d unknown, %v, want %d, %d", tt.name, set.Len(), unknown, err, tt.devices, tt.unknown)
		}
	}
	f, err = h.AddFile(t.Context(), 1, strings.NewReader("shared\none\nx"))
	if err != nil {
		t.Fatal(err)
	}
	a := push.Audience{File: string(f.ID), Of: &push.FileOf{Alias: "uid"}}
	if set, unknown, err := h.Target(t.Context(), 1, a); err != nil || set.Len() != 2 || unknown != 1 {
		t.Errorf("aliases: %d devices, %d unknown, %v", set.Len(), unknown, err)
	}
	h.pass(31 * 24 * time.Hour)
	_, _, err = h.Target(t.Context(), 1, a)
	fails(t, "a file that expired", err, push.NotFound, "file")
	if err := h.Check(t.Context(), 1, a); !errors.Is(err, push.NotFound) {
		t.Errorf("Check = %v", err)
	}
}

func FuzzAddFile(f *testing.F) {
	f.Add([]byte("a\nb\r\n\n猫"))
	f.Add(zipped(f, "a\nb"))
	f.Add([]byte("\x1f\x8b"))
	f.Add([]byte("\ufeff\n\x00"))
	h := newHouse(f)
	h.app(f, "demo")
	f.Fuzz(func(t *testing.T, body []byte) {
		file, err := h.AddFile(t.Context(), 1, bytes.NewReader(body))
		if err != nil {
			if k := push.KindOf(err); k != push.Invalid && k != push.TooLarge {
				t.Fatalf("AddFile = %v", err)
			}
			return
		}
		text, parts := h.stored(t, file.ID)
		lines := strings.Count(text, "\n")
		if lines != file.Lines || len(text) > file.Bytes+1 || (len(parts) == 0) != (lines == 0) {
			t.Fatalf("%d lines in %d bytes, want %d in %d at most", lines, len(text), file.Lines, file.Bytes+1)
		}
		for line := range strings.Lines(text) {
			if (push.Alias{Value: strings.TrimSuffix(line, "\n")}).Validate() != nil {
				t.Fatalf("line %q is no name", line)
			}
		}
		delete(h.store.files, keyOf(file)) // so that the memory does not grow
		delete(h.store.parts, keyOf(file))
	})
}

func keyOf(f push.File) fileKey { return fileKey{f.App, f.ID} }
