package webhook_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/webhook"
)

func all(marks ...push.Mark) []push.Happening {
	var out []push.Happening
	for _, m := range marks {
		out = append(out, happened(1, m))
	}
	return out
}

// A following is one Follow under way.
type following struct {
	got  chan push.Event
	done chan error
	stop context.CancelFunc
}

func follow(h *house, app push.AppID, events ...string) *following {
	ctx, cancel := context.WithCancel(context.Background())
	f := &following{got: make(chan push.Event, 100), done: make(chan error, 1), stop: cancel}
	go func() {
		f.done <- h.Follow(ctx, app, events, func(e push.Event) error {
			f.got <- e
			return nil
		})
	}()
	return f
}

// names takes the names of the events that f got.
func (f *following) names() []string {
	synctest.Wait()
	var names []string
	for len(f.got) > 0 {
		names = append(names, (<-f.got).Event)
	}
	return names
}

func (f *following) end(t *testing.T) {
	t.Helper()
	f.stop()
	if err := <-f.done; err != nil {
		t.Errorf("Follow: %v, want nil when its context ends", err)
	}
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, new(memStore), nil)
		h.Happened(1, all(push.MarkSent)) // nobody follows
		everything, opened, other := follow(h, 1), follow(h, 1, "opened", "finished"), follow(h, 2)
		synctest.Wait()
		h.Happened(1, all(push.MarkSent, push.MarkDelivered, push.MarkOpened))
		h.Happened(1, all(push.MarkClicked, push.MarkFinished, push.MarkCapped))
		for _, tt := range []struct {
			name string
			f    *following
			want []string
		}{
			{"all events", everything, []string{"sent", "delivered", "opened", "clicked", "finished", "dropped"}},
			{"some events", opened, []string{"opened", "finished"}},
			{"another app", other, nil},
		} {
			if got := tt.f.names(); !slices.Equal(got, tt.want) {
				t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
			}
			tt.f.end(t)
		}
		if err := h.Follow(t.Context(), 1, []string{"moved"}, nil); !errors.Is(err, push.Invalid) {
			t.Errorf("an event that is none: %v", err)
		}
	})
}

func TestAFollowersEventIsWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, new(memStore), nil)
		f := follow(h, 1)
		synctest.Wait()
		h.Happened(1, []push.Happening{happened(3, push.MarkDelivered), happened(0, push.MarkFinished)})
		synctest.Wait()
		at := noon.Add(-time.Second)
		want := []push.Event{
			{Time: at, Event: "delivered", Push: 8, Device: "device-3", Channel: "own"},
			{Time: at, Event: "finished", Push: 8, State: push.Done},
		}
		if got := []push.Event{<-f.got, <-f.got}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		f.end(t)
	})
}

// Who does not keep up is cut off, and holds nobody up; who asks for less is not cut off for what it does not want.
func TestSlowFollowersAreCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, new(memStore), func(o *webhook.Options) { o.Buffer = 10 })
		release := make(chan struct{})
		slow := make(chan error, 1)
		go func() {
			slow <- h.Follow(t.Context(), 1, nil, func(push.Event) error { <-release; return nil })
		}()
		few, fast := follow(h, 1, "opened"), follow(h, 1)
		synctest.Wait()
		for range 12 {
			h.Happened(1, all(push.MarkSent, push.MarkDelivered))
			synctest.Wait()
		}
		if n := len(fast.names()); n != 24 {
			t.Errorf("the fast one got %d events, want 24", n)
		}
		close(release)
		if err := <-slow; !errors.Is(err, push.Unavailable) {
			t.Errorf("the slow one: %v, want unavailable", err)
		}
		h.Happened(1, all(push.MarkOpened))
		if got := few.names(); !slices.Equal(got, []string{"opened"}) {
			t.Errorf("the one that wants little got %v", got)
		}
		few.end(t)
		fast.end(t)
	})
}

func TestTooManyFollowers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, new(memStore), func(o *webhook.Options) { o.Most = 1 })
		f := follow(h, 1)
		synctest.Wait()
		if err := h.Follow(t.Context(), 1, nil, nil); !errors.Is(err, push.TooMany) {
			t.Errorf("the second: %v, want too many", err)
		}
		f.end(t)
		if h.Followed(1) {
			t.Error("somebody follows after the only one has ended")
		}
		f = follow(h, 1) // there is room again
		synctest.Wait()
		if !h.Followed(1) || h.Followed(2) {
			t.Errorf("followed: %v and %v, want app 1 alone", h.Followed(1), h.Followed(2))
		}
		f.end(t)
	})
}

func TestAWriteThatFailsEndsTheFollowing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, new(memStore), nil)
		gone, done := errors.New("gone"), make(chan error, 1)
		go func() { done <- h.Follow(t.Context(), 1, nil, func(push.Event) error { return gone }) }()
		synctest.Wait()
		h.Happened(1, all(push.MarkSent))
		if err := <-done; !errors.Is(err, gone) {
			t.Errorf("got %v, want the error of write", err)
		}
	})
}
