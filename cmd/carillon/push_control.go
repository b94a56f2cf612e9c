package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/carillonpush/carillon/sdk/carillon"
)

// onePush is what the verbs about one push have in common.
type onePush struct {
	ID string `arg:"" name:"id" help:"The push's id."`
	appFlag
	clientFlags
	jsonFlag
}

// call makes a call below the push, and decodes the answer into into.
func (c *onePush) call(ctx context.Context, method, below string, body, into any) (*caller, error) {
	api, app, err := c.open(ctx, &c.clientFlags, "")
	if err != nil {
		return nil, err
	}
	path := "/v1/apps/" + url.PathEscape(app) + "/pushes/" + url.PathEscape(c.ID) + below
	return api, api.Call(ctx, method, path, body, into, nil)
}

// change makes a call that answers the push, and prints it.
func (c *onePush) change(ctx context.Context, s *streams, below string) error {
	var p carillon.Push
	api, err := c.call(ctx, http.MethodPost, below, nil, &p)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Out, api.answer)
	}
	return printPush(s, p)
}

// printPush prints a push on one line.
func printPush(s *streams, p carillon.Push) error {
	when := "until " + localTime(p.Expires)
	if p.State == "scheduled" {
		when = "starts " + localTime(p.Start)
	}
	_, err := fmt.Fprintf(s.Out, "%s %s, %s, %s\n", p.ID, p.Kind, p.State, when)
	return err
}

// localTime returns t for people, to the minute; "" for no time.
func localTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04")
}

type pushShowCmd struct{ onePush }

// Help returns what --help says below the flags.
func (pushShowCmd) Help() string {
	return "Example:\n\n    carillon push show 187649984473770 --app shop"
}

// Run shows a push with its report.
func (c *pushShowCmd) Run(ctx context.Context, s *streams) error {
	var r carillon.PushReport
	api, err := c.call(ctx, http.MethodGet, "", nil, &r)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Out, api.answer)
	}
	w := newTable(s.Out)
	w.row("push", r.ID, r.Kind, r.State)
	w.row("start", localTime(r.Start))
	w.row("until", localTime(r.Expires))
	if r.Reason != "" {
		w.row("reason", r.Reason)
	}
	for _, n := range []struct {
		name  string
		count int
	}{
		{"target", r.Target},
		{"sent", r.Sent},
		{"delivered", r.Delivered},
		{"displayed", r.Displayed},
		{"opened", r.Opened},
		{"clicked", r.Clicked},
		{"dismissed", r.Dismissed},
		{"pending", r.Pending},
	} {
		w.row(n.name, n.count)
	}
	for _, reason := range sortedKeys(r.Dropped) {
		w.row("dropped, "+reason, r.Dropped[reason])
	}
	if r.Recall != nil {
		w.row("recall", recallText(*r.Recall))
	}
	return w.flush()
}

type pushListCmd struct {
	pageFlags
	appFlag
	clientFlags
	jsonFlag
}

// Help returns what --help says below the flags.
func (pushListCmd) Help() string { return "Example:\n\n    carillon push list --app shop --limit 20" }

// Run lists pushes.
func (c *pushListCmd) Run(ctx context.Context, s *streams) error {
	api, app, err := c.open(ctx, &c.clientFlags, "")
	if err != nil {
		return err
	}
	list, err := api.ListPushes(ctx, app, c.page())
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Out, api.answer)
	}
	w := newTable(s.Out)
	w.row("ID", "KIND", "STATE", "START", "UNTIL")
	for _, p := range list.Items {
		w.row(p.ID, p.Kind, p.State, localTime(p.Start), localTime(p.Expires))
	}
	more(s, list.Next)
	return w.flush()
}

type pushWhyCmd struct {
	ID     string `arg:"" name:"id" help:"The push's id."`
	Device string `arg:"" name:"device" help:"The device, by any of its names."`
	appFlag
	clientFlags
	jsonFlag
}

// Help returns what --help says below the flags.
func (pushWhyCmd) Help() string {
	return "Example:\n\n    carillon push why 187649984473770 5f0c8c0e9f6b1f2d4a7e3b5c6d8e9f01 --app shop"
}

// Run shows the account of one push on one device.
func (c *pushWhyCmd) Run(ctx context.Context, s *streams) error {
	one := onePush{ID: c.ID, appFlag: c.appFlag, clientFlags: c.clientFlags}
	var a carillon.Account
	api, err := one.call(ctx, http.MethodGet, "/devices/"+url.PathEscape(c.Device), nil, &a)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Out, api.answer)
	}
	if _, err := fmt.Fprintln(s.Out, a.State); err != nil {
		return err
	}
	w := newTable(s.Out)
	for _, step := range a.Steps {
		at := ""
		if !step.Time.IsZero() {
			at = step.Time.Local().Format("2006-01-02 15:04:05")
		}
		why := step.Reason
		for _, part := range []string{step.Channel, step.Leaf, step.Push} {
			if part != "" {
				why += " " + part
			}
		}
		w.row(at, step.Step, why)
	}
	return w.flush()
}

type pushCancelCmd struct{ onePush }

// Help returns what --help says below the flags.
func (pushCancelCmd) Help() string {
	return "Example:\n\n    carillon push cancel 187649984473770 --app shop"
}

// Run cancels a push.
func (c *pushCancelCmd) Run(ctx context.Context, s *streams) error {
	return c.change(ctx, s, "/cancel")
}

type pushPauseCmd struct{ onePush }

// Help returns what --help says below the flags.
func (pushPauseCmd) Help() string {
	return "Example:\n\n    carillon push pause 187649984473770 --app shop"
}

// Run pauses a push.
func (c *pushPauseCmd) Run(ctx context.Context, s *streams) error { return c.change(ctx, s, "/pause") }

type pushResumeCmd struct{ onePush }

// Help returns what --help says below the flags.
func (pushResumeCmd) Help() string {
	return "Example:\n\n    carillon push resume 187649984473770 --app shop"
}

// Run resumes a push.
func (c *pushResumeCmd) Run(ctx context.Context, s *streams) error {
	return c.change(ctx, s, "/resume")
}

type pushCloseCmd struct{ onePush }

// Help returns what --help says below the flags.
func (pushCloseCmd) Help() string {
	return "Example:\n\n    carillon push close 187649984473770 --app shop"
}

// Run closes an open push.
func (c *pushCloseCmd) Run(ctx context.Context, s *streams) error { return c.change(ctx, s, "/close") }

type pushRecallCmd struct {
	Devices []string `name:"from" placeholder:"DEVICE" help:"Only from this device; repeatable."`
	onePush
}

// Help returns what --help says below the flags.
func (pushRecallCmd) Help() string {
	return "Example:\n\n    carillon push recall 187649984473770 --app shop --from 5f0c8c0e9f6b1f2d4a7e3b5c6d8e9f01"
}

// Run takes a push back.
func (c *pushRecallCmd) Run(ctx context.Context, s *streams) error {
	var body any
	if len(c.Devices) > 0 {
		body = map[string][]string{"devices": c.Devices}
	}
	var r carillon.Recall
	api, err := c.call(ctx, http.MethodPost, "/recall", body, &r)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Out, api.answer)
	}
	_, err = fmt.Fprintln(s.Out, recallText(r))
	return err
}

// recallText says for how many devices a recall holds.
func recallText(r carillon.Recall) string {
	return fmt.Sprintf("%d stopped, %d recalled, %d confirmed, %d too late", r.Stopped, r.Recalled, r.Confirmed, r.TooLate)
}

type pushAddCmd struct {
	audienceFlags `group:"Audience"`
	onePush
}

// Help returns what --help says below the flags.
func (pushAddCmd) Help() string {
	return "Example:\n\n    carillon push add 187649984473770 --app shop --to 5f0c8c0e9f6b1f2d4a7e3b5c6d8e9f01 --to 81372904812733441"
}

// Run adds targets to an open push.
func (c *pushAddCmd) Run(ctx context.Context, s *streams) error {
	a, err := c.audience(s.In)
	if err != nil {
		return err
	}
	var got struct{ Target, Added, Unknown int }
	api, err := c.call(ctx, http.MethodPost, "/targets", a, &got)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Out, api.answer)
	}
	_, err = fmt.Fprintf(s.Out, "%d added, %d in all, %d names are no device\n", got.Added, got.Target, got.Unknown)
	return err
}
