package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// When marks were committed is kept beside the marks: of a direct push in the row of its outcome, of a bulk push in pages a
// chunk, of all its devices in the order in which they came. Both are read so that the first time of a mark counts: what is
// folded again may stand there twice.

// trailPage is how many bytes of a page are filled before the next is begun. What changes is a page, not a chunk's whole trail.
const trailPage = 4 << 10

// markBits is how many bits of a packed time are its mark.
const markBits = 5

// appendTimed writes a mark and how many milliseconds after another time it was committed, as one varint.
func appendTimed(b []byte, after int64, m push.Mark) []byte {
	zigzag := uint64(after)<<1 ^ uint64(after>>63)
	return binary.AppendUvarint(b, zigzag<<markBits|uint64(m))
}

// timed undoes appendTimed.
func (v *varints) timed() (after int64, m push.Mark) {
	n := v.unsigned(math.MaxUint64)
	zigzag := n >> markBits
	return int64(zigzag>>1) ^ -int64(zigzag&1), push.Mark(n & (1<<markBits - 1))
}

// packTimes returns when marks of a push were committed, each counted from the time in the push's id.
func packTimes(id push.ID, all []push.Timed) []byte {
	b := make([]byte, 0, 6*len(all))
	for _, t := range all {
		b = appendTimed(b, t.At.Sub(id.Time()).Milliseconds(), t.Mark)
	}
	return b
}

// unpackTimes undoes packTimes.
func unpackTimes(id push.ID, b []byte) ([]push.Timed, error) {
	in := varints{b: b}
	var all []push.Timed
	for len(in.b) > 0 && !in.bad {
		after, m := in.timed()
		all = append(all, push.Timed{Mark: m, At: id.Time().Add(time.Duration(after) * time.Millisecond)})
	}
	if in.bad {
		return nil, errPacked
	}
	return all, nil
}

// appendTrail writes marks at the end of a page and returns it, the time of the last of them, and those that found no room. A
// page is of one chunk, so an ordinal is its lower 16 bits; a time is counted from the one before, in an empty page from the
// one in the push's id.
func appendTrail(page []byte, last time.Time, marks []push.TrailMark) (full []byte, at time.Time, rest []push.TrailMark) {
	for i, m := range marks {
		if len(page) >= trailPage-maxTrailEntry {
			return page, last, marks[i:]
		}
		after := m.At.Sub(last).Milliseconds()
		page = binary.BigEndian.AppendUint16(appendTimed(page, after, m.Mark), uint16(m.Ordinal))
		last = last.Add(time.Duration(after) * time.Millisecond)
	}
	return page, last, nil
}

// maxTrailEntry is the most bytes that one mark takes in a page.
const maxTrailEntry = binary.MaxVarintLen64 + 2

// eachTrail calls f for each mark in a page, and returns the time of the last.
func eachTrail(page []byte, first time.Time, f func(low uint16, t push.Timed)) (last time.Time, err error) {
	in := varints{b: page}
	last = first
	for len(in.b) > 0 {
		after, m := in.timed()
		low := in.bytes(2)
		if in.bad {
			return first, errPacked
		}
		last = last.Add(time.Duration(after) * time.Millisecond)
		f(binary.BigEndian.Uint16(low), push.Timed{Mark: m, At: last})
	}
	return last, nil
}

// trailKey is whose pages they are.
type trailKey struct {
	push  push.ID
	chunk uint16
}

// putTrails adds to the trails of pushes that are there, behind what they have.
func (s *Store) putTrails(t *tx, all []push.Trail, there map[push.ID]bool) error {
	days := map[push.Day]map[trailKey][]push.TrailMark{}
	for _, tr := range all {
		if !there[tr.Push] || !s.days.has(trailTable, tr.Day) {
			continue
		}
		if days[tr.Day] == nil {
			days[tr.Day] = map[trailKey][]push.TrailMark{}
		}
		k := trailKey{tr.Push, tr.Key}
		if before, ok := days[tr.Day][k]; ok {
			days[tr.Day][k] = slices.Concat(before, tr.Marks)
		} else {
			days[tr.Day][k] = tr.Marks
		}
	}
	for day, marks := range days {
		if err := t.putTrail(trailTable.of(day), marks); err != nil {
			return err
		}
	}
	return nil
}

// putTrail adds to the trails of one day.
func (t *tx) putTrail(table string, marks map[trailKey][]push.TrailMark) error {
	keys := make([]trailKey, 0, len(marks))
	for k := range marks {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b trailKey) int {
		return cmp.Or(cmp.Compare(a.push, b.push), cmp.Compare(a.chunk, b.chunk))
	})
	cols := []column{
		{name: "push", ints: []int64{}},
		{name: "chunk", ints: []int64{}},
		{name: "page", ints: []int64{}},
		{name: "packed", blobs: [][]byte{}},
	}
	add := func(k trailKey, n int64, page []byte) {
		cols[0].ints = append(cols[0].ints, int64(k.push))
		cols[1].ints = append(cols[1].ints, int64(k.chunk))
		cols[2].ints = append(cols[2].ints, n)
		cols[3].blobs = append(cols[3].blobs, page)
	}
	last := func(column string) string {
		return "(SELECT p." + column + " FROM " + table + " p WHERE p.push = k.push AND p.chunk = k.chunk ORDER BY p.page DESC LIMIT 1)"
	}
	err := t.each("SELECT k.n, COALESCE("+last("page")+", 0), "+last("packed")+" FROM "+
		t.w.dialect.traits().keys("?1", "push", "chunk")+" k", func(rows *sql.Rows) error {
		var i int
		var n int64
		var page []byte
		if err := rows.Scan(&i, &n, &page); err != nil {
			return err
		}
		k := keys[i]
		at, err := eachTrail(page, k.push.Time(), func(uint16, push.Timed) {})
		if err != nil { // what is damaged is left as it is
			n, page = n+1, nil
		}
		for rest := marks[k]; len(rest) > 0; {
			had := len(page)
			page, at, rest = appendTrail(page, at, rest)
			if len(page) > had {
				add(k, n, page)
			}
			if len(rest) > 0 {
				n, page, at = n+1, nil, k.push.Time()
			}
		}
		return nil
	}, keyArg(len(keys), func(i int) []int64 { return []int64{int64(keys[i].push), int64(keys[i].chunk)} }))
	if err != nil {
		return err
	}
	return t.insert(table, "ON CONFLICT (push, chunk, page) DO UPDATE SET packed = excluded.packed", cols...)
}

// Trail returns when which marks of p on a device were committed, as far as it is folded, in order of time, each mark once.
func (s *Store) Trail(ctx context.Context, p push.Push, o push.Ordinal) ([]push.Timed, error) {
	day := push.DayOf(p.Expires)
	kind, query, args := outcomeTable, "SELECT times FROM {table} WHERE push = ?1 AND ordinal = ?2", []any{int64(p.ID), int64(o)}
	if p.Kind == push.Bulk {
		kind, query = trailTable, "SELECT packed FROM {table} WHERE push = ?1 AND chunk = ?2 ORDER BY page"
		args[1] = int64(o >> 16)
	}
	var all []push.Timed
	err := s.days.stable(func() error {
		all = nil
		if !s.days.has(kind, day) {
			return nil
		}
		return s.read.each(ctx, strings.ReplaceAll(query, "{table}", kind.of(day)), func(rows *sql.Rows) error {
			var packed sql.RawBytes
			if err := rows.Scan(&packed); err != nil {
				return err
			}
			if p.Kind != push.Bulk {
				times, err := unpackTimes(p.ID, packed)
				all = append(all, times...)
				return err
			}
			_, err := eachTrail(packed, p.ID.Time(), func(low uint16, t push.Timed) {
				if low == uint16(o) {
					all = append(all, t)
				}
			})
			return err
		}, args...)
	})
	if err != nil {
		return nil, push.Wrap("sqlstore.Trail", err)
	}
	slices.SortStableFunc(all, func(a, b push.Timed) int { return a.At.Compare(b.At) })
	seen := push.Marked(0)
	return slices.DeleteFunc(all, func(t push.Timed) bool {
		twice := seen.Has(t.Mark)
		seen = seen.With(t.Mark)
		return twice
	}), nil
}
