// Package audience is the index in memory: for each app the sets of its registered devices, by platform and by what
// operators say of them. It answers whom a push is for without a look at the record.
//
// The index follows the record: whoever changes a device commits first and then calls Apply, one change of one device
// after the other. A set that was asked for is a copy, so a push that has its target keeps it whatever happens later.
package audience

import (
	"math"
	"sync"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// An Index is the sets of all apps. The zero Index is empty and ready to use. It is safe for concurrent use: each app
// has a lock of its own, which is held for one device, or for copying sets (about a millisecond for ten million devices).
type Index struct {
	// mu guards the map; what is in it has locks of its own.
	mu   sync.RWMutex
	apps map[push.AppID]*app
}

// An app is the sets of one app. They hold registered devices only.
type app struct {
	// mu guards all fields.
	mu          sync.RWMutex
	platforms   [push.Web + 1]ordset.Set
	test        ordset.Set
	blacklisted ordset.Set
	generations map[push.Ordinal]uint8 // where it is not 1
	next        uint64                 // the ordinal that was never given; 1<<32 when none is left
}

// find returns the sets of an app, nil if no device of it was ever seen.
func (x *Index) find(id push.AppID) *app {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.apps[id]
}

func (x *Index) make(id push.AppID) *app {
	if a := x.find(id); a != nil {
		return a
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.apps == nil {
		x.apps = make(map[push.AppID]*app)
	}
	if x.apps[id] == nil {
		x.apps[id] = &app{generations: make(map[push.Ordinal]uint8)}
	}
	return x.apps[id]
}

// Apply makes the index say of a device what row says: put it into the sets it belongs to, and take it out of the
// others, of all if it was removed. Applying a row twice is applying it once. A row without a platform is ignored.
func (x *Index) Apply(row push.DeviceRow) {
	if !row.Ref.Platform.Valid() {
		return
	}
	a, o := x.make(row.Ref.App), row.Ref.Ordinal
	a.mu.Lock()
	defer a.mu.Unlock()
	registered := row.Removed.IsZero()
	for _, p := range push.Platforms() {
		put(&a.platforms[p], o, registered && p == row.Ref.Platform)
	}
	put(&a.test, o, registered && row.Test)
	put(&a.blacklisted, o, registered && row.Blacklisted)
	if registered && row.Ref.Generation != 1 {
		a.generations[o] = row.Ref.Generation
	} else {
		delete(a.generations, o)
	}
	a.next = max(a.next, uint64(o)+1)
}

func put(s *ordset.Set, o push.Ordinal, in bool) {
	if in {
		s.Add(o)
	} else {
		s.Remove(o)
	}
}

// Take returns an ordinal of app that no device ever had, and never returns it again. TooMany if there is none left.
// An ordinal that is then not used stays a gap.
func (x *Index) Take(id push.AppID) (push.Ordinal, error) {
	a := x.make(id)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.next > math.MaxUint32 {
		return 0, &push.Error{Op: "audience.Take", Kind: push.TooMany, Msg: "the app has had as many devices as an app can have"}
	}
	a.next++
	return push.Ordinal(a.next - 1), nil
}

// Drop forgets an app.
func (x *Index) Drop(id push.AppID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.apps, id)
}

// Find returns the whole ref of the registered device that has ordinal o. What a caller knows of it, from a name, must
// be compared with that: the ordinal may have had another generation.
func (x *Index) Find(id push.AppID, o push.Ordinal) (push.Ref, bool) {
	a := x.find(id)
	if a == nil {
		return push.Ref{}, false
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	p, ok := a.platform(o)
	if !ok {
		return push.Ref{}, false
	}
	ref := push.Ref{App: id, Ordinal: o, Generation: 1, Platform: p}
	if g, ok := a.generations[o]; ok {
		ref.Generation = g
	}
	return ref, true
}

// platform returns the platform of a registered device. a.mu is held.
func (a *app) platform(o push.Ordinal) (push.Platform, bool) {
	for _, p := range push.Platforms() {
		if a.platforms[p].Has(o) {
			return p, true
		}
	}
	return 0, false
}
