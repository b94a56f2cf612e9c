package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Touch stores the day on which devices were last active, and appends one row to the feed for those of which that is news,
// in one commit. A day before the one that is stored, and a device that is not registered, change nothing.
func (s *Store) Touch(ctx context.Context, app push.AppID, day push.Day, devices []push.Ordinal) error {
	if len(devices) == 0 {
		return nil
	}
	at := int64(day) * 24 * 60 * 60 * 1000
	ordinals := intsArg(devices)
	err := s.commit.write(ctx, &write{rows: len(devices), size: int64(16 * len(devices)), do: func(t *tx) error {
		news := new(ordset.Set)
		err := t.each("UPDATE device SET active = ?1 WHERE "+t.among(t.lookup("device", "app = ?2", "ordinal", "?3", ints))+
			" AND active < ?1 AND removed = 0 RETURNING ordinal", func(rows *sql.Rows) error {
			var o push.Ordinal
			err := rows.Scan(&o)
			news.Add(o)
			return err
		}, at, int64(app), ordinals)
		if err != nil || news.Empty() {
			return err
		}
		chunks, err := news.Chunks()
		if err != nil {
			return t.fail(err)
		}
		return t.changedActive(app, day, chunks, time.Now())
	}})
	return push.Wrap("sqlstore.Touch", err)
}
