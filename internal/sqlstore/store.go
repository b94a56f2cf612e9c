// Package sqlstore is the record: the only place with SQL. It keeps everything that survives a restart in SQLite, in a
// file, or in PostgreSQL, in one schema with one set of queries.
//
// All writes go through one committer (commit.go), which gathers what callers queue into group commits: a caller waits for
// the commit that holds its row, one caller alone for a commit of its own, and a thousand share one. Reads have
// connections of their own and see only what is committed.
//
// What grows with traffic lives in tables by day (days.go), so that its end is a dropped table. Times are kept in
// milliseconds.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Options are what Open does not need to be told. The zero Options, like nil, are the defaults.
type Options struct {
	Log        *slog.Logger  // nil discards
	QueueBytes int64         // what may wait to be committed; beyond it writers block. 0 is 64 MiB
	Reserve    int64         // SQLite: bytes of free disk below which no push, device or file is taken. 0 is 256 MiB, negative none
	Keep       time.Duration // how long pushes and their reports are kept after they expired. 0 is 30 days
	Readers    int           // connections for reading. 0 is by the number of processors; at most 64
	Observe    func(Commit)  // called by the committer after each commit; must be quick. nil is nobody

	vfs string // SQLite: the name of a file system that tests have registered
}

// A Commit is what one commit was like.
type Commit struct {
	Rows     int           // rows that callers had queued
	Bytes    int           // about how large they were
	Wait     time.Duration // how long the first of them had waited for the commit to begin
	Duration time.Duration // how long the commit took
}

// Defaults of Options.
const (
	defaultQueue   = 64 << 20
	defaultReserve = 256 << 20
	defaultKeep    = 30 * 24 * time.Hour
)

// A Store is the record. Its methods are safe for concurrent use, apart from OnReceipts.
type Store struct {
	opts    Options
	dialect dialect
	read    *reader
	commit  *committer
	days    *days
	limits  sync.Map // push.AppID → int: how many rows an inbox of the app may hold
	sweeper sweeper
	stop    []func() error // what Close closes, in reverse
	closing sync.Once
	closed  error        // what Close returned
	low     atomic.Bool  // the disk's reserve is reached
	waiting atomic.Int64 // rows in inboxes
	orphans atomic.Bool  // there may be targets that no live push has
}

// Open opens the record at url, a file's path or postgres://…, and brings its schema up to date. opts may be nil. The
// record of a path is locked against other processes. A PostgreSQL server that would answer before a commit is on disk is
// refused. The caller closes the Store.
func Open(ctx context.Context, url string, opts *Options) (*Store, error) {
	s := &Store{}
	if opts != nil {
		s.opts = *opts
	}
	s.opts.fill()
	open := s.openSQLite
	if strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://") {
		open = s.openPostgres
	}
	err := open(ctx, url)
	if err == nil {
		err = s.start(ctx)
	}
	if err != nil {
		return nil, push.Wrap("sqlstore.Open", errors.Join(err, s.Close()))
	}
	return s, nil
}

func (o *Options) fill() {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.QueueBytes <= 0 {
		o.QueueBytes = defaultQueue
	}
	if o.Reserve == 0 {
		o.Reserve = defaultReserve
	}
	if o.Keep <= 0 {
		o.Keep = defaultKeep
	}
}

// start reads what the store keeps in memory and starts the committer. The connections are open.
func (s *Store) start(ctx context.Context) error {
	var err error
	if s.days, err = findDays(ctx, s.read, s.dialect); err != nil {
		return err
	}
	if err := s.loadLimits(ctx); err != nil {
		return err
	}
	if err := s.commit.start(ctx, s); err != nil {
		return err
	}
	s.onClose(s.commit.stop)
	return s.countInbox(ctx)
}

// lookup returns what follows FROM, as the dialect makes it.
func (s *Store) lookup(table, where, column, param string, k kind) string {
	return s.dialect.traits().lookup(table, where, column, param, k)
}

// reserved returns Unavailable if what is new must wait for room: the disk's reserve is for what ends or removes.
func (s *Store) reserved() error {
	if !s.low.Load() {
		return nil
	}
	return &push.Error{Kind: push.Unavailable, Msg: "the disk's reserve is reached", Err: push.ErrNotQueued}
}

// onClose adds f to what Close does, before what was added earlier.
func (s *Store) onClose(f func() error) { s.stop = append(s.stop, f) }

// OnReceipts sets what is called after each commit that held receipts, in the order of their sequences and before those
// who wait for the commit are woken. It is set before the first write, and f must not write to the Store and wait.
func (s *Store) OnReceipts(f func(push.Logged)) { s.commit.onReceipts = f }

// Depth returns how many writes are queued or being committed.
func (s *Store) Depth() int { return s.commit.queue.depth() }

// Close commits what is queued, refuses what comes later, and closes the database. Closing again does nothing and
// returns the same.
func (s *Store) Close() error {
	s.closing.Do(func() {
		for len(s.stop) > 0 {
			last := len(s.stop) - 1
			s.closed = errors.Join(s.closed, s.stop[last]())
			s.stop = s.stop[:last]
		}
	})
	return s.closed
}

// A reader runs queries that see what is committed. Statements are prepared once and kept.
type reader struct {
	db      *sql.DB
	dialect dialect

	mu    sync.Mutex // guards stmts and old
	stmts map[string]*sql.Stmt
	old   []oldStmts
}

// oldStmts are statements about days that have changed. They are closed when nobody can be about to use them.
type oldStmts struct {
	since time.Time
	stmts map[string]*sql.Stmt
}

func newReader(db *sql.DB, d dialect) *reader {
	return &reader{db: db, dialect: d, stmts: map[string]*sql.Stmt{}}
}

// each runs a query and calls scan for each of its rows. scan must not block: the read holds back checkpoints.
func (r *reader) each(ctx context.Context, query string, scan func(*sql.Rows) error, args ...any) error {
	scanned := false
	return r.again(ctx, &scanned, query, func(rows *sql.Rows) error {
		scanned = true
		return scan(rows)
	}, args...)
}

// again runs a query, and once more when its connection turns out to have gone, unless *kept says that scan has kept rows
// which it would be given twice.
func (r *reader) again(ctx context.Context, kept *bool, query string, scan func(*sql.Rows) error, args ...any) error {
	for tries := 1; ; tries++ {
		err := r.try(ctx, query, scan, args...)
		// A server that was restarted has ended every connection of the pool: each is found out once.
		if err == nil || *kept || tries > maxReaders || ctx.Err() != nil || !r.dialect.traits().stale(err) {
			return err
		}
	}
}

// maxReaders is the most connections for reading.
const maxReaders = 64

func (r *reader) try(ctx context.Context, query string, scan func(*sql.Rows) error, args ...any) error {
	stmt, err := r.stmt(ctx, query)
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(ctx, args...)
	return scanAll(rows, err, scan)
}

// one runs a query of one row and reports whether there was one.
func (r *reader) one(ctx context.Context, query string, args []any, into ...any) (bool, error) {
	found, never := false, false // what is scanned twice is the last that was
	err := r.again(ctx, &never, query, func(rows *sql.Rows) error {
		found = true
		return rows.Scan(into...)
	}, args...)
	return found, err
}

func (r *reader) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if stmt, ok := r.stmts[query]; ok {
		return stmt, nil
	}
	stmt, err := r.db.PrepareContext(ctx, r.dialect.rebind(query))
	if err != nil {
		return nil, err
	}
	r.stmts[query] = stmt
	return stmt, nil
}

// forget lets go of all statements, because the tables that they name have changed.
func (r *reader) forget(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.old = append(r.old, oldStmts{since: now, stmts: r.stmts})
	r.stmts = map[string]*sql.Stmt{}
	for len(r.old) > 0 && now.Sub(r.old[0].since) > time.Minute {
		for _, stmt := range r.old[0].stmts {
			_ = stmt.Close() // the pool owns what could fail
		}
		r.old = r.old[1:]
	}
}

// scanAll calls scan for each row and closes rows.
func scanAll(rows *sql.Rows, err error, scan func(*sql.Rows) error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// millis returns t as the record keeps it: milliseconds since 1970, 0 for the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// timeOf undoes millis.
func timeOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
