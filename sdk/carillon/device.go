package carillon

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// A Device is one installation of an app.
type Device struct {
	ID           string                     `json:"device_id"`
	ChannelID    string                     `json:"channel_id"` // the same device in digits only
	App          string                     `json:"app"`
	Platform     string                     `json:"platform"`
	Attributes   map[string]string          `json:"attributes"`
	Tokens       map[string]json.RawMessage `json:"tokens"` // vendor tokens by channel
	Phone        string                     `json:"phone"`
	Account      string                     `json:"account"` // who is logged in; "" is nobody
	Network      string                     `json:"network"`
	Test         bool                       `json:"test"`        // gets pushes in test mode
	Blacklisted  bool                       `json:"blacklisted"` // gets nothing
	Badge        int                        `json:"badge"`
	Reregistered bool                       `json:"reregistered"` // its installation registered again without the secret
	Registered   time.Time                  `json:"registered"`
	LastActive   time.Time                  `json:"last_active"`
}

// A DevicePatch changes a device. Nil fields stay; an attribute "" is taken away.
type DevicePatch struct {
	Attributes  map[string]string          `json:"attributes,omitempty"`
	Tokens      map[string]json.RawMessage `json:"tokens,omitempty"`
	Phone       *string                    `json:"phone,omitempty"`
	Network     *string                    `json:"network,omitempty"`
	Test        *bool                      `json:"test,omitempty"`
	Blacklisted *bool                      `json:"blacklisted,omitempty"`
	Badge       *int                       `json:"badge,omitempty"`
}

// ShowDevice returns a device by its device id or channel id.
func (c *Client) ShowDevice(ctx context.Context, app, device string) (d Device, err error) {
	err = c.Call(ctx, http.MethodGet, appPath(app, "devices", device), nil, &d, nil)
	return d, err
}

// ListDevices returns one page of an app's devices.
func (c *Client) ListDevices(ctx context.Context, app string, page Page) (list List[Device], err error) {
	err = c.Call(ctx, http.MethodGet, appPath(app, "devices"), nil, &list, page.options())
	return list, err
}

// PatchDevice changes a device and returns it as it is then.
func (c *Client) PatchDevice(ctx context.Context, app, device string, patch DevicePatch) (d Device, err error) {
	err = c.Call(ctx, http.MethodPut, appPath(app, "devices", device), patch, &d, nil)
	return d, err
}

// RemoveDevice removes a device. What it was owed counts as dropped.
func (c *Client) RemoveDevice(ctx context.Context, app, device string) error {
	return c.Call(ctx, http.MethodDelete, appPath(app, "devices", device), nil, nil, nil)
}
