package dispatch

import (
	"context"
	"errors"
	"strings"

	"github.com/carillonpush/carillon/internal/push"
)

// A text is what a request's template makes of its message.
type text struct {
	template *push.Template // nil if the message names none
	message  push.Message   // as the request has it
}

// text returns the template that r names. Invalid if there is none.
func (d *Dispatcher) text(ctx context.Context, r push.Request) (text, error) {
	t := text{message: r.Message}
	if r.Message.Template == nil {
		return t, nil
	}
	found, err := d.Templates.FindTemplate(ctx, r.App, r.Message.Template.Name)
	if is(err, push.NotFound) {
		return t, &push.Error{Kind: push.Invalid, Field: "message.template", Msg: "no such template"}
	}
	t.template = &found
	return t, err
}

// payload returns what devices get of p; values are those of one name, nil what all have.
func (t text) payload(p push.Push, values map[string]string) ([]byte, error) {
	if t.template != nil {
		m, err := t.template.Fill(t.message, values)
		if err == nil {
			err = m.Validate() // it may have grown too large
		}
		if err != nil {
			return nil, push.Within("message", err)
		}
		p.Request.Message = m
	}
	return p.Payload()
}

// payloads returns what devices get of p, and what those of named get for whose name the request has values of its own. Of
// a push in which every name has, the common values may leave placeholders open: then what is common is the first name's,
// and nobody gets it for that.
func (t text) payloads(p push.Push, named []push.Named) (common []byte, own map[push.Ordinal][]byte, err error) {
	all := t.message.Personal
	if len(all) == 0 {
		common, err = t.payload(p, nil)
		return common, nil, err
	}
	byName := make(map[string][]byte, len(all))
	everybody, first := true, []byte(nil)
	for _, name := range namesOf(p.Request.Audience) {
		values, ok := all[name]
		if !ok {
			everybody = false
			continue
		}
		if byName[name], err = t.payload(p, values); err != nil {
			return nil, nil, personal(err)
		}
		if first == nil {
			first = byName[name]
		}
	}
	if common, err = t.payload(p, nil); err != nil {
		if !everybody {
			return nil, nil, err
		}
		common = first
	}
	own = map[push.Ordinal][]byte{}
	for _, n := range named {
		if b := byName[n.Name]; b != nil {
			own[n.Ordinal] = b
		}
	}
	return common, own, nil
}

// personal returns err, which is about the values of one name, with its field below message.personal. The name may be a
// person's, so it is not said.
func personal(err error) error {
	e, ok := errors.AsType[*push.Error](err)
	if !ok {
		return err
	}
	c := *e
	if rest, ok := strings.CutPrefix(c.Field, "message.template.values"); ok {
		c.Field = "message.personal" + rest
	}
	return &c
}

// namesOf returns the names of an audience that is Named.
func namesOf(a push.Audience) []string {
	switch {
	case a.Aliases != nil:
		return a.Aliases.Values
	case a.Accounts != nil:
		return a.Accounts
	}
	return a.Devices
}
