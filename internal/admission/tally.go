package admission

import (
	"slices"
	"sort"
	"time"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

const (
	maxPushes = 1 << 16 // pushes of an app of which it is remembered who was counted
	maxLevel  = 1000    // the greatest cap that a setting takes
	keepDays  = 1       // days before today whose counts are kept: clocks are set back, and receipts come late
)

// Levels are how often devices did something, as sets: the devices of level n did it n times or more. Level 1 is the first.
type levels struct {
	sets  []*ordset.Set
	dirty map[part]bool // chunks that the record does not have; nil where nobody stores them
}

// A part names one chunk of one level.
type part struct {
	level int
	chunk uint16
}

// has reports whether o did it n times or more.
func (l *levels) has(n int, o push.Ordinal) bool {
	return l != nil && n <= len(l.sets) && l.sets[n-1].Has(o)
}

// count returns how often o did it.
func (l *levels) count(o push.Ordinal) int {
	if l == nil {
		return 0
	}
	return sort.Search(len(l.sets), func(i int) bool { return !l.sets[i].Has(o) })
}

// up has o done it once more.
func (l *levels) up(o push.Ordinal) {
	n := l.count(o)
	if n == maxLevel {
		return
	}
	if n == len(l.sets) {
		l.sets = append(l.sets, new(ordset.Set))
	}
	l.sets[n].Add(o)
	if l.dirty != nil {
		l.dirty[part{n + 1, uint16(o >> 16)}] = true
	}
}

// down has o done it once less, and reports whether nobody has done it then.
func (l *levels) down(o push.Ordinal) (empty bool) {
	if n := l.count(o); n > 0 {
		l.sets[n-1].Remove(o)
	}
	for len(l.sets) > 0 && l.sets[len(l.sets)-1].Empty() {
		l.sets = l.sets[:len(l.sets)-1]
	}
	return len(l.sets) == 0
}

// A tally is what devices of one app got, and what is under way to them, by category; "" counts all together.
type tally struct {
	days    map[push.Day]map[string]*levels
	under   map[string]*levels // copies that were admitted and are neither delivered nor dropped
	pushes  map[push.ID]*counting
	ask     map[push.ID]bool // pushes of which the record must be asked something: see Save
	evictAt int              // when there are as many pushes, some are forgotten
	oldest  push.ID          // pushes up to it may have been forgotten: what is said of them again does not count
	today   push.Day
}

// Counting is what is known of one push.
type counting struct {
	learnt   bool // category and exempt are known
	exempt   bool // it is silent, or gone: nothing of it counts
	narrow   bool // copies under way count by category, too
	finished bool // its first pass is complete, or it is over
	category string
	under    ordset.Set               // devices with a copy under way
	counted  ordset.Set               // devices for which it has counted: a receipt may come twice
	waiting  map[push.Day]*ordset.Set // devices for which it counts as soon as its category is learnt, by day
	touched  push.Day
}

// A copyOf is a copy of a push for a device.
type copyOf struct {
	o        push.Ordinal
	id       push.ID
	category string
}

// admit reserves for a copy, and reports whether no cap forbids it. One that has been admitted before may go again.
func (h *house) admit(l *law, now time.Time, c copyOf) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	day := l.day(now)
	h.tally.roll(day)
	p := h.tally.pushes[c.id]
	if p != nil && p.has(c.o) {
		p.touched = day
		return true
	}
	if !h.tally.fits(l, day, c) {
		return false
	}
	if p == nil {
		p = h.tally.add(c.id)
		h.tallies.Store(true)
	}
	if !p.learnt {
		p.learnt, p.category = true, c.category
	}
	if p.under.Empty() { // as long as copies are under way they all count in the same places
		p.narrow = l.category[c.category] > 0
	}
	p.touched = day
	p.under.Add(c.o)
	for _, category := range p.places() {
		if h.tally.under == nil {
			h.tally.under = map[string]*levels{}
		}
		if h.tally.under[category] == nil {
			h.tally.under[category] = &levels{}
		}
		h.tally.under[category].up(c.o)
	}
	return true
}

// may is admit without the reservation.
func (h *house) may(l *law, now time.Time, c copyOf) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.tally.pushes[c.id]
	return p != nil && p.has(c.o) || h.tally.fits(l, l.day(now), c)
}

// has reports whether a copy for o is under way, or has counted.
func (p *counting) has(o push.Ordinal) bool { return p.under.Has(o) || p.counted.Has(o) }

// places returns where copies of p that are under way count.
func (p *counting) places() []string {
	if p.narrow {
		return []string{"", p.category}
	}
	return []string{""}
}

// fits reports whether one copy more is within all caps.
func (t *tally) fits(l *law, day push.Day, c copyOf) bool {
	if !l.capped(c.category) {
		return true
	}
	fits := func(category string, most int) bool {
		left := most - t.under[category].count(c.o)
		return most == 0 || left > 0 && !t.days[day][category].has(left, c.o)
	}
	return fits("", l.perDay) && (c.category == "" || fits(c.category, l.category[c.category]))
}

// add returns what is known of a push from now on, and forgets old ones if there are too many.
func (t *tally) add(id push.ID) *counting {
	if t.pushes == nil {
		t.pushes, t.ask, t.evictAt = map[push.ID]*counting{}, map[push.ID]bool{}, maxPushes
	}
	if len(t.pushes) >= t.evictAt {
		t.evict()
	}
	p := &counting{touched: t.today}
	t.pushes[id] = p
	return p
}

// evict forgets the older half of the pushes that have nothing under way.
func (t *tally) evict() {
	var idle []push.ID
	for id, p := range t.pushes {
		if p.under.Empty() && len(p.waiting) == 0 {
			idle = append(idle, id)
		}
	}
	slices.Sort(idle)
	for _, id := range idle[:(len(idle)+1)/2] {
		t.forget(id)
	}
	t.evictAt = max(maxPushes, len(t.pushes)+maxPushes/2) // if all are under way, not at each that comes
}

// forget drops what is known of a push: what it has under way is given back.
func (t *tally) forget(id push.ID) {
	t.free(t.pushes[id])
	delete(t.pushes, id)
	delete(t.ask, id)
	t.oldest = max(t.oldest, id)
}

// free gives back all that p has under way.
func (t *tally) free(p *counting) {
	for o := range p.under.All() {
		t.lower(p, o)
	}
	p.under = ordset.Set{}
}

// lower gives back one copy of p that is under way in all places but p itself.
func (t *tally) lower(p *counting, o push.Ordinal) {
	for _, category := range p.places() {
		if l := t.under[category]; l != nil && l.down(o) {
			delete(t.under, category)
		}
	}
}

// back gives back a copy that is under way, and reports whether it was.
func (t *tally) back(p *counting, o push.Ordinal) bool {
	if !p.under.Remove(o) {
		return false
	}
	t.lower(p, o)
	return true
}

// roll begins a day: counts of days that are over are dropped, and pushes of which nothing was heard for as long.
func (t *tally) roll(today push.Day) {
	if today == t.today {
		return
	}
	t.today = today
	for day := range t.days {
		if day < today-keepDays {
			delete(t.days, day)
		}
	}
	for id, p := range t.pushes {
		if p.touched < today-keepDays && len(p.waiting) == 0 {
			t.forget(id)
		}
	}
}

// up counts a delivery of p.
func (t *tally) up(l *law, day push.Day, p *counting, o push.Ordinal) {
	p.counted.Add(o)
	if !l.capped(p.category) || day < t.today-keepDays {
		return
	}
	t.level(day, "").up(o)
	if p.category != "" && l.category[p.category] > 0 {
		t.level(day, p.category).up(o)
	}
}

// level returns the counts of a day and a category.
func (t *tally) level(day push.Day, category string) *levels {
	if t.days == nil {
		t.days = map[push.Day]map[string]*levels{}
	}
	if t.days[day] == nil {
		t.days[day] = map[string]*levels{}
	}
	if t.days[day][category] == nil {
		t.days[day][category] = &levels{dirty: map[part]bool{}}
	}
	return t.days[day][category]
}
