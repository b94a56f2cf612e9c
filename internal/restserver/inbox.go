package restserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Limits of a stream.
const (
	// writeTimeout is how long one write may take: a reader slower than this is closed, and its messages stay pending.
	writeTimeout = 30 * time.Second
	// streamQueue is how many messages may wait for the socket. The gateway has fewer than that under way to one device.
	streamQueue = 64
)

// errSlow ends the stream of a reader that has let its queue fill up.
var errSlow = errors.New("restserver: the reader of the inbox is too slow")

// stream is a device's inbox as server-sent events. Whoever has a message for the device must not wait for its socket,
// since it may have messages for a million others; so messages are queued here, and a goroutine writes them.
func (s *Server) stream(c *call) error {
	rc := http.NewResponseController(c.w)
	// The deadlines of ordinary requests would end the stream. A writer that has none needs none lifted.
	_ = rc.SetReadDeadline(time.Time{})
	ctx, cancel := context.WithCancel(c.r.Context())
	defer cancel()

	h := c.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would keep events back
	c.w.WriteHeader(http.StatusOK)

	queue := make(chan []byte, streamQueue)
	queue <- []byte(": connected\n\n")
	var wg sync.WaitGroup
	wg.Go(func() { s.drain(c.w, rc, queue, cancel) })
	err := s.house.Inbox.Stream(ctx, c.ref, func(message []byte) error {
		select {
		case queue <- frame(message):
			return nil
		default:
			return errSlow
		}
	})
	var e *push.Error
	if errors.As(err, &e) && ctx.Err() == nil {
		// The status has gone out, so the reason is an event of its own.
		p, _ := json.Marshal(problemOf(err)) // strings and a number
		select {
		case queue <- append(append([]byte("event: problem\ndata: "), p...), "\n\n"...):
		default: // too slow to be told
		}
	}
	if err != nil {
		// An error that is none of the domain's is the gateway's way to say that the connection is over.
		s.log.Debug("stream ended", "op", c.rt.id, "err", err)
	}
	close(queue)
	wg.Wait()
	_ = rc.SetWriteDeadline(time.Time{}) // the connection may serve other requests next
	return nil
}

// drain writes what is queued, and a comment when nothing was for a while, until queue is closed. After a failed write
// it calls failed, and takes the rest away unwritten.
func (s *Server) drain(w http.ResponseWriter, rc *http.ResponseController, queue <-chan []byte, failed func()) {
	beat := time.NewTicker(s.opts.Heartbeat)
	defer beat.Stop()
	broken := false
	write := func(b []byte) {
		if broken {
			return
		}
		_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout)) // also lifts the one of ordinary requests
		_, err := w.Write(b)
		if err == nil {
			err = rc.Flush()
		}
		if err != nil {
			broken = true
			failed()
		}
	}
	for {
		select {
		case b, ok := <-queue:
			if !ok {
				return
			}
			write(b)
			beat.Reset(s.opts.Heartbeat)
		case <-beat.C:
			write([]byte(": beat\n\n"))
		}
	}
}

// frame returns message as an event, its push id as the event's.
func frame(message []byte) []byte {
	var head struct {
		ID json.RawMessage `json:"id"`
	}
	var b bytes.Buffer
	if json.Unmarshal(message, &head) == nil && len(head.ID) > 2 {
		b.WriteString("id: ")
		b.Write(bytes.Trim(head.ID, `"`))
		b.WriteByte('\n')
	}
	b.WriteString("data: ")
	for _, c := range message {
		if c == '\n' || c == '\r' { // only between tokens, where a space means the same
			c = ' '
		}
		b.WriteByte(c)
	}
	b.WriteString("\n\n")
	return b.Bytes()
}
