package sqlstore

import (
	"context"
	"database/sql"
	"encoding/binary"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// changed appends changes of devices to the feed, in the commit that makes them. what has a name for each.
func (t *tx) changed(app push.AppID, ordinals []push.Ordinal, what []string, now time.Time) error {
	n := len(ordinals)
	ints := make([]int64, 3*n)
	for i, o := range ordinals {
		ints[i], ints[n+i], ints[2*n+i] = int64(app), int64(o), now.UnixMilli()
	}
	return t.insert("change", "", column{name: "app", ints: ints[:n]}, column{name: "ordinal", ints: ints[n : 2*n]},
		column{name: "what", texts: what}, column{name: "at", ints: ints[2*n:]})
}

// changedActive appends one row for many devices that were active.
func (t *tx) changedActive(app push.AppID, day push.Day, devices []push.Chunk, now time.Time) error {
	_, err := t.exec("INSERT INTO change (app, ordinal, what, at, data) VALUES (?, 0, 'active', ?, ?)",
		int64(app), now.UnixMilli(), packActive(day, devices))
	return err
}

const packedActive = 1

// packActive returns a day and chunks as the feed keeps them: a version, the day, and of each chunk its key, its length and
// its bytes.
func packActive(day push.Day, devices []push.Chunk) []byte {
	b := binary.AppendUvarint([]byte{packedActive}, uint64(day))
	for _, c := range devices {
		b = binary.AppendUvarint(b, uint64(c.Key))
		b = binary.AppendUvarint(b, uint64(len(c.Bits)))
		b = append(b, c.Bits...)
	}
	return b
}

// unpackActive undoes packActive. The chunks are parts of b.
func unpackActive(b []byte) (push.Day, []push.Chunk, error) {
	if len(b) == 0 || b[0] != packedActive {
		return 0, nil, errPacked
	}
	in := varints{b: b[1:]}
	day := push.Day(in.unsigned(1<<31 - 1))
	var devices []push.Chunk
	for len(in.b) > 0 && !in.bad {
		key := uint16(in.unsigned(1<<16 - 1))
		devices = append(devices, push.Chunk{Key: key, Bits: in.bytes(in.unsigned(uint64(len(in.b))))})
	}
	if in.bad {
		return 0, nil, errPacked
	}
	return day, devices, nil
}

// changesBytes is how much data one page of Changes carries, beyond its first row.
const changesBytes = 1 << 20

// Changes returns at most limit rows of the change feed with sequences above after, in order. A page is bounded in bytes
// too, so that only an empty one is the end. Sequences grow in the order of commits, since one committer gives them; they may
// have gaps. The feed goes back 30 days, and has rows of apps that have been deleted since.
func (s *Store) Changes(ctx context.Context, after int64, limit int) ([]push.Change, error) {
	const op = "sqlstore.Changes"
	var all []push.Change
	size := 0
	err := s.read.each(ctx, `SELECT seq, at, app, ordinal, what, COALESCE(length(data), 0) FROM change WHERE seq > ?1 ORDER BY seq LIMIT ?2`, func(rows *sql.Rows) error {
		var c push.Change
		var at int64
		var bytes int
		err := rows.Scan(&c.Seq, &at, &c.App, &c.Ordinal, &c.What, &bytes)
		c.At = timeOf(at)
		if len(all) == 0 || size+bytes <= changesBytes {
			all = append(all, c)
		}
		size += bytes
		return err
	}, after, limit)
	if err != nil || size == 0 {
		return all, push.Wrap(op, err)
	}
	return all, push.Wrap(op, s.changeData(ctx, all))
}

// changeData fills in what rows of the feed say of many devices.
func (s *Store) changeData(ctx context.Context, all []push.Change) error {
	i := 0
	return s.read.each(ctx, "SELECT seq, data FROM change WHERE seq >= ?1 AND seq <= ?2 AND data IS NOT NULL ORDER BY seq", func(rows *sql.Rows) error {
		var seq int64
		var data []byte
		if err := rows.Scan(&seq, &data); err != nil {
			return err
		}
		for i < len(all) && all[i].Seq < seq {
			i++
		}
		if i == len(all) || all[i].Seq != seq {
			return nil // it was not there yet
		}
		var err error
		all[i].Day, all[i].Devices, err = unpackActive(data)
		return err
	}, all[0].Seq, all[len(all)-1].Seq)
}

// feedBefore is where meta keeps the greatest sequence that was removed because of its age, in eight bytes.
const feedBefore = "feed/before"

// LastChange returns the greatest sequence that was committed, and the one before the oldest that is kept: of what came after
// that the feed has everything.
func (s *Store) LastChange(ctx context.Context) (last, before int64, err error) {
	var b []byte
	// One query: the ends belong together.
	_, err = s.read.one(ctx, "SELECT COALESCE((SELECT max(seq) FROM change), 0), (SELECT value FROM meta WHERE key = ?1)", []any{feedBefore}, &last, &b)
	before = sequence(b)
	return max(last, before), before, push.Wrap("sqlstore.LastChange", err)
}

func sequence(b []byte) int64 {
	if len(b) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(b))
}

// tidyChanges removes the beginning of the change feed.
func (s *Store) tidyChanges(ctx context.Context, now time.Time, left func() bool) error {
	old, err := s.oldChange(ctx, now.Add(-changeKeep).UnixMilli())
	for n := tidySlice; err == nil && old > 0 && n == tidySlice && left(); {
		n, err = s.commit.count(ctx, 0, func(t *tx) (int, error) { return t.dropChanges(old) })
	}
	return err
}

// oldChange returns the sequence of the last row of the feed's beginning that was made up to ms, in milliseconds; 0 if there
// is none. Sequences are in the order of time but for clocks that were set, and there is no index by time: the place is
// narrowed down by halves, past rows that were made while the clock was ahead, and the rest is read.
func (s *Store) oldChange(ctx context.Context, ms int64) (int64, error) {
	first, last := int64(0), int64(0)
	_, err := s.read.one(ctx, "SELECT COALESCE((SELECT min(seq) FROM change), 0), COALESCE((SELECT max(seq) FROM change), 0)", nil, &first, &last)
	for err == nil && last-first >= tidySlice {
		middle, at := first+(last-first)/2, int64(0)
		_, err = s.read.one(ctx, "SELECT at FROM change WHERE seq <= ?1 ORDER BY seq DESC LIMIT 1", []any{middle}, &at)
		if at <= ms {
			first = middle
		} else {
			last = middle
		}
	}
	old := int64(0)
	if err == nil {
		_, err = s.read.one(ctx, "SELECT COALESCE(max(seq), 0) FROM change WHERE seq >= ?1 AND seq <= ?2 AND at <= ?3", []any{first, last, ms}, &old)
	}
	return old, err
}

// dropChanges removes the oldest rows of the feed, up to old, and returns how many. Rows that a clock which was set has put
// between go as well: the feed has no holes.
func (t *tx) dropChanges(old int64) (int, error) {
	last := int64(0)
	_, err := t.one("SELECT COALESCE(max(c.seq), 0) FROM (SELECT seq FROM change WHERE seq <= ?1 ORDER BY seq LIMIT ?2) c",
		[]any{old, int64(tidySlice)}, &last)
	if err != nil || last == 0 {
		return 0, err
	}
	_, err = t.exec("INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
		feedBefore, binary.BigEndian.AppendUint64(nil, uint64(last)))
	if err != nil {
		return 0, err
	}
	n, err := t.exec("DELETE FROM change WHERE seq <= ?", last)
	return int(n), err
}
