package push

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// ReadJSON reads b, one JSON value and nothing else, into nil, bool, string, json.Number, []any and map[string]any. It
// refuses what encoding/json passes over in silence, where a part of what was said would be lost or become something else: a
// member that its object has twice, and text that is not UTF-8 or has half of a surrogate pair. What is wrong is Invalid with
// the path of the value: "and[2].tag". A value is as deep as encoding/json allows, 10,000.
func ReadJSON(b []byte) (any, error) {
	switch {
	case !utf8.Valid(b):
		return nil, invalid("", "is not UTF-8")
	case !json.Valid(b): // so that no token below can fail
		return nil, invalid("", "is not JSON")
	}
	r := treeReader{b: b, d: json.NewDecoder(bytes.NewReader(b))}
	r.d.UseNumber()
	return r.value()
}

// A treeReader reads the tokens of b, valid JSON.
type treeReader struct {
	b []byte
	d *json.Decoder
}

func (r *treeReader) token() (json.Token, error) {
	from := r.d.InputOffset()
	t, err := r.d.Token()
	switch {
	case err != nil:
		return nil, invalid("", "is not JSON")
	case HasLoneSurrogate(r.b[from:r.d.InputOffset()]):
		return nil, invalid("", "has half of a surrogate pair, which is no character")
	}
	return t, nil
}

func (r *treeReader) value() (any, error) {
	t, err := r.token()
	switch {
	case err != nil:
		return nil, err
	case t == json.Delim('{'):
		return r.object()
	case t == json.Delim('['):
		return r.list()
	}
	return t, nil
}

func (r *treeReader) list() (any, error) {
	list := []any{}
	for r.d.More() {
		v, err := r.value()
		if err != nil {
			return nil, Within("["+strconv.Itoa(len(list))+"]", err)
		}
		list = append(list, v)
	}
	_, err := r.token() // the bracket
	return list, err
}

func (r *treeReader) object() (any, error) {
	members := map[string]any{}
	for r.d.More() {
		k, err := r.token()
		if err != nil {
			return nil, err
		}
		name, _ := k.(string) // a member's name is nothing else
		v, err := r.value()
		if _, again := members[name]; again && err == nil {
			err = invalid("", "is there twice")
		}
		if err != nil {
			return nil, inMember(name, err)
		}
		members[name] = v
	}
	_, err := r.token() // the brace
	return members, err
}

// inMember returns err as one of the member name of an object. A path ends where a name cannot be shown.
func inMember(name string, err error) error {
	var e *Error
	if name = shown(name); name == "" && errors.As(err, &e) {
		return invalid("", e.Msg)
	}
	return Within(name, err)
}

// partsOf returns the members of v, which may have the two names only. field is where v is.
func partsOf(field string, v any, first, second string) (map[string]any, error) {
	parts, ok := v.(map[string]any)
	if !ok {
		return nil, invalid(field, "must be an object of "+first+" and "+second)
	}
	for _, k := range slices.Sorted(maps.Keys(parts)) {
		if k != first && k != second {
			return nil, Within(field, invalid(shown(k), "is not "+first+" or "+second))
		}
	}
	return parts, nil
}

// shown returns a name that a caller chose as it may stand in a path: "" for one that is long, or cannot be printed.
func shown(name string) string {
	if len(name) > MaxAttributeKey {
		return ""
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return ""
		}
	}
	return name
}
