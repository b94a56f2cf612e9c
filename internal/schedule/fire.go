package schedule

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

const (
	firings    = 16 // schedules that fire at once, so that those of one minute share commits
	retryAfter = 3 * time.Second
	retryMost  = time.Minute
)

// Run fires what is due until ctx ends, and then returns nil.
func (s *Schedules) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	slots := make(chan struct{}, firings)
	s.agenda.Run(ctx, s.opts.Now, func(ctx context.Context, k key) {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		wg.Go(func() {
			defer func() { <-slots }()
			s.visit(ctx, k)
		})
	})
	wg.Wait()
	return nil
}

// visit fires what is due of a schedule, ends it if nothing is to come, and notes when it is to be visited next.
func (s *Schedules) visit(ctx context.Context, k key) {
	defer s.turns.lock(uint64(k.id))()
	sched, err := s.Store.FindSchedule(ctx, k.app, k.id)
	if errors.Is(err, push.NotFound) || err == nil && (sched.Every == once || sched.State != push.ScheduleActive) {
		return // it was cancelled or removed, or never committed
	}
	var all []push.Occurrence
	if err == nil {
		all, err = s.Ports.Occurrences.OccurrencesOf(ctx, k.app, k.id)
	}
	for _, o := range all {
		if err != nil || ctx.Err() != nil {
			break
		}
		if o.State != push.OccurrenceWaiting {
			continue
		}
		if o.At.After(s.opts.Now()) {
			s.agenda.Add(o.At, k)
			return
		}
		err = s.fire(ctx, o, sched.Request)
	}
	if err == nil && ctx.Err() == nil {
		err = s.finish(ctx, k)
	}
	if err != nil && ctx.Err() == nil {
		wait := retryAfter
		if e, ok := errors.AsType[*push.Error](err); ok && e.RetryAfter > 0 {
			wait = min(e.RetryAfter, retryMost)
		}
		s.opts.Log.Warn("a schedule is tried again", "schedule", k.id, "err", err)
		s.agenda.Add(s.opts.Now().Add(wait), k)
	}
}

// fire ends that an occurrence waits, whose time has come: it becomes a push, or is missed, or failed. An error means that it
// waits still.
func (s *Schedules) fire(ctx context.Context, o push.Occurrence, r push.Request) error {
	app, err := s.App(o.App)
	switch {
	case errors.Is(err, push.NotFound):
		return s.end(ctx, o, push.OccurrenceMissed)
	case err != nil:
		return err
	case app.Settings.Bool(push.SettingDisabled), !expiry(r.Policy, app, o.At).After(s.opts.Now()):
		s.opts.Log.Info("an occurrence is missed", "schedule", o.Schedule, "occurrence", o.ID)
		return s.end(ctx, o, push.OccurrenceMissed)
	}
	_, err = s.Pushes.Fire(ctx, o, firing(r))
	var e *push.Error
	switch errors.As(err, &e); {
	case err == nil, e != nil && e.Kind == push.Conflict && e.Field == "occurrence": // it fired, if not by us
		return nil
	case e != nil && (e.Kind == push.Invalid || e.Kind == push.NotFound || e.Kind == push.TooLarge):
		s.opts.Log.Warn("an occurrence cannot be sent", "schedule", o.Schedule, "occurrence", o.ID, "err", err)
		return s.end(ctx, o, push.OccurrenceFailed)
	}
	return err
}

// end moves an occurrence that waits to a state. One that does not wait any more is well, too.
func (s *Schedules) end(ctx context.Context, o push.Occurrence, to push.OccurrenceState) error {
	err := s.Ports.Occurrences.EndOccurrence(ctx, o.App, o.ID, to)
	if errors.Is(err, push.Conflict) || errors.Is(err, push.NotFound) {
		return nil
	}
	return err
}

// finish ends a schedule of which nothing is to come. One that is over already is well, too.
func (s *Schedules) finish(ctx context.Context, k key) error {
	_, err := s.Store.EndSchedule(ctx, k.app, k.id, push.ScheduleFinished)
	if errors.Is(err, push.Conflict) || errors.Is(err, push.NotFound) {
		return nil
	}
	return err
}

// expiry returns when the push of an occurrence at a time ends to be owed: the app's greatest time to live bounds the
// default, too.
func expiry(p push.Policy, app push.App, at time.Time) time.Time {
	p.StartAt, p.ExpireAt = nil, nil
	end, most := p.Expiry(at), at.Add(app.Settings.Duration(push.SettingMaxTTL))
	if most.Before(end) {
		return most
	}
	return end
}
