package restserver

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillonpush/carillon/internal/push"
)

// WebhookBody says where an app's server is told, and of what.
type WebhookBody struct {
	URL    string   `json:"url"`
	Events []string `json:"events,omitempty"`
}

// NewWebhook is a webhook with its secret, which is shown this once.
type NewWebhook struct {
	push.Webhook
	Secret string `json:"secret"` // base64url without padding
}

// ReplayBody says which batches are made due again.
type ReplayBody struct {
	Batches json.RawMessage `json:"batches,omitempty"` // a list of ids; absent is all that are dead
}

// Replayed is how many batches are due again.
type Replayed struct {
	Replayed int `json:"replayed"`
}

// webhookRoutes registers what senders do with webhooks.
func (s *Server) webhookRoutes() {
	const tag, all = "Webhooks and events", "/v1/apps/{app}/webhooks"
	handle(s, route{
		method: http.MethodPost, path: all, id: "add-webhook", tag: tag, access: sender,
		summary: "Add a webhook",
		doc: "The address is called with events of the app, at most 1,000 a call: POST {\"app\", \"webhook\", \"batch\", \"time\", \"events\": […]}, signed. " +
			"An answer that is not 2xx is repeated for a day. The secret is shown this once.",
		body: WebhookBody{}, example: `{"url": "https://example.com/carillon", "events": ["delivered", "opened", "dropped"]}`,
		answers: []answer{{http.StatusCreated, NewWebhook{}, "The webhook and its secret."}},
	}, s.addWebhook)
	handle(s, route{
		method: http.MethodGet, path: all, id: "list-webhooks", tag: tag, access: sender,
		summary: "List webhooks", doc: "Oldest first, without their secrets.", params: pageParams(),
		answers: []answer{{http.StatusOK, List[push.Webhook]{}, "One page."}},
	}, s.listWebhooks)
	handle(s, route{
		method: http.MethodDelete, path: all + "/{id}", id: "delete-webhook", tag: tag, access: sender,
		summary: "Delete a webhook", doc: "It is not called any more, and what it was still to be told is dropped.",
		answers: []answer{{http.StatusNoContent, nil, "It is gone."}},
	}, func(ctx context.Context, c *call, _ *none) (any, error) {
		id, err := c.webhook()
		if err != nil {
			return nil, err
		}
		return nil, s.house.Webhooks.RemoveWebhook(ctx, c.app.ID, id)
	})
	handle(s, route{
		method: http.MethodGet, path: all + "/{id}/batches", id: "list-batches", tag: tag, access: sender,
		summary: "List what a webhook is still to be told", doc: "Oldest first: one batch is one call.",
		params:  append([]*huma.Param{queryParam("dead", "true: only what was given up.", huma.TypeBoolean)}, pageParams()...),
		answers: []answer{{http.StatusOK, List[push.BatchInfo]{}, "One page."}},
	}, s.listBatches)
	handle(s, route{
		method: http.MethodPost, path: all + "/{id}/replay", id: "replay-webhook", tag: tag, access: sender,
		summary: "Tell a webhook again",
		doc:     "Makes batches that were given up due again, with another day to be told: those of the body, or all without one.",
		body:    ReplayBody{}, optional: true, example: `{"batches": ["1", "2"]}`,
		answers: []answer{{http.StatusOK, Replayed{}, "How many are due again."}},
	}, s.replayWebhook)
}

// webhook returns the id in the path.
func (c *call) webhook() (push.WebhookID, error) {
	id, err := push.ParseID(c.r.PathValue("id")) // of the same form
	if err != nil {
		return 0, &push.Error{Kind: push.NotFound, Field: "id", Msg: "no such webhook"}
	}
	return push.WebhookID(id), nil
}

// addWebhook makes a webhook.
func (s *Server) addWebhook(ctx context.Context, c *call, b *WebhookBody) (any, error) {
	w := push.Webhook{App: c.app.ID, URL: b.URL, Events: b.Events}
	if err := w.Validate(); err != nil {
		return nil, err
	}
	made, err := s.house.Webhooks.AddWebhook(ctx, w)
	return NewWebhook{webhookAnswer(made), base64.RawURLEncoding.EncodeToString(made.Secret)}, err
}

// webhookAnswer returns w as it is shown.
func webhookAnswer(w push.Webhook) push.Webhook {
	if w.Events == nil {
		w.Events = []string{}
	}
	return w
}

// listWebhooks answers one page of webhooks.
func (s *Server) listWebhooks(_ context.Context, c *call, _ *none) (any, error) {
	var all []push.Webhook
	for _, w := range s.house.Webhooks.Webhooks(c.app.ID) {
		all = append(all, webhookAnswer(w))
	}
	return pageOf(c, all, func(w push.Webhook) string { return fmt.Sprintf("%019d", w.ID) })
}

// listBatches answers one page of what a webhook is still to be told. A cursor is the id of the last batch of the page before.
func (s *Server) listBatches(ctx context.Context, c *call, _ *none) (any, error) {
	id, err := c.webhook()
	if err != nil {
		return nil, err
	}
	dead, err := c.flag("dead")
	if err != nil {
		return nil, err
	}
	cursor, limit, err := c.page()
	if err != nil {
		return nil, err
	}
	var after int64
	if cursor != "" {
		if after, err = batchID(cursor); err != nil {
			return nil, badCursor()
		}
	}
	page, err := s.house.Webhooks.Batches(ctx, c.app.ID, id, dead, after, limit+1) // one more shows whether there is a next page
	if err != nil {
		return nil, err
	}
	if len(page) <= limit {
		return listOf(page, ""), nil
	}
	return listOf(page[:limit], strconv.FormatInt(page[limit-1].ID, 10)), nil
}

// batchID reads the id of a batch, whose form is that of a push's.
func batchID(s string) (int64, error) {
	id, err := push.ParseID(s)
	return int64(id), err
}

// replayWebhook makes batches due again.
func (s *Server) replayWebhook(ctx context.Context, c *call, b *ReplayBody) (any, error) {
	id, err := c.webhook()
	if err != nil {
		return nil, err
	}
	names, err := listed("batches", b.Batches)
	if err != nil {
		return nil, err
	}
	var ids []int64
	for i, name := range names {
		batch, err := batchID(name)
		if err != nil {
			return nil, invalid("batches["+strconv.Itoa(i)+"]", "is not the id of a batch")
		}
		ids = append(ids, batch)
	}
	n, err := s.house.Webhooks.Replay(ctx, c.app.ID, id, ids)
	return Replayed{n}, err
}
