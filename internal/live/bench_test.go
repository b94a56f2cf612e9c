package live_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/carillonpush/carillon/internal/live"
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

const (
	manyDevices = 1_000_000
	manyPushes  = 10_000
	together    = 1_000
)

// drawn returns a target: in turn everybody, every second device at random, every hundredth, or a thousand.
func drawn(r *rand.Rand, i int) *ordset.Set {
	var b ordset.Builder
	few := [...]int{2: manyDevices / 100, 3: 1000}
	for key := uint16(0); int(key)<<16 < manyDevices; key++ {
		var w ordset.Words
		n := min(manyDevices-int(key)<<16, 1<<16)
		switch i % 4 {
		case 0:
			for o := 0; o < n; o += 64 { // a million is a multiple of 64
				w[o>>6] = ^uint64(0)
			}
		case 1:
			for o := 0; o < n; o += 64 {
				w[o>>6] = r.Uint64()
			}
		default:
			for range few[i%4] * n / manyDevices {
				w.Add(uint16(r.IntN(n)))
			}
		}
		b.Words(key, &w, w.Len())
	}
	return b.Set()
}

// many are ten thousand live pushes to a million devices. A thousand devices are owed the newest only, which is a broadcast.
var many = sync.OnceValue(func() (m struct {
	sets  *live.Sets
	asked []push.Ordinal
},
) {
	r := rand.New(rand.NewPCG(1, 2))
	m.sets = live.New(&live.Options{Budget: 1 << 30})
	chosen := new(ordset.Set)
	for len(m.asked) < together {
		if o := push.Ordinal(r.IntN(manyDevices)); chosen.Add(o) {
			m.asked = append(m.asked, o)
		}
	}
	for i := range manyPushes + 1 {
		p := live.Push{App: 1, ID: push.ID(i + 1), Target: drawn(r, i), Released: push.Everybody}
		if i < manyPushes {
			p.Settled = chosen.Clone()
			p.Settled.Intersect(p.Target)
		}
		if err := m.sets.Begin(p); err != nil {
			panic(err)
		}
	}
	return m
})

func BenchmarkOwes(b *testing.B) {
	s, r := many().sets, rand.New(rand.NewPCG(3, 4))
	b.Run("any push", func(b *testing.B) {
		for b.Loop() {
			s.Owes(1, push.ID(r.IntN(manyPushes)+1), push.Ordinal(r.IntN(manyDevices)))
		}
	})
	b.Run("one push, by a walker", func(b *testing.B) {
		owes := s.Walker(1, manyPushes/2+2)
		for b.Loop() {
			owes(push.Ordinal(r.IntN(manyDevices)))
		}
	})
}

func BenchmarkSettle(b *testing.B) {
	s, r := many().sets, rand.New(rand.NewPCG(5, 6))
	for b.Loop() {
		s.Settle(1, push.ID(r.IntN(manyPushes)+1), push.Ordinal(r.IntN(manyDevices)))
	}
}

func BenchmarkTidy(b *testing.B) {
	s, o := many().sets, push.Ordinal(0)
	for b.Loop() {
		b.StopTimer()
		for key := range push.Ordinal(16) { // a push that ends in every chunk
			o++
			must(b, s.Begin(live.Push{App: 1, ID: manyPushes + 2, Target: ordset.Of(key<<16 + o%1000)}))
			s.End(1, manyPushes+2)
		}
		b.StartTimer()
		s.Tidy()
	}
}

func BenchmarkOwed(b *testing.B) {
	m := many()
	b.Run("nothing", func(b *testing.B) {
		for b.Loop() {
			if ids := m.sets.Owed(1, manyDevices+1, 32, nil); len(ids) != 0 {
				b.Fatal(ids)
			}
		}
	})
	b.Run("alone", func(b *testing.B) {
		i := 0
		for b.Loop() {
			i++
			if ids := m.sets.Owed(1, m.asked[i%together], 32, nil); len(ids) != 1 {
				b.Fatalf("owed %v, want the newest", ids)
			}
		}
	})
	b.Run("together", func(b *testing.B) {
		for b.Loop() {
			var wg sync.WaitGroup
			for _, o := range m.asked {
				wg.Go(func() {
					if ids := m.sets.Owed(1, o, 32, nil); len(ids) != 1 {
						b.Errorf("owed %v, want the newest", ids)
					}
				})
			}
			wg.Wait()
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/together, "µs/device")
	})
}
