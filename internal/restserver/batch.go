package restserver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillonpush/carillon/internal/push"
)

// BatchBody is many pushes at once.
type BatchBody struct {
	Pushes []json.RawMessage `json:"pushes"`
}

// A BatchAnswer is the answer to one push of a batch: the push, or the problem with it.
type BatchAnswer struct {
	push    *push.Push
	problem *Problem
}

// MarshalJSON writes whichever it is.
func (a BatchAnswer) MarshalJSON() ([]byte, error) {
	if a.problem != nil {
		return json.Marshal(a.problem)
	}
	return json.Marshal(a.push)
}

// BatchAnswers are in the order of the batch.
type BatchAnswers struct {
	Items []BatchAnswer `json:"items"`
}

// batchRoute registers the route of batches.
func (s *Server) batchRoute() {
	const tag = "Pushes"
	handle(s, route{
		method: http.MethodPost, path: "/v1/apps/{app}/pushes/batch", id: "send-batch", tag: tag, access: sender,
		summary: "Send many pushes",
		doc: "At most 1,000 pushes to devices, aliases or accounts. Each is accepted or refused for itself: items has an answer or a problem " +
			"for each, in order. With the header Idempotency-Key the whole batch may be repeated.",
		params: []*huma.Param{
			headerParam(keyHeader, "A name for this batch, at most 240 visible ASCII characters."),
			headerParam(requestHeader, "An id for this batch, at most 128 visible ASCII characters: its pushes have it with #0, #1 and so on behind it."),
		},
		body: BatchBody{}, example: `{"pushes": [` + pushExample + `]}`, limit: maxBatch,
		answers: []answer{{http.StatusOK, BatchAnswers{}, "An answer or a problem for each push, in order."}},
	}, s.sendBatch)
}

// sendBatch accepts many pushes, each for itself.
func (s *Server) sendBatch(ctx context.Context, c *call, b *BatchBody) (any, error) {
	if len(b.Pushes) == 0 || len(b.Pushes) > push.MaxDirect {
		return nil, invalid("pushes", "has 1 to 1000 pushes")
	}
	if _, err := c.key("#"); err != nil {
		return nil, err
	}
	all := BatchAnswers{Items: make([]BatchAnswer, len(b.Pushes))}
	// All at once, so that they share commits (the store bounds what waits for them); but what names a device, or an alias or
	// account, that an earlier one of the batch names waits for that, so that it gets its messages in the order of the batch.
	var wg sync.WaitGroup
	last := map[string]chan struct{}{} // by name: closed when the last push that names it is answered
	for i, raw := range b.Pushes {
		req, err := c.batched(raw, "#"+strconv.Itoa(i))
		if err != nil {
			all.Items[i] = s.refuseItem(ctx, c, err)
			continue
		}
		var before []chan struct{}
		done := make(chan struct{})
		for _, name := range names(req.Audience) {
			if earlier := last[name]; earlier != nil && earlier != done {
				before = append(before, earlier)
			}
			last[name] = done
		}
		wg.Go(func() {
			defer close(done)
			for _, earlier := range before {
				<-earlier
			}
			all.Items[i] = s.sendOne(ctx, c, req)
		})
	}
	wg.Wait()
	return all, nil
}

// batched returns what one push of a batch asks for.
func (c *call) batched(raw json.RawMessage, suffix string) (push.Request, error) {
	var b PushBody
	if err := decode(raw, &b); err != nil {
		return push.Request{}, err
	}
	switch {
	case b.Open:
		return push.Request{}, invalid("open", "is not for a batch: send an open push by itself")
	case b.Policy.Recurring != nil:
		return push.Request{}, invalid("policy.recurring", "is not for a batch: send a recurring push by itself")
	case !b.Audience.Named():
		return push.Request{}, invalid("audience", "must be devices, aliases or accounts: a batch takes pushes to named devices")
	}
	key, err := c.key(suffix)
	if err != nil {
		return push.Request{}, err
	}
	return c.request(&b, key, suffix)
}

// names returns whom a names, so that equal names are the same devices.
func names(a push.Audience) []string {
	all := slices.Clone(a.Devices)
	if a.Aliases != nil {
		for _, v := range a.Aliases.Values {
			all = append(all, "alias\x00"+a.Aliases.Type+"\x00"+v)
		}
	}
	for _, v := range a.Accounts {
		all = append(all, "account\x00"+v)
	}
	return all
}

// refuseItem returns the answer to one push of a batch that is refused.
func (s *Server) refuseItem(ctx context.Context, c *call, err error) BatchAnswer {
	p := problemOf(err)
	if p.Status >= http.StatusInternalServerError && ctx.Err() == nil {
		s.log.Error("request failed", "op", c.rt.id, "code", p.Code, "err", err)
	}
	return BatchAnswer{problem: &p}
}

// sendOne answers one push of a batch. It does not panic: that would end the process, being on a goroutine of its own.
func (s *Server) sendOne(ctx context.Context, c *call, req push.Request) (a BatchAnswer) {
	defer func() {
		if cause := recover(); cause != nil {
			s.log.Error("handler panicked", "op", c.rt.id, "cause", cause)
			a = s.refuseItem(ctx, c, &push.Error{Op: c.rt.id, Kind: push.Internal, Err: errors.New("panic")})
		}
	}()
	p, err := s.house.Pushes.Accept(ctx, req)
	if err != nil {
		return s.refuseItem(ctx, c, keyed(err))
	}
	return BatchAnswer{push: &p}
}
