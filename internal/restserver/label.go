package restserver

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/carillonpush/carillon/internal/push"
)

// A labelBody is a body that changes labels of one device.
type labelBody interface {
	// edit returns what is asked for; empty says that there was no body.
	edit(op push.EditOp, empty bool) (push.LabelEdit, error)
	// field returns where in the body a field of the edit is.
	field(ofEdit string) string
}

// AliasBody names one alias.
type AliasBody struct {
	Type  string `json:"type,omitempty"`
	Value string `json:"value"`
}

func (b AliasBody) edit(op push.EditOp, empty bool) (push.LabelEdit, error) {
	if empty {
		return push.LabelEdit{Op: op, All: push.AllAliases}, nil
	}
	return push.LabelEdit{Op: op, Aliases: []push.Alias{{Type: b.Type, Value: b.Value}}}, nil
}

func (AliasBody) field(ofEdit string) string {
	if ofEdit == "aliases[0]" {
		return "value"
	}
	return strings.TrimPrefix(ofEdit, "aliases[0].")
}

// AliasesBody names one alias, or several.
type AliasesBody struct {
	Type    string       `json:"type,omitempty"`
	Value   string       `json:"value,omitempty"`
	Aliases []push.Alias `json:"aliases,omitempty"`
}

func (b AliasesBody) edit(op push.EditOp, empty bool) (push.LabelEdit, error) {
	switch {
	case b.Aliases == nil:
		return AliasBody{b.Type, b.Value}.edit(op, empty)
	case b.Type+b.Value != "":
		return push.LabelEdit{}, invalid("aliases", "stands beside type and value")
	case len(b.Aliases) == 0:
		return push.LabelEdit{}, invalid("aliases", "names nothing")
	}
	return push.LabelEdit{Op: op, Aliases: b.Aliases}, nil
}

func (b AliasesBody) field(ofEdit string) string {
	if b.Aliases == nil {
		return AliasBody{}.field(ofEdit)
	}
	return ofEdit
}

// TagsBody names tags.
type TagsBody struct {
	Tags []string `json:"tags"`
}

func (b TagsBody) edit(op push.EditOp, empty bool) (push.LabelEdit, error) {
	switch {
	case empty:
	case b.Tags == nil:
		return push.LabelEdit{}, invalid("tags", "is missing")
	case len(b.Tags) == 0 && op != push.Put:
		return push.LabelEdit{}, invalid("tags", "names nothing")
	case len(b.Tags) > 0:
		return push.LabelEdit{Op: op, Tags: b.Tags}, nil
	}
	return push.LabelEdit{Op: push.Delete, All: push.AllTags}, nil
}

func (TagsBody) field(ofEdit string) string { return ofEdit }

// AccountBody names who is logged in.
type AccountBody struct {
	Account string `json:"account"`
}

func (b AccountBody) edit(op push.EditOp, _ bool) (push.LabelEdit, error) {
	return push.LabelEdit{Op: op, Account: &b.Account}, nil
}

func (AccountBody) field(ofEdit string) string { return ofEdit }

// label registers a route that changes labels, of the device in the path or of the one that calls.
func label[B labelBody](s *Server, rt route, example string, op push.EditOp) {
	rt.body, rt.example = *new(B), example
	rt.optional = rt.method == http.MethodDelete
	rt.answers = []answer{{http.StatusOK, push.Device{}, "The device as it is now."}}
	if rt.access == device {
		rt.answers[0].body = Me{}
	}
	handle(s, rt, func(ctx context.Context, c *call, b *B) (any, error) {
		e, err := (*b).edit(op, c.empty)
		if err != nil {
			return nil, err
		}
		v, err := s.editLabels(ctx, c, e)
		if fault, ok := errors.AsType[*push.Error](err); ok {
			f := *fault
			f.Field = (*b).field(f.Field)
			return nil, &f
		}
		return v, err
	})
}

// editLabels changes the device that a call is about, and answers it.
func (s *Server) editLabels(ctx context.Context, c *call, e push.LabelEdit) (any, error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	if c.rt.access == device {
		e.ByDevice = true
		return meAnswer(s.house.Labels.EditLabels(ctx, c.ref, e))
	}
	ref, err := s.refOf(ctx, c)
	if err != nil {
		return nil, err
	}
	return deviceAnswer(s.house.Labels.EditLabels(ctx, ref, e))
}

// Examples of bodies.
const (
	aliasExample   = `{"type": "uid", "value": "42"}`
	tagsExample    = `{"tags": ["vip", "beta"]}`
	accountExample = `{"account": "user-42"}`
)

// logoutDoc ends what is said of both ways to log out.
const logoutDoc = ", whoever it was: a body may say so, and is not needed. Logging out twice is logging out once."

// labelRoutes registers what senders do with the labels of one device.
func (s *Server) labelRoutes() {
	at := func(method, kind, id, summary, doc string) route {
		return route{
			method: method, path: "/v1/apps/{app}/devices/{device}/" + kind, id: id, tag: "Devices", access: sender,
			summary: summary, doc: doc,
		}
	}
	const aliasesExample = `{"aliases": [{"type": "uid", "value": "42"}, {"value": "bob"}]}`
	label[AliasesBody](s, at(http.MethodPut, "aliases", "set-aliases", "Set aliases",
		"The device becomes the only owner of each alias that the body names: one as type and value, or several. Aliases that it "+
			"does not name stay."), aliasesExample, push.Put)
	label[AliasesBody](s, at(http.MethodPost, "aliases", "add-aliases", "Add aliases",
		"The device becomes one more owner of each alias that the body names."), aliasesExample, push.Add)
	label[AliasesBody](s, at(http.MethodDelete, "aliases", "remove-aliases", "Remove aliases",
		"Ends that the device owns what the body names; without a body, all of its aliases."), aliasesExample, push.Delete)

	label[TagsBody](s, at(http.MethodPut, "tags", "set-tags", "Set tags",
		"The device carries the tags that the body names and no others; an empty list takes all away. Tags that are new to the "+
			"app are made."), tagsExample, push.Put)
	label[TagsBody](s, at(http.MethodPost, "tags", "add-tags", "Add tags",
		"The device carries the tags that the body names besides its others. Tags that are new to the app are made."), tagsExample, push.Add)
	label[TagsBody](s, at(http.MethodDelete, "tags", "remove-tags", "Remove tags",
		"Takes away the tags that the body names; without a body, all."), tagsExample, push.Delete)

	for _, method := range []string{http.MethodPut, http.MethodPost} {
		rt := at(method, "account", "set-account", "Log in",
			"Says who uses the device now. It takes the place of an account that was logged in. PUT and POST are the same.")
		if method == http.MethodPost {
			rt.id = "add-account"
		}
		label[AccountBody](s, rt, accountExample, push.Put)
	}
	logout := at(http.MethodDelete, "account", "remove-account", "Log out", "Nobody uses the device now"+logoutDoc)
	label[AccountBody](s, logout, accountExample, push.Delete)
}

// meLabelRoutes registers what devices do with their own labels.
func (s *Server) meLabelRoutes() {
	at := func(method, kind, id, summary, doc string) route {
		return route{
			method: method, path: "/device/v1/me/" + kind, id: id, tag: "Device API", access: device, summary: summary, doc: doc,
		}
	}
	label[AliasBody](s, at(http.MethodPut, "alias", "set-my-alias", "Set an alias",
		"This device becomes the only owner of the alias. Its other aliases stay."), aliasExample, push.Put)
	label[AliasBody](s, at(http.MethodPost, "alias", "add-my-alias", "Add an alias", "This device becomes one more owner of the alias."), aliasExample, push.Add)
	label[AliasBody](s, at(http.MethodDelete, "alias", "remove-my-alias", "Remove an alias",
		"Ends that this device owns the alias; without a body, all of its aliases."), aliasExample, push.Delete)

	label[TagsBody](s, at(http.MethodPut, "tags", "set-my-tags", "Set tags",
		"This device carries the tags that the body names and no others; an empty list takes all away."), tagsExample, push.Put)
	label[TagsBody](s, at(http.MethodPost, "tags", "add-my-tags", "Add tags",
		"This device carries the tags that the body names besides its others."), tagsExample, push.Add)
	label[TagsBody](s, at(http.MethodDelete, "tags", "remove-my-tags", "Remove tags",
		"Takes away the tags that the body names; without a body, all."), tagsExample, push.Delete)

	login := at(http.MethodPut, "account", "log-in", "Log in",
		"Says who uses this device now. It takes the place of an account that was logged in.")
	label[AccountBody](s, login, accountExample, push.Put)
	logout := at(http.MethodDelete, "account", "log-out", "Log out", "Nobody uses this device now"+logoutDoc)
	label[AccountBody](s, logout, accountExample, push.Delete)
}
