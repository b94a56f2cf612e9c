package restserver

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillonpush/carillon/internal/push"
)

// PushBody asks for a message to be sent.
type PushBody struct {
	Audience push.Audience `json:"audience,omitzero"` // an open push may do without
	Message  push.Message  `json:"message"`
	Policy   Policy        `json:"policy,omitzero"`
	Open     bool          `json:"open,omitempty"`
}

// A Policy is a push.Policy as a sender writes it: it tells a ttl of nothing, and a rate of nothing, from none.
type Policy struct {
	push.Policy
	TTL  *push.Duration `json:"ttl,omitempty"`
	Rate *int           `json:"rate,omitempty"`
}

// policy returns p as the domain has it.
func (p Policy) policy() (push.Policy, error) {
	switch {
	case p.TTL != nil && *p.TTL == 0:
		// To the domain 0 is the default, which is three days and not what the sender has in mind.
		return push.Policy{}, invalid("policy.ttl", "is at least 1s; use store_offline false for now or never")
	case p.Rate != nil && *p.Rate < 1: // to the domain 0 is as fast as can be, which is the opposite of what it says
		return push.Policy{}, invalid("policy.rate", "is at least 1; leave it out for no limit")
	}
	if p.TTL != nil {
		p.Policy.TTL = *p.TTL
	}
	if p.Rate != nil {
		p.Policy.Rate = *p.Rate
	}
	return p.Policy, nil
}

// sendable returns m without its optional objects that are null, which is how some senders write absent. In data, in custom
// and in the values of extras null is a value like any other. Invalid for what senders do not write.
func sendable(m push.Message) (push.Message, error) {
	if m.Recall != 0 {
		return m, invalid("message.recall", "is not a field here")
	}
	if isNull(m.APNS) {
		m.APNS = nil
	}
	maps.DeleteFunc(m.Vendors, func(_ string, v json.RawMessage) bool { return isNull(v) })
	if maps.DeleteFunc(m.Variants, func(_ push.Platform, v *push.Variant) bool { return v == nil }); len(m.Variants) == 0 {
		m.Variants = nil
	}
	return m, nil
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

	Schedule  push.ID `json:"schedule,omitempty"`
	RequestID string  `json:"request_id,omitempty"`
	Template  string  `json:"template,omitempty"`
	push.Labels
	push.Report
}

// requestHeader is the header in which a sender names its request, and gets the name back.
const requestHeader = "X-Request-Id"

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
			"answered with the first push, and a different request under the same key is a conflict. With policy.recurring the " +
			"answer is the schedule: its id, in the state scheduled, and as start its first occurrence.",
		params: []*huma.Param{
			queryParam("dry_run", "true: nothing is sent, and the answer says whom it would reach now.", "boolean"),
			headerParam(keyHeader, "A name for this request, at most 256 visible ASCII characters."),
			headerParam(requestHeader, "An id for this request, at most 128 visible ASCII characters, under which the push is found; it is answered back."),
		},
		body: PushBody{}, example: pushExample,
		answers: []answer{
			{http.StatusAccepted, push.Push{}, "The push is durable."},
			{http.StatusOK, push.Count{}, "A dry run: whom it would reach now."},
		},
	}, s.send)
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
		method: http.MethodGet, path: "/v1/apps/{app}/requests/{request_id}", id: "show-request", tag: tag, access: sender,
		summary: "Find the push of a request",
		doc:     "The push of a request id that a dialect handed out, or that its sender gave in the header X-Request-Id, with its report.",
		answers: []answer{{http.StatusOK, PushReport{}, "The push and what became of it."}},
	}, s.showRequest)
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
	req, err := c.request(b, key, "")
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

// request returns what b asks for; suffix tells the pushes of a batch apart. Audience, message and policy are validated by
// whoever accepts it, who knows the time.
func (c *call) request(b *PushBody, key push.Key, suffix string) (push.Request, error) {
	if err := c.maySend(); err != nil {
		return push.Request{}, err
	}
	message, err := sendable(b.Message)
	if err != nil {
		return push.Request{}, err
	}
	policy, err := b.Policy.policy()
	if err != nil {
		return push.Request{}, err
	}
	req := push.Request{
		App: c.app.ID, Audience: b.Audience, Message: message, Policy: policy, Open: b.Open, Key: key, Origin: "rest",
		Uses: uses(b.Audience),
	}
	if c.requestID != "" {
		req.RequestID = c.requestID + suffix
	}
	return req, nil
}

// maySend refuses to send in an app that is switched off, which administrators reach all the same.
func (c *call) maySend() error {
	if c.app.Settings.Bool(push.SettingDisabled) {
		return denied("the app is switched off")
	}
	return nil
}

// uses returns the quotas that a push to a counts under.
func uses(a push.Audience) []push.Use {
	all := []push.Use{{Setting: "rest.pushes_per_minute", Credential: "rest"}}
	if a.All || a.Where != nil || a.File != "" {
		all = append(all, push.Use{Setting: "rest.bulk_pushes_per_minute", Credential: "rest"})
	}
	if a.All {
		all = append(all, push.Use{Setting: "rest.broadcasts_per_day", Credential: "rest"})
	}
	return all
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

// listPushes answers one page of pushes.
func (s *Server) listPushes(ctx context.Context, c *call, _ *none) (any, error) {
	return idPage(ctx, c, s.house.Pushes.List)
}

// idPage answers one page of what has push ids, newest first. A cursor is such an id.
func idPage[T any](
	ctx context.Context, c *call, list func(ctx context.Context, app push.AppID, before push.ID, limit int) ([]T, push.ID, error),
) (any, error) {
	cursor, limit, err := c.page()
	if err != nil {
		return nil, err
	}
	var before push.ID
	if cursor != "" {
		if before, err = push.ParseID(cursor); err != nil {
			return nil, badCursor()
		}
	}
	page, next, err := list(ctx, c.app.ID, before, limit)
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
	id, err := c.id("push")
	if err != nil {
		return nil, err
	}
	return s.report(ctx, c.app.ID, id)
}

// showRequest answers the push of a request with its report.
func (s *Server) showRequest(ctx context.Context, c *call, _ *none) (any, error) {
	p, err := s.house.Accounts.ByRequest(ctx, c.app.ID, c.r.PathValue("request_id"))
	if err != nil {
		return nil, err
	}
	return s.report(ctx, c.app.ID, p.ID)
}

// report returns a push and what became of it.
func (s *Server) report(ctx context.Context, app push.AppID, id push.ID) (any, error) {
	p, rep, err := s.house.Pushes.Find(ctx, app, id)
	if err != nil {
		return nil, err
	}
	a := PushReport{
		ID: p.ID, Kind: p.Kind, State: p.State, App: p.App, Created: p.Created, Start: p.Start, Expires: p.Expires, Reason: p.Reason,
		Schedule: p.Schedule, RequestID: p.Request.RequestID, Labels: p.Request.Policy.Labels, Report: whole(rep),
	}
	if t := p.Request.Message.Template; t != nil {
		a.Template = t.Name
	}
	return a, nil
}

// whole returns r with objects where it has nil maps.
func whole(r push.Report) push.Report {
	r.Dropped = counts(r.Dropped)
	if r.Channels == nil {
		r.Channels = map[string]push.ChannelCount{}
	}
	return r
}

// id returns the id in the path, that of a push or of what has push ids; what says which, for the error.
func (c *call) id(what string) (push.ID, error) {
	id, err := push.ParseID(c.r.PathValue("id"))
	if err != nil {
		return 0, &push.Error{Kind: push.NotFound, Field: "id", Msg: "no such " + what}
	}
	return id, nil
}

// counts returns m, or an empty object for nil.
func counts(m map[string]int) map[string]int {
	if m == nil {
		return map[string]int{}
	}
	return m
}
