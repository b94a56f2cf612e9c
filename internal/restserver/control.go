package restserver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/carillonpush/carillon/internal/push"
)

// RecallBody says from which devices a push is taken back.
type RecallBody struct {
	Devices json.RawMessage `json:"devices,omitempty"` // a list of names; absent is the whole push
}

// Targets is an open push after targets were added.
type Targets struct {
	ID      push.ID    `json:"id"`
	State   push.State `json:"state"`
	Target  int        `json:"target"`
	Added   int        `json:"added"`
	Unknown int        `json:"unknown"`
}

// controlRoutes registers what is done with a push after it was accepted.
func (s *Server) controlRoutes() {
	const tag, one = "Pushes", "/v1/apps/{app}/pushes/{id}"
	for _, a := range []struct {
		action, summary, doc, done string
		act                        func(context.Context, push.AppID, push.ID) (push.Push, error)
	}{
		{"cancel", "Cancel a push", "Stops what has not left. Works while anything is pending.", "The push, cancelled.", s.house.Pushes.Cancel},
		{"pause", "Pause a push", "Nothing more leaves until the push is resumed. It expires all the same.", "The push, paused.", s.house.Control.Pause},
		{"resume", "Resume a push", "A paused push goes on.", "The push, going on.", s.house.Control.Resume},
		{"close", "Close an open push", "No more targets are added to it.", "The push, closed.", s.house.Control.CloseOpen},
	} {
		handle(s, route{
			method: http.MethodPost, path: one + "/" + a.action, id: a.action + "-push", tag: tag, access: sender,
			summary: a.summary, doc: a.doc, answers: []answer{{http.StatusOK, push.Push{}, a.done}},
		}, func(ctx context.Context, c *call, _ *none) (any, error) {
			id, err := c.id("push")
			if err != nil {
				return nil, err
			}
			return a.act(ctx, c.app.ID, id)
		})
	}
	handle(s, route{
		method: http.MethodPost, path: one + "/recall", id: "recall-push", tag: tag, access: sender,
		summary: "Take a push back",
		doc: "What has not left is stopped for ever, and devices that have, or may have, got the push are told to withdraw it. Without a " +
			"body, or with an empty object, from everybody; with devices, from those only. Doing it again is doing it once, and " +
			"answers how things stand.",
		body: RecallBody{}, optional: true, example: `{"devices": ["5f0c8c0e9f6b1f2d4a7e3b5c6d8e9f01"]}`,
		answers: []answer{{http.StatusOK, push.Recall{}, "For how many devices it holds."}},
	}, s.recallPush)
	handle(s, route{
		method: http.MethodPost, path: one + "/targets", id: "add-targets", tag: tag, access: sender,
		summary: "Add targets to an open push",
		doc: "The audience is found out now, and those of its devices that are new to the push are sent to. Adding a device again " +
			"adds nothing.",
		body: push.Audience{}, example: `{"aliases": {"type": "uid", "values": ["42", "43"]}}`,
		answers: []answer{{http.StatusOK, Targets{}, "The push, and what was added."}},
	}, s.addTargets)
}

// recallPush takes a push back.
func (s *Server) recallPush(ctx context.Context, c *call, b *RecallBody) (any, error) {
	id, err := c.id("push")
	if err != nil {
		return nil, err
	}
	devices, err := listed("devices", b.Devices)
	if err != nil {
		return nil, err
	}
	for i, d := range devices {
		if !nameable(d) {
			return nil, invalid("devices["+strconv.Itoa(i)+"]", "has 1 to 128 bytes, without NUL")
		}
	}
	return s.house.Control.Recall(ctx, c.app.ID, id, devices)
}

// listed reads a list that stands for everything if it is absent. So an empty one, or null, is refused: it is what a program
// writes that found nothing.
func listed(field string, raw json.RawMessage) ([]string, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	if isNull(raw) {
		return nil, invalid(field, "is null; leave it out to mean all")
	}
	if err := locate(reflect.TypeFor[[]string](), raw, field); err != nil {
		return nil, err
	}
	var all []string
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, invalid(field, "must be an array")
	}
	if len(all) == 0 || len(all) > push.MaxDirect {
		return nil, invalid(field, "has 1 to 1000 items; leave it out to mean all")
	}
	return all, nil
}

// addTargets adds to the target of an open push.
func (s *Server) addTargets(ctx context.Context, c *call, a *push.Audience) (any, error) {
	id, err := c.id("push")
	if err != nil {
		return nil, err
	}
	if err := c.maySend(); err != nil {
		return nil, err
	}
	if err := a.Validate(); err != nil {
		return nil, err
	}
	p, added, unknown, err := s.house.Control.AddTargets(ctx, c.app.ID, id, *a)
	if err != nil {
		return nil, ofAudience(err)
	}
	return Targets{ID: p.ID, State: p.State, Target: p.Target + p.Unknown, Added: added, Unknown: unknown}, nil
}

// ofAudience returns err with its field as it is in a body that is an audience and has none.
func ofAudience(err error) error {
	e, ok := errors.AsType[*push.Error](err)
	if !ok || !strings.HasPrefix(e.Field, "audience") {
		return err
	}
	changed := *e
	changed.Field = strings.TrimPrefix(strings.TrimPrefix(e.Field, "audience"), ".")
	return &changed
}
