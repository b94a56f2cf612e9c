package sqlstore

import (
	"context"
	"database/sql"
	"encoding/binary"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// capsSeq is where meta keeps up to which sequence of the receipt log the levels count, in eight bytes.
const capsSeq = "caps/seq"

// SaveCaps stores chunks of levels in the place of those that are there, and up to which sequence of the receipt log they
// count, in one commit. levels must not be changed afterwards.
func (s *Store) SaveCaps(ctx context.Context, seq int64, levels []push.CapLevel) error {
	const op = "sqlstore.SaveCaps"
	type key struct {
		app      push.AppID
		day      push.Day
		category string
		level    int
		chunk    uint16
	}
	at := map[key]int{} // the last of several counts: PostgreSQL takes a row only once in one statement
	cols := []column{
		{name: "app", ints: []int64{}},
		{name: "day", ints: []int64{}},
		{name: "category", texts: []string{}},
		{name: "level", ints: []int64{}},
		{name: "chunk", ints: []int64{}},
		{name: "bits", blobs: [][]byte{}},
	}
	size := 0
	for _, l := range levels {
		if !plain(l.Category) {
			return push.Wrap(op, invalid("category", "is not UTF-8 without NUL"))
		}
		size += 64 + len(l.Chunk.Bits)
		k := key{l.App, l.Day, l.Category, l.Level, l.Chunk.Key}
		if i, ok := at[k]; ok {
			cols[5].blobs[i] = l.Chunk.Bits
			continue
		}
		at[k] = len(at)
		cols[0].ints = append(cols[0].ints, int64(l.App))
		cols[1].ints = append(cols[1].ints, int64(l.Day))
		cols[2].texts = append(cols[2].texts, l.Category)
		cols[3].ints = append(cols[3].ints, int64(l.Level))
		cols[4].ints = append(cols[4].ints, int64(l.Chunk.Key))
		cols[5].blobs = append(cols[5].blobs, l.Chunk.Bits)
	}
	return push.Wrap(op, s.commit.do(ctx, size, func(t *tx) error {
		err := t.insert("cap_level", "ON CONFLICT (app, day, category, level, chunk) DO UPDATE SET bits = excluded.bits", cols...)
		if err != nil {
			return err
		}
		_, err = t.exec("INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
			capsSeq, binary.BigEndian.AppendUint64(nil, uint64(seq)))
		return err
	}))
}

// Caps returns what SaveCaps stored of days from day on, in order, and the sequence; 0 if it never has. Days that are over
// everywhere are removed with time.
func (s *Store) Caps(ctx context.Context, from push.Day) (seq int64, levels []push.CapLevel, err error) {
	const op = "sqlstore.Caps"
	before, err := s.capsSeq(ctx)
	for err == nil {
		levels = nil
		err = s.read.each(ctx, `SELECT app, day, category, level, chunk, bits FROM cap_level WHERE day >= ?1
			ORDER BY app, day, category, level, chunk`, func(rows *sql.Rows) error {
			var l push.CapLevel
			err := rows.Scan(&l.App, &l.Day, &l.Category, &l.Level, &l.Chunk.Key, &l.Chunk.Bits)
			levels = append(levels, l)
			return err
		}, int64(from))
		if err != nil {
			break
		}
		if seq, err = s.capsSeq(ctx); seq == before {
			break // else they were saved between: a sequence belongs to its levels
		}
		before = seq
	}
	if err != nil {
		return 0, nil, push.Wrap(op, err)
	}
	return seq, levels, nil
}

func (s *Store) capsSeq(ctx context.Context) (int64, error) {
	var b []byte
	_, err := s.read.one(ctx, "SELECT value FROM meta WHERE key = ?1", []any{capsSeq}, &b)
	return sequence(b), err
}

// tidyCaps removes the levels of days that are over in every time zone, and the sets of active devices of those that have
// been over for a day.
func (s *Store) tidyCaps(ctx context.Context, now time.Time, left func() bool) error {
	today := push.DayOf(now)
	for _, over := range []struct {
		table, key string
		before     push.Day
	}{
		{"cap_level", "app, day, category, level, chunk", today - 1},
		{"device_day_set", "app, day, chunk", today - 2},
	} {
		found, err := s.read.one(ctx, "SELECT 1 FROM "+over.table+" WHERE day < ?1 LIMIT 1", []any{int64(over.before)}, new(int))
		if err == nil && found {
			err = s.slices(ctx, left, blobSlice, "DELETE FROM "+over.table+" WHERE ("+over.key+") IN (SELECT "+over.key+
				" FROM "+over.table+" WHERE day < ?1 LIMIT ?2)", int64(over.before))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
