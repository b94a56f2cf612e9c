package webhook

import (
	"context"
	"slices"
	"sync"

	"github.com/carillonpush/carillon/internal/push"
)

// stream is who follows the events of apps.
type stream struct {
	buffer, most int

	mu        sync.RWMutex // guards followers
	followers map[push.AppID][]*follower
}

func (s *stream) init(buffer, most int) {
	s.buffer, s.most, s.followers = buffer, most, map[push.AppID][]*follower{}
}

// A follower is one who follows. What waits for it are slices that followers share.
type follower struct {
	wants push.Webhook  // its events
	some  chan struct{} // has one when something waits or it is cut

	mu      sync.Mutex // guards what follows
	waiting [][]push.Happening
	n       int // happenings in waiting
	cut     bool
}

// Happened hands all, which nobody may change, to those who follow app. It does not wait for them.
func (w *Webhooks) Happened(app push.AppID, all []push.Happening) {
	w.stream.mu.RLock()
	defer w.stream.mu.RUnlock()
	for _, f := range w.stream.followers[app] {
		f.offer(all, w.stream.buffer)
	}
}

// Followed reports whether anybody follows app. It does no I/O.
func (w *Webhooks) Followed(app push.AppID) bool {
	w.stream.mu.RLock()
	defer w.stream.mu.RUnlock()
	return len(w.stream.followers[app]) > 0
}

// offer has all wait for f, or cuts f off if that would be more than buffer.
func (f *follower) offer(all []push.Happening, buffer int) {
	if len(f.wants.Events) > 0 {
		var some []push.Happening
		for _, h := range all {
			if f.wants.Wants(h.Mark.EventName()) {
				some = append(some, h)
			}
		}
		all = some
	}
	if len(all) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cut {
		return
	}
	if f.n+len(all) > buffer {
		f.cut, f.waiting, f.n = true, nil, 0
	} else {
		f.waiting, f.n = append(f.waiting, all), f.n+len(all)
	}
	select {
	case f.some <- struct{}{}:
	default:
	}
}

// take returns what waits; ok is false if f was cut off.
func (f *follower) take() (all []push.Happening, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cut {
		return nil, false
	}
	if len(f.waiting) == 0 {
		return nil, true
	}
	all, f.waiting = f.waiting[0], f.waiting[1:]
	f.n -= len(all)
	return all, true
}

// Follow calls write with one event of app after another from now on, until ctx ends, which is no error, or write fails.
// events are the names of those that are wanted, none is all. Invalid for a name that is none; TooMany if too many follow the
// app; Unavailable if the caller does not keep up, or an event cannot be told.
func (w *Webhooks) Follow(ctx context.Context, app push.AppID, events []string, write func(push.Event) error) error {
	const op = "webhook.Follow"
	for _, e := range events {
		if !slices.Contains(push.EventNames(), e) {
			return &push.Error{Op: op, Kind: push.Invalid, Field: "events", Msg: "has names of events"}
		}
	}
	f := &follower{wants: push.Webhook{Events: events}, some: make(chan struct{}, 1)}
	if !w.stream.add(app, f) {
		return &push.Error{Op: op, Kind: push.TooMany, Msg: "too many follow the events of the app"}
	}
	defer w.stream.remove(app, f)
	for {
		select {
		case <-f.some:
		case <-ctx.Done():
			return nil
		}
		for {
			all, ok := f.take()
			if !ok {
				return &push.Error{Op: op, Kind: push.Unavailable, Msg: "events happen faster than they are read"}
			}
			if len(all) == 0 {
				break
			}
			if err := w.write(ctx, all, write); err != nil || ctx.Err() != nil {
				return err
			}
		}
	}
}

// write writes all, until ctx ends.
func (w *Webhooks) write(ctx context.Context, all []push.Happening, write func(push.Event) error) error {
	for _, h := range all {
		if ctx.Err() != nil {
			return nil
		}
		e, err := w.event(ctx, h)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return &push.Error{Op: "webhook.Follow", Kind: push.Unavailable, Msg: "an event cannot be told", Err: err}
		}
		if err := write(e); err != nil {
			return err
		}
	}
	return nil
}

// add has f follow app, unless too many do.
func (s *stream) add(app push.AppID, f *follower) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.followers[app]) >= s.most {
		return false
	}
	s.followers[app] = append(s.followers[app], f)
	return true
}

func (s *stream) remove(app push.AppID, f *follower) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := slices.DeleteFunc(s.followers[app], func(g *follower) bool { return g == f })
	if len(left) == 0 {
		delete(s.followers, app)
	} else {
		s.followers[app] = left
	}
}
