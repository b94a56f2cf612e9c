package carillon

import (
	"context"
	"net/http"
	"time"
)

// A Template is the texts of a notification with placeholders in them: #name# or ${name}. Of one that is added, Placeholders
// and Created are what the server says.
type Template struct {
	Name         string            `json:"name"` // unique in its app; 1 to 256 bytes
	Title        string            `json:"title,omitempty"`
	Body         string            `json:"body,omitempty"`
	Defaults     map[string]string `json:"defaults,omitempty"` // values for placeholders that are given none
	Placeholders []string          `json:"placeholders"`       // their names, in order
	Created      time.Time         `json:"created"`
}

// A Preview is the texts of a template, filled.
type Preview struct {
	Title string `json:"title"`
	Body  string `json:"body"`
}

// AddTemplate stores a template, in the place of one of the same name.
func (c *Client) AddTemplate(ctx context.Context, app string, t Template) (stored Template, err error) {
	body := struct {
		Name     string            `json:"name"`
		Title    string            `json:"title,omitempty"`
		Body     string            `json:"body,omitempty"`
		Defaults map[string]string `json:"defaults,omitempty"`
	}{t.Name, t.Title, t.Body, t.Defaults}
	err = c.Call(ctx, http.MethodPost, appPath(app, "templates"), body, &stored, &CallOptions{Repeat: true})
	return stored, err
}

// ListTemplates returns one page of an app's templates, in order of names.
func (c *Client) ListTemplates(ctx context.Context, app string, page Page) (list List[Template], err error) {
	err = c.Call(ctx, http.MethodGet, appPath(app, "templates"), nil, &list, page.options())
	return list, err
}

// ShowTemplate returns a template.
func (c *Client) ShowTemplate(ctx context.Context, app, name string) (t Template, err error) {
	err = c.Call(ctx, http.MethodGet, appPath(app, "templates", name), nil, &t, nil)
	return t, err
}

// DeleteTemplate removes a template. Pushes that were accepted with it stay as they are; a schedule that names it fails when
// it fires.
func (c *Client) DeleteTemplate(ctx context.Context, app, name string) error {
	return c.Call(ctx, http.MethodDelete, appPath(app, "templates", name), nil, nil, nil)
}

// PreviewTemplate returns a template's texts with values in the place of its placeholders. Nothing is sent.
func (c *Client) PreviewTemplate(ctx context.Context, app, name string, values map[string]string) (p Preview, err error) {
	body := struct {
		Values map[string]string `json:"values"`
	}{values}
	err = c.Call(ctx, http.MethodPost, appPath(app, "templates", name, "preview"), body, &p, &CallOptions{Repeat: true})
	return p, err
}
