package live

import (
	"cmp"
	"math/bits"
	"runtime"
	"slices"
	"sync"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Owed returns what a device is owed now, in order of ids, at most limit, without what skip names. skip, which may be nil, is
// asked of what the device is owed only, in order, before Owed returns, and maybe by another goroutine: one that asks for
// another device of the chunk at the same time.
func (s *Sets) Owed(id push.AppID, o push.Ordinal, limit int, skip func(push.ID) bool) []push.ID {
	a := s.app(id)
	if a == nil || limit <= 0 {
		return nil
	}
	c := a.chunk(ordset.Key(o))
	if c == nil {
		return nil
	}
	if owed := c.owed.Load(); owed == nil || !owed.Has(uint16(o)) {
		return nil
	}
	q := question{o: uint16(o), limit: limit, skip: skip}
	c.ask(&q)
	return q.ids
}

// A question is one call of Owed.
type question struct {
	o     uint16
	limit int
	skip  func(push.ID) bool
	ids   []push.ID // the answer so far

	turn chan bool // of who waits: true when it is answered, false when it is to answer those who wait
}

// answer takes what the device is owed, and reports whether it is all it asked for.
func (q *question) answer(id push.ID) bool {
	if len(q.ids) < q.limit && (q.skip == nil || !q.skip(id)) {
		q.ids = append(q.ids, id)
	}
	return len(q.ids) == q.limit
}

// A line is who asks a chunk. One at a time answers: who comes meanwhile waits, and the first of them then answers all.
type line struct {
	mu      sync.Mutex // guards what follows
	busy    bool
	waiting []*question
}

// together is how many are answered in one walk at most: enough to make it cheap for each, and few enough to let others go on.
const together = 1024

// ask answers q, or has it answered.
func (c *chunk) ask(q *question) {
	l := &c.asking
	l.mu.Lock()
	leads := !l.busy
	if !leads {
		q.turn = make(chan bool, 1)
	}
	l.busy = true
	l.waiting = append(l.waiting, q)
	l.mu.Unlock()
	if !leads {
		if answered := <-q.turn; answered {
			return
		}
	}
	l.gather()
	l.mu.Lock()
	n := min(len(l.waiting), together)
	batch := l.waiting[:n:n] // q is the first of it
	l.waiting = l.waiting[n:]
	l.mu.Unlock()
	c.lead(batch)
}

// gather lets who is ready to ask do so before the walk begins, as long as somebody does. When nobody is, it takes well under
// a microsecond.
func (l *line) gather() {
	const rounds = 64
	for before, now, i := 0, 1, 0; now > before && i < rounds; i++ {
		runtime.Gosched()
		before = now
		l.mu.Lock()
		now = len(l.waiting)
		l.mu.Unlock()
	}
}

// lead answers a batch, the first of which is the caller's own, and has the next who waits lead.
func (c *chunk) lead(batch []*question) {
	defer func() { // also when skip panics: nobody is to wait for ever
		for _, q := range batch[1:] {
			q.turn <- true
		}
		l := &c.asking
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.busy = len(l.waiting) > 0; l.busy {
			l.waiting[0].turn <- false
		} else {
			l.waiting = nil
		}
	}()
	w := walks.Get().(*walk)
	defer w.end()
	w.begin(batch)
	w.along(c)
}

// A walk goes along the pushes of a chunk for several questions.
type walk struct {
	open    []*question // by ordinal; those that are not answered in full
	asked   ordset.Asked
	list    []uint16 // what is asked for, in order
	first   []int32  // where in open the questions for each begin
	hits    []uint64 // bits by place in list
	settled []uint64
	found   []found
	touch   int // of no meaning: without it nothing would be touched
}

// A found is that one of those asked is owed a push.
type found struct {
	at int32
	id push.ID
}

var walks = sync.Pool{New: func() any { return new(walk) }}

// begin has w go for questions.
func (w *walk) begin(questions []*question) {
	w.open = append(w.open[:0], questions...)
	slices.SortFunc(w.open, func(a, b *question) int { return cmp.Compare(a.o, b.o) })
	w.arrange()
}

// end gives w back.
func (w *walk) end() {
	clear(w.open[:cap(w.open)]) // the answers are not to be kept
	walks.Put(w)
}

// arrange makes what is asked for follow from what is open.
func (w *walk) arrange() {
	w.list, w.first = w.list[:0], w.first[:0]
	for i, q := range w.open {
		if i == 0 || q.o != w.open[i-1].o {
			w.list = append(w.list, q.o)
			w.first = append(w.first, int32(i))
		}
	}
	w.ready()
}

// ready has w look for what is in w.list.
func (w *walk) ready() {
	w.asked.Ask(w.list)
	n := (len(w.list) + 63) / 64
	w.hits, w.settled = slices.Grow(w.hits[:0], n)[:n], slices.Grow(w.settled[:0], n)[:n]
}

// How many parts are looked at under one lock. Receipts wait meanwhile, so there is a bound for how many questions are put
// to them too, and for what may be found.
const (
	partsAtFirst = 64
	partsAtMost  = 1024
	partsAtLeast = 16
	testsAtMost  = 1 << 16
	foundAtMost  = 1 << 12
)

// along answers the open questions from c. skip is asked under no lock.
func (w *walk) along(c *chunk) {
	n := partsAtFirst
	for next, more := push.ID(0), true; more; {
		n = max(partsAtLeast, min(n, testsAtMost/len(w.list)))
		next, more = w.look(c, next, n)
		full := false
		for _, f := range w.found {
			o := w.list[f.at]
			for i := int(w.first[f.at]); i < len(w.open) && w.open[i].o == o; i++ {
				if w.open[i].answer(f.id) {
					full = true
				}
			}
		}
		if full {
			w.open = slices.DeleteFunc(w.open, func(q *question) bool { return len(q.ids) == q.limit })
			if len(w.open) == 0 {
				return
			}
			w.arrange()
		}
		if len(w.found) > foundAtMost {
			n /= 2
		} else {
			n = min(2*n, partsAtMost)
		}
	}
}

// look finds what is owed among n parts of c, from a push on. It returns where to go on, and whether there is more.
func (w *walk) look(c *chunk, from push.ID, n int) (next push.ID, more bool) {
	w.found = w.found[:0]
	c.mu.RLock()
	defer c.mu.RUnlock()
	i, _ := c.search(from)
	end := min(i+n, len(c.parts))
	for parts := range slices.Chunk(c.parts[i:end], touched) {
		for k := range parts {
			w.touch += parts[k].touch()
		}
		for k := range parts {
			w.ask(&parts[k], uint64(c.base()))
		}
	}
	if end == len(c.parts) {
		return 0, false
	}
	return c.parts[end].id, true
}

// touched is how many parts are brought into the cache at once, since waiting for one after the other takes most of a walk.
const touched = 32

// touch reads what ask will read first.
func (p *part) touch() int {
	n := p.target.Bytes() + int(p.live.below.Load())
	if p.settled != nil {
		n += len(p.settled.list)
	}
	return n
}

// ask finds who is owed a part of the chunk that begins at base.
func (w *walk) ask(p *part, base uint64) {
	if !w.pending(p) {
		return
	}
	below := p.live.below.Load()
	if below <= base { // held, or not released so far
		return
	}
	for i, word := range w.hits {
		for ; word != 0; word &= word - 1 {
			at := i<<6 + bits.TrailingZeros64(word)
			if base+uint64(w.list[at]) < below {
				w.found = append(w.found, found{int32(at), p.id})
			}
		}
	}
}

// pending makes w.hits those asked who are pending of p, and reports whether somebody may be.
func (w *walk) pending(p *part) bool {
	if p.settled == everyone {
		return false
	}
	clear(w.hits)
	w.asked.Among(p.target, w.hits)
	var any uint64
	for _, word := range w.hits {
		any |= word
	}
	s := p.settled
	if any == 0 || s == nil {
		return any != 0
	}
	clear(w.settled)
	flip := uint64(0)
	switch {
	case s.words != nil:
		w.asked.AmongWords(s.words, w.settled)
	default:
		w.asked.AmongList(s.list, w.settled)
		if s.left {
			flip = ^uint64(0)
		}
	}
	for i, word := range w.settled {
		w.hits[i] &^= word ^ flip
	}
	return true
}
