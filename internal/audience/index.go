// Package audience is the index in memory: for each app the sets of its registered devices, by all that can be asked of
// them. It answers whom a push is for without a look at the record (docs/adr/0006-audience-index.md).
//
// An app is chunks of 65,536 ordinals, and a chunk has a small set for each value of each dimension. A question is answered
// chunk by chunk, under the lock of one chunk at a time: a device is seen in a state that it had, and no single moment is
// promised across chunks.
//
// The index follows the record: whoever changes a device commits first and then calls Apply, one change of one device after
// the other. A set that was asked for is a copy, so a push that has its target keeps it whatever happens later.
package audience

import (
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// An Index is the sets of all apps. The zero Index is empty and ready to use. It is safe for concurrent use: a change holds
// the lock of one chunk for about a microsecond, a question that of one chunk after the other for as long as it works there.
type Index struct {
	// mu guards the map; what is in it has locks of its own.
	mu   sync.RWMutex
	apps map[push.AppID]*app
}

// find returns an app, nil if nothing of it was ever seen.
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
		x.apps[id] = new(app)
	}
	return x.apps[id]
}

// Apps returns the apps of which the index knows anything, in order.
func (x *Index) Apps() []push.AppID {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return slices.Sorted(maps.Keys(x.apps))
}

// Drop forgets an app.
func (x *Index) Drop(id push.AppID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.apps, id)
}

// Apply makes the index say of a device what row says: put it into the sets it belongs to, and take it out of the others,
// of all if it was removed. It needs no older row, and applying a row twice is applying it once. Only the last active day
// does not go back while the device is registered: see Touch. A row of a registered device without a platform is ignored.
// Tags that are not of the app are ignored, and so are attributes that cannot be indexed.
func (x *Index) Apply(row push.IndexRow) {
	if row.Removed || row.Ref.Platform.Valid() {
		x.make(row.Ref.App).apply(&row)
	}
}

// Touch notes the day on which devices were last active, of those that are registered, unless a later one is known. The
// set is read only.
func (x *Index) Touch(id push.AppID, day push.Day, devices *ordset.Set) {
	a := x.find(id)
	if a == nil {
		return
	}
	v, code := devices.View(), dayCode(day)
	var list []uint16
	for key := range v.Keys() {
		c := a.at(key)
		if c == nil {
			continue
		}
		list = v.List(key, list[:0])
		c.mu.Lock()
		for _, o := range list {
			c.touch(o, code)
		}
		c.mu.Unlock()
	}
}

// Take returns an ordinal of app that no device ever had, and never returns it again. TooMany if there is none left.
// An ordinal that is then not used stays a gap.
func (x *Index) Take(id push.AppID) (push.Ordinal, error) {
	a := x.make(id)
	for {
		next := a.next.Load()
		if next > math.MaxUint32 {
			return 0, &push.Error{Op: "audience.Take", Kind: push.TooMany, Msg: "the app has had as many devices as an app can have"}
		}
		if a.next.CompareAndSwap(next, next+1) {
			return push.Ordinal(next), nil
		}
	}
}

// device calls f with the chunk of o under its lock, if there is one.
func (x *Index) device(id push.AppID, o push.Ordinal, f func(c *chunk, o uint16)) {
	a := x.find(id)
	if a == nil {
		return
	}
	if c := a.at(ordset.Key(o)); c != nil {
		c.mu.RLock()
		defer c.mu.RUnlock()
		f(c, uint16(o))
	}
}

// Find returns the whole ref of the registered device that has ordinal o. What a caller knows of it, from a name, must
// be compared with that: the ordinal may have had another generation.
func (x *Index) Find(id push.AppID, o push.Ordinal) (ref push.Ref, ok bool) {
	x.device(id, o, func(c *chunk, low uint16) {
		if p := c.head(low).platform; p != 0 {
			ref, ok = push.Ref{App: id, Ordinal: o, Generation: c.generationOf(low), Platform: p}, true
		}
	})
	return ref, ok
}

// Epoch returns the epoch of the secret of the device that has, or last had, ordinal o; 0 if there never was one.
func (x *Index) Epoch(id push.AppID, o push.Ordinal) (epoch uint32) {
	x.device(id, o, func(c *chunk, low uint16) { epoch = c.epoch[low] })
	return epoch
}

// Marks returns what operators say of the device that has ordinal o; nothing if none is registered.
func (x *Index) Marks(id push.AppID, o push.Ordinal) (test, blacklisted bool) {
	x.device(id, o, func(c *chunk, low uint16) {
		flags := c.head(low).flags
		test, blacklisted = flags>>flagTest&1 != 0, flags>>flagBlacklisted&1 != 0
	})
	return test, blacklisted
}

// Network returns what network the device that has ordinal o said last that it is on; "" if it has not said, or none is
// registered.
func (x *Index) Network(id push.AppID, o push.Ordinal) (n push.Network) {
	x.device(id, o, func(c *chunk, low uint16) {
		switch flags := c.head(low).flags; {
		case flags>>flagWiFi&1 != 0:
			n = push.WiFi
		case flags>>flagMobile&1 != 0:
			n = push.Mobile
		}
	})
	return n
}

// Attribute returns the value of an attribute of the device that has ordinal o; "" if it has none, or the attribute has too
// many values to be indexed.
func (x *Index) Attribute(id push.AppID, o push.Ordinal, name string) (value string) {
	a := x.find(id)
	if a == nil {
		return ""
	}
	known := a.dictionary.of(name)
	if known == nil {
		return ""
	}
	x.device(id, o, func(c *chunk, low uint16) {
		// A code means what the table says that is there while a device has it: it is free only when nobody has it.
		if d := c.dimension(known.number); d != nil {
			if code := int(d.column.get(low)); code != 0 {
				if t := known.table.Load(); code < t.size {
					value = t.value(code)
				}
			}
		}
	})
	return value
}

// each calls f for every chunk of an app under its lock, in order.
func (x *Index) each(id push.AppID, f func(key uint16, c *chunk)) {
	a := x.find(id)
	if a == nil {
		return
	}
	a.each(func(key uint16, c *chunk) {
		c.mu.RLock()
		defer c.mu.RUnlock()
		f(key, c)
	})
}

// collect returns the union of one set of each chunk; which may return nil for none.
func (x *Index) collect(id push.AppID, which func(*chunk) *set) *ordset.Set {
	var b ordset.Builder
	x.each(id, func(key uint16, c *chunk) {
		switch s := which(c); {
		case s == nil:
		case s.bits != nil:
			b.Words(key, s.bits, s.n)
		default:
			b.List(key, s.list)
		}
	})
	return b.Set()
}

// All returns the registered devices. The caller owns the set.
func (x *Index) All(id push.AppID) *ordset.Set {
	return x.collect(id, func(c *chunk) *set { return &c.all })
}

// Platforms returns how many devices are registered, by platform; platforms without devices are left out.
func (x *Index) Platforms(id push.AppID) map[push.Platform]int {
	counts := make(map[push.Platform]int)
	x.each(id, func(_ uint16, c *chunk) {
		for _, p := range push.Platforms() {
			if n := c.platforms[p].n; n > 0 {
				counts[p] += n
			}
		}
	})
	return counts
}

// Before returns at most limit registered devices of app with ordinals below before (0: from the newest on), the
// greatest first, and where to go on, 0 at the end. A page may hold fewer than limit, even none, while next is not 0:
// one call looks at one chunk.
func (x *Index) Before(id push.AppID, before push.Ordinal, limit int) (page []push.Ordinal, next push.Ordinal) {
	a := x.find(id)
	if a == nil {
		return nil, 0
	}
	at := a.next.Load() // one above what is looked at; as wide as needed to stand above the last ordinal
	if before != 0 {
		at = min(at, uint64(before))
	}
	if at == 0 {
		return nil, 0
	}
	floor := (at - 1) &^ (chunkSize - 1)
	c := a.at(ordset.Key(push.Ordinal(floor)))
	if c == nil {
		return nil, push.Ordinal(floor)
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	for at > floor && len(page) < limit {
		at--
		if c.head(uint16(at)).platform != 0 {
			page = append(page, push.Ordinal(at))
		}
	}
	return page, push.Ordinal(at)
}

// Bytes returns about how much memory the index takes for an app.
func (x *Index) Bytes(id push.AppID) int {
	n := 0
	x.each(id, func(_ uint16, c *chunk) { n += c.bytes() })
	return n
}
