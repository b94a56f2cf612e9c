package dispatch

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

const (
	paceTick  = 5 * time.Millisecond   // how often a fast pass releases devices
	paceSpan  = 100 * time.Millisecond // over which a rate is never exceeded by more than paceSpare
	paceSpare = 1.1                    // how much faster a pass may go that has fallen behind
	paceDebt  = time.Second            // how far behind it may be and still catch up; the rest is forgiven
	paceAhead = 250 * time.Millisecond // how much of a pass one commit of its cursor covers
	paceMost  = 1 << 18                // devices that one commit covers at most
)

// A pacer says how many devices a pass releases when. It follows the clock it is told, and survives one that jumps: time
// that seems to run back, or far ahead, counts as little. The zero pacer releases nothing.
type pacer struct {
	rate   float64 // devices a second
	last   time.Time
	credit float64 // devices that are due and were not released
	recent []grant // in the last paceSpan
}

// A grant is how many devices were released at a moment.
type grant struct {
	at time.Time
	n  int
}

// newPacer returns a pacer whose first device is due at now.
func newPacer(rate int, now time.Time) *pacer {
	return &pacer{rate: float64(rate), last: now, credit: 1}
}

// next returns how many of the devices that are ready are released at now, and how long to wait before it is asked again.
func (p *pacer) next(now time.Time, ready int) (n int, wait time.Duration) {
	elapsed := min(max(now.Sub(p.last), 0), paceDebt)
	p.last = now
	p.credit = min(p.credit+p.rate*elapsed.Seconds(), max(1, p.rate*paceDebt.Seconds()))

	keep, sum := p.recent[:0], 0
	for _, g := range p.recent {
		if age := now.Sub(g.at); age >= 0 && age < paceSpan {
			keep, sum = append(keep, g), sum+g.n
		}
	}
	p.recent = keep
	span := int(math.Ceil(p.rate*paceSpare*paceSpan.Seconds())) - sum
	// What has piled up while nobody looked is not released at once, but over the next ticks.
	tick := max(1, int(math.Ceil(p.rate*paceSpare*min(elapsed, 4*paceTick).Seconds())))
	if n = min(int(p.credit), span, tick, ready); n > 0 {
		p.credit -= float64(n)
		p.recent = append(p.recent, grant{now, n})
	}
	n = max(n, 0)
	wait = paceTick
	if p.credit < 1 {
		wait = max(wait, time.Duration((1-p.credit)/p.rate*float64(time.Second)))
	}
	return n, min(wait, paceDebt)
}

// pass paces the first pass of a push until it is complete, paused or over, or ctx ends.
func (d *Dispatcher) pass(ctx context.Context, b *bulk) {
	if !b.walk() {
		return // somebody is at it
	}
	for {
		done := d.walk(ctx, b)
		if done {
			if err := d.finish(ctx, b); err != nil && ctx.Err() == nil {
				d.complain(b.push.ID, err) // derive will see that it has not finished
			}
		}
		if b.leave(done || ctx.Err() != nil) {
			return
		}
	}
}

// walk claims the pacing of b. It reports false if somebody has it.
func (b *bulk) walk() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.walking {
		return false
	}
	b.walking = true
	return true
}

// leave gives the pacing of b up. It reports false if b was resumed meanwhile, and the pass is not over: then it goes on.
func (b *bulk) leave(over bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !over && b.state == push.Sending {
		return false
	}
	b.walking = false
	return true
}

// walk releases the devices of a push's target one after the other, in order of their ordinals, at its rate. It reports
// whether it has come to the end.
func (d *Dispatcher) walk(ctx context.Context, b *bulk) (done bool) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()

	pace := newPacer(b.rate, d.opts.Now())
	slice := min(max(1, int(float64(b.rate)*paceAhead.Seconds())), paceMost)
	from := b.cursor()
	ahead := make(chan []push.Ordinal, 1)
	asked, last := false, false
	var ready []push.Ordinal // their release is committed
	timer := time.NewTimer(0)
	defer timer.Stop()
	for b.in() == push.Sending {
		if !asked && !last && len(ready) <= slice/2 {
			asked = true
			wg.Go(func() { ahead <- d.commitAhead(ctx, b, from, slice) })
		}
		select {
		case <-ctx.Done():
			return false
		case got := <-ahead:
			if ctx.Err() != nil { // it may not be committed
				return false
			}
			asked, last = false, len(got) < slice
			if len(got) > 0 {
				ready, from = append(ready, got...), after(got[len(got)-1])
			}
		case <-timer.C:
			n, wait := pace.next(d.opts.Now(), len(ready))
			d.letOut(ctx, b, ready[:n])
			ready = ready[n:]
			timer.Reset(wait)
		}
		if last && len(ready) == 0 && ctx.Err() == nil {
			return b.in() == push.Sending
		}
	}
	return false
}

// cursor returns how far b was released.
func (b *bulk) cursor() push.Ordinal {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.released
}

// after returns the cursor that releases o, and nobody behind it.
func after(o push.Ordinal) push.Ordinal {
	if o == push.Everybody {
		return o
	}
	return o + 1
}

// commitAhead returns the next devices of a push's target from an ordinal on, at most n, once the record has them owed. It
// tries until it succeeds, or ctx ends.
func (d *Dispatcher) commitAhead(ctx context.Context, b *bulk, from push.Ordinal, n int) []push.Ordinal {
	next := d.sets.Next(b.push.App, b.push.ID, from, n)
	for len(next) > 0 {
		err := d.Changing.Advance(ctx, b.push.App, b.push.ID, after(next[len(next)-1]))
		if err == nil || ctx.Err() != nil || is(err, push.NotFound) { // it has gone with its app: nobody is owed it
			break
		}
		d.opts.Log.Warn("a paced push stands still, will be tried again", "push", b.push.ID, "err", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
	return next
}

// letOut has the devices of all owed b, and hands it to those that are connected.
func (d *Dispatcher) letOut(ctx context.Context, b *bulk, all []push.Ordinal) {
	if len(all) == 0 {
		return
	}
	upTo := after(all[len(all)-1])
	d.sets.Release(b.push.App, b.push.ID, upTo)
	b.mu.Lock()
	b.released = upTo
	b.mu.Unlock()
	d.postAll(ctx, b, all)
}
