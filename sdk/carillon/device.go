package carillon

import (
	"context"
	"net/http"
)

// ShowDevice returns a device by its device id, its channel id or, if it was imported, the id that it had before.
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

// TokenChannels returns the vendor channels of which a device may have a token: the keys of Device.Tokens.
func TokenChannels() []string {
	return []string{"apns", "fcm", "hms", "honor", "harmony", "xiaomi", "oppo", "vivo", "meizu", "webpush"}
}
