package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"time"

	"github.com/carillonpush/carillon/sdk/carillon"
)

// A hook is a webhook's receiver, and what it was told.
type hook struct {
	life *life

	mu      sync.Mutex // guards what follows
	secret  string
	calls   int
	batches map[string][]carillon.Event // by number
	told    map[happening]string        // by what happened: the batch that told it
}

// A happening is something that is told once.
type happening struct{ push, device, event, reason string }

func newHook(l *life) *hook {
	h := &hook{life: l, batches: map[string][]carillon.Event{}, told: map[happening]string{}}
	srv := httptest.NewServer(h)
	l.t.Cleanup(srv.Close)
	var made struct{ Secret string }
	err := l.call(l.t.Context(), "POST", "/v1/apps/life/webhooks", nil, map[string]any{"url": srv.URL}, &made)
	if err != nil {
		l.t.Fatal(err)
	}
	h.secret = made.Secret
	return h
}

func (h *hook) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Sprintf("%d calls told %d things in %d batches", h.calls, len(h.told), len(h.batches))
}

// ServeHTTP takes a call. Two of the first are not taken, one of them although it was read.
func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the node was killed
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := carillon.VerifyWebhook(h.secret, r.Header, body, time.Now()); err != nil {
		h.life.wrong("webhook: %v", err)
		return
	}
	h.calls++
	if h.calls == 5 {
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	h.take(body)
	if h.calls == 40 {
		http.Error(w, "it was too much", http.StatusServiceUnavailable)
	}
}

// take notes what a call tells. mu is held.
func (h *hook) take(body []byte) {
	var c carillon.WebhookCall
	if err := json.Unmarshal(body, &c); err != nil {
		h.life.wrong("webhook: %q: %v", body, err)
		return
	}
	for i := range c.Events {
		c.Events[i].State = "" // of a push that is done, and over when it is told again
	}
	before, again := h.batches[c.Batch]
	if again && !slices.EqualFunc(before, c.Events, func(a, b carillon.Event) bool { return a == b }) {
		h.life.wrong("webhook: batch %s told %v, and then %v", c.Batch, before, c.Events)
	}
	h.batches[c.Batch] = c.Events
	for _, e := range c.Events {
		if e.Event == "finished" { // a push may be done, and then over
			h.told[happening{push: e.Push, event: e.Event}] = c.Batch
			continue
		}
		what := happening{e.Push, e.Device, e.Event, e.Reason}
		if before, ok := h.told[what]; ok && (before != c.Batch || !again) {
			h.life.wrong("webhook: %+v was told in batch %s, and in batch %s", what, before, c.Batch)
		}
		h.told[what] = c.Batch
	}
}

// checkHook holds what was told against the reports and what devices saw. What is told may take a while.
func (l *life) checkHook() {
	var fault string
	for deadline := time.Now().Add(60 * time.Second); ; pause(l.t, 200*time.Millisecond) {
		if fault = l.hookFault(); fault == "" {
			return
		}
		if time.Now().After(deadline) {
			l.wrong("webhook: %s", fault)
			return
		}
	}
}

// hookFault returns what is wrong with what was told, "" for nothing.
func (l *life) hookFault() string {
	reports := l.reports()
	l.hook.mu.Lock()
	told := map[string]map[string]int{} // by push and event
	for what := range l.hook.told {
		if told[what.push] == nil {
			told[what.push] = map[string]int{}
		}
		told[what.push][what.event+what.reason]++
		if r := reports[what.push]; r == nil {
			l.hook.mu.Unlock()
			return fmt.Sprintf("%+v is of nobody's push", what)
		}
	}
	delivered := make(map[happening]bool, len(l.hook.told))
	for what := range l.hook.told {
		if what.event == "delivered" {
			delivered[what] = true
		}
	}
	l.hook.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	for what := range delivered {
		if i, ok := l.index[what.device]; !ok || len(l.got[i][what.push]) == 0 {
			return fmt.Sprintf("%+v was told, and did not happen", what)
		}
	}
	for _, x := range l.tales {
		r, of := reports[x.id], told[x.id]
		confirmed := 0
		if r.Recall != nil {
			confirmed = r.Recall.Confirmed
		}
		switch {
		case of["delivered"] != r.Delivered:
			return fmt.Sprintf("%s push %s (%s, %s): delivered to %d devices, told of %d", x.kind, x.id, x.key, x.ending, r.Delivered, of["delivered"])
		case of["opened"] != r.Opened:
			return fmt.Sprintf("%s push %s (%s): opened on %d devices, told of %d", x.kind, x.id, x.key, r.Opened, of["opened"])
		case of["recalled"] != confirmed:
			return fmt.Sprintf("%s push %s (%s): %d devices confirmed the recall, told of %d", x.kind, x.id, x.key, confirmed, of["recalled"])
		case x.kind == "direct" && of["droppedcancelled"] != r.Dropped["cancelled"]:
			return fmt.Sprintf("direct push %s (%s): cancelled for %d devices, told of %d", x.id, x.key, r.Dropped["cancelled"], of["droppedcancelled"])
		case x.kind != "direct" && r.Target > 0 && of["finished"] == 0:
			return fmt.Sprintf("%s push %s (%s, %s): nobody was told that it finished", x.kind, x.id, x.key, x.ending)
		}
	}
	return ""
}
