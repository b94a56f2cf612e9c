package sqlstore

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/carillonpush/carillon/internal/push"
)

// Meta returns the value stored under key. NotFound if there is none.
func (s *Store) Meta(ctx context.Context, key string) ([]byte, error) {
	var value []byte
	found, err := s.read.one(ctx, "SELECT value FROM meta WHERE key = ?1", []any{key}, &value)
	if err == nil && !found {
		err = notFound("nothing is stored under this key")
	}
	return value, push.Wrap("sqlstore.Meta", err)
}

// PutMeta stores value under key; it is durable on return.
func (s *Store) PutMeta(ctx context.Context, key string, value []byte) error {
	value = append([]byte{}, value...) // the caller's own when PutMeta returns, which may be before the commit
	err := s.commit.do(ctx, len(value), func(t *tx) error {
		_, err := t.exec("INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value)
		return err
	})
	return push.Wrap("sqlstore.PutMeta", err)
}

// RecordID returns a value that is this record's alone, made by the first call, and the same ever after.
func (s *Store) RecordID(ctx context.Context) (id [16]byte, err error) {
	const op, key = "sqlstore.RecordID", "record"
	b, err := s.Meta(ctx, key)
	if errors.Is(err, push.NotFound) {
		fresh := make([]byte, len(id))
		_, _ = rand.Read(fresh) // never fails
		err = s.commit.do(ctx, len(fresh), func(t *tx) error {
			_, err := t.exec("INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING", key, fresh)
			return err
		})
		if err == nil {
			b, err = s.Meta(ctx, key)
		}
	}
	if err == nil && len(b) != len(id) {
		err = errPacked
	}
	copy(id[:], b)
	return id, push.Wrap(op, err)
}

// Empty reports whether the record holds nothing that was made under a keyring: no app, not even one that was deleted.
func (s *Store) Empty(ctx context.Context) (bool, error) {
	var n int64
	_, err := s.read.one(ctx, "SELECT (SELECT count(*) FROM app) + (SELECT count(*) FROM (SELECT 1 FROM device LIMIT 1) d)", nil, &n)
	return n == 0, push.Wrap("sqlstore.Empty", err)
}
