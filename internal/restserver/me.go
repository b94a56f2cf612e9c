package restserver

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillonpush/carillon/internal/push"
)

// RegisterBody is what a device says of itself when it registers.
type RegisterBody struct {
	AppKey     string               `json:"app_key"`
	AppSecret  string               `json:"app_secret"`
	Platform   push.Platform        `json:"platform"`
	InstallID  string               `json:"install_id"`
	Attributes map[string]string    `json:"attributes,omitempty"`
	Tokens     map[string]TokenBody `json:"tokens,omitempty"`

	PreviousID    string `json:"previous_id,omitempty"`
	PreviousProof string `json:"previous_proof,omitempty"`
}

// RegisterAnswer is what a device gets for it.
type RegisterAnswer struct {
	push.Registered
	MQTT MQTT `json:"mqtt"`
}

// EventBody says what happened to a push on the device.
type EventBody struct {
	Push  push.ID `json:"push"`
	Event string  `json:"event" enum:"delivered,displayed,opened,clicked,dismissed,recalled"`
}

// Me is a device as it sees itself: a push.Device without what operators say of it, whether it is a test device and
// whether it gets nothing.
type Me struct {
	ID         push.DeviceID         `json:"device_id"`
	ChannelID  push.ChannelID        `json:"channel_id"`
	App        push.AppID            `json:"app"`
	Platform   push.Platform         `json:"platform"`
	Attributes map[string]string     `json:"attributes"`
	Tokens     map[string]push.Token `json:"tokens,omitempty"`
	Phone      string                `json:"phone,omitempty"`
	Account    string                `json:"account,omitempty"`
	Tags       []string              `json:"tags,omitempty"`
	Aliases    []push.Alias          `json:"aliases,omitempty"`
	Network    push.Network          `json:"network,omitempty"`
	Badge      int                   `json:"badge"`
	Reset      bool                  `json:"reregistered,omitempty"`
	push.Times
}

// meAnswer returns d as it may see itself, around a port's call.
func meAnswer(d push.Device, err error) (any, error) {
	d = withAttributes(d)
	return Me{
		ID: d.ID, ChannelID: d.ChannelID, App: d.App, Platform: d.Platform, Attributes: d.Attributes, Tokens: d.Tokens,
		Phone: d.Phone, Account: d.Account, Tags: d.Tags, Aliases: d.Aliases, Network: d.Network, Badge: d.Badge, Reset: d.Reset, Times: d.Times,
	}, err
}

// patchMe changes the device that calls.
func (s *Server) patchMe(ctx context.Context, c *call, b *MeBody) (any, error) {
	patch := b.patch()
	if err := patch.Validate(); err != nil {
		return nil, err
	}
	return meAnswer(s.house.Devices.Patch(ctx, c.ref, patch))
}

// meRoutes registers what devices do.
func (s *Server) meRoutes() {
	const tag = "Device API"
	handle(s, route{
		method: http.MethodPost, path: "/device/v1/register", id: "register", tag: tag, access: open,
		summary: "Register this device",
		doc: "Answers the names of the device and its secret, with which it connects: MQTT user name is the device id, password " +
			"the secret. An install id that registers again sends its current secret in Authorization: Device " +
			"DEVICE_ID:SECRET; without it the secret is replaced and the old one is dead. A device that was imported from another " +
			"provider names the id that it had there, and shows by previous_proof that it may: adopted says that it is that device now.",
		params: []*huma.Param{headerParam("Authorization", "Device DEVICE_ID:SECRET, when the device registers again.")},
		body:   RegisterBody{},
		example: `{"app_key": "3c9d1b5e7f", "app_secret": "…", "platform": "android", "install_id": "b7a1e0c2d94f4c6f8e135a7d90b2c4e6",
			"attributes": {"app_version": "2.1.0", "brand": "Pixel", "language": "zh"}, "tokens": {"fcm": "…"}}`,
		answers: []answer{{http.StatusOK, RegisterAnswer{}, "The device's names, its secret, and where to connect."}},
	}, s.register)
	handle(s, route{
		method: http.MethodGet, path: "/device/v1/me", id: "show-me", tag: tag, access: device,
		summary: "Show this device", doc: "What is known of it.",
		answers: []answer{{http.StatusOK, Me{}, "The device."}},
	}, func(ctx context.Context, c *call, _ *none) (any, error) {
		return meAnswer(s.house.Devices.Device(ctx, c.ref.App, c.device))
	})
	handle(s, route{
		method: http.MethodPatch, path: "/device/v1/me", id: "change-me", tag: tag, access: device,
		summary: "Change this device", doc: "Changes what the body names and leaves the rest.",
		body: MeBody{}, example: `{"attributes": {"app_version": "2.2.0"}, "network": "wifi"}`,
		answers: []answer{{http.StatusOK, Me{}, "The device as it is now."}},
	}, s.patchMe)
	handle(s, route{
		method: http.MethodDelete, path: "/device/v1/me", id: "remove-me", tag: tag, access: device,
		summary: "Remove this device", doc: "The secret is dead afterwards, and the connection closed.",
		answers: []answer{{http.StatusNoContent, nil, "It is gone."}},
	}, func(ctx context.Context, c *call, _ *none) (any, error) {
		return nil, s.house.Devices.Remove(ctx, c.ref)
	})
	handle(s, route{
		method: http.MethodPost, path: "/device/v1/events", id: "event", tag: tag, access: device,
		summary: "Say what happened to a push", doc: "Saying it twice is saying it once.",
		body: EventBody{}, example: `{"push": "187649984473770", "event": "opened"}`,
		answers: []answer{{http.StatusNoContent, nil, "It is on disk."}},
	}, s.event)
	s.bare(route{
		method: http.MethodGet, path: "/device/v1/inbox", id: "inbox", tag: tag, access: device,
		summary: "Receive over HTTP",
		doc: "Server-sent events for a device that cannot MQTT: what is owed first, then what is new, as the data that MQTT " +
			"would carry, with the push id as the event's id. The device acknowledges with the event delivered. The stream " +
			"ends when a newer connection of the device takes over.",
		answers: []answer{{http.StatusOK, nil, "text/event-stream, without end."}},
	}, s.stream)
}

// register makes a device, or returns the one of its install id.
func (s *Server) register(ctx context.Context, c *call, b *RegisterBody) (any, error) {
	reg := push.Registration{
		AppKey: b.AppKey, AppSecret: b.AppSecret, Platform: b.Platform, InstallID: b.InstallID,
		Attributes: b.Attributes, Tokens: tokens(b.Tokens), PreviousID: b.PreviousID, PreviousProof: b.PreviousProof,
	}
	if err := reg.Validate(); err != nil {
		return nil, err
	}
	done, err := s.house.Devices.Register(ctx, reg, c.r.Header.Get("Authorization"), s.opts.RemoteIP(c.r))
	if err != nil {
		return nil, err
	}
	return RegisterAnswer{Registered: done, MQTT: s.opts.MQTT(c.r)}, nil
}

// event records what a device says of a push.
func (s *Server) event(ctx context.Context, c *call, b *EventBody) (any, error) {
	mark, ok := push.Events()[b.Event]
	switch {
	case b.Push == 0:
		return nil, invalid("push", "is missing")
	case !ok:
		return nil, invalid("event", "is one of "+strings.Join(slices.Sorted(maps.Keys(push.Events())), ", "))
	}
	return nil, s.house.Events.Event(ctx, c.ref, b.Push, mark)
}
