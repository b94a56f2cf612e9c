package restserver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// writeTimeout is how long one write of a stream may take: a reader slower than this is closed.
const writeTimeout = 30 * time.Second

// follow answers a stream of server-sent events, which feed writes until it returns: when ctx, which is the request's or ends
// before it, is over, or when a write fails. A comment goes out when nothing else does.
func (s *Server) follow(ctx context.Context, c *call, feed func(ctx context.Context, out *eventWriter) error) {
	out := &eventWriter{w: c.w, rc: http.NewResponseController(c.w)}
	// The deadlines of ordinary requests would end the stream. A writer that has none needs none lifted.
	_ = out.rc.SetReadDeadline(time.Time{})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	h := c.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would keep events back
	c.w.WriteHeader(http.StatusOK)

	err := out.write([]byte(": connected\n\n"))
	var wg sync.WaitGroup
	if err == nil {
		wg.Go(func() { out.beat(ctx, s.opts.Heartbeat, cancel) })
		err = feed(ctx, out)
	}
	if e := (*push.Error)(nil); errors.As(err, &e) && ctx.Err() == nil {
		// The status has gone out, so the reason is an event of its own.
		p, _ := json.Marshal(problemOf(err)) // strings and a number
		_ = out.write(append(append([]byte("event: problem\ndata: "), p...), "\n\n"...))
	}
	if err != nil {
		// An error that is none of the domain's is the feed's way to say that the connection is over.
		s.log.Debug("stream ended", "op", c.rt.id, "err", err)
	}
	cancel()
	wg.Wait()
	out.close()
}

// An eventWriter writes events one at a time, each with a deadline of its own.
type eventWriter struct {
	rc *http.ResponseController

	mu   sync.Mutex // guards what follows
	w    http.ResponseWriter
	last time.Time
	err  error // of the first write that failed: nothing is written after it
}

func (e *eventWriter) write(b []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return e.err
	}
	e.last = time.Now()
	_ = e.rc.SetWriteDeadline(e.last.Add(writeTimeout)) // also lifts the one of ordinary requests
	if _, e.err = e.w.Write(b); e.err == nil {
		e.err = e.rc.Flush()
	}
	return e.err
}

// beat writes a comment when nothing was written for a while, until ctx ends. When that fails it calls failed.
func (e *eventWriter) beat(ctx context.Context, period time.Duration, failed func()) {
	next := time.NewTimer(period)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		e.mu.Lock()
		left := period - time.Since(e.last)
		e.mu.Unlock()
		if left <= 0 {
			if e.write([]byte(": beat\n\n")) != nil {
				failed()
				return
			}
			left = period
		}
		next.Reset(left)
	}
}

// close leaves the connection to the next request. A write that the feed gave up on fails, or has ended.
func (e *eventWriter) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err == nil {
		e.err = http.ErrHandlerTimeout
	}
	_ = e.rc.SetWriteDeadline(time.Time{})
}
