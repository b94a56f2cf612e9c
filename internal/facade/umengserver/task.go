package umengserver

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/sdk/umeng"
)

// status serves /api/status (section 9).
func (s *Server) status(_ http.ResponseWriter, r *http.Request, c call) ([]byte, error) {
	p, rep, err := s.task(r.Context(), c)
	if err != nil {
		return nil, err
	}
	return statusOf(c.platform, p, rep).Envelope(), nil
}

// statusOf returns the account of a task. Senders of all generations find the numbers they look for, so all six are
// given on all platforms. Sent is, on iOS, what was handed over, and elsewhere what arrived: the service counts the
// devices that a task has reached so far.
func statusOf(platform push.Platform, p push.Push, rep push.Report) umeng.Status {
	out := umeng.Status{
		TaskID:       p.ID.String(),
		Status:       stateOf(p, rep),
		TotalCount:   rep.Target,
		AcceptCount:  rep.Sent,
		SentCount:    rep.Delivered,
		OpenCount:    rep.Opened,
		DismissCount: rep.Dismissed,
	}
	if platform == push.IOS {
		out.SentCount = rep.Sent
	}
	return out
}

// stateOf returns where p stands in the service's terms, which know no pause and no recall: by other ways a task may have been
// paused, which is to be on its way still, or taken back, which is to be stopped. A push that expired has a reason only if that was before it began;
// to the service a task that was sent is finished, whoever did not come to fetch it in time.
func stateOf(p push.Push, rep push.Report) umeng.TaskState {
	nobody := p.Target == 0 && rep.Target == 0
	switch p.State {
	case push.Scheduled:
		return umeng.Scheduled
	case push.Accepted:
		return umeng.Queued
	case push.Sending, push.Paused:
		return umeng.Sending
	case push.Cancelled, push.Recalled:
		return umeng.Cancelled
	case push.Done, push.Expired:
		switch {
		case p.State == push.Expired && p.Reason == push.ExpiredUnsent:
			return umeng.Expired
		case nobody:
			return umeng.NoAudience
		}
		return umeng.Finished
	default:
		return umeng.Failed
	}
}

// cancel serves /api/cancel (section 9).
func (s *Server) cancel(_ http.ResponseWriter, r *http.Request, c call) ([]byte, error) {
	p, rep, err := s.task(r.Context(), c)
	if err != nil {
		return nil, err
	}
	if !cancellable(c.platform, p, rep) {
		return nil, umeng.NewError(umeng.CodeNotCancellable, "task_id")
	}
	if !c.dryRun {
		switch _, err := s.pushes.Cancel(r.Context(), c.app.ID, p.ID); {
		case errors.Is(err, push.Conflict):
			return nil, umeng.NewError(umeng.CodeNotCancellable, "task_id")
		case errors.Is(err, push.NotFound):
			return nil, umeng.NewError(umeng.CodeNoTask, "task_id")
		case err != nil:
			return nil, push.Wrap("umengserver.cancel", err)
		}
	}
	return umeng.CancelResult{TaskID: p.ID.String()}.Envelope(), nil
}

// cancellable reports whether there is something to stop. APNs takes nothing back, so on iOS a task can be stopped only
// before it is sent. Elsewhere a task that has gone through its audience still waits for the devices that are away,
// and as long as one is left it can be stopped.
func cancellable(platform push.Platform, p push.Push, rep push.Report) bool {
	switch p.State {
	case push.Scheduled, push.Accepted:
		return true
	case push.Sending, push.Paused:
		return platform != push.IOS
	case push.Done:
		return platform != push.IOS && rep.Pending > 0
	default:
		return false
	}
}

// task finds the task that the request names: a push to a set that came in under the same appkey. Everything else is no
// task, messages to single devices among it.
func (s *Server) task(ctx context.Context, c call) (push.Push, push.Report, error) {
	in := c.root.Task()
	if err := in.Validate(); err != nil {
		return push.Push{}, push.Report{}, err
	}
	noTask := umeng.NewError(umeng.CodeNoTask, "task_id")
	id, err := push.ParseID(in.TaskID)
	if err != nil {
		return push.Push{}, push.Report{}, noTask
	}
	p, rep, err := s.pushes.Find(ctx, c.app.ID, id)
	switch {
	case errors.Is(err, push.NotFound):
		return push.Push{}, push.Report{}, noTask
	case err != nil:
		return push.Push{}, push.Report{}, push.Wrap("umengserver.task", err)
	case p.Kind != push.Bulk, p.Request.Origin != Origin,
		!slices.Equal(p.Request.Audience.Platforms, []push.Platform{c.platform}):
		return push.Push{}, push.Report{}, noTask
	}
	return p, rep, nil
}
