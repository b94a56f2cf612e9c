// Package registry keeps apps, their credentials and their devices: the record and the index in step, and in memory all
// that is asked for at every request.
//
// A change is committed to the record first and applied to the index then, one change of a device after the other. What
// authenticates is answered from memory: apps and their secrets, which devices are registered, and the epochs of
// secrets that were replaced. So a hundred thousand devices can come back at once without one read of the database.
package registry

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillonpush/carillon/internal/audience"
	"github.com/carillonpush/carillon/internal/identity"
	"github.com/carillonpush/carillon/internal/push"
)

// Options change what a Registry does. The zero value, like nil, is a registry that tells nobody and logs nothing.
type Options struct {
	Activity ActivityStore    // where last active days are kept; nil means nowhere
	Revoked  func(push.Ref)   // called after a device lost its secret: its connection must be closed. It must not change apps. nil: nobody is told
	Now      func() time.Time // nil means time.Now
	Log      *slog.Logger     // nil discards
}

// A Registry is the apps and devices of an installation. It is safe for concurrent use.
type Registry struct {
	appStore    AppStore
	deviceStore DeviceStore
	keys        *identity.Keyring
	options     Options

	index    audience.Index
	epochs   epochs
	activity activity
	limiter  limiter

	tables   atomic.Pointer[tables]
	changing sync.Mutex // serialises changes of apps and credentials, from the look before the write to the new tables
	devices  stripes    // serialises changes of one device
	installs stripes    // serialises registrations of one install; taken before devices
}

// New returns a Registry that knows nothing until Load. opts may be nil.
func New(apps AppStore, devices DeviceStore, keys *identity.Keyring, opts *Options) *Registry {
	r := &Registry{appStore: apps, deviceStore: devices, keys: keys}
	if opts != nil {
		r.options = *opts
	}
	if r.options.Revoked == nil {
		r.options.Revoked = func(push.Ref) {}
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

// Load reads apps, credentials and devices from the record. It must return before anything else is called.
func (r *Registry) Load(ctx context.Context) error {
	r.changing.Lock()
	defer r.changing.Unlock()
	if err := r.loadApps(ctx); err != nil {
		return err
	}
	return push.Wrap("registry.Load", r.deviceStore.ScanDevices(ctx, 0, 0, true, func(row push.DeviceRow) bool {
		r.apply(row)
		return true
	}))
}

// apply makes the memory say of a device what the record says, and revokes the device if its secret is dead by that: it
// was replaced, or the device removed. One device's rows are applied one after the other.
func (r *Registry) apply(row push.DeviceRow) {
	had, known := r.index.Find(row.Ref.App, row.Ref.Ordinal)
	epoch := row.Epoch
	if !row.Removed.IsZero() {
		epoch = 0
	}
	before := r.epochs.get(row.Ref)
	r.index.Apply(row)
	r.epochs.set(row.Ref, epoch)
	if known && (!row.Removed.IsZero() || before != epoch) {
		r.options.Revoked(had)
	}
}

// learn applies what the record holds of a device after a write whose outcome is not known. If the record cannot say,
// the next change of the device finds it out.
func (r *Registry) learn(ctx context.Context, ref push.Ref, failed error) {
	if !uncertain(failed) {
		return
	}
	if row, err := r.deviceStore.FindDevice(durable(ctx), ref.App, ref.Ordinal); err == nil {
		r.apply(row)
	}
}

// durable returns the context of a write. A caller that gives up does not take its write back, so the outcome is waited
// for: else the memory would not know what the record holds.
func durable(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

// uncertain reports whether the write that failed with err may have happened all the same.
func uncertain(err error) bool {
	return errors.Is(err, push.Unavailable) || push.KindOf(err) == push.Internal
}

// stripes is a lock for each of many things: two of them may share one.
type stripes [4096]sync.Mutex

func (s *stripes) of(n uint32) *sync.Mutex { return &s[n%uint32(len(s))] }

func (s *stripes) device(ref push.Ref) *sync.Mutex {
	return s.of(uint32(ref.Ordinal) + uint32(ref.App)*0x9e3779b1)
}

// epochs are the epochs of secrets that are not 0: of the few devices whose secret was ever replaced.
type epochs struct {
	// mu guards all.
	mu  sync.RWMutex
	all map[push.AppID]map[push.Ordinal]uint32
}

func (e *epochs) get(ref push.Ref) uint32 {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.all[ref.App][ref.Ordinal]
}

func (e *epochs) set(ref push.Ref, epoch uint32) {
	if epoch == e.get(ref) { // nearly always: both are 0
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case epoch == 0:
		delete(e.all[ref.App], ref.Ordinal)
		return
	case e.all == nil:
		e.all = make(map[push.AppID]map[push.Ordinal]uint32)
	}
	if e.all[ref.App] == nil {
		e.all[ref.App] = make(map[push.Ordinal]uint32)
	}
	e.all[ref.App][ref.Ordinal] = epoch
}

func (e *epochs) drop(app push.AppID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.all, app)
}
