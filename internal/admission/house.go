package admission

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// houses are what is known of apps. They are read far more often than apps are made.
type houses struct {
	mu    sync.Mutex // one writer at a time
	known atomic.Pointer[map[push.AppID]*house]
}

// get returns that of an app, nil if there is none.
func (hs *houses) get(app push.AppID) *house {
	if m := hs.known.Load(); m != nil {
		return (*m)[app]
	}
	return nil
}

// add returns that of an app, a new one if there is none.
func (hs *houses) add(app push.AppID) *house {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if h := hs.get(app); h != nil {
		return h
	}
	next := map[push.AppID]*house{}
	if m := hs.known.Load(); m != nil {
		maps.Copy(next, *m)
	}
	h := &house{app: app}
	next[app] = h
	hs.known.Store(&next)
	return h
}

// all returns all, in order of apps.
func (hs *houses) all() []*house {
	m := hs.known.Load()
	if m == nil {
		return nil
	}
	return slices.SortedFunc(maps.Values(*m), func(a, b *house) int { return int(int64(a.app) - int64(b.app)) })
}

// A house is what the gate knows of one app.
type house struct {
	app     push.AppID
	law     atomic.Pointer[law]
	some    atomic.Bool // whether holds has devices
	tallies atomic.Bool // whether tally has, or has had, pushes

	mu    sync.Mutex // guards holds and tally
	holds holds
	tally tally
}

// holds are the devices for which something is held: sets by the time at which the hold ends, which are few, since devices of
// one time zone share it.
type holds struct {
	law     *law                  // under which devices are in until
	until   map[int64]*ordset.Set // by Unix second
	network ordset.Set
	ready   ordset.Set // may be released
}

// keep remembers that something is held for a device until a time, or for its network if that is zero.
func (h *house) keep(l *law, o push.Ordinal, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.some.Store(true)
	if until.IsZero() {
		h.holds.network.Add(o)
		return
	}
	if h.holds.law != l {
		h.holds.free()
		h.holds.law = l
	}
	second := until.Unix()
	if until.Nanosecond() > 0 {
		second++
	}
	set := h.holds.until[second]
	if set == nil {
		if h.holds.until == nil {
			h.holds.until = map[int64]*ordset.Set{}
		}
		set = new(ordset.Set)
		h.holds.until[second] = set
	}
	set.Add(o)
}

// free makes all ready that is held until some time.
func (hs *holds) free() {
	for _, set := range hs.until {
		hs.ready.Union(set)
	}
	hs.until = nil
}

// networked makes what is held for a device's network ready.
func (h *house) networked(o push.Ordinal) {
	if !h.some.Load() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.holds.network.Remove(o) {
		h.holds.ready.Add(o)
	}
}

// holding reports whether something is held.
func (h *house) holding() bool { return h.some.Load() }

// release takes out the devices whose holds are over at now under l, which is nil if the app is gone.
func (h *house) release(now time.Time, l *law) *ordset.Set {
	h.mu.Lock()
	defer h.mu.Unlock()
	hs := &h.holds
	if hs.law != l {
		hs.free()
	}
	for second, set := range hs.until {
		if second <= now.Unix() {
			hs.ready.Union(set)
			delete(hs.until, second)
		}
	}
	if l == nil {
		hs.ready.Union(&hs.network)
		hs.network = ordset.Set{}
	}
	out := hs.ready
	hs.ready = ordset.Set{}
	h.some.Store(len(hs.until) > 0 || !hs.network.Empty())
	return &out
}
