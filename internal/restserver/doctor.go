package restserver

import (
	"context"
	"net/http"

	"github.com/carillonpush/carillon/internal/push"
)

// IndexBody says which index to check.
type IndexBody struct {
	App    string `json:"app,omitempty"`
	Repair bool   `json:"repair,omitempty"`
}

// doctorRoutes registers what administrators ask when something seems wrong.
func (s *Server) doctorRoutes() {
	handle(s, route{
		method: http.MethodPost, path: "/v1/doctor/index", id: "check-index", tag: "Doctor", access: admin,
		summary: "Check the index",
		doc: "Compares the index in memory, from which audiences are counted and sent, with the record, device by device, while " +
			"both are in use. With repair the index says afterwards what the record says. It takes some seconds a million devices.",
		body: IndexBody{}, example: `{"app": "1", "repair": true}`, optional: true,
		answers: []answer{{http.StatusOK, push.IndexCheck{}, "What was found."}},
	}, s.checkIndex)
}

// checkIndex compares index and record.
func (s *Server) checkIndex(ctx context.Context, _ *call, b *IndexBody) (any, error) {
	var app push.AppID // 0 is all of them
	if b.App != "" {
		found, err := s.house.Apps.FindApp(b.App)
		if err != nil {
			return nil, err
		}
		app = found.ID
	}
	return s.house.Doctor.CheckIndex(ctx, app, b.Repair)
}
