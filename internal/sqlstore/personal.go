package sqlstore

import (
	"context"
	"maps"
	"slices"

	"github.com/carillonpush/carillon/internal/push"
)

// A personalRow is the payload of a push that is one device's own.
type personalRow struct {
	push    push.ID
	ordinal push.Ordinal
	payload []byte
}

// personalSize returns about how many bytes own payloads hold of the queue.
func personalSize(all map[push.Ordinal][]byte) int {
	n := 0
	for _, payload := range all {
		n += 64 + len(payload)
	}
	return n
}

// appendPersonal appends the rows of one push, in the order of their key.
func appendPersonal(rows []personalRow, id push.ID, all map[push.Ordinal][]byte) []personalRow {
	for _, o := range slices.Sorted(maps.Keys(all)) {
		rows = append(rows, personalRow{id, o, all[o]})
	}
	return rows
}

// insertPersonal stores own payloads of pushes that expire on day.
func (t *tx) insertPersonal(day push.Day, rows []personalRow) error {
	cols := []column{{name: "push", ints: []int64{}}, {name: "ordinal", ints: []int64{}}, {name: "payload", blobs: [][]byte{}}}
	for _, r := range rows {
		cols[0].ints = append(cols[0].ints, int64(r.push))
		cols[1].ints = append(cols[1].ints, int64(r.ordinal))
		cols[2].blobs = append(cols[2].blobs, r.payload)
	}
	return t.insert(personalTable.of(day), "ON CONFLICT (push, ordinal) DO UPDATE SET payload = excluded.payload", cols...)
}

// Personal returns the payload of a push that is one device's own, nil if the device gets that of all others. day is that on
// which the push expires.
func (s *Store) Personal(ctx context.Context, p push.ID, day push.Day, o push.Ordinal) ([]byte, error) {
	var payload []byte
	err := s.days.stable(func() error {
		payload = nil
		if !s.days.has(personalTable, day) {
			return nil
		}
		_, err := s.read.one(ctx, "SELECT payload FROM "+personalTable.of(day)+" WHERE push = ?1 AND ordinal = ?2",
			[]any{int64(p), int64(o)}, &payload)
		return err
	})
	return payload, push.Wrap("sqlstore.Personal", err)
}
