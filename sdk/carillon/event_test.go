package carillon_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillonpush/carillon/sdk/carillon"
)

// streaming starts a server that answers every request with a stream, and a client of it.
func streaming(t *testing.T, write func(w io.Writer, flush func(), r *http.Request)) *carillon.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(200)
		write(w, func() { http.NewResponseController(w).Flush() }, r) //nolint:errcheck // the client may have gone
	}))
	t.Cleanup(server.Close)
	c := carillon.New(server.URL, "key", nil)
	t.Cleanup(func() { c.Close() }) //nolint:errcheck // it is nil
	return c
}

const (
	delivered = "event: delivered\ndata: {\"time\":\"2026-11-25T01:00:00Z\",\"event\":\"delivered\",\"push\":\"42\",\"device\":\"d\",\"channel\":\"own\"}\n\n"
	finished  = "event: finished\ndata: {\"event\":\"finished\",\"push\":\"42\",\"state\":\"done\"}\n\n"
)

func TestFollowEvents(t *testing.T) {
	t.Run("until the server ends", func(t *testing.T) {
		asked := make(chan string, 1)
		c := streaming(t, func(w io.Writer, flush func(), r *http.Request) {
			asked <- r.URL.String() + " " + r.Header.Get("Authorization") + " " + r.Header.Get("Accept")
			fmt.Fprint(w, ": connected\n\n", delivered, ": beat\n\n")
			flush()
			fmt.Fprint(w, finished)
		})
		var got []string
		err := c.FollowEvents(t.Context(), "shop 2", []string{"delivered", "finished"}, func(e carillon.Event) error {
			got = append(got, fmt.Sprint(e.Time.Unix(), e.Event, e.Push, e.Device, e.Channel, e.State, string(e.Raw)))
			return nil
		})
		if !errors.Is(err, carillon.ErrStreamEnded) {
			t.Errorf("got %v, want the end of the stream", err)
		}
		raw := func(s string) string { return strings.TrimSpace(s[strings.Index(s, "{"):]) }
		want := []string{"1795568400delivered42down" + raw(delivered), "-62135596800finished42done" + raw(finished)}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if got, want := <-asked, "/v1/apps/shop%202/events?events=delivered%2Cfinished Bearer key text/event-stream"; got != want {
			t.Errorf("asked %s, want %s", got, want)
		}
	})
	t.Run("until the caller has enough", func(t *testing.T) {
		c := streaming(t, func(w io.Writer, flush func(), r *http.Request) {
			fmt.Fprint(w, delivered)
			flush()
			<-r.Context().Done()
		})
		enough := errors.New("enough")
		if err := c.FollowEvents(t.Context(), "1", nil, func(carillon.Event) error { return enough }); err != enough {
			t.Errorf("got %v, want the caller's own error", err)
		}
	})
	t.Run("until the context ends", func(t *testing.T) {
		c := streaming(t, func(w io.Writer, flush func(), r *http.Request) {
			fmt.Fprint(w, delivered)
			flush()
			<-r.Context().Done()
		})
		ctx, cancel := context.WithCancel(t.Context())
		err := c.FollowEvents(ctx, "1", nil, func(carillon.Event) error { cancel(); return nil })
		if err != context.Canceled {
			t.Errorf("got %v, want the context's error", err)
		}
	})
	t.Run("refused", func(t *testing.T) {
		_, c := serve(t, func(int, *http.Request) (int, string) { return 429, `{"status":429,"code":"too_many"}` })
		err := c.FollowEvents(t.Context(), "1", nil, func(carillon.Event) error { return nil })
		if e := (*carillon.Error)(nil); !errors.As(err, &e) || e.Code != "too_many" || e.Status != 429 {
			t.Errorf("got %v, want too_many", err)
		}
	})
	t.Run("refused after all", func(t *testing.T) {
		c := streaming(t, func(w io.Writer, _ func(), _ *http.Request) {
			fmt.Fprint(w, ": connected\n\nevent: problem\ndata: {\"status\":503,\"code\":\"unavailable\",\"detail\":\"too slow\"}\n\n")
		})
		err := c.FollowEvents(t.Context(), "1", nil, func(carillon.Event) error { return nil })
		if e := (*carillon.Error)(nil); !errors.As(err, &e) || e.Code != "unavailable" || e.Detail != "too slow" {
			t.Errorf("got %v, want unavailable", err)
		}
	})
	t.Run("a line that is no event", func(t *testing.T) {
		for _, line := range []string{"data: {", "event: problem\ndata: <html>", "data: " + strings.Repeat("x", 2<<20)} {
			c := streaming(t, func(w io.Writer, _ func(), _ *http.Request) { fmt.Fprint(w, line, "\n\n") })
			err := c.FollowEvents(t.Context(), "1", nil, func(carillon.Event) error { return nil })
			if e := (*carillon.TransportError)(nil); !errors.As(err, &e) || e.Path != "/v1/apps/1/events" {
				t.Errorf("got %v, want a transport error", err)
			}
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		c := carillon.New("http://127.0.0.1:1", "key", nil)
		err := c.FollowEvents(t.Context(), "1", nil, func(carillon.Event) error { return nil })
		if e := (*carillon.TransportError)(nil); !errors.As(err, &e) {
			t.Errorf("got %v, want a transport error", err)
		}
	})
}

// TestFollowEventsNoticesADeadConnection has a server that says nothing any more, not even a heartbeat.
func TestFollowEventsNoticesADeadConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		client := &http.Client{Transport: &http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) { return ours, nil },
		}}
		defer client.CloseIdleConnections()
		go func() {
			b := make([]byte, 4096)
			theirs.Read(b) //nolint:errcheck // the request
			fmt.Fprint(theirs, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
			for range 4 { // heartbeats keep it alive for a minute
				time.Sleep(15 * time.Second) // ok: in a bubble
				fmt.Fprint(theirs, ": beat\n\n")
			}
			io.Copy(io.Discard, theirs) //nolint:errcheck // until the client hangs up
		}()
		c := carillon.New("http://carillon.test", "key", &carillon.Options{HTTPClient: client})
		began := time.Now()
		err := c.FollowEvents(t.Context(), "1", nil, func(carillon.Event) error { return nil })
		if e := (*carillon.TransportError)(nil); !errors.As(err, &e) || !strings.Contains(err.Error(), "nothing came for a minute") {
			t.Errorf("got %v, want a transport error that says why", err)
		}
		if took := time.Since(began); took != 2*time.Minute {
			t.Errorf("gave up after %v, want a minute of heartbeats and one of silence", took)
		}
	})
}
