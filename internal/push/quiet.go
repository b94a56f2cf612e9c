package push

import (
	"strconv"
	"strings"
	"time"
)

// Quiet is a time of day in which notifications wait: from From to To, both since midnight, over midnight if To is before
// From. The zero Quiet is never.
type Quiet struct{ From, To time.Duration }

// ParseQuiet reads "22:00-08:00". "" is the zero Quiet. Invalid for anything else, and for two equal times.
func ParseQuiet(s string) (Quiet, error) {
	if s == "" {
		return Quiet{}, nil
	}
	from, to, ok := strings.Cut(s, "-")
	f, err := time.Parse("15:04", from)
	t, err2 := time.Parse("15:04", to)
	if !ok || err != nil || err2 != nil || f.Equal(t) || len(s) != len("22:00-08:00") {
		return Quiet{}, invalid("", "is two times of day like 22:00-08:00")
	}
	since := func(t time.Time) time.Duration {
		return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute
	}
	return Quiet{since(f), since(t)}, nil
}

// Until returns when the quiet time that t is in ends, and whether it is in one, by what the clock on the wall shows in t's
// location, the device's: an hour that a change of clocks repeats is quiet both times.
func (q Quiet) Until(t time.Time) (end time.Time, in bool) {
	if q == (Quiet{}) {
		return time.Time{}, false
	}
	hour, minute, second := t.Clock()
	of := time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute + time.Duration(second)*time.Second +
		time.Duration(t.Nanosecond())
	overnight, ends := q.To < q.From, 0 // days from now
	switch {
	case overnight && of >= q.From:
		ends = 1
	case overnight && of < q.To, !overnight && of >= q.From && of < q.To:
	default:
		return time.Time{}, false
	}
	date := dateIn(t, t.Location()).AddDate(0, 0, ends)
	first, last, gap := onWall(date, q.To, t.Location())
	switch {
	case !gap.IsZero():
		return gap, true
	case first.After(t):
		return first, true
	}
	return last, true
}

func quietHours(v string) error {
	_, err := ParseQuiet(v)
	return err
}

// CategoryCaps reads the setting cap.categories.
func CategoryCaps(v string) map[string]int {
	all := map[string]int{}
	for part := range strings.SplitSeq(v, ",") {
		name, n, ok := strings.Cut(strings.TrimSpace(part), "=")
		limit, err := strconv.Atoi(n)
		if ok && err == nil {
			all[name] = limit
		}
	}
	return all
}

func categoryCaps(v string) error {
	if v == "" {
		return nil
	}
	parts := strings.Split(v, ",")
	for _, part := range parts {
		name, n, ok := strings.Cut(strings.TrimSpace(part), "=")
		if limit, err := strconv.Atoi(n); !ok || err != nil || limit < 1 || limit > 1000 || !identifier(name) {
			return invalid("", "is a list of category=number, the number from 1 to 1000")
		}
	}
	if len(CategoryCaps(v)) != len(parts) {
		return invalid("", "names a category twice")
	}
	return nil
}

func categories(v string) error {
	if v == "" {
		return nil
	}
	for part := range strings.SplitSeq(v, ",") {
		if !identifier(strings.TrimSpace(part)) {
			return invalid("", "is a list of categories, each of letters, digits, '_', '-' and '.'")
		}
	}
	return nil
}
