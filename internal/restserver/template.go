package restserver

import (
	"context"
	"net/http"

	"github.com/carillonpush/carillon/internal/push"
)

// TemplateBody is a template as a sender writes it.
type TemplateBody struct {
	Name     string            `json:"name"`
	Title    string            `json:"title,omitempty"`
	Body     string            `json:"body,omitempty"`
	Defaults map[string]string `json:"defaults,omitempty"`
}

// TemplateAnswer is a template as it is shown.
type TemplateAnswer struct {
	push.Template
	Placeholders []string `json:"placeholders"`
}

// templateAnswer returns t as it is shown.
func templateAnswer(t push.Template) TemplateAnswer {
	names := t.Placeholders()
	if names == nil {
		names = []string{}
	}
	return TemplateAnswer{t, names}
}

// PreviewBody gives values to the placeholders of a template.
type PreviewBody struct {
	Values map[string]string `json:"values,omitempty"`
}

// Preview is the texts of a template, filled.
type Preview struct {
	Title string `json:"title"`
	Body  string `json:"body"`
}

// templateRoutes registers what senders do with templates.
func (s *Server) templateRoutes() {
	const tag, all = "Templates", "/v1/apps/{app}/templates"
	handle(s, route{
		method: http.MethodPost, path: all, id: "add-template", tag: tag, access: sender,
		summary: "Store a template",
		doc: "Takes the place of a template of the same name; pushes that were accepted with that one stay as they are. A placeholder is " +
			"#name# or ${name}, and needs a value in each push unless it has a default.",
		body: TemplateBody{}, example: `{"name": "order", "title": "Your order", "body": "#id# is ${state}", "defaults": {"state": "ready"}}`,
		answers: []answer{
			{http.StatusCreated, TemplateAnswer{}, "The new template."},
			{http.StatusOK, TemplateAnswer{}, "The template; it took the place of one."},
		},
	}, s.addTemplate)
	handle(s, route{
		method: http.MethodGet, path: all, id: "list-templates", tag: tag, access: sender,
		summary: "List templates", doc: "In order of names.", params: pageParams(),
		answers: []answer{{http.StatusOK, List[TemplateAnswer]{}, "One page."}},
	}, s.listTemplates)
	handle(s, route{
		method: http.MethodGet, path: all + "/{name}", id: "show-template", tag: tag, access: sender,
		summary: "Show a template", doc: "Its texts, and the placeholders in them.",
		answers: []answer{{http.StatusOK, TemplateAnswer{}, "The template."}},
	}, func(ctx context.Context, c *call, _ *none) (any, error) {
		t, err := s.house.Templates.FindTemplate(ctx, c.app.ID, c.r.PathValue("name"))
		return templateAnswer(t), err
	})
	handle(s, route{
		method: http.MethodDelete, path: all + "/{name}", id: "delete-template", tag: tag, access: sender,
		summary: "Delete a template",
		doc:     "Pushes that were accepted with it stay as they are; an occurrence that is still to fire with it fails then.",
		answers: []answer{{http.StatusNoContent, nil, "It is gone."}},
	}, func(ctx context.Context, c *call, _ *none) (any, error) {
		return nil, s.house.Templates.RemoveTemplate(ctx, c.app.ID, c.r.PathValue("name"))
	})
	handle(s, route{
		method: http.MethodPost, path: all + "/{name}/preview", id: "preview-template", tag: tag, access: sender,
		summary: "Preview a template", doc: "The texts as a push with these values would have them. Nothing is sent.",
		body: PreviewBody{}, example: `{"values": {"id": "42"}}`,
		answers: []answer{{http.StatusOK, Preview{}, "The texts."}},
	}, s.previewTemplate)
}

// addTemplate stores a template.
func (s *Server) addTemplate(ctx context.Context, c *call, b *TemplateBody) (any, error) {
	t := push.Template{App: c.app.ID, Name: b.Name, Title: b.Title, Body: b.Body, Defaults: b.Defaults}
	if err := t.Validate(); err != nil {
		return nil, err
	}
	stored, replaced, err := s.house.Templates.AddTemplate(ctx, t)
	if replaced {
		c.status = http.StatusOK
	}
	return templateAnswer(stored), err
}

// listTemplates answers one page of templates. A cursor is the name of the last one of the page before.
func (s *Server) listTemplates(ctx context.Context, c *call, _ *none) (any, error) {
	cursor, limit, err := c.page()
	if err != nil {
		return nil, err
	}
	page, next, err := s.house.Templates.Templates(ctx, c.app.ID, cursor, limit)
	if err != nil {
		return nil, err
	}
	shown := make([]TemplateAnswer, len(page))
	for i, t := range page {
		shown[i] = templateAnswer(t)
	}
	return listOf(shown, next), nil
}

// previewTemplate answers a template's texts with values in them.
func (s *Server) previewTemplate(ctx context.Context, c *call, b *PreviewBody) (any, error) {
	t, err := s.house.Templates.FindTemplate(ctx, c.app.ID, c.r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	title, body, err := t.Render(b.Values)
	return Preview{title, body}, push.Within("values", err)
}
