package sqlstore

import (
	"context"

	"github.com/carillonpush/carillon/internal/push"
)

// Load returns one bulk push as Live yields it, in whatever state it is; the target of one that is over may
// have gone. NotFound if there is none.
func (s *Store) Load(ctx context.Context, app push.AppID, id push.ID) (push.Live, error) {
	const op = "sqlstore.Load"
	found, err := s.bulk(ctx, "id = ?1 AND app = ?2", int64(id), int64(app))
	if err != nil || len(found) == 0 {
		return push.Live{}, push.Wrap(op, orNotFound(err, "no such push"))
	}
	l, err := s.live(ctx, found[0], map[string][]push.Chunk{})
	if err != nil {
		return push.Live{}, push.Wrap(op, err)
	}
	return l, nil
}
