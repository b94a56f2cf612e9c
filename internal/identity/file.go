package identity

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/carillonpush/carillon/internal/push"
)

// Checks is what the keyring needs of the record. Its values tell whether keyring and record belong together.
type Checks interface {
	// Meta returns the value stored under key. NotFound if there is none.
	Meta(ctx context.Context, key string) ([]byte, error)
	// PutMeta stores value under key; it is durable on return.
	PutMeta(ctx context.Context, key string, value []byte) error
	// Empty reports whether the record holds nothing that was made under a keyring: no app.
	Empty(ctx context.Context) (bool, error)
}

// MetaKey is where the record holds the check values: a line "label value" for each key of the ring.
const MetaKey = "keyring"

const fileHeader = "carillon-keyring 1"

const fileComment = `# The keys of this Carillon installation: they name its devices and open the secrets in its database.
# Keep a copy where the database's copy is, and show it to nobody. Without it neither is of use.
# A line "root N KEY" more, with the next N and 32 random bytes as base64url, replaces the keys; the old ones must stay.
`

// Open returns the keyring of the file at path, after it has compared it with the record. For an empty record without a
// file it makes one, and returns once the file and the name in its folder are on disk. Every other mismatch is refused
// with an error that says what to do: with other keys no device would be known any more.
func Open(ctx context.Context, path string, record Checks) (*Keyring, error) {
	stored, err := record.Meta(ctx, MetaKey)
	if err != nil && !errors.Is(err, push.NotFound) {
		return nil, fmt.Errorf("identity: read check values: %w", err)
	}
	empty, err := record.Empty(ctx)
	if err != nil {
		return nil, fmt.Errorf("identity: read the record: %w", err)
	}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && empty && stored == nil:
		if text, err = create(path); err != nil {
			return nil, err
		}
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("identity: the keyring file %s is missing, but the database was made with one: "+
			"put the file back from a backup, or name it (CARILLON_SERVER_KEY_FILE); only an empty database gets new keys", path)
	case err != nil:
		return nil, fmt.Errorf("identity: %w", err)
	case stored == nil: // a start that was cut short made the file; it may not be on disk yet
		if err := syncFile(path); err != nil {
			return nil, err
		}
	}
	k, err := parseFile(text)
	if err != nil {
		return nil, fmt.Errorf("identity: %s: %w", path, err)
	}
	if stored == nil && !empty {
		return nil, fmt.Errorf("identity: the database is in use but holds no check values of a keyring: "+
			"it is damaged, or of another program; restore it from a backup, or start with an empty one (%s is untouched)", path)
	}
	if err := k.match(stored); err != nil {
		return nil, fmt.Errorf("identity: %s: %w", path, err)
	}
	return k, k.remember(ctx, record, stored)
}

// match compares the ring with the check values of the record. A key that the record does not know is new; one that the
// ring lacks, or has otherwise, is not to be worked without.
func (k *Keyring) match(stored []byte) error {
	for line := range strings.Lines(string(stored)) {
		label, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch have, ok := k.checks[label]; {
		case !ok:
			return fmt.Errorf("the key %q, under which the database holds values, is missing: put its line back", label)
		case have != value:
			return fmt.Errorf("the key %q is not the one that the database was made with: "+
				"use the keyring file of this database, or the database of this keyring", label)
		}
	}
	return nil
}

// remember puts the ring's check values into the record and reads them back: two nodes that start at once on the same
// empty record must not both believe that theirs is the keyring.
func (k *Keyring) remember(ctx context.Context, record Checks, stored []byte) error {
	var b strings.Builder
	for _, label := range slices.Sorted(maps.Keys(k.checks)) {
		b.WriteString(label + " " + k.checks[label] + "\n")
	}
	if b.String() == string(stored) {
		return nil
	}
	if err := record.PutMeta(ctx, MetaKey, []byte(b.String())); err != nil {
		return fmt.Errorf("identity: store check values: %w", err)
	}
	now, err := record.Meta(ctx, MetaKey)
	switch {
	case err != nil:
		return fmt.Errorf("identity: read check values back: %w", err)
	case string(now) != b.String():
		return errors.New("identity: the check values were not kept: another node is starting on this database with " +
			"another keyring; start it with a copy of this node's keyring file")
	}
	return nil
}

// parseFile reads the text of a keyring file.
func parseFile(text []byte) (*Keyring, error) {
	roots := map[uint8][]byte{}
	header := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch f := strings.Fields(line); {
		case line == "" || line[0] == '#':
		case !header:
			if line != fileHeader {
				return nil, fmt.Errorf("not a keyring file: it begins with %q", fileHeader)
			}
			header = true
		case len(f) == 3 && f[0] == "root":
			n, err := strconv.ParseUint(f[1], 10, 8)
			key, kerr := base64.RawURLEncoding.Strict().DecodeString(f[2])
			if err != nil || kerr != nil || roots[uint8(n)] != nil {
				return nil, fmt.Errorf("root key %q has a wrong number, stands twice, or is not base64url", f[1])
			}
			roots[uint8(n)] = key
		default: // the line may hold a key: it is not shown
			return nil, errors.New(`a line is neither a comment nor "root N KEY"`)
		}
	}
	return New(roots)
}

// create makes a keyring file of one fresh root key and returns its text. The file appears whole or not at all.
func create(path string) (text []byte, err error) {
	root := make([]byte, RootSize)
	rand.Read(root) // never fails: it stops the program instead
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s%s\nroot 1 %s\n", fileComment, fileHeader, base64.RawURLEncoding.EncodeToString(root))

	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".keyring-*") // 0600
	if err != nil {
		return nil, fmt.Errorf("identity: make a keyring: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("identity: make a keyring: %w", err)
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(b.Bytes())
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return nil, err
	}
	return b.Bytes(), syncPath(dir)
}

// syncFile puts a file and its name on disk.
func syncFile(path string) error {
	if err := errors.Join(syncPath(path), syncPath(filepath.Dir(path))); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	return nil
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
