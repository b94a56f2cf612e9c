package audience

import (
	"math/bits"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Tally divides a set by what the index knows of its devices; those that are not registered do not count. The set is read
// only.
func (x *Index) Tally(id push.AppID, devices *ordset.Set) push.Tally {
	t := push.Tally{Platforms: make(map[push.Platform]int), Tokens: make(map[string]int)}
	a := x.find(id)
	if a == nil {
		return t
	}
	v, channels := devices.View(), push.TokenChannels()
	var w words
	for key := range v.Keys() {
		c := a.at(key)
		if c == nil {
			continue
		}
		v.Words(key, &w)
		c.mu.RLock()
		for _, p := range push.Platforms() {
			if n := c.platforms[p].shared(&w); n > 0 {
				t.Platforms[p] += n
			}
		}
		for i, channel := range channels {
			if n := c.flags[flagToken+i].shared(&w); n > 0 {
				t.Tokens[channel] += n
			}
		}
		t.Blacklisted += c.flags[flagBlacklisted].shared(&w)
		c.mu.RUnlock()
	}
	return t
}

// shared returns how many members s and w share.
func (s *set) shared(w *words) int {
	n := 0
	if s.bits == nil {
		for _, o := range s.list {
			n += int(w[o>>6] >> (o & 63) & 1)
		}
		return n
	}
	for i := range w {
		n += bits.OnesCount64(w[i] & s.bits[i])
	}
	return n
}
