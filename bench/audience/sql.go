package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite" // the driver

	"github.com/carillonpush/carillon/internal/audience"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/testpg"
)

// What a user would do without an index of our kind: one row a device with a column for each thing that is asked, the
// version as a number that compares, one row for each tag of a device, and an index on each column that narrows.
const (
	schema = `CREATE TABLE device (id INTEGER PRIMARY KEY, platform SMALLINT NOT NULL, version INTEGER NOT NULL, province TEXT NOT NULL,
		city TEXT NOT NULL, brand TEXT NOT NULL, active INTEGER NOT NULL, phone SMALLINT NOT NULL)`
	tagSchema = `CREATE TABLE device_tag (tag INTEGER NOT NULL, device INTEGER NOT NULL, PRIMARY KEY (tag, device))`
)

var indexes = []string{
	"CREATE INDEX device_version ON device (version)", "CREATE INDEX device_province ON device (province)",
	"CREATE INDEX device_city ON device (city)", "CREATE INDEX device_brand ON device (brand)",
	"CREATE INDEX device_active ON device (active)", "CREATE INDEX device_tag_device ON device_tag (device)",
}

var deviceColumns = []string{"id", "platform", "version", "province", "city", "brand", "active", "phone"}

// compareSQL asks the index and both databases the same.
func compareSQL(ctx context.Context, o options, dir string) (*compared, error) {
	b := newBase(o.sqlDevices, o.seed)
	c := &compared{Devices: o.sqlDevices, Load: map[string]float64{}}
	x, _ := build(b)
	for _, q := range questions {
		a, err := ask(ctx, x, q, b.now)
		if err != nil {
			return nil, err
		}
		statement := "SELECT count(*) FROM device d WHERE " + strings.ReplaceAll(q.sql, "{day}", fmt.Sprint(int(push.DayOf(b.now))))
		c.Questions = append(c.Questions, comparedQuestion{Name: q.name, SQL: statement, Devices: a.Devices, Index: a.Count})
	}
	*x = audience.Index{} // the databases are not to pay for its memory
	runtime.GC()
	if err := c.sqlite(ctx, b, filepath.Join(dir, "devices.db")); err != nil {
		return nil, fmt.Errorf("SQLite: %w", err)
	}
	err := withPostgres(o.postgres, func(url string) error { return c.postgres(ctx, b, url) })
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL: %w", err)
	}
	return c, nil
}

// sqlRow returns a device as a row of the table.
func sqlRow(row *push.IndexRow) []any {
	version := [3]int{}
	if _, err := fmt.Sscanf(row.Attributes[0].Value, "%d.%d.%d", &version[0], &version[1], &version[2]); err != nil {
		panic(err) // newBase made it
	}
	phone := 0
	if row.Phone {
		phone = 1
	}
	return []any{
		int64(row.Ref.Ordinal), int64(row.Ref.Platform), version[0]*10000 + version[1]*100 + version[2],
		row.Attributes[1].Value, row.Attributes[2].Value, row.Attributes[3].Value, int64(row.Active), phone,
	}
}

// ask asks a database, and compares its counts.
func (c *compared) ask(ctx context.Context, into func(*comparedQuestion) *latency, count func(statement string) (int, error)) error {
	for i := range c.Questions {
		q := &c.Questions[i]
		n, err := count(q.SQL) // which also warms the cache
		if err != nil {
			return fmt.Errorf("%s: %w", q.Name, err)
		}
		if n != q.Devices {
			return fmt.Errorf("%s: %d devices, and the index has %d", q.Name, n, q.Devices)
		}
		l, err := repeat(ctx, time.Second, func() error {
			_, err := count(q.SQL)
			return err
		})
		if err != nil {
			return err
		}
		*into(q) = l
	}
	return nil
}

func (c *compared) sqlite(ctx context.Context, b *base, path string) (err error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(wal)&_pragma=synchronous(normal)&_pragma=cache_size(-1048576)&_pragma=mmap_size(4294967296)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	began := time.Now()
	if err := exec(ctx, db, schema, tagSchema+" WITHOUT ROWID", "CREATE TABLE t (tag INTEGER, device INTEGER)"); err != nil {
		return err
	}
	if err := c.fillSQLite(ctx, b, db); err != nil {
		return err
	}
	// In the order of the key: else each row would go to another page.
	if err := exec(ctx, db, "INSERT INTO device_tag SELECT tag, device FROM t ORDER BY tag, device", "DROP TABLE t"); err != nil {
		return err
	}
	if err := exec(ctx, db, append(indexes, "ANALYZE")...); err != nil {
		return err
	}
	c.Load["SQLite"] = seconds(time.Since(began))
	return c.ask(ctx, func(q *comparedQuestion) *latency { return &q.SQLite }, func(statement string) (n int, err error) {
		return n, db.QueryRowContext(ctx, statement).Scan(&n)
	})
}

func (c *compared) fillSQLite(ctx context.Context, b *base, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	device, err := tx.PrepareContext(ctx, "INSERT INTO device VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
	if err != nil {
		return err
	}
	tag, err := tx.PrepareContext(ctx, "INSERT INTO t VALUES (?, ?)")
	if err != nil {
		return err
	}
	var row push.IndexRow
	for o := range b.devices {
		b.row(push.Ordinal(o), &row)
		if _, err := device.ExecContext(ctx, sqlRow(&row)...); err != nil {
			return err
		}
		for _, id := range row.Tags {
			if _, err := tag.ExecContext(ctx, int64(id), o); err != nil {
				return err
			}
		}
	}
	return tx.Commit()
}

func exec(ctx context.Context, db *sql.DB, statements ...string) error {
	for _, s := range statements {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

func (c *compared) postgres(ctx context.Context, b *base, url string) (err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	run := func(statements ...string) error {
		for _, s := range statements {
			if _, err := conn.Exec(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
		}
		return nil
	}
	began := time.Now()
	if err := run(schema, tagSchema); err != nil {
		return err
	}
	var row push.IndexRow
	o := -1
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"device"}, deviceColumns, pgx.CopyFromFunc(func() ([]any, error) {
		if o++; o >= b.devices {
			return nil, nil
		}
		b.row(push.Ordinal(o), &row)
		return sqlRow(&row), nil
	}))
	if err != nil {
		return err
	}
	o, row.Tags = -1, nil
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"device_tag"}, []string{"tag", "device"}, pgx.CopyFromFunc(func() ([]any, error) {
		for len(row.Tags) == 0 {
			if o++; o >= b.devices {
				return nil, nil
			}
			b.row(push.Ordinal(o), &row)
		}
		id := row.Tags[0]
		row.Tags = row.Tags[1:]
		return []any{int64(id), int64(o)}, nil
	}))
	if err != nil {
		return err
	}
	if err := run(append(indexes, "VACUUM ANALYZE")...); err != nil { // so that indexes alone can answer
		return err
	}
	c.Load["PostgreSQL"] = seconds(time.Since(began))
	return c.ask(ctx, func(q *comparedQuestion) *latency { return &q.Postgres }, func(statement string) (n int, err error) {
		return n, conn.QueryRow(ctx, statement).Scan(&n)
	})
}

// withPostgres calls f with the URL of a database: the one that is given, or one of a server that is started for it.
func withPostgres(url string, f func(url string) error) error {
	if url != "" {
		return f(url)
	}
	err := errors.New("no server could be started")
	var once sync.Once
	// testpg starts servers for whatever has the life of a test, and outside of tests a benchmark has.
	testing.Benchmark(func(t *testing.B) {
		once.Do(func() {
			server := testpg.Start(t, testpg.Options{Settings: map[string]string{
				"shared_buffers": "1GB", "work_mem": "256MB", "maintenance_work_mem": "512MB", "max_wal_size": "8GB", "random_page_cost": "1.1",
			}})
			err = f(server.Database(t))
		})
	})
	return err
}
