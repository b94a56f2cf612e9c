package audience

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/carillonpush/carillon/internal/push"
)

// What is more than this is not indexable: its devices are known to the record only, and a question that asks for it is
// refused.
const (
	MaxNames  = 256    // names of attributes of an app
	MaxValues = 10_000 // different values of an attribute
)

// A dictionary gives the attributes of an app their numbers, and their values codes.
//
// Who changes a chunk holds mu while it does, for reading: so a code does not get another meaning between the moment it was
// looked up and the moment it is in the sets. Whoever gives or takes codes holds it for writing. Who reads sets does not
// hold it. It looks at the tables, which do not change: a new value, or a code that gets a new meaning, comes with a new
// table, and before any device has the code.
type dictionary struct {
	mu     sync.RWMutex // guards what is in attributes, besides their tables
	byName atomic.Pointer[map[string]*attribute]
	list   []*attribute // by number
	custom int          // of list, those that are not well known
	full   atomic.Bool  // whether a name was refused
}

// An attribute is the values of one attribute.
type attribute struct {
	number int
	name   string
	codes  map[string]uint16
	free   []uint16 // codes that mean nothing any more
	look   int      // at how many codes in use it is looked which of them nobody has any more
	table  atomic.Pointer[table]
}

// A table is the values of an attribute at one moment. Tables share pages. A new value goes into a place that no older table
// has; a code that gets another meaning comes with a new page.
type table struct {
	pages []*page
	size  int  // how many codes there are, with 0, which is no value
	over  bool // too many values: it is not indexed any more
}

// A page is values by the lower bits of their codes; "" for those that mean nothing.
type page [pageSize]string

const pageSize = 256

func (t *table) value(code int) string { return t.pages[code/pageSize][code%pageSize] }

// with returns t with one value more.
func (t *table) with(value string) *table {
	next := &table{pages: t.pages, size: t.size + 1}
	if t.size%pageSize == 0 {
		next.pages = append(next.pages, new(page)) // who has t does not look there
	}
	next.pages[t.size/pageSize][t.size%pageSize] = value
	return next
}

// set returns t with another meaning of a code.
func (t *table) set(code int, value string) *table {
	next := &table{pages: slices.Clone(t.pages), size: t.size}
	changed := *t.pages[code/pageSize]
	changed[code%pageSize] = value
	next.pages[code/pageSize] = &changed
	return next
}

// wellKnown are the attributes that have a place in every app, whatever names its devices make up.
var wellKnown = map[string]bool{
	"app_version": true, "channel": true, "country": true, "province": true, "city": true, "language": true, "brand": true,
	"model": true, "os_version": true, "carrier": true, "time_zone": true,
}

// refuses reports whether an attribute that d does not have gets no number.
func (d *dictionary) refuses(name string) bool { return d.full.Load() && !wellKnown[name] }

// of returns the attribute of a name, nil if there is none.
func (d *dictionary) of(name string) *attribute {
	if names := d.byName.Load(); names != nil {
		return (*names)[name]
	}
	return nil
}

// A row of codes is what the attributes of one device are, by number. 0 is none.
type codes [MaxNames]uint16

// find fills in the codes of attributes, and reports whether it knows all of them.
// d.mu is held.
func (d *dictionary) find(attributes []push.Attribute, c *codes) (all bool) {
	all = true
	for i := range attributes {
		if attributes[i].Value == "" {
			continue
		}
		a := d.of(attributes[i].Name)
		switch {
		case a == nil:
			all = all && d.refuses(attributes[i].Name)
		case a.table.Load().over:
		default:
			code, ok := a.codes[attributes[i].Value]
			c[a.number] = code
			all = all && ok
		}
	}
	return all
}

// learn gives codes to what find does not know. drop takes an attribute out of all chunks, and used counts the devices of
// its codes. d.mu is held for writing.
func (d *dictionary) learn(attributes []push.Attribute, used func(number int, counts []int), drop func(number int)) {
	for _, at := range attributes {
		if at.Value == "" {
			continue
		}
		a := d.of(at.Name)
		if a == nil {
			if a = d.name(at.Name); a == nil {
				continue
			}
		}
		if _, known := a.codes[at.Value]; known || a.table.Load().over {
			continue
		}
		if !a.learn(at.Value, used) {
			a.codes, a.free = nil, nil
			a.table.Store(&table{over: true})
			drop(a.number)
		}
	}
}

// name gives an attribute a number, if there is one left.
func (d *dictionary) name(name string) *attribute {
	if d.custom == MaxNames-len(wellKnown) && !wellKnown[name] {
		d.full.Store(true)
		return nil
	}
	a := newAttribute(len(d.list), name)
	d.add(a)
	return a
}

func newAttribute(number int, name string) *attribute {
	a := &attribute{number: number, name: strings.Clone(name), codes: map[string]uint16{}, look: MaxValues}
	a.table.Store((&table{}).with(""))
	return a
}

// add puts a into d, and does not change the map that others read.
func (d *dictionary) add(a *attribute) {
	d.list = append(d.list, a)
	if !wellKnown[a.name] {
		d.custom++
	}
	names := make(map[string]*attribute, len(d.list))
	for _, a := range d.list {
		names[a.name] = a
	}
	d.byName.Store(&names)
}

// learn gives value a code. It reports whether it could: else more than MaxValues of them are in use.
func (a *attribute) learn(value string, used func(int, []int)) bool {
	if len(a.codes) >= a.look && !a.sweep(used) {
		return false
	}
	value = strings.Clone(value) // whoever applies a row owns its strings' memory
	t := a.table.Load()
	if n := len(a.free); n > 0 {
		code := a.free[n-1]
		a.free = a.free[:n-1]
		a.codes[value] = code
		a.table.Store(t.set(int(code), value))
	} else {
		a.codes[value] = uint16(t.size)
		a.table.Store(t.with(value))
	}
	return true
}

// sweep takes the codes back that nobody has any more, and reports whether there is room for one more value. While nearly
// all are in use it does not look again for a while, since it looks at all chunks: then there may be a few more values than
// MaxValues for some time.
func (a *attribute) sweep(used func(int, []int)) bool {
	t := a.table.Load()
	counts := make([]int, t.size)
	used(a.number, counts)
	// Those that nobody has keep their places in the table, where no set has them, until another value comes.
	for code := 1; code < len(counts); code++ {
		value := t.value(code)
		if known, ok := a.codes[value]; ok && int(known) == code && counts[code] == 0 {
			delete(a.codes, value)
			a.free = append(a.free, uint16(code))
		}
	}
	a.look = max(MaxValues, len(a.codes)+MaxValues/4)
	return len(a.codes) < MaxValues
}
