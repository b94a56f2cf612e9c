package report

import (
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Facts are what is known of one push and one device, gathered from the rooms that know it.
type Facts struct {
	Push     push.Push
	Targeted bool          // the device is in the target
	Merged   bool          // several names of the request stand for it
	Marks    []push.Timed  // as Trail returns them
	Standing push.Standing // of a push that is not over
	Online   bool          // the device is connected
	Now      time.Time

	// Of a device that is not in the target: what of the audience does not hold for it now, and whether it has changed since.
	Leaf    string
	Changed bool

	CollapsedBy push.ID // which push replaced it, 0 if that is not known
	RecallPush  push.ID // which push carries its recall, 0 if there is none
}

// steps are the marks that are steps of their own.
var steps = map[push.Mark]string{
	push.MarkSent: "sent", push.MarkDelivered: "delivered", push.MarkDisplayed: "displayed", push.MarkOpened: "opened",
	push.MarkClicked: "clicked", push.MarkDismissed: "dismissed", push.MarkTold: "recall_sent", push.MarkRecalled: "recalled",
}

// furthest are the states of an Account that a mark leads to, the furthest first.
var furthest = []push.Mark{
	push.MarkRecalled, push.MarkClicked, push.MarkOpened, push.MarkDismissed, push.MarkDisplayed, push.MarkDelivered,
}

// An account is one in the making.
type account struct{ push.Account }

func (a *account) add(s push.AccountStep) { a.Steps = append(a.Steps, s) }

// Explain returns what became of a push on a device, in the order in which it happened; what is still to come is last. It
// agrees with Report: of several drops it names the one that counts, and none if the device got the push after all.
func Explain(f Facts) push.Account {
	p := f.Push
	var a account
	a.add(push.AccountStep{Step: "accepted", Time: p.Created})
	if p.Start.After(p.Created) || p.State == push.Scheduled || p.Schedule != 0 {
		a.add(push.AccountStep{Step: "scheduled", Time: p.Start})
	}
	over := ended(p, f.Now)
	begun := !p.State.Waits() && (p.Target > 0 || over == "")
	switch {
	case f.Targeted:
		a.targeted(f, over)
	case p.Kind == push.Bulk && !begun && over != "":
		a.dropped(f, over)
	case p.Kind == push.Bulk && !begun:
		a.State = "waiting"
	default:
		a.State = "not_targeted"
		a.add(push.AccountStep{Step: "not_targeted", Time: targetedAt(p), Leaf: f.Leaf, Changed: f.Changed})
	}
	return a.Account
}

// targetedAt returns when it was decided whom p is for, zero if that is not known.
func targetedAt(p push.Push) time.Time {
	if p.Request.Open { // in one of several calls
		return time.Time{}
	}
	return p.Start
}

// targeted goes on with a device that is in the target. over is the reason that ended the push, "" if it goes on.
func (a *account) targeted(f Facts, over string) {
	a.add(push.AccountStep{Step: "targeted", Time: targetedAt(f.Push)})
	if f.Merged {
		a.add(push.AccountStep{Step: "deduplicated", Time: targetedAt(f.Push)})
	}
	var all push.Marked
	for _, t := range f.Marks {
		all = all.With(t.Mark)
	}
	drop, dropped := all.Dropped()
	for _, t := range f.Marks {
		if step := steps[t.Mark]; step != "" {
			a.add(markStep(f, step, t, all))
		} else if dropped && t.Mark == drop {
			a.add(dropStep(f, drop.Reason(), t.At))
		}
	}
	for _, m := range furthest {
		if all.Has(m) {
			a.State = steps[m]
			return
		}
	}
	switch {
	case dropped:
		a.State = "dropped"
	case over != "":
		a.dropped(f, over)
	default:
		a.pending(f, all.Has(push.MarkSent))
	}
}

// markStep returns the step that t is.
func markStep(f Facts, step string, t push.Timed, all push.Marked) push.AccountStep {
	s := push.AccountStep{Step: step, Time: t.At}
	switch t.Mark {
	case push.MarkSent:
		s.Channel = ownChannel
	case push.MarkDelivered:
		s.Channel = ownChannel
		if all.Has(push.MarkUnconfirmed) {
			s.Reason = "unconfirmed"
		}
	case push.MarkTold:
		s.Push = f.RecallPush
	}
	return s
}

func dropStep(f Facts, reason string, at time.Time) push.AccountStep {
	s := push.AccountStep{Step: "dropped", Reason: reason, Time: at}
	if reason == push.MarkCollapsed.Reason() {
		s.Push = f.CollapsedBy
	}
	return s
}

// dropped ends with a push that is over and has not reached the device. When it was cancelled or recalled is not known.
func (a *account) dropped(f Facts, reason string) {
	var at time.Time
	if reason == push.MarkExpired.Reason() {
		at = f.Push.Expires
	}
	a.State = "dropped"
	a.add(dropStep(f, reason, at))
}

// pending ends with a push that the device may get yet: all that keeps it from the device.
func (a *account) pending(f Facts, sent bool) {
	st := f.Standing
	before := len(a.Steps)
	if st.Paused {
		a.add(push.AccountStep{Step: "paused"})
	}
	if st.Turn {
		a.add(push.AccountStep{Step: "paced", Time: st.TurnAt})
	}
	switch v := st.Verdict; {
	case !v.Until.IsZero():
		a.add(push.AccountStep{Step: "held", Time: v.Until, Reason: "quiet hours"})
	case v.Held:
		a.add(push.AccountStep{Step: "held", Reason: "the device is not on the network that the push is for"})
	}
	held := len(a.Steps) > before
	if !f.Online {
		a.add(push.AccountStep{Step: "waiting", Reason: "the device is away"})
	}
	switch {
	case sent:
		a.State = "sent"
	case held:
		a.State = "held"
	default:
		a.State = "waiting"
	}
}
