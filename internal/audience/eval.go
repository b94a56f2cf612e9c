package audience

import "github.com/carillonpush/carillon/internal/push"

// An evaluator answers the nodes of a plan in one chunk at a time, whose lock is held. It works in buffers that it uses
// again: nothing is allocated for a leaf.
//
// An and begins with the part that has the fewest devices, and takes away those that the others do not have. While many are
// left it does so word by word; once they are few, it looks at each in the columns, and sets that would have to be put
// together first are not.
type evaluator struct {
	plan  *plan
	key   uint16
	chunk *chunk
	bits  []*words   // buffers that are free
	lists [][]uint16 // likewise; each has room for listMax
}

// A part is the answer of a node in one chunk: a list of at most listMax, in order, or bits.
type part struct {
	list []uint16 // if bits is nil
	bits *words
	n    int
	own  bool // the buffer is the evaluator's, and may be changed; else it is a set of the chunk
}

// few is how many devices are rather looked at one by one than word by word: what it costs to make a list of bits and then
// go through it is about what two or three sets cost as words.
const few = 1024

// What things cost, in about nanoseconds. Only the proportions matter.
const (
	costWords  = 400                   // to join the bits of two sets
	costLookUp = 2                     // to look one device up in a column
	costScan   = chunkSize             // to look at all devices
	costAll    = costScan * costLookUp // more than any one leaf
	costPass   = 4 * costWords         // to ask a part of those only who are left
)

// begin makes ready for a chunk.
func (e *evaluator) begin(key uint16, c *chunk) {
	e.key, e.chunk = key, c
	e.measure(&e.plan.root)
}

// answer returns the devices for which root holds.
func (e *evaluator) answer(root *node) part {
	switch {
	case root.not:
		return e.combine(partOf(&e.chunk.all), e.eval(root), false)
	case e.plan.given:
		return e.combine(e.eval(root), partOf(&e.chunk.all), true)
	}
	return e.eval(root)
}

// count returns how many devices those are.
func (e *evaluator) count(root *node) int {
	if e.plan.given {
		p := e.answer(root)
		e.release(p)
		return p.n
	}
	n := root.bound
	if root.leaf == nil || !root.leaf.exact {
		p := e.eval(root)
		e.release(p)
		n = p.n
	}
	if root.not {
		n = e.chunk.all.n - n
	}
	return n
}

// eval returns the devices for which n holds, without regard to n.not.
func (e *evaluator) eval(n *node) part {
	switch {
	case n.bound == 0:
		return part{}
	case n.leaf != nil:
		return e.leaf(n.leaf)
	case n.join == push.JoinOr:
		return e.or(n)
	}
	order(n.of)
	p := e.eval(&n.of[0])
	for i := 1; i < len(n.of) && p.n > 0; i++ {
		p = e.keep(e.thin(p), &n.of[i], !n.of[i].not)
	}
	return p
}

// order puts the part of an and with which to begin first, and those that are negated last. The parts are nearly in order
// already, from the chunk before.
func order(of []node) {
	for i := 1; i < len(of); i++ {
		for j := i; j > 0 && before(&of[j], &of[j-1]); j-- {
			of[j], of[j-1] = of[j-1], of[j]
		}
	}
}

func before(a, b *node) bool {
	switch {
	case a.not != b.not:
		return b.not
	case a.not: // first what is cheap, as it leaves less for the others
		return a.cost < b.cost
	}
	return a.bound < b.bound
}

func (e *evaluator) or(n *node) part {
	w := e.zeros()
	mayBeAll := n.bound >= e.chunk.all.n && !e.plan.given // else a count says nothing: some may not be registered
	for i := range n.of {
		e.merge(w, &n.of[i])
		if mayBeAll && i+1 < len(n.of) && n.of[i+1].cost > costWords && countBits(w) == e.chunk.all.n {
			break
		}
	}
	return part{bits: w, n: countBits(w), own: true}
}

// merge puts those for whom n holds into w.
func (e *evaluator) merge(w *words, n *node) {
	if n.bound == 0 {
		return
	}
	if l := n.leaf; l != nil && l.several() && l.costYes <= l.costNo {
		l.union(w)
		return
	}
	p := e.eval(n)
	if p.bits != nil {
		orBits(w, p.bits)
	} else {
		setBits(w, p.list)
	}
	e.release(p)
}

// keep returns those of p for whom n holds, or if want is false, does not. It consumes p.
func (e *evaluator) keep(p part, n *node, want bool) part {
	switch {
	case p.n == 0 || n.bound == 0 && !want:
		return p
	case n.bound == 0:
		e.release(p)
		return part{}
	case p.bits == nil && (n.leaf != nil || n.leaves*costLookUp*p.n < n.cost):
		p = e.owned(p)
		p.list = e.filter(p.list, n, want)
		p.n = len(p.list)
		return p
	case n.leaf != nil && n.leaf.several():
		return e.keepCodes(p, n.leaf, want)
	case n.leaf != nil || p.bits == nil || n.cost < n.leaves*costPass:
		return e.combine(p, e.eval(n), want)
	}
	return e.keepJoined(p, n, want)
}

// keepJoined is keep for bits and a node that joins others, one of its parts after the other: so that sets need not be put
// together of which most is not in p.
func (e *evaluator) keepJoined(p part, n *node, want bool) part {
	if (n.join == push.JoinAnd) == want {
		if want {
			order(n.of)
		}
		for i := range n.of {
			p = e.keep(e.thin(p), &n.of[i], want != n.of[i].not)
		}
		return p
	}
	// Those for whom some part holds, or some does not: each part is asked of those only who are not in yet.
	in, left := e.zeros(), e.owned(p)
	for i := range n.of {
		rest := part{bits: e.buffer(), n: left.n, own: true}
		*rest.bits = *left.bits
		rest = e.keep(e.thin(rest), &n.of[i], want != n.of[i].not)
		if rest.bits != nil {
			orBits(in, rest.bits)
			andNotBits(left.bits, rest.bits)
		} else {
			setBits(in, rest.list)
			clearBits(left.bits, rest.list)
		}
		left.n -= rest.n
		e.release(rest)
	}
	e.release(left)
	return part{bits: in, n: countBits(in), own: true}
}

// keepCodes is keep for bits and a leaf that is several sets, in the cheapest way.
func (e *evaluator) keepCodes(p part, l *leaf, want bool) part {
	scan := p.n * costLookUp
	yes, no := l.costYes+2*costWords, l.costNo+costWords
	if !want {
		yes, no = l.costYes, l.costNo+2*costWords
	}
	switch {
	case scan < yes && scan < no:
		p = e.owned(p)
		l.d.column.filterBits(p.bits, &l.match, want)
	case yes <= no && want:
		return e.combine(p, e.leaf(l), true)
	case yes <= no:
		p = e.owned(p)
		l.subtract(p.bits, true)
	case want:
		p = e.owned(p)
		andAny(p.bits, &l.d.any)
		l.subtract(p.bits, false)
	default:
		return e.combine(p, e.leaf(l), false)
	}
	p.n = countBits(p.bits)
	return p
}

// combine returns what p and q share, or if want is false, what of p is not in q. It consumes both.
func (e *evaluator) combine(p, q part, want bool) part {
	switch {
	case p.bits == nil && q.bits == nil:
		p = e.owned(p)
		if want {
			p.list = intersect(p.list, q.list)
		} else {
			p.list = subtract(p.list, q.list)
		}
		p.n = len(p.list)
	case p.bits == nil:
		p = e.owned(p)
		p.list = filterBits(p.list, q.bits, want)
		p.n = len(p.list)
	case q.bits == nil && want:
		p, q = q, p // the list is what is left over
		p = e.owned(p)
		p.list = filterBits(p.list, q.bits, true)
		p.n = len(p.list)
	default:
		p = e.owned(p)
		switch {
		case q.bits == nil:
			clearBits(p.bits, q.list)
		case want:
			andBits(p.bits, q.bits)
		default:
			andNotBits(p.bits, q.bits)
		}
		p.n = countBits(p.bits)
	}
	e.release(q)
	return p
}

// owned returns p in a buffer that may be changed.
func (e *evaluator) owned(p part) part {
	switch {
	case p.own:
	case p.bits != nil:
		w := e.buffer()
		*w = *p.bits
		p.bits, p.own = w, true
	default:
		p.list, p.own = append(e.list(), p.list...), true
	}
	return p
}

// thin makes a list of p if its devices are few.
func (e *evaluator) thin(p part) part {
	if p.bits == nil || p.n > few {
		return p
	}
	list := listBits(e.list(), p.bits)
	e.release(p)
	return part{list: list, n: p.n, own: true}
}

// zeros returns an empty buffer.
func (e *evaluator) zeros() *words {
	w := e.buffer()
	*w = words{}
	return w
}

// buffer returns a buffer with anything in it.
func (e *evaluator) buffer() *words {
	if n := len(e.bits); n > 0 {
		w := e.bits[n-1]
		e.bits = e.bits[:n-1]
		return w
	}
	return new(words)
}

// list returns an empty list with room for listMax.
func (e *evaluator) list() []uint16 {
	if n := len(e.lists); n > 0 {
		l := e.lists[n-1]
		e.lists = e.lists[:n-1]
		return l
	}
	return make([]uint16, 0, listMax)
}

// release gives a buffer back. p.n stays readable.
func (e *evaluator) release(p part) {
	switch {
	case !p.own:
	case p.bits != nil:
		e.bits = append(e.bits, p.bits)
	default:
		e.lists = append(e.lists, p.list[:0])
	}
}

// partOf returns a set of the chunk as a part.
func partOf(s *set) part { return part{list: s.list, bits: s.bits, n: s.n} }
