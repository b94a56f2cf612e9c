package restserver_test

import (
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/restserver"
)

const events = "/v1/apps/1/events"

// happens hands an event of app 1 to whoever follows.
func (s *site) happens(name string) push.Event {
	e := push.Event{Time: s.clock, Event: name, Push: 42, Device: "app-1", Channel: "own"}
	s.feed <- e
	return e
}

func TestEvents(t *testing.T) {
	s := newSite(t, restserver.Options{Heartbeat: 5 * time.Millisecond})
	t.Run("events, heartbeats and the end", func(t *testing.T) {
		resp, cancel := watchPath(t, s, key1, events)
		until(t, resp, ": connected\n\n")
		s.happens("delivered")
		until(t, resp, "event: delivered\ndata: {\"time\":\"2026-11-25T01:00:00Z\",\"event\":\"delivered\",\"push\":\"42\",\"device\":\"app-1\",\"channel\":\"own\"}\n\n")
		for range 100 { // longer than the server's time-outs
			until(t, resp, ": beat\n\n")
		}
		s.happens("opened")
		until(t, resp, "event: opened\n")
		cancel()
		s.following.Wait() // hangs if the stream goes on
	})
	t.Run("some names only", func(t *testing.T) {
		resp, cancel := watchPath(t, s, key1, events+"?events=opened,clicked")
		until(t, resp, ": connected\n\n")
		s.happens("delivered")
		s.happens("clicked")
		if got := until(t, resp, "event: clicked\n"); strings.Contains(got, "delivered") {
			t.Errorf("got %q, want what was asked for only", got)
		}
		cancel()
		s.following.Wait()
	})
	t.Run("the server drains", func(t *testing.T) {
		s := newSite(t, restserver.Options{})
		s.logs.Reset()
		resp, _ := watchPath(t, s, key1, events)
		until(t, resp, ": connected\n\n")
		s.happens("sent")
		until(t, resp, "\n\n")
		s.server.Drain()
		s.server.Drain()
		b := make([]byte, 4096)
		for {
			n, err := resp.Body.Read(b)
			if strings.Contains(string(b[:n]), "problem") {
				t.Errorf("stream says %q, want just the end", b[:n])
			}
			if err != nil {
				if err.Error() != "EOF" {
					t.Errorf("stream ended with %v, want EOF", err)
				}
				break
			}
		}
		s.following.Wait()
		r := s.call(t, key1, "GET", events, "")
		wantProblem(t, r, 503, "unavailable", "")
		if r.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	})
	t.Run("too many follow", func(t *testing.T) {
		s := newSite(t, restserver.Options{})
		s.crowded = true
		resp, _ := watchPath(t, s, key1, events)
		until(t, resp, "event: problem\n")
		if got := until(t, resp, "\n\n"); !strings.Contains(got, `"code":"too_many"`) {
			t.Errorf("problem %q, want too_many", got)
		}
	})
	t.Run("a follower that does not read", func(t *testing.T) {
		stuck := &stuckWriter{ResponseRecorder: httptest.NewRecorder()}
		req := httptest.NewRequest("GET", events, nil)
		req.Header.Set("Authorization", key1)
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.handler.ServeHTTP(stuck, req)
		}()
		select {
		case s.feed <- push.Event{Event: "sent", Device: "app-1"}:
			<-done
		case <-done: // a heartbeat was first
		}
		if stuck.deadline != (time.Time{}) { // the connection is handed on without
			t.Errorf("write deadline %v after the end, want none", stuck.deadline)
		}
		if stuck.writes != 2 {
			t.Errorf("%d writes, want none after the one that failed with %v", stuck.writes, os.ErrDeadlineExceeded)
		}
	})
	for _, query := range []string{"events=", "events=eaten", "events=opened,", "events=opened%20clicked"} {
		wantProblem(t, s.call(t, key1, "GET", events+"?"+query, ""), 400, "invalid", "events")
	}
	wantProblem(t, s.call(t, key1, "GET", events+"?event=opened", ""), 400, "invalid", "event")
	wantProblem(t, s.call(t, "Bearer key-2", "GET", events, ""), 403, "denied", "")
	wantProblem(t, s.call(t, "", "GET", events, ""), 401, "unauthenticated", "")
}

// TestEventsSchema shows that the document says what the stream carries.
func TestEventsSchema(t *testing.T) {
	_, raw := spec(t)
	if want := `"text/event-stream":{"schema":{"$ref":"#/components/schemas/Event"}}`; !strings.Contains(string(raw), want) {
		t.Errorf("the document does not have %s", want)
	}
}
