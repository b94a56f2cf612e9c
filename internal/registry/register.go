package registry

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"github.com/carillonpush/carillon/internal/push"
)

// Register makes a device, or returns the one that its install id has already. auth is the device's current secret, or
// an Authorization header that ends in it after a colon, or "".
//
// An install that registers again with its secret keeps it. Without it, it gets another: the old one is dead, the device
// is marked Reset and revoked. Attributes and tokens are added to what is known. With the PreviousID of an imported device
// the install becomes that device: see adopt. Unauthenticated (app key or secret), Denied (the app is switched off, or the
// imported device is not this install's), Invalid, Conflict (the install, or the imported device, is of another platform),
// TooMany (from one address).
func (r *Registry) Register(ctx context.Context, reg push.Registration, auth string, remote netip.Addr) (push.Registered, error) {
	const op = "registry.Register"
	app, err := r.registersAt(reg)
	if err != nil {
		return push.Registered{}, err
	}
	if err := reg.Validate(); err != nil {
		return push.Registered{}, push.Wrap(op, err)
	}
	if wait := r.limiter.take(app.ID, remote, app.Settings.Int(push.SettingRegistrationsAddress), r.options.Now()); wait > 0 {
		return push.Registered{}, &push.Error{Op: op, Kind: push.TooMany, Msg: "too many registrations from this address", RetryAfter: wait}
	}
	got, err := r.register(ctx, app, reg, auth[strings.LastIndexByte(auth, ':')+1:])
	if err == nil {
		r.activity.came(got.Ref, push.DayOf(r.options.Now()), r.today(app.ID))
	}
	return got, push.Wrap(op, err)
}

// register registers an install while no other registration of it, and no import of its earlier id, is under way.
func (r *Registry) register(ctx context.Context, app push.App, reg push.Registration, secret string) (push.Registered, error) {
	install := r.keys.Hash("install", app.ID, reg.InstallID)
	locks := []uint32{ofInstall(install)}
	if reg.PreviousID != "" {
		locks = append(locks, ofInstall(r.importInstall(app.ID, reg.PreviousID)))
	}
	defer r.installs.lock(locks...)()

	own, err := r.stores.Devices.FindInstall(ctx, app.ID, install)
	known := err == nil
	if err != nil && !errors.Is(err, push.NotFound) {
		return push.Registered{}, err
	}
	if reg.PreviousID != "" && !(known && own.PreviousID == reg.PreviousID) {
		imported, err := r.imported(ctx, app.ID, reg.PreviousID)
		if err == nil {
			return r.adopt(ctx, app, reg, install, imported, own.Ref)
		}
		if !errors.Is(err, push.NotFound) {
			return push.Registered{}, err
		}
	}
	if !known {
		row, err := r.add(ctx, app.ID, reg, install)
		if err == nil {
			return r.registered(row), nil
		}
		if !errors.Is(err, push.Conflict) {
			return push.Registered{}, err
		}
		if own, err = r.stores.Devices.FindInstall(ctx, app.ID, install); err != nil { // another node was faster
			return push.Registered{}, err
		}
	}
	got, err := r.again(ctx, own.Ref, reg, secret)
	got.Adopted = err == nil && reg.PreviousID != "" && own.PreviousID == reg.PreviousID
	return got, err
}

// registersAt returns the app whose key and secret reg has.
func (r *Registry) registersAt(reg push.Registration) (push.App, error) {
	t := r.tables.Load()
	for _, c := range t.credentials[name{DeviceApp, reg.AppKey}] {
		if !c.accepts(reg.AppSecret, r.options.Now()) {
			continue
		}
		if t.disabled[c.app] {
			return push.App{}, switchedOff()
		}
		return t.app(c.app)
	}
	return push.App{}, &push.Error{Op: "registry.Register", Kind: push.Unauthenticated, Msg: "wrong app key or app secret"}
}

// add makes a new device.
func (r *Registry) add(ctx context.Context, app push.AppID, reg push.Registration, install [32]byte) (push.DeviceRow, error) {
	o, err := r.index.Take(app)
	if err != nil {
		return push.DeviceRow{}, err
	}
	defer r.devices.lock(ofDevice(app, o))()
	row := r.newDevice(app, o, reg.Platform, install)
	row.LastActive = dayStart(push.DayOf(row.Registered))
	if err := merge(&row, reg.Attributes, reg.Tokens); err != nil {
		return row, err
	}
	return row, r.write(ctx, &push.DeviceChange{App: app, Add: []push.DeviceRow{row}, What: "register"})
}

// newDevice returns the row of a device that registers now.
func (r *Registry) newDevice(app push.AppID, o push.Ordinal, platform push.Platform, install [32]byte) push.DeviceRow {
	return push.DeviceRow{Install: install, Device: push.Device{
		App: app, Platform: platform, Times: push.Times{Registered: r.now(), Changed: r.second()},
		Ref: push.Ref{App: app, Ordinal: o, Generation: 1, Platform: platform},
	}}
}

// again registers an install that has a device.
func (r *Registry) again(ctx context.Context, ref push.Ref, reg push.Registration, secret string) (push.Registered, error) {
	row, err := r.change(ctx, ref, func(row *push.DeviceRow, c *push.DeviceChange) error {
		if row.Ref.Platform != reg.Platform {
			return otherPlatform("this install registered on another platform")
		}
		c.What = "register"
		if !r.keys.VerifySecret(r.keys.DeviceID(ref), row.Epoch, secret) {
			row.Reset = true
			row.Epoch++
		}
		return r.comes(row, reg)
	})
	if err != nil {
		return push.Registered{}, err
	}
	return r.registered(row), nil
}

// comes notes on row what a device says when it registers, and that it is active today. Many clients register whenever they
// start: most of the time nothing of that is new.
func (r *Registry) comes(row *push.DeviceRow, reg push.Registration) error {
	if today := dayStart(push.DayOf(r.now())); row.LastActive.Before(today) {
		row.LastActive = today
	}
	return merge(row, reg.Attributes, reg.Tokens)
}

func otherPlatform(msg string) error {
	return &push.Error{Kind: push.Conflict, Field: "platform", Msg: msg}
}

func (r *Registry) registered(row push.DeviceRow) push.Registered {
	id := r.keys.DeviceID(row.Ref)
	return push.Registered{
		DeviceID: id, ChannelID: r.keys.ChannelID(row.Ref), Secret: r.keys.DeviceSecret(id, row.Epoch), Ref: row.Ref,
	}
}
