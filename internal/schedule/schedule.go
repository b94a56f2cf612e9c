// Package schedule keeps what is to be sent later: recurring schedules, whose occurrences have ids beforehand and become
// pushes when they fire, and how many pushes wait for their start.
//
// What fires stands in the record: an occurrence becomes a push in one commit, if it still waits. So neither a clock that jumps
// nor a node that was down has one fire twice, and none is lost: what is due is looked for by time, and whatever is due and
// waits fires, or is missed if its push would have expired.
package schedule

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/agenda"
	"github.com/carillonpush/carillon/internal/push"
)

// Options changes how Schedules works. The zero Options is the default.
type Options struct {
	Now func() time.Time // nil means time.Now
	Log *slog.Logger     // nil discards
}

// Schedules is safe for concurrent use. Load it, then Run it.
type Schedules struct {
	Ports
	opts   Options
	agenda *agenda.Agenda[key]
	apps   locks // by app: counting what is unfinished and adding to it exclude other such pairs
	turns  locks // by schedule: its firing, its change and its end exclude each other
}

// A key names a schedule on the agenda.
type key struct {
	app push.AppID
	id  push.ID
}

// New returns Schedules that have started nothing yet. opts may be nil.
func New(p Ports, opts *Options) *Schedules {
	s := &Schedules{Ports: p, agenda: agenda.New[key]()}
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.Now == nil {
		s.opts.Now = time.Now
	}
	if s.opts.Log == nil {
		s.opts.Log = slog.New(slog.DiscardHandler)
	}
	return s
}

// Load reads from the record when schedules fire next.
func (s *Schedules) Load(ctx context.Context) error {
	return push.Wrap("schedule.Load", s.Ports.Occurrences.NextOccurrences(ctx, func(o push.Occurrence) error {
		s.agenda.Add(o.At, key{o.App, o.Schedule})
		return nil
	}))
}

// Accept makes what r asks for durable: a recurring request becomes a schedule, which is returned as the push that stands for
// it; any other becomes a push, as dispatch makes it. A repeated key returns the first answer, before anything else is looked
// at, or Conflict if the key is strict and the request is another. TooMany, with Field "policy.recurring" or "policy.start_at",
// if as many schedules of the app are unfinished as may be. After Unavailable the outcome is unknown: repeat with the same key.
func (s *Schedules) Accept(ctx context.Context, r push.Request) (push.Push, error) {
	if r.Policy.Recurring == nil && r.Policy.StartAt == nil {
		return s.Pushes.Accept(ctx, r)
	}
	const op = "schedule.Accept"
	app, err := s.App(r.App)
	if err == nil {
		err = r.Key.Validate()
	}
	if err != nil {
		return push.Push{}, push.Wrap(op, err)
	}
	ctx, cancel := patient(ctx)
	defer cancel()
	defer s.apps.lock(uint64(r.App))()
	if first, found, err := s.first(ctx, r); err != nil || found {
		return first, push.Wrap(op, err)
	}
	if r.Policy.Recurring == nil {
		if err := s.room(ctx, app, "policy.start_at"); err != nil {
			return push.Push{}, push.Wrap(op, err)
		}
		return s.Pushes.Accept(ctx, r)
	}
	now := s.opts.Now().Truncate(time.Millisecond) // as the record keeps it
	times, err := s.plan(ctx, r, app, now)
	if err == nil {
		err = s.room(ctx, app, "policy.recurring")
	}
	if err != nil {
		return push.Push{}, push.Wrap(op, err)
	}
	p, err := s.add(ctx, push.Schedule{
		ID: s.NextID(), App: r.App, Every: r.Policy.Recurring.Every, State: push.ScheduleActive,
		Created: now, Next: times[0], Left: len(times), Request: r,
	}, times)
	return p, push.Wrap(op, err)
}

// first returns the answer that r's key has got before, if it has got one.
func (s *Schedules) first(ctx context.Context, r push.Request) (push.Push, bool, error) {
	if r.Key.Zero() {
		return push.Push{}, false, nil
	}
	p, fingerprint, err := s.Record.FindKey(ctx, r.App, r.Key)
	switch {
	case errors.Is(err, push.NotFound):
		return push.Push{}, false, nil
	case err != nil:
		return push.Push{}, false, err
	case p.Request.Policy.Recurring == nil: // a push: dispatch looks after it
		p, err = s.Pushes.Accept(ctx, r)
		return p, true, err
	case r.Key.Strict && fingerprint != r.Fingerprint():
		return push.Push{}, false, &push.Error{Kind: push.Conflict, Field: "key", Msg: "this key was used for another request"}
	}
	return s.again(p), true, nil
}

// again returns a schedule that a key has made before as its first answer did. That answer may have been lost because its
// commit's outcome was not known, so the schedule is looked at.
func (s *Schedules) again(p push.Push) push.Push {
	s.agenda.Add(s.opts.Now(), key{p.App, p.ID})
	p.State = push.Scheduled
	return p
}

// add makes a schedule and its occurrences durable.
func (s *Schedules) add(ctx context.Context, sched push.Schedule, times []time.Time) (push.Push, error) {
	p, repeated, err := s.Store.AddSchedule(ctx, sched, s.occurrences(sched, times))
	switch {
	case errors.Is(err, push.Unavailable) && !errors.Is(err, push.ErrNotQueued):
		// It may be in the record. If it is not, that is found out when it is to fire.
		s.agenda.Add(sched.Next, key{sched.App, sched.ID})
		return push.Push{}, err
	case err != nil:
		return push.Push{}, err
	case repeated && p.Request.Policy.Recurring == nil: // a push that was accepted at the same moment
		return p, nil
	case repeated:
		return s.again(p), nil
	}
	s.agenda.Add(sched.Next, key{sched.App, sched.ID})
	return p, nil
}

// occurrences gives ids to the times at which sched fires.
func (s *Schedules) occurrences(sched push.Schedule, times []time.Time) []push.Occurrence {
	all := make([]push.Occurrence, len(times))
	for i, at := range times {
		all[i] = push.Occurrence{ID: s.NextID(), Schedule: sched.ID, App: sched.App, At: at, State: push.OccurrenceWaiting}
	}
	return all
}

// plan returns when r, which recurs, fires after now: at least once. Invalid says what is wrong with r.
func (s *Schedules) plan(ctx context.Context, r push.Request, app push.App, now time.Time) ([]time.Time, error) {
	if err := r.Validate(now, app); err != nil {
		return nil, err
	}
	rule, zone, ahead := *r.Policy.Recurring, app.Location(), app.Settings.Int(push.SettingSchedulesAhead)
	if int(push.DayIn(rule.Until, zone))-int(push.DayIn(now, zone)) > ahead {
		return nil, invalid("policy.recurring.until", "is more than "+strconv.Itoa(ahead)+
			" days ahead: the setting "+push.SettingSchedulesAhead)
	}
	times := rule.Occurrences(now, zone, push.MaxOccurrences+1)
	switch {
	case len(times) == 0:
		return nil, invalid("policy.recurring", "never fires: no day from from to until is one that it names and is to come")
	case len(times) > push.MaxOccurrences:
		return nil, invalid("policy.recurring.until", "makes more than "+strconv.Itoa(push.MaxOccurrences)+" occurrences")
	}
	return times, s.Pushes.Check(ctx, firing(r), now)
}

// firing returns what one occurrence of r sends.
func firing(r push.Request) push.Request {
	r.Policy.Recurring = nil
	r.Key, r.Uses = push.Key{}, nil
	return r
}

// room returns TooMany if the app may have no further schedule.
func (s *Schedules) room(ctx context.Context, app push.App, field string) error {
	most := app.Settings.Int(push.SettingSchedules)
	n, err := s.Store.Unfinished(ctx, app.ID)
	if err == nil && n >= most {
		// Schedules that have nothing to come any more, and could not be ended when they fired last, end when they are listed.
		if _, _, err = s.Schedules(ctx, app.ID, 0, most); err == nil {
			n, err = s.Store.Unfinished(ctx, app.ID)
		}
	}
	if err == nil && n >= most {
		err = &push.Error{Kind: push.TooMany, Field: field, Msg: strconv.Itoa(n) +
			" schedules of the app are unfinished, and that is as many as the setting " + push.SettingSchedules + " allows"}
	}
	return err
}

// patient returns a context for what must not be left half known because a caller went away: it ends by itself.
func patient(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
}

func invalid(field, msg string) error { return &push.Error{Kind: push.Invalid, Field: field, Msg: msg} }

// locks are mutexes by number; several numbers may share one.
type locks [64]sync.Mutex

// lock locks that of n, and returns the function that unlocks it.
func (l *locks) lock(n uint64) func() {
	mu := &l[n*0x9e3779b97f4a7c15>>58] // the lower bits of most ids are alike
	mu.Lock()
	return mu.Unlock
}
