package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/carillonpush/carillon/internal/push"
)

// postgresDialect is PostgreSQL's. A statement costs a round trip, so one statement takes all rows, as arrays.
type postgresDialect struct{}

func (postgresDialect) rebind(query string) string { return dollars(query) }

// arrays returns cols as a list of parameters, "$1::bigint[], …", and their values.
func arrays(cols []column) (list string, args []any) {
	parts := make([]string, len(cols))
	for i := range cols {
		c := &cols[i]
		kind := "text"
		switch {
		case c.ints != nil:
			kind, args = "bigint", append(args, c.ints)
		case c.blobs != nil:
			kind = "bytea"
			for j, b := range c.blobs {
				if b == nil {
					c.blobs[j] = []byte{} // nil would be NULL
				}
			}
			args = append(args, c.blobs)
		default:
			args = append(args, c.texts)
		}
		parts[i] = fmt.Sprintf("$%d::%s[]", i+1, kind)
	}
	return strings.Join(parts, ", "), args
}

func (postgresDialect) insert(t *tx, table string, cols []column, conflict string) error {
	list, args := arrays(cols)
	_, err := t.exec("INSERT INTO "+table+" ("+names(cols)+") SELECT * FROM unnest("+list+") "+conflict, args...)
	return err
}

func (postgresDialect) remove(t *tx, table string, cols []column) ([]int, error) {
	list, args := arrays(cols)
	same := make([]string, len(cols))
	for i := range cols {
		same[i] = "r." + cols[i].name + " = k." + cols[i].name
	}
	var gone []int
	err := t.each("DELETE FROM "+table+" r USING unnest("+list+") WITH ORDINALITY AS k("+names(cols)+", n) WHERE "+
		strings.Join(same, " AND ")+" RETURNING k.n - 1", func(rows *sql.Rows) error {
		var n int
		err := rows.Scan(&n)
		gone = append(gone, n)
		return err
	}, args...)
	return gone, err
}

func (postgresDialect) claim(t *tx, cols []column, now int64) ([]bool, error) {
	list, args := arrays(cols)
	at := map[int64]int{}
	for i, id := range cols[3].ints {
		at[id] = i
	}
	won := make([]bool, len(at))
	query := "INSERT INTO dedupe (" + names(cols) + ") SELECT * FROM unnest(" + list + ")" + claimFree +
		fmt.Sprintf(" $%d RETURNING push", len(cols)+1)
	err := t.each(query, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		if i, ok := at[id]; ok {
			won[i] = true
		}
		return err
	}, append(args, now)...)
	return won, err
}

func (postgresDialect) traits() traits {
	return traits{
		word:   strings.NewReplacer("{int}", "BIGINT", "{blob}", "BYTEA", "{keyed}", ""),
		tables: "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()",
		remote: true,
		keys: func(param string, names ...string) string {
			var b strings.Builder
			b.WriteString("(SELECT n - 1 AS n")
			for i, name := range names {
				fmt.Fprintf(&b, ", (v ->> %d)::bigint AS %s", i, name)
			}
			return b.String() + " FROM jsonb_array_elements(" + param + "::text::jsonb) WITH ORDINALITY AS j(v, n))"
		},
		lookup: func(table, where, column, param string, k kind) string {
			value := [...]string{ints: "k.v::bigint", texts: "k.v", blobs: "decode(k.v, 'hex')"}[k]
			// OFFSET 0 keeps the planner from turning the search around: for a table that it believes to be empty, and that may have
			// grown since, it would read all of the app. A plan is kept.
			return "jsonb_array_elements_text(" + param + "::text::jsonb) AS k(v) CROSS JOIN LATERAL (SELECT ctid, * FROM " + table +
				" WHERE " + where + " AND " + column + " = " + value + " OFFSET 0) d WHERE true"
		},
		among: func(found string) string { return "ctid = ANY (ARRAY (SELECT d.ctid FROM " + found + "))" },
		// A process id is used again, so its start belongs to its name.
		session:  "SELECT pid, " + backendStart + " FROM pg_stat_activity WHERE pid = pg_backend_pid()",
		end:      "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid = ?1 AND " + backendStart + " = ?2",
		broken:   postgresBroken,
		stale:    postgresStale,
		full:     func(err error) bool { return postgresCode(err) == "53100" },
		conflict: func(err error) bool { return postgresCode(err) == "23505" },
	}
}

// backendStart is when the process of a connection began, in microseconds.
const backendStart = "(extract(epoch FROM backend_start) * 1000000)::bigint"

// postgresCode returns the SQLSTATE of err, "" if the server did not send one.
func postgresCode(err error) string {
	if e := (*pgconn.PgError)(nil); errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// postgresBroken reports whether err came from the connection and not from the server, or says that the server goes down.
func postgresBroken(err error) bool {
	if code := postgresCode(err); code != "" {
		return strings.HasPrefix(code, "08") || strings.HasPrefix(code, "57P")
	}
	network, connect := net.Error(nil), (*pgconn.ConnectError)(nil)
	return errors.As(err, &network) || errors.As(err, &connect) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// postgresStale reports whether err says that a connection has gone that was there: another may do. A server to which none
// can be made is not asked again at once.
func postgresStale(err error) bool {
	connect := (*pgconn.ConnectError)(nil)
	return postgresBroken(err) && !errors.As(err, &connect) && !errors.Is(err, context.DeadlineExceeded)
}

// openPostgres opens pools of connections to the server at url.
func (s *Store) openPostgres(ctx context.Context, url string) error {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return errors.New("the database's URL cannot be read") // the cause would repeat its password
	}
	s.dialect = postgresDialect{}
	write := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(durable))
	write.SetMaxOpenConns(2) // goose's lock has one of its own
	s.onClose(write.Close)
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return err
	}
	if err := migrate(ctx, goose.DialectPostgres, write, "migrations/postgres", goose.WithSessionLocker(locker)); err != nil {
		return err
	}
	read := stdlib.OpenDB(*config)
	readers := s.opts.Readers
	if readers <= 0 {
		readers = max(8, 4*runtime.GOMAXPROCS(0))
	}
	readers = min(readers, maxReaders)
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	s.onClose(read.Close)
	s.read = newReader(read, s.dialect)
	s.commit = newCommitter(s.dialect, write.Conn, s.opts)
	return nil
}

// durable refuses a connection on which COMMIT would answer before the commit is on disk. The settings can differ by
// role and database, and change while the server runs, so every connection of the committer is asked. It sets nothing: who
// switched them off must know that Carillon needs them.
func durable(ctx context.Context, conn *pgx.Conn) error {
	for _, s := range []struct {
		name string
		ok   func(string) bool
	}{
		{"fsync", func(v string) bool { return v == "on" }},
		{"synchronous_commit", func(v string) bool { return v != "off" }},
	} {
		var v string
		if err := conn.QueryRow(ctx, "SELECT current_setting($1)", s.name).Scan(&v); err != nil {
			return err
		}
		if !s.ok(v) {
			return &push.Error{
				Kind: push.Invalid, Field: "database",
				Msg: "PostgreSQL's " + s.name + " is " + v + " for this database: accepted pushes could be lost; switch it on",
			}
		}
	}
	return nil
}
