package audience

import "github.com/carillonpush/carillon/internal/push"

// filter keeps those of list, in place, for whom n holds, or if want is false, does not. It has no regard to n.not.
func (e *evaluator) filter(list []uint16, n *node, want bool) []uint16 {
	switch {
	case len(list) == 0:
		return list
	case n.leaf != nil:
		return e.filterLeaf(list, n.leaf, want)
	case (n.join == push.JoinAnd) == want:
		// Those for whom all parts hold, or none does: one part after the other.
		if want {
			order(n.of)
		}
		for i := range n.of {
			list = e.filter(list, &n.of[i], want != n.of[i].not)
		}
		return list
	}
	// Those for whom some part holds, or some does not: all but those for whom that is so with none.
	others := e.filter(append(e.list(), list...), n, !want)
	list = subtract(list, others)
	e.lists = append(e.lists, others[:0])
	return list
}

func (e *evaluator) filterLeaf(list []uint16, l *leaf, want bool) []uint16 {
	switch {
	case l.only != nil && l.only.bits != nil:
		return filterBits(list, l.only.bits, want)
	case l.only != nil && want:
		return intersect(list, l.only.list)
	case l.only != nil:
		return subtract(list, l.only.list)
	case l.d != nil:
		return l.d.column.filter(list, &l.match, want)
	case l.kind == leafRegistered && !l.exact:
		kept := list[:0]
		for _, o := range list {
			if h := e.chunk.head(o); (h.platform != 0 && l.first <= h.registered && h.registered <= l.last) == want {
				kept = append(kept, o)
			}
		}
		return kept
	case l.kind == leafGiven:
		p := e.leaf(l)
		if p.bits != nil {
			list = filterBits(list, p.bits, want)
		} else if want {
			list = intersect(list, p.list)
		} else {
			list = subtract(list, p.list)
		}
		e.release(p)
		return list
	case want:
		return list[:0]
	}
	return list
}

// filterBits keeps those of list that are in w, or if want is false, are not.
func filterBits(list []uint16, w *words, want bool) []uint16 {
	other, kept := uint64(flip(want)), 0
	for _, o := range list {
		list[kept] = o
		kept += int(w[o>>6]>>(o&63)&1 ^ other)
	}
	return list[:kept]
}

// gallopFrom is how many times longer one list is than the other when it is searched rather than walked through.
const gallopFrom = 16

// intersect keeps those of a that are in b.
func intersect(a, b []uint16) []uint16 {
	kept := a[:0]
	if len(b) > gallopFrom*len(a) {
		for _, o := range a {
			if b = b[search(b, o):]; len(b) > 0 && b[0] == o {
				kept = append(kept, o)
			}
		}
		return kept
	}
	j := 0
	for _, o := range a {
		for j < len(b) && b[j] < o {
			j++
		}
		if j == len(b) {
			break
		}
		if b[j] == o {
			kept = append(kept, o)
		}
	}
	return kept
}

// subtract keeps those of a that are not in b.
func subtract(a, b []uint16) []uint16 {
	kept := a[:0]
	if len(b) > gallopFrom*len(a) {
		for _, o := range a {
			if b = b[search(b, o):]; len(b) == 0 || b[0] != o {
				kept = append(kept, o)
			}
		}
		return kept
	}
	j := 0
	for _, o := range a {
		for j < len(b) && b[j] < o {
			j++
		}
		if j == len(b) || b[j] != o {
			kept = append(kept, o)
		}
	}
	return kept
}
