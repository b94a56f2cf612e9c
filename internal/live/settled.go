package live

import (
	"slices"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// A part is what a push is in one chunk. The lock of the chunk guards it.
type part struct {
	id      push.ID
	live    *live
	target  *ordset.Container // taken; nobody if there are settled ones only
	settled *settled          // nil means nobody, everyone that the whole target is
}

// A settled is who is settled of a part, in one of three forms: the list of them, their bits, or the list of those who are
// left of the target.
type settled struct {
	left  bool // whether list is who is left; there are no settled ones outside the target then
	extra int  // settled ones outside the target: it may grow to have them
	n     int  // settled ones, if words are set
	list  []uint16
	words *ordset.Words
}

// everyone is the settled of parts of which nobody is left. Nobody changes it.
var everyone = &settled{left: true}

// listMost is how many members take no more room as a list than as bits, which take wordsBytes.
const (
	listMost   = wordsBytes / 2
	wordsBytes = 8 << 10
)

// bytes returns how much heap s takes.
func (s *settled) bytes() int {
	const self = 64
	switch {
	case s == nil || s == everyone:
		return 0
	case s.words != nil:
		return self + wordsBytes
	}
	return self + 2*cap(s.list)
}

// has reports whether a member of the target is settled.
func (s *settled) has(o uint16) bool {
	switch {
	case s == nil:
		return false
	case s.words != nil:
		return s.words.Has(o)
	}
	_, in := slices.BinarySearch(s.list, o)
	return in != s.left
}

// pending returns how many of the target are not settled.
func (p *part) pending() int {
	s := p.settled
	switch {
	case s == nil:
		return p.target.Len()
	case s.left:
		return len(s.list)
	case s.words != nil:
		return p.target.Len() - s.n + s.extra
	}
	return p.target.Len() - len(s.list) + s.extra
}

// settle settles one and reports whether that is new.
func (p *part) settle(o uint16) bool {
	in := p.target.Has(o)
	if p.settled != nil && (in || !p.settled.left) && p.settled.has(o) {
		return false
	}
	switch {
	case p.settled == nil:
		p.settled = new(settled)
	case p.settled.left && !in:
		p.change(func(w *ordset.Words) { w.Add(o) })
		return true
	}
	s := p.settled
	switch {
	case s.words != nil:
		s.words.Add(o)
		s.n++
	case s.left:
		at, _ := slices.BinarySearch(s.list, o)
		s.list = slices.Delete(s.list, at, at+1)
		if cap(s.list) > 64 && cap(s.list) > 4*len(s.list) {
			s.list = slices.Clone(s.list)
		}
	default:
		at, _ := slices.BinarySearch(s.list, o)
		s.list = slices.Insert(s.list, at, o)
	}
	if !in {
		s.extra++
	}
	switch pending := p.pending(); {
	case pending == 0 && s.extra == 0:
		p.settled = everyone
	case s.words == nil && len(s.list) > listMost, !s.left && s.extra == 0 && 2*pending <= s.room()/2:
		p.change(nil) // who is left takes half the room, or less
	}
	return true
}

// room returns how many bytes it takes to say who is in s.
func (s *settled) room() int {
	if s.words != nil {
		return wordsBytes
	}
	return 2 * len(s.list)
}

// count returns how many are settled.
func (p *part) count() int {
	s := p.settled
	switch {
	case s == nil:
		return 0
	case s.left:
		return p.target.Len() - len(s.list)
	case s.words != nil:
		return s.n
	}
	return len(s.list)
}

// change changes who is settled by f, which may be nil, and brings it into the smallest form.
func (p *part) change(f func(w *ordset.Words)) {
	var all ordset.Words
	p.put(&all)
	if f != nil {
		f(&all)
	}
	p.form(&all)
}

// put makes w who is settled.
func (p *part) put(w *ordset.Words) {
	s := p.settled
	switch {
	case s == nil:
		*w = ordset.Words{}
	case s.words != nil:
		*w = *s.words
	case s.left:
		*w = ordset.Words{}
		w.Union(p.target)
		for _, o := range s.list {
			w.Remove(o)
		}
	default:
		*w = ordset.Words{}
		for _, o := range s.list {
			w.Add(o)
		}
	}
}

// leave makes w who is left of the target.
func (p *part) leave(w *ordset.Words) {
	s := p.settled
	*w = ordset.Words{}
	if s != nil && s.left {
		for _, o := range s.list {
			w.Add(o)
		}
		return
	}
	w.Union(p.target)
	switch {
	case s == nil:
	case s.words != nil:
		w.Subtract(s.words)
	default:
		for _, o := range s.list {
			w.Remove(o)
		}
	}
}

// form makes all who is settled, in the smallest form.
func (p *part) form(all *ordset.Words) {
	n := all.Len()
	if n == 0 {
		p.settled = nil
		return
	}
	var left ordset.Words
	left.Union(p.target)
	left.Subtract(all)
	pending := left.Len()
	extra := n - (p.target.Len() - pending)
	switch {
	case pending == 0 && extra == 0:
		p.settled = everyone
	case extra == 0 && pending < min(n, listMost):
		p.settled = &settled{left: true, list: left.List(slices.Grow([]uint16(nil), pending))}
	case n <= listMost:
		p.settled = &settled{extra: extra, list: all.List(slices.Grow([]uint16(nil), n))}
	default:
		words := *all
		p.settled = &settled{extra: extra, n: n, words: &words}
	}
}
