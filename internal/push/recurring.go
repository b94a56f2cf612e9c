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
	of := time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute + time.Duration(at.Second())*time.Second
	date, last := dateIn(r.From, zone), dateIn(r.Until, zone)
	if today := dateIn(now, zone); today.After(date) {
		date = today
	}
	var all []time.Time
	for ; !date.After(last) && len(all) < limit; date = date.AddDate(0, 0, 1) {
		if !r.names(date) {
			continue
		}
		t, _, _ := onWall(date, of, zone)
		// A day that a zone leaves out whole, to be on the other side of the date line, has no time of its own.
		if t.After(now) && (len(all) == 0 || t.After(all[len(all)-1])) {
			all = append(all, t)
		}
	}
	return all
}

// names reports whether r fires on a date.
func (r Recurring) names(date time.Time) bool {
	switch r.Every {
	case "week":
		weekday := int(date.Weekday())
		if weekday == 0 {
			weekday = 7
		}
		return slices.Contains(r.On, weekday)
	case "month":
		return slices.Contains(r.On, date.Day())
	}
	return true
}
