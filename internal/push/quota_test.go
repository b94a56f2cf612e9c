package push_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/push"
)

func TestCharges(t *testing.T) {
	app := func(zone string, settings push.Settings) push.App {
		return push.App{ID: 1, Name: "demo", TimeZone: zone, Settings: settings}
	}
	utc := func(month time.Month, day, hour int) time.Time {
		return time.Date(2026, month, day, hour, 0, 0, 0, time.UTC)
	}
	for _, tt := range []struct {
		name string
		app  push.App
		now  time.Time
		uses []push.Use
		want []push.Charge
	}{
		{"nothing", app("UTC", nil), now, nil, nil},
		{"no limit by default", app("UTC", nil), now, []push.Use{{Setting: "rest.pushes_per_minute", Credential: "rest"}}, nil},
		{"no limit by setting", app("UTC", push.Settings{"umeng.groupcasts_per_minute": "0"}), now, []push.Use{{Setting: "umeng.groupcasts_per_minute"}}, nil},
		{"what is no quota", app("UTC", nil), now, []push.Use{{Setting: push.SettingInboxLimit}}, nil},
		{"a window that slides", app("UTC", nil), now, []push.Use{{"umeng.groupcasts_per_minute", "umeng.android", 0}}, []push.Charge{{
			Name: "umeng.android/umeng.groupcasts_per_minute", Field: "umeng.groupcasts_per_minute", What: "groupcasts a minute", N: 1, Limit: 5, Window: time.Minute,
		}}},
		{"a day in Shanghai, and more than one", app("Asia/Shanghai", push.Settings{"getui.list_targets_per_day": "7"}), utc(11, 25, 16), []push.Use{{"getui.list_targets_per_day", "getui", 3}}, []push.Charge{{
			Name: "getui/getui.list_targets_per_day", Field: "getui.list_targets_per_day", What: "targets of list pushes a day", N: 3, Limit: 7, Window: push.Daily,
			Since: utc(11, 25, 16), Until: utc(11, 26, 16),
		}}},
		{"a day of 25 hours", app("America/New_York", nil), utc(11, 1, 20), []push.Use{{"umeng.broadcasts_per_day", "u", 1}}, []push.Charge{{
			Name: "u/umeng.broadcasts_per_day", Field: "umeng.broadcasts_per_day", What: "broadcasts a day", N: 1, Limit: 10, Window: push.Daily,
			Since: utc(11, 1, 4), Until: utc(11, 2, 5),
		}}},
		{"a day whose midnight is left out", app("America/Santiago", nil), utc(9, 6, 5), []push.Use{{"umeng.broadcasts_per_day", "u", 1}}, []push.Charge{{
			Name: "u/umeng.broadcasts_per_day", Field: "umeng.broadcasts_per_day", What: "broadcasts a day", N: 1, Limit: 10, Window: push.Daily,
			Since: utc(9, 6, 4), Until: utc(9, 7, 3),
		}}},
		{"the day before that", app("America/Santiago", nil), utc(9, 6, 3), []push.Use{{"umeng.broadcasts_per_day", "u", 1}}, []push.Charge{{
			Name: "u/umeng.broadcasts_per_day", Field: "umeng.broadcasts_per_day", What: "broadcasts a day", N: 1, Limit: 10, Window: push.Daily,
			Since: utc(9, 5, 4), Until: utc(9, 6, 4),
		}}},
		{
			"several, in order", app("UTC", push.Settings{"rest.pushes_per_minute": "3", "rest.bulk_pushes_per_minute": "2"}), now,
			[]push.Use{{Setting: "rest.pushes_per_minute", Credential: "rest"}, {Setting: "rest.bulk_pushes_per_minute", Credential: "rest"}},
			[]push.Charge{
				{Name: "rest/rest.pushes_per_minute", Field: "rest.pushes_per_minute", What: "pushes a minute", N: 1, Limit: 3, Window: time.Minute},
				{Name: "rest/rest.bulk_pushes_per_minute", Field: "rest.bulk_pushes_per_minute", What: "pushes to all devices, an expression or a file a minute", N: 1, Limit: 2, Window: time.Minute},
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, push.Charges(tt.uses, tt.app, tt.now)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestQuotasAreSettings(t *testing.T) {
	var keys []string
	for _, q := range push.Quotas() {
		keys = append(keys, q.Setting)
		if !slices.ContainsFunc(push.Catalogue(), func(s push.Setting) bool { return s.Key == q.Setting }) {
			t.Errorf("%s is no setting", q.Setting)
		}
		if q.Window <= 0 || q.What == "" {
			t.Errorf("%s: window %v, for people %q", q.Setting, q.Window, q.What)
		}
	}
	if !slices.IsSorted(keys) {
		t.Errorf("quotas are not in order: %v", keys)
	}
}

func TestARefusalSaysWhen(t *testing.T) {
	c := push.Charge{Field: "umeng.broadcasts_per_day", What: "broadcasts a day", Limit: 10}
	for wait, want := range map[time.Duration]time.Duration{-time.Second: time.Second, 0: time.Second, time.Hour: time.Hour} {
		var e *push.Error
		if err := c.Refusal(wait); !errors.As(err, &e) || e.Kind != push.TooMany || e.Field != c.Field || e.RetryAfter != want || e.Msg != "the quota is used up: 10 broadcasts a day" {
			t.Errorf("after %v: got %+v, want too many, to be tried again in %v", wait, err, want)
		}
	}
}
