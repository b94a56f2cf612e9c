package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/carillonpush/carillon/internal/push"
)

// A write is what one caller has queued: a push to accept, receipts, or anything else as a function.
type write struct {
	accept   *acceptance
	receipts []push.Receipt
	// do makes other changes. If it returns a *push.Error it must have changed nothing; that is the caller's answer, and
	// the others in the commit are none the worse. Any other error undoes the commit, and each write is tried alone.
	do func(*tx) error
	// outcomes are the days of which do needs the table of outcomes, if there is one of pushes.
	outcomes []push.Day
	// needs are other tables by day that do writes to.
	needs []dayNeed

	size   int64 // bytes that it holds of the queue
	rows   int
	queued time.Time
	err    error         // the answer, once done is closed
	done   chan struct{} // nil if nobody waits
}

// A committer owns the writing connection. It is one goroutine and one queue, so all writes about a device are made in the
// order in which they were queued. (On PostgreSQL there may be several one day, by hash of the ordinal.)
type committer struct {
	writer
	queue      queue
	opts       Options
	log        *slog.Logger
	store      *Store
	onReceipts func(push.Logged)

	// Of the goroutine that commits:
	announced int64     // sequence of the last row of the receipt log that was told of
	resumed   *sql.Conn // the connection on which resume has been
	session   session   // of that connection

	doubt   atomic.Pointer[doubt] // the last commit, if its outcome is not known
	hold    sync.Mutex            // held while a batch is committed; whoever takes it keeps commits waiting
	commits atomic.Uint64
	stopped sync.WaitGroup
}

// Limits of one batch, so that a commit that takes all that waits is still a short one.
const (
	maxBatchRows  = 4096
	maxBatchBytes = 8 << 20
)

func newCommitter(d dialect, open func(context.Context) (*sql.Conn, error), opts Options) *committer {
	c := &committer{writer: writer{dialect: d, open: open}, opts: opts, log: opts.Log}
	c.queue.init(opts.QueueBytes)
	return c
}

// start starts the goroutine; stop lets it commit what is queued, and waits for it. The rows of the receipt log that are
// there already are not told of: Unfolded yields them.
func (c *committer) start(ctx context.Context, s *Store) error {
	c.store = s
	s.orphans.Store(true) // nobody knows
	if _, err := s.read.one(ctx, "SELECT COALESCE(max(seq), 0) FROM receipt_log", nil, &c.announced); err != nil {
		return err
	}
	c.stopped.Go(func() {
		for batch := c.queue.take(); batch != nil; batch = c.queue.take() {
			c.hold.Lock()
			c.commit(batch)
			c.hold.Unlock()
		}
	})
	return nil
}

func (c *committer) stop() error {
	c.queue.close()
	c.stopped.Wait()
	return c.drop()
}

// write queues w and waits for the commit that holds it. Unavailable means that the outcome is unknown: ctx ended, which
// does not withdraw what is queued, or the commit itself failed.
func (c *committer) write(ctx context.Context, w *write) error {
	w.done = make(chan struct{})
	if err := c.queue.put(ctx, w); err != nil {
		return err
	}
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return &push.Error{Kind: push.Unavailable, Msg: "gave up waiting for the commit: the outcome is unknown", Err: ctx.Err()}
	}
}

// do queues a function and waits for the commit that holds what it did. The function may still run when do has returned
// because ctx ended, and may run more than once: it writes to nothing that the caller reads, and reads nothing that the
// caller changes.
func (c *committer) do(ctx context.Context, size int, f func(*tx) error) error {
	return c.write(ctx, &write{do: f, rows: 1, size: int64(size)})
}

// count is do for a function that also returns a number.
func (c *committer) count(ctx context.Context, size int, f func(*tx) (int, error)) (int, error) {
	counted := 0
	err := c.do(ctx, size, func(t *tx) error {
		n, err := f(t)
		counted = n
		return err
	})
	if err != nil {
		return 0, err // counted is the committer's, if it is still at it
	}
	return counted, nil
}

// commit commits a batch and answers its callers. If it fails each write is tried alone, so that one bad row fails alone.
func (c *committer) commit(batch []*write) {
	start := time.Now()
	err := c.attempt(batch)
	if t := c.dialect.traits(); err != nil && t.broken(err) && !errors.As(err, new(*unknownError)) {
		// The connection went before COMMIT was asked for, so nothing has changed: another may do.
		err = c.attempt(batch)
	}
	if err == nil || len(batch) == 1 || c.hopeless(err) {
		c.observe(batch, start) // before its callers, who may ask for the numbers
		c.finish(batch, err)
		return
	}
	c.log.Warn("a group commit failed, each of its writes is tried alone", "writes", len(batch), "err", err)
	for i := range batch {
		one := batch[i : i+1]
		start := time.Now()
		if err = c.attempt(one); err != nil && c.hopeless(err) {
			c.finish(batch[i:], err) // nor will the rest succeed; it must not take a minute to find out
			return
		}
		c.observe(one, start)
		c.finish(one, err)
	}
}

// hopeless reports whether err is not about what was written, but about the database.
func (c *committer) hopeless(err error) bool {
	t := c.dialect.traits()
	return errors.As(err, new(*unknownError)) || t.broken(err) || t.full(err)
}

// An unknownError is the failure of COMMIT itself: whether it happened is not known.
type unknownError struct{ err error }

func (e *unknownError) Error() string { return e.err.Error() }
func (e *unknownError) Unwrap() error { return e.err }

// attempt makes one transaction of batch. Nothing has changed when it returns an error, except maybe with an unknownError.
func (c *committer) attempt(batch []*write) (err error) {
	ctx, cancel := c.deadline()
	defer cancel()
	for _, w := range batch {
		w.err = nil
	}
	if err := c.connect(ctx); err != nil {
		return &unknownError{err} // it is known, but callers do well to repeat
	}
	t := &tx{ctx: ctx, w: &c.writer}
	begun := false
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			c.log.Error("panic in a write", "panic", p, "stack", string(debug.Stack()))
		}
		if err != nil && c.conn != nil {
			c.undo(err, begun)
		}
	}()
	if err := c.resume(t); err != nil {
		return c.unresumed(err)
	}
	if err := c.store.days.prepare(t, batch); err != nil {
		return err
	}
	if err := t.run("BEGIN"); err != nil {
		return err
	}
	begun = true
	row, err := c.execute(t, batch)
	var missed []push.Logged
	if err == nil && row.Seq > c.announced+1 {
		// What another has left between: a process of this record that was killed, and whose last commit came late.
		missed, err = c.missed(t, row.Seq)
	}
	if err != nil {
		return err
	}
	begun = false
	if err := t.run("COMMIT"); err != nil {
		// The next connection finds what was committed, or nothing of it.
		c.doubt.Store(&doubt{session: c.session, batch: batch, seq: row.Seq, inbox: t.inbox})
		return &unknownError{errors.Join(err, c.drop())}
	}
	c.commits.Add(1)
	c.committed(t, batch, append(missed, row))
	return nil
}

// undo ends a transaction that failed, or lets go of a connection that is of no more use.
func (c *committer) undo(cause error, begun bool) {
	broken := c.dialect.traits().broken(cause)
	if begun && !broken {
		_, err := c.conn.ExecContext(context.Background(), "ROLLBACK")
		broken = err != nil
	}
	if !broken {
		return
	}
	if err := c.drop(); err != nil {
		c.log.Warn("connection not closed", "err", err)
	}
}

// committed tells those who keep in step with the record.
func (c *committer) committed(t *tx, batch []*write, rows []push.Logged) {
	c.store.waiting.Add(int64(t.inbox))
	c.store.sweeper.lowerAll(batch)
	if t.ended {
		c.store.orphans.Store(true)
	}
	for _, row := range rows {
		c.announce(row)
	}
}

// finish answers the callers of batch. err is what became of the commit; a write may have an answer of its own.
func (c *committer) finish(batch []*write, err error) {
	size := int64(0)
	for _, w := range batch {
		size += w.size
		if err != nil {
			w.err = c.failure(err)
		}
		switch {
		case w.done != nil:
			close(w.done)
		case w.err != nil:
			c.log.Warn("receipts not recorded, devices will be sent copies", "receipts", len(w.receipts), "err", w.err)
		}
	}
	c.queue.release(len(batch), size)
}

// failure returns err as callers see it.
func (c *committer) failure(err error) error {
	t := c.dialect.traits()
	switch e := (*push.Error)(nil); {
	case t.full(err):
		return &push.Error{Kind: push.Unavailable, Msg: "the disk is full", Err: err}
	case c.hopeless(err):
		return &push.Error{Kind: push.Unavailable, Msg: "the outcome of the commit is unknown", Err: err}
	case errors.As(err, &e):
		return e
	case t.conflict(err):
		return &push.Error{Kind: push.Conflict, Msg: "it exists already", Err: err}
	default:
		return &push.Error{Kind: push.Internal, Err: err}
	}
}

func (c *committer) observe(batch []*write, start time.Time) {
	if c.opts.Observe == nil {
		return
	}
	seen := Commit{Wait: start.Sub(batch[0].queued), Duration: time.Since(start)}
	for _, w := range batch {
		seen.Rows += w.rows
		seen.Bytes += int(w.size)
	}
	c.opts.Observe(seen)
}

// A queue holds writes in order, up to a number of bytes.
type queue struct {
	room  *semaphore.Weighted
	limit int64

	mu     sync.Mutex // guards what follows
	writes []*write
	taken  int // being committed
	closed bool
	more   chan struct{} // has a value when writes or closed may have changed
}

func (q *queue) init(limit int64) {
	q.room, q.limit, q.more = semaphore.NewWeighted(limit), limit, make(chan struct{}, 1)
}

// put adds w, and waits while the queue is full.
func (q *queue) put(ctx context.Context, w *write) error {
	w.size = min(w.size+128, q.limit)
	if err := q.room.Acquire(ctx, w.size); err != nil {
		return &push.Error{Kind: push.Unavailable, Msg: "the record's queue is full", Err: errors.Join(push.ErrNotQueued, err)}
	}
	w.queued = time.Now()
	q.mu.Lock()
	closed := q.closed
	if !closed {
		q.writes = append(q.writes, w)
	}
	q.mu.Unlock()
	if closed {
		q.room.Release(w.size)
		return &push.Error{Kind: push.Unavailable, Msg: "the record is closed", Err: push.ErrNotQueued}
	}
	q.wake()
	return nil
}

func (q *queue) wake() {
	select {
	case q.more <- struct{}{}:
	default: // whoever takes will look anyway
	}
}

// take waits for writes and returns the oldest, as many as fit one batch. nil means that none will come any more.
func (q *queue) take() []*write {
	for {
		q.mu.Lock()
		if n := batchOf(q.writes); n > 0 {
			batch := q.writes[:n:n]
			q.writes = q.writes[n:]
			q.taken = n
			q.mu.Unlock()
			return batch
		}
		closed := q.closed
		q.writes = nil
		q.mu.Unlock()
		if closed {
			return nil
		}
		<-q.more
	}
}

// batchOf returns how many of all go into one batch: at least one, if there is one.
func batchOf(all []*write) int {
	rows, size := 0, int64(0)
	for i, w := range all {
		rows += w.rows
		size += w.size
		if i > 0 && (rows > maxBatchRows || size > maxBatchBytes) {
			return i
		}
	}
	return len(all)
}

func (q *queue) release(n int, size int64) {
	q.room.Release(size)
	q.mu.Lock()
	q.taken -= n
	q.mu.Unlock()
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.wake()
}

func (q *queue) depth() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.writes) + q.taken
}
