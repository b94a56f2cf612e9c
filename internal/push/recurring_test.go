package push_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/push"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func TestOccurrences(t *testing.T) {
	const form = "2006-01-02 15:04:05 -07"
	day := func(s string) time.Time {
		d, err := time.Parse(time.DateOnly, s)
		if err != nil {
			t.Fatal(err)
		}
		return d.Add(12 * time.Hour) // noon in UTC is that day from UTC-12 to UTC+11
	}
	for _, tt := range []struct {
		name, zone  string
		every       string
		on          []int
		at          string
		from, until string
		now         string // RFC 3339; "" is the beginning of from
		limit       int    // 0 is 100
		want        []string
	}{
		{"days, both ends included", "UTC", "day", nil, "09:00:00", "2026-11-25", "2026-11-27", "", 0, []string{
			"2026-11-25 09:00:00 +00", "2026-11-26 09:00:00 +00", "2026-11-27 09:00:00 +00",
		}},
		{"one day", "UTC", "day", nil, "23:59:59", "2026-11-25", "2026-11-25", "", 0, []string{"2026-11-25 23:59:59 +00"}},
		{"midnight", "UTC", "day", nil, "00:00:00", "2026-11-25", "2026-11-26", "", 0, []string{"2026-11-25 00:00:00 +00", "2026-11-26 00:00:00 +00"}},
		{"only what is after now", "UTC", "day", nil, "09:00:00", "2026-11-25", "2026-11-27", "2026-11-26T09:00:00Z", 0, []string{"2026-11-27 09:00:00 +00"}},
		{"a second before one", "UTC", "day", nil, "09:00:00", "2026-11-25", "2026-11-26", "2026-11-26T08:59:59Z", 0, []string{"2026-11-26 09:00:00 +00"}},
		{"nothing to come", "UTC", "day", nil, "09:00:00", "2026-11-25", "2026-11-27", "2026-11-27T09:00:01Z", 0, nil},
		{"until before from", "UTC", "day", nil, "09:00:00", "2026-11-27", "2026-11-25", "2026-11-20T00:00:00Z", 0, nil},
		{"no more than asked for", "UTC", "day", nil, "09:00:00", "2026-01-01", "2026-12-31", "", 2, []string{"2026-01-01 09:00:00 +00", "2026-01-02 09:00:00 +00"}},
		{"a time of day that is none", "UTC", "day", nil, "9 o'clock", "2026-11-25", "2026-11-27", "", 0, nil},
		{"Mondays and Sundays", "UTC", "week", []int{1, 7}, "09:00:00", "2026-11-25", "2026-12-06", "", 0, []string{
			"2026-11-29 09:00:00 +00", "2026-11-30 09:00:00 +00", "2026-12-06 09:00:00 +00",
		}},
		{"the 31st, which five months lack", "UTC", "month", []int{31}, "09:00:00", "2026-01-01", "2026-12-31", "", 0, []string{
			"2026-01-31 09:00:00 +00", "2026-03-31 09:00:00 +00", "2026-05-31 09:00:00 +00", "2026-07-31 09:00:00 +00",
			"2026-08-31 09:00:00 +00", "2026-10-31 09:00:00 +00", "2026-12-31 09:00:00 +00",
		}},
		{"the 29th in a leap year", "UTC", "month", []int{29}, "09:00:00", "2028-02-01", "2028-02-29", "", 0, []string{"2028-02-29 09:00:00 +00"}},
		{"the 29th in another year", "UTC", "month", []int{29}, "09:00:00", "2026-02-01", "2026-02-28", "", 0, nil},
		{"the 29th of a century that leaps", "UTC", "month", []int{29}, "09:00:00", "2000-02-01", "2000-03-01", "", 0, []string{"2000-02-29 09:00:00 +00"}},
		{"two days of a month, in order", "UTC", "month", []int{15, 1}, "09:00:00", "2026-11-01", "2026-12-01", "", 0, []string{
			"2026-11-01 09:00:00 +00", "2026-11-15 09:00:00 +00", "2026-12-01 09:00:00 +00",
		}},
		{"the app's days", "Asia/Shanghai", "week", []int{3}, "00:30:00", "2026-11-24", "2026-11-25", "2026-11-24T00:00:00Z", 0, []string{"2026-11-25 00:30:00 +08"}},

		// New York: on at 02:00 on 2026-03-08, back at 02:00 on 2026-11-01. Berlin: 2026-03-29 and 2026-10-25, at 02:00 and 03:00.
		{"left out, west", "America/New_York", "day", nil, "02:30:00", "2026-03-07", "2026-03-09", "", 0, []string{
			"2026-03-07 02:30:00 -05", "2026-03-08 03:30:00 -04", "2026-03-09 02:30:00 -04",
		}},
		{"left out, east", "Europe/Berlin", "day", nil, "02:30:00", "2026-03-28", "2026-03-30", "", 0, []string{
			"2026-03-28 02:30:00 +01", "2026-03-29 03:30:00 +02", "2026-03-30 02:30:00 +02",
		}},
		{"repeated, west", "America/New_York", "day", nil, "01:30:00", "2026-10-31", "2026-11-02", "", 0, []string{
			"2026-10-31 01:30:00 -04", "2026-11-01 01:30:00 -04", "2026-11-02 01:30:00 -05",
		}},
		{"repeated, east", "Europe/Berlin", "day", nil, "02:30:00", "2026-10-24", "2026-10-26", "", 0, []string{
			"2026-10-24 02:30:00 +02", "2026-10-25 02:30:00 +02", "2026-10-26 02:30:00 +01",
		}},
		{"repeated, and now between the two", "Europe/Berlin", "day", nil, "02:30:00", "2026-10-25", "2026-10-26", "2026-10-25T01:00:00Z", 0, []string{"2026-10-26 02:30:00 +01"}},
		{"a change of half an hour", "Australia/Lord_Howe", "day", nil, "02:15:00", "2026-10-04", "2026-10-04", "2026-10-01T00:00:00Z", 0, []string{"2026-10-04 02:45:00 +11"}},
		{"a midnight that is left out", "America/Santiago", "day", nil, "00:00:00", "2026-09-06", "2026-09-07", "2026-09-01T00:00:00Z", 0, []string{
			"2026-09-06 01:00:00 -03", "2026-09-07 00:00:00 -03",
		}},
		{"a day that is left out", "Pacific/Apia", "day", nil, "09:00:00", "2011-12-28", "2011-12-30", "2011-12-28T00:00:00Z", 0, []string{
			"2011-12-28 09:00:00 -10", "2011-12-29 09:00:00 -10", "2011-12-31 09:00:00 +14",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			loc := zone(t, tt.zone)
			from := day(tt.from)
			now := from.Add(-36 * time.Hour)
			if tt.now != "" {
				var err error
				if now, err = time.Parse(time.RFC3339, tt.now); err != nil {
					t.Fatal(err)
				}
			}
			if tt.limit == 0 {
				tt.limit = 100
			}
			r := push.Recurring{Every: tt.every, On: tt.on, At: tt.at, From: from, Until: day(tt.until)}
			var got []string
			for _, at := range r.Occurrences(now, loc, tt.limit) {
				got = append(got, at.Format(form))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever the rule, occurrences come in order, after now, on days that it names, and where the clock shows another time of day
// that is because it never showed this one.
func TestOccurrencesOfAnyRule(t *testing.T) {
	names := []string{"UTC", "Asia/Shanghai", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu"}
	rapid.Check(t, func(t *rapid.T) {
		loc, err := time.LoadLocation(rapid.SampledFrom(names).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		second := rapid.IntRange(0, 24*60*60-1)
		r := push.Recurring{
			Every: rapid.SampledFrom([]string{"day", "week", "month"}).Draw(t, "every"),
			At:    begin.Add(time.Duration(second.Draw(t, "at")) * time.Second).Format(time.TimeOnly),
			From:  begin.Add(time.Duration(rapid.IntRange(0, 400*24).Draw(t, "from")) * time.Hour),
		}
		r.Until = r.From.Add(time.Duration(rapid.IntRange(0, 60*24).Draw(t, "until")) * time.Hour)
		if r.Every != "day" {
			r.On = rapid.SliceOfNDistinct(rapid.IntRange(1, map[string]int{"week": 7, "month": 31}[r.Every]), 1, 5, rapid.ID).Draw(t, "on")
		}
		now := r.From.Add(time.Duration(rapid.IntRange(-100, 100).Draw(t, "now")) * time.Hour)
		last := now
		all := r.Occurrences(now, loc, push.MaxOccurrences)
		for _, at := range all {
			if !at.After(last) {
				t.Fatalf("%v is not after %v", at, last)
			}
			last = at
			if d := push.DayIn(at, loc); d < push.DayIn(r.From, loc) || d > push.DayIn(r.Until, loc) {
				t.Fatalf("%v is not between %v and %v", at, r.From, r.Until)
			}
			weekday := (int(at.Weekday())+6)%7 + 1
			if r.Every == "week" && !slices.Contains(r.On, weekday) || r.Every == "month" && !slices.Contains(r.On, at.Day()) {
				t.Fatalf("%v is on no day of %v", at, r.On)
			}
			if shows := at.Format(time.TimeOnly); shows != r.At {
				for back := at.Add(-3 * time.Hour); !back.After(at); back = back.Add(time.Second) {
					if back.Format(time.TimeOnly) == r.At && back.Day() == at.Day() {
						t.Fatalf("it fires at %v, though the clock shows %s at %v", at, r.At, back)
					}
				}
			}
			// It is the first of two.
			for _, early := range []time.Duration{time.Hour, 30 * time.Minute} {
				if b := at.Add(-early); b.Format(time.TimeOnly) == r.At {
					t.Fatalf("it fires at %v, the second time that the clock shows %s", at, r.At)
				}
			}
		}
		if r.Every == "day" {
			days := int(push.DayIn(r.Until, loc)) - int(max(push.DayIn(r.From, loc), push.DayIn(now, loc))) + 1
			if days = max(days, 0); len(all) != days && len(all) != days-1 {
				t.Fatalf("got %d of %d days", len(all), days)
			}
		}
	})
}
