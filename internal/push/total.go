package push

import "time"

// A Dimension is what totals are kept by.
type Dimension string

// The dimensions. Every push counts in ByApp, ByChannel and ByOrigin, and in the others where it has a name.
const (
	ByApp      Dimension = "app"      // all pushes of the app, under ""
	ByGroup    Dimension = "group"    // Labels.Group
	ByTopic    Dimension = "topic"    // Labels.Topic
	ByTemplate Dimension = "template" // the template's name
	ByOrigin   Dimension = "origin"   // the dialect: "rest", "umeng"
	ByChannel  Dimension = "channel"  // the way out: "own"
)

// Dimensions returns all dimensions.
func Dimensions() []Dimension {
	return []Dimension{ByApp, ByGroup, ByTopic, ByTemplate, ByOrigin, ByChannel}
}

// A Metric is what is counted: a Mark's number for the devices that count under it, or one of those below. Of several
// drops a device counts under one only, and under none if it was delivered to, as in a Report. Numbers are stored.
type Metric uint8

// Metrics that are no marks.
const (
	MetricPushes  Metric = 64
	MetricTarget  Metric = 65 // devices and unknown names
	MetricUnknown Metric = 66
)

// A TotalKey names one set of totals: a day's, under one name of one dimension. Day is that of the push's start in the app's
// time zone.
type TotalKey struct {
	App  AppID
	Day  Day
	By   Dimension
	Name string
}

// A TotalDelta adds to totals. Metrics may sink, too: a device that was dropped may be delivered to yet.
type TotalDelta struct {
	Key    TotalKey
	Metric Metric
	N      int
}

// Totals are the sums of some pushes' reports.
type Totals struct {
	Name   string `json:"name,omitempty"` // what they are of
	Day    string `json:"day,omitempty"`  // "2026-11-25", in the app's time zone; "" is all days
	Pushes int    `json:"pushes"`
	Report
}

// DayIn returns the calendar day of t in zone, numbered as DayOf numbers those of UTC.
func DayIn(t time.Time, zone *time.Location) Day {
	l := t.In(zone)
	return DayOf(time.Date(l.Year(), l.Month(), l.Day(), 0, 0, 0, 0, time.UTC))
}

// Date returns d as "2026-11-25".
func (d Day) Date() string { return time.Unix(int64(d)*24*60*60, 0).UTC().Format(time.DateOnly) }

// Keys returns the totals that a push started at start counts in, but for those by channel.
func (r Request) Keys(day Day) []TotalKey {
	all := []TotalKey{{r.App, day, ByApp, ""}, {r.App, day, ByOrigin, r.Origin}}
	for _, l := range []struct {
		by   Dimension
		name string
	}{{ByGroup, r.Policy.Group}, {ByTopic, r.Policy.Topic}, {ByTemplate, r.Message.templateName()}} {
		if l.name != "" {
			all = append(all, TotalKey{r.App, day, l.by, l.name})
		}
	}
	return all
}

func (m Message) templateName() string {
	if m.Template == nil {
		return ""
	}
	return m.Template.Name
}

// Add adds d to t's report.
func (t *Totals) Add(m Metric, n int) {
	switch m {
	case MetricPushes:
		t.Pushes += n
	case MetricTarget:
		t.Target += n
	case MetricUnknown:
		t.drop(DroppedUnknown, n)
	case Metric(MarkSent):
		t.Sent += n
	case Metric(MarkDelivered):
		t.Delivered += n
	case Metric(MarkUnconfirmed):
		t.Unconfirmed += n
	case Metric(MarkDisplayed):
		t.Displayed += n
	case Metric(MarkOpened):
		t.Opened += n
	case Metric(MarkClicked):
		t.Clicked += n
	case Metric(MarkDismissed):
		t.Dismissed += n
	default:
		if reason := Mark(m).Reason(); reason != "" {
			t.drop(reason, n)
		}
	}
	t.Pending = t.Target - t.Delivered
	for _, dropped := range t.Dropped {
		t.Pending -= dropped
	}
}

func (t *Totals) drop(reason string, n int) {
	if t.Dropped == nil {
		t.Dropped = map[string]int{}
	}
	if t.Dropped[reason] += n; t.Dropped[reason] == 0 {
		delete(t.Dropped, reason)
	}
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
