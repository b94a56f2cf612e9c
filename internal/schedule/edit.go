package schedule

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// once is the Every of a push that waits for its start.
const once = "once"

// Schedules returns schedules of app with ids below before (0: all), newest first, at most limit; next is where to go on.
func (s *Schedules) Schedules(ctx context.Context, app push.AppID, before push.ID, limit int) (page []push.Schedule, next push.ID, err error) {
	page, next, err = s.Store.Schedules(ctx, app, before, limit)
	if err != nil {
		return nil, 0, push.Wrap("schedule.Schedules", err)
	}
	if limit > 0 && len(page) > limit {
		page, next = page[:limit], page[limit-1].ID
	}
	for i := range page {
		s.settle(ctx, &page[i])
	}
	return page, next, nil
}

// FindSchedule returns a schedule. NotFound.
func (s *Schedules) FindSchedule(ctx context.Context, app push.AppID, id push.ID) (push.Schedule, error) {
	sched, err := s.Store.FindSchedule(ctx, app, id)
	if err != nil {
		return push.Schedule{}, push.Wrap("schedule.FindSchedule", err)
	}
	s.settle(ctx, &sched)
	return sched, nil
}

// settle ends an active schedule of which nothing is to come: one whose end was lost in a crash after its last firing.
func (s *Schedules) settle(ctx context.Context, sched *push.Schedule) {
	if sched.State != push.ScheduleActive || sched.Left > 0 || sched.Every == once {
		return
	}
	defer s.turns.lock(uint64(sched.ID))()
	now, err := s.Store.FindSchedule(ctx, sched.App, sched.ID) // an edit may have given it something to come
	if err == nil && now.State == push.ScheduleActive && now.Left == 0 {
		now.State = push.ScheduleFinished
		err = s.finish(ctx, key{sched.App, sched.ID})
	}
	if err != nil {
		s.opts.Log.Warn("a schedule with nothing to come is not ended", "schedule", sched.ID, "err", err)
		return
	}
	*sched = now
}

// EditSchedule changes what is to be sent, and when. Occurrences whose time stays keep their ids; one that was cancelled does
// not come back. Invalid; Conflict if nothing is to come; NotFound.
func (s *Schedules) EditSchedule(ctx context.Context, app push.AppID, id push.ID, patch push.SchedulePatch) (push.Schedule, error) {
	const op = "schedule.EditSchedule"
	ctx, cancel := patient(ctx)
	defer cancel()
	defer s.turns.lock(uint64(id))()
	sched, err := s.Store.FindSchedule(ctx, app, id)
	if err != nil {
		return push.Schedule{}, push.Wrap(op, err)
	}
	r := patch.Apply(sched.Request)
	switch {
	case sched.State != push.ScheduleActive:
		err = &push.Error{Kind: push.Conflict, Field: "state", Msg: "the schedule is " + string(sched.State)}
	case sched.Every == once && r.Policy.Recurring != nil:
		err = invalid("policy.recurring", "what is sent once does not become recurring: cancel it and send anew")
	case sched.Every == once && r.Policy.StartAt == nil:
		err = invalid("policy.start_at", "is needed: the push waits for its start")
	case sched.Every == once:
		var p push.Push
		if p, err = s.Pushes.Replace(ctx, app, id, r); err == nil {
			sched.Next, sched.Request = p.Start, p.Request
		}
	case r.Policy.Recurring == nil:
		err = invalid("policy.recurring", "is needed: the schedule is recurring")
	default:
		sched, err = s.replace(ctx, sched, r)
	}
	return sched, push.Wrap(op, err)
}

// replace has a recurring schedule send r from now on. The caller has its turn.
func (s *Schedules) replace(ctx context.Context, sched push.Schedule, r push.Request) (push.Schedule, error) {
	app, err := s.App(sched.App)
	if err != nil {
		return sched, err
	}
	now := s.opts.Now().Truncate(time.Millisecond)
	times, err := s.plan(ctx, r, app, now)
	if err != nil {
		return sched, err
	}
	had, err := s.Ports.Occurrences.OccurrencesOf(ctx, sched.App, sched.ID)
	if err != nil {
		return sched, err
	}
	var remove []push.ID
	sched.Next, sched.Left = time.Time{}, 0
	comes := func(at time.Time) {
		if sched.Left++; sched.Next.IsZero() || at.Before(sched.Next) {
			sched.Next = at
		}
	}
	for _, o := range had {
		i, stays := slices.BinarySearchFunc(times, o.At, time.Time.Compare)
		if stays {
			times = slices.Delete(times, i, i+1) // whatever has become of it: no time has two occurrences
		}
		switch {
		case o.State != push.OccurrenceWaiting:
		case stays || !o.At.After(now): // what is due fires
			comes(o.At)
		default:
			remove = append(remove, o.ID)
		}
	}
	for _, at := range times {
		comes(at)
	}
	if sched.Left == 0 {
		return sched, invalid("policy.recurring", "never fires: what it names has been cancelled, or has fired")
	}
	sched.Every, sched.Request = r.Policy.Recurring.Every, r
	if err := s.Ports.Occurrences.ReplaceSchedule(ctx, sched, s.occurrences(sched, times), remove); err != nil {
		if errors.Is(err, push.Unavailable) { // it may have been committed
			s.agenda.Add(sched.Next, key{sched.App, sched.ID})
		}
		return sched, err
	}
	s.agenda.Move(sched.Next, key{sched.App, sched.ID})
	return sched, nil
}

// CancelSchedule ends a schedule: nothing of it fires any more. Conflict if nothing is to come; NotFound.
func (s *Schedules) CancelSchedule(ctx context.Context, app push.AppID, id push.ID) (push.Schedule, error) {
	const op = "schedule.CancelSchedule"
	ctx, cancel := patient(ctx)
	defer cancel()
	sched, err := s.Store.FindSchedule(ctx, app, id)
	if err == nil && sched.Every == once {
		_, err = s.Pushes.Cancel(ctx, app, id)
	} else if err == nil {
		err = s.cancel(ctx, key{app, id})
	}
	if err != nil {
		return push.Schedule{}, push.Wrap(op, err)
	}
	sched.State, sched.Next, sched.Left = push.ScheduleCancelled, time.Time{}, 0
	return sched, nil
}

// cancel ends a recurring schedule.
func (s *Schedules) cancel(ctx context.Context, k key) error {
	defer s.turns.lock(uint64(k.id))()
	_, err := s.Store.EndSchedule(ctx, k.app, k.id, push.ScheduleCancelled)
	if err == nil {
		s.agenda.Remove(k)
	}
	return err
}

// OccurrencesOf returns all of a schedule, in order of time. A push that waits for its start has itself. NotFound.
func (s *Schedules) OccurrencesOf(ctx context.Context, app push.AppID, schedule push.ID) ([]push.Occurrence, error) {
	const op = "schedule.OccurrencesOf"
	sched, err := s.Store.FindSchedule(ctx, app, schedule)
	if err != nil {
		return nil, push.Wrap(op, err)
	}
	if sched.Every == once {
		return []push.Occurrence{{ID: sched.ID, Schedule: sched.ID, App: app, At: sched.Next, State: push.OccurrenceWaiting}}, nil
	}
	all, err := s.Ports.Occurrences.OccurrencesOf(ctx, app, schedule)
	return all, push.Wrap(op, err)
}

// CancelOccurrence has one that waits not fire. A schedule of which nothing is to come after that is finished. Conflict if it
// does not wait; NotFound.
func (s *Schedules) CancelOccurrence(ctx context.Context, app push.AppID, schedule, id push.ID) (push.Occurrence, error) {
	const op = "schedule.CancelOccurrence"
	ctx, cancel := patient(ctx)
	defer cancel()
	all, err := s.OccurrencesOf(ctx, app, schedule)
	if err != nil {
		return push.Occurrence{}, push.Wrap(op, err)
	}
	i := slices.IndexFunc(all, func(o push.Occurrence) bool { return o.ID == id })
	if i < 0 {
		return push.Occurrence{}, &push.Error{Op: op, Kind: push.NotFound, Field: "occurrence", Msg: "no such occurrence"}
	}
	o := all[i]
	if o.ID == schedule { // sent once
		_, err = s.Pushes.Cancel(ctx, app, id)
	} else {
		err = s.cancelOne(ctx, o)
	}
	o.State = push.OccurrenceCancelled
	return o, push.Wrap(op, err)
}

// cancelOne ends an occurrence that waits, and its schedule if it was the last to come.
func (s *Schedules) cancelOne(ctx context.Context, o push.Occurrence) error {
	k := key{o.App, o.Schedule}
	defer s.turns.lock(uint64(k.id))()
	if err := s.Ports.Occurrences.EndOccurrence(ctx, o.App, o.ID, push.OccurrenceCancelled); err != nil {
		return err
	}
	sched, err := s.Store.FindSchedule(ctx, k.app, k.id)
	if err == nil && sched.State == push.ScheduleActive && sched.Left == 0 {
		err = s.finish(ctx, k)
	}
	if err != nil { // it is cancelled all the same
		s.opts.Log.Warn("a schedule is not ended with its last occurrence", "schedule", k.id, "err", err)
		s.agenda.Add(s.opts.Now().Add(retryAfter), k)
	}
	return nil
}

// Cancel ends a recurring schedule, or an occurrence that waits, by the id under which it is known as a push, and returns it
// as one. It is false if id is neither: then it may be a push. Conflict if nothing of the schedule is to come.
func (s *Schedules) Cancel(ctx context.Context, app push.AppID, id push.ID) (push.Push, bool, error) {
	const op = "schedule.Cancel"
	ctx, cancel := patient(ctx)
	defer cancel()
	p, err := s.Record.Find(ctx, app, id)
	switch {
	case errors.Is(err, push.NotFound):
		return push.Push{}, false, nil
	case err != nil:
		return push.Push{}, false, push.Wrap(op, err)
	case p.Request.Policy.Recurring != nil:
		err = s.cancel(ctx, key{app, id})
	case p.Schedule != 0 && p.State == push.Scheduled:
		err = s.cancelOne(ctx, push.Occurrence{ID: id, Schedule: p.Schedule, App: app, At: p.Start})
		if errors.Is(err, push.Conflict) || errors.Is(err, push.NotFound) { // it fired meanwhile: it is a push now
			return push.Push{}, false, nil
		}
	default:
		return push.Push{}, false, nil
	}
	if err != nil {
		return push.Push{}, true, push.Wrap(op, err)
	}
	p.State = push.Cancelled
	return p, true, nil
}
