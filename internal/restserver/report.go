package restserver

import (
	"context"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillonpush/carillon/internal/push"
)

// DailyTotals are the sums of a group or a topic, over all days and for each.
type DailyTotals struct {
	push.Totals
	Days []push.Totals `json:"days"`
}

// Spans of days that reports are of.
const (
	defaultDays = 30
	maxDays     = 366
)

// reportRoutes registers sums over many pushes, and devices by day.
func (s *Server) reportRoutes() {
	const tag = "Reports"
	for _, g := range []struct {
		path, id, noun string
		by             push.Dimension
	}{{"groups", "group", "a group", push.ByGroup}, {"topics", "topic", "a topic", push.ByTopic}} {
		handle(s, route{
			method: http.MethodGet, path: "/v1/apps/{app}/" + g.path, id: "list-" + g.path, tag: tag, access: sender,
			summary: "List " + g.path, doc: "In order of names: all that pushes ever had, each with its sums over all days.",
			params:  pageParams(),
			answers: []answer{{http.StatusOK, List[push.Totals]{}, "One page."}},
		}, s.listTotals(g.by))
		handle(s, route{
			method: http.MethodGet, path: "/v1/apps/{app}/" + g.path + "/{name}", id: "show-" + g.id, tag: tag, access: sender,
			summary: "Show " + g.noun, doc: "The sums of its pushes over all days, and for each day on which one started.",
			answers: []answer{{http.StatusOK, DailyTotals{}, "The sums."}},
		}, s.showTotals(g.by, "no push has such "+g.noun))
	}
	by := queryParam("by", "By what pushes are summed up. Default app.", huma.TypeString)
	by.Schema.Enum = anyOf(push.Dimensions())
	handle(s, route{
		method: http.MethodGet, path: "/v1/apps/{app}/reports/pushes", id: "report-pushes", tag: tag, access: sender,
		summary: "Sum up pushes",
		doc: "The sums of the pushes that started in a span of days, by app, group, topic, template, origin or channel, in order of names " +
			"and then of days. Messages that recall others count in none.",
		params: append([]*huma.Param{
			by, queryParam("name", "Only the pushes of this name.", huma.TypeString),
			queryParam("daily", "true: each day for itself.", huma.TypeBoolean),
		}, daysParams()...),
		answers: []answer{{http.StatusOK, List[push.Totals]{}, "The sums."}},
	}, s.reportPushes)
	handle(s, route{
		method: http.MethodGet, path: "/v1/apps/{app}/reports/devices", id: "report-devices", tag: tag, access: sender,
		summary: "Count devices by day", doc: "New, removed, active and connected devices of each day, in order.",
		params:  daysParams(),
		answers: []answer{{http.StatusOK, List[push.DeviceDay]{}, "The days."}},
	}, s.reportDevices)
}

// daysParams returns the parameters of a span of days.
func daysParams() []*huma.Param {
	from := queryParam("from", "The first day, 2026-11-25, in the app's time zone. Default 30 days with the last.", huma.TypeString)
	to := queryParam("to", "The last day; at most 366 with the first. Default today.", huma.TypeString)
	from.Schema.Format, to.Schema.Format = "date", "date"
	return []*huma.Param{from, to}
}

// listTotals returns the handler that lists the sums of all names of a dimension.
func (s *Server) listTotals(by push.Dimension) func(context.Context, *call, *none) (any, error) {
	return func(ctx context.Context, c *call, _ *none) (any, error) {
		all, err := s.totals(ctx, c, by, nil, 0, math.MaxInt32, false)
		if err != nil {
			return nil, err
		}
		return pageOf(c, all, func(t push.Totals) string { return t.Name })
	}
}

// showTotals returns the handler that answers the sums of one name of a dimension. They are made of the days', so that they
// fit them whatever happens meanwhile.
func (s *Server) showTotals(by push.Dimension, missing string) func(context.Context, *call, *none) (any, error) {
	return func(ctx context.Context, c *call, _ *none) (any, error) {
		name := c.r.PathValue("name")
		days, err := s.totals(ctx, c, by, &name, 0, math.MaxInt32, true)
		switch {
		case err != nil:
			return nil, err
		case len(days) == 0:
			return nil, &push.Error{Kind: push.NotFound, Field: "name", Msg: missing}
		}
		return DailyTotals{sum(name, days), days}, nil
	}
}

// totals returns sums with objects where they have nil maps.
func (s *Server) totals(ctx context.Context, c *call, by push.Dimension, name *string, from, to push.Day, daily bool) ([]push.Totals, error) {
	all, err := s.house.Reports.Totals(ctx, c.app.ID, by, name, from, to, daily)
	if err != nil {
		return nil, err
	}
	all = slices.Clone(all)
	for i := range all {
		all[i].Report = whole(all[i].Report)
	}
	return all, nil
}

// sum returns the sums of days.
func sum(name string, days []push.Totals) push.Totals {
	t := push.Totals{Name: name, Report: whole(push.Report{})}
	for _, d := range days {
		t.Pushes += d.Pushes
		t.Target += d.Target
		t.Sent += d.Sent
		t.Delivered += d.Delivered
		t.Unconfirmed += d.Unconfirmed
		t.Displayed += d.Displayed
		t.Opened += d.Opened
		t.Clicked += d.Clicked
		t.Dismissed += d.Dismissed
		t.Pending += d.Pending
		for reason, n := range d.Dropped {
			t.Dropped[reason] += n
		}
		for channel, n := range d.Channels {
			all := t.Channels[channel]
			all.Sent += n.Sent
			all.Delivered += n.Delivered
			t.Channels[channel] = all
		}
	}
	return t
}

// reportPushes answers sums of pushes.
func (s *Server) reportPushes(ctx context.Context, c *call, _ *none) (any, error) {
	by := push.ByApp
	if v, given := c.query["by"]; given {
		if by = push.Dimension(v[0]); !slices.Contains(push.Dimensions(), by) {
			return nil, invalid("by", "is one of "+texts(push.Dimensions()))
		}
	}
	var name *string
	if v, given := c.query["name"]; given {
		if name = &v[0]; !clean(*name) {
			return nil, invalid("name", "is not UTF-8 without NUL")
		}
	}
	daily, err := c.flag("daily")
	if err != nil {
		return nil, err
	}
	from, to, err := c.days(time.Now())
	if err != nil {
		return nil, err
	}
	all, err := s.totals(ctx, c, by, name, from, to, daily)
	if err != nil {
		return nil, err
	}
	return listOf(all, ""), nil
}

// reportDevices answers the devices by day.
func (s *Server) reportDevices(ctx context.Context, c *call, _ *none) (any, error) {
	from, to, err := c.days(time.Now())
	if err != nil {
		return nil, err
	}
	all, err := s.house.Reports.DeviceDays(ctx, c.app.ID, from, to)
	if err != nil {
		return nil, err
	}
	return listOf(all, ""), nil
}

// days returns the span of days that the query asks for at now.
func (c *call) days(now time.Time) (from, to push.Day, err error) {
	to = push.DayIn(now, c.app.Location())
	if err := c.day("to", &to); err != nil {
		return 0, 0, err
	}
	from = to - defaultDays + 1
	if err := c.day("from", &from); err != nil {
		return 0, 0, err
	}
	switch {
	case from > to:
		return 0, 0, invalid("from", "is after "+to.Date())
	case to-from >= maxDays:
		return 0, 0, invalid("from", "is more than 366 days before "+to.Date())
	}
	return from, to, nil
}

// day reads a day into d, which stays as it is if the query does not have it.
func (c *call) day(name string, d *push.Day) error {
	v, given := c.query[name]
	if !given {
		return nil
	}
	t, err := time.Parse(time.DateOnly, v[0])
	if err != nil {
		return invalid(name, "must be a day like 2026-11-25")
	}
	*d = push.DayOf(t)
	return nil
}

// texts returns names for people.
func texts[T ~string](names []T) string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = string(n)
	}
	return strings.Join(all, ", ")
}
