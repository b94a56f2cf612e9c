package registry

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"net/netip"
	"strings"

	"github.com/carillonpush/carillon/internal/push"
)

// Register makes a device, or returns the one that its install id has already. auth is the device's current secret, or
// an Authorization header that ends in it after a colon, or "".
//
// An install that registers again with its secret keeps it. Without it, it gets another: the old one is dead, the device
// is marked Reset and revoked. Attributes and tokens are added to what is known. Unauthenticated (app key or secret),
// Denied (the app is switched off), Invalid, Conflict (the install is of another platform), TooMany (from one address).
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
	install := r.keys.Hash("install", app.ID, reg.InstallID)
	lock := r.installs.of(binary.BigEndian.Uint32(install[:]))
	lock.Lock()
	defer lock.Unlock()

	row, err := r.deviceStore.FindInstall(ctx, app.ID, install)
	if errors.Is(err, push.NotFound) {
		if row, err = r.add(ctx, app.ID, reg, install); err == nil {
			return r.registered(row), nil
		}
		if !errors.Is(err, push.Conflict) {
			return push.Registered{}, push.Wrap(op, err)
		}
		row, err = r.deviceStore.FindInstall(ctx, app.ID, install) // another node was faster
	}
	if err != nil {
		return push.Registered{}, push.Wrap(op, err)
	}
	got, err := r.again(ctx, row.Ref, reg, auth[strings.LastIndexByte(auth, ':')+1:])
	return got, push.Wrap(op, err)
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
	now := r.now()
	row := push.DeviceRow{Install: install, Device: push.Device{
		App: app, Platform: reg.Platform,
		Times: push.Times{Registered: now, LastActive: dayStart(push.DayOf(now))},
		Ref:   push.Ref{App: app, Ordinal: o, Generation: 1, Platform: reg.Platform},
	}}
	row.ID, row.ChannelID = r.keys.DeviceID(row.Ref), r.keys.ChannelID(row.Ref)
	if err := merge(&row, reg.Attributes, reg.Tokens); err != nil {
		return row, err
	}
	if err := r.deviceStore.AddDevice(durable(ctx), row); err != nil {
		r.learn(ctx, row.Ref, err)
		return row, err
	}
	r.apply(row)
	return row, nil
}

// again registers an install that has a device.
func (r *Registry) again(ctx context.Context, ref push.Ref, reg push.Registration, secret string) (push.Registered, error) {
	row, err := r.change(ctx, ref, func(row *push.DeviceRow) (string, error) {
		if row.Ref.Platform != reg.Platform {
			return "", &push.Error{Kind: push.Conflict, Field: "platform", Msg: "this install registered on another platform"}
		}
		reset := !r.keys.VerifySecret(r.keys.DeviceID(ref), row.Epoch, secret)
		if reset {
			row.Reset = true
			row.Epoch++
		}
		old := row.Device
		if today := dayStart(push.DayOf(r.now())); row.LastActive.Before(today) {
			row.LastActive = today
		}
		if err := merge(row, reg.Attributes, reg.Tokens); err != nil {
			return "", err
		}
		if !reset && row.Times == old.Times && maps.Equal(row.Attributes, old.Attributes) && maps.Equal(row.Tokens, old.Tokens) {
			return "", nil // many clients register whenever they start
		}
		return "register", nil
	})
	if err != nil {
		return push.Registered{}, err
	}
	return r.registered(row), nil
}

func (r *Registry) registered(row push.DeviceRow) push.Registered {
	id := r.keys.DeviceID(row.Ref)
	return push.Registered{
		DeviceID: id, ChannelID: r.keys.ChannelID(row.Ref), Secret: r.keys.DeviceSecret(id, row.Epoch), Ref: row.Ref,
	}
}
