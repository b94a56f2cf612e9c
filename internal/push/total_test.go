package push_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/push"
)

func TestTotalsAdd(t *testing.T) {
	type add struct {
		m push.Metric
		n int
	}
	mark := func(m push.Mark, n int) add { return add{push.Metric(m), n} }
	for _, tt := range []struct {
		name string
		adds []add
		want push.Totals
	}{
		{"nothing", nil, push.Totals{}},
		{"a target", []add{{push.MetricPushes, 1}, {push.MetricTarget, 10}}, push.Totals{Pushes: 1, Report: push.Report{Target: 10, Pending: 10}}},
		{"unknown names", []add{{push.MetricTarget, 10}, {push.MetricUnknown, 2}}, push.Totals{Report: push.Report{
			Target: 10, Pending: 8, Dropped: map[string]int{"unknown": 2},
		}}},
		{"every mark that is a number", []add{
			{push.MetricTarget, 100},
			mark(push.MarkSent, 9), mark(push.MarkDelivered, 8), mark(push.MarkUnconfirmed, 7), mark(push.MarkDisplayed, 6),
			mark(push.MarkOpened, 5), mark(push.MarkClicked, 4), mark(push.MarkDismissed, 3),
		}, push.Totals{Report: push.Report{
			Target: 100, Sent: 9, Delivered: 8, Unconfirmed: 7, Displayed: 6, Opened: 5, Clicked: 4, Dismissed: 3, Pending: 92,
		}}},
		{"a drop that was delivered yet", []add{
			{push.MetricTarget, 1}, mark(push.MarkExpired, 1), mark(push.MarkExpired, -1), mark(push.MarkDelivered, 1),
		}, push.Totals{Report: push.Report{Target: 1, Delivered: 1, Dropped: map[string]int{}}}},
		{"drops, in whatever order", []add{
			mark(push.MarkWithdrawn, 2), mark(push.MarkCapped, 3), {push.MetricTarget, 9}, mark(push.MarkWithdrawn, 1),
		}, push.Totals{Report: push.Report{Target: 9, Pending: 3, Dropped: map[string]int{"recalled": 3, "capped": 3}}}},
		{"what is no number", []add{
			mark(push.MarkRecalled, 1), mark(push.MarkTold, 1), mark(push.MarkFinished, 1), mark(push.MarkTargeted, 1), {200, 1},
		}, push.Totals{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got push.Totals
			for _, a := range tt.adds {
				got.Add(a.m, a.n)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Target = Delivered + Pending + the sum of Dropped, whatever is added.
func TestTotalsAddUp(t *testing.T) {
	metrics := []push.Metric{push.MetricPushes, push.MetricTarget, push.MetricUnknown}
	for m := range push.Mark(32) {
		metrics = append(metrics, push.Metric(m))
	}
	rapid.Check(t, func(t *rapid.T) {
		var got push.Totals
		for range rapid.IntRange(0, 50).Draw(t, "n") {
			got.Add(rapid.SampledFrom(metrics).Draw(t, "metric"), rapid.IntRange(-5, 50).Draw(t, "by"))
			sum := got.Delivered + got.Pending
			for reason, n := range got.Dropped {
				if sum += n; n == 0 {
					t.Fatalf("%s stands there with 0", reason)
				}
			}
			if sum != got.Target {
				t.Fatalf("target %d, delivered, pending and dropped %d", got.Target, sum)
			}
		}
	})
}

func TestWhereAPushCounts(t *testing.T) {
	r := push.Request{App: 7, Origin: "umeng", Policy: push.Policy{Labels: push.Labels{Group: "g", Topic: "t"}}, Message: push.Message{Template: &push.TemplateUse{Name: "n"}}}
	want := []push.TotalKey{{7, 3, push.ByApp, ""}, {7, 3, push.ByOrigin, "umeng"}, {7, 3, push.ByGroup, "g"}, {7, 3, push.ByTopic, "t"}, {7, 3, push.ByTemplate, "n"}}
	if got := r.Keys(3); !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := (push.Request{App: 7, Origin: "rest"}).Keys(3), []push.TotalKey{{7, 3, push.ByApp, ""}, {7, 3, push.ByOrigin, "rest"}}; !cmp.Equal(got, want) {
		t.Errorf("without names: got %v, want %v", got, want)
	}
}

func TestDaysInAZone(t *testing.T) {
	at := time.Date(2026, 11, 25, 17, 0, 0, 0, time.UTC)
	for name, want := range map[string]string{"UTC": "2026-11-25", "Asia/Shanghai": "2026-11-26", "America/New_York": "2026-11-25", "Pacific/Kiritimati": "2026-11-26"} {
		if got := push.DayIn(at, zone(t, name)).Date(); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	if got := push.DayIn(at, time.UTC); got != push.DayOf(at) {
		t.Errorf("got %d, want the day in UTC, %d", got, push.DayOf(at))
	}
}

func TestAPatchChangesWhatItNames(t *testing.T) {
	r := push.Request{App: 1, Audience: push.Audience{All: true}, Message: push.Message{Data: []byte(`1`)}, Policy: push.Policy{Rate: 7}, Origin: "rest"}
	if got := (push.SchedulePatch{}).Apply(r); !cmp.Equal(got, r) {
		t.Errorf("nothing: got %+v", got)
	}
	got := push.SchedulePatch{Audience: &push.Audience{Devices: []string{"d"}}, Message: &push.Message{Data: []byte(`2`)}, Policy: &push.Policy{Rate: 8}}.Apply(r)
	if got.Audience.All || string(got.Message.Data) != "2" || got.Policy.Rate != 8 || got.Origin != "rest" || !r.Audience.All {
		t.Errorf("all: got %+v", got)
	}
}
