package carillon

import (
	"context"
	"net/http"
	"time"
)

// A Tag is a name that devices of an app carry.
type Tag struct {
	Tag     string    `json:"tag"`     // 1 to 128 characters
	Devices int       `json:"devices"` // that carry it
	Created time.Time `json:"created"`
}

// ListTags returns one page of an app's tags, in order of their names.
func (c *Client) ListTags(ctx context.Context, app string, page Page) (list List[Tag], err error) {
	err = c.Call(ctx, http.MethodGet, appPath(app, "tags"), nil, &list, page.options())
	return list, err
}

// ShowTag returns a tag.
func (c *Client) ShowTag(ctx context.Context, app, tag string) (t Tag, err error) {
	err = c.Call(ctx, http.MethodGet, appPath(app, "tags", tag), nil, &t, nil)
	return t, err
}

// CreateTag makes a tag that nobody carries yet, or returns the one that is there.
func (c *Client) CreateTag(ctx context.Context, app, tag string) (t Tag, err error) {
	err = c.Call(ctx, http.MethodPut, appPath(app, "tags", tag), nil, &t, nil)
	return t, err
}

// DeleteTag removes a tag from the app and from all devices.
func (c *Client) DeleteTag(ctx context.Context, app, tag string) error {
	return c.Call(ctx, http.MethodDelete, appPath(app, "tags", tag), nil, nil, nil)
}

// Tagged is what a change of a tag on several devices did.
type Tagged struct {
	Changed int      `json:"changed"` // devices that carry the tag now and did not, or the reverse
	Unknown []string `json:"unknown"` // names that stand for no device of the app
}

// TagDevices has 1 to 1,000 devices carry a tag, which is made if the app does not know it yet. All of them change at
// once.
func (c *Client) TagDevices(ctx context.Context, app, tag string, devices ...string) (Tagged, error) {
	return c.tagDevices(ctx, http.MethodPost, app, tag, devices)
}

// UntagDevices takes a tag away from 1 to 1,000 devices, at once.
func (c *Client) UntagDevices(ctx context.Context, app, tag string, devices ...string) (Tagged, error) {
	return c.tagDevices(ctx, http.MethodDelete, app, tag, devices)
}

func (c *Client) tagDevices(ctx context.Context, method, app, tag string, devices []string) (t Tagged, err error) {
	body := struct {
		Devices []string `json:"devices"`
	}{append([]string{}, devices...)}
	err = c.Call(ctx, method, appPath(app, "tags", tag, "devices"), body, &t, nil)
	return t, err
}
