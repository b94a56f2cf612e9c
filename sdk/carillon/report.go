package carillon

import (
	"context"
	"net/http"
	"net/url"
)

// Totals are the sums of the reports of some pushes. Messages that recall others count in none.
type Totals struct {
	Name   string `json:"name"` // what they are of
	Day    string `json:"day"`  // "2026-11-25", in the app's time zone; "" is all days together
	Pushes int    `json:"pushes"`
	Report
}

// DailyTotals are the sums of a group or a topic, and those of each day on which a push of it started.
type DailyTotals struct {
	Totals
	Days []Totals `json:"days"`
}

// A DeviceDay is the devices of an app on one day.
type DeviceDay struct {
	Day        string `json:"day"`         // "2026-11-25", in the app's time zone
	New        int    `json:"new"`         // registered or imported on it
	Removed    int    `json:"removed"`     // on it
	Active     int    `json:"active"`      // different devices that were connected, or called, on it
	OnlinePeak int    `json:"online_peak"` // the most that were connected at once
	Total      int    `json:"total"`       // registered at its end
	Cumulative int    `json:"cumulative"`  // ever registered until its end
}

// Days are days from one to another, both included, as "2026-11-25" in the app's time zone. An empty To is today; an empty
// From makes them 30 days. They are at most 366.
type Days struct{ From, To string }

func (d Days) query() url.Values {
	q := url.Values{}
	if d.From != "" {
		q.Set("from", d.From)
	}
	if d.To != "" {
		q.Set("to", d.To)
	}
	return q
}

// A TotalsQuery says which pushes PushTotals sums up.
type TotalsQuery struct {
	By    string  // app, group, topic, template, origin or channel; "" is app
	Name  *string // only this one; nil is every name
	Days          // on which they started
	Daily bool    // each day for itself
}

// PushTotals returns sums of pushes, in order of names and then of days.
func (c *Client) PushTotals(ctx context.Context, app string, query TotalsQuery) ([]Totals, error) {
	q := query.query()
	if query.By != "" {
		q.Set("by", query.By)
	}
	if query.Name != nil {
		q.Set("name", *query.Name)
	}
	if query.Daily {
		q.Set("daily", "true")
	}
	var list List[Totals]
	err := c.Call(ctx, http.MethodGet, appPath(app, "reports", "pushes"), nil, &list, &CallOptions{Query: q})
	return list.Items, err
}

// DeviceDays returns the devices of an app by day.
func (c *Client) DeviceDays(ctx context.Context, app string, days Days) ([]DeviceDay, error) {
	var list List[DeviceDay]
	err := c.Call(ctx, http.MethodGet, appPath(app, "reports", "devices"), nil, &list, &CallOptions{Query: days.query()})
	return list.Items, err
}

// ListGroups returns one page of the groups that pushes of the app ever had, in order of names, each over all days.
func (c *Client) ListGroups(ctx context.Context, app string, page Page) (list List[Totals], err error) {
	err = c.Call(ctx, http.MethodGet, appPath(app, "groups"), nil, &list, page.options())
	return list, err
}

// ShowGroup returns the sums of a group.
func (c *Client) ShowGroup(ctx context.Context, app, name string) (t DailyTotals, err error) {
	err = c.Call(ctx, http.MethodGet, appPath(app, "groups", name), nil, &t, nil)
	return t, err
}

// ListTopics returns one page of the topics that pushes of the app ever had, in order of names, each over all days.
func (c *Client) ListTopics(ctx context.Context, app string, page Page) (list List[Totals], err error) {
	err = c.Call(ctx, http.MethodGet, appPath(app, "topics"), nil, &list, page.options())
	return list, err
}

// ShowTopic returns the sums of a topic.
func (c *Client) ShowTopic(ctx context.Context, app, name string) (t DailyTotals, err error) {
	err = c.Call(ctx, http.MethodGet, appPath(app, "topics", name), nil, &t, nil)
	return t, err
}
