package webhook

import (
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// turns let one worker at a time work on a webhook, and none before it may be called again.
type turns struct {
	mu      sync.Mutex              // guards what follows
	working map[push.WebhookID]bool // whether somebody asked for more meanwhile
	held    map[push.WebhookID]time.Time
	failed  map[push.WebhookID]int // calls in a row that were not answered
}

func (t *turns) init() {
	t.working, t.held, t.failed = map[push.WebhookID]bool{}, map[push.WebhookID]time.Time{}, map[push.WebhookID]int{}
}

// enter reports whether the caller may work on a webhook. If not, who does will look again.
func (t *turns) enter(id push.WebhookID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, busy := t.working[id]; busy {
		t.working[id] = true
		return false
	}
	t.working[id] = false
	return true
}

// leave ends the work on a webhook, unless somebody asked for more meanwhile and the worker can.
func (t *turns) leave(id push.WebhookID, can bool) (left bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.working[id] && can {
		t.working[id] = false
		return false
	}
	delete(t.working, id)
	return true
}

// hold has a webhook not be called before until.
func (t *turns) hold(id push.WebhookID, until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held[id] = until
}

// release lets it be called again, as if it had not failed.
func (t *turns) release(id push.WebhookID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.held, id)
	delete(t.failed, id)
}

// failure counts a call that was not answered, and returns how many there were in a row.
func (t *turns) failure(id push.WebhookID) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed[id]++
	return t.failed[id]
}

// heldUntil returns before when a webhook must not be called; zero if it may be called at now.
func (t *turns) heldUntil(id push.WebhookID, now time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	until := t.held[id]
	if !until.After(now) {
		delete(t.held, id)
		return time.Time{}
	}
	return until
}

type hook struct {
	app push.AppID
	id  push.WebhookID
}

// batched are webhooks for which there is something new.
type batched struct {
	some chan struct{} // has one while there are any

	mu  sync.Mutex // guards all
	all map[hook]struct{}
}

func (b *batched) init() {
	b.some, b.all = make(chan struct{}, 1), map[hook]struct{}{}
}

func (b *batched) add(h hook) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all[h] = struct{}{}
	select {
	case b.some <- struct{}{}:
	default:
	}
}

func (b *batched) take() []hook {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]hook, 0, len(b.all))
	for h := range b.all {
		all = append(all, h)
	}
	clear(b.all)
	return all
}
