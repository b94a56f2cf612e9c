package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"

	"github.com/carillonpush/carillon/internal/push"
)

// insertOccurrences stores occurrences that wait.
func (t *tx) insertOccurrences(all []push.Occurrence) error {
	cols := []column{
		{name: "id", ints: []int64{}},
		{name: "schedule", ints: []int64{}},
		{name: "app", ints: []int64{}},
		{name: "at", ints: []int64{}},
		{name: "state", texts: []string{}},
	}
	for _, o := range all {
		cols[0].ints = append(cols[0].ints, int64(o.ID))
		cols[1].ints = append(cols[1].ints, int64(o.Schedule))
		cols[2].ints = append(cols[2].ints, int64(o.App))
		cols[3].ints = append(cols[3].ints, millis(o.At))
		cols[4].texts = append(cols[4].texts, string(push.OccurrenceWaiting))
	}
	return t.insert("occurrence", "", cols...)
}

// ReplaceSchedule stores what an active schedule sends from now on, adds occurrences and removes waiting ones by id, in one
// commit. Conflict with Field "state" if it is not active, with Field "occurrence" if one of remove does not wait any more;
// NotFound if there is no such recurring schedule.
func (s *Store) ReplaceSchedule(ctx context.Context, sched push.Schedule, add []push.Occurrence, remove []push.ID) error {
	const op = "sqlstore.ReplaceSchedule"
	request, err := checkSchedule(&sched, add)
	if err != nil {
		return push.Wrap(op, err)
	}
	add = append([]push.Occurrence(nil), add...)
	distinct := map[push.ID]bool{}
	for _, id := range remove {
		distinct[id] = true
	}
	gone := intsArg(remove)
	w := &write{rows: 1 + len(add) + len(remove), size: int64(len(request) + 64*len(add))}
	w.do = func(t *tx) error {
		if err := t.scheduleActive(sched.App, sched.ID); err != nil {
			return err
		}
		from := t.lookup("occurrence", "schedule = ?1 AND state = 'waiting'", "id", "?2", ints)
		if len(distinct) > 0 {
			waiting := 0
			err := t.each("SELECT id FROM "+from, func(rows *sql.Rows) error {
				var id int64
				err := rows.Scan(&id)
				waiting++
				return err
			}, int64(sched.ID), gone)
			if err != nil {
				return err
			}
			if waiting < len(distinct) {
				return notWaiting
			}
			if _, err := t.exec("DELETE FROM occurrence WHERE "+t.among(from), int64(sched.ID), gone); err != nil {
				return err
			}
		}
		if _, err := t.exec("UPDATE schedule SET request = ? WHERE id = ?", request, int64(sched.ID)); err != nil {
			return err
		}
		return t.insertOccurrences(add)
	}
	return push.Wrap(op, s.commit.write(ctx, w))
}

var notWaiting = &push.Error{Kind: push.Conflict, Field: "occurrence", Msg: "the occurrence does not wait any more"}

const occurrenceColumns = "o.id, o.schedule, o.app, o.at, o.state"

// scanOccurrence reads occurrenceColumns, and then what else there is.
func scanOccurrence(rows *sql.Rows, more ...any) (push.Occurrence, error) {
	var o push.Occurrence
	var at int64
	err := rows.Scan(append([]any{&o.ID, &o.Schedule, &o.App, &at, &o.State}, more...)...)
	o.At = timeOf(at)
	return o, err
}

// OccurrencesOf returns the occurrences of a schedule in order of time.
func (s *Store) OccurrencesOf(ctx context.Context, app push.AppID, schedule push.ID) ([]push.Occurrence, error) {
	var all []push.Occurrence
	err := s.read.each(ctx, "SELECT "+occurrenceColumns+" FROM occurrence o WHERE o.schedule = ?1 AND o.app = ?2 ORDER BY o.at, o.id",
		func(rows *sql.Rows) error {
			o, err := scanOccurrence(rows)
			all = append(all, o)
			return err
		}, int64(schedule), int64(app))
	return all, push.Wrap("sqlstore.OccurrencesOf", err)
}

// EndOccurrence moves one that waits to a state other than fired. Conflict with Field "occurrence" if it does not wait; NotFound.
func (s *Store) EndOccurrence(ctx context.Context, app push.AppID, id push.ID, to push.OccurrenceState) error {
	const op = "sqlstore.EndOccurrence"
	if to != push.OccurrenceMissed && to != push.OccurrenceFailed && to != push.OccurrenceCancelled {
		return push.Wrap(op, invalid("state", "is missed, failed or cancelled"))
	}
	return push.Wrap(op, s.commit.do(ctx, 0, func(t *tx) error {
		n, err := t.exec("UPDATE occurrence SET state = ? WHERE id = ? AND app = ? AND state = 'waiting'", string(to), int64(id), int64(app))
		if err != nil || n > 0 {
			return err
		}
		found, err := t.one("SELECT 1 FROM occurrence WHERE id = ?1 AND app = ?2", []any{int64(id), int64(app)}, new(int))
		if err != nil || !found {
			return orNotFound(err, "no such occurrence")
		}
		return notWaiting
	}))
}

// NextOccurrences yields the earliest occurrence that waits of every active schedule of an app that is there, in order of
// schedules. An error of yield ends it and is returned.
func (s *Store) NextOccurrences(ctx context.Context, yield func(push.Occurrence) error) error {
	const op = "sqlstore.NextOccurrences"
	const pageSize = 256
	for last := push.ID(0); ; {
		var page []push.Occurrence
		err := s.read.each(ctx, "SELECT "+occurrenceColumns+` FROM schedule s
			JOIN app a ON a.id = s.app AND a.doomed = 0
			JOIN occurrence o ON o.id = (SELECT w.id FROM occurrence w WHERE w.schedule = s.id AND w.state = 'waiting' ORDER BY w.at, w.id LIMIT 1)
			WHERE s.state = 'active' AND s.id > ?1 ORDER BY s.id LIMIT ?2`, func(rows *sql.Rows) error {
			o, err := scanOccurrence(rows)
			page = append(page, o)
			return err
		}, int64(last), pageSize)
		if err != nil {
			return push.Wrap(op, err)
		}
		for _, o := range page {
			if err := yield(o); err != nil {
				return push.Wrap(op, err)
			}
			last = o.Schedule
		}
		if len(page) < pageSize {
			return nil
		}
	}
}

// findLater returns what is no push yet as one: a recurring schedule, or an occurrence that has not fired.
func (s *Store) findLater(ctx context.Context, app push.AppID, id push.ID) (push.Push, bool, error) {
	all, err := s.schedules(ctx, "s.id = ?1 AND s.app = ?2", int64(id), int64(app))
	if err != nil {
		return push.Push{}, false, err
	}
	if len(all) > 0 {
		return schedulePush(all[0].Schedule, all[0].first, all[0].last), true, nil
	}
	var p push.Push
	found := false
	err = s.read.each(ctx, "SELECT "+occurrenceColumns+`, s.created, s.request FROM occurrence o JOIN schedule s ON s.id = o.schedule
		WHERE o.id = ?1 AND o.app = ?2 AND o.state <> 'fired'`, func(rows *sql.Rows) error {
		var created int64
		var request sql.RawBytes
		o, err := scanOccurrence(rows, &created, &request)
		if err != nil {
			return err
		}
		found = true
		p = push.Push{ID: o.ID, App: o.App, Kind: push.Bulk, Created: timeOf(created), Start: o.At, Schedule: o.Schedule}
		if err := json.Unmarshal(request, &p.Request); err != nil {
			return damaged(&p, err)
		}
		p.Request.Policy.Recurring = nil // each of its pushes is sent once
		p.Expires = p.Request.Policy.Expiry(o.At)
		p.State, p.Reason = occurrenceState(o.State)
		return nil
	}, int64(id), int64(app))
	return p, found, err
}

// occurrenceState returns the state, and its reason, of an occurrence as a push.
func occurrenceState(state push.OccurrenceState) (push.State, string) {
	switch state {
	case push.OccurrenceMissed:
		return push.Expired, push.ExpiredUnsent
	case push.OccurrenceFailed:
		return push.Failed, "what it was to send could not be made any more"
	case push.OccurrenceCancelled:
		return push.Cancelled, ""
	}
	return push.Scheduled, ""
}
