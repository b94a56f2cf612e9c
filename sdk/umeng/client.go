package umeng

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Options are the optional parts of a Client. The zero value, like nil, means the documented defaults.
type Options struct {
	// BaseURL is scheme, host and maybe a path prefix; "" means DefaultBaseURL. The signature covers it, so it is to be what
	// the server knows itself by.
	BaseURL string
	// HTTPClient performs the requests; nil means one with a timeout of 60 s, which the service advises. It should not follow
	// redirects: a signature holds for one URL.
	HTTPClient *http.Client
	// Clock tells the time for timestamps; nil means time.Now.
	Clock func() time.Time
	// Retries is how often a call that is safe to repeat is repeated after a transport error; 0 means 2, less means never.
	Retries int
}

// A Client calls the service for one appkey. It is safe for concurrent use.
type Client struct {
	appkey, secret string
	base           string
	http           *http.Client
	clock          func() time.Time
	retries        int
}

// NewClient returns a Client for appkey and its app_master_secret. opts may be nil.
func NewClient(appkey, secret string, opts *Options) *Client {
	if opts == nil {
		opts = new(Options)
	}
	c := &Client{
		appkey: appkey, secret: secret, base: strings.TrimRight(opts.BaseURL, "/"), http: opts.HTTPClient, clock: opts.Clock,
		retries: opts.Retries,
	}
	if c.base == "" {
		c.base = DefaultBaseURL
	}
	if c.http == nil {
		c.http = &http.Client{
			Timeout:       defaultHTTPTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	if c.clock == nil {
		c.clock = time.Now
	}
	if c.retries == 0 {
		c.retries = 2
	}
	return c
}

// A TransportError says that no answer of the service arrived: the request may or may not have taken effect.
type TransportError struct {
	Op     string // "send", "status" or "cancel"
	Status int    // HTTP status of an answer that is not the service's, else 0
	Err    error  // cause
}

// Error implements error. It does not show the URL, whose signature is valid for some minutes.
func (e *TransportError) Error() string {
	if e.Status != 0 {
		return fmt.Sprintf("umeng: %s: HTTP %d: %v", e.Op, e.Status, e.Err)
	}
	return fmt.Sprintf("umeng: %s: %v", e.Op, e.Err)
}

// Unwrap returns the cause.
func (e *TransportError) Unwrap() error { return e.Err }

// Send sends req and returns its id. AppKey and Timestamp of req are ignored and req is not changed. To find a fault
// without a round trip, call req.Validate first.
//
// The error is an *Error if the service refused, a *TransportError if there was no answer, and otherwise says why req does
// not encode. Only a task with Policy.OutBizNo is repeated after a transport error, since nothing else is safe to repeat.
func (c *Client) Send(ctx context.Context, req *SendRequest) (*SendResult, error) {
	r := *req
	r.AppKey, r.Timestamp = c.appkey, c.timestamp()
	body, err := r.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("umeng: send: encode: %w", err)
	}
	safe := r.IsTask() && r.Policy != nil && r.Policy.OutBizNo != ""
	data, err := c.call(ctx, "send", PathSend, body, safe)
	if err != nil {
		return nil, err
	}
	return &SendResult{
		MsgID: data.word("msg_id"), TaskID: data.word("task_id"), ThirdpartyID: data.text("thirdparty_id"),
	}, nil
}

// Status returns the state and the counts of a task. Errors are as of Send; an unknown task is CodeNoTask.
func (c *Client) Status(ctx context.Context, taskID string) (*Status, error) {
	data, err := c.task(ctx, "status", PathStatus, taskID, true)
	if err != nil {
		return nil, err
	}
	return &Status{
		TaskID: data.word("task_id"), Status: TaskState(data.number("status")), TotalCount: data.number("total_count"),
		AcceptCount: data.number("accept_count"), SentCount: data.number("sent_count"),
		OpenCount: data.number("open_count"), DismissCount: data.number("dismiss_count"),
	}, nil
}

// Cancel cancels a task. Errors are as of Send; a task that is over, or cancelled already, is CodeNotCancellable.
func (c *Client) Cancel(ctx context.Context, taskID string) error {
	// Not repeated: if the first try took effect, a second one would be told that the task cannot be cancelled.
	_, err := c.task(ctx, "cancel", PathCancel, taskID, false)
	return err
}

func (c *Client) task(ctx context.Context, op, path, taskID string, safe bool) (reader, error) {
	body, err := encodeJSON(TaskRequest{AppKey: c.appkey, Timestamp: c.timestamp(), TaskID: taskID})
	if err != nil {
		return reader{}, fmt.Errorf("umeng: %s: encode: %w", op, err)
	}
	return c.call(ctx, op, path, body, safe)
}

func (c *Client) timestamp() string { return strconv.FormatInt(c.clock().Unix(), 10) }

// call posts body, the very bytes that it signs, and repeats it after transport errors if that is safe.
func (c *Client) call(ctx context.Context, op, path string, body []byte, safe bool) (reader, error) {
	wait := 200 * time.Millisecond
	for try := 0; ; try++ {
		data, err := c.post(ctx, op, path, body)
		if _, transport := errors.AsType[*TransportError](err); !transport || !safe || try >= c.retries {
			return data, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return data, err
		case <-timer.C:
		}
		wait *= 2
	}
}

func (c *Client) post(ctx context.Context, op, path string, body []byte) (reader, error) {
	fail := func(status int, err error) (reader, error) {
		// The client's error would show the URL and with it the signature.
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return reader{}, &TransportError{Op: op, Status: status, Err: err}
	}
	target := c.base + path
	signed := target + "?sign=" + Sign(http.MethodPost, target, body, c.secret)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, signed, bytes.NewReader(body))
	if err != nil {
		return fail(0, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return fail(0, err)
	}
	defer func() { _ = resp.Body.Close() }() // read only; nothing to learn from it
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fail(resp.StatusCode, err)
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusBadRequest {
		return fail(resp.StatusCode, errors.New("not an answer of the service"))
	}
	data, refused, ok := parseResponse(answer, resp.StatusCode)
	switch {
	case !ok:
		return fail(resp.StatusCode, errors.New("not an answer of the service"))
	case refused != nil:
		return reader{}, refused
	default:
		return data, nil
	}
}
