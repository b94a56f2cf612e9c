package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

const (
	firstDelay = 5 * time.Second
	lastDelay  = time.Hour
	keepFor    = 24 * time.Hour // after which a batch that was never taken is dead

	// fewest is how often a batch is called before it is dead, however old it is: this server may have been away for a day.
	fewest = 5

	read      = 8           // batches a read: up to 1,000 events each
	bury      = 100         // batches a read of those that have become dead
	roundTime = time.Minute // after which a webhook with more to be told makes room for others
)

// Work tells what is due of one webhook, in order, until nothing is. One worker at a time works on a webhook: another returns
// at once, and the first looks again. A webhook that does not answer takes no more than one call's time of a worker.
func (w *Webhooks) Work(ctx context.Context, app push.AppID, id push.WebhookID) error {
	if !w.turns.enter(id) {
		return nil
	}
	for {
		err := w.round(ctx, app, id)
		if w.turns.leave(id, err == nil) {
			return push.Wrap("webhook.Work", err)
		}
	}
}

// round tells what is due now.
func (w *Webhooks) round(ctx context.Context, app push.AppID, id push.WebhookID) error {
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	end := w.opts.Now().Add(roundTime)
	for {
		h, err := w.find(app, id)
		if err != nil {
			return nil // it was removed
		}
		now := w.opts.Now()
		switch held := w.turns.heldUntil(id, now); {
		case !held.IsZero():
			w.wake(ctx, app, id, held)
			return nil
		case now.After(end):
			w.wake(ctx, app, id, now)
			return nil
		}
		due, err := w.ports.Batches.DueBatches(ctx, id, now, read)
		if err != nil || len(due) == 0 {
			return err
		}
		for _, b := range due {
			answers, err := w.tell(ctx, h, b)
			if err != nil {
				return err
			}
			if !answers || w.opts.Now().After(end) {
				break
			}
		}
	}
}

// tell makes the call of one batch, and records what came of it. answers is whether the receiver can be asked to take others.
func (w *Webhooks) tell(ctx context.Context, h push.Webhook, b push.Batch) (answers bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	out := answer{taken: true} // of nothing
	if len(b.Happened) > 0 {
		if out, err = w.call(ctx, h, b); err != nil {
			return false, err
		}
	}
	if out.taken || out.refused {
		w.turns.release(h.ID)
	}
	if out.taken {
		// The receiver has it: what ends meanwhile must not have it told again.
		return true, w.ports.Batches.EndBatch(context.WithoutCancel(ctx), b, true)
	}
	now := w.opts.Now()
	b.Attempts++
	b.Error = out.problem
	attempts := b.Attempts
	if !out.refused { // one that follows on others that failed waits as long as they did
		attempts = max(attempts, w.turns.failure(h.ID))
	}
	delay := backOff(attempts, out.after)
	b.Next = next(b, now, delay)
	if err := w.ports.Batches.EndBatch(context.WithoutCancel(ctx), b, false); err != nil {
		return false, err
	}
	if b.Next.IsZero() {
		w.opts.Log.Warn("webhook did not take a batch for a day", "webhook", h.ID, "batch", b.ID, "attempts", b.Attempts, "why", b.Error)
	}
	if out.refused {
		if !b.Next.IsZero() {
			w.wake(ctx, h.App, h.ID, b.Next)
		}
		return true, nil
	}
	if b.Next.IsZero() {
		err = w.bury(ctx, b, now)
		w.turns.hold(h.ID, now.Add(delay))
	} else {
		w.turns.hold(h.ID, b.Next)
	}
	return false, err
}

// next returns when b is called again after it has failed at now: zero if it is dead.
func next(b push.Batch, now time.Time, delay time.Duration) time.Time {
	dead := b.Created.Add(keepFor)
	switch at := now.Add(delay); {
	case b.Attempts < fewest:
		return at
	case !dead.After(now):
		return time.Time{}
	case at.After(dead):
		return dead // a last time
	default:
		return at
	}
}

// bury makes dead what is as old as a batch that has just died, since the receiver did not answer: what waited behind it has
// waited as long for the same.
func (w *Webhooks) bury(ctx context.Context, dead push.Batch, now time.Time) error {
	for {
		due, err := w.ports.Batches.DueBatches(ctx, dead.Webhook, now, bury)
		if err != nil {
			return err
		}
		n := 0
		for _, b := range due {
			if b.Created.Add(keepFor).After(now) {
				continue
			}
			b.Next, b.Error = time.Time{}, dead.Error
			if err := w.ports.Batches.EndBatch(ctx, b, false); err != nil {
				return err
			}
			n++
		}
		if n == 0 {
			return nil
		}
	}
}

// backOff returns how long to wait after so many attempts, or as long as the receiver asked for if that is longer. Up to a
// quarter is left to chance, so that what failed together does not come back together.
func backOff(attempts int, asked time.Duration) time.Duration {
	d := lastDelay
	if attempts < 11 { // 5s·2^10 is more than an hour
		d = min(d, firstDelay<<(attempts-1))
	}
	return max(asked, d-rand.N(d/4))
}

// A body is what a call says.
type body struct {
	App     push.AppID     `json:"app"`
	Webhook push.WebhookID `json:"webhook,string"`
	Batch   int64          `json:"batch,string"` // the same at every attempt
	Time    time.Time      `json:"time"`         // of this attempt
	Events  []push.Event   `json:"events"`       // 1 to push.MaxBatch, in order of time
}

// An answer is what came of a call.
type answer struct {
	taken   bool
	refused bool          // the receiver is there, and will not have this one
	problem string        // in words, if it was not taken
	after   time.Duration // how long it asked to be left alone
}

// call makes one call. An error is one of this house, not of the receiver.
func (w *Webhooks) call(ctx context.Context, h push.Webhook, b push.Batch) (answer, error) {
	secret, err := w.ports.Sealer.Open(label(h), h.Secret)
	if err != nil {
		return answer{}, err
	}
	now := w.opts.Now()
	events, err := w.events(ctx, b.Happened)
	if err != nil {
		return answer{}, err
	}
	text, err := json.Marshal(body{App: h.App, Webhook: h.ID, Batch: b.ID, Time: now.UTC(), Events: events})
	if err != nil {
		return answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(text))
	if err != nil {
		return answer{problem: "the address cannot be called"}, nil
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Carillon")
	req.Header.Set(headerBatch, strconv.FormatInt(b.ID, 10))
	req.Header.Set(headerTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(headerSignature, Sign(secret, now.Unix(), text))
	res, err := w.client.Do(req)
	if err != nil {
		if ctx.Err() != nil { // this server stops: it says nothing of the receiver
			return answer{}, ctx.Err()
		}
		return answer{problem: problem(err)}, nil
	}
	_, _ = io.CopyN(io.Discard, res.Body, answerBytes)
	_ = res.Body.Close()
	return judge(res, now), nil
}

// judge returns what an answer means. Statuses that speak of the receiver's state, and not of the call, are no refusal.
func judge(res *http.Response, now time.Time) answer {
	s := res.StatusCode
	if s/100 == 2 {
		return answer{taken: true}
	}
	busy := s/100 == 5 || s == http.StatusRequestTimeout || s == http.StatusTooEarly || s == http.StatusTooManyRequests
	return answer{
		refused: !busy, problem: "the receiver answered " + strconv.Itoa(s),
		after: retryAfter(res.Header.Get("Retry-After"), now),
	}
}

// retryAfter reads seconds or a date; 0 if there is neither. More than a day is a day.
func retryAfter(v string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 64); err == nil {
		return time.Duration(min(n, uint64(keepFor/time.Second))) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, min(t.Sub(now), keepFor))
	}
	return 0
}

// problemBytes is how much of an error is kept.
const problemBytes = 200

// problem says why there was no answer, without the address, which may hold a secret.
func problem(err error) string {
	var private *privateError
	if errors.As(err, &private) {
		return private.Error()
	}
	var u *url.Error
	if errors.As(err, &u) {
		if u.Timeout() {
			return "no answer in time"
		}
		err = u.Err
	}
	s := strings.ReplaceAll(strings.ToValidUTF8(err.Error(), "?"), "\x00", "?")
	if len(s) > problemBytes {
		s = strings.ToValidUTF8(s[:problemBytes], "")
	}
	return s
}

// events returns all as they are told.
func (w *Webhooks) events(ctx context.Context, all []push.Happening) ([]push.Event, error) {
	out := make([]push.Event, 0, len(all))
	for _, h := range all {
		e, err := w.event(ctx, h)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// event returns h as it is told. The state of a push that ended is that of now.
func (w *Webhooks) event(ctx context.Context, h push.Happening) (push.Event, error) {
	e := push.Event{Time: h.At.UTC(), Event: h.Mark.EventName(), Push: h.Push, Reason: h.Mark.Reason()}
	switch h.Mark {
	case push.MarkFinished:
		p, err := w.ports.Pushes.Find(ctx, h.App, h.Push)
		if err != nil && !errors.Is(err, push.NotFound) { // one that is gone has no state
			return e, err
		}
		e.State = p.State
		return e, nil
	case push.MarkSent, push.MarkDelivered:
		e.Channel = "own"
	}
	e.Device = w.ports.Devices.DeviceID(h.App, h.Ordinal)
	return e, nil
}
