package push

import (
	"strconv"
	"time"
)

// A Quota is a limit of how much one credential of a dialect may send in a window of time. Its number is an app's setting.
type Quota struct {
	Setting string        // its key in Catalogue, whose value is the limit; 0 is no limit
	Window  time.Duration // Daily: a calendar day; else the time that slides with the clock
	What    string        // for people: "broadcasts a day"
}

// Daily is the window of a Quota that begins anew at midnight in the app's time zone.
const Daily = 24 * time.Hour

// Quotas returns all quotas, ordered by setting. Façades name them in Use.
func Quotas() []Quota {
	return []Quota{
		{"aliyun.all_messages_per_10_minutes", 10 * time.Minute, "messages to all devices in ten minutes"},
		{"aliyun.all_notices_per_10_minutes", 10 * time.Minute, "notices to all devices in ten minutes"},
		{"getui.app_pushes_per_day", Daily, "pushes to an app or a tag a day"},
		{"getui.app_pushes_per_minute", time.Minute, "pushes to an app or a tag a minute"},
		{"getui.list_targets_per_day", Daily, "targets of list pushes a day"},
		{"rest.broadcasts_per_day", Daily, "pushes to all devices a day"},
		{"rest.bulk_pushes_per_minute", time.Minute, "pushes to all devices, an expression or a file a minute"},
		{"rest.pushes_per_minute", time.Minute, "pushes a minute"},
		{"umeng.broadcasts_per_day", Daily, "broadcasts a day"},
		{"umeng.file_sends_per_hour", time.Hour, "filecasts, and customizedcasts with a file, an hour"},
		{"umeng.groupcasts_per_minute", time.Minute, "groupcasts a minute"},
	}
}

// A Use says that a request is counted under a quota.
type Use struct {
	Setting    string // of the Quota
	Credential string // whose: "umeng.android"; each has a quota of its own
	N          int    // how much it uses; 0 means 1
}

// A Charge is a Use with the numbers that hold now.
type Charge struct {
	Name   string        // what the record counts under: credential and setting
	Field  string        // the setting, for the error
	What   string        // for people
	N      int           // at least 1
	Limit  int           // at least 1; the charge fits if what was used in the window and N are not more
	Window time.Duration // of a sliding window
	Since  time.Time     // of a calendar day: when it began. Zero for a sliding window
	Until  time.Time     // of a calendar day: when it ends
}

// Charges returns what uses come to in app at now. What has no limit is left out.
func Charges(uses []Use, app App, now time.Time) []Charge {
	var all []Charge
	for _, u := range uses {
		limit := app.Settings.Int(u.Setting)
		if limit <= 0 {
			continue
		}
		for _, q := range Quotas() {
			if q.Setting != u.Setting {
				continue
			}
			c := Charge{Name: u.Credential + "/" + q.Setting, Field: q.Setting, What: q.What, N: max(1, u.N), Limit: limit, Window: q.Window}
			if q.Window == Daily {
				zone := app.Location()
				today := dateIn(now, zone)
				c.Since, c.Until = midnight(today, zone), midnight(today.AddDate(0, 0, 1), zone)
			}
			all = append(all, c)
		}
	}
	return all
}

// Refusal returns the error for a charge that does not fit; wait is how long until it may.
func (c Charge) Refusal(wait time.Duration) error {
	return &Error{
		Kind: TooMany, Field: c.Field, RetryAfter: max(wait, time.Second),
		Msg: "the quota is used up: " + strconv.Itoa(c.Limit) + " " + c.What,
	}
}
