package push_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/carillonpush/carillon/internal/push"
)

func TestReadJSON(t *testing.T) {
	const text = ` {"a": [1, 1.50, "x\ud83d\ude00", null, true, []], "b": {"a": {}}} `
	want := map[string]any{
		"a": []any{json.Number("1"), json.Number("1.50"), "x😀", nil, true, []any{}}, "b": map[string]any{"a": map[string]any{}},
	}
	if got, err := push.ReadJSON([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	long := strings.Repeat("a", 65)
	for _, tt := range []struct{ name, text, field string }{
		{"nothing", ``, ""},
		{"no JSON", `{"a": `, ""},
		{"something behind it", `{} {}`, ""},
		{"not UTF-8", "{\"a\": \"\xff\"}", ""},
		{"deeper than JSON may be", strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001), ""},
		{"a member twice", `{"a": 1, "a": 1}`, "a"},
		{"twice in two ways of writing it", `{"a": 1, "\u0061": 1}`, "a"},
		{"twice, deep inside", `[[], [{"a": {"b": [0, {"c": 1, "c": 2}]}}]]`, "[1][0].a.b[1].c"},
		{"twice, in a part whose name is long", `{"a": {"` + long + `": {"b": 1, "b": 1}}}`, "a"},
		{"half of a character", `"\udfff"`, ""},
		{"half of one, in a list", `{"a": ["x", "\ud83dx"]}`, "a[1]"},
		{"half of one, in a name", `{"a": {"\ud83d": 1}}`, "a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := push.ReadJSON([]byte(tt.text))
			var e *push.Error
			if !errors.As(err, &e) || e.Kind != push.Invalid || e.Field != tt.field || e.Msg == "" {
				t.Errorf("got %v, %v; want invalid at %q", got, err, tt.field)
			}
		})
	}
}

func TestHasLoneSurrogate(t *testing.T) {
	for text, want := range map[string]bool{
		`"plain"`: false, `"\n\\\"\/"`: false, `"\u0000\uffff\ufffd"`: false, `"\ud83d\ude00"`: false, `"\uD83D\uDE00"`: false, `"😀"`: false,
		`"\\ud83d"`: false, `"\\\ud83d"`: true, `"\ud83d"`: true, `"\ude00"`: true, `"\ude00\ud83d"`: true, `"\ud83d\ud83d\ude00"`: true,
		`"\ud83d\n\ude00"`: true, `"\ud83d ude00"`: true, `{"a": ["\ud83d\ude00", {"\udfff": 1}]}`: true, `\`: false, `\u12`: false,
	} {
		if got := push.HasLoneSurrogate([]byte(text)); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

// What encoding/json changes in a text is what is refused, and nothing else.
func FuzzHasLoneSurrogate(f *testing.F) {
	for _, seed := range []string{`"\ud83d\ude00"`, `"\ud83d\u0041"`, `"\\ud83d"`, `"\udfff\ufffd"`, `["a","\ud83d"]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s string
		lone := push.HasLoneSurrogate(b) // of anything, without a fault
		replaced := string(utf8.RuneError)
		if !utf8.Valid(b) || bytes.Contains(b, []byte(replaced)) || bytes.Contains(bytes.ToLower(b), []byte(`\ufffd`)) || json.Unmarshal(b, &s) != nil {
			return
		}
		if want := strings.Contains(s, replaced); lone != want {
			t.Errorf("%s, which is read as %q: got %v, want %v", b, s, lone, want)
		}
	})
}

func TestTagsAreShownByName(t *testing.T) {
	b, err := json.Marshal(push.TagInfo{Tag: "vip", ID: 7, Devices: 2, Created: time.Unix(0, 0).UTC()})
	if want := `{"tag":"vip","devices":2,"created":"1970-01-01T00:00:00Z"}`; err != nil || string(b) != want {
		t.Errorf("got %s, %v; want %s", b, err, want)
	}
}
