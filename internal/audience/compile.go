package audience

import (
	"errors"
	"strconv"
	"time"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// A plan is an expression in the terms of the index. It belongs to one goroutine.
//
// It is in a form that needs no complement below the root: an and has at least one part that is not negated, from which the
// negated ones are taken; an or has no negated part, since (a or not b) is not (b and not a).
type plan struct {
	app   *app
	root  node
	attrs []*leaf // those that may have to be compiled again
	tags  []*leaf
	names *map[string]*attribute // what attrs were compiled with
	stamp int64                  // what tags were compiled with
	given bool                   // whether a set may have devices that are not registered
}

// A node is a leaf, or nodes that are joined.
type node struct {
	join push.Join // JoinNone, JoinAnd or JoinOr
	not  bool      // whether the answer is the other way round; only at the root and below an and
	of   []node
	leaf *leaf

	// In the chunk at hand, without regard to not:
	bound  int // no more devices than this
	cost   int // of finding them
	leaves int
}

// A leafKind says how a leaf is answered.
type leafKind uint8

const (
	leafSet        leafKind = iota // by one set of a chunk
	leafCodes                      // by those sets of a dimension whose codes match
	leafSince                      // by the sets of a calendar from one day on
	leafRegistered                 // by the time of registration
	leafGiven                      // by a set that the index does not hold
)

// A leaf is compiled once, and again when what it was compiled with has changed.
type leaf struct {
	kind leafKind
	origin

	set func(*chunk) *set // leafSet
	tag string            // of a tag: its name
	id  push.TagID        // and its id, 0 if there is no such tag

	dimension func(*chunk) *dimension // leafCodes
	match     matcher
	yes       []uint16 // codes that match, if they are to be looked up one by one
	asked              // of an attribute

	calendar func(*chunk) *calendar // leafSince
	since    uint16                 // the code of the first day; match are the same codes

	first, last uint32 // leafRegistered: both inclusive

	view *ordset.View // leafGiven

	atHand
}

// An origin is where a leaf stands.
type origin struct {
	where  push.Where // the whole expression
	number int        // how many leaves stand before it there
}

// An asked is what a leaf asks of an attribute.
type asked struct {
	attr      push.WhereAttr
	values    map[string]bool // of attr, if they are many
	attribute *attribute      // nil if the app has none of that name
	table     *table          // of attribute, with which match was made
}

// A compiler makes plans of one question. Sets that are given are asked for once.
type compiler struct {
	query  Query
	app    *app
	leaves int                  // that were met, from left to right
	views  map[int]*ordset.View // by the number of the leaf
}

func (c *compiler) compile() (*plan, error) {
	p := &plan{app: c.app, names: c.app.dictionary.byName.Load(), stamp: c.app.tags.changed.Load()}
	c.leaves = 0
	root, err := c.node(p, c.query.Where)
	if err != nil {
		return nil, err
	}
	p.root = root
	return p, nil
}

// node compiles w.
func (c *compiler) node(p *plan, w push.Where) (node, error) {
	switch w.Join {
	case push.JoinNone:
		number := c.leaves
		c.leaves++
		return c.leaf(p, w.Leaf, number)
	case push.JoinNot:
		n, err := c.node(p, w.Of[0])
		n.not = !n.not
		return n, err
	}
	of := make([]node, len(w.Of))
	for i := range w.Of {
		var err error
		if of[i], err = c.node(p, w.Of[i]); err != nil {
			return node{}, err
		}
	}
	return joined(w.Join, of), nil
}

// joined returns the node that joins others, in the form that a plan has.
func joined(join push.Join, of []node) node {
	plain, negated := 0, 0
	for i := range of {
		if of[i].not {
			negated++
		} else {
			plain++
		}
	}
	if join == push.JoinOr && negated > 0 || join == push.JoinAnd && plain == 0 {
		for i := range of {
			of[i].not = !of[i].not
		}
		other := push.JoinAnd
		if join == push.JoinAnd {
			other = push.JoinOr
		}
		n := joined(other, of)
		n.not = !n.not
		return n
	}
	if len(of) == 1 {
		return of[0]
	}
	flat := make([]node, 0, len(of))
	for _, n := range of {
		if n.join == join && !n.not {
			flat = append(flat, n.of...)
		} else {
			flat = append(flat, n)
		}
	}
	return node{join: join, of: flat}
}

// leaf compiles the leaf of that number.
func (c *compiler) leaf(p *plan, l push.Leaf, number int) (node, error) {
	switch l := l.(type) {
	case push.WhereTag:
		made := &leaf{kind: leafSet, tag: string(l)}
		made.set = func(c *chunk) *set { return c.tags[made.id] }
		made.refreshTag(c.app)
		p.tags = append(p.tags, made)
		return node{leaf: made}, nil
	case push.WhereAttr:
		made := &leaf{kind: leafCodes, origin: origin{c.query.Where, number}, asked: asked{attr: l}}
		if l.Op == push.OpIn {
			made.values = make(map[string]bool, len(l.Values))
			for _, v := range l.Values {
				made.values[v] = true
			}
		}
		made.dimension = func(c *chunk) *dimension {
			if made.attribute == nil {
				return nil
			}
			return c.dimension(made.attribute.number)
		}
		p.attrs = append(p.attrs, made)
		return node{leaf: made}, made.refresh(c.app)
	case push.WherePlatform:
		of := make([]node, len(l))
		for i, platform := range l {
			of[i] = setNode(func(c *chunk) *set { return &c.platforms[platform] })
		}
		return joined(push.JoinOr, of), nil
	case push.WhereWithin:
		i := map[push.DayEvent]int{push.EventActive: dayActive, push.EventBound: dayBound, push.EventUnbound: dayUnbound}[l.Event]
		made := &leaf{kind: leafSince, calendar: func(c *chunk) *calendar { return &c.days[i] }}
		made.since, made.match = within(c.query.Now, l.For)
		return node{leaf: made}, nil
	case push.WhereRegistered:
		made := &leaf{kind: leafRegistered, last: 1<<32 - 1}
		if !l.After.IsZero() {
			made.first = ceil(l.After)
		}
		if !l.Before.IsZero() {
			if made.last = ceil(l.Before); made.last == 0 {
				made.first = 1 // nobody registered before 1970
			} else if made.last != 1<<32-1 {
				made.last--
			}
		}
		return node{leaf: made}, nil
	case push.WhereHas:
		flag := hasFlag(l)
		return setNode(func(c *chunk) *set { return &c.flags[flag] }), nil
	case push.WhereFlag:
		return c.flag(p, l, number)
	}
	return c.given(p, l, number)
}

// ceil returns the first whole second that is not before t.
func ceil(t time.Time) uint32 {
	s := t.Unix()
	if t.Nanosecond() > 0 {
		s++
	}
	return seconds(s)
}

func setNode(set func(*chunk) *set) node { return node{leaf: &leaf{kind: leafSet, set: set}} }

func hasFlag(l push.WhereHas) int {
	for i, channel := range push.TokenChannels() {
		if string(l) == push.HasToken+channel {
			return flagToken + i
		}
	}
	return flagPhone
}

func (c *compiler) flag(p *plan, l push.WhereFlag, number int) (n node, err error) {
	switch l.Flag {
	case push.FlagTest:
		n = setNode(func(c *chunk) *set { return &c.flags[flagTest] })
	case push.FlagBlacklisted:
		n = setNode(func(c *chunk) *set { return &c.flags[flagBlacklisted] })
	default:
		n, err = c.given(p, push.WhereFlag{Flag: l.Flag, Value: true}, number)
	}
	n.not = !l.Value
	return n, err
}

// given compiles a leaf whose set somebody else has.
func (c *compiler) given(p *plan, l push.Leaf, number int) (node, error) {
	p.given = true
	v := c.views[number]
	if v == nil {
		if c.query.Given == nil { // who only checks
			return node{leaf: &leaf{kind: leafGiven, view: new(ordset.View)}}, nil
		}
		set, err := c.query.Given(l)
		if err != nil {
			return node{}, origin{c.query.Where, number}.place(err)
		}
		v = set.View()
		c.views[number] = v
	}
	return node{leaf: &leaf{kind: leafGiven, view: v}}, nil
}

// fresh compiles again what has changed since the plan was made. The lock of the chunk at hand is held: what changes from
// here on has not reached it.
func (p *plan) fresh() error {
	names := p.app.dictionary.byName.Load()
	for _, l := range p.attrs {
		if names == p.names && (l.attribute == nil || l.attribute.table.Load() == l.table) {
			continue
		}
		if err := l.refresh(p.app); err != nil {
			return err
		}
	}
	p.names = names
	if stamp := p.app.tags.changed.Load(); stamp != p.stamp {
		for _, l := range p.tags {
			l.refreshTag(p.app)
		}
		p.stamp = stamp
	}
	return nil
}

func (l *leaf) refreshTag(a *app) { l.id = a.tags.find(l.tag) }

// refresh compiles l for what the attribute's values are now.
func (l *leaf) refresh(a *app) error {
	if l.attribute == nil {
		if l.attribute = a.dictionary.of(l.attr.Name); l.attribute == nil {
			if a.dictionary.refuses(l.attr.Name) {
				return l.refuse("an app has at most " + strconv.Itoa(MaxNames) + " attributes that can be asked for, and this is none of them")
			}
			return nil
		}
	}
	now := l.attribute.table.Load()
	if now.over {
		return l.refuse("has more than " + strconv.Itoa(MaxValues) + " different values and cannot be asked for")
	}
	l.look(now)
	return nil
}

// look finds out which codes of t match, as far as that is not known from the table before.
func (l *leaf) look(t *table) {
	was := l.table
	if was == nil {
		was = new(table)
	}
	l.match.in = append(l.match.in, make([]uint8, t.size-len(l.match.in))...)
	for i, p := range t.pages {
		from, to := i*pageSize, min((i+1)*pageSize, t.size)
		if i < len(was.pages) && was.pages[i] == p {
			from = max(from, was.size)
		}
		for code := from; code < to; code++ {
			l.match.in[code] = flip(!l.holds(t.value(code)))
		}
	}
	l.yes = l.yes[:0]
	for code, in := range l.match.in {
		if in != 0 {
			l.yes = append(l.yes, uint16(code))
		}
	}
	l.table = t
}

func (l *leaf) holds(value string) bool {
	if l.values != nil {
		return l.values[value]
	}
	return l.attr.Holds(value)
}

func (l *leaf) refuse(why string) error {
	return l.place(&push.Error{Kind: push.Invalid, Field: "attr", Msg: why})
}

// place returns err with the path of its field inside the whole expression.
func (at origin) place(err error) error {
	var e *push.Error
	if n := at.number; errors.As(err, &e) && e.Field != "" {
		if path, _ := pathTo(at.where, &n); path != "" {
			return push.Within(path, err)
		}
	}
	return err
}

// pathTo returns where a leaf stands in w: "and[2].not". n is how many leaves of w are before it; it counts them down.
func pathTo(w push.Where, n *int) (path string, found bool) {
	if w.Leaf != nil {
		*n--
		return "", *n < 0
	}
	for i := range w.Of {
		path, found := pathTo(w.Of[i], n)
		if !found {
			continue
		}
		step := stepOf(w.Join, i)
		if path != "" {
			step += "." + path
		}
		return step, true
	}
	return "", false
}
