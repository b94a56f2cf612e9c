package registry

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// A localDay is what is counted of one day of an app, in its time zone. Chunks of active that changed are written.
type localDay struct {
	day    push.Day // 0: nothing is known yet
	peak   int      // the most that were online at once
	raised bool     // peak is more than what was written
	active ordset.Set
	dirty  map[uint16]bool // keys of chunks of active that are not written
}

// saw notes that a device was active, and that n are online.
func (l *localDay) saw(o push.Ordinal, n int) {
	if n > l.peak {
		l.peak, l.raised = n, true
	}
	if l.active.Add(o) {
		l.spoil(ordset.Key(o))
	}
}

func (l *localDay) spoil(key uint16) {
	if l.dirty == nil {
		l.dirty = make(map[uint16]bool)
	}
	l.dirty[key] = true
}

// A dayCount is what is to be written of one day of an app.
type dayCount struct {
	appDay
	peak, active int // of the whole day
	chunks       []push.Chunk
}

// rollLocal begins a new day of an app, with those who are online. A clock that goes back, or a zone in which it is earlier,
// changes nothing. a.mu is held.
func (a *activity) rollLocal(app push.AppID, e *active, day push.Day) {
	if day <= e.local.day {
		return
	}
	if c, any := e.local.take(app); any {
		a.counts = append(a.counts, c)
	}
	e.local = localDay{day: day, peak: e.n, raised: e.n > 0, active: *e.online.Clone()}
	for key := range e.local.active.View().Keys() {
		e.local.spoil(key)
	}
}

// take returns what is to be written of l, and notes that it is; any is false if there is nothing.
func (l *localDay) take(app push.AppID) (c dayCount, any bool) {
	if !l.raised && len(l.dirty) == 0 {
		return dayCount{}, false
	}
	c = dayCount{appDay: appDay{app, l.day}, peak: l.peak, active: l.active.Len()}
	for _, key := range slices.Sorted(maps.Keys(l.dirty)) {
		if chunk, err := l.active.Chunk(key); err == nil { // to write into memory does not fail
			c.chunks = append(c.chunks, chunk)
		}
	}
	l.raised, l.dirty = false, nil
	return c, true
}

// takeCounts returns what is to be written of the days of an app, or of all if app is 0, and forgets it. today is the day
// that it is for an app.
func (a *activity) takeCounts(app push.AppID, today func(push.AppID) push.Day) (taken []dayCount) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, e := range a.apps {
		if app == 0 || app == id {
			a.rollLocal(id, e, today(id))
			if c, any := e.local.take(id); any {
				a.counts = append(a.counts, c)
			}
		}
	}
	a.counts = slices.DeleteFunc(a.counts, func(c dayCount) bool {
		if app != 0 && app != c.app {
			return false
		}
		taken = append(taken, c)
		return true
	})
	return taken
}

// giveBackCount takes back what could not be written, unless the app is gone.
func (a *activity) giveBackCount(c dayCount) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.apps[c.app]
	switch {
	case e == nil:
	case e.local.day != c.day:
		a.counts = append(a.counts, c)
	default: // written later, as they are then
		e.local.raised = true
		for _, chunk := range c.chunks {
			e.local.spoil(chunk.Key)
		}
	}
}

// came notes that a device was active on a day without having connected.
func (a *activity) came(ref push.Ref, day, local push.Day) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roll(day)
	e := a.of(ref.App)
	a.rollLocal(ref.App, e, local)
	e.local.saw(ref.Ordinal, e.n)
}

// restore takes what the record knows of the day that it is for an app.
func (a *activity) restore(app push.AppID, day push.Day, peak int, known *ordset.Set) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roll(a.day)
	a.of(app).local = localDay{day: day, peak: peak, active: *known}
}

// loadDays reads what is counted of today: who is active twice, before a restart and after it, is one.
func (r *Registry) loadDays(ctx context.Context) error {
	const op = "registry.loadDays"
	for _, app := range r.Apps() {
		day := r.today(app.ID)
		peak, chunks, err := r.stores.Activity.ActiveOn(ctx, app.ID, day)
		if err != nil {
			return push.Wrap(op, err)
		}
		known, err := ordset.FromChunks(chunks)
		if err != nil {
			return push.Wrap(op, err)
		}
		r.activity.restore(app.ID, day, peak, known)
	}
	return nil
}

// flushDays writes what is counted by days. What fails is written the next time.
func (r *Registry) flushDays(ctx context.Context) {
	if err := r.writeDays(ctx, 0); err != nil {
		r.options.Log.Warn("what is counted of days is not written", "err", err)
	}
}

// writeDays writes what is counted of the days of an app, or of all if app is 0.
func (r *Registry) writeDays(ctx context.Context, app push.AppID) (failed error) {
	r.counting.Lock()
	defer r.counting.Unlock()
	for _, c := range r.activity.takeCounts(app, r.today) {
		err := r.stores.Activity.PutDeviceDay(ctx, c.app, c.day, c.peak, c.active, c.chunks)
		if err != nil && !errors.Is(err, push.NotFound) {
			r.activity.giveBackCount(c)
			failed = err
		}
	}
	return failed
}

// DeviceDays returns the days of app from one to another, both included, in order, as they are now; days are those of the
// app's time zone. NotFound without the app; Unavailable if what was counted since the last minute cannot be written.
func (r *Registry) DeviceDays(ctx context.Context, app push.AppID, from, to push.Day) ([]push.DeviceDay, error) {
	const op = "registry.DeviceDays"
	if _, err := r.App(app); err != nil {
		return nil, push.Wrap(op, err)
	}
	if err := r.writeDays(ctx, app); err != nil {
		return nil, push.Wrap(op, err)
	}
	days, err := r.stores.Activity.DeviceDays(ctx, app, from, to)
	return days, push.Wrap(op, err)
}
