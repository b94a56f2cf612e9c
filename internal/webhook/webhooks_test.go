package webhook_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

func TestWebhooks(t *testing.T) {
	records(t, func(t *testing.T, r record) {
		h := newHouse(t, r, nil)
		a := h.add("https://example.com/a", "opened", "delivered")
		b := h.add("https://example.com/b")
		if bytes.Equal(a.Secret, b.Secret) || len(a.Secret) != 32 {
			t.Errorf("secrets %x and %x, want two of 32 bytes", a.Secret, b.Secret)
		}
		stored, err := r.Webhooks(t.Context())
		if err != nil || len(stored) != 2 || bytes.Equal(stored[0].Secret, a.Secret) {
			t.Fatalf("the record has %v, %v, want two with sealed secrets", stored, err)
		}
		for _, h := range []*house{h, newHouse(t, r, nil)} { // and after a restart
			all := h.Webhooks.Webhooks(1)
			if len(all) != 2 || all[0].ID != a.ID || all[1].ID != b.ID || !all[0].Created.Equal(noon) {
				t.Fatalf("got %+v, want both in order", all)
			}
			if all[0].Secret != nil || all[1].Secret != nil {
				t.Error("secrets are shown again")
			}
			if !slices.Equal(all[0].Events, []string{"delivered", "opened"}) || len(all[1].Events) != 0 {
				t.Errorf("events %v and %v", all[0].Events, all[1].Events)
			}
			if len(h.Wanted(1)) != 2 || len(h.Wanted(2)) != 0 {
				t.Errorf("wanted: %d and %d, want 2 and none", len(h.Wanted(1)), len(h.Wanted(2)))
			}
		}
		for _, tt := range []struct {
			name string
			hook push.Webhook
			kind push.Kind
		}{
			{"no URL", push.Webhook{App: 1, URL: "example.com"}, push.Invalid},
			{"an event that is none", push.Webhook{App: 1, URL: "https://example.com", Events: []string{"moved"}}, push.Invalid},
			{"no app", push.Webhook{App: 9, URL: "https://example.com"}, push.NotFound},
		} {
			if _, err := h.AddWebhook(t.Context(), tt.hook); !errors.Is(err, tt.kind) {
				t.Errorf("%s: got %v, want %v", tt.name, err, tt.kind)
			}
		}
		for range push.MaxWebhooks - 2 {
			h.add("https://example.com/more")
		}
		if _, err := h.AddWebhook(t.Context(), push.Webhook{App: 1, URL: "https://example.com"}); !errors.Is(err, push.TooMany) {
			t.Errorf("one too many: %v", err)
		}

		h.fold(a, happened(1, push.MarkOpened))
		if err := h.RemoveWebhook(t.Context(), 2, a.ID); !errors.Is(err, push.NotFound) {
			t.Errorf("another app's: %v", err)
		}
		if err := h.RemoveWebhook(t.Context(), 1, a.ID); err != nil {
			t.Fatal(err)
		}
		if err := h.RemoveWebhook(t.Context(), 1, a.ID); !errors.Is(err, push.NotFound) {
			t.Errorf("again: %v", err)
		}
		if all := h.Webhooks.Webhooks(1); len(all) != push.MaxWebhooks-1 || all[0].ID != b.ID {
			t.Errorf("left %v", all)
		}
		if err := h.Work(t.Context(), 1, a.ID); err != nil {
			t.Errorf("work on what is gone: %v", err)
		}
		if _, err := h.Batches(t.Context(), 1, a.ID, false, 0, 10); !errors.Is(err, push.NotFound) {
			t.Errorf("its batches: %v", err)
		}
		if _, err := h.Batches(t.Context(), 2, b.ID, false, 0, 10); !errors.Is(err, push.NotFound) {
			t.Errorf("batches of another app's: %v", err)
		}
		if _, err := h.Replay(t.Context(), 2, b.ID, nil); !errors.Is(err, push.NotFound) {
			t.Errorf("replay of another app's: %v", err)
		}
	})
}

// A sealed secret is of one place: moved to another address it signs nothing.
func TestASecretIsBoundToItsAddress(t *testing.T) {
	r := new(memStore)
	h := newHouse(t, r, nil)
	rec := newReceiver(t, h, nil)
	w := h.add("https://example.com/")
	r.hooks[0].URL = rec.URL
	if err := h.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.fold(w, happened(1, push.MarkSent))
	if err := h.Work(t.Context(), 1, w.ID); err == nil || len(rec.got()) != 0 {
		t.Errorf("Work: %v after %d calls, want an error and none", err, len(rec.got()))
	}
}

// Run asks for work on what is due, was due before it, and becomes due; Batched itself does nothing that could wait.
func TestRun(t *testing.T) {
	h := newHouse(t, new(memStore), nil)
	rec := newReceiver(t, h, nil)
	left, batched := h.add(rec.URL), h.add(rec.URL)
	h.fold(left, happened(1, push.MarkSent))
	h.mu.Lock()
	h.wakes = nil // the hint is lost
	h.mu.Unlock()
	for range 3 {
		h.Batched(1, batched.ID)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	deadline := time.Now().Add(20 * time.Second)
	for woken := map[push.WebhookID]bool{}; len(woken) < 2; {
		if w, ok := h.nextWake(); ok {
			woken[w.id] = true
		} else if time.Now().After(deadline) {
			t.Fatalf("woken for %v, want %d and %d", woken, left.ID, batched.ID)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
