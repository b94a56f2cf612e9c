package report_test

import (
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/report"
)

func TestExplain(t *testing.T) {
	begun := push.Push{ID: 8, App: 1, Kind: push.Bulk, State: push.Sending, Created: now, Start: now, Expires: later, Target: 5}
	with := func(p push.Push, change func(*push.Push)) push.Push {
		change(&p)
		return p
	}
	in := func(state push.State) push.Push { return with(begun, func(p *push.Push) { p.State = state }) }
	at := func(n int) time.Time { return now.Add(time.Duration(n) * time.Second) }
	marks := func(all ...push.Mark) []push.Timed {
		var out []push.Timed
		for i, m := range all {
			out = append(out, push.Timed{Mark: m, At: at(i + 1)})
		}
		return out
	}
	accepted := push.AccountStep{Step: "accepted", Time: now}
	targeted := push.AccountStep{Step: "targeted", Time: now}
	sent := push.AccountStep{Step: "sent", Time: at(1), Channel: "own"}
	away := push.AccountStep{Step: "waiting", Reason: "the device is away"}

	seen := map[string]bool{}
	for _, tt := range []struct {
		name  string
		facts report.Facts
		want  push.Account
	}{
		{
			"accepted, not begun",
			report.Facts{Push: with(begun, func(p *push.Push) { p.State, p.Target = push.Accepted, 0 })},
			push.Account{State: "waiting", Steps: []push.AccountStep{accepted}},
		},
		{
			"scheduled",
			report.Facts{Push: with(begun, func(p *push.Push) { p.State, p.Start, p.Target = push.Scheduled, at(60), 0 })},
			push.Account{State: "waiting", Steps: []push.AccountStep{accepted, {Step: "scheduled", Time: at(60)}}},
		},
		{
			"an occurrence that fired",
			report.Facts{Push: with(begun, func(p *push.Push) { p.Schedule = 3 }), Targeted: true, Online: true},
			push.Account{State: "waiting", Steps: []push.AccountStep{accepted, {Step: "scheduled", Time: now}, targeted}},
		},
		{
			"cancelled before it began",
			report.Facts{Push: with(begun, func(p *push.Push) { p.State, p.Target = push.Cancelled, 0 })},
			push.Account{State: "dropped", Steps: []push.AccountStep{accepted, {Step: "dropped", Reason: "cancelled"}}},
		},
		{
			"not in the audience",
			report.Facts{Push: begun, Leaf: "where.all[1]", Changed: true},
			push.Account{State: "not_targeted", Steps: []push.AccountStep{
				accepted, {Step: "not_targeted", Time: now, Leaf: "where.all[1]", Changed: true},
			}},
		},
		{
			"not in the audience of a push that is over",
			report.Facts{Push: in(push.Cancelled), Leaf: "test"},
			push.Account{State: "not_targeted", Steps: []push.AccountStep{accepted, {Step: "not_targeted", Time: now, Leaf: "test"}}},
		},
		{
			"nobody was in the audience",
			report.Facts{Push: with(begun, func(p *push.Push) { p.Target = 0 })},
			push.Account{State: "not_targeted", Steps: []push.AccountStep{accepted, {Step: "not_targeted", Time: now}}},
		},
		{
			"not named by a direct push",
			report.Facts{Push: with(begun, func(p *push.Push) { p.Kind, p.State, p.Target = push.Direct, push.Expired, 0 })},
			push.Account{State: "not_targeted", Steps: []push.AccountStep{accepted, {Step: "not_targeted", Time: now}}},
		},
		{
			"away",
			report.Facts{Push: begun, Targeted: true},
			push.Account{State: "waiting", Steps: []push.AccountStep{accepted, targeted, away}},
		},
		{
			"added to an open push",
			report.Facts{Push: with(begun, func(p *push.Push) { p.State, p.Request.Open = push.Open, true }), Targeted: true},
			push.Account{State: "waiting", Steps: []push.AccountStep{accepted, {Step: "targeted"}, away}},
		},
		{"paused, paced and away", report.Facts{
			Push: in(push.Paused), Targeted: true, Standing: push.Standing{Paused: true, Turn: true, TurnAt: at(9)},
		}, push.Account{State: "held", Steps: []push.AccountStep{
			accepted, targeted, {Step: "paused"}, {Step: "paced", Time: at(9)}, away,
		}}},
		{"quiet hours", report.Facts{
			Push: begun, Targeted: true, Online: true, Standing: push.Standing{Verdict: push.Verdict{Held: true, Until: at(99)}},
		}, push.Account{State: "held", Steps: []push.AccountStep{
			accepted, targeted, {Step: "held", Time: at(99), Reason: "quiet hours"},
		}}},
		{"the wrong network", report.Facts{
			Push: begun, Targeted: true, Online: true, Standing: push.Standing{Verdict: push.Verdict{Held: true}},
		}, push.Account{State: "held", Steps: []push.AccountStep{
			accepted, targeted, {Step: "held", Reason: "the device is not on the network that the push is for"},
		}}},
		{
			"sent, not acknowledged",
			report.Facts{Push: begun, Targeted: true, Online: true, Marks: marks(push.MarkSent)},
			push.Account{State: "sent", Steps: []push.AccountStep{accepted, targeted, sent}},
		},
		{"several names, all the way", report.Facts{Push: in(push.Expired), Targeted: true, Merged: true, Marks: marks(
			push.MarkSent, push.MarkDelivered, push.MarkDisplayed, push.MarkOpened, push.MarkClicked, push.MarkDismissed,
		)}, push.Account{State: "clicked", Steps: []push.AccountStep{
			accepted, targeted,
			{Step: "deduplicated", Time: now},
			sent,
			{Step: "delivered", Time: at(2), Channel: "own"},
			{Step: "displayed", Time: at(3)},
			{Step: "opened", Time: at(4)},
			{Step: "clicked", Time: at(5)},
			{Step: "dismissed", Time: at(6)},
		}}},
		{"unconfirmed, after it was pushed out", report.Facts{Push: begun, Targeted: true, Marks: marks(
			push.MarkSent, push.MarkOverflow, push.MarkUnconfirmed, push.MarkDelivered,
		)}, push.Account{State: "delivered", Steps: []push.AccountStep{
			accepted, targeted, sent, {Step: "delivered", Time: at(4), Channel: "own", Reason: "unconfirmed"},
		}}},
		{"dropped for two reasons", report.Facts{Push: in(push.Cancelled), Targeted: true, Marks: marks(
			push.MarkExpired, push.MarkUnregistered,
		)}, push.Account{State: "dropped", Steps: []push.AccountStep{
			accepted, targeted, {Step: "dropped", Time: at(2), Reason: "unregistered"},
		}}},
		{
			"collapsed",
			report.Facts{Push: begun, Targeted: true, Marks: marks(push.MarkCollapsed), CollapsedBy: 9},
			push.Account{State: "dropped", Steps: []push.AccountStep{
				accepted, targeted, {Step: "dropped", Time: at(1), Reason: "collapsed", Push: 9},
			}},
		},
		{
			"expired while away",
			report.Facts{Push: in(push.Done), Targeted: true, Now: later},
			push.Account{State: "dropped", Steps: []push.AccountStep{
				accepted, targeted, {Step: "dropped", Time: later, Reason: "expired"},
			}},
		},
		{
			"cancelled",
			report.Facts{Push: in(push.Cancelled), Targeted: true, Marks: marks(push.MarkSent)},
			push.Account{State: "dropped", Steps: []push.AccountStep{accepted, targeted, sent, {Step: "dropped", Reason: "cancelled"}}},
		},
		{
			"recalled in time",
			report.Facts{Push: in(push.Recalled), Targeted: true},
			push.Account{State: "dropped", Steps: []push.AccountStep{accepted, targeted, {Step: "dropped", Reason: "recalled"}}},
		},
		{"recalled afterwards", report.Facts{
			Push: in(push.Recalled), Targeted: true, RecallPush: 12,
			Marks: marks(push.MarkSent, push.MarkDelivered, push.MarkTold, push.MarkRecalled),
		}, push.Account{State: "recalled", Steps: []push.AccountStep{
			accepted, targeted, sent,
			{Step: "delivered", Time: at(2), Channel: "own"},
			{Step: "recall_sent", Time: at(3), Push: 12},
			{Step: "recalled", Time: at(4)},
		}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.facts.Now.IsZero() {
				tt.facts.Now = at(10)
			}
			got := report.Explain(tt.facts)
			if d := diff.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			for _, s := range got.Steps {
				seen[s.Step] = true
			}
		})
	}
	for _, s := range push.AccountSteps() {
		if !seen[s[0]] {
			t.Errorf("no case has step %s", s[0])
		}
		delete(seen, s[0])
	}
	for s := range seen {
		t.Errorf("step %s is not on the list", s)
	}
}
