package restserver

import (
	"context"
	"net/http"

	"github.com/carillonpush/carillon/internal/push"
)

// accountRoute registers the answer to why a device did, or did not, get a push.
func (s *Server) accountRoute() {
	handle(s, route{
		method: http.MethodGet, path: "/v1/apps/{app}/pushes/{id}/devices/{device}", id: "explain-push", tag: "Pushes", access: sender,
		summary: "Show what became of a push on a device",
		doc:     "The account of one push on one device, in order of time, and why where something held it back.",
		answers: []answer{{http.StatusOK, push.Account{}, "The state, and the steps that led to it."}},
	}, s.explainPush)
}

// explainPush answers what became of a push on a device.
func (s *Server) explainPush(ctx context.Context, c *call, _ *none) (any, error) {
	id, err := c.id("push")
	if err != nil {
		return nil, err
	}
	a, err := s.house.Accounts.Account(ctx, c.app.ID, id, c.r.PathValue("device"))
	if a.Steps == nil {
		a.Steps = []push.AccountStep{}
	}
	return a, err
}
