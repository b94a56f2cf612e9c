package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// changed appends a device's change to the feed, in the commit that changes the device.
func (t *tx) changed(app push.AppID, o push.Ordinal, what string) error {
	_, err := t.exec("INSERT INTO change (app, ordinal, what, at) VALUES (?, ?, ?, ?)",
		int64(app), int64(o), what, time.Now().UnixMilli())
	return err
}

// Changes returns at most limit rows of the change feed with sequences above after, in order. Sequences grow in the order
// of commits, since one committer gives them; they may have gaps. The feed goes back 30 days.
func (s *Store) Changes(ctx context.Context, after int64, limit int) ([]push.Change, error) {
	var all []push.Change
	err := s.read.each(ctx, "SELECT seq, app, ordinal, what FROM change WHERE seq > ?1 ORDER BY seq LIMIT ?2", func(rows *sql.Rows) error {
		var c push.Change
		err := rows.Scan(&c.Seq, &c.App, &c.Ordinal, &c.What)
		all = append(all, c)
		return err
	}, after, limit)
	return all, push.Wrap("sqlstore.Changes", err)
}
