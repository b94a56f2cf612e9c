package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// What is over is found by reading, beside the committer, and removed in slices that others get between: a sweep that finds
// nothing writes nothing.

const (
	// tidyTime bounds how long one sweep removes what is over.
	tidyTime = time.Second
	// tidySlice is how many narrow rows go in one commit, blobSlice how many that hold a chunk of a set.
	tidySlice = 500
	blobSlice = 64
	// tidyPage is how many targets, or bulk pushes, are looked at in one read.
	tidyPage = 64
	// changeKeep is how long the change feed goes back.
	changeKeep = 30 * 24 * time.Hour
)

// tidy removes what is over. Its parts take turns at being the first, since the last may find no time left.
func (s *Store) tidy(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	end := time.Now().Add(tidyTime)
	left := func() bool { return time.Now().Before(end) }
	parts := []func(context.Context, time.Time, func() bool) error{
		s.tidyKeys, s.tidyTargets, s.tidyBulk, s.tidyChanges, s.tidyDays, s.tidyApps,
		s.tidySchedules, s.tidyBatches, s.tidyCaps, s.tidyHeld, s.tidyRequests,
	}
	s.sweeper.turn++
	for i := range parts {
		if !left() {
			return nil
		}
		if err := parts[(s.sweeper.turn+i)%len(parts)](ctx, now, left); err != nil {
			return err
		}
	}
	return nil
}

// slices runs a statement that deletes at most limit rows, its last parameter, a commit each time, until it finds fewer or
// left says that time is up.
func (s *Store) slices(ctx context.Context, left func() bool, limit int, statement string, args ...any) error {
	args = append(args[:len(args):len(args)], int64(limit))
	for n := limit; n >= limit && left(); {
		var err error
		n, err = s.commit.count(ctx, 0, func(t *tx) (int, error) {
			n, err := t.exec(statement, args...)
			if strings.HasPrefix(statement, "DELETE FROM "+string(inboxTable)) {
				t.inbox -= int(n)
			}
			return int(n), err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// tidyKeys removes dedupe keys that have expired.
func (s *Store) tidyKeys(ctx context.Context, now time.Time, left func() bool) error {
	ms := now.UnixMilli()
	found, err := s.read.one(ctx, "SELECT 1 FROM dedupe WHERE expires <= ?1 LIMIT 1", []any{ms}, new(int))
	if err != nil || !found {
		return err
	}
	return s.slices(ctx, left, tidySlice, `DELETE FROM dedupe WHERE (app, namespace, key) IN
		(SELECT app, namespace, key FROM dedupe WHERE expires <= ? ORDER BY expires LIMIT ?)`, ms)
}

// targetsAfter finds the next hashes of targets, and whether a live push has each. It goes from hash to hash, past the
// chunks of each.
const targetsAfter = `WITH RECURSIVE h (hash, n) AS (
		SELECT (SELECT hash FROM target WHERE hash > ?1 ORDER BY hash LIMIT 1), 1
		UNION ALL
		SELECT (SELECT t.hash FROM target t WHERE t.hash > h.hash ORDER BY t.hash LIMIT 1), n + 1 FROM h WHERE hash IS NOT NULL AND n < ?2
	)
	SELECT hash, CASE WHEN EXISTS (SELECT 1 FROM push p WHERE p.target = h.hash AND p.state IN ` + liveStates + `) THEN 1 ELSE 0 END
	FROM h WHERE hash IS NOT NULL ORDER BY n`

// tidyTargets removes targets that no live push has, if a push has ended since it last looked at all of them.
func (s *Store) tidyTargets(ctx context.Context, _ time.Time, left func() bool) error {
	if !s.orphans.Swap(false) {
		return nil
	}
	at := s.sweeper.first
	again := at != nil // what it passed the last time may have changed since
	for more := true; more; {
		var orphans [][]byte
		n := 0
		err := s.read.each(ctx, targetsAfter, func(rows *sql.Rows) error {
			var live int
			err := rows.Scan(&at, &live)
			if n++; live == 0 {
				orphans = append(orphans, at)
			}
			return err
		}, append([]byte{}, at...), tidyPage)
		for _, hash := range orphans {
			if err != nil {
				break
			}
			// Whether it is still an orphan is decided in the commit: a push may have begun meanwhile.
			err = s.slices(ctx, left, blobSlice, `DELETE FROM target
				WHERE hash = ?1 AND chunk IN (SELECT chunk FROM target WHERE hash = ?1 LIMIT ?2)
				AND NOT EXISTS (SELECT 1 FROM push p WHERE p.target = ?1 AND p.state IN `+liveStates+")", hash)
		}
		if err != nil || !left() {
			s.orphans.Store(true) // from the same place: the page may hold more
			return err
		}
		s.sweeper.first, more = at, n == tidyPage
	}
	s.sweeper.first = nil
	if again {
		s.orphans.Store(true)
	}
	return nil
}

// An ended is a bulk push that is to be removed.
type ended struct {
	id  push.ID
	day push.Day // of its body
}

// ended returns the next bulk pushes for which where holds.
func (s *Store) ended(ctx context.Context, where string, args ...any) ([]ended, error) {
	var all []ended
	err := s.read.each(ctx, "SELECT id, expires FROM push WHERE "+where+" LIMIT ?2", func(rows *sql.Rows) error {
		var e ended
		var expires int64
		err := rows.Scan(&e.id, &expires)
		e.day = push.DayOf(timeOf(expires))
		all = append(all, e)
		return err
	}, append(args, tidyPage)...)
	return all, err
}

// tidyBulk removes bulk pushes that are over and long expired.
func (s *Store) tidyBulk(ctx context.Context, now time.Time, left func() bool) error {
	for left() {
		page, err := s.ended(ctx, "state IN "+finalStates+" AND expires <= ?1", now.Add(-s.opts.Keep).UnixMilli())
		if err == nil {
			err = s.dropBulk(ctx, left, page)
		}
		if err != nil || len(page) < tidyPage {
			return err
		}
	}
	return nil
}

// dropBulk removes bulk pushes with their sets and bodies, or as much of that as there is time for. Their targets go when
// they are found to be nobody's.
func (s *Store) dropBulk(ctx context.Context, left func() bool, page []ended) error {
	if len(page) == 0 {
		return nil
	}
	ids := keyArg(len(page), func(i int) []int64 { return []int64{int64(page[i].id)} })
	in := " IN (SELECT k.id FROM " + s.dialect.traits().keys("?1", "id") + " k)"
	err := s.slices(ctx, left, blobSlice, "DELETE FROM sets WHERE (push, mark, chunk) IN (SELECT push, mark, chunk FROM sets WHERE push"+in+" LIMIT ?2)", ids)
	if err != nil || !left() {
		return err
	}
	bodies := map[push.Day][]ended{}
	for _, e := range page {
		bodies[e.day] = append(bodies[e.day], e)
	}
	return s.commit.do(ctx, 0, func(t *tx) error {
		// Once more the sets: receipts that came late were folded until now. From here on nobody adds to them.
		for _, from := range []string{"sets WHERE push", "push WHERE id"} {
			if _, err := t.exec("DELETE FROM "+from+in, ids); err != nil {
				return err
			}
		}
		for day, all := range bodies {
			if !s.days.has(bodyTable, day) {
				continue
			}
			some := keyArg(len(all), func(i int) []int64 { return []int64{int64(all[i].id)} })
			if _, err := t.exec("DELETE FROM "+bodyTable.of(day)+" WHERE push"+in, some); err != nil {
				return err
			}
		}
		return nil
	})
}

// dropDetail removes what bulk pushes have in tables of their days beside their bodies.
func (s *Store) dropDetail(ctx context.Context, left func() bool, page []ended) error {
	for _, e := range page {
		for _, of := range []struct {
			kind dayTable
			key  string
		}{{trailTable, "chunk, page"}, {personalTable, "ordinal"}} {
			if !s.days.has(of.kind, e.day) {
				continue
			}
			table := of.kind.of(e.day)
			err := s.slices(ctx, left, blobSlice, "DELETE FROM "+table+" WHERE push = ?1 AND ("+of.key+") IN (SELECT "+of.key+
				" FROM "+table+" WHERE push = ?1 LIMIT ?2)", int64(e.id))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// tidyDays drops the tables of days that are over.
func (s *Store) tidyDays(ctx context.Context, now time.Time, left func() bool) error {
	for _, over := range []struct {
		kind dayTable
		by   time.Duration
		key  string
	}{
		{inboxTable, 24 * time.Hour, "app, ordinal, push"},
		{bodyTable, 24 * time.Hour, "push"},
		{personalTable, 24 * time.Hour, "push, ordinal"},
		{outcomeTable, s.opts.Keep, "push, ordinal"},
		{trailTable, s.opts.Keep, "push, chunk, page"},
		{directTable, s.opts.Keep, "id"},
	} {
		last := push.DayOf(now.Add(-over.by)) - 1
		for _, day := range s.days.retired(over.kind) {
			if err := s.dropRetired(ctx, over.kind, day); err != nil {
				return err
			}
		}
		for _, day := range s.days.until(over.kind, last) {
			if !left() {
				return nil
			}
			if err := s.dropDay(ctx, over.kind, day, over.key, left); err != nil {
				return err
			}
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
		if err := s.slices(ctx, left, tidySlice, empty); err != nil {
			return err
		}
		if !left() {
			return nil
		}
	}
	s.days.retire(kind, day)
	return s.dropRetired(ctx, kind, day)
}

// dropRetired drops a table that is out of use. It stays so if that fails, or nobody knows whether it did: the next sweep
// drops it again.
func (s *Store) dropRetired(ctx context.Context, kind dayTable, day push.Day) error {
	table := kind.of(day)
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
		return fmt.Errorf("drop %s: %w", table, err)
	}
	s.days.dropped(kind, day)
	return nil
}

// tidyApps removes what deleted apps have left.
func (s *Store) tidyApps(ctx context.Context, _ time.Time, _ func() bool) error {
	var doomed []push.AppID
	err := s.read.each(ctx, "SELECT id FROM app WHERE doomed = 1", func(rows *sql.Rows) error {
		var id push.AppID
		err := rows.Scan(&id)
		doomed = append(doomed, id)
		return err
	})
	for _, id := range doomed {
		err = errors.Join(err, s.purge(ctx, id))
	}
	return err
}

// purge removes what a deleted app has left, in slices, and then its row. The change feed is left alone: its rows go in time.
func (s *Store) purge(ctx context.Context, app push.AppID) error {
	always := func() bool { return ctx.Err() == nil }
	id := int64(app)
	for _, statement := range []string{
		"DELETE FROM device WHERE app = ?1 AND ordinal IN (SELECT ordinal FROM device WHERE app = ?1 LIMIT ?2)",
		"DELETE FROM alias WHERE app = ?1 AND (type, value, at, ordinal) IN (SELECT type, value, at, ordinal FROM alias WHERE app = ?1 LIMIT ?2)",
		"DELETE FROM tag WHERE app = ?1 AND id IN (SELECT id FROM tag WHERE app = ?1 LIMIT ?2)",
		"DELETE FROM file WHERE app = ?1 AND id IN (SELECT id FROM file WHERE app = ?1 LIMIT ?2)",
		"DELETE FROM template WHERE app = ?1 AND name IN (SELECT name FROM template WHERE app = ?1 LIMIT ?2)",
		"DELETE FROM total WHERE app = ?1 AND (dim, name, day, metric) IN (SELECT dim, name, day, metric FROM total WHERE app = ?1 LIMIT ?2)",
		"DELETE FROM device_day WHERE app = ?1 AND day IN (SELECT day FROM device_day WHERE app = ?1 LIMIT ?2)",
		"DELETE FROM webhook WHERE app = ?1 AND id IN (SELECT id FROM webhook WHERE app = ?1 LIMIT ?2)",
		"DELETE FROM request WHERE app = ?1 AND id IN (SELECT id FROM request WHERE app = ?1 LIMIT ?2)",
		"DELETE FROM quota WHERE app = ?1 AND name IN (SELECT name FROM quota WHERE app = ?1 LIMIT ?2)",
		"DELETE FROM dedupe WHERE app = ?1 AND (namespace, key) IN (SELECT namespace, key FROM dedupe WHERE app = ?1 LIMIT ?2)",
	} {
		if err := s.slices(ctx, always, tidySlice, statement, id); err != nil {
			return err
		}
	}
	for _, statement := range []string{
		"DELETE FROM file_part WHERE app = ?1 AND (id, n) IN (SELECT id, n FROM file_part WHERE app = ?1 LIMIT ?2)",
		"DELETE FROM cap_level WHERE app = ?1 AND (day, category, level, chunk) IN (SELECT day, category, level, chunk FROM cap_level WHERE app = ?1 LIMIT ?2)",
		"DELETE FROM device_day_set WHERE app = ?1 AND (day, chunk) IN (SELECT day, chunk FROM device_day_set WHERE app = ?1 LIMIT ?2)",
	} {
		if err := s.slices(ctx, always, blobSlice, statement, id); err != nil {
			return err
		}
	}
	if err := s.dropOrphans(ctx, always); err != nil { // batches of its webhooks
		return err
	}
	for n := tidyPage; n == tidyPage; {
		var err error
		if n, err = s.dropSchedules(ctx, "app = ?1", id); err != nil {
			return err
		}
	}
	for full := true; full; {
		page, err := s.ended(ctx, "app = ?1", id)
		if err == nil {
			err = s.dropDetail(ctx, always, page)
		}
		if err == nil {
			err = s.dropBulk(ctx, always, page)
		}
		if err != nil {
			return err
		}
		full = len(page) == tidyPage
	}
	for _, day := range s.days.from(inboxTable, 0) {
		err := s.slices(ctx, always, tidySlice, "DELETE FROM "+inboxTable.of(day)+` WHERE app = ?1 AND (ordinal, push) IN
			(SELECT ordinal, push FROM `+inboxTable.of(day)+" WHERE app = ?1 LIMIT ?2)", id)
		if err != nil {
			return err
		}
	}
	for _, day := range s.days.from(directTable, 0) {
		if err := s.purgeDirect(ctx, day, app); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
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
				for _, kind := range []dayTable{outcomeTable, personalTable} {
					if !s.days.has(kind, day) {
						continue
					}
					if _, err := t.exec("DELETE FROM "+kind.of(day)+" WHERE push"+in, keys); err != nil {
						return err
					}
				}
				for _, table := range []string{"withdrawn", "held"} {
					if _, err := t.exec("DELETE FROM "+table+" WHERE push"+in, keys); err != nil {
						return err
					}
				}
				return nil
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
