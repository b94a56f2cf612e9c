package registry

import (
	"context"
	"maps"
	"slices"
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
	ok := r.keys.VerifySecret(r.keys.DeviceID(ref), r.index.Epoch(ref.App, ref.Ordinal), secret)
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

// Ref returns the registered device of app that has name as its device id, channel id, or id at an earlier provider.
// NotFound.
func (r *Registry) Ref(ctx context.Context, app push.AppID, name string) (ref push.Ref, err error) {
	const op = "registry.Ref"
	_, err = r.members(ctx, app, naming{}, []string{name}, nil, func(found push.Ref, _ string) bool { ref = found; return true })
	if err == nil && ref == (push.Ref{}) {
		err = noDevice(op)
	}
	return ref, push.Wrap(op, err)
}

// Device returns a device of app by device id, channel id, or the id that it had at an earlier provider. NotFound, also for
// devices of other apps.
func (r *Registry) Device(ctx context.Context, app push.AppID, name string) (push.Device, error) {
	const op = "registry.Device"
	ref, err := r.Ref(ctx, app, name)
	if err != nil {
		return push.Device{}, push.Wrap(op, err)
	}
	rows, err := r.stores.Devices.FindDevices(ctx, app, []push.Ordinal{ref.Ordinal})
	if err != nil {
		return push.Device{}, push.Wrap(op, err)
	}
	if len(rows) == 0 || !same(rows[0], ref) {
		return push.Device{}, noDevice(op)
	}
	d, err := r.shown(ctx, rows[0])
	return d, push.Wrap(op, err)
}

// Devices returns registered devices of app with all that is known of them, newest first, at most limit, from cursor on
// ("": from the start), and where to go on, "" at the end. A page may be short, even empty, before the end. Invalid for a
// cursor that it did not make.
func (r *Registry) Devices(ctx context.Context, app push.AppID, cursor string, limit int) (page []push.Device, next string, err error) {
	const op = "registry.Devices"
	var before uint64
	if cursor != "" {
		if before, err = strconv.ParseUint(cursor, 10, 32); err != nil || before == 0 {
			return nil, "", badCursor(op)
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
	rows, err := r.stores.Devices.FindDevices(ctx, app, ordinals)
	if err != nil {
		return nil, "", push.Wrap(op, err)
	}
	rows = slices.DeleteFunc(rows, func(row push.DeviceRow) bool { return !row.Removed.IsZero() })
	slices.Reverse(rows) // newest first
	page, err = r.shownAll(ctx, app, rows)
	return page, next, push.Wrap(op, err)
}

// Patch changes a device and returns it as it is then. Invalid, NotFound.
func (r *Registry) Patch(ctx context.Context, ref push.Ref, patch push.DevicePatch) (push.Device, error) {
	const op = "registry.Patch"
	if err := patch.Validate(); err != nil {
		return push.Device{}, push.Wrap(op, err)
	}
	if patch.Phone != nil {
		defer r.phones.lock(ofPhones([]string{*patch.Phone})...)()
	}
	row, err := r.change(ctx, ref, func(row *push.DeviceRow, c *push.DeviceChange) error {
		c.What = whatOfPatch(patch)
		assign(&row.Phone, patch.Phone)
		assign(&row.Network, patch.Network)
		assign(&row.Test, patch.Test)
		assign(&row.Blacklisted, patch.Blacklisted)
		assign(&row.Badge, patch.Badge)
		if patch.Account != nil {
			setAccount(row, *patch.Account, r.now())
		}
		return merge(row, patch.Attributes, patch.Tokens)
	})
	if err != nil {
		return push.Device{}, push.Wrap(op, err)
	}
	d, err := r.shown(ctx, row)
	return d, push.Wrap(op, err)
}

// whatOfPatch names a patch for the feed.
func whatOfPatch(patch push.DevicePatch) string {
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
	return strings.Join(what, ",")
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

// merged returns a new map of both, without zero values; nil if nothing is left.
func merged[V comparable](old, changes map[string]V) map[string]V {
	var zero V
	all := make(map[string]V, len(old)+len(changes))
	maps.Copy(all, old)
	maps.Copy(all, changes)
	maps.DeleteFunc(all, func(_ string, v V) bool { return v == zero })
	if len(all) == 0 {
		return nil
	}
	return all
}

// Remove removes a device, what is known of it and its labels, and revokes it. NotFound.
func (r *Registry) Remove(ctx context.Context, ref push.Ref) error {
	_, err := r.change(ctx, ref, func(row *push.DeviceRow, c *push.DeviceChange) error {
		c.What = "remove"
		clearDevice(row, r.now())
		return nil
	})
	return push.Wrap("registry.Remove", err)
}

// clearDevice makes row that of a removed device: what it was called, and what was known of it, goes.
func clearDevice(row *push.DeviceRow, now time.Time) {
	row.Removed = now
	row.Attributes, row.Tokens, row.TagIDs = nil, nil, nil
	row.Phone, row.Account, row.PreviousID, row.Network = "", "", "", ""
	row.Marks, row.Bound, row.Unbound = push.Marks{}, time.Time{}, time.Time{}
}

// shown returns a device as it is shown: with its names and labels, which its row does not have.
func (r *Registry) shown(ctx context.Context, row push.DeviceRow) (push.Device, error) {
	all, err := r.shownAll(ctx, row.Ref.App, []push.DeviceRow{row})
	if err != nil {
		return push.Device{}, err
	}
	return all[0], nil
}

// shownAll returns devices of app as they are shown.
func (r *Registry) shownAll(ctx context.Context, app push.AppID, rows []push.DeviceRow) ([]push.Device, error) {
	ordinals := make([]push.Ordinal, len(rows))
	for i := range rows {
		ordinals[i] = rows[i].Ref.Ordinal
	}
	aliases, err := r.stores.Labels.Aliases(ctx, app, ordinals)
	if err != nil {
		return nil, err
	}
	all := make([]push.Device, len(rows))
	for i, row := range rows {
		d := row.Device
		d.ID, d.ChannelID = r.keys.DeviceID(row.Ref), r.keys.ChannelID(row.Ref)
		d.App, d.Platform = row.Ref.App, row.Ref.Platform
		d.LastActive = r.lastActive(row)
		d.Tags, d.Aliases = r.tags.names(app, row.TagIDs), aliases[row.Ref.Ordinal]
		if d.Attributes == nil {
			d.Attributes = map[string]string{}
		}
		all[i] = d
	}
	return all, nil
}
