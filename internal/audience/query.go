package audience

import (
	"runtime"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// A Query is one question.
type Query struct {
	App   push.AppID
	Where push.Where // valid
	Now   time.Time

	// Given returns the set of a leaf that the index does not hold: WhereAlias, WhereAccount, WherePush, and WhereFlag of
	// FlagOnline, for which Value is true even where the question is about false. It is called once for each such leaf, and
	// the set is read only. Devices in it that are not registered do not count.
	Given func(push.Leaf) (*ordset.Set, error)
}

// Select returns the registered devices for which q.Where holds. A device that changes meanwhile is judged by what it was
// before or after; one for which the expression holds in both states is never missed. The caller owns the set. Invalid
// with the path of the leaf, "and[2].not.attr", if the attribute cannot be asked for; what Given failed with.
func (x *Index) Select(q Query) (*ordset.Set, error) {
	var all ordset.Builder
	err := x.run(q, func(workers int) []sink {
		sinks := make([]sink, workers)
		for i := range sinks {
			sinks[i] = new(selected)
		}
		return sinks
	}, func(s sink) { all.Append(&s.(*selected).builder) })
	if err != nil {
		return nil, err
	}
	return all.Set(), nil
}

// Count returns how many devices Select would, without building the set.
func (x *Index) Count(q Query) (int, error) {
	n := 0
	err := x.run(q, func(workers int) []sink {
		sinks := make([]sink, workers)
		for i := range sinks {
			sinks[i] = new(counted)
		}
		return sinks
	}, func(s sink) { n += s.(*counted).n })
	return n, err
}

// Check reports what Select would refuse, without looking at any device: Invalid with the path of the leaf.
func (x *Index) Check(id push.AppID, w push.Where) error {
	a := x.find(id)
	if a == nil {
		return nil
	}
	c := compiler{query: Query{App: id, Where: w}, app: a}
	_, err := c.compile()
	return err
}

// A sink takes the answer in one chunk after the other, under the chunk's lock.
type sink interface {
	take(key uint16, e *evaluator, root *node)
}

// parallelFrom is how many chunks make it worth while to work on two processors: about two million devices.
const parallelFrom = 32

// maxWorkers is how many goroutines work on one question: others want to ask, too, and devices to be served.
const maxWorkers = 2

// run answers q, and calls done with each sink in the order of the chunks.
func (x *Index) run(q Query, sinks func(workers int) []sink, done func(sink)) error {
	a := x.find(q.App)
	if a == nil {
		return nil
	}
	c := compiler{query: q, app: a, views: map[int]*ordset.View{}}
	chunks := a.list()
	workers := 1
	if len(chunks) >= parallelFrom {
		workers = min(maxWorkers, runtime.GOMAXPROCS(0))
	}
	all, errs := sinks(workers), make([]error, workers)
	var group sync.WaitGroup
	for i := range workers {
		p, err := c.compile()
		if err != nil {
			group.Wait()
			return err
		}
		from, to := i*len(chunks)/workers, (i+1)*len(chunks)/workers
		work := func() { errs[i] = p.walk(chunks[:to], from, all[i]) }
		if i == workers-1 {
			work()
		} else {
			group.Go(work)
		}
	}
	group.Wait()
	for i := range all {
		if errs[i] != nil {
			return errs[i]
		}
		done(all[i])
	}
	return nil
}

// walk answers a plan in chunks, from one on.
func (p *plan) walk(chunks []*chunk, from int, into sink) error {
	e := evaluator{plan: p}
	for key := from; key < len(chunks); key++ {
		c := chunks[key]
		if c == nil {
			continue
		}
		c.mu.RLock()
		err := p.fresh()
		if err == nil {
			e.begin(uint16(key), c)
			into.take(uint16(key), &e, &p.root)
		}
		c.mu.RUnlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// A selected collects the devices.
type selected struct{ builder ordset.Builder }

func (s *selected) take(key uint16, e *evaluator, root *node) {
	answer := e.answer(root)
	if answer.bits != nil {
		s.builder.Words(key, answer.bits, answer.n)
	} else {
		s.builder.List(key, answer.list)
	}
	e.release(answer)
}

// A counted counts them.
type counted struct{ n int }

func (s *counted) take(_ uint16, e *evaluator, root *node) { s.n += e.count(root) }
