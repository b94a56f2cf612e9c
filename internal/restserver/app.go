package restserver

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"

	"github.com/carillonpush/carillon/internal/push"
)

// AppBody makes an app. Credentials that are left out are made up.
type AppBody struct {
	Name     string                   `json:"name"`
	TimeZone string                   `json:"time_zone,omitempty"`
	Packages map[push.Platform]string `json:"packages,omitempty"`
	Settings map[string]SettingValue  `json:"settings,omitempty"`
	push.Credentials
}

// AppPatch changes an app. Fields that are left out stay; a package "" and a setting null are taken away.
type AppPatch struct {
	Name     *string                  `json:"name,omitempty"`
	TimeZone *string                  `json:"time_zone,omitempty"`
	Packages map[push.Platform]string `json:"packages,omitempty"`
	Settings map[string]SettingValue  `json:"settings,omitempty"`
}

// RotateBody names the credentials to replace.
type RotateBody struct {
	Kind string `json:"kind"`
}

// A SettingValue is the value of a setting as a caller wrote it: a string, a boolean or a number; null takes it back to
// its default.
type SettingValue struct {
	text  string
	unset bool
}

// UnmarshalJSON reads a scalar.
func (v *SettingValue) UnmarshalJSON(b []byte) error {
	// Scalars are kept as they were written: "7", 7 and true are the texts 7, 7 and true.
	b = bytes.TrimSpace(b)
	*v = SettingValue{text: string(b)}
	switch {
	case string(b) == "null":
		*v = SettingValue{unset: true}
	case b[0] == '"':
		return json.Unmarshal(b, &v.text)
	case b[0] == '{' || b[0] == '[':
		return invalid("", "must be a string, a number, true, false or null")
	}
	return nil
}

// appRoutes registers what administrators do with apps.
func (s *Server) appRoutes() {
	const tag = "Apps"
	handle(s, route{
		method: http.MethodPost, path: "/v1/apps", id: "create-app", tag: tag, access: admin,
		summary: "Create an app",
		doc: "Makes an app with credentials for native REST, for devices and for each of the five services. Those that the " +
			"body gives are taken over, so that a sender that moves here keeps its configuration; the others are made up.",
		body: AppBody{}, example: `{"name": "shop", "time_zone": "Asia/Shanghai", "packages": {"android": "com.example.shop"}}`,
		answers: []answer{{http.StatusCreated, push.AppCard{}, "The app with all its credentials."}},
	}, s.createApp)
	handle(s, route{
		method: http.MethodGet, path: "/v1/apps", id: "list-apps", tag: tag, access: admin,
		summary: "List apps", doc: "Newest first, without credentials.", params: pageParams(),
		answers: []answer{{http.StatusOK, List[push.App]{}, "One page."}},
	}, s.listApps)
	handle(s, route{
		method: http.MethodGet, path: "/v1/apps/{app}", id: "show-app", tag: tag, access: admin,
		summary: "Show an app", doc: "The app with all its credentials.",
		answers: []answer{{http.StatusOK, push.AppCard{}, "The app with all its credentials."}},
	}, func(_ context.Context, c *call, _ *none) (any, error) { return cardAnswer(s.house.Keys.Card(c.app.ID)) })
	handle(s, route{
		method: http.MethodPatch, path: "/v1/apps/{app}", id: "change-app", tag: tag, access: admin,
		summary: "Change an app",
		doc:     "Fields that are left out stay as they are. A setting that is null goes back to its default.",
		body:    AppPatch{}, example: `{"settings": {"ip_allow": "10.0.0.0/8", "umeng.require_ticker": false}}`,
		answers: []answer{{http.StatusOK, push.App{}, "The app as it is now."}},
	}, s.patchApp)
	handle(s, route{
		method: http.MethodDelete, path: "/v1/apps/{app}", id: "delete-app", tag: tag, access: admin,
		summary: "Delete an app", doc: "Removes the app, its credentials, its devices and its pushes. There is no way back.",
		answers: []answer{{http.StatusNoContent, nil, "It is gone."}},
	}, func(ctx context.Context, c *call, _ *none) (any, error) {
		return nil, s.house.Apps.DeleteApp(ctx, c.app.ID)
	})
	handle(s, route{
		method: http.MethodPost, path: "/v1/apps/{app}/rotate-keys", id: "rotate-keys", tag: tag, access: admin,
		summary: "Replace credentials", doc: "Makes new credentials of one kind. The old ones stay valid for 24 hours.",
		body: RotateBody{}, example: `{"kind": "native"}`,
		answers: []answer{{http.StatusOK, push.AppCard{}, "The app with all its credentials."}},
	}, s.rotateKeys)
}

// createApp makes an app.
func (s *Server) createApp(ctx context.Context, _ *call, b *AppBody) (any, error) {
	app := push.App{Name: b.Name, TimeZone: b.TimeZone, Packages: packages(nil, b.Packages), Settings: settings(nil, b.Settings)}
	if app.TimeZone == "" {
		app.TimeZone = push.DefaultTimeZone
	}
	if err := app.Validate(); err != nil {
		return nil, err
	}
	return cardAnswer(s.house.Apps.CreateApp(ctx, app, b.Credentials))
}

// listApps answers one page of apps. A cursor is the id of the last app of the page before.
func (s *Server) listApps(_ context.Context, c *call, _ *none) (any, error) {
	cursor, limit, err := c.page()
	if err != nil {
		return nil, err
	}
	var before push.AppID
	if cursor != "" {
		if before.UnmarshalText([]byte(cursor)) != nil {
			return nil, badCursor()
		}
	}
	all := s.house.Apps.Apps()
	var page []push.App
	next := ""
	for i := len(all) - 1; i >= 0; i-- { // Apps are in order of ids, which is that of their creation
		if before != 0 && all[i].ID >= before {
			continue
		}
		if len(page) == limit {
			next = page[limit-1].ID.String()
			break
		}
		page = append(page, appAnswer(all[i]))
	}
	return listOf(page, next), nil
}

// patchApp changes an app. One patch at a time: the registry's port replaces all fields, so that of two patches that
// read the same app the second would undo the first.
func (s *Server) patchApp(ctx context.Context, c *call, b *AppPatch) (any, error) {
	s.patching.Lock()
	defer s.patching.Unlock()
	app, err := s.house.Apps.FindApp(c.app.ID.String()) // again: another patch may have been before us
	if err != nil {
		return nil, err
	}
	if b.Name != nil {
		app.Name = *b.Name
	}
	if b.TimeZone != nil {
		app.TimeZone = *b.TimeZone
	}
	app.Packages, app.Settings = packages(app.Packages, b.Packages), settings(app.Settings, b.Settings)
	if err := app.Validate(); err != nil {
		return nil, err
	}
	app, err = s.house.Apps.UpdateApp(ctx, app)
	return appAnswer(app), err
}

// rotateKeys replaces an app's credentials of one kind.
func (s *Server) rotateKeys(ctx context.Context, c *call, b *RotateBody) (any, error) {
	if b.Kind == "" {
		return nil, invalid("kind", "is missing")
	}
	return cardAnswer(s.house.Keys.RotateKeys(ctx, c.app.ID, b.Kind))
}

// packages returns old changed by patch, in which "" takes a package away; old stays as it is.
func packages(old, patch map[push.Platform]string) map[push.Platform]string {
	changed := map[push.Platform]string{}
	maps.Copy(changed, old)
	for p, name := range patch {
		changed[p] = name
		if name == "" {
			delete(changed, p)
		}
	}
	return changed
}

// settings returns old changed by patch; old stays as it is.
func settings(old push.Settings, patch map[string]SettingValue) push.Settings {
	changed := maps.Clone(old)
	if changed == nil {
		changed = push.Settings{}
	}
	for k, v := range patch {
		changed[k] = v.text
		if v.unset {
			delete(changed, k)
		}
	}
	return changed
}

// appAnswer returns app with an object where it has nil settings, and with a package, which may be "", of every platform
// that has an app store. The web has none and is shown if it was given.
func appAnswer(app push.App) push.App {
	packages := map[push.Platform]string{push.Android: "", push.IOS: "", push.Harmony: ""}
	maps.Copy(packages, app.Packages)
	app.Packages = packages
	if app.Settings == nil {
		app.Settings = push.Settings{}
	}
	return app
}

// cardAnswer does the same for a card, around a port's call.
func cardAnswer(card push.AppCard, err error) (any, error) {
	card.App = appAnswer(card.App)
	return card, err
}
