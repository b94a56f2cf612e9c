package umeng

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds the nesting of what is read. No message needs a tenth of it, and every reader after the first one may
// then recurse without a bound of its own.
const maxDepth = 64

// An object is a JSON object with its members unread. Of a repeated key the last one counts.
type object map[string]json.RawMessage

// parseObject reads raw strictly, as an object of at most maxDepth.
func parseObject(raw []byte) (object, bool) {
	if tooDeep(raw) {
		return nil, false
	}
	var o object
	if json.Unmarshal(raw, &o) != nil || o == nil { // o is nil after null
		return nil, false
	}
	return o, true
}

// tooDeep reports whether brackets outside strings nest deeper than maxDepth. raw need not be valid JSON.
func tooDeep(raw []byte) bool {
	depth := 0
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '{', '[':
			if depth++; depth > maxDepth {
				return true
			}
		case '}', ']':
			depth--
		case '"':
			i = stringEnd(raw, i) - 1
		}
	}
	return false
}

// stringEnd returns the index behind the JSON string that begins at raw[i], or len(raw) if it does not end.
func stringEnd(raw []byte, i int) int {
	for i++; i < len(raw); i++ {
		switch raw[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(raw)
}

// compact returns raw, which is valid JSON, in its shortest form: no white space, nothing escaped that need not be.
func compact(raw []byte) json.RawMessage {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; c {
		case ' ', '\t', '\r', '\n':
		case '"':
			end := stringEnd(raw, i)
			lit := raw[i:end]
			if bytes.IndexByte(lit, '\\') < 0 {
				out = append(out, lit...)
			} else {
				var s string
				_ = json.Unmarshal(lit, &s) // valid, says the contract
				out = appendString(out, s)
			}
			i = end - 1
		default:
			out = append(out, c)
		}
	}
	return out
}

// appendString appends s as a JSON string, escaping only what JSON demands. (encoding/json also escapes U+2028 and U+2029.)
func appendString(out []byte, s string) []byte {
	const hex = "0123456789abcdef"
	out = append(out, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c == '\n':
			out = append(out, '\\', 'n')
		case c == '\r':
			out = append(out, '\\', 'r')
		case c == '\t':
			out = append(out, '\\', 't')
		case c == '\b':
			out = append(out, '\\', 'b')
		case c == '\f':
			out = append(out, '\\', 'f')
		case c < 0x20:
			out = append(out, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			out = append(out, c)
		}
	}
	return append(out, '"')
}

// A reader reads the fields of one object by the rules of protocols/umeng.md section 4.2. What cannot be read is left at its
// zero value and its path is noted, so that validation can refuse it in its own order.
type reader struct {
	object  object
	prefix  string          // "payload.body.", or "" at the root
	invalid map[string]bool // shared by all readers of one request
}

// member returns the raw value of key, or nil if it is absent, which null and "" are too.
func (r reader) member(key string) json.RawMessage {
	v := bytes.TrimSpace(r.object[key])
	if len(v) == 0 || string(v) == "null" || string(v) == `""` {
		return nil
	}
	return v
}

// fail notes that key is unreadable.
func (r reader) fail(key string) { r.invalid[r.prefix+key] = true }

// scalar returns the text of a string, number or boolean.
func scalar(v json.RawMessage) (string, bool) {
	if len(v) == 0 || v[0] == '{' || v[0] == '[' {
		return "", false
	}
	if v[0] != '"' {
		return string(v), true
	}
	var s string
	err := json.Unmarshal(v, &s)
	return s, err == nil
}

// text returns a string as it is, and a number or boolean as its text.
func (r reader) text(key string) string {
	v := r.member(key)
	if v == nil {
		return ""
	}
	s, ok := scalar(v)
	if !ok {
		r.fail(key)
	}
	return s
}

// word is text without surrounding white space: for names, class names and enumerations.
func (r reader) word(key string) string { return strings.TrimSpace(r.text(key)) }

// list reads names separated by commas, or an array of them. Items are trimmed and empty ones dropped. It stops at one more
// than is valid.
func (r reader) list(key string) []string {
	v := r.member(key)
	if v == nil {
		return nil
	}
	joined, ok := scalar(v)
	if !ok {
		var items []json.RawMessage
		if json.Unmarshal(v, &items) != nil {
			r.fail(key)
			return nil
		}
		texts := make([]string, 0, len(items))
		for _, item := range items {
			s, ok := scalar(item)
			if !ok {
				r.fail(key)
				return nil
			}
			if string(item) != "null" {
				texts = append(texts, s)
			}
		}
		joined = strings.Join(texts, ",")
	}
	var out []string
	for s := range strings.SplitSeq(joined, ",") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
		if len(out) > max(MaxTokens, MaxAliases) {
			break // too many, whatever else there is
		}
	}
	return out
}

// flag reads a boolean or its text in any case; other text is kept, for Flag.Valid to refuse.
func (r reader) flag(key string) Flag {
	v := r.member(key)
	if v == nil {
		return ""
	}
	s, ok := scalar(v)
	if !ok {
		return Flag(compact(v))
	}
	switch s = strings.TrimSpace(s); {
	case strings.EqualFold(s, "true"):
		return True
	case strings.EqualFold(s, "false"):
		return False
	default:
		return Flag(s)
	}
}

// boolean reads what Apple writes as 1 and others as true.
func (r reader) boolean(key string) bool {
	f := r.flag(key)
	return f == True || f == "1"
}

// integer reads a whole number or its text; nil is absent. A boolean counts as 0 or 1.
func (r reader) integer(key string) *int {
	v := r.member(key)
	if v == nil {
		return nil
	}
	s, ok := scalar(v)
	s = strings.TrimSpace(s)
	if ok && s == "" {
		return nil
	}
	switch s {
	case "true":
		s = "1"
	case "false":
		s = "0"
	}
	n, isInt := parseInt(s)
	if !ok || !isInt {
		r.fail(key)
		return nil
	}
	return &n
}

// number is integer with 0 for absent.
func (r reader) number(key string) int {
	if n := r.integer(key); n != nil {
		return *n
	}
	return 0
}

// parseInt reads a whole number that fits 32 bits, also if it is written with a fraction of zero ("1000.0") or an exponent.
func parseInt(s string) (int, bool) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || strings.ContainsAny(s, "xX_") || // Go's own spellings
		f != math.Trunc(f) || math.Abs(f) > math.MaxInt32 {
		return 0, false
	}
	return int(f), true
}

// nested returns the text of the object under key. An empty array, which is how PHP writes an empty object, is one, and so is
// a string that holds an object. It returns nil if key is absent or unreadable.
func (r reader) nested(key string) json.RawMessage {
	v := r.member(key)
	if v == nil {
		return nil
	}
	if v[0] == '"' {
		var s string
		_ = json.Unmarshal(v, &s) // valid, since the whole was
		if v = bytes.TrimSpace([]byte(s)); len(v) == 0 {
			return nil
		}
	}
	if v[0] == '[' && len(bytes.TrimSpace(bytes.Trim(v, "[]"))) == 0 {
		var items []json.RawMessage
		if json.Unmarshal(v, &items) == nil && len(items) == 0 {
			return json.RawMessage("{}")
		}
	}
	if _, ok := parseObject(v); !ok {
		r.fail(key)
		return nil
	}
	return compact(v)
}

// sub returns a reader of the object under key and the object's text, which is nil if there is none.
func (r reader) sub(key string) (reader, json.RawMessage) {
	raw := r.nested(key)
	o, _ := parseObject(raw)
	return reader{object: o, prefix: r.prefix + key + ".", invalid: r.invalid}, raw
}

// values returns the object under key with its values read, numbers as json.Number; nil if there is none.
func (r reader) values(key string) map[string]any {
	raw := r.nested(key)
	if raw == nil {
		return nil
	}
	return decodeAny(raw).(map[string]any)
}

// decodeAny reads valid JSON without losing digits.
func decodeAny(raw json.RawMessage) any {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	_ = dec.Decode(&v)
	return v
}

// appkey reads the application key, whatever its letter case. The documented spelling goes first, others in byte order, so
// that a request that has several is read in one way only.
func (r reader) appkey() string {
	if key := r.word("appkey"); key != "" {
		return key
	}
	for _, k := range slices.Sorted(maps.Keys(r.object)) {
		if strings.EqualFold(k, "appkey") {
			if key := r.word(k); key != "" {
				return key
			}
		}
	}
	return ""
}

// validUTF8 returns body, or a copy in which bytes that are not UTF-8 are replaced.
func validUTF8(body []byte) []byte {
	if utf8.Valid(body) {
		return body
	}
	return bytes.ToValidUTF8(body, []byte("\uFFFD"))
}
