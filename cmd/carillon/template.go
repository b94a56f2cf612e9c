package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/carillonpush/carillon/sdk/carillon"
)

type templateCmd struct {
	Add     templateAddCmd     `cmd:"" help:"Add a template, or replace the one of that name."`
	List    templateListCmd    `cmd:"" help:"List templates in order of names."`
	Show    templateShowCmd    `cmd:"" help:"Show a template."`
	Preview templatePreviewCmd `cmd:"" help:"Print what a template makes of some values."`
	Remove  templateRemoveCmd  `cmd:"" help:"Remove a template."`
}

// oneTemplate is what the verbs about one template have in common.
type oneTemplate struct {
	Name string `arg:"" name:"name" help:"The template's name."`
	appFlag
	clientFlags
	jsonFlag
}

// call makes a call below the template, and decodes the answer into into.
func (c *oneTemplate) call(ctx context.Context, method, below string, body, into any) (*caller, error) {
	api, app, err := c.open(ctx, &c.clientFlags, "")
	if err != nil {
		return nil, err
	}
	path := "/v1/apps/" + url.PathEscape(app) + "/templates/" + url.PathEscape(c.Name) + below
	return api, api.Call(ctx, method, path, body, into, nil)
}

type templateAddCmd struct {
	Title    string            `name:"title" placeholder:"TEXT" help:"The title; #name# and $${name} are placeholders."`
	Body     string            `name:"body" placeholder:"TEXT" help:"The text."`
	Defaults map[string]string `name:"default" mapsep:"none" placeholder:"NAME=VALUE" help:"What a placeholder is when it is given no value; repeatable."`
	oneTemplate
}

// Help returns what --help says below the flags.
func (templateAddCmd) Help() string {
	return `Example:

    carillon template add sale --app shop --title '#name#, #off# off' --body 'until ${until}' --default name=Friend`
}

// Run adds a template.
func (c *templateAddCmd) Run(ctx context.Context, s *streams) error {
	api, app, err := c.open(ctx, &c.clientFlags, "")
	if err != nil {
		return err
	}
	t, err := api.AddTemplate(ctx, app, carillon.Template{Name: c.Name, Title: c.Title, Body: c.Body, Defaults: c.Defaults})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Out, api.answer)
	}
	return printTemplate(s, t)
}

func printTemplate(s *streams, t carillon.Template) error {
	w := newTable(s.Out)
	w.row("name", t.Name)
	w.row("title", t.Title)
	w.row("body", t.Body)
	w.row("placeholders", strings.Join(t.Placeholders, " "))
	for _, name := range sortedKeys(t.Defaults) {
		w.row("default "+name, t.Defaults[name])
	}
	return w.flush()
}

type templateListCmd struct {
	pageFlags
	appFlag
	clientFlags
	jsonFlag
}

// Help returns what --help says below the flags.
func (templateListCmd) Help() string { return "Example:\n\n    carillon template list --app shop" }

// Run lists templates.
func (c *templateListCmd) Run(ctx context.Context, s *streams) error {
	api, app, err := c.open(ctx, &c.clientFlags, "")
	if err != nil {
		return err
	}
	list, err := api.ListTemplates(ctx, app, c.page())
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Out, api.answer)
	}
	w := newTable(s.Out)
	w.row("NAME", "TITLE", "PLACEHOLDERS")
	for _, t := range list.Items {
		w.row(t.Name, t.Title, strings.Join(t.Placeholders, " "))
	}
	more(s, list.Next)
	return w.flush()
}

type templateShowCmd struct{ oneTemplate }

// Help returns what --help says below the flags.
func (templateShowCmd) Help() string { return "Example:\n\n    carillon template show sale --app shop" }

// Run shows a template.
func (c *templateShowCmd) Run(ctx context.Context, s *streams) error {
	var t carillon.Template
	api, err := c.call(ctx, http.MethodGet, "", nil, &t)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Out, api.answer)
	}
	return printTemplate(s, t)
}

type templatePreviewCmd struct {
	Values map[string]string `name:"value" mapsep:"none" placeholder:"NAME=VALUE" help:"A value for a placeholder; repeatable."`
	oneTemplate
}

// Help returns what --help says below the flags.
func (templatePreviewCmd) Help() string {
	return "Example:\n\n    carillon template preview sale --app shop --value off=20%"
}

// Run prints what a template makes of some values.
func (c *templatePreviewCmd) Run(ctx context.Context, s *streams) error {
	var got struct{ Title, Body string }
	api, err := c.call(ctx, http.MethodPost, "/preview", map[string]any{"values": c.Values}, &got)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Out, api.answer)
	}
	_, err = fmt.Fprintf(s.Out, "%s\n%s\n", plain(got.Title), plainLines(got.Body, ""))
	return err
}

type templateRemoveCmd struct{ oneTemplate }

// Help returns what --help says below the flags.
func (templateRemoveCmd) Help() string {
	return "Example:\n\n    carillon template remove sale --app shop"
}

// Run removes a template.
func (c *templateRemoveCmd) Run(ctx context.Context, _ *streams) error {
	_, err := c.call(ctx, http.MethodDelete, "", nil, nil)
	return err
}
