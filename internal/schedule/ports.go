package schedule

import (
	"context"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Ports are the rooms that Schedules works with. All are needed.
type Ports struct {
	Store       Store
	Occurrences Occurrences
	Record      Record
	Pushes      Pushes
	App         func(push.AppID) (push.App, error) // NotFound
	NextID      func() push.ID                     // as dispatch's
}

// Store is the record of schedules. All methods are safe for concurrent use.
type Store interface {
	// AddSchedule makes a recurring schedule and its occurrences durable in one commit, with the key of its request, as
	// dispatch.Record.Accept does: of a key that was used before the first push or schedule is returned as a push, with repeated.
	AddSchedule(ctx context.Context, s push.Schedule, all []push.Occurrence) (p push.Push, repeated bool, err error)
	// FindSchedule returns a schedule of app: a recurring one, or a push that waits for its start. NotFound.
	FindSchedule(ctx context.Context, app push.AppID, id push.ID) (push.Schedule, error)
	// Schedules returns schedules of app with ids below before (0: all), newest first, about limit: recurring ones in whatever
	// state, and the pushes that wait for their start; next is where to go on, 0 at the end.
	Schedules(ctx context.Context, app push.AppID, before push.ID, limit int) (page []push.Schedule, next push.ID, err error)
	// Unfinished counts the active recurring schedules of app and its pushes that wait for their start.
	Unfinished(ctx context.Context, app push.AppID) (int, error)
	// EndSchedule moves an active schedule to a state, and its waiting occurrences to cancelled if that is ScheduleCancelled,
	// and returns how many. Conflict if it is not active; NotFound.
	EndSchedule(ctx context.Context, app push.AppID, id push.ID, to push.ScheduleState) (int, error)
}

// Occurrences is the record of occurrences. All methods are safe for concurrent use.
type Occurrences interface {
	// ReplaceSchedule stores what an active schedule sends from now on, adds occurrences and removes waiting ones by id, in one
	// commit. Conflict if it is not active, or if one of remove does not wait any more.
	ReplaceSchedule(ctx context.Context, s push.Schedule, add []push.Occurrence, remove []push.ID) error
	// OccurrencesOf returns the occurrences of a schedule in order of time.
	OccurrencesOf(ctx context.Context, app push.AppID, schedule push.ID) ([]push.Occurrence, error)
	// EndOccurrence moves one that waits to a state other than fired. Conflict if it does not wait; NotFound.
	EndOccurrence(ctx context.Context, app push.AppID, id push.ID, to push.OccurrenceState) error
	// NextOccurrences yields the earliest occurrence that waits of every active schedule.
	NextOccurrences(ctx context.Context, yield func(push.Occurrence) error) error
}

// Record is the record of pushes, which knows schedules and occurrences that have not fired as pushes, too. All methods are
// safe for concurrent use.
type Record interface {
	// FindKey returns the push or schedule that was accepted under key, and the fingerprint of its request. NotFound if there is
	// none.
	FindKey(ctx context.Context, app push.AppID, key push.Key) (push.Push, [32]byte, error)
	// Find returns a push, schedule or occurrence of app by id. NotFound if there is none.
	Find(ctx context.Context, app push.AppID, id push.ID) (push.Push, error)
}

// Pushes is the life of the pushes that schedules make.
type Pushes interface {
	// Accept makes r, which is not recurring, durable.
	Accept(ctx context.Context, r push.Request) (push.Push, error)
	// Check reports what is wrong with r in app at now, as Accept does, without the key. It changes nothing.
	Check(ctx context.Context, r push.Request, now time.Time) error
	// Fire makes the push of an occurrence, whose request is r, and starts it. Conflict with Field "occurrence" if it does not
	// wait any more. Invalid or NotFound if r cannot be sent any more.
	Fire(ctx context.Context, o push.Occurrence, r push.Request) (push.Push, error)
	// Replace changes what a push that waits for its start sends, and when. Conflict if it does not wait any more.
	Replace(ctx context.Context, app push.AppID, id push.ID, r push.Request) (push.Push, error)
	// Cancel ends a push. Conflict if nothing of it is pending.
	Cancel(ctx context.Context, app push.AppID, id push.ID) (push.Push, error)
}
