package registry

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// tables is what the memory knows of apps and credentials at one moment. It is never changed: a change makes another.
type tables struct {
	list        []push.App // by id
	apps        map[push.AppID]push.App
	names       map[string]push.AppID
	disabled    map[push.AppID]bool
	zones       map[push.AppID]*time.Location
	all         []*credential
	credentials map[name][]*credential // more than one for a key that apps share
	owned       map[owner][]*credential
}

// A name is what a request names: a service and a key of it.
type name struct{ service, key string }

// An owner is an app at a service.
type owner struct {
	app     push.AppID
	service string
}

func newTables(apps []push.App, creds []*credential) *tables {
	t := &tables{
		list: slices.SortedFunc(slices.Values(apps), func(a, b push.App) int { return cmp.Compare(a.ID, b.ID) }),
		apps: make(map[push.AppID]push.App, len(apps)), names: make(map[string]push.AppID, len(apps)),
		disabled: make(map[push.AppID]bool), zones: make(map[push.AppID]*time.Location, len(apps)), all: creds,
		credentials: make(map[name][]*credential, len(creds)), owned: make(map[owner][]*credential, len(creds)),
	}
	zones := map[string]*time.Location{} // to look one up is to read a file
	for _, a := range apps {
		t.apps[a.ID], t.names[a.Name] = a, a.ID
		if zones[a.TimeZone] == nil {
			zones[a.TimeZone] = a.Location()
		}
		t.zones[a.ID] = zones[a.TimeZone]
		if a.Settings.Bool(push.SettingDisabled) {
			t.disabled[a.ID] = true
		}
	}
	for _, c := range creds {
		n, o := name{c.service, c.key}, owner{c.app, c.service}
		t.credentials[n] = append(t.credentials[n], c)
		t.owned[o] = append(t.owned[o], c)
	}
	return t
}

// with returns t with creds added, or put in the place of those of the same app, service and key.
func (t *tables) with(creds ...*credential) *tables {
	all := slices.DeleteFunc(slices.Clone(t.all), func(old *credential) bool {
		return slices.ContainsFunc(creds, func(c *credential) bool {
			return c.app == old.app && c.service == old.service && c.key == old.key
		})
	})
	return newTables(t.list, append(all, creds...))
}

// withApp returns t with app added, or put in the place of the one that has its id.
func (t *tables) withApp(app push.App) *tables {
	return newTables(append(t.others(app.ID), app), t.all)
}

// without returns t without an app and its credentials.
func (t *tables) without(id push.AppID) *tables {
	creds := slices.DeleteFunc(slices.Clone(t.all), func(c *credential) bool { return c.app == id })
	return newTables(t.others(id), creds)
}

func (t *tables) others(id push.AppID) []push.App {
	return slices.DeleteFunc(slices.Clone(t.list), func(a push.App) bool { return a.ID == id })
}

func (t *tables) app(id push.AppID) (push.App, error) {
	if a, ok := t.apps[id]; ok {
		return a, nil
	}
	return push.App{}, noApp()
}

// zone returns the time zone of an app, UTC of one that is not there.
func (t *tables) zone(id push.AppID) *time.Location {
	if zone := t.zones[id]; zone != nil {
		return zone
	}
	return time.UTC
}

// find returns the app that has an id in decimal, or a name; no name is a number.
func (t *tables) find(idOrName string) (push.App, error) {
	if n, err := strconv.ParseUint(idOrName, 10, 32); err == nil {
		return t.app(push.AppID(n))
	}
	if id, ok := t.names[idOrName]; ok {
		return t.app(id)
	}
	return push.App{}, noApp()
}

// current returns the credential of an app for a service that does not end, nil if it has none.
func (t *tables) current(id push.AppID, service string) *credential {
	for _, c := range t.owned[owner{id, service}] {
		if c.expires.IsZero() {
			return c
		}
	}
	return nil
}

// hasAppkey reports whether an Umeng appkey is anybody's, on any platform.
func (t *tables) hasAppkey(key string) bool {
	return slices.ContainsFunc(umengPlatforms[:], func(u umengPlatform) bool {
		return len(t.credentials[name{u.service, key}]) > 0
	})
}

func noApp() error { return &push.Error{Kind: push.NotFound, Field: "app", Msg: "no such app"} }
