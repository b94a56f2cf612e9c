package audience

import "github.com/carillonpush/carillon/internal/push"

// An atHand is what a leaf is in the chunk at hand.
type atHand struct {
	set0    *set       // the answer, if one set is
	d       *dimension // leafCodes
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
		l.set0, l.exact = l.set(e.chunk), true
	case leafRegistered:
		c := e.chunk
		switch {
		case c.all.n == 0 || l.first > l.last || l.last < c.first || l.first > c.last:
			l.exact = true
		case l.first <= c.first && l.last >= c.last:
			l.set0, l.exact = &c.all, true
		default:
			return c.all.n, costScan
		}
	case leafGiven:
		n := l.view.Len(e.key)
		return n, costWords + min(n, listMax)
	case leafCodes:
		l.exact = true
		if l.d = l.dimension(e.chunk); l.d == nil {
			return 0, 0
		}
		if len(l.yes) == 1 {
			l.set0 = l.d.of(l.yes[0])
			break
		}
		return l.measureCodes()
	}
	if l.set0 == nil {
		return 0, 0
	}
	return l.set0.n, l.set0.cost()
}

// cost returns what it costs to put s into bits, or to take it out of them.
func (s *set) cost() int {
	if s.bits != nil {
		return costWords
	}
	return len(s.list)
}

func (l *leaf) measureCodes() (bound, cost int) {
	d := l.d
	if n := len(l.yes); n > 0 && 4*n < len(d.sets) {
		l.costNo = costAll // the others are many
		for _, code := range l.yes {
			if s := d.of(code); s != nil {
				bound += s.n
				l.costYes += s.cost()
			}
		}
		return bound, l.costYes + costWords
	}
	for i := range d.sets {
		s := &d.sets[i]
		if l.match.has(d.codes[i]) {
			bound += s.n
			l.costYes += s.cost()
		} else {
			l.costNo += s.cost()
		}
	}
	return bound, min(l.costYes, l.costNo+costWords) + costWords
}

// leaf returns the devices for which a leaf holds.
func (e *evaluator) leaf(l *leaf) part {
	switch {
	case l.set0 != nil:
		return partOf(l.set0)
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

// union puts the sets whose codes match into w.
func (l *leaf) union(w *words) {
	d := l.d
	if n := len(l.yes); n > 0 && n < len(d.sets) {
		for _, code := range l.yes {
			if s := d.of(code); s != nil {
				s.mergeInto(w)
			}
		}
		return
	}
	for i := range d.sets {
		if l.match.has(d.codes[i]) {
			d.sets[i].mergeInto(w)
		}
	}
}

// subtract takes the sets out of w whose codes match, or if match is false, do not.
func (l *leaf) subtract(w *words, match bool) {
	d := l.d
	for i := range d.sets {
		if l.match.has(d.codes[i]) == match {
			d.sets[i].takeFrom(w)
		}
	}
}

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
