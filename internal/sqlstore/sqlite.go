package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/carillonpush/carillon/internal/push"
)

//go:embed migrations
var migrations embed.FS

// sqliteDialect is SQLite's. Its statements run inside the process, so a row costs no round trip, and one statement a
// row is faster than statements of many rows, whose parameters cost more the more there are.
type sqliteDialect struct{}

func (sqliteDialect) rebind(query string) string { return query }

func (sqliteDialect) insert(t *tx, table string, cols []column, conflict string) error {
	query := "INSERT INTO " + table + " (" + names(cols) + ") VALUES (" + placeholders(len(cols)) + ") " + conflict
	return t.w.each(t.ctx, query, cols, nil)
}

func (sqliteDialect) remove(t *tx, table string, cols []column) ([]int, error) {
	query := "DELETE FROM " + table + " WHERE " + strings.ReplaceAll(names(cols), ", ", " = ? AND ") + " = ?"
	var gone []int
	err := t.w.each(t.ctx, query, cols, func(i int, changed int64) {
		if changed > 0 {
			gone = append(gone, i)
		}
	})
	return gone, err
}

func (sqliteDialect) claim(t *tx, cols []column, now int64) ([]bool, error) {
	won := make([]bool, cols[0].len())
	nows := column{name: "now", ints: make([]int64, len(won))}
	for i := range nows.ints {
		nows.ints[i] = now
	}
	query := "INSERT INTO dedupe (" + names(cols) + ") VALUES (" + placeholders(len(cols)) + ")" + claimFree + " ?"
	err := t.w.each(t.ctx, query, append(cols[:len(cols):len(cols)], nows), func(i int, changed int64) {
		won[i] = changed > 0
	})
	return won, err
}

// claimFree goes on with the time that a key must have expired at to be free again.
const claimFree = ` ON CONFLICT (app, namespace, key) DO UPDATE
	SET push = excluded.push, fingerprint = excluded.fingerprint, expires = excluded.expires WHERE dedupe.expires <=`

func (sqliteDialect) traits() traits {
	return traits{
		word:   strings.NewReplacer("{int}", "INTEGER", "{blob}", "BLOB", "{keyed}", "WITHOUT ROWID"),
		tables: "SELECT name FROM sqlite_master WHERE type = 'table'",
		slices: true,
		keys: func(param string, names ...string) string {
			var b strings.Builder
			b.WriteString("(SELECT key AS n")
			for i, name := range names {
				fmt.Fprintf(&b, ", value ->> %d AS %s", i, name)
			}
			return b.String() + " FROM json_each(" + param + "))"
		},
		lookup: func(table, where, column, param string, k kind) string {
			value := [...]string{ints: "value", texts: "value", blobs: "unhex(value)"}[k]
			return table + " d WHERE " + where + " AND " + column + " IN (SELECT " + value + " FROM json_each(" + param + "))"
		},
		among: func(found string) string { return "rowid IN (SELECT d.rowid FROM " + found + ")" },
		// A failed write to the file leaves the connection in a state that only a new one is surely free of.
		broken:   func(err error) bool { return sqliteCode(err) == sqlite3.SQLITE_IOERR },
		stale:    func(error) bool { return false },
		full:     func(err error) bool { return sqliteCode(err) == sqlite3.SQLITE_FULL },
		conflict: func(err error) bool { return sqliteCode(err) == sqlite3.SQLITE_CONSTRAINT },
	}
}

// sqliteCode returns the primary result code of err, 0 if it has none.
func sqliteCode(err error) int {
	if e := (*sqlite.Error)(nil); errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// openSQLite opens the file at path with three sets of connections: the committer's one, one for checkpoints, and those
// for reading.
func (s *Store) openSQLite(ctx context.Context, path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return err
	}
	s.onClose(lock.Close)
	if err := createFile(path); err != nil {
		return err
	}
	s.dialect = sqliteDialect{}

	write, err := s.sqlitePool(path, 1, "cache_size(-65536)")
	if err != nil {
		return err
	}
	if err := migrate(ctx, goose.DialectSQLite3, write, "migrations/sqlite"); err != nil {
		return err
	}
	checkpoint, err := s.sqlitePool(path, 1, "cache_size(-2048)")
	if err != nil {
		return err
	}
	readers := s.opts.Readers
	if readers <= 0 {
		readers = max(4, 2*runtime.GOMAXPROCS(0))
	}
	readers = min(readers, maxReaders)
	read, err := s.sqlitePool(path, readers, "cache_size(-16384)", "query_only(1)")
	if err != nil {
		return err
	}
	s.read = newReader(read, s.dialect)
	s.commit = newCommitter(s.dialect, write.Conn, s.opts)
	return s.startKeeper(ctx, path, checkpoint)
}

// sqlitePool opens n connections to path. Memory-mapped reading stays off: a disk error would be a signal.
func (s *Store) sqlitePool(path string, n int, pragmas ...string) (*sql.DB, error) {
	query := url.Values{"_txlock": {"immediate"}}
	if s.opts.vfs != "" {
		query.Set("vfs", s.opts.vfs)
	}
	for _, p := range append([]string{
		"busy_timeout(10000)", "journal_mode(wal)", "synchronous(full)", "foreign_keys(1)",
		// Checkpoints are the keeper's: one inside a commit would make it hundreds of times as long.
		"wal_autocheckpoint(0)", "journal_size_limit(67108864)", "temp_store(memory)",
	}, pragmas...) {
		query.Add("_pragma", p)
	}
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	s.onClose(db.Close)
	return db, nil
}

// migrate brings the schema in db up to date.
func migrate(ctx context.Context, d goose.Dialect, db *sql.DB, dir string, opts ...goose.ProviderOption) error {
	files, err := fs.Sub(migrations, dir)
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(d, db, files, append(opts, goose.WithDisableGlobalRegistry(true))...)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// createFile makes sure that the database is a file of this user only, and that its name is on disk.
func createFile(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	// Closed before SQLite opens it: closing a file drops the locks that this process has on it.
	if err := f.Close(); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// lockFile takes the lock at path, which ends with the process or with Close.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, &push.Error{Kind: push.Conflict, Msg: "the database is in use by another process", Err: err}
	}
	return f, nil
}

// The write-ahead log is copied into the database file by a keeper, beside the commits, and starts anew when all of it
// has been copied.
const (
	keepEvery = 200 * time.Millisecond // how often the keeper looks
	// A log of more pages holds commits back while its rest is copied: under a steady load it would never be copied whole,
	// and grow for ever.
	holdPages = 64 << 20 / 4096
)

// startKeeper starts the goroutine that makes checkpoints and watches the free space of path's disk.
func (s *Store) startKeeper(ctx context.Context, path string, db *sql.DB) error {
	if err := s.watchDisk(path); err != nil {
		return err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	quit := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(keepEvery)
		defer tick.Stop()
		seen := uint64(0)
		for n := 0; ; n++ {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			if n%5 == 0 {
				if err := s.watchDisk(path); err != nil {
					s.opts.Log.Warn("free disk space unknown", "err", err)
				}
			}
			if commits := s.commit.commits.Load(); commits != seen {
				seen = commits
				if err := s.checkpoint(conn); err != nil {
					s.opts.Log.Warn("checkpoint failed, will be tried again", "err", err)
				}
			}
		}
	})
	s.onClose(func() error {
		close(quit)
		done.Wait()
		return conn.Close()
	})
	return nil
}

// checkpoint copies what has been committed into the database file.
func (s *Store) checkpoint(conn *sql.Conn) error {
	pages, err := passive(conn)
	if err != nil || pages < holdPages {
		return err
	}
	// What came meanwhile is little: commits wait for that only.
	s.commit.hold.Lock()
	defer s.commit.hold.Unlock()
	_, err = passive(conn)
	return err
}

// passive copies as much of the log as needs no waiting, and returns how many pages the log has.
func passive(conn *sql.Conn) (pages int, err error) {
	var busy, copied int
	err = conn.QueryRowContext(context.Background(), "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &pages, &copied)
	return pages, err
}

// watchDisk looks how much of the disk with path is free.
func (s *Store) watchDisk(path string) error {
	if s.opts.Reserve < 0 {
		return nil
	}
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(path), &st); err != nil {
		return err
	}
	low := int64(st.Bavail)*int64(st.Bsize) < s.opts.Reserve
	if was := s.low.Swap(low); was != low {
		s.opts.Log.Warn("disk reserve", "reached", low)
	}
	return nil
}
