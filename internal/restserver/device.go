package restserver

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/carillonpush/carillon/internal/push"
)

// A TokenBody is a token of a vendor channel as a caller writes it: the text alone, or an object with its parts. Unlike
// push.Token it refuses parts that it does not know.
type TokenBody push.Token

// UnmarshalJSON reads either form.
func (t *TokenBody) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*t = TokenBody{}
		return json.Unmarshal(b, &t.Token)
	}
	if len(b) > 0 && b[0] != '{' && string(b) != "null" {
		return invalid("", "must be a string or an object")
	}
	type plain TokenBody
	if err := strict(b, (*plain)(t)); err != nil {
		// One part at a time shows which it was; the first by name, so that the answer is always the same.
		field := ""
		var parts map[string]json.RawMessage
		_ = json.Unmarshal(b, &parts) // b is JSON: the decoder that calls has seen it
		for k, v := range parts {
			one, _ := json.Marshal(map[string]json.RawMessage{k: v})
			if strict(one, new(plain)) != nil && (field == "" || k < field) {
				field = k
			}
		}
		return invalid(field, "is not a part of a token, or not a string")
	}
	return nil
}

// DeviceBody changes a device. Fields that are left out stay; an attribute "" and an empty token are taken away.
type DeviceBody struct {
	MeBody
	Test        *bool `json:"test,omitempty"`
	Blacklisted *bool `json:"blacklisted,omitempty"`
	Badge       *int  `json:"badge,omitempty"`
}

// MeBody is what a device may change of itself.
type MeBody struct {
	Attributes map[string]string    `json:"attributes,omitempty"`
	Tokens     map[string]TokenBody `json:"tokens,omitempty"`
	Phone      *string              `json:"phone,omitempty"`
	Network    *push.Network        `json:"network,omitempty"`
}

// patch returns b as the domain has it.
func (b MeBody) patch() push.DevicePatch {
	return push.DevicePatch{Attributes: b.Attributes, Tokens: tokens(b.Tokens), Phone: b.Phone, Network: b.Network}
}

// tokens returns what was read strictly as the domain has it; nil stays nil.
func tokens(from map[string]TokenBody) map[string]push.Token {
	if from == nil {
		return nil
	}
	all := make(map[string]push.Token, len(from))
	for channel, t := range from {
		all[channel] = push.Token(t)
	}
	return all
}

// deviceRoutes registers what senders do with devices.
func (s *Server) deviceRoutes() {
	const tag = "Devices"
	handle(s, route{
		method: http.MethodGet, path: "/v1/apps/{app}/devices", id: "list-devices", tag: tag, access: sender,
		summary: "List devices", doc: "Newest first.", params: pageParams(),
		answers: []answer{{http.StatusOK, List[push.Device]{}, "One page."}},
	}, s.listDevices)
	handle(s, route{
		method: http.MethodGet, path: "/v1/apps/{app}/devices/{device}", id: "show-device", tag: tag, access: sender,
		summary: "Show a device", doc: "By its device id, its channel id or, if it was imported, the id that it had before.",
		answers: []answer{{http.StatusOK, push.Device{}, "The device."}},
	}, func(ctx context.Context, c *call, _ *none) (any, error) {
		return deviceAnswer(s.house.Devices.Device(ctx, c.app.ID, c.r.PathValue("device")))
	})
	handle(s, route{
		method: http.MethodPut, path: "/v1/apps/{app}/devices/{device}", id: "change-device", tag: tag, access: sender,
		summary: "Change a device",
		doc: "Changes what the body names and leaves the rest. An attribute with the value \"\" and an empty token are taken " +
			"away. Devices are made by registering, not here.",
		body: DeviceBody{}, example: `{"test": true, "attributes": {"vip_level": "3"}}`,
		answers: []answer{{http.StatusOK, push.Device{}, "The device as it is now."}},
	}, s.putDevice)
	handle(s, route{
		method: http.MethodDelete, path: "/v1/apps/{app}/devices/{device}", id: "remove-device", tag: tag, access: sender,
		summary: "Remove a device", doc: "Closes its connection. What it was owed counts as dropped, unregistered.",
		answers: []answer{{http.StatusNoContent, nil, "It is gone."}},
	}, s.removeDevice)
}

// listDevices answers one page of devices.
func (s *Server) listDevices(ctx context.Context, c *call, _ *none) (any, error) {
	cursor, limit, err := c.page()
	if err != nil {
		return nil, err
	}
	page, next, err := s.house.Lists.Devices(ctx, c.app.ID, cursor, limit)
	if err != nil {
		return nil, err
	}
	for i := range page {
		page[i] = withAttributes(page[i])
	}
	return listOf(page, next), nil
}

// refOf returns which device the {device} of the path is.
func (s *Server) refOf(ctx context.Context, c *call) (push.Ref, error) {
	return s.house.Labels.Ref(ctx, c.app.ID, c.r.PathValue("device"))
}

// putDevice changes a device.
func (s *Server) putDevice(ctx context.Context, c *call, b *DeviceBody) (any, error) {
	patch := b.patch()
	patch.Test, patch.Blacklisted, patch.Badge = b.Test, b.Blacklisted, b.Badge
	if err := patch.Validate(); err != nil {
		return nil, err
	}
	ref, err := s.refOf(ctx, c)
	if err != nil {
		return nil, err
	}
	return deviceAnswer(s.house.Devices.Patch(ctx, ref, patch))
}

// removeDevice removes a device.
func (s *Server) removeDevice(ctx context.Context, c *call, _ *none) (any, error) {
	ref, err := s.refOf(ctx, c)
	if err != nil {
		return nil, err
	}
	return nil, s.house.Devices.Remove(ctx, ref)
}

// withAttributes returns d with an object where it has nil attributes.
func withAttributes(d push.Device) push.Device {
	if d.Attributes == nil {
		d.Attributes = map[string]string{}
	}
	return d
}

// deviceAnswer does the same around a port's call.
func deviceAnswer(d push.Device, err error) (any, error) { return withAttributes(d), err }
