package carillon

import (
	"context"
	"net/http"
	"net/url"
)

// An Alias is a name that an app gives to devices, unique within its type. An untyped alias has type "".
type Alias struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// edit changes the labels of a device; body nil is none, which for DELETE means all of a kind.
func (c *Client) edit(ctx context.Context, method, app, device, kind string, body any) (d Device, err error) {
	err = c.Call(ctx, method, appPath(app, "devices", device, kind), body, &d, nil)
	return d, err
}

// tagsBody and the bodies below say what changes. Their lists are never null, which would be no list at all.
type tagsBody struct {
	Tags []string `json:"tags"`
}

func tagsOf(tags []string) tagsBody { return tagsBody{append([]string{}, tags...)} }

// SetTags makes tags the only ones that a device carries; none takes all of them away. It returns the device as it is
// then, as do all calls that change labels.
func (c *Client) SetTags(ctx context.Context, app, device string, tags ...string) (Device, error) {
	return c.edit(ctx, http.MethodPut, app, device, "tags", tagsOf(tags))
}

// AddTags has a device carry tags, besides those that it has. Tags that the app does not know yet are made.
func (c *Client) AddTags(ctx context.Context, app, device string, tags ...string) (Device, error) {
	return c.edit(ctx, http.MethodPost, app, device, "tags", tagsOf(tags))
}

// RemoveTags takes tags away from a device. At least one is needed; SetTags without tags takes all away.
func (c *Client) RemoveTags(ctx context.Context, app, device string, tags ...string) (Device, error) {
	return c.edit(ctx, http.MethodDelete, app, device, "tags", tagsOf(tags))
}

type aliasesBody struct {
	Aliases []Alias `json:"aliases"`
}

func aliasesOf(aliases []Alias) aliasesBody { return aliasesBody{append([]Alias{}, aliases...)} }

// SetAliases makes a device the only owner of each of aliases, of which it may have others.
func (c *Client) SetAliases(ctx context.Context, app, device string, aliases ...Alias) (Device, error) {
	return c.edit(ctx, http.MethodPut, app, device, "aliases", aliasesOf(aliases))
}

// AddAliases makes a device one more owner of each of aliases.
func (c *Client) AddAliases(ctx context.Context, app, device string, aliases ...Alias) (Device, error) {
	return c.edit(ctx, http.MethodPost, app, device, "aliases", aliasesOf(aliases))
}

// RemoveAliases ends that a device owns aliases. At least one is needed; ClearAliases removes all.
func (c *Client) RemoveAliases(ctx context.Context, app, device string, aliases ...Alias) (Device, error) {
	return c.edit(ctx, http.MethodDelete, app, device, "aliases", aliasesOf(aliases))
}

// ClearAliases removes all aliases of a device.
func (c *Client) ClearAliases(ctx context.Context, app, device string) (Device, error) {
	return c.edit(ctx, http.MethodDelete, app, device, "aliases", nil)
}

// SetAccount says who is logged in on a device, 1 to 128 bytes, in the place of whoever was.
func (c *Client) SetAccount(ctx context.Context, app, device, account string) (Device, error) {
	body := struct {
		Account string `json:"account"`
	}{account}
	return c.edit(ctx, http.MethodPut, app, device, "account", body)
}

// ClearAccount logs out whoever is logged in on a device. Twice is once.
func (c *Client) ClearAccount(ctx context.Context, app, device string) (Device, error) {
	return c.edit(ctx, http.MethodDelete, app, device, "account", nil)
}

// AliasDevices returns the ids of the devices that own an alias, which may be none.
func (c *Client) AliasDevices(ctx context.Context, app string, alias Alias) ([]string, error) {
	var answer struct {
		Devices []string `json:"devices"`
	}
	q := url.Values{"type": {alias.Type}, "value": {alias.Value}}
	err := c.Call(ctx, http.MethodGet, appPath(app, "aliases"), nil, &answer, &CallOptions{Query: q})
	return answer.Devices, err
}
