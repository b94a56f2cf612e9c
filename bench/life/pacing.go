package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// A pass is some pushes that are paced at once.
type pass struct{ pushes, rate int }

// parsePasses reads "1000,20x500".
func parsePasses(s string) ([]pass, error) {
	var all []pass
	for one := range strings.SplitSeq(s, ",") {
		count, rate, several := strings.Cut(one, "x")
		if !several {
			count, rate = "1", one
		}
		n, err := strconv.Atoi(count)
		r, err2 := strconv.Atoi(rate)
		if err != nil || err2 != nil || n < 1 || r < 1 {
			return nil, fmt.Errorf("--passes: %q is neither a rate nor PUSHESxRATE", one)
		}
		all = append(all, pass{n, r})
	}
	return all, nil
}

// window is what bursts are looked for in.
const window = 100 * time.Millisecond

// paced is what became of a pass. Of several pushes the figures are those of the worst.
type paced struct {
	Pushes  int `json:"pushes"`
	Rate    int `json:"rate"`    // of each, devices a second
	Devices int `json:"devices"` // of each

	Due  float64 `json:"due_seconds"`  // devices divided by rate
	Took float64 `json:"took_seconds"` // from the request to the last device
	Off  float64 `json:"off_percent"`  // how much longer or shorter that was

	Busiest      int     `json:"busiest_100ms"` // devices, in the busiest of all windows, wherever it begins
	Quietest     int     `json:"quietest_100ms"`
	BusiestTimes float64 `json:"busiest_times"` // as a multiple of what the rate says
	QuietestOf   float64 `json:"quietest_times"`

	Floor  floor   `json:"floor"`
	CPU    float64 `json:"cpu_seconds_per_million"` // with the acknowledgements
	Others float64 `json:"processors_busy_with_others"`
}

// A floor is a bare ticker that lets out what is due by the clock, beside the pass.
type floor struct {
	Off          float64 `json:"off_percent"`
	BusiestTimes float64 `json:"busiest_times"`
	QuietestOf   float64 `json:"quietest_times"`
}

// measurePacing paces pushes to devices that are all online and acknowledge.
func measurePacing(ctx context.Context, o options, p *place, on *measured) error {
	h, err := open(ctx, p, &houseOptions{online: o.paced, acks: true})
	if err != nil {
		return err
	}
	h.runs(ctx, h.dispatcher.Run, h.ledger.Run, h.registry.Run)
	for _, ps := range o.passes {
		one, err := h.pace(ctx, o, ps)
		if err != nil {
			return closed(h, err)
		}
		on.Pacing = append(on.Pacing, one)
	}
	return h.close()
}

// pace makes one pass. Several pushes at once are each for a tenth of the devices, one is for all.
func (h *house) pace(ctx context.Context, o options, ps pass) (paced, error) {
	out := paced{Pushes: ps.pushes, Rate: ps.rate, Devices: o.paced}
	if ps.pushes > 1 {
		out.Devices = o.paced / 10
	}
	out.Due = float64(out.Devices) / float64(ps.rate)
	ids := make([]push.ID, ps.pushes)
	at := make([]time.Duration, ps.pushes)
	n := listen()
	bare := make(chan *handed, 1)
	go func() { bare <- tick(ps.rate, out.Devices) }()
	for i := range ids {
		r := request(online, everybody)
		if ps.pushes > 1 {
			r.Audience = where(attr(attrTenth, strconv.Itoa(i%10)))
		}
		r.Policy.Rate = ps.rate
		at[i] = time.Since(h.gate.began)
		accepted, err := h.dispatcher.Accept(ctx, r)
		if err != nil {
			return out, err
		}
		ids[i] = accepted.ID
	}
	for _, id := range ids {
		if err := h.starts.await(ctx, id); err != nil {
			return out, err
		}
	}
	var cpu float64
	out.Others, cpu = n.others()
	out.CPU = round(cpu/float64(ps.pushes*out.Devices)*1e6, 1)
	for i, id := range ids {
		got, err := h.gate.take(id, out.Devices)
		if err != nil {
			return out, err
		}
		out.worst(i == 0, got.moments, at[i])
	}
	var f paced
	f.Rate, f.Devices, f.Due = out.Rate, out.Devices, out.Due
	f.worst(true, (<-bare).moments, 0)
	out.Floor = floor{f.Off, f.BusiestTimes, f.QuietestOf}
	return out, h.settled(ctx, ids, out.Devices)
}

// worst takes the figures of one push in, if they are worse than those of the others.
func (p *paced) worst(first bool, moments []time.Duration, asked time.Duration) {
	took := (moments[len(moments)-1] - asked).Seconds()
	off := round((took-p.Due)/p.Due*100, 2)
	busiest, quietest := extremes(moments)
	if first || math.Abs(off) > math.Abs(p.Off) {
		p.Took, p.Off = round(took, 3), off
	}
	if first || busiest > p.Busiest {
		p.Busiest = busiest
	}
	if first || quietest < p.Quietest {
		p.Quietest = quietest
	}
	due := float64(p.Rate) * window.Seconds()
	p.BusiestTimes, p.QuietestOf = round(float64(p.Busiest)/due, 3), round(float64(p.Quietest)/due, 3)
}

// extremes returns how many moments are in the window with the most, and with the fewest of those that lie between the first
// moment and the last. Moments are in order.
func extremes(moments []time.Duration) (most, fewest int) {
	fewest = len(moments)
	last, end, after := moments[len(moments)-1], 0, 0
	for i, at := range moments {
		for end < len(moments) && moments[end] < at+window { // those of the window that begins with this one
			end++
		}
		most = max(most, end-i)
		if at+window > last {
			continue
		}
		for after < len(moments) && moments[after] <= at+window { // and of the one that begins right behind it
			after++
		}
		fewest = min(fewest, after-i-1)
	}
	return most, fewest
}

// tick lets out so many devices at a rate by a bare ticker, and notes when.
func tick(rate, devices int) *handed {
	h := &handed{moments: make([]time.Duration, 0, devices)}
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	began := time.Now()
	var mu sync.Mutex // as the gate has one
	for len(h.moments) < devices {
		<-ticker.C
		due := min(devices, int(time.Since(began).Seconds()*float64(rate))+1)
		for len(h.moments) < due {
			mu.Lock()
			h.moments = append(h.moments, time.Since(began))
			mu.Unlock()
		}
	}
	return h
}

// settled waits until all devices of some pushes have acknowledged, and compares the reports. The pushes are then over, so
// that they do not weigh on what is measured next.
func (h *house) settled(ctx context.Context, ids []push.ID, devices int) error {
	for _, id := range ids {
		p, err := h.store.Find(ctx, online, id)
		if err != nil {
			return err
		}
		for deadline := time.Now().Add(time.Minute); ; {
			r, err := h.ledger.Report(ctx, p, time.Now())
			if err != nil {
				return err
			}
			if r.Delivered == devices && r.Sent == devices && r.Target == devices && r.Pending == 0 {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("push %d: the report is %+v a minute after its %d devices acknowledged", id, r, devices)
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}
