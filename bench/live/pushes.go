package main

import (
	"math/rand/v2"
	"sync"

	"github.com/carillonpush/carillon/internal/live"
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

const app push.AppID = 1

// The kinds of pushes, which come in turn.
var kinds = [...]string{"everybody", "every second device", "one of a hundred", "a thousand devices"}

// target draws the target of push number i: chosen at random, but for those to everybody.
func target(r *rand.Rand, i, devices int) *ordset.Set {
	var b ordset.Builder
	few := [len(kinds)]int{2: devices / 100, 3: min(1000, devices)}
	for key := 0; key<<16 < devices; key++ {
		var w ordset.Words
		n := min(devices-key<<16, 1<<16)
		switch kind := i % len(kinds); kind {
		case 0, 1:
			for o := range n {
				if o&63 == 0 {
					w[o>>6] = r.Uint64()
				}
				if kind == 0 {
					w.Add(uint16(o))
				}
			}
			for o := n; o < 1<<16; o++ {
				w.Remove(uint16(o))
			}
		default:
			for range few[kind] * n / devices {
				w.Add(uint16(r.IntN(n)))
			}
		}
		b.Words(uint16(key), &w, w.Len())
	}
	return b.Set()
}

// crowds are devices that connect together.
type crowds struct {
	newest  []push.Ordinal // owed the newest push only
	much    []push.Ordinal // nothing is settled
	nothing []push.Ordinal // everything is settled, after all pushes have begun
}

// choose draws crowds of so many devices each.
func choose(r *rand.Rand, devices, together int) crowds {
	seen := new(ordset.Set)
	one := func() (all []push.Ordinal) {
		for len(all) < together {
			if o := push.Ordinal(r.IntN(devices)); seen.Add(o) {
				all = append(all, o)
			}
		}
		return all
	}
	return crowds{one(), one(), one()}
}

// A stream yields the same pushes each time: the newest is to everybody, so that everybody is owed it.
func (c *crowds) stream(o options, yield func(p live.Push) error) error {
	r := rand.New(rand.NewPCG(o.seed, 1))
	settled := ordset.Of(c.newest...)
	for i := range o.pushes {
		p := live.Push{App: app, ID: push.ID(i + 1), Released: push.Everybody}
		if i == o.pushes-1 {
			p.Target, p.Settled = target(r, 0, o.devices), new(ordset.Set)
		} else {
			p.Target, p.Settled = target(r, i, o.devices), settled.Clone()
			p.Settled.Intersect(p.Target)
		}
		if err := yield(p); err != nil {
			return err
		}
	}
	return nil
}

// A single is one live push as it would be held by itself.
type single struct {
	id push.ID

	mu              sync.RWMutex // guards settled
	target, settled *ordset.Set
}

// oneByOne asks each push what a device is owed.
func oneByOne(all []*single, o push.Ordinal, limit int) []push.ID {
	var ids []push.ID
	for _, p := range all {
		p.mu.RLock()
		owed := p.target.Has(o) && !p.settled.Has(o)
		p.mu.RUnlock()
		if owed {
			if ids = append(ids, p.id); len(ids) == limit {
				break
			}
		}
	}
	return ids
}
