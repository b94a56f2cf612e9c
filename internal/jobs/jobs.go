// Package jobs is durable background work on River: unique wake-ups. A job says that something may be due; what is due
// stands in the record, and whoever is woken looks there. Losing a job, or running it twice, changes nothing.
package jobs

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"
	_ "modernc.org/sqlite" // the database/sql driver "sqlite"

	"github.com/carillonpush/carillon/internal/push"
)

// poll is how often a worker looks for jobs: River's listening does not exist on SQLite.
const poll = 50 * time.Millisecond

// A Handler does what may be due for one push. It must be safe to call at any time and more often than needed.
type Handler func(ctx context.Context, app push.AppID, id push.ID) error

// A Queue holds wake-ups and runs them. It is safe for concurrent use.
type Queue struct {
	start func(ctx context.Context) error
	stop  func(ctx context.Context) error
	wake  func(ctx context.Context, args run, opts *river.InsertOpts) error
	close func() error

	// starting keeps wake-ups and the client's start apart: the client may be asked before it starts and afterwards, but not
	// meanwhile.
	starting sync.RWMutex
}

// run is the job that wakes a bulk push up.
type run struct {
	App  push.AppID `json:"app"`
	Push push.ID    `json:"push"`
}

// Kind implements river.JobArgs.
func (run) Kind() string { return "run" }

type worker struct {
	river.WorkerDefaults[run]
	handle Handler
}

// Work implements river.Worker.
func (w *worker) Work(ctx context.Context, job *river.Job[run]) error {
	return w.handle(ctx, job.Args.App, job.Args.Push)
}

// Open opens the queue that database names, and brings its tables up to date: a postgres:// URL, where the tables stand
// beside the record's, or the path of a SQLite file of its own. handle is called once Start has been. log may be nil.
func Open(ctx context.Context, database string, handle Handler, log *slog.Logger) (*Queue, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{handle: handle})
	config := &river.Config{
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 16}},
		Workers:           workers,
		FetchCooldown:     poll / 5,
		FetchPollInterval: poll,
		JobTimeout:        10 * time.Minute,
		Logger:            slog.New(quiet{log.Handler()}),
	}
	if strings.HasPrefix(database, "postgres://") || strings.HasPrefix(database, "postgresql://") {
		return openPostgres(ctx, database, config)
	}
	return openSQLite(ctx, database, config)
}

func openSQLite(ctx context.Context, path string, config *river.Config) (*Queue, error) {
	// SQLite gives the files beside it the mode of the first.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	name := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}).String() +
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate"
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	db.SetMaxOpenConns(1) // SQLite has one writer, and every call here writes
	config.PollOnly = true
	migrator, err := rivermigrate.New(riversqlite.New(db), &rivermigrate.Config{Logger: config.Logger})
	if err == nil {
		_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	}
	if err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("jobs: migrate %s: %w", path, err)
	}
	client, err := river.NewClient(riversqlite.New(db), config)
	if err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("jobs: %w", err)
	}
	return queue(client, db.Close), nil
}

func openPostgres(ctx context.Context, database string, config *river.Config) (*Queue, error) {
	pool, err := pgxpool.New(ctx, database)
	if err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	done := func() error { pool.Close(); return nil }
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: config.Logger})
	if err == nil {
		_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	}
	if err != nil {
		_ = done()
		return nil, fmt.Errorf("jobs: migrate: %w", err)
	}
	client, err := river.NewClient(riverpgxv5.New(pool), config)
	if err != nil {
		_ = done()
		return nil, fmt.Errorf("jobs: %w", err)
	}
	return queue[pgx.Tx](client, done), nil
}

func queue[Tx any](client *river.Client[Tx], done func() error) *Queue {
	return &Queue{
		start: client.Start,
		stop:  client.Stop,
		close: done,
		wake: func(ctx context.Context, args run, opts *river.InsertOpts) error {
			_, err := client.Insert(ctx, args, opts)
			return err
		},
	}
}

// unasked are the states of a job that has not done its work: another of the same push would add nothing.
var unasked = []rivertype.JobState{
	rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning,
	rivertype.JobStateRetryable, rivertype.JobStateScheduled,
}

// Wake asks for the push's run now, unless one is asked for already.
func (q *Queue) Wake(ctx context.Context, app push.AppID, id push.ID) error {
	q.starting.RLock()
	defer q.starting.RUnlock()
	err := q.wake(ctx, run{App: app, Push: id}, &river.InsertOpts{
		UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: unasked},
	})
	return push.Wrap("jobs.Wake", err)
}

// Run works until ctx ends, waits for the jobs under way, and returns.
func (q *Queue) Run(ctx context.Context) error {
	q.starting.Lock()
	err := q.start(context.WithoutCancel(ctx))
	q.starting.Unlock()
	if err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	<-ctx.Done()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	return q.stop(last)
}

// Close closes the database. Run must have returned.
func (q *Queue) Close() error { return q.close() }

// quiet lets only what is worth an operator's time through: River tells of its own starts and stops at level info.
type quiet struct{ slog.Handler }

// Enabled implements slog.Handler.
func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && q.Handler.Enabled(ctx, l)
}

// WithAttrs implements slog.Handler.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }

// WithGroup implements slog.Handler.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }
