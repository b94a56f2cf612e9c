package push

import (
	"slices"
	"time"
)

// Occurrences returns when r fires after now, in order, at most limit: in zone, on each day that the rule names, from the day
// of From to that of Until, both included. A month without such a day is passed over. A time of day that a change of clocks
// leaves out is as far after the hour that does not exist; one that it repeats is the first of the two.
func (r Recurring) Occurrences(now time.Time, zone *time.Location, limit int) []time.Time {
	at, err := time.Parse(time.TimeOnly, r.At)
	if err != nil {
		return nil
	}
	day, last := r.From.In(zone), r.Until.In(zone)
	if n := now.In(zone); n.After(day) {
		day = n
	}
	day = time.Date(day.Year(), day.Month(), day.Day(), 12, 0, 0, 0, zone) // noon: every day has one
	last = time.Date(last.Year(), last.Month(), last.Day(), 12, 0, 0, 0, zone)
	var all []time.Time
	for ; !day.After(last) && len(all) < limit; day = day.AddDate(0, 0, 1) {
		if !r.names(day) {
			continue
		}
		t := time.Date(day.Year(), day.Month(), day.Day(), at.Hour(), at.Minute(), at.Second(), 0, zone)
		if t.After(now) {
			all = append(all, t)
		}
	}
	return all
}

// names reports whether r fires on day.
func (r Recurring) names(day time.Time) bool {
	switch r.Every {
	case "week":
		weekday := int(day.Weekday())
		if weekday == 0 {
			weekday = 7
		}
		return slices.Contains(r.On, weekday)
	case "month":
		return slices.Contains(r.On, day.Day())
	}
	return true
}
