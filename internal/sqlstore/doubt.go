package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"runtime/debug"
	"slices"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// When the answer to COMMIT is lost, the commit may have happened: its row of the receipt log is there, the inbox rows that
// its receipts settled are gone, and nobody has been told. Before anything else is committed the committer finds out, and
// tells of what it finds in the order of the log: a row that was never told of would be folded away with those before and
// after it, and its receipts with it.

// A doubt is a commit whose outcome is not known.
type doubt struct {
	session session
	batch   []*write
	seq     int64 // of its row of the receipt log, 0 if it has none
	inbox   int   // what it adds to inboxes
}

// A session is what tells one connection from all others to the server, whose process may outlive the connection.
type session struct{ pid, start int64 }

// resume brings those who keep in step with the record up to date, once a connection and before its first commit.
func (c *committer) resume(t *tx) error {
	if c.resumed == c.conn {
		return nil
	}
	d := c.doubt.Load()
	if d != nil {
		if err := c.end(t, d.session); err != nil {
			return err
		}
	}
	missed, err := c.missed(t, math.MaxInt64)
	if err != nil {
		return err
	}
	happened := false
	if d != nil {
		if happened, err = d.happened(t, missed); err != nil {
			return err
		}
	}
	if query := c.dialect.traits().session; query != "" {
		if _, err := t.one(query, nil, &c.session.pid, &c.session.start); err != nil {
			return err
		}
	}
	if happened {
		c.store.waiting.Add(int64(d.inbox))
		c.store.sweeper.lowerAll(d.batch)
	}
	for _, row := range missed {
		c.announce(row)
	}
	if d != nil {
		c.store.orphans.Store(true)
	}
	c.resumed = c.conn
	c.doubt.Store(nil)
	return nil
}

// happened reports whether the commit is in the record, by one row that it has written: one of the receipt log, which is in
// missed, or a direct push. Of a commit with neither nobody keeps account.
func (d *doubt) happened(t *tx, missed []push.Logged) (bool, error) {
	if slices.ContainsFunc(missed, func(row push.Logged) bool { return row.Seq == d.seq }) {
		return true, nil
	}
	for _, w := range d.batch {
		if a := w.accept; a != nil && a.in() && a.Push.Kind == push.Direct {
			return t.one("SELECT id FROM "+directTable.of(a.day)+" WHERE id = ?", []any{int64(a.Push.ID)}, new(int64))
		}
	}
	return false, nil
}

// end waits until the server's process of a connection that was lost has gone, and with it what it may still commit.
func (c *committer) end(t *tx, lost session) error {
	query := c.dialect.traits().end
	if query == "" {
		return nil // the transaction was this process's, and went with its connection
	}
	for {
		alive := 0
		if _, err := t.one(query, []any{lost.pid, lost.start}, &alive); err != nil || alive == 0 {
			return err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-t.ctx.Done():
			return t.ctx.Err()
		}
	}
}

// missed returns the rows of the receipt log that nobody was told of, up to before.
func (c *committer) missed(t *tx, before int64) ([]push.Logged, error) {
	var all []push.Logged
	err := t.each("SELECT seq, at, packed FROM receipt_log WHERE seq > ?1 AND seq < ?2 ORDER BY seq", func(rows *sql.Rows) error {
		var row push.Logged
		var at int64
		var packed sql.RawBytes
		if err := rows.Scan(&row.Seq, &at, &packed); err != nil {
			return err
		}
		row.At = timeOf(at)
		var err error
		if row.Receipts, err = unpackReceipts(packed); err != nil {
			// It cannot be told, and must not keep all others from being written.
			c.log.Error("receipts lost", "seq", row.Seq, "err", err)
		}
		all = append(all, row)
		return nil
	}, c.announced, before)
	return all, err
}

// announce tells of one row of the receipt log.
func (c *committer) announce(row push.Logged) {
	c.announced = max(c.announced, row.Seq)
	if len(row.Receipts) == 0 || c.onReceipts == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("panic in OnReceipts", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	c.onReceipts(row)
}

// settleDoubt makes an empty commit if the outcome of one is not known, so that nobody waits for the next one.
func (c *committer) settleDoubt(ctx context.Context) error {
	if c.doubt.Load() == nil {
		return nil
	}
	return c.do(ctx, 0, func(*tx) error { return nil })
}

// unresumed returns the error of resume as the committer takes it: nothing was changed, and callers do well to repeat.
func (c *committer) unresumed(err error) error {
	if c.dialect.traits().broken(err) && !errors.Is(err, context.DeadlineExceeded) {
		return err // another connection may do
	}
	return &unknownError{err}
}
