package audience

import "github.com/carillonpush/carillon/internal/push"

// An atHand is what a leaf is in the chunk at hand.
type atHand struct {
	only    *set       // the answer, if one set is
	d       *dimension // leafCodes and leafSince
	cal     *calendar  // leafSince
	exact   bool       // whether the node's bound is how many devices there are
	costYes int        // to put the sets together whose codes match
	costNo  int        // to take the others out of those who have a value
}

// measure fills in, for a node and those below it, how many devices it has at most, and what it costs to find them.
func (e *evaluator) measure(n *node) {
	if n.leaf != nil {
		n.bound, n.cost = e.measureLeaf(n.leaf)
		n.leaves = 1
		return
	}
	bound, least := 0, chunkSize
	n.cost, n.leaves = costWords, 0
	for i := range n.of {
		part := &n.of[i]
		e.measure(part)
		if !part.not {
			bound, least = bound+part.bound, min(least, part.bound)
		}
		n.cost += part.cost
		n.leaves += part.leaves
	}
	if n.bound = min(bound, chunkSize); n.join == push.JoinAnd {
		n.bound = least
	}
}

func (e *evaluator) measureLeaf(l *leaf) (bound, cost int) {
	l.atHand = atHand{}
	switch l.kind {
	case leafSet:
		l.only, l.exact = l.set(e.chunk), true
	case leafRegistered:
		c := e.chunk
		switch {
		case c.all.n == 0 || l.first > l.last || l.last < c.first || l.first > c.last:
			l.exact = true
		case l.first <= c.first && l.last >= c.last:
			l.only, l.exact = &c.all, true
		default:
			return c.all.n, costScan
		}
	case leafGiven:
		n := l.view.Len(e.key)
		return n, costWords + min(n, listMax)
	case leafSince:
		l.cal = l.calendar(e.chunk)
		l.d, l.exact = &l.cal.dimension, true
		return l.measureSets()
	case leafCodes:
		l.exact = true
		if l.d = l.dimension(e.chunk); l.d == nil {
			return 0, 0
		}
		if len(l.yes) == 1 {
			l.only = l.d.of(l.yes[0])
			break
		}
		return l.measureSets()
	}
	if l.only == nil {
		return 0, 0
	}
	return l.only.n, l.only.cost()
}

// cost returns what it costs to put s into bits, or to take it out of them.
func (s *set) cost() int {
	if s.bits != nil {
		return costWords
	}
	return len(s.list)
}

// several reports whether several sets have to be put together for the answer.
func (l *leaf) several() bool { return l.only == nil && (l.kind == leafCodes || l.kind == leafSince) }

// measureSets is measureLeaf for a leaf of several sets.
func (l *leaf) measureSets() (bound, cost int) {
	l.each(true, func(s *set) { bound, l.costYes = bound+s.n, l.costYes+s.cost() })
	if l.kind == leafCodes && l.fewYes() {
		l.costNo = costAll // the others are many
	} else {
		l.each(false, func(s *set) { l.costNo += s.cost() })
	}
	return bound, min(l.costYes, l.costNo+costWords) + costWords
}

// fewYes reports whether the codes that match are better looked up than found among all.
func (l *leaf) fewYes() bool { return 4*len(l.yes) < len(l.d.sets) }

// each calls f with sets of devices that are together those for whom l holds, or if want is false, those who have a value
// for which it does not. No device is in two of them.
func (l *leaf) each(want bool, f func(*set)) {
	d := l.d
	switch {
	case l.kind == leafSince:
		l.cal.since(l.since, want, f)
	case want && l.fewYes():
		for _, code := range l.yes {
			if s := d.of(code); s != nil {
				f(s)
			}
		}
	default:
		for i := range d.sets {
			if l.match.has(d.codes[i]) == want {
				f(&d.sets[i])
			}
		}
	}
}

// leaf returns the devices for which a leaf holds.
func (e *evaluator) leaf(l *leaf) part {
	switch {
	case l.only != nil:
		return partOf(l.only)
	case l.kind == leafGiven:
		if n := l.view.Len(e.key); n <= listMax {
			return part{list: l.view.List(e.key, e.list()), n: n, own: true}
		}
		w := e.buffer()
		return part{n: l.view.Words(e.key, w), bits: w, own: true}
	case l.kind == leafRegistered:
		w := e.zeros()
		for o, h := range e.chunk.heads {
			if h.platform != 0 && l.first <= h.registered && h.registered <= l.last {
				w[o>>6] |= 1 << (o & 63)
			}
		}
		return part{bits: w, n: countBits(w), own: true}
	case l.d == nil:
		return part{}
	}
	var w *words
	if l.costYes <= l.costNo {
		w = e.zeros()
		l.union(w)
	} else {
		w = e.zeros()
		l.d.any.mergeInto(w)
		l.subtract(w, false)
	}
	return part{bits: w, n: countBits(w), own: true}
}

// union puts those for whom l holds into w.
func (l *leaf) union(w *words) { l.each(true, func(s *set) { s.mergeInto(w) }) }

// subtract takes those for whom l holds out of w, or if match is false, those who have a value for which it does not.
func (l *leaf) subtract(w *words, match bool) { l.each(match, func(s *set) { s.takeFrom(w) }) }

// andAny takes out of w who has no value.
func andAny(w *words, any *set) {
	if any.bits != nil {
		andBits(w, any.bits)
		return
	}
	var few words
	setBits(&few, any.list)
	andBits(w, &few)
}
