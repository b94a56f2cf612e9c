package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

func appJSON(app *push.App) (packages, settings string, err error) {
	if packages, err = jsonOf(len(app.Packages), app.Packages); err == nil {
		settings, err = jsonOf(len(app.Settings), app.Settings)
	}
	return packages, settings, err
}

// CreateApp stores app, gives it the next id, and stores creds under that id. Conflict if its name, or a credential's
// service and key, is taken; Field is "name" or the service.
func (s *Store) CreateApp(ctx context.Context, app push.App, creds []push.Credential) (push.App, error) {
	const op = "sqlstore.CreateApp"
	packages, settings, err := appJSON(&app)
	if err != nil {
		return push.App{}, push.Wrap(op, err)
	}
	creds = slices.Clone(creds)
	id, err := s.commit.count(ctx, 4096, func(t *tx) (id int, err error) {
		err = t.nested(func() error {
			if err := t.nameFree(app.Name, 0); err != nil {
				return err
			}
			_, err := t.one("INSERT INTO app (name, time_zone, packages, settings, created) VALUES (?, ?, ?, ?, ?) RETURNING id",
				[]any{app.Name, app.TimeZone, packages, settings, millis(app.Created)}, &id)
			if err != nil {
				return err
			}
			for i := range creds {
				creds[i].App = push.AppID(id)
				if err := t.putCredential(&creds[i]); err != nil {
					return err
				}
			}
			return nil
		})
		return id, err
	})
	if err != nil {
		return push.App{}, push.Wrap(op, err)
	}
	app.ID = push.AppID(id)
	s.setLimit(app.ID, app.Settings.Int(push.SettingInboxLimit))
	return app, nil
}

// nameFree returns Conflict if another app than id has the name.
func (t *tx) nameFree(name string, id push.AppID) error {
	taken, err := t.one("SELECT id FROM app WHERE name = ?1 AND id <> ?2 AND doomed = 0", []any{name, int64(id)}, new(int64))
	if err == nil && taken {
		err = &push.Error{Kind: push.Conflict, Field: "name", Msg: "an app has this name"}
	}
	return err
}

// appThere returns NotFound with Field "app" if an app is not there, or was deleted. A commit asks once.
func (t *tx) appThere(app push.AppID) error {
	if t.apps[app] {
		return nil
	}
	found, err := t.one("SELECT 1 FROM app WHERE id = ?1 AND doomed = 0", []any{int64(app)}, new(int))
	if err != nil {
		return err
	}
	if !found {
		return &push.Error{Kind: push.NotFound, Field: "app", Msg: "no such app"}
	}
	if t.apps == nil {
		t.apps = map[push.AppID]bool{}
	}
	t.apps[app] = true
	return nil
}

// putCredential stores c in the place of the one that its app has for the same service and key. A key of another app is a
// Conflict, unless both are shared; one that has expired gives way.
func (t *tx) putCredential(c *push.Credential) error {
	now := time.Now().UnixMilli()
	_, err := t.exec("DELETE FROM credential WHERE service = ? AND key = ? AND app <> ? AND expires > 0 AND expires <= ?",
		c.Service, c.Key, int64(c.App), now)
	if err != nil {
		return err
	}
	taken, err := t.one("SELECT app FROM credential WHERE service = ?1 AND key = ?2 AND app <> ?3 AND (shared = 0 OR ?4 = 0)",
		[]any{c.Service, c.Key, int64(c.App), flag(c.Shared)}, new(int64))
	if err != nil {
		return err
	}
	if taken {
		return &push.Error{Kind: push.Conflict, Field: c.Service, Msg: "another app has this key"}
	}
	sealed := c.Sealed
	if sealed == nil {
		sealed = []byte{}
	}
	_, err = t.exec(`INSERT INTO credential (app, service, key, shared, sealed, expires) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (app, service, key) DO UPDATE SET shared = excluded.shared, sealed = excluded.sealed, expires = excluded.expires`,
		int64(c.App), c.Service, c.Key, flag(c.Shared), sealed, millis(c.Expires))
	return err
}

// UpdateApp replaces an app's name, time zone, packages and settings. NotFound; Conflict with Field "name".
func (s *Store) UpdateApp(ctx context.Context, app push.App) error {
	const op = "sqlstore.UpdateApp"
	packages, settings, err := appJSON(&app)
	if err != nil {
		return push.Wrap(op, err)
	}
	err = s.commit.do(ctx, 4096, func(t *tx) error {
		if err := t.nameFree(app.Name, app.ID); err != nil {
			return err
		}
		n, err := t.exec("UPDATE app SET name = ?, time_zone = ?, packages = ?, settings = ? WHERE id = ? AND doomed = 0",
			app.Name, app.TimeZone, packages, settings, int64(app.ID))
		if err == nil && n == 0 {
			err = notFound("no such app")
		}
		return err
	})
	if err == nil {
		s.setLimit(app.ID, app.Settings.Int(push.SettingInboxLimit))
	}
	return push.Wrap(op, err)
}

// Apps returns all apps and all credentials, in order of ids.
func (s *Store) Apps(ctx context.Context) ([]push.App, []push.Credential, error) {
	const op = "sqlstore.Apps"
	apps, err := s.apps(ctx)
	if err != nil {
		return nil, nil, push.Wrap(op, err)
	}
	var creds []push.Credential
	err = s.read.each(ctx, "SELECT app, service, key, shared, sealed, expires FROM credential ORDER BY app, service, key",
		func(rows *sql.Rows) error {
			var c push.Credential
			var expires int64
			err := rows.Scan(&c.App, &c.Service, &c.Key, &c.Shared, &c.Sealed, &expires)
			c.Expires = timeOf(expires)
			creds = append(creds, c)
			return err
		})
	return apps, creds, push.Wrap(op, err)
}

func (s *Store) apps(ctx context.Context) ([]push.App, error) {
	var apps []push.App
	err := s.read.each(ctx, "SELECT id, name, time_zone, packages, settings, created FROM app WHERE doomed = 0 ORDER BY id",
		func(rows *sql.Rows) error {
			var a push.App
			var packages, settings sql.RawBytes
			var created int64
			if err := rows.Scan(&a.ID, &a.Name, &a.TimeZone, &packages, &settings, &created); err != nil {
				return err
			}
			a.Created = timeOf(created)
			if len(packages) > 0 {
				if err := json.Unmarshal(packages, &a.Packages); err != nil {
					return fmt.Errorf("packages of app %d: %w", a.ID, err)
				}
			}
			if len(settings) > 0 {
				if err := json.Unmarshal(settings, &a.Settings); err != nil {
					return fmt.Errorf("settings of app %d: %w", a.ID, err)
				}
			}
			apps = append(apps, a)
			return nil
		})
	return apps, err
}

// loadLimits reads what inboxes may hold.
func (s *Store) loadLimits(ctx context.Context) error {
	apps, err := s.apps(ctx)
	for _, a := range apps {
		s.setLimit(a.ID, a.Settings.Int(push.SettingInboxLimit))
	}
	return err
}

// PutCredentials stores creds, replacing those of the same app, service and key, in one commit. Conflict if another app has
// one; Field is the service.
func (s *Store) PutCredentials(ctx context.Context, creds []push.Credential) error {
	creds = slices.Clone(creds)
	err := s.commit.do(ctx, 256*len(creds), func(t *tx) error {
		return t.nested(func() error {
			for i := range creds {
				found, err := t.one("SELECT id FROM app WHERE id = ?1 AND doomed = 0", []any{int64(creds[i].App)}, new(int64))
				if err != nil || !found {
					return orNotFound(err, "no such app")
				}
				if err := t.putCredential(&creds[i]); err != nil {
					return err
				}
			}
			return nil
		})
	})
	return push.Wrap("sqlstore.PutCredentials", err)
}

// DeleteApp removes an app, its credentials, devices and pushes. NotFound. The app and its credentials go in one commit, what
// it owned in slices that let others through; if DeleteApp does not come to the end of that, because ctx ends or the process
// does, the sweep goes on. Its rows of the change feed stay until their time: who follows the feed knows which apps there are.
func (s *Store) DeleteApp(ctx context.Context, id push.AppID) error {
	err := s.commit.do(ctx, 0, func(t *tx) error {
		n, err := t.exec("UPDATE app SET doomed = 1 WHERE id = ? AND doomed = 0", int64(id))
		if err != nil || n == 0 {
			return orNotFound(err, "no such app")
		}
		delete(t.apps, id)
		if _, err := t.exec("DELETE FROM credential WHERE app = ?", int64(id)); err != nil {
			return err
		}
		t.ended = true
		// Its pushes go on to nobody from now on: live ones end, whatever their rows say.
		_, err = t.exec("UPDATE push SET state = 'cancelled', reason = 'the app was deleted' WHERE app = ? AND state IN "+liveStates, int64(id))
		return err
	})
	if err == nil {
		if err := s.purge(ctx, id); err != nil {
			s.opts.Log.Warn("a deleted app's rows remain, the sweep will remove them", "app", id, "err", err)
		}
	}
	return push.Wrap("sqlstore.DeleteApp", err)
}
