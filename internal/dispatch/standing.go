package dispatch

import (
	"context"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Standing tells where a device stands with p. It changes nothing: what the door would let through is not counted.
func (d *Dispatcher) Standing(ctx context.Context, app push.AppID, p push.Push, o push.Ordinal) (push.Standing, error) {
	var s push.Standing
	b := d.bulks.get(app, p.ID)
	s.Paused = p.State == push.Paused || d.held.has(app, p.ID)
	if b != nil && d.sets.Has(app, p.ID) {
		s.Targeted = d.sets.Targets(app, p.ID, o)
		s.Paused = b.in() == push.Paused
	} else if p.Kind == push.Direct || !p.State.Waits() && p.Target > 0 {
		var err error
		if s.Targeted, err = d.Receipts.Targeted(ctx, p, o); err != nil {
			return push.Standing{}, push.Wrap("dispatch.Standing", err)
		}
	}
	if !s.Targeted || p.State.Final() {
		return s, nil
	}
	if b != nil && b.rate > 0 && !s.Paused && b.in() == push.Sending {
		if from := b.cursor(); o >= from && from != push.Everybody {
			s.Turn = true
			s.TurnAt = d.turnAt(b, from, o)
		}
	}
	if !s.Turn {
		s.Verdict = d.Admission.Peek(d.opts.Now(), app, o, p.ID, rules(p.Request))
	}
	return s, nil
}

// turnAt returns about when a paced push that was released up to from comes to a device of its target.
func (d *Dispatcher) turnAt(b *bulk, from, o push.Ordinal) time.Time {
	target, ok := d.sets.Target(b.push.App, b.push.ID)
	if !ok {
		return time.Time{}
	}
	before := 0
	for at := range target.All() {
		if at >= o {
			break
		}
		if at >= from {
			before++
		}
	}
	wait := float64(before) / float64(b.rate) * float64(time.Second)
	return d.opts.Now().Add(time.Duration(wait))
}
