package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// started is what broadcasts to one audience of devices that are away took.
type started struct {
	Audience string `json:"audience"`
	Target   int    `json:"target"`

	First      float64 `json:"first_ms"` // from the request to done: the target is new to the record
	FirstBytes int64   `json:"first_bytes"`
	FirstWAL   int64   `json:"first_wal_bytes"` // SQLite: the write-ahead log that held it, before it is used again

	Again      latency `json:"again"` // from the request to done: others have the same target
	AgainBytes int64   `json:"again_bytes"`
	Accept     latency `json:"accept"` // of that: until the sender is answered

	Store latency `json:"floor_store"` // the same three commits without the rooms
	Files latency `json:"floor_files"` // as many bytes appended to a file and synced, three times

	Others float64 `json:"processors_busy_with_others"`
}

// again is how often a broadcast is started again.
const again = 20

// measureStarts starts broadcasts to devices that are away.
func measureStarts(ctx context.Context, o options, p *place, on *measured) error {
	halves := func(h string) push.Audience { return where(attr(attrHalf, h)) }
	for _, a := range []struct {
		name   string
		who    push.Audience
		target int
	}{
		{"everybody", everybody, o.devices},
		{"every second device", halves("0"), (o.devices + 1) / 2},
		{"the others", halves("1"), o.devices / 2},
	} {
		s := started{Audience: a.name, Target: a.target}
		n := listen()
		if err := s.first(ctx, p, a.who); err != nil {
			return err
		}
		if err := s.again(ctx, p, a.who); err != nil {
			return err
		}
		s.Others, _ = n.others()
		on.Starts = append(on.Starts, s)
	}
	return nil
}

// grown opens a house, calls f, and returns how much larger the record is when the house is closed again, with all that was
// folded, and copied out of the log.
func grown(ctx context.Context, p *place, opts *houseOptions, f func(*house) error) (int64, error) {
	before, err := p.size()
	if err != nil {
		return 0, err
	}
	h, err := open(ctx, p, opts)
	if err != nil {
		return 0, err
	}
	h.runs(ctx, h.dispatcher.Run, h.ledger.Run, h.registry.Run)
	if err := closed(h, f(h)); err != nil {
		return 0, err
	}
	now, err := p.size()
	return now - before, err
}

// first starts the first broadcast to an audience.
func (s *started) first(ctx context.Context, p *place, who push.Audience) (err error) {
	s.FirstBytes, err = grown(ctx, p, nil, func(h *house) error {
		wal := p.wal()
		_, accept, done, err := h.start(ctx, who)
		if err != nil {
			return err
		}
		s.First = ms(accept + done)
		if err := h.ledger.Fold(ctx); err != nil { // else it comes within two seconds
			return err
		}
		s.FirstWAL = max(0, p.wal()-wal)
		return nil
	})
	return err
}

// start starts a broadcast, and returns how long it took until it was answered, and from then on until it was done.
func (h *house) start(ctx context.Context, who push.Audience) (id push.ID, accept, done time.Duration, err error) {
	began := time.Now()
	accepted, err := h.dispatcher.Accept(ctx, request(away, who))
	accept = time.Since(began)
	if err == nil {
		err = h.starts.await(ctx, accepted.ID)
	}
	return accepted.ID, accept, time.Since(began) - accept, err
}

// again starts the same broadcast again, and beside it does what can be done without the rooms.
func (s *started) again(ctx context.Context, p *place, who push.Audience) error {
	var accepts, all, bare, files []time.Duration
	bytes, err := grown(ctx, p, nil, func(h *house) error {
		for range again {
			_, accept, done, err := h.start(ctx, who)
			if err != nil {
				return err
			}
			accepts, all = append(accepts, accept), append(all, accept+done)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.AgainBytes, s.Accept, s.Again = bytes/again, latencyOf(accepts), latencyOf(all)
	_, err = grown(ctx, p, nil, func(h *house) error {
		id, _, _, err := h.start(ctx, who)
		if err != nil {
			return err
		}
		row, err := h.store.Load(ctx, away, id)
		if err != nil {
			return err
		}
		if row.Push.Target != s.Target || row.Push.State != push.Done {
			return fmt.Errorf("the push is %s, its target %d, want done and %d", row.Push.State, row.Push.Target, s.Target)
		}
		for range again {
			took, err := h.bare(ctx, row)
			if err != nil {
				return err
			}
			bare = append(bare, took)
		}
		files, err = appends(p.dir, row)
		return err
	})
	s.Store, s.Files = latencyOf(bare), latencyOf(files)
	return err
}

// bare commits what dispatch does for a broadcast that is like row.
func (h *house) bare(ctx context.Context, row push.Live) (time.Duration, error) {
	p := row.Push
	p.ID, p.State, p.Created = h.clock.Next(), push.Accepted, time.Now().Truncate(time.Millisecond)
	began := time.Now()
	_, _, err := h.store.Accept(ctx, &push.Acceptance{Push: p, Payload: row.Payload})
	if err == nil {
		err = h.store.Begin(ctx, push.Start{App: p.App, ID: p.ID, Target: row.Target, Count: row.Push.Target, Cursor: push.Everybody})
	}
	if err == nil {
		err = h.store.Move(ctx, p.App, p.ID, push.Sending, push.Done, "")
	}
	took := time.Since(began)
	if err == nil {
		err = h.store.Move(ctx, p.App, p.ID, push.Done, push.Cancelled, "")
	}
	return took, err
}

// appends writes the bytes of a broadcast to a file, the message, the target and a word, each synced, again and again.
func appends(dir string, row push.Live) (all []time.Duration, err error) {
	f, err := os.Create(filepath.Join(dir, "floor"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	var target []byte
	for _, c := range row.Target {
		target = append(target, c.Bits...)
	}
	for range again {
		began := time.Now()
		for _, b := range [][]byte{row.Payload, target, []byte("done")} {
			if _, err := f.Write(b); err != nil {
				return nil, err
			}
			if err := f.Sync(); err != nil {
				return nil, err
			}
		}
		all = append(all, time.Since(began))
	}
	return all, nil
}
