package carillon

import (
	"context"
	"net/http"
	"time"
)

// A Schedule is a push that is to be sent later: once, and then it is the push itself, under the same id; or again and
// again.
type Schedule struct {
	ID      string      `json:"id"`
	App     string      `json:"app"`
	Every   string      `json:"every"` // once, day, week or month
	State   string      `json:"state"` // active, finished or cancelled
	Created time.Time   `json:"created"`
	Next    time.Time   `json:"next"`    // the next occurrence; zero when there is none
	Left    int         `json:"left"`    // occurrences that are to come
	Request PushRequest `json:"request"` // what each occurrence sends
}

// A SchedulePatch changes what is to be sent, and when. What is nil stays; each of the others takes the place of all that
// was there.
type SchedulePatch struct {
	Audience *Audience `json:"audience,omitempty"`
	Message  *Message  `json:"message,omitempty"`
	Policy   *Policy   `json:"policy,omitempty"` // with StartAt if it is sent once, else with Recurring
}

// An Occurrence is one firing of a schedule. Its id is known before it fires, and is that of the push that it becomes.
type Occurrence struct {
	ID       string    `json:"id"`
	Schedule string    `json:"schedule"`
	App      string    `json:"app"`
	At       time.Time `json:"at"`
	State    string    `json:"state"` // waiting, fired, missed, failed or cancelled
}

// ListSchedules returns one page of an app's schedules.
func (c *Client) ListSchedules(ctx context.Context, app string, page Page) (list List[Schedule], err error) {
	err = c.Call(ctx, http.MethodGet, appPath(app, "schedules"), nil, &list, page.options())
	return list, err
}

// ShowSchedule returns a schedule.
func (c *Client) ShowSchedule(ctx context.Context, app, id string) (s Schedule, err error) {
	err = c.Call(ctx, http.MethodGet, appPath(app, "schedules", id), nil, &s, nil)
	return s, err
}

// PatchSchedule changes a schedule that has not ended. Occurrences whose time stays keep their ids.
func (c *Client) PatchSchedule(ctx context.Context, app, id string, p SchedulePatch) (s Schedule, err error) {
	err = c.Call(ctx, http.MethodPatch, appPath(app, "schedules", id), p, &s, nil)
	return s, err
}

// CancelSchedule ends a schedule. When it returns nil nothing of it fires any more.
func (c *Client) CancelSchedule(ctx context.Context, app, id string) (s Schedule, err error) {
	err = c.Call(ctx, http.MethodDelete, appPath(app, "schedules", id), nil, &s, nil)
	return s, err
}

// ListOccurrences returns the occurrences of a schedule, in order of time: all of them, unless page has a limit.
func (c *Client) ListOccurrences(ctx context.Context, app, schedule string, page Page) (list List[Occurrence], err error) {
	err = c.Call(ctx, http.MethodGet, appPath(app, "schedules", schedule, "occurrences"), nil, &list, page.options())
	return list, err
}

// CancelOccurrence has one occurrence that waits not fire.
func (c *Client) CancelOccurrence(ctx context.Context, app, schedule, id string) (o Occurrence, err error) {
	err = c.Call(ctx, http.MethodDelete, appPath(app, "schedules", schedule, "occurrences", id), nil, &o, nil)
	return o, err
}
