package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// AddSchedule makes a recurring schedule and its occurrences durable in one commit, with the key of its request, as Accept
// does: of a key that was used before the first push or schedule is returned as a push, with repeated, or Conflict if the key
// is Strict and the fingerprints differ. NotFound with Field "app"; Unavailable with push.ErrNotQueued if the disk's reserve
// is reached. A schedule as a push has the start of its first occurrence and the end of its last.
func (s *Store) AddSchedule(ctx context.Context, sched push.Schedule, all []push.Occurrence) (p push.Push, repeated bool, err error) {
	const op = "sqlstore.AddSchedule"
	fail := func(err error) (push.Push, bool, error) { return push.Push{}, false, push.Wrap(op, err) }
	if err := s.reserved(); err != nil {
		return fail(err)
	}
	request, err := checkSchedule(&sched, all)
	if err != nil {
		return fail(err)
	}
	key := sched.Request.Key
	fingerprint := sched.Request.Fingerprint()
	keep := millis(sched.Created.Add(cmp.Or(key.Keep, defaultKeyKeep)))
	all = slices.Clone(all)
	lost := false
	err = s.commit.write(ctx, &write{rows: 1 + len(all), size: int64(len(request) + len(key.Value) + 64*len(all)), do: func(t *tx) error {
		if err := t.appThere(sched.App); err != nil {
			return err
		}
		if lost = false; !key.Zero() {
			won, err := t.claimKey(sched.App, key, sched.ID, fingerprint, keep, millis(sched.Created))
			if lost = !won; err != nil || lost {
				return err
			}
		}
		_, err := t.exec("INSERT INTO schedule (id, app, state, created, ended, request) VALUES (?, ?, ?, ?, 0, ?)",
			int64(sched.ID), int64(sched.App), string(push.ScheduleActive), millis(sched.Created), request)
		if err != nil {
			return err
		}
		return t.insertOccurrences(all)
	}})
	if err != nil {
		return fail(err)
	}
	if !lost {
		first, last := extent(all)
		return schedulePush(sched, first, last), false, nil
	}
	p, was, err := s.findKey(ctx, sched.App, key, 0)
	if err == nil && key.Strict && was != fingerprint {
		err = &push.Error{Kind: push.Conflict, Field: "key", Msg: "this key was used for another request"}
	}
	if err != nil {
		return fail(err)
	}
	return p, true, nil
}

// claimKey stores one dedupe key inside a write's own function, and reports whether it was free at now.
func (t *tx) claimKey(app push.AppID, key push.Key, id push.ID, fingerprint [32]byte, keep, now int64) (bool, error) {
	won, err := t.w.dialect.claim(t, []column{
		{name: "app", ints: []int64{int64(app)}},
		{name: "namespace", texts: []string{key.Namespace}},
		{name: "key", texts: []string{key.Value}},
		{name: "push", ints: []int64{int64(id)}},
		{name: "fingerprint", blobs: [][]byte{fingerprint[:]}},
		{name: "expires", ints: []int64{keep}},
	}, now)
	return err == nil && won[0], t.fail(err)
}

// checkSchedule returns the stored form of what a schedule sends. Invalid if it, or one of its occurrences, cannot be stored.
func checkSchedule(sched *push.Schedule, all []push.Occurrence) ([]byte, error) {
	if sched.ID <= 0 || sched.App == 0 {
		return nil, invalid("id", "a schedule has an id and an app")
	}
	for _, o := range all {
		if o.ID <= 0 || o.Schedule != sched.ID || o.App != sched.App || o.At.Unix() <= 0 || o.State != push.OccurrenceWaiting {
			return nil, invalid("occurrence", "is one of its schedule, has an id and a time, and waits")
		}
	}
	if !plain(sched.Request.Key.Value) {
		return nil, invalid("key", "is not UTF-8 text")
	}
	b, err := json.Marshal(sched.Request)
	if err != nil {
		return nil, &push.Error{Kind: push.Invalid, Field: "request", Msg: "has no JSON form", Err: err}
	}
	return b, nil
}

// extent returns the times of the first and of the last of all, in milliseconds.
func extent(all []push.Occurrence) (first, last int64) {
	for i, o := range all {
		at := millis(o.At)
		if last = max(last, at); i == 0 || at < first {
			first = at
		}
	}
	return first, last
}

// schedulePush returns a recurring schedule as a push. first and last are when its occurrences are, 0 if it has none.
func schedulePush(sched push.Schedule, first, last int64) push.Push {
	p := push.Push{
		ID: sched.ID, App: sched.App, Kind: push.Bulk, State: push.Scheduled,
		Created: timeOf(millis(sched.Created)), Request: sched.Request,
	}
	switch sched.State {
	case push.ScheduleFinished:
		p.State = push.Done
	case push.ScheduleCancelled:
		p.State = push.Cancelled
	}
	p.Start, p.Expires = p.Created, p.Created
	if first > 0 {
		p.Start, p.Expires = timeOf(first), sched.Request.Policy.Expiry(timeOf(last))
	}
	return p
}

// A scheduleRow is a recurring schedule with the span of all its occurrences, whatever their states.
type scheduleRow struct {
	push.Schedule
	first, last int64
}

// schedules returns the recurring schedules for which where holds; the table's alias is s.
func (s *Store) schedules(ctx context.Context, where string, args ...any) ([]scheduleRow, error) {
	var all []scheduleRow
	err := s.read.each(ctx, `SELECT s.id, s.app, s.state, s.created, s.request,
			COALESCE((SELECT min(o.at) FROM occurrence o WHERE o.schedule = s.id), 0),
			COALESCE((SELECT max(o.at) FROM occurrence o WHERE o.schedule = s.id), 0),
			COALESCE((SELECT min(o.at) FROM occurrence o WHERE o.schedule = s.id AND o.state = 'waiting'), 0),
			(SELECT count(*) FROM occurrence o WHERE o.schedule = s.id AND o.state = 'waiting')
		FROM schedule s WHERE `+where, func(rows *sql.Rows) error {
		var r scheduleRow
		var created, next int64
		var request sql.RawBytes
		err := rows.Scan(&r.ID, &r.App, &r.State, &created, &request, &r.first, &r.last, &next, &r.Left)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(request, &r.Request); err != nil {
			return s.leaveOut(&push.Push{ID: r.ID, App: r.App}, damaged(&push.Push{ID: r.ID, App: r.App}, err))
		}
		r.Created, r.Next = timeOf(created), timeOf(next)
		if r.Request.Policy.Recurring != nil {
			r.Every = r.Request.Policy.Recurring.Every
		}
		all = append(all, r)
		return nil
	}, args...)
	return all, err
}

// once returns a push that waits for its start as the schedule that it is.
func once(p push.Push) push.Schedule {
	return push.Schedule{
		ID: p.ID, App: p.App, Every: "once", State: push.ScheduleActive,
		Created: p.Created, Next: p.Start, Left: 1, Request: p.Request,
	}
}

// FindSchedule returns a schedule of app: a recurring one, or a push that waits for its start. NotFound.
func (s *Store) FindSchedule(ctx context.Context, app push.AppID, id push.ID) (push.Schedule, error) {
	const op = "sqlstore.FindSchedule"
	all, err := s.schedules(ctx, "s.id = ?1 AND s.app = ?2", int64(id), int64(app))
	if err == nil && len(all) > 0 {
		return all[0].Schedule, nil
	}
	var waiting []stored
	if err == nil {
		waiting, err = s.bulk(ctx, "id = ?1 AND app = ?2 AND state = 'scheduled'", int64(id), int64(app))
	}
	if err != nil || len(waiting) == 0 {
		return push.Schedule{}, push.Wrap(op, orNotFound(err, "no such schedule"))
	}
	return once(waiting[0].Push), nil
}

// Schedules returns schedules of app with ids below before (0: all), newest first, at most limit (0: 50; at most 1,000):
// recurring ones in whatever state, and the pushes that wait for their start; next is where to go on, 0 at the end. What
// cannot be read is told of in the log and left out.
func (s *Store) Schedules(ctx context.Context, app push.AppID, before push.ID, limit int) (page []push.Schedule, next push.ID, err error) {
	const op = "sqlstore.Schedules"
	if before <= 0 {
		before = math.MaxInt64
	}
	if limit <= 0 {
		limit = defaultPage
	}
	limit = min(limit, maxPage)
	recurring, err := s.schedules(ctx, "s.app = ?1 AND s.id < ?2 ORDER BY s.id DESC LIMIT ?3", int64(app), int64(before), limit+1)
	if err != nil {
		return nil, 0, push.Wrap(op, err)
	}
	for _, r := range recurring {
		page = append(page, r.Schedule)
	}
	err = s.eachBulk(ctx, func(p stored, err error) error {
		if err == nil {
			page = append(page, once(p.Push))
		}
		return s.leaveOut(&p.Push, err)
	}, "app = ?1 AND state = 'scheduled' AND id < ?2 ORDER BY id DESC LIMIT ?3", int64(app), int64(before), limit+1)
	if err != nil {
		return nil, 0, push.Wrap(op, err)
	}
	slices.SortFunc(page, func(a, b push.Schedule) int { return cmp.Compare(b.ID, a.ID) })
	if len(page) > limit {
		page = page[:limit]
		next = page[limit-1].ID
	}
	return page, next, nil
}

// Unfinished counts the active recurring schedules of app and its pushes that wait for their start.
func (s *Store) Unfinished(ctx context.Context, app push.AppID) (int, error) {
	n := 0
	_, err := s.read.one(ctx, `SELECT (SELECT count(*) FROM schedule WHERE app = ?1 AND state = 'active') +
		(SELECT count(*) FROM push WHERE app = ?1 AND state = 'scheduled')`, []any{int64(app)}, &n)
	return n, push.Wrap("sqlstore.Unfinished", err)
}

// EndSchedule moves an active schedule to a state, and its waiting occurrences to cancelled if that is ScheduleCancelled, and
// returns how many. Conflict with Field "state" if it is not active; NotFound if there is no such recurring schedule.
func (s *Store) EndSchedule(ctx context.Context, app push.AppID, id push.ID, to push.ScheduleState) (int, error) {
	const op = "sqlstore.EndSchedule"
	if to != push.ScheduleFinished && to != push.ScheduleCancelled {
		return 0, push.Wrap(op, invalid("state", "is finished or cancelled"))
	}
	n, err := s.commit.count(ctx, 0, func(t *tx) (int, error) {
		if err := t.scheduleActive(app, id); err != nil {
			return 0, err
		}
		_, err := t.exec("UPDATE schedule SET state = ?, ended = ? WHERE id = ?", string(to), time.Now().UnixMilli(), int64(id))
		if err != nil || to != push.ScheduleCancelled {
			return 0, err
		}
		n, err := t.exec("UPDATE occurrence SET state = 'cancelled' WHERE schedule = ? AND state = 'waiting'", int64(id))
		return int(n), err
	})
	return n, push.Wrap(op, err)
}

// scheduleActive returns NotFound if app has no such recurring schedule, Conflict if it is not active.
func (t *tx) scheduleActive(app push.AppID, id push.ID) error {
	var state push.ScheduleState
	found, err := t.one("SELECT state FROM schedule WHERE id = ?1 AND app = ?2", []any{int64(id), int64(app)}, &state)
	switch {
	case err != nil || !found:
		return orNotFound(err, "no such schedule")
	case state != push.ScheduleActive:
		return &push.Error{Kind: push.Conflict, Field: "state", Msg: "the schedule is " + string(state)}
	}
	return nil
}

// tidySchedules removes schedules that ended long ago, with their occurrences.
func (s *Store) tidySchedules(ctx context.Context, now time.Time, left func() bool) error {
	for more := true; more && left(); {
		n, err := s.dropSchedules(ctx, "ended > 0 AND ended <= ?1", now.Add(-s.opts.Keep).UnixMilli())
		if err != nil {
			return err
		}
		more = n == tidyPage
	}
	return nil
}

// dropSchedules removes the next schedules for which where holds, each with its occurrences in a commit, and returns how many.
func (s *Store) dropSchedules(ctx context.Context, where string, arg any) (int, error) {
	var ids []int64
	err := s.read.each(ctx, "SELECT id FROM schedule WHERE "+where+" LIMIT ?2", func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	}, arg, tidyPage)
	for _, id := range ids {
		if err != nil {
			break
		}
		err = s.commit.do(ctx, 0, func(t *tx) error {
			if _, err := t.exec("DELETE FROM occurrence WHERE schedule = ?", id); err != nil {
				return err
			}
			_, err := t.exec("DELETE FROM schedule WHERE id = ?", id)
			return err
		})
	}
	return len(ids), err
}
