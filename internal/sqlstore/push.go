package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"slices"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// An acceptance is a push that is ready to be stored.
type acceptance struct {
	*push.Acceptance
	day         push.Day
	targets     []byte // direct: see packOrdinals
	rest        []byte // direct: a rest; bulk: the request
	rules       []byte // direct: see packRules
	charges     []push.Charge
	key         push.Key
	fingerprint [32]byte
	keep        int64 // when the key is free again

	// What the committer has found out:
	lost    bool        // the key was taken
	first   *acceptance // by this one, of the same batch
	refused error       // why nothing of it is stored, although the key was free
}

// in reports whether the push is stored.
func (a *acceptance) in() bool { return !a.lost && a.refused == nil }

// defaultKeyKeep is how long a key that does not say it is kept.
const defaultKeyKeep = 72 * time.Hour

// Accept makes a durable: it returns after the commit that holds all its rows. If a's key was used before in its app,
// nothing changes, and the push of that key is returned with repeated true, or Conflict if the key is Strict and the
// fingerprints differ. TooMany with RetryAfter if one of a's charges does not fit: then it uses none. Conflict with Field
// "occurrence" if a.Fires does not wait any more. Unavailable means that the outcome is unknown, or that the disk's reserve is
// reached. Conflict without a Field is an id that was used before. a must not be changed afterwards.
//
// A direct push with a collapse id drops, with MarkCollapsed and in the same commit, what waits for its targets of the direct
// pushes of its app that have the same id and were committed before.
func (s *Store) Accept(ctx context.Context, a *push.Acceptance) (p push.Push, repeated bool, err error) {
	const op = "sqlstore.Accept"
	if err := s.reserved(); err != nil {
		return push.Push{}, false, push.Wrap(op, err)
	}
	w, err := prepare(a)
	if err != nil {
		return push.Push{}, false, push.Wrap(op, err)
	}
	if a.Limit > 0 {
		s.setLimit(a.Push.App, a.Limit)
	}
	err = s.commit.write(ctx, w.write())
	if err != nil {
		return push.Push{}, false, push.Wrap(op, err)
	}
	if !w.lost {
		return a.Push, false, nil
	}
	first, fingerprint, err := s.findKey(ctx, a.Push.App, w.key, 0)
	if err == nil && w.key.Strict && fingerprint != w.fingerprint {
		err = &push.Error{Kind: push.Conflict, Field: "key", Msg: "this key was used for another request"}
	}
	if err != nil {
		return push.Push{}, false, push.Wrap(op, err)
	}
	return first, true, nil
}

// write returns what is queued for a.
func (a *acceptance) write() *write {
	size := len(a.Payload) + len(a.rest) + len(a.targets) + len(a.key.Value) + 64*(len(a.Targets)+len(a.Marks)+len(a.Totals))
	return &write{accept: a, size: int64(size + personalSize(a.Personal)), rows: 1 + len(a.Targets) + len(a.Personal)}
}

// prepare checks a and brings it into its stored form, outside the committer, which has no time for that.
func prepare(a *push.Acceptance) (*acceptance, error) {
	p := &a.Push
	switch {
	case p.ID <= 0 || p.App == 0:
		return nil, &push.Error{Kind: push.Invalid, Field: "id", Msg: "a push has an id and an app"}
	case p.Kind != push.Direct && p.Kind != push.Bulk:
		return nil, &push.Error{Kind: push.Invalid, Field: "kind", Msg: "is direct or bulk"}
	case p.Expires.Unix() <= 0 || p.Created.Unix() <= 0:
		return nil, &push.Error{Kind: push.Invalid, Field: "expires", Msg: "a push has a time and an end"}
	case !plain(p.Request.Key.Value):
		return nil, &push.Error{Kind: push.Invalid, Field: "key", Msg: "is not UTF-8 text"}
	case !plain(p.Request.RequestID):
		return nil, &push.Error{Kind: push.Invalid, Field: "request_id", Msg: "is not UTF-8 text"}
	case !plain(p.Request.Policy.CollapseID):
		return nil, &push.Error{Kind: push.Invalid, Field: "policy.collapse_id", Msg: "is not UTF-8 text"}
	case len(a.Targets) > push.MaxDirect:
		return nil, &push.Error{Kind: push.Invalid, Field: "targets", Msg: "are at most 1000"}
	}
	w := &acceptance{Acceptance: a, day: push.DayOf(p.Expires), key: p.Request.Key}
	if !w.key.Zero() {
		w.fingerprint = p.Request.Fingerprint()
		w.keep = millis(p.Created.Add(cmp.Or(w.key.Keep, defaultKeyKeep)))
	}
	var err error
	if w.charges, err = chargesOf(a.Charges); err != nil {
		return nil, err
	}
	if p.Kind == push.Bulk {
		if w.rest, err = json.Marshal(p.Request); err != nil {
			return nil, &push.Error{Kind: push.Invalid, Field: "request", Msg: "has no JSON form", Err: err}
		}
		return w, nil
	}
	all := slices.Clone(a.Targets)
	for _, m := range a.Marks {
		all = append(all, m.Ordinal)
	}
	slices.Sort(all)
	if n := len(all); n != len(slices.Compact(all)) {
		return nil, &push.Error{Kind: push.Invalid, Field: "targets", Msg: "names a device twice"}
	}
	w.targets = packOrdinals(all)
	w.rules = packRules(p.Request.Rules())
	w.rest, err = packRest(a)
	return w, err
}

// insertDirect stores direct pushes of one day.
func (t *tx) insertDirect(day push.Day, all []*acceptance) error {
	n := len(all)
	ints := make([]int64, 5*n)
	blobs := make([][]byte, 4*n)
	cols := []column{
		{name: "id", ints: ints[:n]},
		{name: "app", ints: ints[n : 2*n]},
		{name: "created", ints: ints[2*n : 3*n]},
		{name: "expires", ints: ints[3*n : 4*n]},
		{name: "unknown", ints: ints[4*n:]},
		{name: "collapse", texts: make([]string, n)},
		{name: "rules", blobs: blobs[:n]},
		{name: "targets", blobs: blobs[n : 2*n]},
		{name: "payload", blobs: blobs[2*n : 3*n]},
		{name: "rest", blobs: blobs[3*n:]},
	}
	for i, a := range all {
		cols[0].ints[i] = int64(a.Push.ID)
		cols[1].ints[i] = int64(a.Push.App)
		cols[2].ints[i] = millis(a.Push.Created)
		cols[3].ints[i] = millis(a.Push.Expires)
		cols[4].ints[i] = int64(a.Push.Unknown)
		cols[5].texts[i] = a.Push.Request.Policy.CollapseID
		cols[6].blobs[i], cols[7].blobs[i], cols[8].blobs[i], cols[9].blobs[i] = a.rules, a.targets, a.Payload, a.rest
	}
	return t.insert(directTable.of(day), "", cols...)
}

// FindKey returns the push that was accepted under key and the fingerprint of its request. NotFound if there is none.
func (s *Store) FindKey(ctx context.Context, app push.AppID, key push.Key) (push.Push, [32]byte, error) {
	p, fingerprint, err := s.findKey(ctx, app, key, time.Now().UnixMilli())
	return p, fingerprint, push.Wrap("sqlstore.FindKey", err)
}

// findKey returns the push of a key that expires after now, in milliseconds.
func (s *Store) findKey(ctx context.Context, app push.AppID, key push.Key, now int64) (push.Push, [32]byte, error) {
	var id push.ID
	var stored []byte
	var fingerprint [32]byte
	found, err := s.read.one(ctx, `SELECT push, fingerprint FROM dedupe
		WHERE app = ?1 AND namespace = ?2 AND key = ?3 AND expires > ?4`,
		[]any{int64(app), key.Namespace, key.Value, now}, &id, &stored)
	if err != nil || !found {
		return push.Push{}, fingerprint, orNotFound(err, "no push has this key")
	}
	copy(fingerprint[:], stored)
	p, err := s.find(ctx, app, id)
	return p, fingerprint, err
}

// orNotFound returns err, or NotFound if it is nil.
func orNotFound(err error, msg string) error {
	if err != nil {
		return err
	}
	return notFound(msg)
}

func notFound(msg string) error { return &push.Error{Kind: push.NotFound, Msg: msg} }

// Find returns a push of app by id, with its request; that of a direct push has no devices in its audience: Targets
// returns them. A recurring schedule, and an occurrence that has not fired, are found as the bulk pushes that they would be.
// NotFound if there is none, or its day has gone.
func (s *Store) Find(ctx context.Context, app push.AppID, id push.ID) (push.Push, error) {
	p, err := s.find(ctx, app, id)
	return p, push.Wrap("sqlstore.Find", err)
}

func (s *Store) find(ctx context.Context, app push.AppID, id push.ID) (push.Push, error) {
	var p push.Push
	found := false
	scan := func(rows *sql.Rows) (err error) {
		found = true
		p, err = scanDirect(rows)
		return err
	}
	err := s.days.stable(func() error {
		// A push expires after it was made, and its id says when that was; almost always, since a clock may be set back.
		first := push.DayOf(id.Time())
		recent, older := s.days.from(directTable, first), s.days.until(directTable, first-1)
		for _, all := range [][]push.Day{recent, older} {
			if len(all) == 0 || found {
				continue
			}
			query := "SELECT * FROM " + union(all, func(d push.Day) string {
				return selectDirect(d) + " WHERE d.id = ?1 AND d.app = ?2"
			}) + " u"
			if err := s.read.each(ctx, query, scan, int64(id), int64(app)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || found {
		return p, err
	}
	all, err := s.bulk(ctx, "id = ?1 AND app = ?2", int64(id), int64(app))
	if err != nil || len(all) > 0 {
		if err == nil {
			p = all[0].Push
		}
		return p, err
	}
	p, found, err = s.findLater(ctx, app, id)
	if err != nil || !found {
		return push.Push{}, orNotFound(err, "no such push")
	}
	return p, nil
}

// selectDirect returns the query for direct pushes of one day, as scanDirect takes them. The table's alias is d.
func selectDirect(day push.Day) string {
	return `SELECT d.id, d.app, d.created, d.expires, d.unknown, d.targets, d.payload, d.rest,
		COALESCE(w.mark, -1) AS mark, COALESCE(h.push, 0) AS held
		FROM ` + directTable.of(day) + ` d LEFT JOIN withdrawn w ON w.push = d.id LEFT JOIN held h ON h.push = d.id`
}

func scanDirect(rows *sql.Rows) (push.Push, error) {
	p := push.Push{Kind: push.Direct}
	var created, expires int64
	var targets, payload, rest sql.RawBytes
	mark, held := int64(-1), int64(0)
	err := rows.Scan(&p.ID, &p.App, &created, &expires, &p.Unknown, &targets, &payload, &rest, &mark, &held)
	if err != nil {
		return p, err
	}
	p.Created, p.Expires = timeOf(created), timeOf(expires)
	n, _ := binary.Uvarint(targets)
	p.Target = int(n)
	if err := unpackRest(&p, payload, rest); err != nil {
		return p, err
	}
	switch {
	case mark == int64(push.MarkExpired):
		p.State = push.Expired
	case mark == int64(push.MarkWithdrawn):
		p.State = push.Recalled
	case mark >= 0:
		p.State = push.Cancelled
	case held != 0:
		p.State = push.Paused
	}
	return p, nil
}

// Newest returns the greatest push id in the record, 0 if there is none. Those of schedules and occurrences are push ids, too.
func (s *Store) Newest(ctx context.Context) (push.ID, error) {
	newest := push.ID(0)
	err := s.days.stable(func() error {
		parts := "SELECT max(id) AS id FROM push UNION ALL SELECT max(id) FROM schedule UNION ALL SELECT max(id) FROM occurrence"
		for _, d := range s.days.from(directTable, 0) {
			parts += " UNION ALL SELECT max(id) AS id FROM " + directTable.of(d)
		}
		_, err := s.read.one(ctx, "SELECT COALESCE(max(id), 0) FROM ("+parts+") u", nil, &newest)
		return err
	})
	return newest, push.Wrap("sqlstore.Newest", err)
}
