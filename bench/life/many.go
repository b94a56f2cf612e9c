package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// manied is what accepting pushes takes while many are live.
type manied struct {
	Live int `json:"live"`

	Build   float64 `json:"accepted_and_begun_seconds"` // of all, by several senders
	Rate    float64 `json:"pushes_per_second"`
	Accept  latency `json:"accept"` // of each, meanwhile
	Begun   latency `json:"done"`   // of each, from the request
	Heap    int64   `json:"heap_bytes"`
	PerPush float64 `json:"record_bytes_per_push"`

	None   oneByOne `json:"with_none_live"` // one push after the other
	Many   oneByOne `json:"with_many_live"`
	Load   float64  `json:"start_seconds"` // of a house over that record
	Others float64  `json:"processors_busy_with_others"`

	Refused refused `json:"refused"`
}

// oneByOne is what pushes take that are started one after the other.
type oneByOne struct {
	Accept latency `json:"accept"`
	Done   latency `json:"done"` // from the request
}

// refused is what becomes of pushes for which there is no room.
type refused struct {
	Budget   int64   `json:"budget_bytes"`
	Accepted int     `json:"accepted"` // before the first that was refused
	Waiting  int     `json:"waiting"`  // of them: accepted, and waiting for room
	Kind     string  `json:"kind"`
	Msg      string  `json:"message"`
	Retry    float64 `json:"retry_after_seconds"`
	Took     latency `json:"took"` // of further refusals
	Heap     int64   `json:"heap_bytes"`
	Room     int     `json:"accepted_after_cancels"` // of one for each of a few that were cancelled
}

// The kinds of audiences, which come in turn: everybody, half of all, one of 128, one of a thousand. But for the first no two
// are alike, as far as there are that many.
func drawn(r *rand.Rand, i int) push.Audience {
	switch i % 4 {
	case 0:
		return everybody
	case 1:
		return half(r)
	case 2:
		return where(push.And(attr(attrBucket, strconv.Itoa(r.IntN(buckets))), attr(attrTenth, some(r, 10, 5)...)))
	default:
		return where(attr(attrThousandth, strconv.Itoa(r.IntN(1000))))
	}
}

// half draws an audience of half of all devices: no bitmap can be smaller.
func half(r *rand.Rand) push.Audience { return where(attr(attrBucket, some(r, buckets, buckets/2)...)) }

// some draws so many of the numbers below n.
func some(r *rand.Rand, n, count int) []string {
	all := make([]string, count)
	for i, v := range r.Perm(n)[:count] {
		all[i] = strconv.Itoa(v)
	}
	return all
}

// senders is how many accept at once.
const senders = 4

// measureMany has many pushes live to devices that are away, and accepts more.
func measureMany(ctx context.Context, o options, p *place, on *measured) error {
	m := &manied{Live: o.live}
	if err := m.refuse(ctx, o, p); err != nil {
		return err
	}
	n := listen()
	bytes, err := grown(ctx, p, nil, func(h *house) error {
		r := rand.New(rand.NewPCG(o.seed, 10))
		if err := m.None.measure(ctx, h, r); err != nil {
			return err
		}
		before := heap()
		if err := m.build(ctx, o, h); err != nil {
			return err
		}
		m.Heap = heap() - before
		return m.Many.measure(ctx, h, r)
	})
	if err != nil {
		return err
	}
	m.Others, _ = n.others()
	m.PerPush = round(float64(bytes)/float64(o.live+2*again), 0)
	began := time.Now()
	h, err := open(ctx, p, nil)
	m.Load = seconds(time.Since(began))
	if err != nil {
		return err
	}
	on.Many = m
	return h.close()
}

// heap returns the bytes that are in use, without what is not needed any more.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// build has so many pushes accepted and begun as are to be live.
func (m *manied) build(ctx context.Context, o options, h *house) error {
	var mu sync.Mutex // guards what follows
	var accepts, begins []time.Duration
	var failed error
	note := func(accept, begin time.Duration, err error) {
		mu.Lock()
		defer mu.Unlock()
		accepts, begins, failed = append(accepts, accept), append(begins, begin), errors.Join(failed, err)
	}
	var group sync.WaitGroup
	began := time.Now()
	for s := range senders {
		r := rand.New(rand.NewPCG(o.seed, uint64(s)))
		group.Go(func() {
			for i := s; i < o.live && ctx.Err() == nil; i += senders {
				_, accept, done, err := h.start(ctx, drawn(r, i/senders))
				if note(accept, accept+done, err); err != nil {
					return
				}
			}
		})
	}
	group.Wait()
	if err := errors.Join(failed, ctx.Err()); err != nil {
		return err
	}
	m.Build = seconds(time.Since(began))
	m.Rate = round(float64(o.live)/time.Since(began).Seconds(), 0)
	m.Accept, m.Begun = latencyOf(accepts), latencyOf(begins)
	return nil
}

// measure starts pushes one after the other.
func (a *oneByOne) measure(ctx context.Context, h *house, r *rand.Rand) error {
	var accepts, all []time.Duration
	for i := range again {
		_, accept, done, err := h.start(ctx, drawn(r, i))
		if err != nil {
			return err
		}
		accepts, all = append(accepts, accept), append(all, accept+done)
	}
	a.Accept, a.Done = latencyOf(accepts), latencyOf(all)
	return nil
}

// smallBudget holds some dozens of pushes to half of a million devices.
const smallBudget = 8 << 20

// refuse accepts pushes to halves of all devices under a small budget, until one is refused. They are over afterwards.
func (m *manied) refuse(ctx context.Context, o options, p *place) error {
	out := &m.Refused
	out.Budget = smallBudget * int64(o.devices) / 1_000_000
	h, err := open(ctx, p, nil)
	if err != nil {
		return err
	}
	if err := h.cancelAll(ctx); err != nil { // what other parts have left is live
		return closed(h, err)
	}
	if err := h.close(); err != nil {
		return err
	}
	if h, err = open(ctx, p, &houseOptions{liveMemory: out.Budget}); err != nil {
		return err
	}
	h.runs(ctx, h.dispatcher.Run, h.ledger.Run)
	return closed(h, func() error {
		before := heap()
		ids, err := out.until(ctx, o, h)
		if err != nil {
			return err
		}
		out.Heap = heap() - before
		if err := out.cancelled(ctx, o, h, ids); err != nil {
			return err
		}
		return h.cancelAll(ctx)
	}())
}

// until accepts until one is refused, and some more.
func (out *refused) until(ctx context.Context, o options, h *house) (ids []push.ID, err error) {
	r := rand.New(rand.NewPCG(o.seed, 20))
	for {
		accepted, err := h.dispatcher.Accept(ctx, request(away, half(r)))
		if e, ok := errors.AsType[*push.Error](err); ok && e.Kind == push.TooMany {
			out.Kind, out.Msg, out.Retry = e.Kind.Error(), e.Msg, e.RetryAfter.Seconds()
			break
		}
		if err != nil {
			return nil, err
		}
		if ids = append(ids, accepted.ID); len(ids) > 10_000 {
			return nil, errors.New("nothing is refused")
		}
		soon, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		if h.starts.await(soon, accepted.ID) != nil {
			out.Waiting++
		}
		cancel()
	}
	out.Accepted = len(ids)
	var took []time.Duration
	for range again {
		began := time.Now()
		if _, err := h.dispatcher.Accept(ctx, request(away, half(r))); push.KindOf(err) != push.TooMany {
			return nil, fmt.Errorf("one was refused, and the next has %w", err)
		}
		took = append(took, time.Since(began))
	}
	out.Took = latencyOf(took)
	return ids, nil
}

// cancelled cancels a few pushes, and accepts one for each.
func (out *refused) cancelled(ctx context.Context, o options, h *house, ids []push.ID) error {
	r := rand.New(rand.NewPCG(o.seed, 21))
	few := min(10, len(ids)/2)
	for _, id := range ids[:few] {
		if _, err := h.dispatcher.Cancel(ctx, away, id); err != nil {
			return err
		}
	}
	for range few {
		accepted, err := h.dispatcher.Accept(ctx, request(away, half(r)))
		if push.KindOf(err) == push.TooMany {
			return nil
		}
		if err != nil {
			return err
		}
		out.Room++
		soon, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		_ = h.starts.await(soon, accepted.ID) // or it waits for room
		cancel()
	}
	return nil
}

// cancelAll cancels everything that is live or waits.
func (h *house) cancelAll(ctx context.Context) error {
	var all []push.Push
	err := h.store.Live(ctx, func(row push.Live) error {
		all = append(all, row.Push)
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range all {
		// Of what everybody has acknowledged nothing is pending: that is a conflict, and it is no burden.
		if _, err := h.dispatcher.Cancel(ctx, p.App, p.ID); err != nil && push.KindOf(err) != push.Conflict {
			return err
		}
	}
	return nil
}
