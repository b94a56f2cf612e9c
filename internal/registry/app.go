package registry

import (
	"context"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// loadApps reads apps and credentials from the record. r.changing is held.
func (r *Registry) loadApps(ctx context.Context) error {
	const op = "registry.loadApps"
	apps, rows, err := r.stores.Apps.Apps(ctx)
	if err != nil {
		return push.Wrap(op, err)
	}
	now := r.options.Now()
	var creds []*credential
	var again []push.Credential
	for _, row := range rows {
		if !row.Expires.IsZero() && !now.Before(row.Expires) {
			continue
		}
		c, fresh, err := r.open(row)
		if err != nil {
			return err
		}
		if fresh {
			again = append(again, r.seal(c))
		}
		creds = append(creds, c)
	}
	if len(again) > 0 { // a start that makes up for a stop between the two commits of CreateApp
		if err := r.stores.Apps.PutCredentials(ctx, again); err != nil {
			return push.Wrap(op, err)
		}
	}
	r.tables.Store(newTables(apps, creds))
	return nil
}

// settle reads the apps again after a write whose outcome is not known. r.changing is held.
func (r *Registry) settle(ctx context.Context, failed error) {
	if !uncertain(failed) {
		return
	}
	if err := r.loadApps(durable(ctx)); err != nil {
		r.options.Log.Warn("apps not read again after a failed write", "err", err)
	}
}

// CreateApp makes an app with given credentials, and new ones where given has none. A time zone that is not set is
// push.DefaultTimeZone. A Getui app key and an access key may be of other apps too, if the secret is theirs.
// Invalid, Conflict (Field is "name" or the service).
func (r *Registry) CreateApp(ctx context.Context, app push.App, given push.Credentials) (push.AppCard, error) {
	const op = "registry.CreateApp"
	app.ID, app.Created = 0, r.options.Now().UTC().Truncate(time.Millisecond)
	if app.TimeZone == "" {
		app.TimeZone = push.DefaultTimeZone
	}
	if err := app.Validate(); err != nil {
		return push.AppCard{}, push.Wrap(op, err)
	}
	r.changing.Lock()
	defer r.changing.Unlock()
	t := r.tables.Load()
	if _, taken := t.names[app.Name]; taken {
		return push.AppCard{}, conflict("name", "another app has this name")
	}
	creds, err := r.mint(given)
	if err != nil {
		return push.AppCard{}, err
	}
	stored, err := r.stores.Apps.CreateApp(durable(ctx), app, r.sealAll(creds))
	if err != nil {
		r.settle(ctx, err)
		return push.AppCard{}, push.Wrap(op, err)
	}
	// Only now is it known whose the credentials are, and they are sealed again as that app's. If this fails the app is
	// whole all the same, and the next start does it.
	for _, c := range creds {
		c.app = stored.ID
	}
	if err := r.stores.Apps.PutCredentials(durable(ctx), r.sealAll(creds)); err != nil {
		r.options.Log.Warn("credentials of a new app not sealed again", "app", stored.ID, "err", err)
	}
	r.tables.Store(t.withApp(stored).with(creds...))
	return r.Card(stored.ID)
}

func (r *Registry) sealAll(creds []*credential) []push.Credential {
	rows := make([]push.Credential, len(creds))
	for i, c := range creds {
		rows[i] = r.seal(c)
	}
	return rows
}

// UpdateApp replaces an app's name, time zone, packages and settings, and returns it. Invalid, NotFound, Conflict.
func (r *Registry) UpdateApp(ctx context.Context, app push.App) (push.App, error) {
	const op = "registry.UpdateApp"
	r.changing.Lock()
	defer r.changing.Unlock()
	t := r.tables.Load()
	old, err := t.app(app.ID)
	if err != nil {
		return push.App{}, err
	}
	if app.TimeZone == "" {
		app.TimeZone = push.DefaultTimeZone
	}
	app.Created = old.Created
	if err := app.Validate(); err != nil {
		return push.App{}, push.Wrap(op, err)
	}
	if id, taken := t.names[app.Name]; taken && id != app.ID {
		return push.App{}, conflict("name", "another app has this name")
	}
	if err := r.stores.Apps.UpdateApp(durable(ctx), app); err != nil {
		r.settle(ctx, err)
		return push.App{}, push.Wrap(op, err)
	}
	r.tables.Store(t.withApp(app))
	if app.Settings.Bool(push.SettingDisabled) {
		r.revokeOnline(app.ID)
	}
	return app, nil
}

// DeleteApp removes an app with its credentials, devices and pushes, and revokes the devices that are connected.
// NotFound.
func (r *Registry) DeleteApp(ctx context.Context, id push.AppID) error {
	const op = "registry.DeleteApp"
	r.changing.Lock()
	defer r.changing.Unlock()
	t := r.tables.Load()
	if _, err := t.app(id); err != nil {
		return err
	}
	if err := r.stores.Apps.DeleteApp(durable(ctx), id); err != nil {
		r.settle(ctx, err)
		return push.Wrap(op, err)
	}
	r.tables.Store(t.without(id))
	r.revokeOnline(id)
	r.index.Drop(id)
	r.tags.drop(id)
	r.activity.drop(id)
	return nil
}

// revokeOnline revokes the devices of an app that are connected.
func (r *Registry) revokeOnline(id push.AppID) {
	for o := range r.activity.onlineOf(id).All() {
		if ref, ok := r.index.Find(id, o); ok {
			r.options.Revoked(ref)
		}
	}
}

// App returns an app. NotFound. Its maps belong to the registry and must not be changed, as with all apps that the
// registry returns.
func (r *Registry) App(id push.AppID) (push.App, error) { return r.tables.Load().app(id) }

// FindApp returns an app by its id in decimal, or by its name. NotFound.
func (r *Registry) FindApp(idOrName string) (push.App, error) { return r.tables.Load().find(idOrName) }

// Apps returns all apps in order of their ids. The slice belongs to the registry.
func (r *Registry) Apps() []push.App { return r.tables.Load().list }

// ByAPIKey returns the app that a native API key opens. Unauthenticated if it opens none, Denied if the app is switched
// off. The key is looked up by its keyed hash, so that the time it takes says nothing of other keys.
func (r *Registry) ByAPIKey(key string) (push.App, error) {
	t := r.tables.Load()
	for _, c := range t.credentials[name{Native, r.apiKeyName(key)}] {
		if c.accepts(key, r.options.Now()) {
			if t.disabled[c.app] {
				return push.App{}, switchedOff()
			}
			return t.app(c.app)
		}
	}
	return push.App{}, &push.Error{Op: "registry.ByAPIKey", Kind: push.Unauthenticated, Msg: "not an API key"}
}

// Credential returns the apps that a key of a service is of, and the secrets that are valid for it now, the current one
// first: more than one for a day after RotateKeys, none where the service has none. Apps that are switched off are left
// out. NotFound if nobody has the key, Denied if all who have it are switched off.
func (r *Registry) Credential(service, key string) (apps []push.App, secrets []string, err error) {
	t := r.tables.Load()
	held := t.credentials[name{service, key}]
	if len(held) == 0 {
		return nil, nil, &push.Error{Op: "registry.Credential", Kind: push.NotFound, Field: "key", Msg: "nobody has this key"}
	}
	for _, c := range held {
		if app, err := t.app(c.app); err == nil && !t.disabled[c.app] {
			apps = append(apps, app)
		}
	}
	if len(apps) == 0 {
		return nil, nil, switchedOff()
	}
	return apps, held[0].valid(r.options.Now()), nil
}

// UmengApp returns the app and the platform that an appkey addresses, and the secrets that are valid for it now. NotFound
// if nobody has the appkey, Denied if the app is switched off.
func (r *Registry) UmengApp(appkey string) (push.App, push.Platform, []string, error) {
	t := r.tables.Load()
	for _, u := range umengPlatforms {
		if len(t.credentials[name{u.service, appkey}]) == 0 {
			continue
		}
		apps, secrets, err := r.Credential(u.service, appkey)
		if err != nil {
			return push.App{}, 0, nil, err
		}
		return apps[0], u.platform, secrets, nil
	}
	return push.App{}, 0, nil, &push.Error{Op: "registry.UmengApp", Kind: push.NotFound, Field: "appkey", Msg: "nobody has this appkey"}
}

// An umengPlatform is the service under which the appkeys of a platform are filed.
type umengPlatform struct {
	service  string
	platform push.Platform
}

var umengPlatforms = [...]umengPlatform{{UmengAndroid, push.Android}, {UmengIOS, push.IOS}, {UmengHarmony, push.Harmony}}

func switchedOff() error {
	return &push.Error{Kind: push.Denied, Field: "app", Msg: "the app is switched off"}
}
