package registry

import (
	"context"
	"sync"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// CheckIndex compares the index of app (0: of all) with the record, device by device, and makes it say what the record says
// if repair. A device on which they differ is looked at again while nobody changes it, so that a change under way is no
// fault. NotFound without the app.
func (r *Registry) CheckIndex(ctx context.Context, app push.AppID, repair bool) (push.IndexCheck, error) {
	const op = "registry.CheckIndex"
	apps := r.index.Apps()
	if app != 0 {
		if _, err := r.App(app); err != nil {
			return push.IndexCheck{}, push.Wrap(op, err)
		}
		apps = []push.AppID{app}
	}
	d := doctor{registered: map[push.AppID]*ordset.Set{}, suspects: map[push.AppID]*ordset.Set{}}
	err := r.stores.Devices.ScanIndex(ctx, app, func(row push.IndexRow) error {
		agrees, _ := r.index.Agrees(row)
		d.saw(row, agrees)
		return ctx.Err()
	})
	if err != nil {
		return push.IndexCheck{}, push.Wrap(op, err)
	}
	for _, id := range apps { // whom the index has and the record has not shown
		surplus := r.index.All(id)
		if seen := d.registered[id]; seen != nil {
			surplus.Subtract(seen)
		}
		into(d.suspects, id).Union(surplus)
	}
	check := push.IndexCheck{Devices: d.devices, Repaired: repair}
	for id, suspects := range d.suspects {
		for o := range suspects.All() {
			if err := r.examine(ctx, id, o, &check); err != nil {
				return push.IndexCheck{}, push.Wrap(op, err)
			}
		}
	}
	return check, nil
}

// A doctor is what a scan of the record has shown.
type doctor struct {
	// mu guards all: rows come from several goroutines.
	mu         sync.Mutex
	devices    int
	registered map[push.AppID]*ordset.Set
	suspects   map[push.AppID]*ordset.Set // on whom record and index differ
}

func (d *doctor) saw(row push.IndexRow, agrees bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.devices++
	if !row.Removed {
		into(d.registered, row.Ref.App).Add(row.Ref.Ordinal)
	}
	if !agrees {
		into(d.suspects, row.Ref.App).Add(row.Ref.Ordinal)
	}
}

// examine compares one device while nobody changes it, counts what it finds, and repairs it if check.Repaired.
func (r *Registry) examine(ctx context.Context, app push.AppID, o push.Ordinal, check *push.IndexCheck) error {
	defer r.devices.lock(ofDevice(app, o))()
	rows, err := r.stores.Devices.FindDevices(ctx, app, []push.Ordinal{o})
	if err != nil {
		return err
	}
	row := push.DeviceRow{Removed: r.now()} // what the record has not, is removed
	row.Ref = push.Ref{App: app, Ordinal: o}
	if len(rows) > 0 {
		row = rows[0]
	}
	agrees, known := r.index.Agrees(row.Index())
	removed := !row.Removed.IsZero()
	switch {
	case agrees:
		return nil
	case removed && known:
		check.Surplus++
	case !removed && !known:
		check.Missing++
	default:
		check.Wrong++
	}
	if check.Repaired {
		r.apply(&row)
	}
	return nil
}
