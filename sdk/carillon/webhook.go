package carillon

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A Webhook is where an app's server is told of events.
type Webhook struct {
	ID      string    `json:"id"`
	URL     string    `json:"url"`
	Events  []string  `json:"events"` // clicked, delivered, dismissed, displayed, dropped, finished, opened, recalled, sent, token_invalid; empty is all
	Created time.Time `json:"created"`
	Secret  string    `json:"secret"` // the key of the signature, for VerifyWebhook; shown by AddWebhook only
}

// A WebhookBatch is one call that a webhook is still to get.
type WebhookBatch struct {
	ID       string    `json:"id"`
	Created  time.Time `json:"created"`
	Attempts int       `json:"attempts"` // calls that failed
	Next     time.Time `json:"next"`     // when it is tried again; zero when it is dead
	Dead     bool      `json:"dead"`     // given up after a day: ReplayWebhook makes it due again
	Error    string    `json:"error"`    // why the last call failed, in words
	Events   int       `json:"events"`
}

// AddWebhook has an address called with events of an app; events nil is all. The secret is in the answer and is not shown again.
func (c *Client) AddWebhook(ctx context.Context, app, address string, events []string) (w Webhook, err error) {
	body := struct {
		URL    string   `json:"url"`
		Events []string `json:"events,omitempty"`
	}{address, events}
	err = c.Call(ctx, http.MethodPost, appPath(app, "webhooks"), body, &w, nil)
	return w, err
}

// ListWebhooks returns the webhooks of an app, which has 16 at most, in order of ids.
func (c *Client) ListWebhooks(ctx context.Context, app string) (list List[Webhook], err error) {
	err = c.Call(ctx, http.MethodGet, appPath(app, "webhooks"), nil, &list, nil)
	return list, err
}

// DeleteWebhook removes a webhook with what it was still to be told.
func (c *Client) DeleteWebhook(ctx context.Context, app, id string) error {
	return c.Call(ctx, http.MethodDelete, appPath(app, "webhooks", id), nil, nil, nil)
}

// ListBatches returns one page of what a webhook is still to be told, oldest first; dead says whether only what was given up.
func (c *Client) ListBatches(ctx context.Context, app, id string, dead bool, page Page) (list List[WebhookBatch], err error) {
	opts := page.options()
	if dead {
		opts.Query.Set("dead", "true")
	}
	err = c.Call(ctx, http.MethodGet, appPath(app, "webhooks", id, "batches"), nil, &list, opts)
	return list, err
}

// ReplayWebhook makes all dead batches of a webhook due again, and returns how many.
func (c *Client) ReplayWebhook(ctx context.Context, app, id string) (int, error) {
	return c.replay(ctx, app, id, nil)
}

// ReplayBatches makes 1 to 1,000 dead batches of a webhook due again, and returns how many were. None is an error, and not all.
func (c *Client) ReplayBatches(ctx context.Context, app, id string, batches ...string) (int, error) {
	return c.replay(ctx, app, id, struct {
		Batches []string `json:"batches"`
	}{append([]string{}, batches...)})
}

func (c *Client) replay(ctx context.Context, app, id string, body any) (int, error) {
	var done struct{ Replayed int }
	err := c.Call(ctx, http.MethodPost, appPath(app, "webhooks", id, "replay"), body, &done, nil)
	return done.Replayed, err
}

// A WebhookCall is the body of a call of a webhook. A call may come twice: Batch tells.
type WebhookCall struct {
	App     string    `json:"app"`
	Webhook string    `json:"webhook"`
	Batch   string    `json:"batch"` // the same for every attempt
	Time    time.Time `json:"time"`  // of this attempt
	Events  []Event   `json:"events"`
}

// WebhookTolerance is how far the time of a webhook's call may be from the receiver's clock.
const WebhookTolerance = 5 * time.Minute

// ErrWebhookSignature is returned by VerifyWebhook for a call that was not made with the secret.
var ErrWebhookSignature = errors.New("carillon: the webhook's signature is wrong")

// ErrWebhookTime is returned by VerifyWebhook for a call that is signed, and too old or too new: somebody repeats it, or a
// clock is wrong.
var ErrWebhookTime = errors.New("carillon: the webhook's time is not within five minutes of now")

// VerifyWebhook reports whether a call comes from the server that shares secret: nil, ErrWebhookSignature, ErrWebhookTime, or
// what is wrong with secret. header and body are the request's, the body as it came. It is for every call before its body is
// believed; the answer to one that it refuses is 401, or any status that is not 2xx.
//
// The signature, Carillon-Signature: v1=…, is HMAC-SHA256 in lower-case hex over Carillon-Timestamp (Unix seconds), a full
// stop and the body. The header may have several signatures, separated by commas; one that is right is enough.
func VerifyWebhook(secret string, header http.Header, body []byte, now time.Time) error {
	key, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(secret, "="))
	if err != nil || len(key) == 0 {
		return errors.New("carillon: the webhook's secret is not the one that AddWebhook returned")
	}
	timestamp := header.Get("Carillon-Timestamp")
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(timestamp))
	mac.Write([]byte{'.'})
	mac.Write(body)
	want := mac.Sum(nil)
	right := false
	for part := range strings.SplitSeq(header.Get("Carillon-Signature"), ",") {
		version, signature, _ := strings.Cut(strings.TrimSpace(part), "=")
		got, err := hex.DecodeString(signature)
		right = right || version == "v1" && err == nil && hmac.Equal(got, want)
	}
	if !right {
		return ErrWebhookSignature
	}
	// The time is believed only now that it is known who wrote it.
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return ErrWebhookSignature
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > WebhookTolerance || age < -WebhookTolerance {
		return ErrWebhookTime
	}
	return nil
}
