package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Tags returns the tags of all apps that are there, removed ones too, in order of apps and ids.
func (s *Store) Tags(ctx context.Context) ([]push.Tag, error) {
	var all []push.Tag
	err := s.read.each(ctx, `SELECT app, id, name, created, removed FROM tag
		WHERE app IN (SELECT id FROM app WHERE doomed = 0) ORDER BY app, id`, func(rows *sql.Rows) error {
		var t push.Tag
		var created, removed int64
		err := rows.Scan(&t.App, &t.ID, &t.Name, &created, &removed)
		t.Created, t.Removed = timeOf(created), timeOf(removed)
		all = append(all, t)
		return err
	})
	return all, push.Wrap("sqlstore.Tags", err)
}

// AddTag stores a new tag. Conflict with Field "tags" if its name or id is taken; an id is, also when its tag was removed.
// NotFound with Field "app".
func (s *Store) AddTag(ctx context.Context, tag push.Tag) error {
	const op = "sqlstore.AddTag"
	if tag.App == 0 || tag.ID == 0 || !plain(tag.Name) {
		return push.Wrap(op, invalid("tags", "a tag has an app, an id and a name"))
	}
	err := s.commit.do(ctx, 128+len(tag.Name), func(t *tx) error {
		if err := t.appThere(tag.App); err != nil {
			return err
		}
		all := []push.Tag{tag}
		if err := t.tagsFree(tag.App, all); err != nil {
			return err
		}
		return t.insertTags(all)
	})
	return push.Wrap(op, err)
}

// tagsDistinct returns Conflict if two of all have one name, or one id.
func tagsDistinct(all []push.Tag) error {
	ids, names := make(map[push.TagID]bool, len(all)), make(map[string]bool, len(all))
	for _, tag := range all {
		if ids[tag.ID] || names[tag.Name] {
			return tagTaken
		}
		ids[tag.ID], names[tag.Name] = true, true
	}
	return nil
}

// tagsFree returns Conflict if a name or an id of all, which are distinct, is taken.
func (t *tx) tagsFree(app push.AppID, all []push.Tag) error {
	if len(all) == 0 {
		return nil
	}
	ids, names := make([]push.TagID, len(all)), make([]string, len(all))
	for i, tag := range all {
		ids[i], names[i] = tag.ID, tag.Name
	}
	taken, err := t.one("SELECT 1 FROM "+t.lookup("tag", "app = ?1", "id", "?2", ints)+
		" UNION ALL SELECT 1 FROM "+t.lookup("tag", "app = ?1 AND removed = 0", "name", "?3", texts),
		[]any{int64(app), intsArg(ids), textsArg(names)}, new(int))
	if err == nil && taken {
		err = tagTaken
	}
	return err
}

func (t *tx) insertTags(all []push.Tag) error {
	n := len(all)
	ints := make([]int64, 4*n)
	names := make([]string, n)
	for i, tag := range all {
		names[i] = tag.Name
		ints[i], ints[n+i], ints[2*n+i], ints[3*n+i] = int64(tag.App), int64(tag.ID), millis(tag.Created), millis(tag.Removed)
	}
	return t.insert("tag", "", column{name: "app", ints: ints[:n]}, column{name: "id", ints: ints[n : 2*n]},
		column{name: "created", ints: ints[2*n : 3*n]}, column{name: "removed", ints: ints[3*n:]}, column{name: "name", texts: names})
}

// RemoveTag notes that a tag was removed. The devices that have its id are not changed: who reads them skips it. NotFound if
// the tag is not there, or was removed.
func (s *Store) RemoveTag(ctx context.Context, app push.AppID, id push.TagID, at time.Time) error {
	err := s.commit.do(ctx, 64, func(t *tx) error {
		n, err := t.exec("UPDATE tag SET removed = ? WHERE app = ? AND id = ? AND removed = 0", millis(at), int64(app), int64(id))
		if err == nil && n == 0 {
			err = notFound("no such tag")
		}
		return err
	})
	return push.Wrap("sqlstore.RemoveTag", err)
}
