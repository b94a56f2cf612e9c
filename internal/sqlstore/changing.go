package sqlstore

import (
	"context"
	"encoding/binary"
	"encoding/json"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Grow adds to the target of a push that is open, in one commit. Conflict if it is not, NotFound if there is no such push. g
// must not be changed afterwards.
func (s *Store) Grow(ctx context.Context, g push.Growth) error {
	size := chunksSize(g.Target)
	for _, chunks := range g.Settled {
		size += chunksSize(chunks)
	}
	// The target is this push's alone, and changes: its name is not its content.
	hash := binary.BigEndian.AppendUint64(nil, uint64(g.ID))
	err := s.commit.do(ctx, size, func(t *tx) error {
		state, err := t.state(g.App, g.ID)
		switch {
		case err != nil:
			return err
		case state != push.Open:
			return conflictIn(state)
		}
		settled, err := t.joined(g.ID, g.Settled)
		if err != nil {
			return t.fail(err)
		}
		if err := t.putTarget(hash, g.Target, "DO UPDATE SET bits = excluded.bits"); err != nil {
			return err
		}
		if err := t.putSets(settled); err != nil {
			return err
		}
		_, err = t.exec("UPDATE push SET target = ?, size = ?, unknown = ?, cursor = ? WHERE id = ?",
			hash, int64(g.Count), int64(g.Unknown), int64(push.Everybody), int64(g.ID))
		if err == nil {
			t.totals = append(t.totals, g.Totals...)
		}
		return err
	})
	return push.Wrap("sqlstore.Grow", err)
}

// joined returns chunks of sets of a push together with what the record has of them: receipts may have been folded since they
// were made, and marks only grow.
func (t *tx) joined(id push.ID, sets map[push.Mark][]push.Chunk) ([]push.FoldedChunk, error) {
	var all []push.FoldedChunk
	for m, chunks := range sets {
		for _, c := range chunks {
			var bits []byte
			found, err := t.one("SELECT bits FROM sets WHERE push = ?1 AND mark = ?2 AND chunk = ?3", []any{int64(id), int64(m), int64(c.Key)}, &bits)
			if err != nil {
				return nil, err
			}
			if found {
				set, err := ordset.FromChunks([]push.Chunk{c, {Key: c.Key, Bits: bits}})
				if err == nil {
					c, err = set.Chunk(c.Key)
				}
				if err != nil {
					return nil, err
				}
			}
			all = append(all, push.FoldedChunk{Push: id, Mark: m, Chunk: c})
		}
	}
	return all, nil
}

// Advance moves the cursor of a bulk push on, never back, and returns after the commit, which it shares with whoever else
// writes. NotFound if there is no such push.
func (s *Store) Advance(ctx context.Context, app push.AppID, id push.ID, cursor push.Ordinal) error {
	err := s.commit.do(ctx, 0, func(t *tx) error {
		n, err := t.exec("UPDATE push SET cursor = ? WHERE id = ? AND app = ? AND cursor < ?", int64(cursor), int64(id), int64(app), int64(cursor))
		if err == nil && n == 0 {
			_, err = t.state(app, id)
		}
		return err
	})
	return push.Wrap("sqlstore.Advance", err)
}

// Replace changes what a bulk push sends and when, if it is scheduled still: its start, its end, its request and its payload.
// Conflict if it is not, NotFound if there is no such push. payload must not be changed afterwards.
func (s *Store) Replace(ctx context.Context, p push.Push, payload []byte) error {
	const op = "sqlstore.Replace"
	request, err := json.Marshal(p.Request)
	switch {
	case err != nil:
		return push.Wrap(op, &push.Error{Kind: push.Invalid, Field: "request", Msg: "has no JSON form", Err: err})
	case p.Expires.Unix() <= 0 || !plain(p.Request.RequestID) || !plain(p.Request.Policy.CollapseID):
		return push.Wrap(op, &push.Error{Kind: push.Invalid, Field: "expires", Msg: "a push has an end, and its names are UTF-8 text"})
	}
	if err := s.reserved(); err != nil {
		return push.Wrap(op, err)
	}
	day := push.DayOf(p.Expires)
	w := &write{rows: 1, size: int64(len(payload) + len(request)), needs: []dayNeed{{bodyTable, day}}}
	w.do = func(t *tx) error {
		var state push.State
		var expires int64
		found, err := t.one("SELECT state, expires FROM push WHERE id = ?1 AND app = ?2", []any{int64(p.ID), int64(p.App)}, &state, &expires)
		switch {
		case err != nil || !found:
			return orNotFound(err, "no such push")
		case state != push.Scheduled:
			return conflictIn(state)
		}
		if old := push.DayOf(timeOf(expires)); old != day && s.days.has(bodyTable, old) {
			if _, err := t.exec("DELETE FROM "+bodyTable.of(old)+" WHERE push = ?", int64(p.ID)); err != nil {
				return err
			}
		}
		if err := t.putBody(day, p.ID, payload); err != nil {
			return err
		}
		if p.Request.RequestID != "" {
			if err := t.putRequests([]requestID{requestOf(&p, s.opts.Keep)}); err != nil {
				return err
			}
		}
		_, err = t.exec("UPDATE push SET start = ?, expires = ?, collapse = ?, request = ? WHERE id = ?",
			millis(p.Start), millis(p.Expires), p.Request.Policy.CollapseID, request, int64(p.ID))
		return err
	}
	return push.Wrap(op, s.commit.write(ctx, w))
}
