package push

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
)

// A twice stands in a tree for a member that its object has twice. encoding/json would take the last one in silence, and
// half of a condition would be lost.
type twice struct{}

// readTree reads one JSON value into nil, bool, string, json.Number, []any and map[string]any. It is as deep as
// encoding/json allows, 10,000: more than an expression of MaxWhereNodes needs.
func readTree(b []byte) (any, error) {
	if !json.Valid(b) { // so that no token below can fail
		return nil, invalid("", "is not JSON")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return readValue(d)
}

func readValue(d *json.Decoder) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, invalid("", "is not JSON")
	}
	switch t {
	case json.Delim('{'):
		return readObject(d)
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := readValue(d)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token() // the bracket
		return list, err
	}
	return t, nil
}

func readObject(d *json.Decoder) (any, error) {
	members := map[string]any{}
	for d.More() {
		k, err := d.Token()
		if err != nil {
			return nil, invalid("", "is not JSON")
		}
		v, err := readValue(d)
		if err != nil {
			return nil, err
		}
		name, _ := k.(string) // a member's name is nothing else
		if _, again := members[name]; again {
			v = twice{}
		}
		members[name] = v
	}
	_, err := d.Token() // the brace
	return members, err
}

// partsOf returns the members of v, which may have the two names only. field is where v is.
func partsOf(field string, v any, first, second string) (map[string]any, error) {
	parts, ok := v.(map[string]any)
	if !ok {
		return nil, invalid(field, "must be an object of "+first+" and "+second)
	}
	for _, k := range slices.Sorted(maps.Keys(parts)) {
		switch {
		case k != first && k != second:
			return nil, within(field, invalid(shown(k), "is not "+first+" or "+second))
		case parts[k] == twice{}:
			return nil, invalid(field+"."+k, "is there twice")
		}
	}
	return parts, nil
}

// shown returns the name of a member as it may stand in a path: "" for what does not look like a name.
func shown(k string) string {
	if len(k) > MaxAttributeKey || !identifier(k) {
		return ""
	}
	return k
}
