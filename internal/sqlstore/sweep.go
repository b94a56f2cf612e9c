package sqlstore

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// A sweeper remembers how far the expired pushes of each day have been dealt with, so that no sweep reads a day anew.
type sweeper struct {
	one   sync.Mutex // held by the sweep that runs
	turn  int        // which part of tidy comes first; of the sweep that runs
	first []byte     // hash of the first target that tidy has not looked at yet; of the sweep that runs

	mu sync.Mutex // guards at
	at map[push.Day]cursor
}

// A cursor is a place in the order in which the pushes of a day expire.
type cursor struct {
	expires int64
	id      push.ID
}

// lowerAll says that the pushes of batch were stored.
func (s *sweeper) lowerAll(batch []*write) {
	for _, w := range batch {
		if a := w.accept; a != nil && a.in() {
			s.lower(a.day, millis(a.Push.Expires))
		}
	}
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
// many; fewer than limit means that none is left. Then it also tidies up, for a part of a second; what remains is the next
// sweep's. What is tidied: days that are over by more than a day (of direct pushes, outcomes and trails: by more than
// Options.Keep), bulk pushes that are over and expired longer than Options.Keep ago, schedules that ended longer than that ago,
// dedupe keys and ids of requests that have expired, targets that no live push has, the change feed beyond its last 30 days,
// batches that have been dead for 8 days, caps and sets of active devices of past days, and what deleted apps have left.
func (s *Store) Sweep(ctx context.Context, now time.Time, limit int) (int, error) {
	s.sweeper.one.Lock()
	defer s.sweeper.one.Unlock()
	if err := s.commit.settleDoubt(ctx); err != nil {
		return 0, push.Wrap("sqlstore.Sweep", err)
	}
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
		gone, all, err := s.dropWaiting(ctx, day, rows.all, limit-n, push.MarkExpired)
		n += len(gone)
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

// dropWaiting removes those of rows that still wait, at most limit, in commits that others get between, with a receipt of m
// for each. It returns them, and reports whether that was all.
func (s *Store) dropWaiting(ctx context.Context, day push.Day, rows []inboxRow, limit int, m push.Mark) (gone []inboxRow, all bool, err error) {
	for some := range slices.Chunk(rows, dropSlice) {
		if len(gone) == limit {
			return gone, false, nil
		}
		waits, err := s.stillWait(ctx, day, some)
		if err != nil {
			return gone, false, err
		}
		cut := len(waits) > limit-len(gone)
		if cut {
			waits = waits[:limit-len(gone)]
		}
		if len(waits) > 0 {
			var dropped []inboxRow
			err := s.commit.do(ctx, 64*len(waits), func(t *tx) (err error) {
				if !s.days.has(inboxTable, day) {
					dropped = nil
					return nil
				}
				dropped, err = t.dropInbox(day, &inboxRows{slices.Clone(waits)}, m)
				return err
			})
			if err != nil {
				return gone, false, err // dropped is the committer's, if it is still at it
			}
			gone = append(gone, dropped...)
		}
		if cut {
			return gone, false, nil
		}
	}
	return gone, true, nil
}

// dropSlice is how many rows dropWaiting looks for in one read, and removes in one commit.
const dropSlice = 2048

// stillWait returns those of rows that are there.
func (s *Store) stillWait(ctx context.Context, day push.Day, rows []inboxRow) (waits []inboxRow, err error) {
	query := "SELECT k.n FROM " + s.dialect.traits().keys("?1", "app", "ordinal", "push") + " k WHERE EXISTS (SELECT 1 FROM " +
		inboxTable.of(day) + " i WHERE i.app = k.app AND i.ordinal = k.ordinal AND i.push = k.push)"
	keys := keyArg(len(rows), func(i int) []int64 {
		return []int64{int64(rows[i].app), int64(rows[i].ordinal), int64(rows[i].push)}
	})
	err = s.days.stable(func() error {
		waits = nil
		if !s.days.has(inboxTable, day) {
			return nil
		}
		return s.read.each(ctx, query, func(found *sql.Rows) error {
			var n int
			err := found.Scan(&n)
			waits = append(waits, rows[n])
			return err
		}, keys)
	})
	return waits, err
}
