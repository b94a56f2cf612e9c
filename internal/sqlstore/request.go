package sqlstore

import (
	"context"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// A requestID is the row of the id that a request was given, and of the push that was accepted for it.
type requestID struct {
	app     push.AppID
	id      string
	push    push.ID
	expires int64
}

// requestOf returns the row of p's request id, which is kept for as long as p is.
func requestOf(p *push.Push, keep time.Duration) requestID {
	return requestID{p.App, p.Request.RequestID, p.ID, millis(p.Expires.Add(keep))}
}

// putRequests stores ids of requests. Of requests with the same id the last counts.
func (t *tx) putRequests(all []requestID) error {
	type key struct {
		app push.AppID
		id  string
	}
	at := map[key]int{}
	cols := []column{{name: "app", ints: []int64{}}, {name: "id", texts: []string{}}, {name: "push", ints: []int64{}}, {name: "expires", ints: []int64{}}}
	for _, r := range all {
		k := key{r.app, r.id}
		if i, ok := at[k]; ok {
			cols[2].ints[i], cols[3].ints[i] = int64(r.push), r.expires
			continue
		}
		at[k] = len(cols[0].ints)
		cols[0].ints = append(cols[0].ints, int64(r.app))
		cols[1].texts = append(cols[1].texts, r.id)
		cols[2].ints = append(cols[2].ints, int64(r.push))
		cols[3].ints = append(cols[3].ints, r.expires)
	}
	return t.insert("request", "ON CONFLICT (app, id) DO UPDATE SET push = excluded.push, expires = excluded.expires", cols...)
}

// ByRequest returns the push that was accepted for a request: of several with the same id, the last. NotFound if there is
// none.
func (s *Store) ByRequest(ctx context.Context, app push.AppID, requestID string) (push.Push, error) {
	const op = "sqlstore.ByRequest"
	if requestID == "" || !plain(requestID) { // nothing is stored under it
		return push.Push{}, push.Wrap(op, notFound("no push has this request id"))
	}
	var id push.ID
	found, err := s.read.one(ctx, "SELECT push FROM request WHERE app = ?1 AND id = ?2", []any{int64(app), requestID}, &id)
	if err != nil || !found {
		return push.Push{}, push.Wrap(op, orNotFound(err, "no push has this request id"))
	}
	p, err := s.find(ctx, app, id)
	return p, push.Wrap(op, err)
}

// tidyRequests removes ids of requests whose pushes are gone.
func (s *Store) tidyRequests(ctx context.Context, now time.Time, left func() bool) error {
	ms := now.UnixMilli()
	found, err := s.read.one(ctx, "SELECT 1 FROM request WHERE expires <= ?1 LIMIT 1", []any{ms}, new(int))
	if err != nil || !found {
		return err
	}
	return s.slices(ctx, left, tidySlice, `DELETE FROM request WHERE (app, id) IN
		(SELECT app, id FROM request WHERE expires <= ? ORDER BY expires LIMIT ?)`, ms)
}
