package registry

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"

	"github.com/carillonpush/carillon/internal/push"
)

// importInstall stands for the install of a device that was imported, until one takes it over.
func (r *Registry) importInstall(app push.AppID, previousID string) [32]byte {
	return r.keys.Hash("import", app, previousID)
}

// imported returns the registered device of an id at an earlier provider. NotFound.
func (r *Registry) imported(ctx context.Context, app push.AppID, previousID string) (push.Ordinal, error) {
	holders, err := r.stores.Devices.Holders(ctx, app, push.Names{Kind: push.ByPrevious, Values: []string{previousID}}, 0)
	if err != nil {
		return 0, err
	}
	if len(holders) == 0 {
		return 0, noDevice("registry.imported")
	}
	return holders[0].Ordinal, nil // it is unique
}

// adopt makes an install the imported device of its previous id: the imported device gets the install and what it says of
// itself, and its older secret, if anybody has one, is dead. own is the device that the install has, if it has one: it is
// removed in the same commit.
//
// A right proof shows that the app's own back-end lets this phone be that device. Without one an app may be open: the first
// install that names the id becomes it. Denied with Field "previous_proof" or "previous_id", Conflict with Field "platform".
// r.installs of both the install and the import are held.
func (r *Registry) adopt(ctx context.Context, app push.App, reg push.Registration, install [32]byte, imported push.Ordinal, own push.Ref) (push.Registered, error) {
	const op = "registry.adopt"
	ordinals := []push.Ordinal{imported}
	if own != (push.Ref{}) {
		ordinals = append(ordinals, own.Ordinal)
	}
	defer r.devices.lock(ofDevices(app.ID, ordinals)...)()
	found, err := r.find(ctx, app.ID, ordinals)
	if err != nil {
		return push.Registered{}, err
	}
	row, ok := found[imported]
	if !ok || !row.Removed.IsZero() || row.PreviousID != reg.PreviousID {
		return push.Registered{}, &push.Error{Op: op, Kind: push.Unavailable, Msg: "the imported device is being changed: try again"}
	}
	if !r.proves(app.ID, reg) {
		open := app.Settings.Get(push.SettingAdoptPrevious) == "open"
		switch {
		case !open:
			return push.Registered{}, &push.Error{Op: op, Kind: push.Denied, Field: "previous_proof", Msg: "does not show that this is the device of previous_id"}
		case row.Install != r.importInstall(app.ID, reg.PreviousID):
			return push.Registered{}, &push.Error{Op: op, Kind: push.Denied, Field: "previous_id", Msg: "is another install's by now"}
		}
	}
	if row.Ref.Platform != reg.Platform {
		return push.Registered{}, otherPlatform("the device of previous_id is of another platform")
	}
	c := push.DeviceChange{App: app.ID, What: "register"}
	row.Install = install
	row.Epoch++
	row.Reset = false // it is not who asks that had the older secret
	if err := r.comes(&row, reg); err != nil {
		return push.Registered{}, err
	}
	c.Save = r.different(c.Save, found[imported], row)
	left, leaves := found[own.Ordinal]
	leaves = leaves && own != (push.Ref{}) && same(left, own)
	if leaves {
		clearDevice(&left, r.now())
		c.Save = append(c.Save, left)
	}
	if err := r.write(ctx, &c); err != nil {
		return push.Registered{}, err
	}
	if leaves {
		r.told(ctx, left.Ref)
	}
	got := r.registered(row)
	got.Adopted = true
	return got, nil
}

// proves reports whether reg has the right proof of its previous id. How long it takes says nothing of the right one.
func (r *Registry) proves(app push.AppID, reg push.Registration) bool {
	right := false
	for _, c := range r.tables.Load().owned[owner{app, Native}] {
		for _, key := range c.valid(r.options.Now()) {
			right = hmac.Equal([]byte(proof(key, reg.PreviousID)), []byte(reg.PreviousProof)) || right
		}
	}
	return right
}

// proof returns 64 lower-case hex digits of HMAC-SHA256 of the id under the API key.
func proof(apiKey, previousID string) string {
	mac := hmac.New(sha256.New, []byte(apiKey))
	mac.Write([]byte(previousID))
	return hex.EncodeToString(mac.Sum(nil))
}
