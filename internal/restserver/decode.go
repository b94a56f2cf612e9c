package restserver

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/carillonpush/carillon/internal/push"
)

// read returns the body of r, at most limit bytes of it. A body that says it is larger is refused before it is read.
func read(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		w.Header().Set("Connection", "close") // else the server would read the rest to reuse the connection
		return nil, tooLarge(limit)
	}
	// Writers that have no deadlines are those of tests.
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout))
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	_ = rc.SetReadDeadline(time.Time{})
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		w.Header().Set("Connection", "close") // a wrapped w keeps MaxBytesReader from saying so itself
		return nil, tooLarge(limit)
	case err != nil:
		return nil, &push.Error{Kind: push.Invalid, Msg: "the body ended early", Err: err}
	}
	return b, nil
}

// decode reads body into v, a pointer to a struct: one JSON value, without unknown fields, their names in exact case. What
// is wrong with it is Invalid, with the path of the field, which is looked for when there is an error, or a name that might
// be one: what most senders send is one pass and two glances.
func decode(body []byte, v any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return invalid("", "the body is empty; a JSON object is needed")
	}
	if !utf8.Valid(body) {
		return invalid("", "the body is not UTF-8")
	}
	err := strict(body, v)
	isObject := bytes.HasPrefix(bytes.TrimSpace(body), []byte("{"))
	switch {
	case err == nil && push.HasLoneSurrogate(body):
		return wholeText(body)
	case err == nil && isObject && plainNames(body):
		return nil
	case err == nil && isObject:
		// Only names of members that are the caller's own may be in another case.
		return locate(reflect.TypeOf(v), body, "")
	case !json.Valid(body):
		var syntax *json.SyntaxError
		if errors.As(json.Unmarshal(body, new(json.RawMessage)), &syntax) {
			return invalid("", "the body is not JSON: "+syntax.Error()+", at byte "+strconv.FormatInt(syntax.Offset, 10))
		}
		return invalid("", "the body is not JSON")
	}
	if fault := locate(reflect.TypeOf(v), body, ""); fault != nil {
		return fault
	}
	return &push.Error{Kind: push.Invalid, Msg: "the body cannot be read", Err: err}
}

// wholeText says where in body, valid JSON, there is text with half of a surrogate pair.
func wholeText(body []byte) error {
	_, err := push.ReadJSON(body)
	return err
}

// plainNames reports whether no name of a member in body, valid JSON, could be another's in a different case, as
// encoding/json compares them: the names of fields here are in lower case and ASCII.
func plainNames(body []byte) bool {
	for i := 0; i < len(body); i++ {
		if body[i] != '"' {
			continue
		}
		plain := true
		for i++; body[i] != '"'; i++ {
			switch c := body[i]; {
			case c == '\\':
				plain = false
				i++
			case c >= 'A' && c <= 'Z' || c >= utf8.RuneSelf:
				plain = false
			}
		}
		if rest := bytes.TrimLeft(body[i+1:], " \t\r\n"); !plain && len(rest) > 0 && rest[0] == ':' {
			return false
		}
	}
	return true
}

// isNull reports whether raw is the JSON null.
func isNull(raw json.RawMessage) bool { return string(bytes.TrimSpace(raw)) == "null" }

// strict reads exactly one JSON value, refusing unknown fields.
func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

var (
	jsonReader = reflect.TypeFor[json.Unmarshaler]()
	textReader = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// locate returns what is wrong with raw, valid JSON, as a value of type t at path; nil if nothing is. It goes down into
// objects and arrays until the fault is a single value's, in the order of names, so that its answer is always the same.
func locate(t reflect.Type, raw json.RawMessage, path string) error {
	// As encoding/json has it, null leaves a field as it is, but for types that read it themselves and are no pointers.
	null := isNull(raw)
	if null && path != "" && t.Kind() == reflect.Pointer {
		return nil
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if custom := reflect.PointerTo(t); custom.Implements(jsonReader) || custom.Implements(textReader) {
		return locateValue(t, raw, path)
	}
	switch {
	case null && path == "":
		return invalid("", "is null; a JSON object is needed")
	case null:
		return nil
	case t.Kind() == reflect.Struct:
		var members map[string]json.RawMessage
		if json.Unmarshal(raw, &members) != nil {
			return invalid(path, "must be an object")
		}
		return locateField(t, members, path)
	case t.Kind() == reflect.Map:
		var members map[string]json.RawMessage
		if json.Unmarshal(raw, &members) != nil {
			return invalid(path, "must be an object")
		}
		return locateMembers(t, members, path)
	case t.Kind() == reflect.Slice && t.Elem() != reflect.TypeFor[byte]():
		var items []json.RawMessage
		if json.Unmarshal(raw, &items) != nil {
			return invalid(path, "must be an array")
		}
		for i, item := range items {
			if err := locate(t.Elem(), item, path+"["+strconv.Itoa(i)+"]"); err != nil {
				return err
			}
		}
		return nil
	}
	return locateValue(t, raw, path)
}

// locateMembers goes through a map. Keys that are not any text are checked too.
func locateMembers(t reflect.Type, members map[string]json.RawMessage, path string) error {
	for _, k := range slices.Sorted(maps.Keys(members)) {
		if key, ok := reflect.New(t.Key()).Interface().(encoding.TextUnmarshaler); ok {
			var e *push.Error
			if errors.As(key.UnmarshalText([]byte(k)), &e) {
				return invalid(join(path, k), e.Msg)
			}
		}
		if err := locate(t.Elem(), members[k], join(path, k)); err != nil {
			return err
		}
	}
	return nil
}

// locateField goes through a struct, in which embedded structs are flat. Unlike for encoding/json names are in exact case.
func locateField(t reflect.Type, members map[string]json.RawMessage, path string) error {
	fields := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && name != "" && name != "-" {
			fields[name] = f.Type
		}
	}
	for _, k := range slices.Sorted(maps.Keys(members)) {
		ft, ok := fields[k]
		if !ok {
			return invalid(join(path, k), "is not a field here")
		}
		if err := locate(ft, members[k], join(path, k)); err != nil {
			return err
		}
	}
	return nil
}

// locateValue says what is wrong with one value that has no parts of interest.
func locateValue(t reflect.Type, raw json.RawMessage, path string) error {
	err := strict(raw, reflect.New(t).Interface())
	if err == nil {
		return inExactCase(t, raw, path)
	}
	var e *push.Error
	if errors.As(err, &e) {
		// A type that says itself what it takes names itself as the field, but for those that name a part of it.
		if namesParts[t] && e.Field != "" {
			path = join(path, e.Field)
		}
		return invalid(path, e.Msg)
	}
	return invalid(path, "must be "+wanted(t))
}

// namesParts are the types that say which part of a value is at fault.
var namesParts = map[reflect.Type]bool{reflect.TypeFor[TokenBody](): true, reflect.TypeFor[push.Where](): true}

// readers are the types that read an object themselves, and the names of its members.
var readers = map[reflect.Type][]string{
	reflect.TypeFor[TokenBody]():   {"token", "env", "endpoint", "p256dh", "auth"},
	reflect.TypeFor[push.FileOf](): {"alias"},
}

// inExactCase refuses a member of an object that t has read itself by a name in another case.
func inExactCase(t reflect.Type, raw json.RawMessage, path string) error {
	names, ok := readers[t]
	var members map[string]json.RawMessage
	if !ok || json.Unmarshal(raw, &members) != nil {
		return nil
	}
	for _, k := range slices.Sorted(maps.Keys(members)) {
		if !slices.Contains(names, k) {
			return invalid(join(path, k), "is not a field here")
		}
	}
	return nil
}

// wanted says in JSON's words what t is.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if !reflect.PointerTo(t).Implements(textReader) {
			return "a whole number"
		}
		return "a string"
	}
	if t.PkgPath() == "time" {
		return "a time like 2026-11-25T09:00:00+08:00"
	}
	return "a value of another type"
}

// join puts name below path.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
