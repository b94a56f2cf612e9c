package carillon

import (
	"context"
	"net/http"
	"time"
)

// PausePush has nothing more of a push leave until it is resumed.
func (c *Client) PausePush(ctx context.Context, app, id string) (p Push, err error) {
	err = c.Call(ctx, http.MethodPost, appPath(app, "pushes", id, "pause"), nil, &p, nil)
	return p, err
}

// ResumePush has a paused push go on.
func (c *Client) ResumePush(ctx context.Context, app, id string) (p Push, err error) {
	err = c.Call(ctx, http.MethodPost, appPath(app, "pushes", id, "resume"), nil, &p, nil)
	return p, err
}

// RecallPush takes a push back from all devices: what has not left is stopped, and devices that have it are told to withdraw
// it. Doing it again is doing it once, and answers how things stand.
func (c *Client) RecallPush(ctx context.Context, app, id string) (r Recall, err error) {
	err = c.Call(ctx, http.MethodPost, appPath(app, "pushes", id, "recall"), nil, &r, &CallOptions{Repeat: true})
	return r, err
}

// RecallPushFrom takes a push back from 1 to 1,000 devices, by any of their names. None is an error, and not everybody.
func (c *Client) RecallPushFrom(ctx context.Context, app, id string, devices ...string) (r Recall, err error) {
	body := struct {
		Devices []string `json:"devices"`
	}{append([]string{}, devices...)}
	err = c.Call(ctx, http.MethodPost, appPath(app, "pushes", id, "recall"), body, &r, &CallOptions{Repeat: true})
	return r, err
}

// Targets is an open push after targets were added.
type Targets struct {
	ID      string `json:"id"`
	State   string `json:"state"`
	Target  int    `json:"target"`  // all devices that it is for, and names that stand for none, as its report counts them
	Added   int    `json:"added"`   // devices that are new
	Unknown int    `json:"unknown"` // of the names that were given, those that stand for no device
}

// AddTargets adds to the target of an open push, and sends to the devices that are new. Adding a device again adds nothing,
// so that the call is repeated by itself when its outcome is unknown.
func (c *Client) AddTargets(ctx context.Context, app, id string, a Audience) (t Targets, err error) {
	err = c.Call(ctx, http.MethodPost, appPath(app, "pushes", id, "targets"), a, &t, &CallOptions{Repeat: true})
	return t, err
}

// ClosePush has an open push take no more targets.
func (c *Client) ClosePush(ctx context.Context, app, id string) (p Push, err error) {
	err = c.Call(ctx, http.MethodPost, appPath(app, "pushes", id, "close"), nil, &p, nil)
	return p, err
}

// An Account is what became of one push on one device, in the order in which it happened.
type Account struct {
	State string        `json:"state"` // not_targeted, waiting, held, sent, delivered, displayed, opened, clicked, dismissed, recalled or dropped
	Steps []AccountStep `json:"steps"`
}

// An AccountStep is one line of an Account.
type AccountStep struct {
	Time    time.Time `json:"time"`    // when; of what is still to come, when it will; zero where that is not known
	Step    string    `json:"step"`    // accepted, targeted, sent, delivered, dropped and so on: the document of the server lists them
	Channel string    `json:"channel"` // the way out: "own"
	Reason  string    `json:"reason"`  // why; of dropped, the report's reason
	Leaf    string    `json:"leaf"`    // of not_targeted: the part of the audience that does not hold now, as a path
	Changed bool      `json:"changed"` // of not_targeted: the device has changed since, so that what holds now need not have held then
	Push    string    `json:"push"`    // of collapsed: by which push; of recall_sent: the push that carries the recall
}

// ExplainPush returns what became of a push on a device, by any of the device's names.
func (c *Client) ExplainPush(ctx context.Context, app, id, device string) (a Account, err error) {
	err = c.Call(ctx, http.MethodGet, appPath(app, "pushes", id, "devices", device), nil, &a, nil)
	return a, err
}
