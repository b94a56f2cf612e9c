package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/carillonpush/carillon/sdk/carillon"
)

type webhookCmd struct {
	Add     webhookAddCmd     `cmd:"" help:"Add a webhook, and print the secret of its signatures."`
	List    webhookListCmd    `cmd:"" help:"List webhooks."`
	Remove  webhookRemoveCmd  `cmd:"" help:"Remove a webhook, and what it was still to be told."`
	Batches webhookBatchesCmd `cmd:"" help:"List what a webhook is still to be told."`
	Replay  webhookReplayCmd  `cmd:"" help:"Tell again what was given up."`
}

// oneWebhook is what the verbs about one webhook have in common.
type oneWebhook struct {
	ID string `arg:"" name:"id" help:"The webhook's id."`
	appFlag
	clientFlags
	jsonFlag
}

// call makes a call below the webhook, and decodes the answer into into.
func (c *oneWebhook) call(ctx context.Context, method, below string, body, into any, opts *carillon.CallOptions) (*caller, error) {
	api, app, err := c.open(ctx, &c.clientFlags, "")
	if err != nil {
		return nil, err
	}
	path := "/v1/apps/" + url.PathEscape(app) + "/webhooks/" + url.PathEscape(c.ID) + below
	return api, api.Call(ctx, method, path, body, into, opts)
}

type webhookAddCmd struct {
	URL    string   `arg:"" name:"url" help:"Where to post events."`
	Events []string `name:"event" placeholder:"NAME" help:"clicked, delivered, dismissed, displayed, dropped, finished, opened, recalled, sent or token_invalid; repeatable; all unless set."`
	appFlag
	clientFlags
	jsonFlag
}

// Help returns what --help says below the flags.
func (webhookAddCmd) Help() string {
	return "Example:\n\n    carillon webhook add https://example.com/push-events --app shop --event delivered --event opened"
}

// Run adds a webhook.
func (c *webhookAddCmd) Run(ctx context.Context, s *streams) error {
	api, app, err := c.open(ctx, &c.clientFlags, "")
	if err != nil {
		return err
	}
	made, err := api.AddWebhook(ctx, app, c.URL, c.Events)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Out, api.answer)
	}
	_, err = fmt.Fprintf(s.Out, "%s\nsecret (not shown again): %s\n", made.ID, made.Secret)
	return err
}

type webhookListCmd struct {
	appFlag
	clientFlags
	jsonFlag
}

// Help returns what --help says below the flags.
func (webhookListCmd) Help() string { return "Example:\n\n    carillon webhook list --app shop" }

// Run lists webhooks.
func (c *webhookListCmd) Run(ctx context.Context, s *streams) error {
	api, app, err := c.open(ctx, &c.clientFlags, "")
	if err != nil {
		return err
	}
	list, err := api.ListWebhooks(ctx, app)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Out, api.answer)
	}
	w := newTable(s.Out)
	w.row("ID", "URL", "EVENTS")
	for _, one := range list.Items {
		w.row(one.ID, one.URL, strings.Join(one.Events, " "))
	}
	return w.flush()
}

type webhookRemoveCmd struct{ oneWebhook }

// Help returns what --help says below the flags.
func (webhookRemoveCmd) Help() string { return "Example:\n\n    carillon webhook remove 1 --app shop" }

// Run removes a webhook.
func (c *webhookRemoveCmd) Run(ctx context.Context, _ *streams) error {
	_, err := c.call(ctx, http.MethodDelete, "", nil, nil, nil)
	return err
}

type webhookBatchesCmd struct {
	Dead bool `name:"dead" help:"Only what was given up after a day."`
	pageFlags
	oneWebhook
}

// Help returns what --help says below the flags.
func (webhookBatchesCmd) Help() string {
	return "Example:\n\n    carillon webhook batches 1 --app shop --dead"
}

// Run lists what a webhook is still to be told.
func (c *webhookBatchesCmd) Run(ctx context.Context, s *streams) error {
	query := url.Values{"limit": {fmt.Sprint(c.Limit)}}
	if c.Cursor != "" {
		query.Set("cursor", c.Cursor)
	}
	if c.Dead {
		query.Set("dead", "true")
	}
	var list carillon.List[carillon.WebhookBatch]
	api, err := c.call(ctx, http.MethodGet, "/batches", nil, &list, &carillon.CallOptions{Query: query})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Out, api.answer)
	}
	w := newTable(s.Out)
	w.row("ID", "CREATED", "EVENTS", "ATTEMPTS", "NEXT", "ERROR")
	for _, b := range list.Items {
		next := localTime(b.Next)
		if b.Dead {
			next = "given up"
		}
		w.row(b.ID, localTime(b.Created), b.Events, b.Attempts, next, b.Error)
	}
	more(s, list.Next)
	return w.flush()
}

type webhookReplayCmd struct {
	Batches []string `name:"batch" placeholder:"ID" help:"Only this batch; repeatable; all that were given up unless set."`
	oneWebhook
}

// Help returns what --help says below the flags.
func (webhookReplayCmd) Help() string { return "Example:\n\n    carillon webhook replay 1 --app shop" }

// Run makes dead batches due again.
func (c *webhookReplayCmd) Run(ctx context.Context, s *streams) error {
	var body any
	if len(c.Batches) > 0 {
		body = map[string][]string{"batches": c.Batches}
	}
	var got struct{ Replayed int }
	api, err := c.call(ctx, http.MethodPost, "/replay", body, &got, nil)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Out, api.answer)
	}
	_, err = fmt.Fprintf(s.Out, "%d told again\n", got.Replayed)
	return err
}

type eventsCmd struct {
	Events []string `name:"event" placeholder:"NAME" help:"Only events of this name; repeatable."`
	appFlag
	clientFlags
	jsonFlag
}

// Help returns what --help says below the flags.
func (eventsCmd) Help() string {
	return "Example:\n\n    carillon events --app shop --event opened"
}

// Run prints events until it is interrupted.
func (c *eventsCmd) Run(ctx context.Context, s *streams) error {
	api, app, err := c.open(ctx, &c.clientFlags, "")
	if err != nil {
		return err
	}
	err = api.FollowEvents(ctx, app, c.Events, func(e carillon.Event) error {
		if c.JSON {
			_, err := fmt.Fprintf(s.Out, "%s\n", e.Raw)
			return err
		}
		why := e.Reason + e.State
		_, err := fmt.Fprintf(s.Out, "%s %s push %s device %s %s\n", e.Time.Local().Format("15:04:05"), e.Event, e.Push, e.Device, why)
		return err
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}
