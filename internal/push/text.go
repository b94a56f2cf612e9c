package push

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth is how deep JSON that is carried as it came may nest: more than any message needs, and little enough for any
// reader that recurses.
const MaxDepth = 128

// text reports whether s may be kept anywhere: UTF-8 without NUL, which PostgreSQL's text does not take.
func text(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// HasLoneSurrogate reports whether b, which is JSON or a part of it, writes half of a surrogate pair ("\ud83d") without the
// other half. That is no character: encoding/json makes U+FFFD of it, so that different texts would become one.
func HasLoneSurrogate(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '\\')
		if i < 0 {
			return false
		}
		first, n := escaped(b[i:])
		b = b[i+n:]
		if !utf16.IsSurrogate(first) {
			continue
		}
		second, n := escaped(b)
		if utf16.DecodeRune(first, second) == utf8.RuneError { // which no pair stands for
			return true
		}
		b = b[n:]
	}
}

// escaped returns the code unit that b begins with in the form \uXXXX, or 0, and how much of b the escape is.
func escaped(b []byte) (unit rune, n int) {
	switch {
	case len(b) == 0 || b[0] != '\\':
		return 0, 0
	case len(b) >= 6 && b[1] == 'u':
		if v, err := strconv.ParseUint(string(b[2:6]), 16, 16); err == nil {
			return rune(v), 6
		}
	}
	return 0, min(2, len(b))
}

// texts reports the first string inside v, a struct, that is not text, and raw JSON that is not UTF-8. Field is its path.
func texts(v any) error {
	if path, bad := badText(reflect.ValueOf(v)); bad {
		return invalid(path, "is not UTF-8 without NUL")
	}
	return nil
}

var timeType = reflect.TypeFor[time.Time]()

// badText looks into v. The path is put together on the way back only, so that what is well costs one pass.
func badText(v reflect.Value) (path string, bad bool) {
	switch v.Kind() {
	case reflect.String:
		return "", !text(v.String())
	case reflect.Pointer:
		if !v.IsNil() {
			return badText(v.Elem())
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return "", !utf8.Valid(v.Bytes())
		}
		for i := range v.Len() {
			if _, bad := badText(v.Index(i)); bad {
				return "", true // a list is named as a whole
			}
		}
	case reflect.Map:
		return badMember(v)
	case reflect.Struct:
		if v.Type() == timeType {
			return "", false
		}
		for i := range v.NumField() {
			if path, bad := badText(v.Field(i)); bad {
				name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
				return below(name, path), true
			}
		}
	}
	return "", false
}

// badMember looks into a map by names or platforms. A key that is not text is not shown.
func badMember(v reflect.Value) (path string, bad bool) {
	for it := v.MapRange(); it.Next(); {
		key := it.Key().String()
		if p, ok := it.Key().Interface().(Platform); ok {
			key = p.String()
		}
		if !text(key) {
			return "", true
		}
		if path, bad := badText(it.Value()); bad {
			return below(key, path), true
		}
	}
	return "", false
}

// below puts path under name; either may be "".
func below(name, path string) string {
	if name == "" || path == "" {
		return name + path
	}
	return name + "." + path
}

// raw reports JSON at field that cannot be passed on. Absent is well.
func raw(field string, b json.RawMessage) error {
	switch {
	case len(b) == 0:
		return nil
	case !json.Valid(b):
		return invalid(field, "is not JSON")
	case tooDeep(b):
		return invalid(field, "nests deeper than "+strconv.Itoa(MaxDepth))
	}
	return nil
}

// rawObject is raw for what must be an object if it is there.
func rawObject(field string, b json.RawMessage) error {
	if len(b) > 0 && !object(b) {
		return invalid(field, "is not a JSON object")
	}
	return raw(field, b)
}

// tooDeep reports whether b, which is JSON, nests deeper than MaxDepth.
func tooDeep(b []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}
