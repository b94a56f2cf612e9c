package restserver

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillonpush/carillon/internal/push"
)

// PushBody asks for a message to be sent.
type PushBody struct {
	Audience push.Audience `json:"audience"`
	Message  push.Message  `json:"message"`
	Policy   Policy        `json:"policy,omitzero"`
}

// A Policy is a push.Policy as a sender writes it: it tells a ttl of nothing from none.
type Policy struct {
	push.Policy
	TTL *push.Duration `json:"ttl,omitempty"`
}

// policy returns p as the domain has it.
func (p Policy) policy() (push.Policy, error) {
	if p.TTL == nil {
		return p.Policy, nil
	}
	if *p.TTL == 0 {
		// To the domain 0 is the default, which is three days and not what the sender has in mind.
		return push.Policy{}, invalid("policy.ttl", "is at least 1s; use store_offline false for now or never")
	}
	p.Policy.TTL = *p.TTL
	return p.Policy, nil
}

// message returns b's message without its optional objects that are null, which is how some senders write absent. In data,
// in custom and in the values of extras null is a value like any other.
func (b *PushBody) message() push.Message {
	m := b.Message
	if isNull(m.APNS) {
		m.APNS = nil
	}
	maps.DeleteFunc(m.Vendors, func(_ string, v json.RawMessage) bool { return isNull(v) })
	if maps.DeleteFunc(m.Variants, func(_ push.Platform, v *push.Variant) bool { return v == nil }); len(m.Variants) == 0 {
		m.Variants = nil
	}
	return m
}

// BatchBody is many pushes at once.
type BatchBody struct {
	Pushes []json.RawMessage `json:"pushes"`
}

// A PushReport is a push and what became of it.
type PushReport struct {
	ID      push.ID       `json:"id"`
	Kind    push.PushKind `json:"kind"`
	State   push.State    `json:"state"`
	App     push.AppID    `json:"app"`
	Created time.Time     `json:"created"`
	Start   time.Time     `json:"start"`
	Expires time.Time     `json:"expires"`
	Reason  string        `json:"reason,omitempty"`
	push.Labels
	push.Report
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

// What Idempotency-Key stands for: a key of the app's native senders, strict, for seven days.
const (
	keyHeader = "Idempotency-Key"
	keyKeep   = 7 * 24 * time.Hour
	keySpace  = "rest"
	// batchSpace keeps the keys of a batch's items, KEY#0 and so on, apart from those of single pushes.
	batchSpace = "rest.batch"
)

// pushExample is the example of single pushes and of batches.
const pushExample = `{"audience": {"devices": ["5f0c8c0e9f6b1f2d4a7e3b5c6d8e9f01"]},
	"message": {"notification": {"title": "Your order", "body": "is ready", "click": {"action": "url", "url": "https://example.com/42"}},
		"extras": {"order": "42"}},
	"policy": {"ttl": "72h", "group": "orders"}}`

// pushRoutes registers what senders do with pushes.
func (s *Server) pushRoutes() {
	const tag = "Pushes"
	handle(s, route{
		method: http.MethodPost, path: "/v1/apps/{app}/pushes", id: "send-push", tag: tag, access: sender,
		summary: "Send a push",
		doc: "The answer 202 means that the push is on disk. With the header Idempotency-Key a repeat within seven days is " +
			"answered with the first push, and a different request under the same key is a conflict.",
		params: []*huma.Param{
			queryParam("dry_run", "true: nothing is sent, and the answer says whom it would reach now.", "boolean"),
			headerParam(keyHeader, "A name for this request, at most 256 visible ASCII characters."),
		},
		body: PushBody{}, example: pushExample,
		answers: []answer{
			{http.StatusAccepted, push.Push{}, "The push is durable."},
			{http.StatusOK, push.Count{}, "A dry run: whom it would reach now."},
		},
	}, s.send)
	handle(s, route{
		method: http.MethodPost, path: "/v1/apps/{app}/pushes/batch", id: "send-batch", tag: tag, access: sender,
		summary: "Send many pushes",
		doc: "At most 1,000 pushes to devices, aliases or accounts. Each is accepted or refused for itself: items has an answer or a problem " +
			"for each, in order. With the header Idempotency-Key the whole batch may be repeated.",
		params: []*huma.Param{headerParam(keyHeader, "A name for this batch, at most 240 visible ASCII characters.")},
		body:   BatchBody{}, example: `{"pushes": [` + pushExample + `]}`, limit: maxBatch,
		answers: []answer{{http.StatusOK, BatchAnswers{}, "An answer or a problem for each push, in order."}},
	}, s.sendBatch)
	handle(s, route{
		method: http.MethodGet, path: "/v1/apps/{app}/pushes", id: "list-pushes", tag: tag, access: sender,
		summary: "List pushes", doc: "Newest first. A page may be shorter than its limit while there are more.",
		params:  pageParams(),
		answers: []answer{{http.StatusOK, List[push.Push]{}, "One page."}},
	}, s.listPushes)
	handle(s, route{
		method: http.MethodGet, path: "/v1/apps/{app}/pushes/{id}", id: "show-push", tag: tag, access: sender,
		summary: "Show a push", doc: "The push with its report: target = delivered + pending + the sum of dropped, always.",
		answers: []answer{{http.StatusOK, PushReport{}, "The push and what became of it."}},
	}, s.showPush)
	handle(s, route{
		method: http.MethodPost, path: "/v1/apps/{app}/pushes/{id}/cancel", id: "cancel-push", tag: tag, access: sender,
		summary: "Cancel a push", doc: "Stops what has not left. Works while anything is pending.",
		answers: []answer{{http.StatusOK, push.Push{}, "The push, cancelled."}},
	}, s.cancelPush)
}

// send accepts a push, or counts whom it would reach.
func (s *Server) send(ctx context.Context, c *call, b *PushBody) (any, error) {
	dry, err := c.flag("dry_run")
	if err != nil {
		return nil, err
	}
	key, err := c.key("")
	if err != nil {
		return nil, err
	}
	req, err := c.request(b, key)
	if err != nil {
		return nil, err
	}
	if dry || c.r.Header.Get("Carillon-Dry-Run") == "1" { // the header of the façades: who sends it means to send nothing
		c.status = http.StatusOK
		n, err := s.house.Pushes.Count(ctx, req)
		n.Platforms, n.Channels = counts(n.Platforms), counts(n.Channels)
		return n, err
	}
	p, err := s.house.Pushes.Accept(ctx, req)
	if err != nil {
		return nil, keyed(err)
	}
	return p, nil
}

// key returns the key of the header; suffix tells the pushes of a batch apart.
func (c *call) key(suffix string) (push.Key, error) {
	v := c.r.Header.Get(keyHeader)
	if v == "" {
		return push.Key{}, nil
	}
	most, space := push.MaxKey, keySpace
	if suffix != "" {
		most, space = 240, batchSpace
	}
	if len(v) > most || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' }) {
		return push.Key{}, invalid(keyHeader, "has at most "+strconv.Itoa(most)+" visible ASCII characters")
	}
	return push.Key{Namespace: space, Value: v + suffix, Strict: true, Keep: keyKeep}, nil
}

// request returns what b asks for. Audience, message and policy are validated by whoever accepts it, who knows the time.
func (c *call) request(b *PushBody, key push.Key) (push.Request, error) {
	switch {
	case b.Message.Recall != 0:
		return push.Request{}, invalid("message.recall", "is not a field here")
	case c.app.Settings.Bool(push.SettingDisabled):
		return push.Request{}, denied("the app is switched off")
	}
	policy, err := b.Policy.policy()
	if err != nil {
		return push.Request{}, err
	}
	return push.Request{
		App: c.app.ID, Audience: b.Audience, Message: b.message(), Policy: policy, Key: key, Origin: "rest",
	}, nil
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
	if !b.Audience.Named() {
		return push.Request{}, invalid("audience", "must be devices, aliases or accounts: a batch takes pushes to named devices")
	}
	key, err := c.key(suffix)
	if err != nil {
		return push.Request{}, err
	}
	return c.request(&b, key)
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

// keyed names the header where the domain blames the key.
func keyed(err error) error {
	if e, ok := errors.AsType[*push.Error](err); ok && e.Field == "key" {
		c := *e
		c.Field = "Idempotency-Key"
		return &c
	}
	return err
}

// listPushes answers one page of pushes. A cursor is a push id.
func (s *Server) listPushes(ctx context.Context, c *call, _ *none) (any, error) {
	cursor, limit, err := c.page()
	if err != nil {
		return nil, err
	}
	var before push.ID
	if cursor != "" {
		if before, err = push.ParseID(cursor); err != nil {
			return nil, invalid("cursor", "is not one that a list gave")
		}
	}
	page, next, err := s.house.Pushes.List(ctx, c.app.ID, before, limit)
	if err != nil {
		return nil, err
	}
	cursor = ""
	if next != 0 {
		cursor = next.String()
	}
	return listOf(page, cursor), nil
}

// showPush answers a push with its report.
func (s *Server) showPush(ctx context.Context, c *call, _ *none) (any, error) {
	id, err := push.ParseID(c.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	p, rep, err := s.house.Pushes.Find(ctx, c.app.ID, id)
	if err != nil {
		return nil, err
	}
	if rep.Channels == nil {
		rep.Channels = map[string]push.ChannelCount{}
	}
	rep.Dropped = counts(rep.Dropped)
	return PushReport{p.ID, p.Kind, p.State, p.App, p.Created, p.Start, p.Expires, p.Reason, p.Request.Policy.Labels, rep}, nil
}

// cancelPush stops what has not left of a push.
func (s *Server) cancelPush(ctx context.Context, c *call, _ *none) (any, error) {
	id, err := push.ParseID(c.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return s.house.Pushes.Cancel(ctx, c.app.ID, id)
}

// counts returns m, or an empty object for nil.
func counts(m map[string]int) map[string]int {
	if m == nil {
		return map[string]int{}
	}
	return m
}
