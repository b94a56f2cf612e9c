package registry

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

const (
	flushEvery = time.Minute
	flushBatch = 10_000           // devices a commit
	flushLast  = 10 * time.Second // how long the record may take at the end
	saveEvery  = time.Hour
)

// activity is who is connected, and on which day devices were last active, as far as the record does not know it yet.
// A device that stays connected over midnight is active on both days. The zero activity is ready to use.
type activity struct {
	// mu guards all.
	mu      sync.Mutex
	day     push.Day // in UTC, as the index has it
	apps    map[push.AppID]*active
	pending map[appDay]*ordset.Set // noted and not written
	counts  []dayCount             // of days that are over, not written
}

// An active is what is known of one app.
type active struct {
	online ordset.Set
	n      int        // of online
	today  ordset.Set // active on activity.day
	local  localDay
}

type appDay struct {
	app push.AppID
	day push.Day
}

// note says that a device came or went on day, which in its app's time zone is local.
func (a *activity) note(ref push.Ref, online bool, day, local push.Day) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roll(day)
	e := a.of(ref.App)
	a.rollLocal(ref.App, e, local) // with those who were connected before
	switch {
	case online && e.online.Add(ref.Ordinal):
		e.n++
	case !online && e.online.Remove(ref.Ordinal):
		e.n--
	}
	e.local.saw(ref.Ordinal, e.n)
	if e.today.Add(ref.Ordinal) {
		a.put(appDay{ref.App, a.day}, ordset.Of(ref.Ordinal))
	}
}

// of returns what is known of an app. a.mu is held.
func (a *activity) of(app push.AppID) *active {
	if a.apps[app] == nil {
		a.apps[app] = new(active)
	}
	return a.apps[app]
}

// roll begins a new day with those who are connected. A clock that goes back changes nothing. a.mu is held.
func (a *activity) roll(day push.Day) {
	if a.apps == nil {
		a.apps, a.pending = make(map[push.AppID]*active), make(map[appDay]*ordset.Set)
	}
	if day <= a.day {
		return
	}
	a.day = day
	for app, e := range a.apps {
		e.today = *e.online.Clone()
		a.put(appDay{app, day}, &e.today)
	}
}

// put adds devices to what is to be written. a.mu is held.
func (a *activity) put(key appDay, devices *ordset.Set) {
	if devices.Empty() {
		return
	}
	if a.pending[key] == nil {
		a.pending[key] = new(ordset.Set)
	}
	a.pending[key].Union(devices)
}

// take returns what is to be written, by app and day, and forgets it.
func (a *activity) take(day push.Day) map[appDay]*ordset.Set {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roll(day)
	taken := a.pending
	a.pending = make(map[appDay]*ordset.Set)
	return taken
}

// giveBack takes back what could not be written, unless the app is gone.
func (a *activity) giveBack(key appDay, devices *ordset.Set) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.apps[key.app] != nil {
		a.put(key, devices)
	}
}

// activeToday returns the day, and whether a device was active on it.
func (a *activity) activeToday(ref push.Ref) (push.Day, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.apps[ref.App]
	return a.day, e != nil && e.today.Has(ref.Ordinal)
}

// onlineOf returns a copy of who is connected.
func (a *activity) onlineOf(app push.AppID) *ordset.Set {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.apps[app]; e != nil {
		return e.online.Clone()
	}
	return new(ordset.Set)
}

func (a *activity) drop(app push.AppID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.apps, app)
	for key := range a.pending {
		if key.app == app {
			delete(a.pending, key)
		}
	}
	a.counts = slices.DeleteFunc(a.counts, func(c dayCount) bool { return c.app == app })
}

// Presence notes that a device came or went, and with it that it is active today. The record is told by Run.
func (r *Registry) Presence(ref push.Ref, online bool) {
	r.activity.note(ref, online, push.DayOf(r.options.Now()), r.today(ref.App))
	if online && r.index.Network(ref.App, ref.Ordinal) != "" {
		r.options.Networked(ref.App, ref.Ordinal)
	}
}

// Run writes last active days and what is counted by days to the record once a minute, and what is left when ctx ends; it does again what is unsure,
// removes files that expired, and keeps the snapshot of the index not much older than an hour. It returns nil after that.
func (r *Registry) Run(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	save := r.options.Now().Add(saveEvery)
	for {
		select {
		case <-tick.C:
			written := r.flush(ctx)
			r.flushDays(ctx)
			r.makeSure(ctx)
			r.sweepFiles(ctx)
			if now := r.options.Now(); written && !now.Before(save) {
				r.save(ctx)
				save = now.Add(saveEvery)
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushLast)
			defer cancel()
			written := r.flush(last)
			r.flushDays(last)
			r.makeSure(last)
			if written {
				r.save(last)
			}
			return nil
		}
	}
}

// flush writes what is noted, and reports whether all was written. What fails is written the next time: writing a day twice
// changes nothing; until then the record may know what the index does not, so that no snapshot is taken. Run alone calls it,
// and save never at the same time.
func (r *Registry) flush(ctx context.Context) (written bool) {
	written = true
	for key, devices := range r.activity.take(push.DayOf(r.options.Now())) {
		if err := r.touch(ctx, key, devices); err != nil && !errors.Is(err, push.NotFound) {
			r.activity.giveBack(key, devices)
			r.options.Log.Warn("last active days not written", "app", key.app, "err", err)
			written = false
		}
	}
	return written
}

// touch writes the day of some devices, a batch a commit, and has the index follow.
func (r *Registry) touch(ctx context.Context, key appDay, devices *ordset.Set) error {
	batch := make([]push.Ordinal, 0, min(flushBatch, devices.Len()))
	write := func() error {
		if err := r.stores.Activity.Touch(ctx, key.app, key.day, batch); err != nil {
			return err
		}
		r.index.Touch(key.app, key.day, ordset.Of(batch...))
		batch = batch[:0]
		return nil
	}
	for o := range devices.All() {
		if batch = append(batch, o); len(batch) == flushBatch {
			if err := write(); err != nil {
				return err
			}
		}
	}
	if len(batch) == 0 {
		return nil
	}
	return write()
}

// lastActive returns when a device was last active, as far as row and memory know.
func (r *Registry) lastActive(row push.DeviceRow) time.Time {
	if day, ok := r.activity.activeToday(row.Ref); ok && dayStart(day).After(row.LastActive) {
		return dayStart(day)
	}
	return row.LastActive
}

// dayStart returns the beginning of a day: last active times are as fine as that.
func dayStart(d push.Day) time.Time { return time.Unix(int64(d)*24*60*60, 0).UTC() }
