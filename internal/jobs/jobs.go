// Package jobs is durable background work on River: wake-ups of several kinds, each with a time. A job says that something may
// be due; what is due stands in the record, and whoever is woken looks there. Losing a job, or running it twice, changes
// nothing.
package jobs

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"
	_ "modernc.org/sqlite" // the database/sql driver "sqlite"

	"github.com/carillonpush/carillon/internal/push"
)

// poll is how often a worker looks for jobs: River's listening does not exist on SQLite.
const poll = 50 * time.Millisecond

// workersAtOnce is how many handlers run at once: many, because they wait for other people's servers.
const workersAtOnce = 64

// A Handler does what may be due for one thing of an app. It must be safe to call at any time, more often than needed, and
// twice at once.
type Handler func(ctx context.Context, app push.AppID, id int64) error

// Handlers are what is done on wake-ups, by kind: "webhook".
type Handlers map[string]Handler

// A Queue holds wake-ups and runs them. It is safe for concurrent use.
type Queue struct {
	handlers Handlers
	boot     string // differs in every process: see Wake

	start func(ctx context.Context) error
	stop  func(ctx context.Context) error // waits for jobs under way
	abort func(ctx context.Context) error // cancels them, and waits
	wake  func(ctx context.Context, args wake, opts *river.InsertOpts) error
	close func() error

	mu   sync.Mutex     // guards runs
	runs map[key]uint64 // how many runs of it have begun in this process
}

// A key is what a wake-up is for.
type key struct {
	kind string
	app  push.AppID
	id   int64
}

// wake is the job: River's own kind is the same for all, so that a new kind of wake-up needs nothing of River.
type wake struct {
	For string     `json:"for"`
	App push.AppID `json:"app"`
	ID  int64      `json:"id,string"`
	At  int64      `json:"at"`  // Unix seconds; 0 is at once
	Run string     `json:"run"` // what it was asked before: a process, and how many runs had begun in it
}

// Kind implements river.JobArgs.
func (wake) Kind() string { return "wake" }

type worker struct {
	river.WorkerDefaults[wake]
	queue *Queue
}

// Work implements river.Worker.
func (w *worker) Work(ctx context.Context, job *river.Job[wake]) error {
	handle := w.queue.handlers[job.Args.For]
	if handle == nil { // of another release
		return river.JobCancel(fmt.Errorf("jobs: nobody handles %q", job.Args.For))
	}
	w.queue.begin(key{job.Args.For, job.Args.App, job.Args.ID})
	return handle(ctx, job.Args.App, job.Args.ID)
}

// begin notes that a run begins: who asks from now on asks for another.
func (q *Queue) begin(k key) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.runs[k]++
}

// Open opens the queue that database names, and brings its tables up to date: a postgres:// URL, where the tables stand
// beside the record's, or the path of a SQLite file of its own. handlers are called while Run is under way. log may be nil.
func Open(ctx context.Context, database string, handlers Handlers, log *slog.Logger) (*Queue, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	q := &Queue{handlers: maps.Clone(handlers), boot: rand.Text(), runs: map[key]uint64{}}
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{queue: q})
	config := &river.Config{
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: workersAtOnce}},
		Workers:           workers,
		FetchCooldown:     poll / 5,
		FetchPollInterval: poll,
		JobTimeout:        10 * time.Minute,
		Logger:            slog.New(quiet{log.Handler()}),
	}
	var err error
	if strings.HasPrefix(database, "postgres://") || strings.HasPrefix(database, "postgresql://") {
		err = q.openPostgres(ctx, database, config)
	} else {
		err = q.openSQLite(ctx, database, config)
	}
	if err != nil {
		return nil, err
	}
	return q, nil
}

func (q *Queue) openSQLite(ctx context.Context, path string, config *river.Config) error {
	// SQLite gives the files beside it the mode of the first.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	name := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}).String() +
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate"
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	db.SetMaxOpenConns(1) // SQLite has one writer, and every call here writes
	config.PollOnly = true
	migrator, err := rivermigrate.New(riversqlite.New(db), &rivermigrate.Config{Logger: config.Logger})
	if err == nil {
		_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	}
	if err != nil {
		_ = db.Close()
		return fmt.Errorf("jobs: migrate %s: %w", path, err)
	}
	if err := use(q, riversqlite.New(db), config, db.Close); err != nil {
		return errors.Join(err, db.Close())
	}
	return nil
}

func (q *Queue) openPostgres(ctx context.Context, database string, config *river.Config) error {
	pool, err := pgxpool.New(ctx, database)
	if err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	done := func() error { pool.Close(); return nil }
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: config.Logger})
	if err == nil {
		_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	}
	if err != nil {
		_ = done()
		return fmt.Errorf("jobs: migrate: %w", err)
	}
	if err := use(q, riverpgxv5.New(pool), config, done); err != nil {
		return errors.Join(err, done())
	}
	return nil
}

// use makes two clients of River: one that works, and one that asks only. The second needs no start, so that nobody who
// asks waits while the first starts.
func use[Tx any](q *Queue, driver riverdriver.Driver[Tx], config *river.Config, done func() error) error {
	works, err := river.NewClient(driver, config)
	if err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	asks, err := river.NewClient(driver, &river.Config{Logger: config.Logger})
	if err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	q.start, q.stop, q.abort, q.close = works.Start, works.Stop, works.StopAndCancel, done
	q.wake = func(ctx context.Context, args wake, opts *river.InsertOpts) error {
		_, err := asks.Insert(ctx, args, opts)
		return err
	}
	return nil
}

// unasked are the states of a job that has not done its work: another of the same arguments would add nothing.
var unasked = []rivertype.JobState{
	rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning,
	rivertype.JobStateRetryable, rivertype.JobStateScheduled,
}

// Wake asks for the handler of kind to be called with app and id at a time, the zero time at once, unless that is asked for
// already and has not begun. It returns once the wish is durable, and may be called before Run. A time that has not come is
// met to some seconds. Invalid for a kind without a handler.
//
// Wishes for different seconds are different, so that one for an earlier time is never taken for one that waits for later.
// One that is made while a run of the same is under way is for the next run: what that run has read may be older. And what a
// process that died had begun does not count for the next: nobody knows when it ends.
func (q *Queue) Wake(ctx context.Context, kind string, app push.AppID, id int64, at time.Time) error {
	const op = "jobs.Wake"
	if q.handlers[kind] == nil {
		return &push.Error{Op: op, Kind: push.Invalid, Field: "kind", Msg: "nobody handles it"}
	}
	args := wake{For: kind, App: app, ID: id}
	opts := &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: unasked}}
	if at.After(time.Now()) {
		at = at.Add(time.Second - 1).Truncate(time.Second) // never before its time
		args.At, opts.ScheduledAt = at.Unix(), at
	}
	q.mu.Lock()
	args.Run = q.boot + "/" + strconv.FormatUint(q.runs[key{kind, app, id}], 10)
	q.mu.Unlock()
	return push.Wrap(op, q.wake(ctx, args, opts))
}

// patience is how long jobs under way may go on at the end before their contexts end.
const patience = 10 * time.Second

// Run works until ctx ends, waits for the jobs under way, and returns. Those that take long are cancelled, and are done
// again by the next Run.
func (q *Queue) Run(ctx context.Context) error {
	if err := q.start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	<-ctx.Done()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if q.stop(last) == nil {
		return nil
	}
	last, cancel = context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	return q.abort(last)
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
