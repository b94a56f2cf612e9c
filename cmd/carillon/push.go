package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/carillonpush/carillon/sdk/carillon"
)

type pushCmd struct {
	Send   pushSendCmd   `cmd:"" default:"withargs" help:"Send a message; the word may be left out."`
	Show   pushShowCmd   `cmd:"" help:"Show a push and what became of it."`
	List   pushListCmd   `cmd:"" help:"List pushes, newest first."`
	Why    pushWhyCmd    `cmd:"" help:"Show what became of a push on one device, and why."`
	Cancel pushCancelCmd `cmd:"" help:"Stop what has not left."`
	Pause  pushPauseCmd  `cmd:"" help:"Have nothing more leave until it is resumed."`
	Resume pushResumeCmd `cmd:"" help:"Have a paused push go on."`
	Recall pushRecallCmd `cmd:"" help:"Take a push back, also where it has arrived."`
	Add    pushAddCmd    `cmd:"" help:"Add targets to an open push."`
	Close  pushCloseCmd  `cmd:"" help:"Have an open push take no more targets."`
}

type pushSendCmd struct {
	audienceFlags `group:"Audience"`
	messageFlags  `group:"Message"`
	policyFlags   `group:"When and how"`
	everyFlags    `group:"When and how"`

	File   string `name:"file" placeholder:"FILE" help:"The request in JSON instead of the message flags; - is standard input."`
	DryRun bool   `name:"dry-run" help:"Send nothing; count whom it would reach now."`
	Open   bool   `name:"open" help:"Targets are added later, with push add, and each is sent to at once."`
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
	Template    string            `name:"template" placeholder:"NAME" help:"The template that gives title and text."`
	Values      map[string]string `name:"value" mapsep:"none" placeholder:"NAME=VALUE" help:"A value for one of its placeholders; repeatable."`
	Extras      map[string]string `name:"extra" mapsep:"none" placeholder:"KEY=VALUE" help:"A key of your own beside the message; repeatable."`
}

// policyFlags say when, how long and under which names.
type policyFlags struct {
	TTL        string `name:"ttl" placeholder:"DURATION" help:"How long it waits for devices that are away: 90s, 72h, 7d; 72h unless set."`
	StartAt    string `name:"start-at" placeholder:"TIME" help:"When to send, RFC 3339; now unless set."`
	Rate       *int   `name:"rate" placeholder:"N" help:"Devices a second; no limit unless set."`
	NowOrNever bool   `name:"now-or-never" help:"Do not keep it for devices that are away."`
	Test       bool   `name:"test" help:"To test devices only."`
	Quiet      string `name:"quiet" placeholder:"WHAT" help:"What to do in quiet hours: hold, drop or ignore; what the app says unless set."`
	Network    string `name:"network" placeholder:"WHICH" help:"Only while a device is on this network: wifi or mobile."`
	CollapseID string `name:"collapse-id" placeholder:"ID" help:"Takes the place of what waits under the same id."`
	labelFlags
}

// labelFlags are names under which a push is found and counted.
type labelFlags struct {
	Name     string `name:"name" placeholder:"TEXT" help:"A name for reports."`
	Group    string `name:"group" placeholder:"TEXT" help:"A name that several pushes share in reports."`
	Topic    string `name:"topic" placeholder:"TEXT" help:"Another such name."`
	Category string `name:"category" placeholder:"TEXT" help:"What sort of message it is, for caps."`
}

// everyFlags have a push sent again and again.
type everyFlags struct {
	Every string `name:"every" placeholder:"WHAT" help:"Send it every day, week or month."`
	On    []int  `name:"on" placeholder:"DAY" help:"Of week: 1 (Monday) to 7; of month: 1 to 31; repeatable."`
	At    string `name:"at" placeholder:"HH:MM:SS" help:"At this time of day, in the app's time zone."`
	From  string `name:"from" placeholder:"DATE" help:"The first day, like 2026-12-01; today unless set."`
	Until string `name:"until" placeholder:"DATE" help:"The last day."`
}

// Help returns what --help says below the flags.
func (pushCmd) Help() string {
	return `Examples:

    carillon push --app shop --all --title 开门
    carillon push show 187649984473770 --app shop
    carillon push why 187649984473770 5f0c8c0e9f6b1f2d4a7e3b5c6d8e9f01 --app shop
    carillon push recall 187649984473770 --app shop`
}

// Help returns what --help says below the flags.
func (pushSendCmd) Help() string {
	return `Examples:

    carillon push --app shop --to 5f0c8c0e9f6b1f2d4a7e3b5c6d8e9f01 --title 开门 --body ready
    carillon push --app shop --all --title "To all" --url https://example.com --dry-run
    carillon push --app shop --tag vip --tag staff --title 开门
    carillon push --app shop --alias uid=42 --alias uid=43 --title 开门
    carillon push --app shop --where '{"and": [{"tag": "vip"}, {"not": {"active_within": "30d"}}]}' --title 'Back again?'
    carillon push --app shop --all --template sale --value off=20% --rate 1000 --group spring
    carillon push --app shop --tag vip --title 早安 --every week --on 1 --on 5 --at 08:30:00 --until 2027-03-01
    carillon push --app shop --open --title 开门          # then: carillon push add ID --to DEVICE, carillon push close ID
    carillon push --app shop --file push.json --idempotency-key order-42`
}

// Run sends, or counts.
func (c *pushSendCmd) Run(ctx context.Context, s *streams) error {
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
	return printPush(s, p)
}

// body returns the request: the file as it is, so that the node sees and names what it does not know, or the flags.
func (c *pushSendCmd) body(stdin io.Reader) (any, error) {
	if c.File == "" {
		return c.request(stdin)
	}
	plain := c.OfAlias == nil && reflect.ValueOf(c.messageFlags).IsZero() && reflect.ValueOf(c.policyFlags).IsZero() &&
		reflect.ValueOf(c.everyFlags).IsZero() && !c.Open
	if len(c.forms()) > 0 || !plain {
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
func (c *pushSendCmd) request(stdin io.Reader) (r carillon.PushRequest, err error) {
	if r.Open = c.Open; !c.Open || len(c.forms()) > 0 {
		if r.Audience, err = c.audience(stdin); err != nil {
			return r, err
		}
	}
	if err := c.message(&r); err != nil {
		return r, err
	}
	return r, c.policy(&r.Policy)
}

// message puts what the flags say into r.
func (c *pushSendCmd) message(r *carillon.PushRequest) (err error) {
	if c.Title != "" || c.Body != "" {
		r.Message.Notification = &carillon.Notification{Title: c.Title, Body: c.Body}
		if c.URL != "" {
			r.Message.Notification.Click = &carillon.Click{Action: "url", URL: c.URL}
		}
	} else if c.URL != "" {
		return usage("--url goes with --title or --body")
	}
	if c.MessageData != "" {
		if !json.Valid([]byte(c.MessageData)) {
			return usage("--message-data: %q is not JSON; a text needs quotes: '\"text\"'", c.MessageData)
		}
		r.Message.Data = json.RawMessage(c.MessageData)
	}
	if c.Template != "" {
		r.Message.Template = &carillon.TemplateUse{Name: c.Template, Values: c.Values}
	} else if len(c.Values) > 0 {
		return usage("--value goes with --template")
	}
	if r.Message.Notification == nil && r.Message.Data == nil && r.Message.Template == nil {
		return usage("say what to send: --title, --body, --template or --message-data")
	}
	for k, v := range c.Extras {
		if r.Message.Extras == nil {
			r.Message.Extras = map[string]json.RawMessage{}
		}
		if r.Message.Extras[k], err = textJSON("--extra", v); err != nil {
			return err
		}
	}
	return nil
}

// policy puts what the flags say into p.
func (c *pushSendCmd) policy(p *carillon.Policy) error {
	if c.TTL != "" {
		if err := p.TTL.UnmarshalText([]byte(c.TTL)); err != nil {
			return usage("--ttl: %w", err)
		}
	}
	if c.StartAt != "" {
		t, err := time.Parse(time.RFC3339, strings.Replace(c.StartAt, " ", "T", 1))
		if err != nil {
			return usage("--start-at: %q is not a time like 2026-11-25T09:00:00+08:00", c.StartAt)
		}
		p.StartAt = &t
	}
	if c.Rate != nil {
		if p.Rate = *c.Rate; p.Rate < 1 {
			return usage("--rate is at least 1; leave it out for no limit")
		}
	}
	if c.NowOrNever {
		p.StoreOffline = new(bool)
	}
	p.Test, p.Quiet, p.Network, p.CollapseID = c.Test, c.Quiet, c.Network, c.CollapseID
	p.Name, p.Group, p.Topic, p.Category = c.Name, c.Group, c.Topic, c.Category
	return c.recurring(p)
}

// recurring puts what the flags say of again and again into p.
func (f *everyFlags) recurring(p *carillon.Policy) error {
	switch {
	case f.Every == "" && !reflect.ValueOf(*f).IsZero():
		return usage("--on, --at, --from and --until go with --every")
	case f.Every == "":
		return nil
	case f.At == "" || f.Until == "":
		return usage("--every needs --at and --until")
	}
	r := carillon.Recurring{Every: f.Every, On: f.On, At: f.At, From: time.Now()}
	var err error
	if f.From != "" {
		if r.From, err = onDay("--from", f.From); err != nil {
			return err
		}
	}
	r.Until, err = onDay("--until", f.Until)
	p.Recurring = &r
	return err
}

// onDay returns a moment of a day. What counts is the day in the app's time zone, and at ten in UTC it is the same day from
// Hawaii to Tonga.
func onDay(flag, day string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return t, usage("%s: %q is not a day like 2026-12-01", flag, day)
	}
	return t.Add(10 * time.Hour), nil
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
