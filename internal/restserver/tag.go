package restserver

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillonpush/carillon/internal/push"
)

// DevicesBody names devices.
type DevicesBody struct {
	Devices []string `json:"devices"`
}

// Tagged is what a change of a tag on several devices did.
type Tagged struct {
	Changed int      `json:"changed"`
	Unknown []string `json:"unknown"`
}

// NamedDevices are the devices that have a name.
type NamedDevices struct {
	Devices []push.DeviceID `json:"devices"`
}

// tagRoutes registers what senders do with tags and aliases of an app as a whole.
func (s *Server) tagRoutes() {
	const tag, one = "Tags and aliases", "/v1/apps/{app}/tags/{tag}"
	handle(s, route{
		method: http.MethodGet, path: "/v1/apps/{app}/tags", id: "list-tags", tag: tag, access: sender,
		summary: "List tags", doc: "In order of names, each with the number of devices that carry it.", params: pageParams(),
		answers: []answer{{http.StatusOK, List[push.TagInfo]{}, "One page."}},
	}, s.listTags)
	handle(s, route{
		method: http.MethodGet, path: one, id: "show-tag", tag: tag, access: sender,
		summary: "Show a tag", doc: "The tag with the number of devices that carry it.",
		answers: []answer{{http.StatusOK, push.TagInfo{}, "The tag."}},
	}, func(_ context.Context, c *call, _ *none) (any, error) {
		return s.house.Tags.FindTag(c.app.ID, c.r.PathValue("tag"))
	})
	handle(s, route{
		method: http.MethodPut, path: one, id: "create-tag", tag: tag, access: sender,
		summary: "Create a tag",
		doc:     "Makes a tag that nobody carries yet. Tags are made by the first device that carries them, too, so that this is seldom needed.",
		answers: []answer{
			{http.StatusOK, push.TagInfo{}, "It was there."},
			{http.StatusCreated, push.TagInfo{}, "The new tag."},
		},
	}, s.createTag)
	handle(s, route{
		method: http.MethodDelete, path: one, id: "delete-tag", tag: tag, access: sender,
		summary: "Delete a tag", doc: "Removes the tag from the app and from all devices, in one commit.",
		answers: []answer{{http.StatusNoContent, nil, "It is gone."}},
	}, func(ctx context.Context, c *call, _ *none) (any, error) {
		return nil, s.house.Tags.RemoveTag(ctx, c.app.ID, c.r.PathValue("tag"))
	})
	bulk := route{
		method: http.MethodPost, path: one + "/devices", id: "tag-devices", tag: tag, access: sender,
		summary: "Tag devices",
		doc: "Has 1 to 1,000 devices carry the tag, in one commit; a tag that is new to the app is made. Names that stand for no " +
			"device are answered; if none does, nothing changes.",
		body: DevicesBody{}, example: `{"devices": ["5f0c8c0e9f6b1f2d4a7e3b5c6d8e9f01"]}`,
		answers: []answer{{http.StatusOK, Tagged{}, "How many devices changed."}},
	}
	handle(s, bulk, s.tagDevices(push.Add))
	bulk.method, bulk.id, bulk.summary = http.MethodDelete, "untag-devices", "Untag devices"
	bulk.doc = "Takes the tag away from 1 to 1,000 devices, in one commit. Names that stand for no device are answered; if none " +
		"does, nothing changes."
	handle(s, bulk, s.tagDevices(push.Delete))
	handle(s, route{
		method: http.MethodGet, path: "/v1/apps/{app}/aliases", id: "find-alias", tag: tag, access: sender,
		summary: "Find the devices of an alias", doc: "The devices that own the alias; it is no error that none does.",
		params: []*huma.Param{
			queryParam("type", "The type of the alias; absent or empty for one without.", huma.TypeString),
			queryParam("value", "The alias.", huma.TypeString),
		},
		answers: []answer{{http.StatusOK, NamedDevices{}, "Their device ids."}},
	}, s.findAlias)
}

// listTags answers one page of tags.
func (s *Server) listTags(_ context.Context, c *call, _ *none) (any, error) {
	cursor, limit, err := c.page()
	if err != nil {
		return nil, err
	}
	page, next, err := s.house.Tags.Tags(c.app.ID, cursor, limit)
	if err != nil {
		return nil, err
	}
	return listOf(page, next), nil
}

// createTag makes a tag, or answers the one that is there.
func (s *Server) createTag(ctx context.Context, c *call, _ *none) (any, error) {
	name := c.r.PathValue("tag")
	if err := push.Within("tag", push.ValidateTag(name)); err != nil {
		return nil, err
	}
	if t, err := s.house.Tags.FindTag(c.app.ID, name); !errors.Is(err, push.NotFound) {
		return t, err
	}
	t, err := s.house.Tags.AddTag(ctx, c.app.ID, name)
	if errors.Is(err, push.Conflict) { // somebody else has just made it
		return s.house.Tags.FindTag(c.app.ID, name)
	}
	c.status = http.StatusCreated
	return t, err
}

// tagDevices returns the handler that gives a tag to devices, or takes it away.
func (s *Server) tagDevices(op push.EditOp) func(context.Context, *call, *DevicesBody) (any, error) {
	return func(ctx context.Context, c *call, b *DevicesBody) (any, error) {
		name := c.r.PathValue("tag")
		if err := push.Within("tag", push.ValidateTag(name)); err != nil {
			return nil, err
		}
		if len(b.Devices) == 0 || len(b.Devices) > push.MaxDirect {
			return nil, invalid("devices", "names 1 to 1000 devices")
		}
		for i, d := range b.Devices {
			if !nameable(d) {
				return nil, invalid("devices["+strconv.Itoa(i)+"]", "has 1 to 128 bytes, without NUL")
			}
		}
		n, unknown, err := s.house.Labels.TagDevices(ctx, c.app.ID, name, op, b.Devices)
		if unknown == nil {
			unknown = []string{}
		}
		return Tagged{n, unknown}, err
	}
}

// findAlias answers the devices of an alias.
func (s *Server) findAlias(ctx context.Context, c *call, _ *none) (any, error) {
	a := push.Alias{Type: c.query.Get("type"), Value: c.query.Get("value")}
	switch {
	case !nameable(a.Value):
		return nil, invalid("value", "has 1 to 128 bytes of UTF-8, without NUL")
	case a.Type != "" && !nameable(a.Type):
		return nil, invalid("type", "has at most 128 bytes of UTF-8, without NUL")
	}
	ids, err := s.house.Labels.NamedDevices(ctx, c.app.ID, push.Names{Kind: push.ByAlias, Type: a.Type, Values: []string{a.Value}})
	if ids == nil {
		ids = []push.DeviceID{}
	}
	return NamedDevices{ids}, err
}
