package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/carillonpush/carillon/internal/push"
)

// A writer is the connection that the committer owns. Nobody else writes.
type writer struct {
	dialect dialect
	open    func(context.Context) (*sql.Conn, error)

	conn  *sql.Conn // nil while there is none
	stmts map[string]*sql.Stmt
	raw   map[string]*rawStmt

	stamped int64 // what stamp has returned last
}

// A rawStmt is a statement of the driver itself, for statements that run once a row: database/sql would cost as much as
// they do.
type rawStmt struct {
	exec  driver.StmtExecContext
	close func() error
	args  []driver.NamedValue
}

// connect makes sure that there is a connection.
func (w *writer) connect(ctx context.Context) error {
	if w.conn != nil {
		return nil
	}
	conn, err := w.open(ctx)
	if err != nil {
		return err
	}
	w.conn, w.stmts, w.raw = conn, map[string]*sql.Stmt{}, map[string]*rawStmt{}
	return nil
}

// drop closes the connection, whatever state it is in, so that the next commit opens another.
func (w *writer) drop() error {
	if w.conn == nil {
		return nil
	}
	w.forget()
	// ErrBadConn takes the connection out of its pool: it may be inside a transaction.
	_ = w.conn.Raw(func(any) error { return driver.ErrBadConn })
	err := w.conn.Close()
	w.conn = nil
	if errors.Is(err, sql.ErrConnDone) {
		return nil
	}
	return err
}

// forget closes all prepared statements: the tables that they name have changed.
func (w *writer) forget() {
	for _, stmt := range w.stmts {
		_ = stmt.Close() // what could fail is the connection, which the next statement finds out
	}
	_ = w.conn.Raw(func(any) error {
		for _, stmt := range w.raw {
			_ = stmt.close()
		}
		return nil
	})
	clear(w.stmts)
	clear(w.raw)
}

func (w *writer) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt, ok := w.stmts[query]; ok {
		return stmt, nil
	}
	stmt, err := w.conn.PrepareContext(ctx, w.dialect.rebind(query))
	if err == nil {
		w.stmts[query] = stmt
	}
	return stmt, err
}

// each runs query once a row of cols, on the driver itself, and calls hit with how many rows each run changed.
func (w *writer) each(ctx context.Context, query string, cols []column, hit func(i int, changed int64)) error {
	return w.conn.Raw(func(c any) error {
		stmt, err := w.rawStmt(ctx, c, query, len(cols))
		if err != nil {
			return err
		}
		for i := range cols[0].len() {
			for j := range cols {
				stmt.args[j].Value = cols[j].at(i)
			}
			res, err := stmt.exec.ExecContext(ctx, stmt.args)
			if err != nil {
				return err
			}
			if hit == nil {
				continue
			}
			changed, err := res.RowsAffected()
			if err != nil {
				return err
			}
			hit(i, changed)
		}
		return nil
	})
}

func (w *writer) rawStmt(ctx context.Context, c any, query string, params int) (*rawStmt, error) {
	if stmt, ok := w.raw[query]; ok {
		return stmt, nil
	}
	made, err := c.(driver.ConnPrepareContext).PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	exec, ok := made.(driver.StmtExecContext)
	if !ok {
		return nil, fmt.Errorf("a statement of %T cannot be run", c)
	}
	stmt := &rawStmt{exec: exec, close: made.Close, args: make([]driver.NamedValue, params)}
	for i := range stmt.args {
		stmt.args[i].Ordinal = i + 1
	}
	w.raw[query] = stmt
	return stmt, nil
}

// A tx is the transaction of one group commit. Only the committer has one.
type tx struct {
	ctx      context.Context
	w        *writer
	receipts []push.Receipt      // what this commit adds to the receipt log
	totals   []push.TotalDelta   // what it adds to totals: see started
	inbox    int                 // rows that this commit adds to inboxes, less those that it takes away
	apps     map[push.AppID]bool // that are known to be there: see appThere
	ended    bool                // whether a bulk push ends in this commit, so that its target may be nobody's any more
	failed   error               // the first statement's error; nothing may be committed after it
}

func (t *tx) fail(err error) error {
	if err != nil && t.failed == nil {
		t.failed = err
	}
	return err
}

// started has a push counted in totals, with the devices and the unknown names that it is for. A write says so when it can
// fail no more.
func (t *tx) started(keys []push.TotalKey, devices, unknown int) {
	for _, k := range keys {
		t.totals = append(t.totals, push.TotalDelta{Key: k, Metric: push.MetricPushes, N: 1},
			push.TotalDelta{Key: k, Metric: push.MetricTarget, N: devices + unknown})
		if unknown > 0 {
			t.totals = append(t.totals, push.TotalDelta{Key: k, Metric: push.MetricUnknown, N: unknown})
		}
	}
}

// storeTotals adds what the commit has counted to the totals.
func (t *tx) storeTotals() error {
	if len(t.totals) == 0 {
		return nil
	}
	return t.addTotals(t.totals)
}

// exec runs a statement and returns how many rows it changed.
func (t *tx) exec(query string, args ...any) (int64, error) {
	stmt, err := t.w.stmt(t.ctx, query)
	if err != nil {
		return 0, t.fail(err)
	}
	res, err := stmt.ExecContext(t.ctx, args...)
	if err != nil {
		return 0, t.fail(err)
	}
	n, err := res.RowsAffected()
	return n, t.fail(err)
}

// each runs a query and calls scan for each of its rows.
func (t *tx) each(query string, scan func(*sql.Rows) error, args ...any) error {
	stmt, err := t.w.stmt(t.ctx, query)
	if err != nil {
		return t.fail(err)
	}
	rows, err := stmt.QueryContext(t.ctx, args...)
	return t.fail(scanAll(rows, err, scan))
}

// one runs a query of one row and reports whether there was one.
func (t *tx) one(query string, args []any, into ...any) (bool, error) {
	found := false
	err := t.each(query, func(rows *sql.Rows) error {
		found = true
		return rows.Scan(into...)
	}, args...)
	return found, err
}

// lookup returns what follows FROM, as the dialect makes it.
func (t *tx) lookup(table, where, column, param string, k kind) string {
	return t.w.dialect.traits().lookup(table, where, column, param, k)
}

// among returns the condition that a row of lookup's table is one of those found.
func (t *tx) among(found string) string { return t.w.dialect.traits().among(found) }

// run runs a statement that takes no parameters and is not worth keeping.
func (t *tx) run(statement string) error {
	_, err := t.w.conn.ExecContext(t.ctx, statement)
	return t.fail(err)
}

// insert adds rows to table.
func (t *tx) insert(table, conflict string, cols ...column) error {
	if cols[0].len() == 0 {
		return nil
	}
	return t.fail(t.w.dialect.insert(t, table, cols, conflict))
}

// remove deletes rows of table and returns the positions of those that were there.
func (t *tx) remove(table string, cols ...column) ([]int, error) {
	if cols[0].len() == 0 {
		return nil, nil
	}
	gone, err := t.w.dialect.remove(t, table, cols)
	return gone, t.fail(err)
}

// nested runs f so that what it changed is undone if it fails, and the transaction goes on.
func (t *tx) nested(f func() error) error {
	if err := t.run("SAVEPOINT nested"); err != nil {
		return err
	}
	err := f()
	if t.failed != nil {
		return errors.Join(err, t.failed)
	}
	if err != nil {
		if undo := t.run("ROLLBACK TO SAVEPOINT nested"); undo != nil {
			return undo
		}
	}
	return errors.Join(err, t.run("RELEASE SAVEPOINT nested"))
}

// placeholders returns n question marks.
func placeholders(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }
