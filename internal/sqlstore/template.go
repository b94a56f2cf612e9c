package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/carillonpush/carillon/internal/push"
)

// AddTemplate stores t in the place of the one of its name, if there is one, which replaced reports. TooMany with Field
// "templates" if the app has most others already; NotFound with Field "app"; Unavailable with push.ErrNotQueued if the disk's
// reserve is reached.
func (s *Store) AddTemplate(ctx context.Context, t push.Template, most int) (stored push.Template, replaced bool, err error) {
	const op = "sqlstore.AddTemplate"
	if err := s.reserved(); err != nil {
		return push.Template{}, false, push.Wrap(op, err)
	}
	if t.Name == "" || !plain(t.Name) || !plain(t.Title) || !plain(t.Body) {
		return push.Template{}, false, push.Wrap(op, invalid("name", "a template has a name, and its texts are UTF-8 without NUL"))
	}
	defaults, err := jsonOf(len(t.Defaults), t.Defaults)
	if err != nil {
		return push.Template{}, false, push.Wrap(op, err)
	}
	was := false
	err = s.commit.do(ctx, len(t.Title)+len(t.Body)+len(defaults), func(tx *tx) error {
		if err := tx.appThere(t.App); err != nil {
			return err
		}
		var others int
		_, err := tx.one("SELECT count(*), COALESCE(max(CASE WHEN name = ?2 THEN 1 ELSE 0 END), 0) FROM template WHERE app = ?1",
			[]any{int64(t.App), t.Name}, &others, &was)
		if err != nil {
			return err
		}
		if !was && others >= most {
			return &push.Error{Kind: push.TooMany, Field: "templates", Msg: fmt.Sprintf("the app has %d templates", others)}
		}
		_, err = tx.exec(`INSERT INTO template (app, name, title, body, defaults, created) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (app, name) DO UPDATE SET title = excluded.title, body = excluded.body, defaults = excluded.defaults,
				created = excluded.created`,
			int64(t.App), t.Name, t.Title, t.Body, defaults, millis(t.Created))
		return err
	})
	if err != nil {
		return push.Template{}, false, push.Wrap(op, err)
	}
	t.Created, t.Defaults = timeOf(millis(t.Created)), maps.Clone(t.Defaults)
	return t, was, nil
}

// templates returns the templates for which where holds.
func (s *Store) templates(ctx context.Context, where string, args ...any) ([]push.Template, error) {
	var all []push.Template
	err := s.read.each(ctx, "SELECT app, name, title, body, defaults, created FROM template WHERE "+where, func(rows *sql.Rows) error {
		var t push.Template
		var defaults sql.RawBytes
		var created int64
		err := rows.Scan(&t.App, &t.Name, &t.Title, &t.Body, &defaults, &created)
		if err == nil && len(defaults) > 0 {
			err = json.Unmarshal(defaults, &t.Defaults)
		}
		t.Created = timeOf(created)
		all = append(all, t)
		return err
	}, args...)
	return all, err
}

// FindTemplate returns a template. NotFound.
func (s *Store) FindTemplate(ctx context.Context, app push.AppID, name string) (push.Template, error) {
	if !plain(name) { // PostgreSQL would call that an error of the query
		return push.Template{}, push.Wrap("sqlstore.FindTemplate", notFound("no such template"))
	}
	all, err := s.templates(ctx, "app = ?1 AND name = ?2", int64(app), name)
	if err != nil || len(all) == 0 {
		return push.Template{}, push.Wrap("sqlstore.FindTemplate", orNotFound(err, "no such template"))
	}
	return all[0], nil
}

// Templates returns templates of app in order of names, by bytes, at most limit (0: 50; at most 1,000), after a name; next is
// "" at the end.
func (s *Store) Templates(ctx context.Context, app push.AppID, after string, limit int) (page []push.Template, next string, err error) {
	const op = "sqlstore.Templates"
	if limit <= 0 {
		limit = defaultPage
	}
	limit = min(limit, maxPage)
	if !plain(after) {
		return nil, "", push.Wrap(op, invalid("cursor", "is not one of this list"))
	}
	page, err = s.templates(ctx, "app = ?1 AND name > ?2 ORDER BY name LIMIT ?3", int64(app), after, limit+1)
	if err != nil {
		return nil, "", push.Wrap(op, err)
	}
	if len(page) > limit {
		page = page[:limit]
		next = page[limit-1].Name
	}
	return page, next, nil
}

// RemoveTemplate removes a template. NotFound.
func (s *Store) RemoveTemplate(ctx context.Context, app push.AppID, name string) error {
	const op = "sqlstore.RemoveTemplate"
	if !plain(name) {
		return push.Wrap(op, notFound("no such template"))
	}
	return push.Wrap(op, s.commit.do(ctx, 0, func(t *tx) error {
		n, err := t.exec("DELETE FROM template WHERE app = ? AND name = ?", int64(app), name)
		if err == nil && n == 0 {
			err = notFound("no such template")
		}
		return err
	}))
}
