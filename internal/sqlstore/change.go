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

// Changes returns at most limit rows of the change feed with sequences above after, in order. Sequences grow in the order
// of commits, since one committer gives them; they may have gaps. The feed goes back 30 days.
func (s *Store) Changes(ctx context.Context, after int64, limit int) ([]push.Change, error) {
	var all []push.Change
	err := s.read.each(ctx, "SELECT seq, app, ordinal, what, data FROM change WHERE seq > ?1 ORDER BY seq LIMIT ?2", func(rows *sql.Rows) error {
		var c push.Change
		var data []byte
		err := rows.Scan(&c.Seq, &c.App, &c.Ordinal, &c.What, &data)
		if err == nil && len(data) > 0 {
			c.Day, c.Devices, err = unpackActive(data)
		}
		all = append(all, c)
		return err
	}, after, limit)
	return all, push.Wrap("sqlstore.Changes", err)
}

// Where meta keeps the ends of the feed, as numbers of eight bytes, while rows beyond what is left may have been removed.
const (
	feedBefore = "feed/before" // the greatest sequence that was removed because of its age
	feedLast   = "feed/last"   // the greatest sequence that was removed with its app
)

// LastChange returns the greatest sequence that was committed, and the one before the oldest that is kept: of what came after
// that the feed has everything, apart from deleted apps.
func (s *Store) LastChange(ctx context.Context) (last, before int64, err error) {
	var b, l []byte
	// One query: the ends belong together.
	_, err = s.read.one(ctx, `SELECT COALESCE(max(seq), 0), (SELECT value FROM meta WHERE key = ?1), (SELECT value FROM meta WHERE key = ?2)
		FROM change`, []any{feedBefore, feedLast}, &last, &b, &l)
	before = sequence(b)
	return max(last, before, sequence(l)), before, push.Wrap("sqlstore.LastChange", err)
}

func sequence(b []byte) int64 {
	if len(b) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(b))
}

// raise stores the greatest sequence that was removed.
func (t *tx) raise(key string, seq int64) error {
	var b []byte
	if _, err := t.one("SELECT value FROM meta WHERE key = ?1", []any{key}, &b); err != nil || sequence(b) >= seq {
		return err
	}
	_, err := t.exec("INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
		key, binary.BigEndian.AppendUint64(nil, uint64(seq)))
	return err
}

// tidyChanges removes the beginning of the change feed.
func (s *Store) tidyChanges(ctx context.Context, now time.Time, left func() bool) error {
	ms := now.Add(-changeKeep).UnixMilli()
	oldest := int64(0)
	found, err := s.read.one(ctx, "SELECT at FROM change ORDER BY seq LIMIT 1", nil, &oldest)
	if err != nil || !found || oldest > ms {
		return err
	}
	for n := tidySlice; n >= tidySlice && left(); {
		n, err = s.commit.count(ctx, 0, func(t *tx) (int, error) {
			// Rows that a clock which went back has put between go as well: the feed has no holes.
			last := int64(0)
			_, err := t.one("SELECT COALESCE(max(c.seq), 0) FROM (SELECT seq, at FROM change ORDER BY seq LIMIT ?1) c WHERE c.at <= ?2",
				[]any{tidySlice, ms}, &last)
			if err != nil || last == 0 {
				return 0, err
			}
			if err := t.raise(feedBefore, last); err != nil {
				return 0, err
			}
			n, err := t.exec("DELETE FROM change WHERE seq <= ?", last)
			return int(n), err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// purgeChanges removes a deleted app from the feed. The app is in no key there, so the feed is read.
func (s *Store) purgeChanges(ctx context.Context, app push.AppID) error {
	for last := int64(0); ; {
		var some []int64
		n := 0
		err := s.read.each(ctx, "SELECT seq, app FROM change WHERE seq > ?1 ORDER BY seq LIMIT ?2", func(rows *sql.Rows) error {
			var owner push.AppID
			err := rows.Scan(&last, &owner)
			if n++; owner == app {
				some = append(some, last)
			}
			return err
		}, last, scanPage)
		if err != nil {
			return err
		}
		for len(some) > 0 {
			slice := some[:min(len(some), tidySlice)]
			some = some[len(slice):]
			err := s.commit.do(ctx, 0, func(t *tx) error {
				if err := t.raise(feedLast, slice[len(slice)-1]); err != nil {
					return err
				}
				_, err := t.exec("DELETE FROM change WHERE "+t.among(t.lookup("change", "true", "seq", "?1", ints)), intsArg(slice))
				return err
			})
			if err != nil {
				return err
			}
		}
		if n < scanPage {
			return nil
		}
	}
}
