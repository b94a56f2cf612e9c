// Command life measures the life of pushes on a real record with the real rooms: whether a paced push keeps its pace, what it
// takes to start a broadcast to a million devices that are away and how much it adds to the record, what accepting a push takes
// while ten thousand are live and what is said when there is no room for more, what counting receipts and telling webhooks
// cost. Each on SQLite and on PostgreSQL.
//
//	go run ./bench/life --out bench/out/life.json
//
// The rooms are wired as internal/server does it, but for the gateway: the one here has no connections, says which devices are
// online, and notes when it was handed what. Every part checks what it measured: a device that was handed a push twice, or
// not at all, a count that is not exact, or a signature that is not right is an error.
//
// Beside each figure stands a floor, measured in the same run: a bare ticker, the same commits without the rooms, the same
// bytes written to a file or posted to the same receiver. And how many processors others kept busy meanwhile: the database of
// PostgreSQL, and on a machine that is not idle whoever else works there.
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
	"slices"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "life:", err)
		os.Exit(1)
	}
}

type options struct {
	devices, paced, live int
	databases, parts     []string
	passes               []pass
	seed                 uint64
	out, dir, profile    string
}

// What may be chosen.
var (
	allDatabases = []string{"sqlite", "postgres"}
	allParts     = []string{"start", "pacing", "receipts", "many"} // in the order in which they are made; receipts end with webhooks
)

// parse reads the command line.
func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("life", flag.ContinueOnError)
	f.IntVar(&o.devices, "devices", 1_000_000, "how many devices are away")
	f.IntVar(&o.paced, "paced", 100_000, "how many devices are online, and what paced pushes are for")
	f.IntVar(&o.live, "live", 10_000, "how many pushes are live when others are accepted")
	f.Uint64Var(&o.seed, "seed", 1, "what audiences follow from")
	f.StringVar(&o.out, "out", "", "`FILE` for the result as JSON")
	f.StringVar(&o.dir, "dir", os.TempDir(), "`FOLDER` for the records while it runs")
	f.StringVar(&o.profile, "profile", "", "`FILE` for a CPU profile")
	databases := f.String("databases", strings.Join(allDatabases, ","), "which databases")
	parts := f.String("parts", strings.Join(allParts, ","), "what is measured")
	passes := f.String("passes", "1000,10000,50000,20x500", "what is paced: devices a second, or PUSHESxRATE for several at once")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.databases, o.parts = strings.Split(*databases, ","), strings.Split(*parts, ",")
	var err error
	if o.passes, err = parsePasses(*passes); err != nil {
		return o, err
	}
	other := func(all []string) func(string) bool { return func(s string) bool { return !slices.Contains(all, s) } }
	switch {
	case slices.ContainsFunc(o.databases, other(allDatabases)) || slices.ContainsFunc(o.parts, other(allParts)):
		return o, fmt.Errorf("--databases are of %v, --parts of %v", allDatabases, allParts)
	case o.devices < 1000 || o.paced < 1000 || o.live < 10 || f.NArg() > 0:
		return o, errors.New("--devices and --paced are at least 1000, --live at least 10, and there are no arguments")
	}
	return o, nil
}

func run(ctx context.Context, args []string, w io.Writer) (err error) {
	o, err := parse(args)
	if err != nil {
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
	r := result{Devices: o.devices, Paced: o.paced, Live: o.live, Seed: o.seed, Go: runtime.Version(), Processors: runtime.GOMAXPROCS(0)}
	began := time.Now()
	r.writeHead(w)
	for _, database := range o.databases {
		on := &measured{Database: database}
		err := withPlace(o, database, func(p *place) error { return measure(ctx, o, p, on, w) })
		if err != nil {
			return fmt.Errorf("%s: %w", database, err)
		}
		r.Databases = append(r.Databases, on)
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

// measure makes the chosen parts on one database, and writes what each found as soon as it is done.
func measure(ctx context.Context, o options, p *place, on *measured, w io.Writer) error {
	began := time.Now()
	if err := fill(ctx, o, p); err != nil {
		return fmt.Errorf("devices: %w", err)
	}
	on.Fill = seconds(time.Since(began))
	fmt.Fprintf(w, "\n%s: %d and %d devices registered in %.1f s\n", on.Database, o.devices, o.paced, on.Fill)
	for _, part := range []struct {
		name    string
		measure func() error
		write   func(io.Writer)
	}{
		{"start", func() error { return measureStarts(ctx, o, p, on) }, on.writeStarts},
		{"pacing", func() error { return measurePacing(ctx, o, p, on) }, on.writePacing},
		{"receipts", func() error { return measureReceipts(ctx, o, p, on) }, on.writeReceipts},
		{"many", func() error { return measureMany(ctx, o, p, on) }, on.writeMany},
	} {
		if !slices.Contains(o.parts, part.name) {
			continue
		}
		if err := errors.Join(ctx.Err(), part.measure()); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		part.write(w)
	}
	return nil
}
