package gateway

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/carillonpush/carillon/internal/push"
)

// The topics on which a device says what it is called. Its body over HTTP, and "op", is what is published there.
const (
	topicAlias      = "device/alias"
	topicTags       = "device/tags"
	topicAccount    = "device/account"
	topicAttributes = "device/attributes"
)

// isEditTopic reports whether what is published to topic is an edit of the device's labels.
func isEditTopic(topic string) bool {
	switch topic {
	case topicAlias, topicTags, topicAccount, topicAttributes:
		return true
	}
	return false
}

// parseEdit reads what is published to one of the topics above:
//
//	device/alias       {"op", "type", "value"}: put has the device be the only owner, add one more, delete none; delete of
//	                   neither type nor value takes all aliases. A type that is missing is "".
//	device/tags        {"op", "tags": […]}: put has the device carry these only, even if they are none; add and delete name at
//	                   least one, but delete of no "tags" takes all.
//	device/account     {"op", "account"}: put and add log in; delete logs out that account, or without a name whoever is.
//	device/attributes  {"op", "attributes": {…}}: put has the device have these only; add changes what is named, where "" removes
//	                   it; delete removes what is named, whatever its value.
//
// Unknown and repeated names are refused, as are null and what is not Unicode text. The error is Invalid, with the path of what is wrong.
func parseEdit(topic string, b []byte) (*push.LabelEdit, error) {
	f, err := readFields(b)
	if err != nil {
		return nil, err
	}
	e := &push.LabelEdit{ByDevice: true}
	op, _ := f.text("op")
	if err := e.Op.UnmarshalText([]byte(op)); err != nil {
		return nil, err
	}
	switch topic {
	case topicAlias:
		f.alias(e)
	case topicTags:
		f.tags(e)
	case topicAccount:
		f.account(e)
	case topicAttributes:
		f.attributes(e)
	}
	if err := f.end(); err != nil {
		return nil, err
	}
	if err := e.Validate(); err != nil {
		return nil, asPublished(topic, err)
	}
	return e, nil
}

// asPublished puts the path of an alias's fault, of which the domain knows a list, as it stands in the payload.
func asPublished(topic string, err error) error {
	e, ok := err.(*push.Error)
	if !ok || topic != topicAlias {
		return err
	}
	c := *e
	c.Field = strings.TrimPrefix(c.Field, "aliases[0].")
	if c.Field == "values" {
		c.Field = "value"
	}
	return &c
}

// shown returns the name of a field that is not known as the path of an answer, or "" if it is better not shown.
func shown(name string) string {
	if len(name) > push.MaxAttributeKey || strings.ContainsFunc(name, unicode.IsControl) {
		return ""
	}
	return name
}

func invalid(field, msg string) error { return &push.Error{Kind: push.Invalid, Field: field, Msg: msg} }

// fields are the members of a payload that were not asked for yet, and the first fault that was found.
type fields struct {
	all map[string]any
	err error
}

// readFields reads the object that a payload is.
func readFields(b []byte) (*fields, error) {
	if len(b) > maxPayload {
		return nil, invalid("", "has more than 4096 bytes")
	}
	v, err := push.ReadJSON(b)
	if err != nil {
		return nil, err
	}
	all, ok := v.(map[string]any)
	if !ok {
		return nil, invalid("", "must be a JSON object")
	}
	return &fields{all: all}, nil
}

// end refuses what was not asked for, and returns the first fault.
func (f *fields) end() error {
	for _, name := range slices.Sorted(maps.Keys(f.all)) {
		f.refuse(shown(name), "is not a field here")
	}
	return f.err
}

func (f *fields) refuse(field, msg string) {
	if f.err == nil {
		f.err = invalid(field, msg)
	}
}

// text takes out a member that is a text, and reports whether there was one.
func (f *fields) text(name string) (string, bool) {
	v, there := f.all[name]
	if !there {
		return "", false
	}
	delete(f.all, name)
	s, ok := v.(string)
	if !ok {
		f.refuse(name, "must be a string")
	}
	return s, true
}

func (f *fields) alias(e *push.LabelEdit) {
	typ, typed := f.text("type")
	value, valued := f.text("value")
	switch {
	case valued:
		e.Aliases = []push.Alias{{Type: typ, Value: value}}
	case e.Op == push.Delete && !typed:
		e.All = push.AllAliases
	default:
		f.refuse("value", "is missing")
	}
}

func (f *fields) tags(e *push.LabelEdit) {
	v, there := f.all["tags"]
	delete(f.all, "tags")
	switch {
	case !there && e.Op == push.Delete:
		e.All = push.AllTags
		return
	case !there:
		f.refuse("tags", "is missing")
		return
	}
	items, ok := v.([]any)
	if !ok {
		f.refuse("tags", "must be a list of strings")
	}
	for i, item := range items {
		tag, ok := item.(string)
		if !ok {
			f.refuse("tags["+strconv.Itoa(i)+"]", "must be a string")
		}
		e.Tags = append(e.Tags, tag)
	}
	switch {
	case len(items) > 0:
	case e.Op == push.Put: // no tags and no others: the same as to take all
		e.Op, e.All = push.Delete, push.AllTags
	default:
		f.refuse("tags", "names none")
	}
}

func (f *fields) account(e *push.LabelEdit) {
	name, there := f.text("account")
	switch {
	case !there && e.Op == push.Delete:
		e.Account = new(string)
	case !there:
		f.refuse("account", "is missing")
	default:
		e.Account = &name
	}
}

func (f *fields) attributes(e *push.LabelEdit) {
	v, there := f.all["attributes"]
	delete(f.all, "attributes")
	if !there {
		f.refuse("attributes", "is missing")
		return
	}
	all, ok := v.(map[string]any)
	if !ok {
		f.refuse("attributes", "must be an object")
		return
	}
	if len(all) == 0 && e.Op != push.Put {
		f.refuse("attributes", "names none")
	}
	e.Attributes = make(map[string]string, len(all)) // not nil: to put none removes all
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if e.Attributes[name], ok = all[name].(string); !ok {
			f.refuse("attributes."+shown(name), "must be a string")
		}
	}
}
