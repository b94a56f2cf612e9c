package sqlstore

import (
	"context"
	"database/sql"
	"slices"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Targeted reports whether a device is in the target of p. The target of a bulk push that is over has gone: then those
// that are marked as sent or delivered were in it, and of the others nobody asks.
func (s *Store) Targeted(ctx context.Context, p push.Push, o push.Ordinal) (bool, error) {
	const op = "sqlstore.Targeted"
	if p.Kind == push.Direct {
		targets, err := s.Targets(ctx, p)
		return slices.Contains(targets, o), push.Wrap(op, err)
	}
	chunks, err := s.chunksOf(ctx, p.ID, uint16(o>>16))
	if err != nil {
		return false, push.Wrap(op, err)
	}
	for _, c := range chunks {
		set, err := ordset.FromChunks([]push.Chunk{c})
		if err != nil {
			return false, push.Wrap(op, err)
		}
		if set.Has(o) {
			return true, nil
		}
	}
	return false, nil
}

// chunksOf returns one chunk of a bulk push's target and of the sets that its devices may be in.
func (s *Store) chunksOf(ctx context.Context, id push.ID, key uint16) ([]push.Chunk, error) {
	var all []push.Chunk
	err := s.read.each(ctx, `SELECT t.bits FROM push p JOIN target t ON t.hash = p.target WHERE p.id = ?1 AND t.chunk = ?2
		UNION ALL SELECT bits FROM sets WHERE push = ?1 AND chunk = ?2 AND mark IN (?3, ?4)`,
		func(rows *sql.Rows) error {
			c := push.Chunk{Key: key}
			err := rows.Scan(&c.Bits)
			all = append(all, c)
			return err
		}, int64(id), int64(key), int64(push.MarkSent), int64(push.MarkDelivered))
	return all, err
}
