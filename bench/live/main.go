// Command live measures the sets of live pushes: what it takes to find what a device is owed among ten thousand live pushes
// to a million devices, when it comes alone and when a thousand come at once, how much memory the sets need, and how fast
// receipts and broadcasts get through them. In the same run it asks each live push one by one, which is what one would do
// without them, and puts both in relation.
//
//	go run ./bench/live --out bench/out/live.json
//
// The pushes follow from a seed. Every answer is compared with that of asking one by one: one that differs is an error.
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
	"time"

	"github.com/carillonpush/carillon/internal/live"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "live:", err)
		os.Exit(1)
	}
}

type options struct {
	devices, pushes, together int
	budget                    int64
	seed                      uint64
	out                       string
}

func run(ctx context.Context, args []string, w io.Writer) error {
	var o options
	f := flag.NewFlagSet("live", flag.ContinueOnError)
	f.IntVar(&o.devices, "devices", 1_000_000, "how many devices the app has")
	f.IntVar(&o.pushes, "pushes", 10_000, "how many live pushes there are")
	f.IntVar(&o.together, "together", 1000, "how many devices connect at once")
	f.Int64Var(&o.budget, "budget", live.DefaultBudget, "how many bytes the sets may use")
	f.Uint64Var(&o.seed, "seed", 1, "what the pushes follow from")
	f.StringVar(&o.out, "out", "", "`FILE` for the result as JSON")
	if err := f.Parse(args); err != nil {
		return err
	}
	if o.devices < 10*o.together || o.together < 1 || o.pushes < 10 || f.NArg() > 0 {
		return errors.New("--devices is at least ten times --together, --pushes at least 10, and there are no arguments")
	}
	r := result{
		Devices: o.devices, Pushes: o.pushes, Together: o.together, Seed: o.seed,
		Go: runtime.Version(), Processors: runtime.GOMAXPROCS(0),
	}
	began := time.Now()
	if err := measure(ctx, o, &r); err != nil {
		return err
	}
	r.write(w)
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
