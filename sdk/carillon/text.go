package carillon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"unicode/utf8"
)

// errText says that a request has text that cannot be sent as it is.
var errText = errors.New("text is not UTF-8")

// marshal returns v as JSON. Unlike json.Marshal it does not send other text than it was given: text that is not UTF-8 is an
// error.
func marshal(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil || !bytes.Contains(b, []byte(`\ufffd`)) {
		return b, err
	}
	// So json.Marshal writes what is not UTF-8, and so may stand in raw JSON that is sent as it came.
	if where, bad := badText(reflect.ValueOf(v)); bad {
		return nil, fmt.Errorf("%w: %s", errText, where)
	}
	return b, nil
}

// badText reports whether there is text in v that is not UTF-8, and in which Go field: "Message.Notification.Title". Raw JSON
// has none that would be changed.
func badText(v reflect.Value) (path string, bad bool) {
	switch v.Kind() {
	case reflect.String:
		return "", !utf8.ValidString(v.String())
	case reflect.Pointer, reflect.Interface:
		return badText(v.Elem()) // of nil it is the zero Value, which has no text
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return "", false
		}
		for i := range v.Len() {
			if path, bad := badText(v.Index(i)); bad {
				return below(fmt.Sprintf("[%d]", i), path), true
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if _, bad := badText(it.Key()); bad {
				return "", true
			}
			if path, bad := badText(it.Value()); bad {
				return below(fmt.Sprintf("[%v]", it.Key()), path), true
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if path, bad := badText(v.Field(i)); bad && (f.IsExported() || f.Anonymous) {
				return below(f.Name, path), true
			}
		}
	}
	return "", false
}

// below puts path under name; path may be "".
func below(name, path string) string {
	if path == "" || path[0] == '[' {
		return name + path
	}
	return name + "." + path
}
