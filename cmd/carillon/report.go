package main

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/carillonpush/carillon/sdk/carillon"
)

type reportCmd struct {
	Pushes  reportPushesCmd  `cmd:"" help:"Sum up pushes."`
	Devices reportDevicesCmd `cmd:"" help:"Count devices by day."`
}

// periodFlags say from which day to which.
type periodFlags struct {
	From string `name:"from" placeholder:"DATE" help:"The first day, like 2026-11-01; 30 days back unless set."`
	To   string `name:"to" placeholder:"DATE" help:"The last day; today unless set."`
}

func (f periodFlags) query() url.Values {
	q := url.Values{}
	if f.From != "" {
		q.Set("from", f.From)
	}
	if f.To != "" {
		q.Set("to", f.To)
	}
	return q
}

type reportPushesCmd struct {
	By    string  `name:"by" default:"app" enum:"app,group,topic,template,origin,channel" placeholder:"WHAT" help:"By app, group, topic, template, origin or channel."`
	Name  *string `name:"name" placeholder:"NAME" help:"Only of this group, topic, …"`
	Daily bool    `name:"daily" help:"Each day for itself."`
	periodFlags
	appFlag
	clientFlags
	jsonFlag
}

// Help returns what --help says below the flags.
func (reportPushesCmd) Help() string {
	return `Examples:

    carillon report pushes --app shop --daily
    carillon report pushes --app shop --by group --from 2026-11-01`
}

// Run sums up pushes.
func (c *reportPushesCmd) Run(ctx context.Context, s *streams) error {
	q := c.query()
	q.Set("by", c.By)
	if c.Name != nil {
		q.Set("name", *c.Name)
	}
	if c.Daily {
		q.Set("daily", "true")
	}
	var list carillon.List[carillon.Totals]
	if done, err := report(ctx, s, c.appFlag, &c.clientFlags, "pushes", q, &list, c.JSON); done || err != nil {
		return err
	}
	w := newTable(s.Out)
	w.row("DAY", strings.ToUpper(c.By), "PUSHES", "TARGET", "DELIVERED", "OPENED", "PENDING", "DROPPED")
	for _, t := range list.Items {
		dropped := 0
		for _, n := range t.Dropped {
			dropped += n
		}
		w.row(t.Day, t.Name, t.Pushes, t.Target, t.Delivered, t.Opened, t.Pending, dropped)
	}
	return w.flush()
}

type reportDevicesCmd struct {
	periodFlags
	appFlag
	clientFlags
	jsonFlag
}

// Help returns what --help says below the flags.
func (reportDevicesCmd) Help() string { return "Example:\n\n    carillon report devices --app shop" }

// Run counts devices by day.
func (c *reportDevicesCmd) Run(ctx context.Context, s *streams) error {
	var list carillon.List[carillon.DeviceDay]
	if done, err := report(ctx, s, c.appFlag, &c.clientFlags, "devices", c.query(), &list, c.JSON); done || err != nil {
		return err
	}
	w := newTable(s.Out)
	w.row("DAY", "NEW", "REMOVED", "ACTIVE", "ONLINE PEAK", "TOTAL", "CUMULATIVE")
	for _, d := range list.Items {
		w.row(d.Day, d.New, d.Removed, d.Active, d.OnlinePeak, d.Total, d.Cumulative)
	}
	return w.flush()
}

// report asks for a report, and prints its JSON if that is wanted; then it is done.
func report(ctx context.Context, s *streams, f appFlag, flags *clientFlags, name string, q url.Values, into any, asJSON bool) (done bool, err error) {
	api, app, err := f.open(ctx, flags, "")
	if err != nil {
		return false, err
	}
	path := "/v1/apps/" + url.PathEscape(app) + "/reports/" + name
	if err := api.Call(ctx, http.MethodGet, path, nil, into, &carillon.CallOptions{Query: q}); err != nil || !asJSON {
		return false, err
	}
	return true, printJSON(s.Out, api.answer)
}
