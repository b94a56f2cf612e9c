package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/carillonpush/carillon/internal/live"
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// limit is how many pushes a device asks for at once, as a connection does.
const limit = 32

// heap returns the bytes that are in use, without what is not needed any more.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// measure fills in r.
func measure(ctx context.Context, o options, r *result) error {
	c := choose(rand.New(rand.NewPCG(o.seed, 2)), o.devices, o.together)
	before := heap()
	s := live.New(&live.Options{Budget: o.budget})
	begins := make([][]time.Duration, len(kinds))
	err := c.stream(o, func(p live.Push) error {
		start := time.Now()
		err := s.Begin(p)
		kind := int(p.ID-1) % len(kinds)
		begins[kind] = append(begins[kind], time.Since(start))
		return errors.Join(err, ctx.Err())
	})
	if err != nil {
		return err
	}
	for i, all := range begins {
		r.Begin = append(r.Begin, begun{kinds[i], latencyOf(all)})
	}
	nothing := ordset.Of(c.nothing...)
	for i := range o.pushes {
		pending := s.PendingSet(app, push.ID(i+1))
		pending.Intersect(nothing)
		s.SettleAll(app, push.ID(i+1), pending)
	}
	began := time.Now()
	s.Tidy()
	r.Tidy = ms(time.Since(began))
	r.Memory.Used, r.Memory.Heap = s.Used(), heap()-before

	before = heap()
	var each []*single
	err = c.stream(o, func(p live.Push) error {
		p.Target.Compact()
		done := nothing.Clone()
		done.Intersect(p.Target)
		p.Settled.Union(done)
		each = append(each, &single{id: p.ID, target: p.Target, settled: p.Settled})
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	r.Memory.Each = heap() - before
	ask := func(o push.Ordinal) []push.ID { return s.Owed(app, o, limit, nil) }
	askEach := func(o push.Ordinal) []push.ID { return oneByOne(each, o, limit) }
	for _, crowd := range []struct {
		name    string
		devices []push.Ordinal
	}{{"owed the newest of all", c.newest}, {"owed a quarter and more", c.much}, {"owed nothing", c.nothing}} {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, o := range crowd.devices {
			if got, want := ask(o), askEach(o); !slices.Equal(got, want) {
				return fmt.Errorf("%d is owed %v, asked one by one %v", o, got, want)
			}
		}
		a := asked{Name: crowd.name, Owed: len(askEach(crowd.devices[0]))}
		a.Together, a.Wait, a.Processor = together(rounds, crowd.devices, ask)
		a.Alone = alone(crowd.devices, ask)
		a.EachTogether, _, a.EachProcessor = together(eachRounds, crowd.devices, askEach)
		a.EachAlone = alone(crowd.devices[:(len(crowd.devices)+eachOf-1)/eachOf], askEach)
		r.Asked = append(r.Asked, a)
	}
	receipts(o, s, r)
	return refused(ctx, o, s, r)
}

// How often a crowd connects. Asking one by one takes seconds: of those who ask alone a part is enough, too.
const (
	rounds     = 30
	eachRounds = 3
	eachOf     = 10
)

// processor returns how much time of processors this process has used.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // Linux knows it
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// together has a crowd ask at once, again and again. It returns how long it takes, by device, how long each waits, and how much
// of a processor's time a device takes, in µs.
func together(rounds int, crowd []push.Ordinal, ask func(push.Ordinal) []push.ID) (device, wait latency, used float64) {
	before := processor()
	var all, waits []time.Duration
	for range rounds {
		waited := make([]time.Duration, len(crowd))
		var group sync.WaitGroup
		start := time.Now()
		for i, o := range crowd {
			group.Go(func() {
				ask(o)
				waited[i] = time.Since(start)
			})
		}
		group.Wait()
		all = append(all, time.Since(start)/time.Duration(len(crowd)))
		waits = append(waits, waited...)
	}
	used = float64((processor() - before).Nanoseconds()) / 1000 / float64(rounds*len(crowd))
	return latencyOf(all), latencyOf(waits), used
}

// alone has the devices of a crowd ask one after the other. What takes less than the clock can tell is asked for as one.
func alone(crowd []push.Ordinal, ask func(push.Ordinal) []push.ID) latency {
	const step = 10
	var all []time.Duration
	for part := range slices.Chunk(crowd, step) {
		start := time.Now()
		for _, o := range part {
			ask(o)
		}
		all = append(all, time.Since(start)/time.Duration(len(part)))
	}
	return latencyOf(all)
}

// receipts measures how many devices a second are settled, of any push, and what a broadcast asks about each device.
func receipts(o options, s *live.Sets, r *result) {
	const count = 1_000_000
	settle := func(workers int) float64 {
		var group sync.WaitGroup
		start := time.Now()
		for i := range workers {
			d := rand.New(rand.NewPCG(o.seed, uint64(10*workers+i)))
			group.Go(func() {
				for range count / workers {
					s.Settle(app, push.ID(1+d.IntN(o.pushes)), push.Ordinal(d.IntN(o.devices)))
				}
			})
		}
		group.Wait()
		return count / time.Since(start).Seconds()
	}
	r.SettlesPerSecond, r.SettlesPerSecondOf2 = settle(1), settle(2)
	const calls = 100_000
	d, owes, n := rand.New(rand.NewPCG(o.seed, 3)), s.Walker(app, push.ID(o.pushes)), 0
	start := time.Now()
	for range calls {
		if owes(push.Ordinal(d.IntN(o.devices))) {
			n++
		}
	}
	r.Walk100000 = ms(time.Since(start))
	r.WalkOwed = n
}

// refused begins pushes to every second device until one does not fit.
func refused(ctx context.Context, o options, s *live.Sets, r *result) error {
	d := rand.New(rand.NewPCG(o.seed, 4))
	for id := push.ID(o.pushes + 1); ; id++ {
		err := errors.Join(ctx.Err(), s.Begin(live.Push{App: app, ID: id, Target: target(d, 1, o.devices), Released: push.Everybody}))
		switch {
		case err == nil:
			r.Refused.More++
		case errors.Is(err, push.TooMany):
			e, _ := errors.AsType[*push.Error](err)
			r.Refused.Msg, r.Refused.Bytes = e.Msg, s.Used()
			return nil
		default:
			return err
		}
	}
}
