package ordset

import "math/bits"

// An Asked is several members that are looked for together. What is found is told as bits by the place of each among those
// asked, so that it can be combined with what was found elsewhere. The zero Asked asks for nobody.
type Asked struct {
	list []uint16
	in   Words                    // the same
	rank [len(Words{}) + 1]uint16 // how many of them are in the words before
}

// Ask makes a ask for members that come in growing order, each once, and at most 65,535 of them. They are kept until it is
// called again.
func (a *Asked) Ask(list []uint16) {
	a.list, a.in = list, Words{}
	for _, o := range list {
		a.in.Add(o)
	}
	for i, word := range a.in {
		a.rank[i+1] = a.rank[i] + uint16(bits.OnesCount64(word))
	}
}

// Among sets the bits of those who are in c.
func (a *Asked) Among(c *Container, found []uint64) {
	switch {
	case c.words != nil:
		a.AmongWords(c.words, found)
	case c.runs:
		for i := 0; i < len(c.list); i += 2 {
			from, to := a.before(c.list[i]), a.before(c.list[i+1])+a.has(c.list[i+1])
			if from < to {
				setBits(found, from, to-1)
			}
		}
	default:
		a.AmongList(c.list, found)
	}
}

// AmongWords sets the bits of those who are in w.
func (a *Asked) AmongWords(w *Words, found []uint64) {
	for i, o := range a.list {
		found[i>>6] |= w[o>>6] >> (o & 63) & 1 << (i & 63)
	}
}

// AmongList sets the bits of those who are in a list in growing order.
func (a *Asked) AmongList(list []uint16, found []uint64) {
	if 3*len(a.list)*bits.Len(uint(len(list))) < len(list) {
		for i, o := range a.list {
			if _, ok := search(list, o); ok {
				found[i>>6] |= 1 << (i & 63)
			}
		}
		return
	}
	for _, o := range list { // seldom asked for
		if a.in.Has(o) {
			i := a.before(o)
			found[i>>6] |= 1 << (i & 63)
		}
	}
}

// before returns how many that are asked for come before o.
func (a *Asked) before(o uint16) int {
	return int(a.rank[o>>6]) + bits.OnesCount64(a.in[o>>6]&(1<<(o&63)-1))
}

// has returns 1 if o is asked for.
func (a *Asked) has(o uint16) int { return int(a.in[o>>6] >> (o & 63) & 1) }

// setBits sets the bits from first to last.
func setBits(found []uint64, first, last int) {
	from, to := first>>6, last>>6
	lower, upper := ^uint64(0)<<(first&63), ^uint64(0)>>(63-last&63)
	if from == to {
		found[from] |= lower & upper
		return
	}
	found[from] |= lower
	for i := from + 1; i < to; i++ {
		found[i] = ^uint64(0)
	}
	found[to] |= upper
}
