package audience

import (
	"strconv"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Explain reports whether q.Where holds for the registered device that has ordinal o. If not, path is that of the first leaf
// because of which it does not, from left to right: "and[1].not.attr". All leaves are answered for one state of the device.
// Errors as those of Select.
func (x *Index) Explain(q Query, o push.Ordinal) (holds bool, path string, err error) {
	a := x.find(q.App)
	if a == nil {
		return false, "", nil
	}
	var plans []*plan // of each leaf, from left to right
	for l := range q.Where.Leaves {
		c := compiler{query: Query{App: q.App, Where: push.Is(l), Now: q.Now, Given: q.Given}, app: a, views: map[int]*ordset.View{}}
		p, err := c.compile()
		if err != nil {
			return false, "", origin{q.Where, len(plans)}.place(err)
		}
		plans = append(plans, p)
	}
	c := a.at(ordset.Key(o))
	if c == nil {
		return false, "", nil
	}
	e := explainer{holds: make([]bool, len(plans))}
	c.mu.RLock()
	for i, p := range plans {
		if e.holds[i], err = p.holds(c, o); err != nil {
			err = origin{q.Where, i}.place(err)
			break
		}
	}
	c.mu.RUnlock()
	if err != nil {
		return false, "", err
	}
	if holds, path = e.explain(q.Where, true); holds {
		path = ""
	}
	return holds, path, nil
}

// holds reports whether p's expression holds for o, which is in c. c.mu is held.
func (p *plan) holds(c *chunk, o push.Ordinal) (bool, error) {
	if err := p.fresh(); err != nil {
		return false, err
	}
	e := evaluator{plan: p}
	e.begin(ordset.Key(o), c)
	return len(e.filter([]uint16{uint16(o)}, &p.root, !p.root.not)) > 0, nil
}

// An explainer walks through an expression of which it is known what its leaves say.
type explainer struct {
	holds []bool // by the number of the leaf
	at    int    // the next leaf's
}

// explain reports whether w is what is wanted, and if not, the path of the first leaf because of which it is not. If it is,
// the path means nothing.
func (e *explainer) explain(w push.Where, want bool) (ok bool, path string) {
	if w.Leaf != nil {
		e.at++
		return e.holds[e.at-1] == want, push.LeafName(w.Leaf)
	}
	if w.Join == push.JoinNot {
		ok, path = e.explain(w.Of[0], !want)
		return ok, "not." + path
	}
	every := (w.Join == push.JoinAnd) == want // whether all parts must be what is wanted, or one
	ok = every
	for i := range w.Of { // all of them, so that the leaves are counted
		is, at := e.explain(w.Of[i], want)
		if !is && path == "" {
			path = stepOf(w.Join, i) + "." + at
		}
		if is != every {
			ok = is
		}
	}
	return ok, path
}

// stepOf returns the step of a path to part i of what is joined.
func stepOf(join push.Join, i int) string {
	switch join {
	case push.JoinAnd:
		return "and[" + strconv.Itoa(i) + "]"
	case push.JoinOr:
		return "or[" + strconv.Itoa(i) + "]"
	}
	return "not"
}
