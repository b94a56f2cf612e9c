// Command audience measures the index: how long it takes to build from a stream of devices, how much memory it needs, how
// many changes a second it takes, how long its snapshot takes to write and to read, and how long ten expressions take to
// evaluate, from one tag to a nested one of seven leaves. It then asks SQLite and PostgreSQL the same, which is what a user
// would do instead, and puts both in relation.
//
//	go run ./bench/audience --devices 10000000 --out bench/out/audience.json
//
// The devices follow from a seed. Every count of a database is compared with the index's: one that differs is an error.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"time"

	"github.com/carillonpush/carillon/internal/audience"
	"github.com/carillonpush/carillon/internal/push"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "audience:", err)
		os.Exit(1)
	}
}

type options struct {
	devices, sqlDevices int
	sql                 bool
	seed                uint64
	postgres            string
	out, dir, profile   string
}

func run(ctx context.Context, args []string, w io.Writer) (err error) {
	var o options
	f := flag.NewFlagSet("audience", flag.ContinueOnError)
	f.IntVar(&o.devices, "devices", 10_000_000, "how many devices the index has")
	f.BoolVar(&o.sql, "sql", true, "ask SQLite and PostgreSQL the same")
	f.IntVar(&o.sqlDevices, "sql-devices", 1_000_000, "how many devices they have, and the index that they are compared with")
	f.Uint64Var(&o.seed, "seed", 1, "what the devices follow from")
	f.StringVar(&o.postgres, "postgres", "", "`URL` of an empty PostgreSQL database; without it one is started")
	f.StringVar(&o.out, "out", "", "`FILE` for the result as JSON")
	f.StringVar(&o.dir, "dir", os.TempDir(), "`FOLDER` for snapshots and databases while it runs")
	f.StringVar(&o.profile, "profile", "", "`FILE` for a CPU profile, labelled by what was measured")
	if err := f.Parse(args); err != nil {
		return err
	}
	if o.devices < 1000 || o.sqlDevices < 1000 || f.NArg() > 0 {
		return errors.New("--devices and --sql-devices are at least 1000, and there are no arguments")
	}
	dir, err := os.MkdirTemp(o.dir, "carillon-audience-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	r := result{Devices: o.devices, Seed: o.seed, Go: runtime.Version(), Processors: runtime.GOMAXPROCS(0)}
	began := time.Now()
	if err := measureIndex(ctx, o, dir, &r); err != nil {
		return err
	}
	r.write(w)
	if o.sql {
		if r.SQL, err = compareSQL(ctx, o, dir); err != nil {
			return err
		}
		r.SQL.write(w)
	}
	fmt.Fprintf(w, "\nall of it took %v\n", time.Since(began).Round(time.Second))
	if o.out == "" {
		return nil
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.out, append(b, '\n'), 0o644)
}

// measureIndex fills in all of r but SQL.
func measureIndex(ctx context.Context, o options, dir string, r *result) error {
	b := newBase(o.devices, o.seed)
	before := memory()
	x, took := build(b)
	r.Build = seconds(took)
	r.BytesPerDevice = float64(x.Bytes(app)) / float64(o.devices)
	r.RSSPerDevice = float64(memory()-before) / float64(o.devices)
	if err := ctx.Err(); err != nil {
		return err
	}
	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	for _, q := range questions {
		var a asked
		var err error
		labelled(ctx, q.name, func() { a, err = ask(ctx, x, q, b.now) })
		if err != nil {
			return err
		}
		r.Questions = append(r.Questions, a)
	}
	r.ChangesPerSecond = changes(ctx, b, x, 1)
	r.ChangesPerSecondOf2 = changes(ctx, b, x, 2)
	return measureSnapshot(x, b, dir, r)
}

// labelled calls f, and has a profile say which samples are of it: go tool pprof -tagfocus.
func labelled(ctx context.Context, what string, f func()) {
	pprof.Do(ctx, pprof.Labels("measured", what), func(context.Context) { f() })
}

const app push.AppID = 1

func newIndex(b *base) *audience.Index {
	x := new(audience.Index)
	for i, name := range b.tagNames {
		x.AddTag(app, push.TagID(i+1), name)
	}
	return x
}
