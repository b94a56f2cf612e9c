package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// AddFilePart stores a part of a file that is being uploaded, or replaces it. Nobody sees it before AddFile; if that never
// comes it goes when it expires. Conflict if the file is there already. lines is not kept.
func (s *Store) AddFilePart(ctx context.Context, app push.AppID, id push.FileID, n int, lines []byte, expires time.Time) error {
	lines = append([]byte{}, lines...) // the caller's own when AddFilePart returns, which may be before the commit
	err := s.commit.do(ctx, len(lines), func(t *tx) error {
		found, err := t.one("SELECT 1 FROM file WHERE app = ?1 AND id = ?2", []any{int64(app), string(id)}, new(int))
		if err == nil && found {
			err = &push.Error{Kind: push.Conflict, Field: "file", Msg: "the file is complete"}
		}
		if err != nil {
			return err
		}
		_, err = t.exec(`INSERT INTO file_part (app, id, n, lines, expires) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (app, id, n) DO UPDATE SET lines = excluded.lines, expires = excluded.expires`,
			int64(app), string(id), int64(n), lines, millis(expires))
		return err
	})
	return push.Wrap("sqlstore.AddFilePart", err)
}

// AddFile makes an uploaded file visible. Conflict if it is already.
func (s *Store) AddFile(ctx context.Context, f push.File) error {
	err := s.commit.do(ctx, 128, func(t *tx) error {
		n, err := t.exec("INSERT INTO file (app, id, lines, bytes, created, expires) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (app, id) DO NOTHING",
			int64(f.App), string(f.ID), int64(f.Lines), int64(f.Bytes), millis(f.Created), millis(f.Expires))
		if err == nil && n == 0 {
			err = &push.Error{Kind: push.Conflict, Field: "file", Msg: "the file is complete"}
		}
		return err
	})
	return push.Wrap("sqlstore.AddFile", err)
}

// FindFile returns a file. NotFound, also when it has expired at now.
func (s *Store) FindFile(ctx context.Context, app push.AppID, id push.FileID, now time.Time) (push.File, error) {
	f := push.File{ID: id, App: app}
	var created, expires int64
	found, err := s.read.one(ctx, "SELECT lines, bytes, created, expires FROM file WHERE app = ?1 AND id = ?2 AND expires > ?3",
		[]any{int64(app), string(id), now.UnixMilli()}, &f.Lines, &f.Bytes, &created, &expires)
	if err != nil || !found {
		return push.File{}, push.Wrap("sqlstore.FindFile", orNotFound(err, "no such file"))
	}
	f.Created, f.Expires = timeOf(created), timeOf(expires)
	return f, nil
}

// ReadFile yields the parts of a file in order, until yield fails. yield does not keep the part. NotFound if the file is not
// visible, or goes while it is read.
func (s *Store) ReadFile(ctx context.Context, app push.AppID, id push.FileID, yield func(part []byte) error) error {
	const op = "sqlstore.ReadFile"
	var part []byte
	for n, more := int64(-1), true; more; {
		// The file is asked for with each part, and after the last: it goes before its parts do.
		visible, found := false, false
		err := s.read.each(ctx, `SELECT p.n, p.lines FROM file f LEFT JOIN file_part p ON p.app = f.app AND p.id = f.id AND p.n > ?3
			WHERE f.app = ?1 AND f.id = ?2 ORDER BY p.n LIMIT 1`, func(rows *sql.Rows) error {
			var at sql.NullInt64
			var lines sql.RawBytes
			err := rows.Scan(&at, &lines)
			if visible, found = true, at.Valid; found {
				n, part = at.Int64, append(part[:0], lines...)
			}
			return err
		}, int64(app), string(id), n)
		if err == nil && !visible {
			err = orNotFound(nil, "no such file")
		}
		if err == nil && found {
			err = yield(part)
		}
		if err != nil {
			return push.Wrap(op, err)
		}
		more = found
	}
	return nil
}

// SweepFiles removes what has expired at now, at most limit parts, and returns how many. A file goes before its parts, which
// are not removed before their own time.
func (s *Store) SweepFiles(ctx context.Context, now time.Time, limit int) (int, error) {
	const op = "sqlstore.SweepFiles"
	ms := now.UnixMilli()
	always := func() bool { return ctx.Err() == nil }
	over, err := s.read.one(ctx, "SELECT 1 FROM file WHERE expires <= ?1 LIMIT 1", []any{ms}, new(int))
	if err == nil && over {
		err = s.slices(ctx, always, tidySlice, "DELETE FROM file WHERE (app, id) IN (SELECT app, id FROM file WHERE expires <= ? LIMIT ?)", ms)
	}
	if err != nil {
		return 0, push.Wrap(op, err)
	}
	// The parts of files that are there have expired when their upload would have been given up. They are looked at again and
	// again, in the index only.
	const orphans = ` FROM file_part p WHERE p.expires <= ?1
		AND NOT EXISTS (SELECT 1 FROM file f WHERE f.app = p.app AND f.id = p.id) LIMIT ?2`
	removed := 0
	for removed < limit {
		slice := min(blobSlice, limit-removed)
		found, err := s.read.one(ctx, "SELECT 1"+orphans, []any{ms, 1}, new(int))
		if err != nil || !found {
			return removed, push.Wrap(op, err)
		}
		n, err := s.commit.count(ctx, 0, func(t *tx) (int, error) {
			n, err := t.exec("DELETE FROM file_part WHERE (app, id, n) IN (SELECT p.app, p.id, p.n"+orphans+")", ms, slice)
			return int(n), err
		})
		removed += n
		if err != nil || n < slice {
			return removed, push.Wrap(op, err)
		}
	}
	return removed, nil
}
