package registry

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// change reads a registered device, lets f change it and add to c what belongs to the same commit, and puts it into the
// record and then into the index, while no other change of that device is under way. f names the change for the feed, and
// replaces maps and slices rather than changing them. If it changes nothing, nothing is written. NotFound.
func (r *Registry) change(ctx context.Context, ref push.Ref, f func(row *push.DeviceRow, c *push.DeviceChange) error) (push.DeviceRow, error) {
	defer r.devices.lock(ofDevice(ref.App, ref.Ordinal))()
	found, err := r.find(ctx, ref.App, []push.Ordinal{ref.Ordinal})
	if err != nil {
		return push.DeviceRow{}, err
	}
	row, ok := found[ref.Ordinal]
	if !ok || !same(row, ref) {
		return row, noDevice("registry.change")
	}
	c := push.DeviceChange{App: ref.App}
	old := row
	if err := f(&row, &c); err != nil {
		return old, err
	}
	if c.Save = r.different(c.Save, old, row); len(c.Save)+len(c.Aliases) == 0 {
		return old, nil
	}
	return row, r.write(ctx, &c)
}

// changeAll changes several devices as change changes one, all in one commit, and returns how many that changed. Those that
// are not registered any more are left out. A ref without a generation means whoever is registered.
func (r *Registry) changeAll(ctx context.Context, app push.AppID, refs []push.Ref, f func(row *push.DeviceRow, c *push.DeviceChange) error) (int, error) {
	byOrdinal := make(map[push.Ordinal]push.Ref, len(refs))
	for _, ref := range refs {
		byOrdinal[ref.Ordinal] = ref
	}
	ordinals := slices.Sorted(maps.Keys(byOrdinal))
	defer r.devices.lock(ofDevices(app, ordinals)...)()
	found, err := r.find(ctx, app, ordinals)
	if err != nil {
		return 0, err
	}
	c := push.DeviceChange{App: app}
	for _, o := range ordinals {
		row, ok := found[o]
		if ref := byOrdinal[o]; !ok || !row.Removed.IsZero() || ref.Generation != 0 && !same(row, ref) {
			continue
		}
		old := row
		if err := f(&row, &c); err != nil {
			return 0, err
		}
		c.Save = r.different(c.Save, old, row)
	}
	if len(c.Save)+len(c.Aliases) == 0 {
		return 0, nil
	}
	return len(c.Save), r.write(ctx, &c)
}

// different appends row to save if it is not what the record says of the device, as old says it.
func (r *Registry) different(save []push.DeviceRow, old, row push.DeviceRow) []push.DeviceRow {
	if reflect.DeepEqual(old, row) {
		return save
	}
	if !sameAsked(&old, &row) {
		row.Changed = r.second()
	}
	row.LastActive = r.lastActive(row)
	return append(save, row)
}

// second returns the time as Times.Changed has it.
func (r *Registry) second() time.Time { return r.now().Truncate(time.Second) }

// sameAsked reports whether audiences find the same in two rows of a device, but for its aliases, which are in none, and for
// when it was active.
func sameAsked(a, b *push.DeviceRow) bool {
	return maps.Equal(a.Attributes, b.Attributes) && slices.Equal(a.TagIDs, b.TagIDs) && a.Account == b.Account &&
		maps.Equal(a.Tokens, b.Tokens) && a.Phone == b.Phone && a.Test == b.Test && a.Blacklisted == b.Blacklisted
}

// find returns what the record holds of devices, by ordinal. The memory learns it, too: an earlier write may have failed for
// its caller and happened all the same, and the record is right. Who calls it holds the devices' locks.
func (r *Registry) find(ctx context.Context, app push.AppID, ordinals []push.Ordinal) (map[push.Ordinal]push.DeviceRow, error) {
	rows, err := r.stores.Devices.FindDevices(ctx, app, ordinals)
	if err != nil {
		return nil, err
	}
	found := make(map[push.Ordinal]push.DeviceRow, len(rows))
	for _, row := range rows {
		r.apply(&row)
		row.TagIDs = r.tags.existing(app, row.TagIDs) // what was removed leaves with the next write
		found[row.Ref.Ordinal] = row
	}
	return found, nil
}

// write makes c durable and applies it. Who calls it holds the locks of all devices in c, and r.tags.making if c has tags.
// A caller that gives up does not take its write back, so the outcome is waited for: else the memory would not know what
// the record holds.
func (r *Registry) write(ctx context.Context, c *push.DeviceChange) error {
	ctx = durable(ctx)
	if len(c.Add) > 0 || slices.ContainsFunc(c.Save, func(row push.DeviceRow) bool { return !row.Removed.IsZero() }) {
		c.Today = r.today(c.App)
	}
	if err := r.stores.Devices.ChangeDevices(ctx, *c); err != nil {
		if uncertain(err) || errors.Is(err, push.Conflict) {
			r.learn(ctx, c, err)
		}
		return err
	}
	for _, t := range c.Tags { // before the devices that carry them
		r.addTag(t)
	}
	for _, rows := range [][]push.DeviceRow{c.Add, c.Save} {
		for i := range rows {
			r.apply(&rows[i])
		}
	}
	return nil
}

// apply makes the memory say of a device what the record says, revokes the device if its secret is dead by that (it was
// replaced, or the device removed), and tells if it is on another network. One device's rows are applied one after the other.
func (r *Registry) apply(row *push.DeviceRow) {
	app, o := row.Ref.App, row.Ref.Ordinal
	had, known := r.index.Find(app, o)
	before, network := r.index.Epoch(app, o), r.index.Network(app, o)
	r.index.Apply(row.Index())
	if row.Removed.IsZero() && network != row.Network {
		r.options.Networked(app, o)
	}
	if known && (!row.Removed.IsZero() || before != row.Epoch || had.Generation != row.Ref.Generation) {
		r.options.Revoked(had)
	}
}

// learn applies what the record holds of the devices and tags of a write that failed with err: it may have happened all the
// same, or have met what is not known here. A commit whose answer was lost may become visible after this look, so that there
// is another one later. Who calls it holds their locks.
func (r *Registry) learn(ctx context.Context, c *push.DeviceChange, err error) {
	if len(c.Tags) > 0 {
		r.settleTags(ctx, err)
	}
	var ordinals []push.Ordinal
	for _, rows := range [][]push.DeviceRow{c.Add, c.Save} {
		for i := range rows {
			ordinals = append(ordinals, rows[i].Ref.Ordinal)
		}
	}
	if len(ordinals) == 0 {
		return
	}
	if _, failed := r.find(ctx, c.App, ordinals); failed != nil || uncertain(err) {
		r.unsure.add(c.App, ordinals)
	}
}

// unsure is what a write with an unknown outcome left behind: what must be looked at, or done, again. The zero unsure is
// ready to use.
type unsure struct {
	// mu guards all.
	mu      sync.Mutex
	devices map[push.Ref]bool // by app and ordinal
	removed []push.Ref        // of whom Options.Removed has not been told
}

func (u *unsure) add(app push.AppID, ordinals []push.Ordinal) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.devices == nil {
		u.devices = make(map[push.Ref]bool)
	}
	for _, o := range ordinals {
		u.devices[push.Ref{App: app, Ordinal: o}] = true
	}
}

// take returns all and forgets it.
func (u *unsure) take() (devices map[push.Ref]bool, removed []push.Ref) {
	u.mu.Lock()
	defer u.mu.Unlock()
	devices, removed = u.devices, u.removed
	u.devices, u.removed = nil, nil
	return devices, removed
}

// any reports whether the index may not say what the record says.
func (u *unsure) any() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.devices) > 0
}

// told tells of a device that was removed for another, or notes that it must be told.
func (r *Registry) told(ctx context.Context, ref push.Ref) {
	if err := r.options.Removed(durable(ctx), ref); err != nil {
		r.options.Log.Warn("what a removed device was owed is not dropped yet", "app", ref.App, "ordinal", ref.Ordinal, "err", err)
		r.unsure.mu.Lock()
		defer r.unsure.mu.Unlock()
		r.unsure.removed = append(r.unsure.removed, ref)
	}
}

// makeSure does again what unsure holds. What fails again stays.
func (r *Registry) makeSure(ctx context.Context) {
	r.tags.making.Lock()
	err := r.freshTags(ctx)
	r.tags.making.Unlock()
	devices, removed := r.unsure.take()
	for ref := range devices {
		unlock := r.devices.lock(ofDevice(ref.App, ref.Ordinal))
		failed := err
		if failed == nil {
			_, failed = r.find(ctx, ref.App, []push.Ordinal{ref.Ordinal})
		}
		unlock()
		if failed != nil {
			r.unsure.add(ref.App, []push.Ordinal{ref.Ordinal})
		}
	}
	for _, ref := range removed {
		r.told(ctx, ref)
	}
}

// durable returns the context of what must be seen to its end, whoever waits for it.
func durable(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

// uncertain reports whether the write that failed with err may have happened all the same.
func uncertain(err error) bool {
	return errors.Is(err, push.Unavailable) && !errors.Is(err, push.ErrNotQueued) || push.KindOf(err) == push.Internal
}

// same reports whether row is the registered device that ref means.
func same(row push.DeviceRow, ref push.Ref) bool {
	return row.Removed.IsZero() && row.Ref.Generation == ref.Generation
}

func noDevice(op string) error {
	return &push.Error{Op: op, Kind: push.NotFound, Field: "device", Msg: "no such device"}
}
