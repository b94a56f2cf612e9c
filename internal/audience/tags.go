package audience

import (
	"sync"
	"sync/atomic"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// A tags is which tags an app has. Its lock may be taken while that of a chunk is held, never the other way round.
type tags struct {
	mu      sync.RWMutex // guards names and byName
	names   map[push.TagID]string
	byName  map[string]push.TagID
	changed atomic.Int64 // how often they changed
}

func (t *tags) add(id push.TagID, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.names == nil {
		t.names, t.byName = make(map[push.TagID]string), make(map[string]push.TagID)
	}
	if old, ok := t.names[id]; ok && t.byName[old] == id {
		delete(t.byName, old)
	}
	t.names[id], t.byName[name] = name, id
	t.changed.Add(1)
}

func (t *tags) remove(id push.TagID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if name, ok := t.names[id]; ok {
		if t.byName[name] == id {
			delete(t.byName, name)
		}
		delete(t.names, id)
		t.changed.Add(1)
	}
}

// find returns the id of a name, 0 if there is no such tag.
func (t *tags) find(name string) push.TagID {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byName[name]
}

// existing returns those of ids that are tags of the app, growing. It uses room if it must.
func (t *tags) existing(room, ids []push.TagID) []push.TagID {
	ids = sorted(room, ids)
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i, id := range ids {
		if _, ok := t.names[id]; ok {
			continue
		}
		room = append(room[:0], ids[:i]...)
		for _, id := range ids[i:] {
			if _, ok := t.names[id]; ok {
				room = append(room, id)
			}
		}
		return room
	}
	return ids
}

// AddTag says that an app has a tag. It comes before any device that carries the tag is applied, and before a snapshot is
// read: what a device carries of tags that are not there is ignored.
func (x *Index) AddTag(id push.AppID, tag push.TagID, name string) { x.make(id).tags.add(tag, name) }

// RemoveTag takes a tag from an app, and from all devices that carry it. An id that was removed is never added again.
func (x *Index) RemoveTag(id push.AppID, tag push.TagID) {
	a := x.find(id)
	if a == nil {
		return
	}
	a.tags.remove(tag) // from now on no device gets it, so that it is gone from a chunk for good once it was taken from it
	a.each(func(_ uint16, c *chunk) {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.tags, tag) // what devices carry names it still, and loses it with their next change
	})
}

// TagSize returns how many devices carry a tag.
func (x *Index) TagSize(id push.AppID, tag push.TagID) int {
	n := 0
	x.each(id, func(_ uint16, c *chunk) {
		if s := c.tags[tag]; s != nil {
			n += s.n
		}
	})
	return n
}

// TagDevices returns the devices that carry a tag. The caller owns the set.
func (x *Index) TagDevices(id push.AppID, tag push.TagID) *ordset.Set {
	return x.collect(id, func(c *chunk) *set { return c.tags[tag] })
}
