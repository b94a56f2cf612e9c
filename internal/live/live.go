// Package live holds the sets of live bulk pushes: whom each is for, who of them is settled, how far it is released and
// whether it is held. It says what a device is owed without asking every live push.
//
// The sets are held by app and by chunk of 65,536 ordinals: a chunk has the pushes that have members there, in order of
// their ids, each with its part of the target and of the settled. Beside them each chunk has a superset of all that is owed
// there, so that most devices are told from it alone that nothing is. Devices that ask at the same time are asked together:
// one walk along the pushes of a chunk serves all who wait for it.
//
// The parts of targets never change and are held once by content, whatever push, chunk or app they are of: ten thousand
// broadcasts to everybody share a few bytes. What is settled is kept by chunk from the first receipt on, as members, as bits,
// or as what is left, whichever is smallest. All that is counted against a budget of heap.
package live

import (
	"fmt"
	"hash/maphash"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// DefaultBudget is how many bytes of heap Sets may use unless told otherwise.
const DefaultBudget = 512 << 20

// Options are what may be chosen. nil and zero mean the defaults.
type Options struct {
	Budget int64 // bytes of heap for targets and what changes; 0 means DefaultBudget
}

// A Push is a bulk push that begins to be live. The sets are the Sets' from then on; nil ones are empty.
type Push struct {
	App      push.AppID
	ID       push.ID
	Target   *ordset.Set  // whom it is for
	Settled  *ordset.Set  // who is owed nothing of it any more: delivered, or dropped for a reason
	Released push.Ordinal // it is owed to ordinals below; push.Everybody means all, also that ordinal itself
	Held     bool         // whether it is owed to nobody until it is not held any more
}

// Sets are the live pushes of all apps. They are safe for concurrent use: receipts, devices that ask and broadcasts meet
// only where they touch the same chunk.
type Sets struct {
	budget  int64
	used    atomic.Int64
	apps    sync.Map // push.AppID to *app; an app stays, since what is left of it without pushes is little
	targets *targets
	tidying sync.Mutex // one Tidy at a time
}

// New returns Sets without pushes. opts may be nil.
func New(opts *Options) *Sets {
	s := &Sets{budget: DefaultBudget, targets: &targets{seed: maphash.MakeSeed()}}
	if opts != nil && opts.Budget > 0 {
		s.budget = opts.Budget
	}
	return s
}

// Used returns how many bytes of heap are counted against the budget. Receipts and devices that are added on the way are
// never refused, so it may get above it.
func (s *Sets) Used() int64 { return s.used.Load() }

// Room reports whether a new push may be accepted: whether less than the budget is used.
func (s *Sets) Room() bool { return s.used.Load() < s.budget }

// reserve counts n bytes, if they fit the budget.
func (s *Sets) reserve(n int) bool {
	for {
		used := s.used.Load()
		if used+int64(n) > s.budget {
			return false
		}
		if s.used.CompareAndSwap(used, used+int64(n)) {
			return true
		}
	}
}

// count counts n bytes more, or fewer if n is negative.
func (s *Sets) count(n int) {
	if n != 0 {
		s.used.Add(int64(n))
	}
}

// full returns the refusal of what does not fit the budget.
func (s *Sets) full(op string, used int64) error {
	return &push.Error{
		Op: op, Kind: push.TooMany,
		Msg: fmt.Sprintf("the sets of live pushes use %s of %s, and this one does not fit", size(used), size(s.budget)),
	}
}

// size returns a number of bytes for people.
func size(n int64) string {
	if n < 10<<20 {
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// What things take beside the slices and containers that say it themselves.
const (
	chunkBytes = 144 // a chunk
	partBytes  = 32  // a part
	liveBytes  = 208 // a live, its place among its app's pushes and the slack of that
)

// An app is the live pushes of one app.
type app struct {
	pushes sync.Map                                // push.ID to *live
	chunks atomic.Pointer[[]atomic.Pointer[chunk]] // by key, nil where nothing was ever owed; written under mu

	mu sync.Mutex // has one push at a time come, grow or go
}

// A live is what a push is as a whole. What it is in a chunk is a part.
type live struct {
	below   atomic.Uint64 // it is owed to ordinals below; 0 while held
	pending atomic.Int64  // members of the target that are not settled
	ended   atomic.Bool   // no part of it may come any more

	mu       sync.Mutex // guards released and held, and the writing of below
	released uint64     // up to 1<<32
	held     bool
}

// newLive returns what is owed to ordinals below released.
func newLive(released push.Ordinal, held bool) *live {
	l := new(live)
	l.change(func() { l.released, l.held = upTo(released), held })
	return l
}

// upTo returns the number that is above all ordinals that are released.
func upTo(o push.Ordinal) uint64 {
	if o == push.Everybody {
		return 1 << 32
	}
	return uint64(o)
}

// change changes released and held by f.
func (l *live) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	below := l.released
	if l.held {
		below = 0
	}
	l.below.Store(below)
}

// app returns an app, nil if it never had a live push.
func (s *Sets) app(id push.AppID) *app {
	if a, ok := s.apps.Load(id); ok {
		return a.(*app)
	}
	return nil
}

// find returns an app and its push id; nil if it is not there.
func (s *Sets) find(id push.AppID, p push.ID) (*app, *live) {
	a := s.app(id)
	if a == nil {
		return nil, nil
	}
	if l, ok := a.pushes.Load(p); ok {
		return a, l.(*live)
	}
	return a, nil
}

// chunk returns a chunk, nil if nothing was ever owed there.
func (a *app) chunk(key uint16) *chunk {
	if all := a.all(); int(key) < len(all) {
		return all[key].Load()
	}
	return nil
}

// all returns the chunks by key. Some are nil.
func (a *app) all() []atomic.Pointer[chunk] {
	if all := a.chunks.Load(); all != nil {
		return *all
	}
	return nil
}

// ensure returns a chunk, which it makes if there is none. The caller holds a.mu.
func (s *Sets) ensure(a *app, key uint16) *chunk {
	all := a.all()
	if n := len(all); int(key) >= n {
		more := make([]atomic.Pointer[chunk], min(max(int(key)+1, 2*n), 1<<16))
		for i := range all {
			more[i].Store(all[i].Load())
		}
		a.chunks.Store(&more)
		s.count(8 * (len(more) - n))
		all = more
	}
	c := all[key].Load()
	if c == nil {
		c = &chunk{key: key}
		all[key].Store(c)
		s.count(chunkBytes)
	}
	return c
}

// from yields the chunks from a key on, in order.
func (a *app) from(key uint16) iter.Seq[*chunk] {
	return func(yield func(*chunk) bool) {
		all := a.all()
		for i := min(int(key), len(all)); i < len(all); i++ {
			if c := all[i].Load(); c != nil && !yield(c) {
				return
			}
		}
	}
}
