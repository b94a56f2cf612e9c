package restserver

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillonpush/carillon/internal/push"
)

// eventRoute registers the stream of an app's events.
func (s *Server) eventRoute() {
	s.bare(route{
		method: http.MethodGet, path: "/v1/apps/{app}/events", id: "follow-events", tag: "Webhooks and events", access: sender,
		summary: "Follow events",
		doc: "Server-sent events as they happen, from now on: what happened before, or happens while nobody follows, is not told later. " +
			"Who must not miss anything uses a webhook. The name of each is its event, its data the object as JSON. A follower who does " +
			"not keep up is cut off; the event problem says so.",
		params:  []*huma.Param{queryParam("events", "Names of events, separated by commas; absent is all.", huma.TypeString)},
		answers: []answer{{http.StatusOK, nil, "text/event-stream, without end."}}, events: push.Event{},
	}, s.followEvents)
}

// followEvents streams events until the caller goes or the server drains.
func (s *Server) followEvents(c *call) error {
	names, err := c.eventNames()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(c.r.Context())
	defer cancel()
	select {
	case <-s.drained:
		return &push.Error{Kind: push.Unavailable, Msg: "the server is about to stop"}
	default:
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-s.drained:
			cancel()
		case <-ctx.Done():
		}
	}()
	s.follow(ctx, c, func(ctx context.Context, out *eventWriter) error {
		return s.house.Stream.Follow(ctx, c.app.ID, names, func(e push.Event) error {
			data, err := json.Marshal(e)
			if err != nil {
				return err
			}
			return out.write(slices.Concat([]byte("event: "+e.Event+"\ndata: "), data, []byte("\n\n")))
		})
	})
	cancel()
	<-ended
	return nil
}

// eventNames returns the events that the query asks for; nil is all.
func (c *call) eventNames() ([]string, error) {
	v, given := c.query["events"]
	if !given {
		return nil, nil
	}
	names := strings.Split(v[0], ",")
	for _, name := range names {
		if !slices.Contains(push.EventNames(), name) {
			return nil, invalid("events", "is a list, separated by commas, of "+texts(push.EventNames()))
		}
	}
	return names, nil
}
