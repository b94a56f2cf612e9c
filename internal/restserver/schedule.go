package restserver

import (
	"context"
	"net/http"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// SchedulePatchBody changes a schedule. What is left out stays; each part is whole.
type SchedulePatchBody struct {
	Audience *push.Audience `json:"audience,omitempty"`
	Message  *push.Message  `json:"message,omitempty"`
	Policy   *Policy        `json:"policy,omitempty"`
}

// patch returns b as the domain has it.
func (b *SchedulePatchBody) patch() (p push.SchedulePatch, err error) {
	p.Audience = b.Audience
	if b.Message != nil {
		m, err := sendable(*b.Message)
		if err != nil {
			return p, err
		}
		p.Message = &m
	}
	if b.Policy != nil {
		policy, err := b.Policy.policy()
		if err != nil {
			return p, err
		}
		p.Policy = &policy
	}
	return p, nil
}

// scheduleRoutes registers what senders do with what is to be sent later.
func (s *Server) scheduleRoutes() {
	const tag, all = "Schedules", "/v1/apps/{app}/schedules"
	handle(s, route{
		method: http.MethodGet, path: all, id: "list-schedules", tag: tag, access: sender,
		summary: "List schedules",
		doc: "Newest first: recurring pushes, and pushes that wait for their start, which are their own schedule. A page may be shorter " +
			"than its limit while there are more.",
		params:  pageParams(),
		answers: []answer{{http.StatusOK, List[push.Schedule]{}, "One page."}},
	}, func(ctx context.Context, c *call, _ *none) (any, error) {
		return idPage(ctx, c, s.house.Schedules.Schedules)
	})
	handle(s, route{
		method: http.MethodGet, path: all + "/{id}", id: "show-schedule", tag: tag, access: sender,
		summary: "Show a schedule", doc: "What it sends, and when next.",
		answers: []answer{{http.StatusOK, push.Schedule{}, "The schedule."}},
	}, func(ctx context.Context, c *call, _ *none) (any, error) {
		return c.schedule(ctx, s.house.Schedules.FindSchedule)
	})
	handle(s, route{
		method: http.MethodPatch, path: all + "/{id}", id: "change-schedule", tag: tag, access: sender,
		summary: "Change a schedule",
		doc: "Changes what is to be sent, and when; what has fired stays as it was. A part that is left out stays, and one that is there " +
			"takes the place of all of it. A policy has start_at if the schedule is sent once, else recurring. Occurrences whose time " +
			"stays keep their ids.",
		body: SchedulePatchBody{}, example: `{"message": {"notification": {"title": "早安", "body": "新的一天"}}}`,
		answers: []answer{{http.StatusOK, push.Schedule{}, "The schedule as it is now."}},
	}, s.patchSchedule)
	handle(s, route{
		method: http.MethodDelete, path: all + "/{id}", id: "cancel-schedule", tag: tag, access: sender,
		summary: "Cancel a schedule", doc: "Nothing of it fires any more. Pushes that it has made go on.",
		answers: []answer{{http.StatusOK, push.Schedule{}, "The schedule, cancelled."}},
	}, func(ctx context.Context, c *call, _ *none) (any, error) {
		return c.schedule(ctx, s.house.Schedules.CancelSchedule)
	})
	handle(s, route{
		method: http.MethodGet, path: all + "/{id}/occurrences", id: "list-occurrences", tag: tag, access: sender,
		summary: "List the occurrences of a schedule",
		doc:     "In order of time, those that have fired too. The id of an occurrence is that of the push that it becomes. All of them, unless limit says less.",
		params:  pageParamsOf(maxPage),
		answers: []answer{{http.StatusOK, List[push.Occurrence]{}, "One page."}},
	}, s.listOccurrences)
	handle(s, route{
		method: http.MethodDelete, path: all + "/{id}/occurrences/{occurrence}", id: "cancel-occurrence", tag: tag, access: sender,
		summary: "Cancel an occurrence", doc: "This one does not fire; the others do.",
		answers: []answer{{http.StatusOK, push.Occurrence{}, "The occurrence, cancelled."}},
	}, s.cancelOccurrence)
}

// schedule answers what do returns for the schedule in the path.
func (c *call) schedule(ctx context.Context, do func(context.Context, push.AppID, push.ID) (push.Schedule, error)) (any, error) {
	id, err := c.id("schedule")
	if err != nil {
		return nil, err
	}
	return do(ctx, c.app.ID, id)
}

// patchSchedule changes a schedule.
func (s *Server) patchSchedule(ctx context.Context, c *call, b *SchedulePatchBody) (any, error) {
	id, err := c.id("schedule")
	if err != nil {
		return nil, err
	}
	p, err := b.patch()
	if err != nil {
		return nil, err
	}
	return s.house.Schedules.EditSchedule(ctx, c.app.ID, id, p)
}

// listOccurrences answers one page of the occurrences of a schedule. No two are at the same time.
func (s *Server) listOccurrences(ctx context.Context, c *call, _ *none) (any, error) {
	id, err := c.id("schedule")
	if err != nil {
		return nil, err
	}
	all, err := s.house.Occurrences.OccurrencesOf(ctx, c.app.ID, id)
	if err != nil {
		return nil, err
	}
	return pageOf(c, all, func(o push.Occurrence) string { return o.At.UTC().Format(time.RFC3339) })
}

// cancelOccurrence has one occurrence not fire.
func (s *Server) cancelOccurrence(ctx context.Context, c *call, _ *none) (any, error) {
	id, err := c.id("schedule")
	if err != nil {
		return nil, err
	}
	occurrence, err := push.ParseID(c.r.PathValue("occurrence"))
	if err != nil {
		return nil, &push.Error{Kind: push.NotFound, Field: "occurrence", Msg: "no such occurrence"}
	}
	return s.house.Occurrences.CancelOccurrence(ctx, c.app.ID, id, occurrence)
}
