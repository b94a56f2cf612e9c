package carillon

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// A Push is an accepted request.
type Push struct {
	ID      string    `json:"id"`    // decimal, growing with time
	Kind    string    `json:"kind"`  // direct (to named devices) or bulk (to a set)
	State   string    `json:"state"` // open, scheduled, accepted, sending, paused, done, cancelled, recalled, expired or failed
	App     string    `json:"app"`
	Created time.Time `json:"created"`
	Start   time.Time `json:"start"`
	Expires time.Time `json:"expires"`
	Reason  string    `json:"reason"` // why it failed; "" mostly

	Schedule string `json:"schedule"` // the recurring schedule that it is an occurrence of; "" mostly
}

// A PushReport is a push and what became of it. Target = Delivered + Pending + the sum of Dropped, always.
type PushReport struct {
	Push
	Report
	RequestID   string `json:"request_id"` // under which it was sent; "" if the request had no id
	Template    string `json:"template"`   // the name of the template that gave its texts
	Topic       string `json:"topic"`
	Group       string `json:"group"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Category    string `json:"category"`
}

// A Report says what became of one push, or of several together. Target = Delivered + Pending + the sum of Dropped, always.
type Report struct {
	Target      int                     `json:"target"`
	Sent        int                     `json:"sent"`
	Delivered   int                     `json:"delivered"`
	Unconfirmed int                     `json:"unconfirmed"` // of Delivered: written at QoS 0, so never acknowledged
	Displayed   int                     `json:"displayed"`
	Opened      int                     `json:"opened"`
	Clicked     int                     `json:"clicked"`
	Dismissed   int                     `json:"dismissed"`
	Pending     int                     `json:"pending"`
	Dropped     map[string]int          `json:"dropped"` // by reason
	Channels    map[string]ChannelCount `json:"channels"`
	Recall      *Recall                 `json:"recall"` // of a push that was taken back; else nil
}

// A Recall says for how many devices taking a push back holds.
type Recall struct {
	Stopped   int `json:"stopped"`   // have not got it, and will not
	Recalled  int `json:"recalled"`  // have, or may have, got it and are told to take it back
	Confirmed int `json:"confirmed"` // have said that they did
	TooLate   int `json:"too_late"`  // somebody had opened, clicked or dismissed it; they are told, too
}

// A ChannelCount is what one way out did of a push.
type ChannelCount struct {
	Sent      int `json:"sent"`
	Delivered int `json:"delivered"`
}

// A Count answers a dry run: whom a request would reach now.
type Count struct {
	Target      int            `json:"target"`  // devices, and names that stand for none
	Unknown     int            `json:"unknown"` // names that stand for no device
	Online      int            `json:"online"`
	Platforms   map[string]int `json:"platforms"`
	Channels    map[string]int `json:"channels"`
	Blacklisted int            `json:"blacklisted"`
	OverLimit   int            `json:"over_limit"`
}

// SendOptions are the optional parts of Send and SendBatch. The zero value, like nil, means none of them.
type SendOptions struct {
	// IdempotencyKey names the request, so that a repeat returns the first push instead of sending another. With it the
	// client repeats by itself when the outcome is unknown.
	IdempotencyKey string
	// RequestID is a name under which ShowRequest finds the push: at most 128 visible ASCII characters. The pushes of a batch
	// have it with "#0", "#1" and so on behind it.
	RequestID string
}

func (o *SendOptions) call() *CallOptions {
	if o == nil {
		return nil
	}
	return &CallOptions{IdempotencyKey: o.IdempotencyKey, RequestID: o.RequestID}
}

// Send sends a push. When it returns nil the push is on the server's disk. opts may be nil.
func (c *Client) Send(ctx context.Context, app string, r PushRequest, opts *SendOptions) (p Push, err error) {
	err = c.Call(ctx, http.MethodPost, appPath(app, "pushes"), r, &p, opts.call())
	return p, err
}

// DryRun counts whom a request would reach now, and sends nothing.
func (c *Client) DryRun(ctx context.Context, app string, r PushRequest) (n Count, err error) {
	err = c.Call(ctx, http.MethodPost, appPath(app, "pushes"), r, &n, &CallOptions{Query: url.Values{"dry_run": {"true"}}})
	return n, err
}

// A BatchResult is the answer to one push of a batch: either Push, or Err if that is not nil.
type BatchResult struct {
	Push Push
	Err  *Error
}

// UnmarshalJSON reads an answer or a problem.
func (r *BatchResult) UnmarshalJSON(b []byte) error {
	var p struct{ Status json.RawMessage }
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	if p.Status == nil { // a push has a state, a problem a status
		*r = BatchResult{}
		return json.Unmarshal(b, &r.Push)
	}
	var status int
	if err := json.Unmarshal(p.Status, &status); err != nil {
		return err
	}
	*r = BatchResult{Err: problem(status, "", b)}
	return nil
}

// SendBatch sends at most 1,000 pushes to named devices. Each is accepted or refused for itself: the results are in order,
// and as many as the pushes. The error says that the batch as a whole was not taken. opts may be nil.
func (c *Client) SendBatch(ctx context.Context, app string, pushes []PushRequest, opts *SendOptions) ([]BatchResult, error) {
	body := struct {
		Pushes []PushRequest `json:"pushes"`
	}{pushes}
	var answer struct {
		Items []BatchResult `json:"items"`
	}
	if err := c.Call(ctx, http.MethodPost, appPath(app, "pushes", "batch"), body, &answer, opts.call()); err != nil {
		return nil, err
	}
	if len(answer.Items) != len(pushes) {
		return nil, fmt.Errorf("carillon: %d answers to a batch of %d", len(answer.Items), len(pushes))
	}
	return answer.Items, nil
}

// ShowPush returns a push with its report.
func (c *Client) ShowPush(ctx context.Context, app, id string) (r PushReport, err error) {
	err = c.Call(ctx, http.MethodGet, appPath(app, "pushes", id), nil, &r, nil)
	return r, err
}

// ListPushes returns one page of an app's pushes.
func (c *Client) ListPushes(ctx context.Context, app string, page Page) (list List[Push], err error) {
	err = c.Call(ctx, http.MethodGet, appPath(app, "pushes"), nil, &list, page.options())
	return list, err
}

// ShowRequest returns the push, with its report, of the request that a dialect or the sender gave an id.
func (c *Client) ShowRequest(ctx context.Context, app, requestID string) (r PushReport, err error) {
	err = c.Call(ctx, http.MethodGet, appPath(app, "requests", requestID), nil, &r, nil)
	return r, err
}

// CancelPush stops what has not left. When it returns nil nothing of the push is sent any more.
func (c *Client) CancelPush(ctx context.Context, app, id string) (p Push, err error) {
	err = c.Call(ctx, http.MethodPost, appPath(app, "pushes", id, "cancel"), nil, &p, nil)
	return p, err
}
