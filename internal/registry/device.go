package registry

import (
	"context"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Authenticate returns the device that a name (device id or channel id) and a secret stand for. Unauthenticated if they
// do not match, or the device was removed; Denied if its app is switched off. It reads no database.
func (r *Registry) Authenticate(name, secret string) (push.Ref, error) {
	ref, known := r.named(name)
	// The secret is verified whether the device is known or not, so that the time does not tell.
	ok := r.keys.VerifySecret(r.keys.DeviceID(ref), r.epochs.get(ref), secret)
	t := r.tables.Load()
	if _, err := t.app(ref.App); err != nil || !known || !ok {
		return push.Ref{}, &push.Error{Op: "registry.Authenticate", Kind: push.Unauthenticated, Msg: "no such device, or not its secret"}
	}
	if t.disabled[ref.App] {
		return push.Ref{}, switchedOff()
	}
	return ref, nil
}

// named returns the ref that name stands for, and whether that device is registered. The ref of a registered device has
// its platform, also where the name does not say it.
func (r *Registry) named(name string) (push.Ref, bool) {
	ref, err := r.keys.Parse(name)
	if err != nil {
		return push.Ref{}, false
	}
	have, ok := r.index.Find(ref.App, ref.Ordinal)
	if !ok || have.Generation != ref.Generation || ref.Platform != 0 && have.Platform != ref.Platform {
		return ref, false
	}
	return have, true
}

// Device returns a device of app by device id or channel id. NotFound, also for devices of other apps.
func (r *Registry) Device(ctx context.Context, app push.AppID, name string) (push.Device, error) {
	const op = "registry.Device"
	ref, ok := r.named(name)
	if !ok || ref.App != app {
		return push.Device{}, noDevice(op)
	}
	row, err := r.deviceStore.FindDevice(ctx, app, ref.Ordinal)
	if err != nil {
		return push.Device{}, push.Wrap(op, err)
	}
	if !same(row, ref) {
		return push.Device{}, noDevice(op)
	}
	return r.shown(row), nil
}

// Devices returns registered devices of app with all that is known of them, newest first, at most limit, from cursor on
// ("": from the start), and where to go on, "" at the end. A page may be short, even empty, before the end. Invalid for a
// cursor that it did not make.
func (r *Registry) Devices(ctx context.Context, app push.AppID, cursor string, limit int) (page []push.Device, next string, err error) {
	const op = "registry.Devices"
	var before uint64
	if cursor != "" {
		if before, err = strconv.ParseUint(cursor, 10, 32); err != nil || before == 0 {
			return nil, "", &push.Error{Op: op, Kind: push.Invalid, Field: "cursor", Msg: "not a cursor of this list"}
		}
	}
	if _, err := r.App(app); err != nil {
		return nil, "", push.Wrap(op, err)
	}
	ordinals, at := r.index.Before(app, push.Ordinal(before), limit)
	if at != 0 {
		next = strconv.FormatUint(uint64(at), 10)
	}
	if len(ordinals) == 0 {
		return nil, next, nil
	}
	found := make(map[push.Ordinal]push.Device, len(ordinals))
	newest, oldest := ordinals[0], ordinals[len(ordinals)-1]
	err = r.deviceStore.ScanDevices(ctx, app, oldest, false, func(row push.DeviceRow) bool {
		if row.Ref.Ordinal > newest {
			return false
		}
		if row.Removed.IsZero() {
			found[row.Ref.Ordinal] = r.shown(row)
		}
		return row.Ref.Ordinal < newest
	})
	if err != nil {
		return nil, "", push.Wrap(op, err)
	}
	for _, o := range ordinals {
		if d, ok := found[o]; ok {
			page = append(page, d)
		}
	}
	return page, next, nil
}

// Patch changes a device and returns it as it is then. Invalid, NotFound.
func (r *Registry) Patch(ctx context.Context, ref push.Ref, patch push.DevicePatch) (push.Device, error) {
	const op = "registry.Patch"
	if err := patch.Validate(); err != nil {
		return push.Device{}, push.Wrap(op, err)
	}
	row, err := r.change(ctx, ref, func(row *push.DeviceRow) (string, error) {
		var what []string
		if patch.Attributes != nil || patch.Phone != nil || patch.Network != nil {
			what = append(what, "attributes")
		}
		if patch.Tokens != nil {
			what = append(what, "tokens")
		}
		if patch.Account != nil {
			what = append(what, "account")
		}
		if patch.Test != nil || patch.Blacklisted != nil || patch.Badge != nil {
			what = append(what, "marks")
		}
		assign(&row.Phone, patch.Phone)
		assign(&row.Account, patch.Account)
		assign(&row.Network, patch.Network)
		assign(&row.Test, patch.Test)
		assign(&row.Blacklisted, patch.Blacklisted)
		assign(&row.Badge, patch.Badge)
		return strings.Join(what, ","), merge(row, patch.Attributes, patch.Tokens)
	})
	if err != nil {
		return push.Device{}, push.Wrap(op, err)
	}
	return r.shown(row), nil
}

func assign[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// merge puts attributes and tokens into row; empty ones are taken out. Invalid if there would be too many.
func merge(row *push.DeviceRow, attributes map[string]string, tokens map[string]push.Token) error {
	row.Attributes = merged(row.Attributes, attributes)
	row.Tokens = merged(row.Tokens, tokens)
	switch {
	case len(row.Attributes) > push.MaxAttributes:
		return &push.Error{Kind: push.Invalid, Field: "attributes", Msg: "the device would have more than 64 attributes"}
	case len(row.Tokens) > push.MaxTokens:
		return &push.Error{Kind: push.Invalid, Field: "tokens", Msg: "the device would have more than 16 tokens"}
	}
	return nil
}

// merged returns a new map of both, without zero values.
func merged[V comparable](old, changes map[string]V) map[string]V {
	var zero V
	all := make(map[string]V, len(old)+len(changes))
	maps.Copy(all, old)
	maps.Copy(all, changes)
	maps.DeleteFunc(all, func(_ string, v V) bool { return v == zero })
	return all
}

// Remove removes a device and what is known of it, and revokes it. NotFound.
func (r *Registry) Remove(ctx context.Context, ref push.Ref) error {
	_, err := r.change(ctx, ref, func(row *push.DeviceRow) (string, error) {
		row.Removed = r.now()
		row.Attributes, row.Tokens, row.Phone, row.Network, row.Marks = nil, nil, "", "", push.Marks{}
		return "remove", nil
	})
	return push.Wrap("registry.Remove", err)
}

// change reads a registered device, lets f change it, and puts it into the record and then into the index, while no
// other change of that device is under way. f names the change for the feed; "" means that nothing changed. NotFound.
func (r *Registry) change(ctx context.Context, ref push.Ref, f func(*push.DeviceRow) (what string, err error)) (push.DeviceRow, error) {
	lock := r.devices.device(ref)
	lock.Lock()
	defer lock.Unlock()
	row, err := r.deviceStore.FindDevice(ctx, ref.App, ref.Ordinal)
	if err != nil {
		return row, err
	}
	r.apply(row) // an earlier write may have failed for its caller and happened all the same: the record is right
	if !same(row, ref) {
		return row, noDevice("registry.change")
	}
	what, err := f(&row)
	if err != nil || what == "" {
		return row, err
	}
	row.LastActive = r.lastActive(row)
	if err := r.deviceStore.SaveDevice(durable(ctx), row, what); err != nil {
		r.learn(ctx, ref, err)
		return row, err
	}
	r.apply(row)
	return row, nil
}

// same reports whether row is the registered device that ref means.
func same(row push.DeviceRow, ref push.Ref) bool {
	return row.Removed.IsZero() && row.Ref.Generation == ref.Generation
}

// shown returns a device as it is shown: with its names, which the record does not know.
func (r *Registry) shown(row push.DeviceRow) push.Device {
	d := row.Device
	d.ID, d.ChannelID = r.keys.DeviceID(row.Ref), r.keys.ChannelID(row.Ref)
	d.App, d.Platform = row.Ref.App, row.Ref.Platform
	d.LastActive = r.lastActive(row)
	if d.Attributes == nil {
		d.Attributes = map[string]string{}
	}
	return d
}

// now returns the time as the record keeps it.
func (r *Registry) now() time.Time { return r.options.Now().UTC().Truncate(time.Millisecond) }

func noDevice(op string) error {
	return &push.Error{Op: op, Kind: push.NotFound, Field: "device", Msg: "no such device"}
}
