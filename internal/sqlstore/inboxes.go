package sqlstore

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Full returns how many of the devices, each counted once, have an inbox with limit rows or more that expire after now.
func (s *Store) Full(ctx context.Context, app push.AppID, devices []push.Ordinal, limit int, now time.Time) (int, error) {
	full := 0
	for page := range devicePages(devices) {
		n := len(page)
		if limit > 0 {
			var err error
			if n, err = s.full(ctx, app, page, limit, now); err != nil {
				return 0, push.Wrap("sqlstore.Full", err)
			}
		}
		full += n
	}
	return full, nil
}

// full does Full for a page.
func (s *Store) full(ctx context.Context, app push.AppID, page []push.Ordinal, limit int, now time.Time) (n int, err error) {
	err = s.days.stable(func() error {
		n = 0
		all := s.days.from(inboxTable, push.DayOf(now))
		if len(all) == 0 {
			return nil
		}
		_, err := s.read.one(ctx, "SELECT count(*) FROM "+s.dialect.traits().keys("?3", "ordinal")+" k WHERE "+counts(all, "?1", "?2")+" >= ?4",
			[]any{now.UnixMilli(), int64(app), keyArg(len(page), func(i int) []int64 { return []int64{int64(page[i])} }), limit}, &n)
		return err
	})
	return n, err
}

// Hold notes that a direct push is paused, or that it is not any more, and returns after the commit. Holding again is holding
// once. NotFound if there is no such direct push; Unavailable means that the outcome is unknown.
func (s *Store) Hold(ctx context.Context, app push.AppID, id push.ID, paused bool) error {
	const op = "sqlstore.Hold"
	p, err := s.find(ctx, app, id)
	if err == nil && p.Kind != push.Direct {
		err = notFound("no such direct push")
	}
	if err != nil {
		return push.Wrap(op, err)
	}
	return push.Wrap(op, s.commit.do(ctx, 0, func(t *tx) error {
		if !paused {
			_, err := t.exec("DELETE FROM held WHERE push = ?", int64(id))
			return err
		}
		_, err := t.exec("INSERT INTO held (push, app, day, expires) VALUES (?, ?, ?, ?) ON CONFLICT (push) DO NOTHING",
			int64(id), int64(app), int64(push.DayOf(p.Expires)), millis(p.Expires))
		return err
	}))
}

// Held returns the direct pushes that are paused and have not expired at now, in order of ids.
func (s *Store) Held(ctx context.Context, now time.Time) ([]push.Push, error) {
	var all []push.Push
	err := s.days.stable(func() error {
		found := map[push.Day][]push.ID{}
		err := s.read.each(ctx, "SELECT push, day FROM held WHERE expires > ?1", func(rows *sql.Rows) error {
			var id push.ID
			var day push.Day
			err := rows.Scan(&id, &day)
			if s.days.has(directTable, day) {
				found[day] = append(found[day], id)
			}
			return err
		}, now.UnixMilli())
		if err == nil {
			all, err = s.load(ctx, found)
		}
		return err
	})
	all = slices.DeleteFunc(all, func(p push.Push) bool { return p.State != push.Paused })
	slices.Reverse(all)
	return all, push.Wrap("sqlstore.Held", err)
}

// tidyHeld forgets pauses of pushes that have expired.
func (s *Store) tidyHeld(ctx context.Context, now time.Time, left func() bool) error {
	ms := now.UnixMilli()
	found, err := s.read.one(ctx, "SELECT 1 FROM held WHERE expires <= ?1 LIMIT 1", []any{ms}, new(int))
	if err != nil || !found {
		return err
	}
	return s.slices(ctx, left, tidySlice, "DELETE FROM held WHERE push IN (SELECT push FROM held WHERE expires <= ? ORDER BY expires LIMIT ?)", ms)
}
