// Package carillon is a client of Carillon's own REST API: apps, pushes and what is done with them later, schedules,
// templates, reports, webhooks and events, devices, what devices are found by (tags, aliases, accounts) and lists of them.
// VerifyWebhook is for the server that webhooks call.
//
//	c := carillon.New("http://127.0.0.1:8080", apiKey, nil)
//	p, err := c.Send(ctx, "shop", carillon.PushRequest{
//		Audience: carillon.Audience{Devices: []string{id}},
//		Message:  carillon.Message{Notification: &carillon.Notification{Title: "开门", Body: "ready"}},
//	}, &carillon.SendOptions{IdempotencyKey: "order-42"})
//
// An app is named by its id or its name. Errors that the server answers are of type *Error. Nothing is repeated unless
// that is safe: reads are, and so are sends with an idempotency key, and imports.
package carillon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Options are the optional parts of a Client. The zero value, like nil, means the documented defaults.
type Options struct {
	// HTTPClient performs the requests; nil means one with a timeout of 60 s that keeps up to 64 connections open.
	HTTPClient *http.Client
	// Retries is how often a call that is safe to repeat is repeated, after a transport error or a 429, 502, 503 or 504;
	// 0 means 3, less means never.
	Retries int
	// Observe is called with every answer, for programs that show it as it came; body must not be changed. nil for nothing.
	Observe func(method, path string, status int, body []byte)
}

// A Client calls one server with one API key, or the admin token. It is safe for concurrent use.
type Client struct {
	base, token string
	http        *http.Client
	retries     int
	observe     func(method, path string, status int, body []byte)
}

// New returns a Client of the server with base URL server. opts may be nil.
func New(server, token string, opts *Options) *Client {
	if opts == nil {
		opts = new(Options)
	}
	c := &Client{
		base: strings.TrimRight(server, "/"), token: token, http: opts.HTTPClient, retries: opts.Retries, observe: opts.Observe,
	}
	if c.http == nil {
		c.http = &http.Client{Timeout: time.Minute, Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxIdleConns: 64, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second,
			ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second,
		}}
	}
	if c.retries == 0 {
		c.retries = 3
	}
	return c
}

// Close closes connections that are idle. The Client may be used again.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// An Error is a refusal of the server: an RFC 9457 problem.
type Error struct {
	Status     int           // HTTP status
	Code       string        // stable: invalid, unauthenticated, denied, not_found, method_not_allowed, conflict, too_large, too_many, internal, unavailable
	Field      string        // what is at fault, as a path: "policy.ttl"; may be empty
	Detail     string        // a sentence
	RetryAfter time.Duration // 0 if the server did not say
}

// Error returns code, field and sentence.
func (e *Error) Error() string {
	s := "carillon: " + e.Code
	if e.Field != "" && !strings.HasPrefix(e.Detail, e.Field+":") {
		s += ": " + e.Field
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// A TransportError says that no answer of the server arrived: what was asked for may or may not have happened.
type TransportError struct {
	Method, Path string
	Err          error
}

// Error returns what was asked for and the cause.
func (e *TransportError) Error() string {
	return fmt.Sprintf("carillon: %s %s: %v", e.Method, e.Path, e.Err)
}

// Unwrap returns the cause.
func (e *TransportError) Unwrap() error { return e.Err }

// CallOptions are the optional parts of Call. The zero value, like nil, means none of them.
type CallOptions struct {
	Query          url.Values
	IdempotencyKey string // makes a POST safe to repeat
	RequestID      string // goes as X-Request-Id
	Repeat         bool   // the call is safe to repeat by itself: doing it twice is doing it once
	Long           bool   // the call takes as long as it takes: only ctx ends it, not the HTTP client's timeout
}

// maxAnswer is the most that is read of an answer: a page of a thousand devices with all their attributes fits.
const maxAnswer = 64 << 20

// Call makes any call of the API. body is encoded as JSON; nil is none, and a json.RawMessage goes as it is. The answer
// is decoded into answer unless that is nil. Errors are *Error, *TransportError, or say what does not encode or decode: text
// that is not UTF-8 does not, and nothing is sent.
func (c *Client) Call(ctx context.Context, method, path string, body, answer any, opts *CallOptions) error {
	if opts == nil {
		opts = new(CallOptions)
	}
	var sent []byte
	if body != nil {
		var err error
		if sent, err = marshal(body); err != nil {
			return fmt.Errorf("carillon: %s %s: %w", method, path, err)
		}
	}
	safe := method == http.MethodGet || opts.IdempotencyKey != "" || opts.Repeat
	for attempt := 0; ; attempt++ {
		var r io.Reader
		if body != nil {
			r = bytes.NewReader(sent)
		}
		got, err := c.once(ctx, method, path, r, opts)
		if err == nil {
			return read(method, path, got, answer)
		}
		wait, again := retryable(err, attempt)
		if !safe || !again || attempt >= c.retries || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// read decodes an answer, if there is one and somebody wants it.
func read(method, path string, got []byte, answer any) error {
	if answer == nil || len(got) == 0 {
		return nil
	}
	if err := json.Unmarshal(got, answer); err != nil {
		return fmt.Errorf("carillon: %s %s: the answer: %w", method, path, err)
	}
	return nil
}

// once makes a call one time. body is nil for none.
func (c *Client) once(ctx context.Context, method, path string, body io.Reader, opts *CallOptions) ([]byte, error) {
	target := c.base + path
	if len(opts.Query) > 0 {
		target += "?" + opts.Query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, &TransportError{method, path, err}
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Accept", "application/json")
	switch body.(type) {
	case nil:
	case *bytes.Reader: // what Call has encoded
		req.Header.Set("Content-Type", "application/json")
	default:
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	if opts.IdempotencyKey != "" {
		req.Header.Set("Idempotency-Key", opts.IdempotencyKey)
	}
	if opts.RequestID != "" {
		req.Header.Set("X-Request-Id", opts.RequestID)
	}
	resp, err := c.do(req, path, opts.Long)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // nothing is written
	got, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, &TransportError{method, path, err}
	}
	if c.observe != nil {
		c.observe(method, path, resp.StatusCode, got)
	}
	if resp.StatusCode >= 300 {
		return nil, problem(resp.StatusCode, resp.Header.Get("Retry-After"), got)
	}
	return got, nil
}

// do sends a request; if long, only its context ends it. Errors are *TransportError.
func (c *Client) do(req *http.Request, path string, long bool) (*http.Response, error) {
	client := c.http
	if long {
		patient := *c.http
		patient.Timeout = 0
		client = &patient
	}
	resp, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the path is in our own error already
		}
		return nil, &TransportError{req.Method, path, err}
	}
	return resp, nil
}

// problem returns the error that an answer stands for, whoever gave it: a proxy's page has no code.
func problem(status int, retryAfter string, body []byte) *Error {
	var p struct{ Code, Field, Detail string }
	if json.Unmarshal(body, &p) != nil || p.Code == "" {
		p.Code, p.Field, p.Detail = "http_"+strconv.Itoa(status), "", http.StatusText(status)
	}
	e := &Error{Status: status, Code: p.Code, Field: p.Field, Detail: p.Detail}
	if s, err := strconv.Atoi(retryAfter); err == nil && s >= 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}

// retryable reports whether err may go away, and how long to wait before the next attempt: what the server asks for, up
// to 30 s, or else a random time that doubles from 100 ms.
func retryable(err error, attempt int) (wait time.Duration, again bool) {
	wait = 100 * time.Millisecond << min(attempt, 6)
	wait = wait/2 + rand.N(wait)
	var e *Error
	if !errors.As(err, &e) {
		var t *TransportError
		return wait, errors.As(err, &t)
	}
	switch e.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return max(wait, min(e.RetryAfter, 30*time.Second)), true
	}
	return 0, false
}

// appPath returns the path of an app, and of what is below it.
func appPath(app string, below ...string) string {
	var b strings.Builder
	b.WriteString("/v1/apps/" + escape(app))
	for _, part := range below {
		b.WriteString("/" + escape(part))
	}
	return b.String()
}

// escape returns part as one segment of a path, whatever it is: a tag may be "a/b", or "..", which would lead elsewhere.
func escape(part string) string {
	if part == "." || part == ".." {
		return strings.ReplaceAll(part, ".", "%2E")
	}
	return url.PathEscape(part)
}

// A List is one page of a list, newest first unless the call says otherwise.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"` // the cursor of the next page; "" if this is the last
}

// A Page says which page of a list. The zero Page is the first, of the server's own length.
type Page struct {
	Cursor string
	Limit  int // items, up to 1,000; 0 means 100
}

func (p Page) options() *CallOptions {
	q := url.Values{}
	if p.Cursor != "" {
		q.Set("cursor", p.Cursor)
	}
	if p.Limit > 0 {
		q.Set("limit", strconv.Itoa(p.Limit))
	}
	return &CallOptions{Query: q}
}
