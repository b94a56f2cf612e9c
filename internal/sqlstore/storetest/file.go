package storetest

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// parts returns the parts of a file, copied.
func parts(t *testing.T, p *Ports, app push.AppID, id push.FileID) ([]string, error) {
	var all []string
	err := p.Files.ReadFile(t.Context(), app, id, func(part []byte) error {
		all = append(all, string(part))
		return nil
	})
	return all, err
}

// upload stores the parts of a file, in an order that is not theirs.
func upload(t *testing.T, p *Ports, app push.AppID, id push.FileID, expires time.Time, all ...string) {
	t.Helper()
	for n := len(all) - 1; n >= 0; n-- {
		lines := []byte(all[n])
		if err := p.Files.AddFilePart(t.Context(), app, id, n, lines, expires); err != nil {
			t.Fatal(err)
		}
		clear(lines) // it is not kept
	}
}

func testFiles(t *testing.T, p *Ports) {
	ctx := t.Context()
	big := string(bytes.Repeat([]byte("0123456789abcde\n"), 16<<10)) // a part of full size
	f := push.File{ID: "f1", App: 1, Lines: 16<<10 + 2, Bytes: len(big) + 4, Created: noon, Expires: noon.Add(time.Hour)}
	upload(t, p, 1, f.ID, noon.Add(time.Hour), big, "a\n", "b\n")
	_, err := p.Files.FindFile(ctx, 1, f.ID, noon)
	fails(t, "before it is complete", err, push.NotFound, "")
	_, err = parts(t, p, 1, f.ID)
	fails(t, "read before it is complete", err, push.NotFound, "")
	upload(t, p, 1, f.ID, noon.Add(time.Hour), big) // a part that was in doubt comes again
	if err := p.Files.AddFile(ctx, f, 0); err != nil {
		t.Fatal(err)
	}
	fails(t, "complete twice", p.Files.AddFile(ctx, f, 0), push.Conflict, "file")
	fails(t, "a part that comes late", p.Files.AddFilePart(ctx, 1, f.ID, 3, []byte("c\n"), f.Expires), push.Conflict, "file")

	p = p.Reopen(t)
	got, err := p.Files.FindFile(ctx, 1, f.ID, noon)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the file", got, f)
	_, err = p.Files.FindFile(ctx, 2, f.ID, noon)
	fails(t, "of another app", err, push.NotFound, "")
	_, err = p.Files.FindFile(ctx, 1, f.ID, f.Expires)
	fails(t, "when it expires", err, push.NotFound, "")
	all, err := parts(t, p, 1, f.ID)
	if err != nil || len(all) != 3 || all[0] != big || all[1] != "a\n" || all[2] != "b\n" {
		t.Errorf("its parts: got %d, %v, want the three in order", len(all), err)
	}
	enough := errors.New("enough")
	n := 0
	err = p.Files.ReadFile(ctx, 1, f.ID, func([]byte) error { n++; return enough })
	if !errors.Is(err, enough) || n != 1 {
		t.Errorf("until yield fails: got %v after %d parts, want the error after one", err, n)
	}
	empty := push.File{ID: "f2", App: 1, Created: noon, Expires: noon.Add(time.Hour)}
	if err := p.Files.AddFile(ctx, empty, 0); err != nil {
		t.Fatal(err)
	}
	if all, err := parts(t, p, 1, empty.ID); err != nil || len(all) != 0 {
		t.Errorf("parts of an empty file: got %d, %v, want none", len(all), err)
	}
}

func testFilesLimit(t *testing.T, p *Ports) {
	ctx := t.Context()
	const most = 100
	put := func(app push.AppID, id push.FileID, bytes int, created time.Time) error {
		t.Helper()
		upload(t, p, app, id, created.Add(time.Hour), "a\n")
		return p.Files.AddFile(ctx, push.File{ID: id, App: app, Lines: 1, Bytes: bytes, Created: created, Expires: created.Add(time.Hour)}, most)
	}
	for _, tt := range []struct {
		name    string
		app     push.AppID
		bytes   int
		created time.Time
		want    bool
	}{
		{"too large by itself", 1, most + 1, noon, false},
		{"as large as may be", 1, most - 10, noon, true},
		{"too large with the other", 1, 11, noon, false},
		{"of another app", 2, most, noon, true},
		{"as large as may be with the other", 1, 10, noon.Add(time.Minute), true},
		{"nothing more", 1, 1, noon.Add(time.Hour - time.Millisecond), false},
		{"when one has expired", 1, most - 10, noon.Add(time.Hour), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := put(tt.app, push.FileID(tt.name), tt.bytes, tt.created)
			_, find := p.Files.FindFile(ctx, tt.app, push.FileID(tt.name), tt.created)
			if tt.want {
				if err != nil || find != nil {
					t.Errorf("got %v, and then %v, want it there", err, find)
				}
				return
			}
			fails(t, "the file", err, push.TooMany, "file")
			fails(t, "find it", find, push.NotFound, "")
		})
	}
	if err := p.Files.AddFile(ctx, push.File{ID: "free", App: 1, Bytes: 1 << 40, Created: noon, Expires: noon.Add(time.Hour)}, 0); err != nil {
		t.Errorf("without a limit: %v", err)
	}
}

func testFilesExpire(t *testing.T, p *Ports) {
	ctx := t.Context()
	day := noon.Add(24 * time.Hour) // when uploads are given up
	const n = 150                   // more than one commit removes
	many := make([]string, n)
	for i := range many {
		many[i] = "a\n"
	}
	long := push.File{ID: "long", App: 1, Created: noon, Expires: noon.Add(7 * 24 * time.Hour)}
	short := push.File{ID: "short", App: 1, Created: noon, Expires: noon.Add(time.Hour)}
	upload(t, p, 1, long.ID, day, "l1\n", "l2\n")
	upload(t, p, 1, short.ID, short.Expires, many...)
	upload(t, p, 1, "never", day, "n\n")
	upload(t, p, 2, long.ID, day, "of another app\n")
	for _, f := range []push.File{long, short} {
		if err := p.Files.AddFile(ctx, f, 0); err != nil {
			t.Fatal(err)
		}
	}
	sweep := func(when string, now time.Time, limit, want int) {
		t.Helper()
		got, err := p.Files.SweepFiles(ctx, now, limit)
		if err != nil || got != want {
			t.Errorf("parts that are removed %s: got %d, %v, want %d", when, got, err, want)
		}
	}
	sweep("before anything expires", noon.Add(time.Hour-time.Millisecond), 1000, 0)
	if all, err := parts(t, p, 1, short.ID); err != nil || len(all) != n {
		t.Errorf("until then: got %d parts, %v, want %d", len(all), err, n)
	}
	// One that goes while it is read is not taken for a shorter one.
	first := true
	err := p.Files.ReadFile(ctx, 1, short.ID, func([]byte) error {
		if first {
			first = false
			sweep("within a limit", short.Expires, 100, 100)
		}
		return nil
	})
	fails(t, "a file that goes", err, push.NotFound, "")
	sweep("after that", short.Expires, 1000, n-100)
	sweep("when uploads are given up", day, 1000, 2)
	late := push.File{ID: "never", App: 1, Lines: 2, Created: noon, Expires: noon.Add(7 * 24 * time.Hour)}
	fails(t, "a file whose upload was given up", p.Files.AddFile(ctx, late, 0), push.Conflict, "file")
	if err := p.Files.AddFilePart(ctx, 1, "never", 1, []byte("m\n"), day.Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	fails(t, "a file whose first part has gone", p.Files.AddFile(ctx, late, 0), push.Conflict, "file")
	sweep("when that is given up", day.Add(time.Millisecond), 1000, 1)
	sweep("again", day.Add(time.Hour), 1000, 0)
	if all, err := parts(t, p, 1, long.ID); err != nil || len(all) != 2 {
		t.Errorf("a file that is there: got %d parts, %v, want 2", len(all), err)
	}
	sweep("in the end", long.Expires, 1000, 2)
	_, err = parts(t, p, 1, long.ID)
	fails(t, "when it has gone", err, push.NotFound, "")
}
