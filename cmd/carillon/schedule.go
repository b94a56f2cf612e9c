package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/carillonpush/carillon/sdk/carillon"
)

type scheduleCmd struct {
	List        scheduleListCmd        `cmd:"" help:"List what is to be sent later, newest first."`
	Show        scheduleShowCmd        `cmd:"" help:"Show one."`
	Occurrences scheduleOccurrencesCmd `cmd:"" help:"List when it fires, and under which ids."`
	Set         scheduleSetCmd         `cmd:"" help:"Change what is to be sent, or when."`
	Skip        scheduleSkipCmd        `cmd:"" help:"Have one occurrence not fire."`
	Cancel      scheduleCancelCmd      `cmd:"" help:"Have nothing of it fire any more."`
}

// oneSchedule is what the verbs about one schedule have in common.
type oneSchedule struct {
	ID string `arg:"" name:"id" help:"The schedule's id."`
	appFlag
	clientFlags
	jsonFlag
}

// call makes a call below the schedule, and decodes the answer into into.
func (c *oneSchedule) call(ctx context.Context, method, below string, body, into any) (*caller, error) {
	api, app, err := c.open(ctx, &c.clientFlags, "")
	if err != nil {
		return nil, err
	}
	path := "/v1/apps/" + url.PathEscape(app) + "/schedules/" + url.PathEscape(c.ID) + below
	return api, api.Call(ctx, method, path, body, into, nil)
}

// change makes a call that answers the schedule, and prints it.
func (c *oneSchedule) change(ctx context.Context, s *streams, method string, body any) error {
	var got carillon.Schedule
	api, err := c.call(ctx, method, "", body, &got)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Out, api.answer)
	}
	_, err = fmt.Fprintf(s.Out, "%s %s, %s, %d to come%s\n", got.ID, got.Every, got.State, got.Left, nextText(got))
	return err
}

// nextText says when a schedule fires next, after a comma.
func nextText(s carillon.Schedule) string {
	if s.Next.IsZero() {
		return ""
	}
	return ", next " + localTime(s.Next)
}

type scheduleListCmd struct {
	pageFlags
	appFlag
	clientFlags
	jsonFlag
}

// Help returns what --help says below the flags.
func (scheduleListCmd) Help() string { return "Example:\n\n    carillon schedule list --app shop" }

// Run lists schedules.
func (c *scheduleListCmd) Run(ctx context.Context, s *streams) error {
	api, app, err := c.open(ctx, &c.clientFlags, "")
	if err != nil {
		return err
	}
	list, err := api.ListSchedules(ctx, app, c.page())
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Out, api.answer)
	}
	w := newTable(s.Out)
	w.row("ID", "EVERY", "STATE", "NEXT", "LEFT")
	for _, one := range list.Items {
		w.row(one.ID, one.Every, one.State, localTime(one.Next), one.Left)
	}
	more(s, list.Next)
	return w.flush()
}

type scheduleShowCmd struct{ oneSchedule }

// Help returns what --help says below the flags.
func (scheduleShowCmd) Help() string {
	return "Example:\n\n    carillon schedule show 187649984473770 --app shop --json"
}

// Run shows a schedule.
func (c *scheduleShowCmd) Run(ctx context.Context, s *streams) error {
	return c.change(ctx, s, http.MethodGet, nil)
}

type scheduleOccurrencesCmd struct{ oneSchedule }

// Help returns what --help says below the flags.
func (scheduleOccurrencesCmd) Help() string {
	return "Example:\n\n    carillon schedule occurrences 187649984473770 --app shop"
}

// Run lists the occurrences of a schedule.
func (c *scheduleOccurrencesCmd) Run(ctx context.Context, s *streams) error {
	var list carillon.List[carillon.Occurrence]
	api, err := c.call(ctx, http.MethodGet, "/occurrences", nil, &list)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Out, api.answer)
	}
	w := newTable(s.Out)
	w.row("ID", "AT", "STATE")
	for _, o := range list.Items {
		w.row(o.ID, localTime(o.At), o.State)
	}
	return w.flush()
}

type scheduleSetCmd struct {
	File string `name:"file" required:"" placeholder:"FILE" help:"JSON with any of audience, message and policy, each whole; - is standard input."`
	oneSchedule
}

// Help returns what --help says below the flags.
func (scheduleSetCmd) Help() string {
	return "Example:\n\n    carillon schedule set 187649984473770 --app shop --file change.json"
}

// Run changes a schedule.
func (c *scheduleSetCmd) Run(ctx context.Context, s *streams) error {
	b, err := readFile(c.File, s.In)
	if err != nil {
		return fmt.Errorf("--file: %w", err)
	}
	if !json.Valid(b) {
		return usage("--file: %s is not JSON", c.File)
	}
	return c.change(ctx, s, http.MethodPatch, json.RawMessage(b))
}

type scheduleSkipCmd struct {
	Occurrence string `arg:"" name:"occurrence" help:"The occurrence's id."`
	Schedule   string `name:"of" required:"" placeholder:"ID" help:"The schedule that it is of."`
	appFlag
	clientFlags
	jsonFlag
}

// Help returns what --help says below the flags.
func (scheduleSkipCmd) Help() string {
	return "Example:\n\n    carillon schedule skip 187649984473771 --of 187649984473770 --app shop"
}

// Run cancels one occurrence.
func (c *scheduleSkipCmd) Run(ctx context.Context, s *streams) error {
	one := oneSchedule{ID: c.Schedule, appFlag: c.appFlag, clientFlags: c.clientFlags}
	var o carillon.Occurrence
	api, err := one.call(ctx, http.MethodDelete, "/occurrences/"+url.PathEscape(c.Occurrence), nil, &o)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Out, api.answer)
	}
	_, err = fmt.Fprintf(s.Out, "%s at %s, %s\n", o.ID, localTime(o.At), o.State)
	return err
}

type scheduleCancelCmd struct{ oneSchedule }

// Help returns what --help says below the flags.
func (scheduleCancelCmd) Help() string {
	return "Example:\n\n    carillon schedule cancel 187649984473770 --app shop"
}

// Run cancels a schedule.
func (c *scheduleCancelCmd) Run(ctx context.Context, s *streams) error {
	return c.change(ctx, s, http.MethodDelete, nil)
}
