package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/audience"
	"github.com/carillonpush/carillon/internal/push"
)

// build makes the index from a stream of devices, as a start without a snapshot does: a goroutine a processor, each with
// whole chunks. Making the devices up is part of the time, about a third of it.
func build(b *base) (*audience.Index, time.Duration) {
	x, began := newIndex(b), time.Now()
	var group sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		group.Go(func() {
			var row push.IndexRow
			for first := w << 16; first < b.devices; first += workers << 16 {
				for o := first; o < min(first+1<<16, b.devices); o++ {
					b.row(push.Ordinal(o), &row)
					x.Apply(row)
				}
			}
		})
	}
	group.Wait()
	return x, time.Since(began)
}

// memory returns the resident memory of this process, after what is not needed was given back.
func memory() int {
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err) // Linux only, as the rest of bench
	}
	_, line, _ := bytes.Cut(b, []byte("VmRSS:"))
	kib, err := strconv.Atoi(string(bytes.Fields(line)[0]))
	if err != nil {
		panic(err)
	}
	return kib << 10
}

// How often a question is asked: until it is clear, but not forever.
const (
	askAtLeast = 20
	askAtMost  = 300
	askFor     = 3 * time.Second
)

// ask asks one question again and again.
func ask(ctx context.Context, x *audience.Index, q question, now time.Time) (asked, error) {
	where, err := q.where.MarshalJSON()
	if err != nil {
		return asked{}, err
	}
	a := asked{Name: q.name, Where: where}
	query := audience.Query{App: app, Where: q.where, Now: now}
	a.Count, err = repeat(ctx, askFor, func() (err error) {
		a.Devices, err = x.Count(query)
		return err
	})
	if err != nil {
		return a, err
	}
	a.Select, err = repeat(ctx, askFor, func() error {
		set, err := x.Select(query)
		if err == nil && set.Len() != a.Devices {
			err = fmt.Errorf("%s: Select has %d devices, Count %d", q.name, set.Len(), a.Devices)
		}
		return err
	})
	return a, err
}

// repeat measures f.
func repeat(ctx context.Context, long time.Duration, f func() error) (latency, error) {
	var all []time.Duration
	for began := time.Now(); len(all) < askAtMost && (len(all) < askAtLeast || time.Since(began) < long); {
		if err := ctx.Err(); err != nil {
			return latency{}, err
		}
		start := time.Now()
		if err := f(); err != nil {
			return latency{}, err
		}
		all = append(all, time.Since(start))
		if time.Since(began) > 4*long && len(all) >= 3 { // a database may take seconds
			break
		}
	}
	return latencyOf(all), nil
}

// changesOf is how many changes are made up before they are measured.
const changesOf = 200_000

// changes returns how many rows a second the index takes of which one attribute changed, from so many goroutines. Devices
// are anywhere.
func changes(ctx context.Context, b *base, x *audience.Index, workers int) float64 {
	rows := make([]push.IndexRow, changesOf)
	d := dice(b.seed + uint64(workers))
	attributes := [][]value{b.versions, b.provinces, b.cities, b.brands, b.channels}
	for i := range rows {
		b.row(push.Ordinal(d.roll()%uint64(b.devices)), &rows[i])
		at := &rows[i].Attributes[i%len(attributes)]
		for was := at.Value; at.Value == was; {
			at.Value = pick(attributes[i%len(attributes)], d.share())
		}
	}
	began := time.Now()
	labelled(ctx, "changes", func() {
		var group sync.WaitGroup
		for w := range workers {
			group.Go(func() {
				for i := w; i < len(rows); i += workers {
					x.Apply(rows[i])
				}
			})
		}
		group.Wait()
	})
	return float64(len(rows)) / time.Since(began).Seconds()
}

// measureSnapshot writes a snapshot of x, which is not needed any more, and reads it.
func measureSnapshot(x *audience.Index, b *base, dir string, r *result) error {
	path := filepath.Join(dir, "index")
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	head := audience.Head{Seq: 1}
	began := time.Now()
	if err := errors.Join(x.WriteSnapshot(f, head), f.Sync()); err != nil {
		return err
	}
	r.SnapshotWrite = seconds(time.Since(began))
	info, err := f.Stat()
	if err != nil {
		return err
	}
	r.SnapshotBytes = info.Size()
	want := make([]int, len(questions))
	for i, q := range questions {
		if want[i], err = x.Count(audience.Query{App: app, Where: q.where, Now: b.now}); err != nil {
			return err
		}
	}
	*x = audience.Index{} // there may not be room for two
	debug.FreeOSMemory()
	if _, err := f.Seek(0, 0); err != nil {
		return err
	}
	again := newIndex(b)
	began = time.Now()
	if err := again.ReadSnapshot(f, func(h audience.Head) bool { return h == head }); err != nil {
		return err
	}
	r.SnapshotRead = seconds(time.Since(began))
	for i, q := range questions {
		got, err := again.Count(audience.Query{App: app, Where: q.where, Now: b.now})
		if err != nil || got != want[i] {
			return fmt.Errorf("%s: %d devices after the snapshot, %d before (%v)", q.name, got, want[i], err)
		}
	}
	return nil
}
