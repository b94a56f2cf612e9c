package push

import "time"

// dateIn returns the calendar day of t in zone, as midnight in UTC: days are counted in UTC, which has each of them once.
func dateIn(t time.Time, zone *time.Location) time.Time {
	y, m, d := t.In(zone).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

// onWall returns when the clock on the wall in zone shows a time of day on a date, which is as dateIn returns it: first and
// last, which differ where a change of clocks repeats it. A time that a change leaves out is as far after what is left out as
// it is behind its beginning, and gap is then when the change is.
func onWall(date time.Time, of time.Duration, zone *time.Location) (first, last, gap time.Time) {
	wall := date.Add(of)
	// time.Date takes one or the other side of a change, depending on whether the zone is east or west of Greenwich. No zone
	// changes its clocks twice in two days, so what holds a day before and a day after is all that may hold.
	_, before := wall.Add(-day).In(zone).Zone()
	_, after := wall.Add(day).In(zone).Zone()
	at := func(offset int) (t time.Time, shown bool) {
		t = wall.Add(-time.Duration(offset) * time.Second).In(zone)
		_, holds := t.Zone()
		return t, holds == offset
	}
	early, shownEarly := at(before)
	late, shownLate := at(after)
	switch {
	case shownEarly && shownLate:
		return early, late, time.Time{}
	case shownEarly:
		return early, early, time.Time{}
	case shownLate:
		return late, late, time.Time{}
	}
	gap, _ = early.ZoneBounds()
	return early, early, gap
}

// midnight returns when a date, which is as dateIn returns it, begins in zone: one on which midnight is left out begins when
// the clocks have changed.
func midnight(date time.Time, zone *time.Location) time.Time {
	first, _, gap := onWall(date, 0, zone)
	if !gap.IsZero() {
		return gap
	}
	return first
}
