package identity_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/identity"
	"github.com/carillonpush/carillon/internal/push"
)

// record is a record in memory.
type record struct {
	meta  map[string][]byte
	empty bool
	onPut func()
}

func newRecord() *record { return &record{meta: map[string][]byte{}, empty: true} }

func (r *record) Meta(_ context.Context, key string) ([]byte, error) {
	if v, ok := r.meta[key]; ok {
		return v, nil
	}
	return nil, &push.Error{Kind: push.NotFound}
}

func (r *record) PutMeta(_ context.Context, key string, value []byte) error {
	r.meta[key] = value
	if r.onPut != nil {
		r.onPut()
	}
	return nil
}

func (r *record) Empty(context.Context) (bool, error) { return r.empty, nil }

func TestOpenMakesKeysOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "server.key")
	rec := newRecord()
	k, err := identity.Open(t.Context(), path, rec)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the file: %v, %v, want mode 0600", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".keyring-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	rec.empty = false
	again, err := identity.Open(t.Context(), path, rec)
	if err != nil {
		t.Fatal(err)
	}
	ref := push.Ref{App: 1, Ordinal: 5, Generation: 1, Platform: push.IOS}
	if got, want := again.DeviceID(ref), k.DeviceID(ref); got != want {
		t.Errorf("after a restart a device is %s, want %s", got, want)
	}
}

func TestOpenAfterAStartCutShort(t *testing.T) {
	path := filepath.Join(t.TempDir(), "server.key")
	if _, err := identity.Open(t.Context(), path, newRecord()); err != nil {
		t.Fatal(err)
	}
	rec := newRecord() // the file was made, the check values were not stored
	if _, err := identity.Open(t.Context(), path, rec); err != nil {
		t.Fatal(err)
	}
	if len(rec.meta[identity.MetaKey]) == 0 {
		t.Error("no check values stored")
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		harm func(t *testing.T, path string, rec *record)
		want string
	}{
		{"a lost file", func(t *testing.T, path string, rec *record) { rec.empty = false; remove(t, path) }, "is missing"},
		{"a lost file of a database without apps", func(t *testing.T, path string, rec *record) { remove(t, path) }, "is missing"},
		{"another keyring", func(t *testing.T, path string, rec *record) {
			remove(t, path)
			if _, err := identity.Open(t.Context(), path, newRecord()); err != nil {
				t.Fatal(err)
			}
		}, "not the one that the database was made with"},
		{"a database in use without check values", func(t *testing.T, path string, rec *record) {
			rec.empty = false
			delete(rec.meta, identity.MetaKey)
		}, "no check values"},
		{"a root taken away", func(t *testing.T, path string, rec *record) {
			text := read(t, path)
			write(t, path, text+"root 2 "+strings.Repeat("B", 42)+"A\n")
			if _, err := identity.Open(t.Context(), path, rec); err != nil {
				t.Fatal(err)
			}
			write(t, path, text)
		}, "put its line back"},
		{"an empty file", func(t *testing.T, path string, rec *record) { write(t, path, "") }, "root key 1 is missing"},
		{"another sort of file", func(t *testing.T, path string, rec *record) { write(t, path, "hello\n") }, "not a keyring file"},
		{"a line of another sort", func(t *testing.T, path string, rec *record) { write(t, path, read(t, path)+"leaf 1 x\n") }, "neither a comment"},
		{"a root twice", func(t *testing.T, path string, rec *record) {
			write(t, path, read(t, path)+"root 1 "+strings.Repeat("A", 43)+"\n")
		}, "stands twice"},
		{"a short root", func(t *testing.T, path string, rec *record) { write(t, path, "carillon-keyring 1\nroot 1 AAAA\n") }, "32 bytes"},
		{"a root of another number", func(t *testing.T, path string, rec *record) {
			write(t, path, "carillon-keyring 1\nroot 300 "+strings.Repeat("A", 43)+"\n")
		}, "wrong number"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "server.key")
			rec := newRecord()
			if _, err := identity.Open(t.Context(), path, rec); err != nil {
				t.Fatal(err)
			}
			tt.harm(t, path, rec)
			_, err := identity.Open(t.Context(), path, rec)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Open = %v, want an error with %q", err, tt.want)
			}
			if tt.want == "is missing" {
				if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
					t.Error("a new file was made")
				}
			}
		})
	}
}

func TestOpenLosesTheRaceForARecord(t *testing.T) {
	rec := newRecord()
	rec.onPut = func() { rec.meta[identity.MetaKey] = []byte("id 00\n") } // another node's, right after ours
	if _, err := identity.Open(t.Context(), filepath.Join(t.TempDir(), "k"), rec); err == nil || !strings.Contains(err.Error(), "another node") {
		t.Errorf("Open = %v, want an error about another node", err)
	}
}

func TestOpenCannotWrite(t *testing.T) {
	rec := newRecord()
	if _, err := identity.Open(t.Context(), filepath.Join(t.TempDir(), "missing", "k"), rec); err == nil {
		t.Error("Open made keys in a folder that is not there")
	}
	if len(rec.meta) != 0 {
		t.Error("check values stored of keys that were not kept")
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
