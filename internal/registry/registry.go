// Package registry keeps apps, their credentials, their devices and the labels of devices: the record and the index in
// step, and in memory all that is asked for at every request.
//
// A change is committed to the record first and applied to the index then, one change of a device after the other. What
// authenticates is answered from memory: apps and their secrets, which devices are registered, and the epochs of
// secrets that were replaced. So a hundred thousand devices can come back at once without one read of the database.
//
// Locks are taken in this order: changing; or installs, phones, devices, tags. Of one kind, all that a change needs are
// taken at once. Nobody who holds one of them waits for counting.
package registry

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillonpush/carillon/internal/audience"
	"github.com/carillonpush/carillon/internal/identity"
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Stores are the record, one port a noun. All are needed.
type Stores struct {
	Apps     AppStore
	Devices  DeviceStore
	Labels   LabelStore
	Feed     FeedStore
	Files    FileStore
	Activity ActivityStore
}

// Options change what a Registry does. The zero value, like nil, is a registry that tells nobody, logs nothing, and reads
// the whole record when it starts.
type Options struct {
	Snapshot string // the file in which the index is kept between starts; "" means none

	// Marked returns the devices on which a mark holds for a push of app: MarkTargeted, MarkSent, MarkDelivered or MarkOpened.
	// NotFound if there is no such push. The set is the registry's. nil: no push is there.
	Marked func(ctx context.Context, app push.AppID, id push.ID, m push.Mark) (*ordset.Set, error)
	// Pushed reports whether there is a push of app. NotFound if not. nil: none is there.
	Pushed func(ctx context.Context, app push.AppID, id push.ID) error
	// Revoked is called after a device lost its secret: its connection must be closed. It must not change apps. nil: nobody
	// is told.
	Revoked func(push.Ref)
	// Networked is called after a device said that it is on another network, and when a device connects that has said on which
	// it is: what was held back for that may leave now. It must not change devices, or wait. nil: nobody is told.
	Networked func(push.AppID, push.Ordinal)
	// Removed is called after a device was removed because its install became another device: what it was owed must be
	// dropped. If that fails it is called again later. nil: nobody is told.
	Removed func(ctx context.Context, ref push.Ref) error

	Now func() time.Time // nil means time.Now
	Log *slog.Logger     // nil discards
}

// A Registry is the apps and devices of an installation. It is safe for concurrent use.
type Registry struct {
	stores  Stores
	keys    *identity.Keyring
	options Options

	index    audience.Index
	tags     tags
	activity activity
	limiter  limiter
	unsure   unsure
	counting sync.Mutex   // serialises writes of what is counted by days, so that an older state does not follow a newer one
	saved    atomic.Int64 // the change up to which the snapshot in the file goes

	tables   atomic.Pointer[tables]
	changing sync.Mutex // serialises changes of apps and credentials, from the look before the write to the new tables
	installs stripes    // serialises registrations and imports of one install
	phones   stripes    // serialises who gets a phone number
	devices  stripes    // serialises changes of one device, from the look before the write to the index
}

// New returns a Registry that knows nothing until Load. opts may be nil.
func New(stores Stores, keys *identity.Keyring, opts *Options) *Registry {
	r := &Registry{stores: stores, keys: keys}
	if opts != nil {
		r.options = *opts
	}
	if r.options.Marked == nil {
		r.options.Marked = func(context.Context, push.AppID, push.ID, push.Mark) (*ordset.Set, error) {
			return nil, &push.Error{Kind: push.NotFound, Msg: "no such push"}
		}
	}
	if r.options.Pushed == nil {
		r.options.Pushed = func(context.Context, push.AppID, push.ID) error {
			return &push.Error{Kind: push.NotFound, Msg: "no such push"}
		}
	}
	if r.options.Revoked == nil {
		r.options.Revoked = func(push.Ref) {}
	}
	if r.options.Networked == nil {
		r.options.Networked = func(push.AppID, push.Ordinal) {}
	}
	if r.options.Removed == nil {
		r.options.Removed = func(context.Context, push.Ref) error { return nil }
	}
	if r.options.Now == nil {
		r.options.Now = time.Now
	}
	if r.options.Log == nil {
		r.options.Log = slog.New(slog.DiscardHandler)
	}
	r.tables.Store(newTables(nil, nil))
	return r
}

// Load reads apps, credentials, tags, devices and what is counted of today from the record; devices from the snapshot and the
// changes since, if there is one. It must return before anything else is called.
func (r *Registry) Load(ctx context.Context) error {
	r.changing.Lock()
	defer r.changing.Unlock()
	if err := r.loadApps(ctx); err != nil {
		return err
	}
	if err := r.loadTags(ctx); err != nil {
		return err
	}
	if err := r.loadIndex(ctx); err != nil {
		return err
	}
	return r.loadDays(ctx)
}

// today returns the day in the time zone of an app.
func (r *Registry) today(app push.AppID) push.Day {
	return push.DayIn(r.options.Now(), r.tables.Load().zone(app))
}

// now returns the time as the record keeps it.
func (r *Registry) now() time.Time { return r.options.Now().UTC().Truncate(time.Millisecond) }
