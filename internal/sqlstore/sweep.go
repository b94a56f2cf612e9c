package sqlstore

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// A sweeper remembers how far the expired pushes of each day have been dealt with, so that no sweep reads a day anew.
type sweeper struct {
	one sync.Mutex // held by the sweep that runs

	mu sync.Mutex // guards at
	at map[push.Day]cursor
}

// A cursor is a place in the order in which the pushes of a day expire.
type cursor struct {
	expires int64
	id      push.ID
}

// lower says that a push was stored that expires at a time which the sweep may have passed.
func (s *sweeper) lower(day push.Day, expires int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.at[day]; ok && c.expires >= expires {
		s.at[day] = cursor{expires: expires - 1}
	}
}

// get returns the place of a day, if it is known; raise moves it, unless it was lowered since.
func (s *sweeper) get(day push.Day) (cursor, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.at[day]
	return c, ok
}

func (s *sweeper) set(day push.Day, c cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = map[push.Day]cursor{}
	}
	s.at[day] = c
}

func (s *sweeper) raise(day push.Day, from, to cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at[day] == from {
		s.at[day] = to
	}
}

// sweepKey is where meta keeps the cursor of a day, so that a restart does not read the day anew.
func sweepKey(day push.Day) string { return "sweep/" + day.String() }

// Sweep removes rows that expired before now, at most limit, marks them MarkExpired in the same commit, and returns how
// many; fewer than limit means that none is left. Then it also drops days that are over by more than a day (of direct pushes
// and their outcomes: by more than Options.Keep), dedupe keys that have expired, targets that no live push has, and what
// deleted apps have left, for a part of a second; what remains is the next sweep's.
func (s *Store) Sweep(ctx context.Context, now time.Time, limit int) (int, error) {
	s.sweeper.one.Lock()
	defer s.sweeper.one.Unlock()
	n := 0
	for _, day := range s.days.until(inboxTable, push.DayOf(now)) {
		if n >= limit {
			break
		}
		expired, err := s.expire(ctx, day, now, limit-n)
		n += expired
		if err != nil {
			return n, push.Wrap("sqlstore.Sweep", err)
		}
	}
	if n >= limit {
		return n, nil
	}
	return n, push.Wrap("sqlstore.Sweep", s.tidy(ctx, now))
}

// expiring is how many pushes one read of expire takes: with a thousand targets each, the rows of a commit.
const expiring = 64

// expire deals with the pushes of one day that have expired, and returns how many rows it removed.
func (s *Store) expire(ctx context.Context, day push.Day, now time.Time, limit int) (int, error) {
	if !s.days.has(directTable, day) {
		return 0, nil
	}
	start, err := s.cursor(ctx, day)
	if err != nil {
		return 0, err
	}
	at, n := start, 0
	for n < limit {
		rows, next, err := s.expired(ctx, day, at, now)
		if err != nil {
			return n, err
		}
		if next == at {
			break
		}
		removed, all, err := s.removeExpired(ctx, day, rows, limit-n)
		n += removed
		if err != nil {
			return n, err
		}
		if !all {
			return n, nil
		}
		s.sweeper.raise(day, at, next)
		at = next
	}
	if at == start {
		return n, nil
	}
	return n, s.PutMeta(ctx, sweepKey(day), binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(at.expires)), uint64(at.id)))
}

// cursor returns how far the sweep of a day has come.
func (s *Store) cursor(ctx context.Context, day push.Day) (cursor, error) {
	if c, ok := s.sweeper.get(day); ok {
		return c, nil
	}
	var c cursor
	b, err := s.Meta(ctx, sweepKey(day))
	switch {
	case err == nil && len(b) == 16:
		c = cursor{int64(binary.BigEndian.Uint64(b)), push.ID(binary.BigEndian.Uint64(b[8:]))}
	case err != nil && !errors.Is(err, push.NotFound):
		return c, err
	}
	s.sweeper.set(day, c)
	return c, nil
}

// expired returns the rows of the next pushes of a day that have expired, and the place after them.
func (s *Store) expired(ctx context.Context, day push.Day, at cursor, now time.Time) (*inboxRows, cursor, error) {
	rows := new(inboxRows)
	query := "SELECT id, app, expires, targets FROM " + directTable.of(day) + ` WHERE (expires, id) > (?1, ?2) AND expires <= ?3
		ORDER BY expires, id LIMIT ?4`
	err := s.read.each(ctx, query, func(found *sql.Rows) error {
		var app push.AppID
		var packed sql.RawBytes
		if err := found.Scan(&at.id, &app, &at.expires, &packed); err != nil {
			return err
		}
		targets, err := unpackOrdinals(packed)
		for _, o := range targets {
			rows.add(inboxRow{app, o, at.id, at.expires})
		}
		return err
	}, at.expires, int64(at.id), now.UnixMilli(), expiring)
	return rows, at, err
}

// removeExpired removes those of rows that still wait, at most limit, and reports whether that was all.
func (s *Store) removeExpired(ctx context.Context, day push.Day, rows *inboxRows, limit int) (removed int, all bool, err error) {
	const slice = 2048
	table := inboxTable.of(day)
	keys := s.dialect.traits().keys("?1", "app", "ordinal", "push")
	query := "SELECT k.n FROM " + keys + " k WHERE EXISTS (SELECT 1 FROM " + table +
		" i WHERE i.app = k.app AND i.ordinal = k.ordinal AND i.push = k.push)"
	for rest := rows.all; len(rest) > 0; {
		some := rest[:min(slice, len(rest))]
		rest = rest[len(some):]
		waits := new(inboxRows)
		err := s.read.each(ctx, query, func(found *sql.Rows) error {
			var n int
			err := found.Scan(&n)
			waits.add(some[n])
			return err
		}, keyArg(len(some), func(i int) []int64 {
			return []int64{int64(some[i].app), int64(some[i].ordinal), int64(some[i].push)}
		}))
		if err != nil {
			return removed, false, err
		}
		cut := len(waits.all) > limit-removed
		if cut {
			waits.all = waits.all[:limit-removed]
		}
		if len(waits.all) > 0 {
			n := 0
			err = s.commit.do(ctx, 64*len(waits.all), func(t *tx) error {
				n, err = t.dropInbox(day, waits, push.MarkExpired)
				return err
			})
			if err != nil {
				return removed, false, err
			}
			removed += n
		}
		if cut || removed == limit && len(rest) > 0 {
			return removed, false, nil
		}
	}
	return removed, true, nil
}

// tidyTime bounds how long one sweep removes what is over.
const tidyTime = 100 * time.Millisecond

// tidySlice is how many rows go in one commit.
const tidySlice = 500

// tidy removes what is over.
func (s *Store) tidy(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	end := time.Now().Add(tidyTime)
	left := func() bool { return time.Now().Before(end) }

	expired := `DELETE FROM dedupe WHERE (app, namespace, key) IN
		(SELECT app, namespace, key FROM dedupe WHERE expires <= ? ORDER BY expires LIMIT ?)`
	if err := s.slices(ctx, left, expired, now.UnixMilli(), tidySlice); err != nil {
		return err
	}
	if err := s.slices(ctx, left, `DELETE FROM target WHERE hash IN (SELECT t.hash FROM target t WHERE NOT EXISTS
		(SELECT 1 FROM push p WHERE p.target = t.hash AND p.state IN `+liveStates+`) LIMIT ?)`, 16); err != nil {
		return err
	}
	for _, over := range []struct {
		kind dayTable
		by   time.Duration
		key  string
	}{
		{inboxTable, 24 * time.Hour, "app, ordinal, push"},
		{bodyTable, 24 * time.Hour, "push"},
		{outcomeTable, s.opts.Keep, "push, ordinal"},
		{directTable, s.opts.Keep, "id"},
	} {
		for _, day := range s.days.until(over.kind, push.DayOf(now.Add(-over.by))-1) {
			if !left() {
				return nil
			}
			if err := s.dropDay(ctx, over.kind, day, over.key, left); err != nil {
				return err
			}
		}
	}
	var doomed []push.AppID
	err := s.read.each(ctx, "SELECT id FROM app WHERE doomed = 1", func(rows *sql.Rows) error {
		var id push.AppID
		err := rows.Scan(&id)
		doomed = append(doomed, id)
		return err
	})
	for _, id := range doomed {
		if err == nil {
			err = s.purge(ctx, id)
		}
	}
	return err
}

// slices runs a statement that deletes few rows, a commit each time, until it finds none or left says that time is up.
func (s *Store) slices(ctx context.Context, left func() bool, statement string, args ...any) error {
	for n := int64(1); n > 0 && left(); {
		err := s.commit.do(ctx, 0, func(t *tx) (err error) {
			n, err = t.exec(statement, args...)
			if err == nil && strings.HasPrefix(statement, "DELETE FROM "+string(inboxTable)) {
				t.inbox -= int(n)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// dropDay empties a table and drops it, or as much of that as there is time for. It goes out of use first.
func (s *Store) dropDay(ctx context.Context, kind dayTable, day push.Day, key string, left func() bool) error {
	table := kind.of(day)
	if s.dialect.traits().slices {
		// Dropping a large table in one piece would hold up all writers.
		empty := "DELETE FROM " + table + " WHERE (" + key + ") IN (SELECT " + key + " FROM " + table + " LIMIT ?)"
		if err := s.slices(ctx, left, empty, tidySlice); err != nil {
			return err
		}
		if !left() {
			return nil
		}
	}
	restore := s.days.retire(kind, day)
	err := s.commit.do(ctx, 0, func(t *tx) error {
		t.w.forget()
		if err := t.run("DROP TABLE IF EXISTS " + table); err != nil {
			return err
		}
		var err error
		switch kind {
		case inboxTable:
			_, err = t.exec("DELETE FROM meta WHERE key = ?", sweepKey(day))
		case directTable:
			_, err = t.exec("DELETE FROM withdrawn WHERE day = ?", int64(day))
		}
		return err
	})
	if err != nil {
		restore()
		return fmt.Errorf("drop %s: %w", table, err)
	}
	s.days.dropped(kind, day)
	return nil
}

// purge removes what a deleted app has left, in slices, and then its row.
func (s *Store) purge(ctx context.Context, app push.AppID) error {
	always := func() bool { return ctx.Err() == nil }
	id := int64(app)
	for _, statement := range []string{
		"DELETE FROM device WHERE app = ? AND ordinal IN (SELECT ordinal FROM device WHERE app = ? LIMIT ?)",
		"DELETE FROM sets WHERE push IN (SELECT s.push FROM sets s JOIN push p ON p.id = s.push WHERE p.app = ? AND ? > 0 LIMIT ?)",
		"DELETE FROM push WHERE app = ? AND id IN (SELECT id FROM push WHERE app = ? LIMIT ?)",
		"DELETE FROM dedupe WHERE app = ? AND (namespace, key) IN (SELECT namespace, key FROM dedupe WHERE app = ? LIMIT ?)",
	} {
		if err := s.slices(ctx, always, statement, id, id, int64(tidySlice)); err != nil {
			return err
		}
	}
	for _, day := range s.days.from(inboxTable, 0) {
		err := s.slices(ctx, always, "DELETE FROM "+inboxTable.of(day)+` WHERE app = ? AND (ordinal, push) IN
			(SELECT ordinal, push FROM `+inboxTable.of(day)+" WHERE app = ? LIMIT ?)", id, id, int64(tidySlice))
		if err != nil {
			return err
		}
	}
	for _, day := range s.days.from(directTable, 0) {
		if err := s.purgeDirect(ctx, day, app); err != nil {
			return err
		}
	}
	return s.commit.do(ctx, 0, func(t *tx) error {
		_, err := t.exec("DELETE FROM app WHERE id = ? AND doomed = 1", id)
		return err
	})
}

// purgeDirect removes the direct pushes of a deleted app from one day. The app is in no key there, so the day is read.
func (s *Store) purgeDirect(ctx context.Context, day push.Day, app push.AppID) error {
	for last := push.ID(0); ; {
		var ids []push.ID
		n := 0
		err := s.read.each(ctx, "SELECT id, app FROM "+directTable.of(day)+" WHERE id > ?1 ORDER BY id LIMIT ?2", func(rows *sql.Rows) error {
			var owner push.AppID
			err := rows.Scan(&last, &owner)
			if n++; owner == app {
				ids = append(ids, last)
			}
			return err
		}, int64(last), devicePage)
		if err != nil {
			return err
		}
		if len(ids) > 0 {
			keys := keyArg(len(ids), func(i int) []int64 { return []int64{int64(ids[i])} })
			in := " IN (SELECT k.id FROM " + s.dialect.traits().keys("?1", "id") + " k)"
			err := s.commit.do(ctx, 0, func(t *tx) error {
				if _, err := t.exec("DELETE FROM "+directTable.of(day)+" WHERE id"+in, keys); err != nil {
					return err
				}
				if s.days.has(outcomeTable, day) {
					if _, err := t.exec("DELETE FROM "+outcomeTable.of(day)+" WHERE push"+in, keys); err != nil {
						return err
					}
				}
				_, err := t.exec("DELETE FROM withdrawn WHERE push"+in, keys)
				return err
			})
			if err != nil {
				return err
			}
		}
		if n < devicePage {
			return nil
		}
	}
}
