package push_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/push"
)

func TestParseQuiet(t *testing.T) {
	for text, want := range map[string]push.Quiet{
		"":            {},
		"22:00-08:00": {22 * time.Hour, 8 * time.Hour},
		"00:00-23:59": {0, 23*time.Hour + 59*time.Minute},
		"12:30-13:15": {12*time.Hour + 30*time.Minute, 13*time.Hour + 15*time.Minute},
	} {
		if got, err := push.ParseQuiet(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, bad := range []string{"22:00", "22:00-22:00", "24:00-08:00", "22:00-8:00", "22:00 - 08:00", "22:00-08:00 ", "-", "22:60-08:00", "22:00-08:00-09:00", "a"} {
		if got, err := push.ParseQuiet(bad); err == nil || got != (push.Quiet{}) {
			t.Errorf("%q: got %v, %v, want it refused", bad, got, err)
		}
	}
}

func TestQuietUntil(t *testing.T) {
	utc := func(h, m, s int) time.Time { return time.Date(2026, 11, 25, h, m, s, 0, time.UTC) }
	for _, tt := range []struct {
		name, quiet string
		t, want     time.Time // want is zero outside
	}{
		{"never", "", utc(3, 0, 0), time.Time{}},
		{"over midnight, in the evening", "22:00-08:00", utc(22, 0, 0), utc(32, 0, 0)},
		{"over midnight, in the morning", "22:00-08:00", utc(7, 59, 59), utc(8, 0, 0)},
		{"over midnight, after it", "22:00-08:00", utc(8, 0, 0), time.Time{}},
		{"over midnight, before it", "22:00-08:00", utc(21, 59, 59), time.Time{}},
		{"at midnight", "22:00-08:00", utc(0, 0, 0), utc(8, 0, 0)},
		{"until midnight", "20:00-00:00", utc(23, 59, 59), utc(24, 0, 0)},
		{"from midnight", "00:00-06:00", utc(0, 0, 0), utc(6, 0, 0)},
		{"a pause at noon", "12:00-14:00", utc(13, 0, 0), utc(14, 0, 0)},
		{"before a pause at noon", "12:00-14:00", utc(11, 59, 59), time.Time{}},
		{"after a pause at noon", "12:00-14:00", utc(14, 0, 0), time.Time{}},
		{"all day but a minute", "08:01-08:00", utc(8, 0, 30), time.Time{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q, err := push.ParseQuiet(tt.quiet)
			if err != nil {
				t.Fatal(err)
			}
			if got, in := q.Until(tt.t); !got.Equal(tt.want) || in == tt.want.IsZero() {
				t.Errorf("got %v, %v, want %v", got, in, tt.want)
			}
		})
	}
}

// In any zone, through all changes of clocks: it is quiet exactly while the clock shows so, and the end is the first moment at
// which it does not.
func TestQuietIsWhatTheClockShows(t *testing.T) {
	names := []string{"UTC", "Asia/Shanghai", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu"}
	rapid.Check(t, func(t *rapid.T) {
		loc, err := time.LoadLocation(rapid.SampledFrom(names).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		minute := rapid.IntRange(0, 24*60-1)
		q := push.Quiet{From: time.Duration(minute.Draw(t, "from")) * time.Minute, To: time.Duration(minute.Draw(t, "to")) * time.Minute}
		if q.From == q.To {
			q.To = (q.To + time.Hour) % (24 * time.Hour)
		}
		shows := func(at time.Time) bool {
			of := time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute
			if q.From < q.To {
				return of >= q.From && of < q.To
			}
			return of >= q.From || of < q.To
		}
		// About a change of clocks more often than not.
		changes := []time.Time{
			time.Date(2026, 3, 8, 7, 0, 0, 0, time.UTC), time.Date(2026, 11, 1, 6, 0, 0, 0, time.UTC), time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC),
			time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC), time.Date(2026, 4, 4, 15, 0, 0, 0, time.UTC), time.Date(2026, 10, 3, 15, 30, 0, 0, time.UTC),
			time.Date(2026, 9, 6, 4, 0, 0, 0, time.UTC), time.Date(2026, 4, 5, 3, 0, 0, 0, time.UTC),
		}
		at := rapid.SampledFrom(changes).Draw(t, "change").Add(time.Duration(rapid.IntRange(-30*60, 30*60).Draw(t, "minutes")) * time.Minute).In(loc)
		end, in := q.Until(at)
		if in != shows(at) {
			t.Fatalf("%v to %v at %v: got quiet %v", q.From, q.To, at, in)
		}
		if !in {
			return
		}
		want := at
		for shows(want) {
			want = want.Add(time.Minute)
		}
		if !end.Equal(want) {
			t.Fatalf("%v to %v at %v: got until %v, want %v", q.From, q.To, at, end, want)
		}
	})
}

func TestCapSettings(t *testing.T) {
	for _, tt := range []struct {
		key, value string
		ok         bool
	}{
		{push.SettingCapCategories, "news=3,ads=1", true},
		{push.SettingCapCategories, "news=3, ads=1", true},
		{push.SettingCapCategories, "news=0", false},
		{push.SettingCapCategories, "news=1001", false},
		{push.SettingCapCategories, "news", false},
		{push.SettingCapCategories, "=1", false},
		{push.SettingCapCategories, "news=1,", false},
		{push.SettingCapCategories, "news=1,news=2", false},
		{push.SettingCapCategories, "a b=1", false},
		{push.SettingCapBypass, "otp, alarm", true},
		{push.SettingCapBypass, "otp,,alarm", false},
		{push.SettingCap, "1000", true},
		{push.SettingCap, "1001", false},
		{push.SettingQuietHours, "22:00-08:00", true},
		{push.SettingQuietHours, "10pm", false},
		{push.SettingQuietDefault, "drop", true},
		{push.SettingQuietDefault, "", false},
	} {
		if err := (push.Settings{tt.key: tt.value}).Validate(); (err == nil) != tt.ok || err != nil && fieldOf(err) != tt.key {
			t.Errorf("%s=%s: got %v, want ok %v", tt.key, tt.value, err, tt.ok)
		}
	}
	if got, want := push.CategoryCaps("news=3, ads=1"), (map[string]int{"news": 3, "ads": 1}); !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRulesOfARequest(t *testing.T) {
	shown := push.Message{Notification: &push.Notification{}}
	for _, tt := range []struct {
		name string
		r    push.Request
		want push.Rules
	}{
		{"a notification", push.Request{Message: shown}, push.Rules{}},
		{"a template", push.Request{Message: push.Message{Template: &push.TemplateUse{}}}, push.Rules{}},
		{"data alone", push.Request{Message: push.Message{Data: []byte(`1`)}}, push.Rules{Silent: true}},
		{"a recall", push.Request{Message: push.Message{Recall: 7}}, push.Rules{Silent: true}},
		{"all that a policy says", push.Request{Message: shown, Policy: push.Policy{
			Quiet: "drop", Network: push.WiFi, Labels: push.Labels{Category: "news"},
		}}, push.Rules{Quiet: "drop", Network: push.WiFi, Category: "news"}},
		{"any network is none", push.Request{Message: shown, Policy: push.Policy{Network: push.AnyNetwork}}, push.Rules{}},
	} {
		if got := tt.r.Rules(); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func BenchmarkQuietUntil(b *testing.B) {
	q, loc := push.Quiet{From: 22 * time.Hour, To: 8 * time.Hour}, time.FixedZone("", 8*60*60)
	for name, at := range map[string]time.Time{"outside": time.Date(2026, 11, 25, 12, 0, 0, 0, loc), "inside": time.Date(2026, 11, 25, 23, 0, 0, 0, loc)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				q.Until(at)
			}
		})
	}
}
