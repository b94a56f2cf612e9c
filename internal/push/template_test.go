package push_test

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/push"
)

func TestTemplates(t *testing.T) {
	long := strings.Repeat("n", 64)
	for _, tt := range []struct {
		name, body string
		values     map[string]string
		want       string
		names      []string
	}{
		{"no placeholder", "hello", nil, "hello", nil},
		{"#name#", "hello #name#!", map[string]string{"name": "Ann"}, "hello Ann!", []string{"name"}},
		{"${name}", "hello ${name}!", map[string]string{"name": "Ann"}, "hello Ann!", []string{"name"}},
		{"both forms of one name", "#a#${a}", map[string]string{"a": "x"}, "xx", []string{"a"}},
		{"next to each other", "#a##b#", map[string]string{"a": "1", "b": "2"}, "12", []string{"a", "b"}},
		{"a value that looks like a placeholder", "#a# #b#", map[string]string{"a": "#b#", "b": "${a}"}, "#b# ${a}", []string{"a", "b"}},
		{"an empty value", "[#a#]", map[string]string{"a": ""}, "[]", []string{"a"}},
		{"a # alone", "we are #1", nil, "we are #1", nil},
		{"two # with a space between", "#1 and #2", nil, "#1 and #2", nil},
		{"## ", "a ## b", nil, "a ## b", nil},
		{"a stray # before a placeholder", "# #a#", map[string]string{"a": "x"}, "# x", []string{"a"}},
		{"a stray # after a placeholder", "#a# #", map[string]string{"a": "x"}, "x #", []string{"a"}},
		{"three #", "#a#b#", map[string]string{"a": "x"}, "xb#", []string{"a"}},
		{"a $ alone", "5 $ or $5", nil, "5 $ or $5", nil},
		{"$$ before a placeholder", "$${a}", map[string]string{"a": "5"}, "$5", []string{"a"}},
		{"braces without a $", "{a}", nil, "{a}", nil},
		{"a name of all that names have", "#A.b_c-9#", map[string]string{"A.b_c-9": "x"}, "x", []string{"A.b_c-9"}},
		{"a name of 64 bytes", "#" + long + "#", map[string]string{long: "x"}, "x", []string{long}},
		{"a name of 65 bytes", "#" + long + "n#", nil, "#" + long + "n#", nil},
		{"a name in Chinese, which is text", "#名字#", nil, "#名字#", nil},
		{"Chinese around", "你好，#name#。", map[string]string{"name": "小明"}, "你好，小明。", []string{"name"}},
		{"a # in a ${}", "${a#b}#", nil, "", nil}, // refused below
	} {
		t.Run(tt.name, func(t *testing.T) {
			tmpl := push.Template{Name: "t", Body: tt.body}
			if err := tmpl.Validate(); tt.want == "" {
				if fieldOf(err) != "body" {
					t.Errorf("got %v, want body refused", err)
				}
				return
			} else if err != nil {
				t.Fatal(err)
			}
			if got := tmpl.Placeholders(); !cmp.Equal(got, tt.names) {
				t.Errorf("placeholders: got %v, want %v", got, tt.names)
			}
			if title, body, err := tmpl.Render(tt.values); err != nil || body != tt.want || title != "" {
				t.Errorf("got %q, %q, %v; want %q", title, body, err, tt.want)
			}
		})
	}
}

func TestTemplateValidation(t *testing.T) {
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString("#" + strings.Repeat("x", i%32+1) + string(rune('a'+i/32)) + "#")
		}
		return b.String()
	}
	for _, tt := range []struct {
		name  string
		tmpl  push.Template
		field string
	}{
		{"a title alone", push.Template{Name: "t", Title: "#a#"}, ""},
		{"no name", push.Template{Title: "t"}, "name"},
		{"a long name", push.Template{Name: strings.Repeat("n", 257), Title: "t"}, "name"},
		{"a name that is not UTF-8", push.Template{Name: "\xff", Title: "t"}, "name"},
		{"no texts", push.Template{Name: "t"}, "title"},
		{"a long title", push.Template{Name: "t", Title: strings.Repeat("x", 4097)}, "title"},
		{"a body with NUL", push.Template{Name: "t", Body: "\x00"}, "body"},
		{"an unclosed ${", push.Template{Name: "t", Title: "${a"}, "title"},
		{"a ${ closed too late", push.Template{Name: "t", Body: "${" + strings.Repeat("a", 65) + "}"}, "body"},
		{"a ${} without a name", push.Template{Name: "t", Body: "a ${} b"}, "body"},
		{"a ${} with a space", push.Template{Name: "t", Body: "${a b}"}, "body"},
		{"64 placeholders", push.Template{Name: "t", Body: many(64)}, ""},
		{"65 placeholders", push.Template{Name: "t", Body: many(65)}, "body"},
		{"a default for nothing", push.Template{Name: "t", Body: "#a#", Defaults: map[string]string{"b": ""}}, "defaults.b"},
		{"a long default", push.Template{Name: "t", Body: "#a#", Defaults: map[string]string{"a": strings.Repeat("x", 4097)}}, "defaults.a"},
		{"a default that is not UTF-8", push.Template{Name: "t", Body: "#a#", Defaults: map[string]string{"a": "\xff"}}, "defaults.a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.tmpl.Validate(); (err == nil) != (tt.field == "") || fieldOf(err) != tt.field {
				t.Errorf("got %v (field %q), want field %q", err, fieldOf(err), tt.field)
			}
		})
	}
}

func TestTemplateValues(t *testing.T) {
	tmpl := push.Template{
		Name: "t", Title: "#greeting#, ${name}", Body: "Order #order# is ready", Defaults: map[string]string{"greeting": "Hello", "name": "you"},
	}
	for _, tt := range []struct {
		name        string
		values      map[string]string
		title, body string
		field       string
	}{
		{"defaults for what is not given", map[string]string{"order": "7"}, "Hello, you", "Order 7 is ready", ""},
		{"values before defaults", map[string]string{"order": "7", "name": "Ann"}, "Hello, Ann", "Order 7 is ready", ""},
		{"an empty value before a default", map[string]string{"order": "7", "name": ""}, "Hello, ", "Order 7 is ready", ""},
		{"none for what has no default", map[string]string{"name": "Ann"}, "", "", "order"},
		{"no values", nil, "", "", "order"},
		{"one too many", map[string]string{"order": "7", "colour": "red"}, "", "", "colour"},
		{"one that is too long", map[string]string{"order": strings.Repeat("7", 4097)}, "", "", "order"},
		{"one that is not UTF-8", map[string]string{"order": "\xff"}, "", "", "order"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			title, body, err := tmpl.Render(tt.values)
			if title != tt.title || body != tt.body || fieldOf(err) != tt.field || (err == nil) != (tt.field == "") {
				t.Errorf("got %q, %q, %v (field %q); want %q, %q, field %q", title, body, err, fieldOf(err), tt.title, tt.body, tt.field)
			}
			if err != nil && !errors.Is(err, push.Invalid) {
				t.Errorf("got kind %v", push.KindOf(err))
			}
		})
	}
	// A small request must not make a large message: a value may stand in many places.
	bomb := push.Template{Name: "t", Title: "x", Body: strings.Repeat("#a#", 1000)}
	if _, _, err := bomb.Render(map[string]string{"a": strings.Repeat("x", 4096)}); !errors.Is(err, push.TooLarge) {
		t.Errorf("4 MB: got %v, want too large", err)
	}
}

func TestFillATemplate(t *testing.T) {
	tmpl := push.Template{Name: "t", Title: "#a#", Body: "#b#", Defaults: map[string]string{"b": ""}}
	m := push.Message{
		Notification: &push.Notification{Text: push.Text{Title: "old", Body: "kept where the template says nothing"}, Placement: push.Placement{ChannelID: "c"}},
		Template:     &push.TemplateUse{Name: "t", Values: map[string]string{"a": "all"}},
		Personal:     map[string]map[string]string{"d": {"a": "one"}}, Data: []byte(`1`),
	}
	for _, tt := range []struct {
		name  string
		more  map[string]string
		title string
		field string
	}{
		{"values of all", nil, "all", ""},
		{"values of one before them", map[string]string{"a": "one"}, "one", ""},
		{"an extra value", map[string]string{"z": "1"}, "", "template.values.z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tmpl.Fill(m, tt.more)
			if fieldOf(err) != tt.field {
				t.Fatalf("got %v, want field %q", err, tt.field)
			}
			if err != nil {
				return
			}
			n := got.Notification
			if n.Title != tt.title || n.Body != "kept where the template says nothing" || n.ChannelID != "c" || string(got.Data) != "1" {
				t.Errorf("got %+v, %s", n, got.Data)
			}
			if got.Template != nil || got.Personal != nil || m.Notification.Title != "old" {
				t.Error("it is not filled, or the message that it was given has changed")
			}
		})
	}
	if _, err := tmpl.Fill(push.Message{Template: &push.TemplateUse{Values: map[string]string{"a": ""}}}, nil); fieldOf(err) != "template.values" {
		t.Errorf("an empty notification: got %v", err)
	}
}

// What is valid can be rendered with a value for each placeholder, and then has no placeholder that it had not.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"#a#", "${a}", "#a##b#${c}", "# #a", "${", "${}", "$${a}", "#名#", "a#b c#d#", "\xff", "${a#b}"} {
		f.Add("title "+s, s, "v")
	}
	f.Fuzz(func(t *testing.T, title, body, value string) {
		tmpl := push.Template{Name: "t", Title: title, Body: body}
		if err := tmpl.Validate(); err != nil {
			if !errors.Is(err, push.Invalid) || fieldOf(err) == "" {
				t.Fatalf("got %v, want invalid with a field", err)
			}
			return
		}
		values, empty := map[string]string{}, map[string]string{}
		for _, name := range tmpl.Placeholders() {
			values[name], empty[name] = value, ""
			without := maps.Clone(values)
			delete(without, name)
			if _, _, err := tmpl.Render(without); fieldOf(err) == "" {
				t.Errorf("without %s: got %v", name, err)
			}
		}
		gotTitle, gotBody, err := tmpl.Render(values)
		wrong := !utf8.ValidString(value) || strings.Contains(value, "\x00") || len(value) > push.MaxTemplateText
		switch {
		case len(values) > 0 && wrong:
			if !errors.Is(err, push.Invalid) {
				t.Fatalf("a wrong value: got %v", err)
			}
			return
		case errors.Is(err, push.TooLarge):
			return
		case err != nil:
			t.Fatal(err)
		}
		if !utf8.ValidString(gotTitle) || !utf8.ValidString(gotBody) {
			t.Errorf("%q, %q are not UTF-8", gotTitle, gotBody)
		}
		if len(values) == 0 && (gotTitle != title || gotBody != body) {
			t.Errorf("got %q, %q of a template without placeholders: %q, %q", gotTitle, gotBody, title, body)
		}
		bareTitle, bareBody, err := tmpl.Render(empty)
		if err != nil || len(bareTitle) > len(title) || len(bareBody) > len(body) {
			t.Errorf("empty values: got %q, %q, %v of %q, %q", bareTitle, bareBody, err, title, body)
		}
	})
}

func BenchmarkRender(b *testing.B) {
	tmpl := push.Template{Name: "t", Title: "Hello ${name}", Body: "Your order #order# of #day# is ready, ${name}"}
	values := map[string]string{"name": "Ann", "order": "1234567", "day": "Monday"}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := tmpl.Render(values); err != nil {
			b.Fatal(err)
		}
	}
}
