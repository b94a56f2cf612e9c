package audience

import (
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Everybody returns the registered devices of the given platforms (none given: of all). The caller owns the set.
func (x *Index) Everybody(id push.AppID, platforms []push.Platform) *ordset.Set {
	all := new(ordset.Set)
	if len(platforms) == 0 {
		platforms = push.Platforms()
	}
	for i, part := range x.copy(id, func(a *app) []*ordset.Set {
		parts := make([]*ordset.Set, 0, len(platforms))
		for _, p := range platforms {
			if p.Valid() {
				parts = append(parts, &a.platforms[p])
			}
		}
		return parts
	}) {
		if i == 0 {
			all = part
		} else {
			all.Union(part) // outside the lock
		}
	}
	return all
}

// Test returns the registered devices that are marked for tests. The caller owns the set.
func (x *Index) Test(id push.AppID) *ordset.Set {
	return x.one(id, func(a *app) *ordset.Set { return &a.test })
}

// Blacklisted returns the registered devices that get nothing. The caller owns the set.
func (x *Index) Blacklisted(id push.AppID) *ordset.Set {
	return x.one(id, func(a *app) *ordset.Set { return &a.blacklisted })
}

func (x *Index) one(id push.AppID, which func(*app) *ordset.Set) *ordset.Set {
	for _, s := range x.copy(id, func(a *app) []*ordset.Set { return []*ordset.Set{which(a)} }) {
		return s
	}
	return new(ordset.Set)
}

// copy returns copies of some sets of an app, all of one moment; none if the app is unknown. Copying is a plain copy of
// at most 8 KiB for 65,536 ordinals, so writers wait little.
func (x *Index) copy(id push.AppID, which func(*app) []*ordset.Set) []*ordset.Set {
	a := x.find(id)
	if a == nil {
		return nil
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	sets := which(a)
	for i := range sets {
		sets[i] = sets[i].Clone()
	}
	return sets
}

// Count returns how many devices are registered, by platform; platforms without devices are left out.
func (x *Index) Count(id push.AppID) map[push.Platform]int {
	counts := make(map[push.Platform]int)
	a := x.find(id)
	if a == nil {
		return counts
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, p := range push.Platforms() {
		if n := a.platforms[p].Len(); n > 0 {
			counts[p] = n
		}
	}
	return counts
}

// maxSteps bounds how many ordinals one call of Before looks at, and with it how long it holds the lock.
const maxSteps = 1 << 16

// Before returns at most limit registered devices of app with ordinals below before (0: from the newest on), the
// greatest first, and where to go on, 0 at the end. A page may hold fewer than limit, even none, while next is not 0:
// where many devices were removed the walk is cut into pieces.
func (x *Index) Before(id push.AppID, before push.Ordinal, limit int) (page []push.Ordinal, next push.Ordinal) {
	a := x.find(id)
	if a == nil {
		return nil, 0
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	at := a.next // one above what is looked at; as wide as needed to stand above the last ordinal
	if before != 0 {
		at = min(at, uint64(before))
	}
	for steps := 0; at > 0 && len(page) < limit && steps < maxSteps; steps++ {
		at--
		if _, ok := a.platform(push.Ordinal(at)); ok {
			page = append(page, push.Ordinal(at))
		}
	}
	return page, push.Ordinal(at)
}

// Marks returns what operators say of the device that has ordinal o; nothing if none is registered.
func (x *Index) Marks(id push.AppID, o push.Ordinal) (test, blacklisted bool) {
	a := x.find(id)
	if a == nil {
		return false, false
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.test.Has(o), a.blacklisted.Has(o)
}
