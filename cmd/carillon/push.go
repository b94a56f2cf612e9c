package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/carillonpush/carillon/sdk/carillon"
)

type pushCmd struct {
	audienceFlags `group:"Audience"`
	messageFlags  `group:"Message"`
	policyFlags   `group:"Message"`

	File   string `name:"file" placeholder:"FILE" help:"The request in JSON instead of the message flags; - is standard input."`
	DryRun bool   `name:"dry-run" help:"Send nothing; count whom it would reach now."`
	Key    string `name:"idempotency-key" placeholder:"KEY" help:"Makes a repeat of this command send nothing more."`
	appFlag
	clientFlags
	jsonFlag
}

// messageFlags say what is sent.
type messageFlags struct {
	Title       string            `name:"title" placeholder:"TEXT" help:"Title of a notification."`
	Body        string            `name:"body" placeholder:"TEXT" help:"Its text."`
	URL         string            `name:"url" placeholder:"URL" help:"What touching it opens; the app unless set."`
	MessageData string            `name:"message-data" placeholder:"JSON" help:"Any JSON value, passed through to the app."`
	Extras      map[string]string `name:"extra" mapsep:"none" placeholder:"KEY=VALUE" help:"A key of your own beside the message; repeatable."`
}

// policyFlags say when, how long and under which names.
type policyFlags struct {
	TTL     string `name:"ttl" placeholder:"DURATION" help:"How long it waits for devices that are away: 90s, 72h, 7d; 72h unless set."`
	StartAt string `name:"start-at" placeholder:"TIME" help:"When to send, RFC 3339; now unless set."`
	Name    string `name:"name" placeholder:"TEXT" help:"A name for reports."`
	Group   string `name:"group" placeholder:"TEXT" help:"A name that several pushes share in reports."`
}

// Help returns what --help says below the flags.
func (pushCmd) Help() string {
	return `Examples:

    carillon push --app shop --to 5f0c8c0e9f6b1f2d4a7e3b5c6d8e9f01 --title 开门 --body ready
    carillon push --app shop --all --title "To all" --url https://example.com --dry-run
    carillon push --app shop --tag vip --tag staff --title 开门
    carillon push --app shop --alias uid=42 --alias uid=43 --title 开门
    carillon push --app shop --where '{"and": [{"tag": "vip"}, {"not": {"active_within": "30d"}}]}' --title 'Back again?'
    carillon push --app shop --file push.json --idempotency-key order-42`
}

// Run sends, or counts.
func (c *pushCmd) Run(ctx context.Context, s *streams) error {
	body, err := c.body(s.In)
	if err != nil {
		return err
	}
	api, app, err := c.open(ctx, &c.clientFlags, "")
	if err != nil {
		return err
	}
	opts := &carillon.CallOptions{IdempotencyKey: c.Key}
	path := "/v1/apps/" + url.PathEscape(app) + "/pushes"
	if c.DryRun {
		opts.Query = url.Values{"dry_run": {"true"}}
		var n carillon.Count
		began := time.Now()
		if err := api.Call(ctx, http.MethodPost, path, body, &n, opts); err != nil {
			return err
		}
		took := time.Since(began)
		if c.JSON {
			return printJSON(s.Out, api.answer)
		}
		return printCount(s, n, took)
	}
	var p carillon.Push
	if err := api.Call(ctx, http.MethodPost, path, body, &p, opts); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Out, api.answer)
	}
	_, err = fmt.Fprintf(s.Out, "%s %s, %s, until %s\n", p.ID, p.Kind, p.State, p.Expires.Local().Format("2006-01-02 15:04"))
	return err
}

// body returns the request: the file as it is, so that the node sees and names what it does not know, or the flags.
func (c *pushCmd) body(stdin io.Reader) (any, error) {
	if c.File == "" {
		return c.request(stdin)
	}
	if len(c.forms()) > 0 || c.OfAlias != nil || c.Title+c.Body+c.URL+c.MessageData+c.TTL+c.StartAt+c.Name+c.Group != "" || len(c.Extras) > 0 {
		return nil, usage("--file goes without the flags that say what to send")
	}
	b, err := readFile(c.File, stdin)
	if err != nil {
		return nil, fmt.Errorf("--file: %w", err)
	}
	if !json.Valid(b) {
		return nil, usage("--file: %s is not JSON", c.File)
	}
	return json.RawMessage(b), nil
}

// textJSON returns the text that a flag gives as JSON, which has no other text.
func textJSON(flag, text string) (json.RawMessage, error) {
	if !utf8.ValidString(text) {
		return nil, usage("%s: the text is not UTF-8", flag)
	}
	return json.Marshal(text)
}

func readFile(name string, stdin io.Reader) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(name)
}

// request returns what the flags say.
func (c *pushCmd) request(stdin io.Reader) (r carillon.PushRequest, err error) {
	if r.Audience, err = c.audience(stdin); err != nil {
		return r, err
	}
	if c.Title != "" || c.Body != "" {
		r.Message.Notification = &carillon.Notification{Title: c.Title, Body: c.Body}
		if c.URL != "" {
			r.Message.Notification.Click = &carillon.Click{Action: "url", URL: c.URL}
		}
	} else if c.URL != "" {
		return r, usage("--url goes with --title or --body")
	}
	if c.MessageData != "" {
		if !json.Valid([]byte(c.MessageData)) {
			return r, usage("--message-data: %q is not JSON; a text needs quotes: '\"text\"'", c.MessageData)
		}
		r.Message.Data = json.RawMessage(c.MessageData)
	}
	if r.Message.Notification == nil && r.Message.Data == nil {
		return r, usage("say what to send: --title, --body or --message-data")
	}
	for k, v := range c.Extras {
		if r.Message.Extras == nil {
			r.Message.Extras = map[string]json.RawMessage{}
		}
		if r.Message.Extras[k], err = textJSON("--extra", v); err != nil {
			return r, err
		}
	}
	if c.TTL != "" {
		if err := r.Policy.TTL.UnmarshalText([]byte(c.TTL)); err != nil {
			return r, usage("--ttl: %w", err)
		}
	}
	if c.StartAt != "" {
		t, err := time.Parse(time.RFC3339, strings.Replace(c.StartAt, " ", "T", 1))
		if err != nil {
			return r, usage("--start-at: %q is not a time like 2026-11-25T09:00:00+08:00", c.StartAt)
		}
		r.Policy.StartAt = &t
	}
	r.Policy.Name, r.Policy.Group = c.Name, c.Group
	return r, nil
}

// printCount prints whom a dry run found, and how long the answer took.
func printCount(s *streams, n carillon.Count, took time.Duration) error {
	w := newTable(s.Out)
	w.row("target", n.Target)
	if n.Unknown > 0 {
		w.row("unknown", n.Unknown)
	}
	w.row("online", n.Online)
	for _, p := range sortedKeys(n.Platforms) {
		w.row(p, n.Platforms[p])
	}
	for _, c := range sortedKeys(n.Channels) {
		w.row("channel "+c, n.Channels[c])
	}
	if n.Blacklisted > 0 {
		w.row("blacklisted", n.Blacklisted)
	}
	if n.OverLimit > 0 {
		w.row("over limit", n.OverLimit)
	}
	w.row("took", shortly(took))
	return w.flush()
}
