package carillon

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// An Event is something that happened to a push, mostly on a device, or to a device's token.
type Event struct {
	Time    time.Time `json:"time"`
	Event   string    `json:"event"`   // clicked, delivered, dismissed, displayed, dropped, finished, opened, recalled, sent or token_invalid
	Push    string    `json:"push"`    // "" of token_invalid
	Device  string    `json:"device"`  // "" of finished
	Channel string    `json:"channel"` // the way out: "own"
	Reason  string    `json:"reason"`  // of dropped: the report's reason
	State   string    `json:"state"`   // of finished: the push's

	Raw json.RawMessage `json:"-"` // of FollowEvents: the event as it came
}

// ErrStreamEnded is returned by FollowEvents when the server, or something between, ended the stream.
var ErrStreamEnded = errors.New("carillon: the stream of events has ended")

// What is read of a stream.
const (
	maxEvent    = 1 << 20          // bytes of a line
	streamQuiet = 60 * time.Second // four heartbeats: without a byte for so long, the connection is dead
)

// FollowEvents calls f with one event of an app after another as they happen, those of some names only unless events is
// empty. It returns when ctx ends, with its error; when f returns an error, with that; or when the stream ends: an *Error, a
// *TransportError or ErrStreamEnded. What happens while nobody follows is not told later: who must not miss anything uses a
// webhook. A caller that does not keep up is cut off. f is called by one goroutine.
func (c *Client) FollowEvents(ctx context.Context, app string, events []string, f func(Event) error) error {
	path := appPath(app, "events")
	target := c.base + path
	if len(events) > 0 {
		target += "?" + url.Values{"events": {strings.Join(events, ",")}}.Encode()
	}
	stream, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(stream, http.MethodGet, target, nil)
	if err != nil {
		return &TransportError{http.MethodGet, path, err}
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := c.do(req, path, true)
	if err != nil {
		return cmp.Or(ctx.Err(), err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing is written
	if resp.StatusCode != http.StatusOK {
		got, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // as much of the reason as there is
		return problem(resp.StatusCode, resp.Header.Get("Retry-After"), got)
	}
	quiet := time.AfterFunc(streamQuiet, func() { cancel(errQuiet) })
	defer quiet.Stop()
	err = readEvents(resp.Body, func() { quiet.Reset(streamQuiet) }, f)
	var failed *streamError
	if errors.As(err, &failed) {
		lost := &TransportError{http.MethodGet, path, cmp.Or(context.Cause(stream), failed.error)}
		return cmp.Or[error](ctx.Err(), lost)
	}
	return err
}

// errQuiet is why a stream ends of which not even a heartbeat comes any more.
var errQuiet = errors.New("nothing came for a minute")

// A streamError is one of reading, and not one of the caller's function.
type streamError struct{ error }

// readEvents reads server-sent events, of which ours have one line of data each, and calls alive for each line.
func readEvents(r io.Reader, alive func(), f func(Event) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEvent)
	name := ""
	for lines.Scan() {
		alive()
		field, value, _ := bytes.Cut(lines.Bytes(), []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			name = string(value)
		case "data":
			if name == "problem" { // the status had gone out already
				return streamProblem(value)
			}
			var e Event
			if err := json.Unmarshal(value, &e); err != nil {
				return &streamError{err}
			}
			e.Raw = bytes.Clone(value)
			if err := f(e); err != nil {
				return err
			}
		}
		if len(lines.Bytes()) == 0 { // the end of an event; a line that begins with a colon is a comment
			name = ""
		}
	}
	if err := lines.Err(); err != nil {
		return &streamError{err}
	}
	return ErrStreamEnded
}

// streamProblem returns the error that an event stands for.
func streamProblem(body []byte) error {
	var p struct{ Status int }
	if json.Unmarshal(body, &p) != nil {
		return &streamError{errors.New(strings.TrimSpace(string(body)))}
	}
	return problem(p.Status, "", body)
}
