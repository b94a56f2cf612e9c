package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// The states of a file, in SQL. Its row comes with its first part and goes after its last, so that what has expired is
// found by the few rows of files, and no part is looked at before its time.
const (
	fileUploading = "0"
	fileComplete  = "1" // and visible
	fileGoing     = "2" // its parts are being removed
)

// AddFilePart stores part n, from 0 on, of a file that is being uploaded, or replaces it. Nobody sees it before AddFile; if
// that never comes it goes when the last of the parts expires. Conflict with Field "file" if the file is complete, or being
// removed; NotFound with Field "app"; Unavailable with push.ErrNotQueued if the disk's reserve is reached. lines is not kept.
func (s *Store) AddFilePart(ctx context.Context, app push.AppID, id push.FileID, n int, lines []byte, expires time.Time) error {
	const op = "sqlstore.AddFilePart"
	if err := s.reserved(); err != nil {
		return push.Wrap(op, err)
	}
	lines = append([]byte{}, lines...) // the caller's own when AddFilePart returns, which may be before the commit
	err := s.commit.do(ctx, len(lines), func(t *tx) error {
		if err := t.uploading(app, id); err != nil {
			return err
		}
		_, err := t.exec(`INSERT INTO file (app, id, state, lines, bytes, created, expires) VALUES (?, ?, `+fileUploading+`, 0, 0, 0, ?)
			ON CONFLICT (app, id) DO UPDATE SET expires = excluded.expires WHERE file.expires < excluded.expires`,
			int64(app), string(id), millis(expires))
		if err != nil {
			return err
		}
		_, err = t.exec(`INSERT INTO file_part (app, id, n, lines) VALUES (?, ?, ?, ?)
			ON CONFLICT (app, id, n) DO UPDATE SET lines = excluded.lines`, int64(app), string(id), int64(n), lines)
		return err
	})
	return push.Wrap(op, err)
}

// uploading returns Conflict if a file is complete or being removed, and NotFound if its app is not there.
func (t *tx) uploading(app push.AppID, id push.FileID) error {
	if err := t.appThere(app); err != nil {
		return err
	}
	later, err := t.one("SELECT 1 FROM file WHERE app = ?1 AND id = ?2 AND state <> "+fileUploading, []any{int64(app), string(id)}, new(int))
	if err == nil && later {
		err = &push.Error{Kind: push.Conflict, Field: "file", Msg: "the file is complete, or has expired"}
	}
	return err
}

// AddFile makes an uploaded file visible. TooMany with Field "file" if the app's files that have not expired when f is created
// would together have more than most bytes (0: no limit); Conflict with Field "file" if it is visible already, or parts of it
// have gone, because the upload took too long; NotFound with Field "app".
func (s *Store) AddFile(ctx context.Context, f push.File, most int64) error {
	app, id := int64(f.App), string(f.ID)
	err := s.commit.do(ctx, 128, func(t *tx) error {
		if err := t.uploading(f.App, f.ID); err != nil {
			return err
		}
		var parts, next int64
		_, err := t.one("SELECT count(*), COALESCE(max(n) + 1, 0) FROM file_part WHERE app = ?1 AND id = ?2", []any{app, id}, &parts, &next)
		if err == nil && (parts < next || parts == 0 && f.Lines > 0) {
			err = &push.Error{Kind: push.Conflict, Field: "file", Msg: "the upload took too long"}
		}
		if err == nil && most > 0 {
			err = t.fileRoom(f, most)
		}
		if err != nil {
			return err
		}
		_, err = t.exec(`INSERT INTO file (app, id, state, lines, bytes, created, expires) VALUES (?, ?, `+fileComplete+`, ?, ?, ?, ?)
			ON CONFLICT (app, id) DO UPDATE SET state = excluded.state, lines = excluded.lines, bytes = excluded.bytes,
			created = excluded.created, expires = excluded.expires`,
			app, id, int64(f.Lines), int64(f.Bytes), millis(f.Created), millis(f.Expires))
		return err
	})
	return push.Wrap("sqlstore.AddFile", err)
}

// fileRoom returns TooMany if the app's files would have more than most bytes with f.
func (t *tx) fileRoom(f push.File, most int64) error {
	bytes := int64(0)
	_, err := t.one("SELECT CAST(COALESCE(sum(bytes), 0) AS BIGINT) FROM file WHERE app = ?1 AND expires > ?2",
		[]any{int64(f.App), millis(f.Created)}, &bytes)
	if err == nil && bytes+int64(f.Bytes) > most {
		err = &push.Error{Kind: push.TooMany, Field: "file", Msg: "the app's files are too large together"}
	}
	return err
}

// FindFile returns a file. NotFound, also when it has expired at now.
func (s *Store) FindFile(ctx context.Context, app push.AppID, id push.FileID, now time.Time) (push.File, error) {
	f := push.File{ID: id, App: app}
	var created, expires int64
	found, err := s.read.one(ctx, "SELECT lines, bytes, created, expires FROM file WHERE app = ?1 AND id = ?2 AND expires > ?3 AND state = "+fileComplete,
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
		// The file is asked for with each part, and after the last: it is out of sight before its parts go.
		visible, found := false, false
		err := s.read.each(ctx, `SELECT p.n, p.lines FROM file f LEFT JOIN file_part p ON p.app = f.app AND p.id = f.id AND p.n > ?3
			WHERE f.app = ?1 AND f.id = ?2 AND f.state = `+fileComplete+` ORDER BY p.n LIMIT 1`, func(rows *sql.Rows) error {
			var at sql.NullInt64
			var lines sql.RawBytes
			err := rows.Scan(&at, &lines)
			if visible, found = true, at.Valid; found {
				n, part = at.Int64, append(part[:0], lines...)
			}
			return err
		}, int64(app), string(id), n)
		if err == nil && !visible {
			err = notFound("no such file")
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

// sweepParts removes parts of files that go.
const sweepParts = `DELETE FROM file_part WHERE (app, id, n) IN (SELECT p.app, p.id, p.n FROM file f CROSS JOIN file_part p
	WHERE f.state = ` + fileGoing + ` AND f.expires <= ?1 AND p.app = f.app AND p.id = f.id LIMIT ?2)`

// SweepFiles removes what has expired at now, at most limit parts, and returns how many. A file is out of sight before its
// parts go, and its row goes after them.
func (s *Store) SweepFiles(ctx context.Context, now time.Time, limit int) (int, error) {
	const op = "sqlstore.SweepFiles"
	ms := now.UnixMilli()
	over, err := s.read.one(ctx, "SELECT 1 FROM file WHERE expires <= ?1 LIMIT 1", []any{ms}, new(int))
	if err == nil && over {
		always := func() bool { return ctx.Err() == nil }
		err = s.slices(ctx, always, tidySlice, "UPDATE file SET state = "+fileGoing+` WHERE (app, id) IN
			(SELECT app, id FROM file WHERE expires <= ?1 AND state <> `+fileGoing+" LIMIT ?2)", ms)
	}
	if err != nil || !over {
		return 0, push.Wrap(op, err)
	}
	removed := 0
	for removed < limit {
		slice := min(blobSlice, limit-removed)
		n, err := s.commit.count(ctx, 0, func(t *tx) (int, error) {
			n, err := t.exec(sweepParts, ms, int64(slice))
			if err == nil && n < int64(slice) {
				// They have no parts any more.
				_, err = t.exec("DELETE FROM file WHERE state = "+fileGoing+" AND expires <= ?", ms)
			}
			return int(n), err
		})
		removed += n
		if err != nil || n < slice {
			return removed, push.Wrap(op, err)
		}
	}
	return removed, nil
}
