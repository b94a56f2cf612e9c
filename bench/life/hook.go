package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/webhook"
)

// told is how fast a webhook was told what the record had for it.
type told struct {
	Events  int     `json:"events"`
	Calls   int     `json:"calls"`
	Bytes   int     `json:"bytes_per_call"`
	Seconds float64 `json:"seconds"` // from the wake-up to the answer of the last call
	Rate    float64 `json:"events_per_second"`
	Floor   float64 `json:"floor_events_per_second"` // the same bodies, posted by a loop to the same receiver
	CPU     float64 `json:"cpu_seconds_per_million"` // with the receiver's
	Others  float64 `json:"processors_busy_with_others"`
}

// A receiver is a server on loopback that verifies every call.
type receiver struct {
	url    string
	secret []byte

	mu      sync.Mutex // guards what follows
	bodies  map[string]call
	events  int
	wrong   error
	want    int
	arrived chan struct{} // closed when so many events have come
}

// A call is one call, as it came.
type call struct {
	body   []byte
	header http.Header
}

// receive starts a receiver, and makes it a webhook for all events of the app online. It ends with h.
func receive(ctx context.Context, h *house) (*receiver, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &receiver{url: "http://" + listener.Addr().String() + "/told", bodies: map[string]call{}}
	server := &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	h.closes = append(h.closes, func() error {
		err := server.Close()
		if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
		return err
	})
	made, err := h.webhooks.AddWebhook(ctx, push.Webhook{App: online, URL: r.url})
	r.secret = made.Secret
	return r, err
}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err == nil {
		var at int64
		if at, err = strconv.ParseInt(q.Header.Get("Carillon-Timestamp"), 10, 64); err == nil &&
			!webhook.Verify(r.secret, at, body, q.Header.Get("Carillon-Signature")) {
			err = errors.New("a call has the wrong signature")
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.wrong = err
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	n := bytes.Count(body, []byte(`"event":"`))
	r.bodies[q.Header.Get("Carillon-Batch")] = call{body, q.Header.Clone()}
	before := r.events
	if r.events += n; before < r.want && r.events >= r.want {
		close(r.arrived)
	}
}

// expect returns what is closed when so many events have come from now on.
func (r *receiver) expect(n int) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events, r.want, r.arrived = 0, n, make(chan struct{})
	return r.arrived
}

// tell has the webhook told what the record has for it.
func (h *house) tell(ctx context.Context, r *receiver, events int) (*told, error) {
	t := &told{}
	arrived := r.expect(events)
	n, began := listen(), time.Now()
	h.runs(ctx, h.queue.Run, h.webhooks.Run)
	select {
	case <-arrived:
	case <-time.After(2 * time.Minute):
		r.mu.Lock()
		defer r.mu.Unlock()
		return nil, fmt.Errorf("after two minutes %d of %d events have come (%v)", r.events, events, r.wrong)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	t.Seconds = round(time.Since(began).Seconds(), 3)
	var cpu float64
	t.Others, cpu = n.others()
	r.mu.Lock()
	t.Events, t.Calls = r.events, len(r.bodies)
	var all []call
	for _, c := range r.bodies {
		all = append(all, c)
		t.Bytes += len(c.body) / len(r.bodies)
	}
	wrong := r.wrong
	r.mu.Unlock()
	// That pushes were finished is told, too: some events more than receipts.
	if wrong != nil || t.Events > events+push.MaxBatch {
		return nil, errors.Join(wrong, fmt.Errorf("%d events came instead of %d", t.Events, events))
	}
	t.CPU = round(cpu/float64(t.Events)*1e6, 1)
	t.Rate = round(float64(t.Events)/t.Seconds, 0)
	return t, t.floor(ctx, r, all)
}

// floor posts the same calls by a bare loop.
func (t *told) floor(ctx context.Context, r *receiver, all []call) error {
	r.expect(t.Events)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	began := time.Now()
	for _, c := range all {
		q, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(c.body))
		if err != nil {
			return err
		}
		q.Header = c.header
		answer, err := client.Do(q)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			return err
		}
		if err := answer.Body.Close(); err != nil {
			return err
		}
	}
	t.Floor = round(float64(t.Events)/time.Since(began).Seconds(), 0)
	return nil
}
