package push

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Template is the texts of a notification with placeholders in them: #name# or ${name}. A name is 1 to 64 letters,
// digits, '_', '-' and '.'; a # that does not begin a placeholder is itself.
type Template struct {
	App      AppID             `json:"-"`
	Name     string            `json:"name"` // unique in its app; 1 to 256 bytes
	Title    string            `json:"title,omitempty"`
	Body     string            `json:"body,omitempty"`
	Defaults map[string]string `json:"defaults,omitempty"` // values for placeholders that are given none
	Created  time.Time         `json:"created,omitzero"`
}

// Limits of templates.
const (
	MaxTemplateText  = 4096 // bytes of a title, a body, or a value
	MaxTemplates     = 10_000
	maxPlaceholders  = 64
	placeholderBytes = 64
)

// Validate reports what is wrong with t.
func (t Template) Validate() error {
	switch {
	case t.Name == "" || len(t.Name) > MaxLabel || !text(t.Name):
		return invalid("name", "has 1 to 256 bytes of UTF-8, without NUL")
	case t.Title == "" && t.Body == "":
		return invalid("title", "a template needs a title or a body")
	case len(t.Title) > MaxTemplateText || !text(t.Title):
		return invalid("title", "is at most 4096 bytes of UTF-8, without NUL")
	case len(t.Body) > MaxTemplateText || !text(t.Body):
		return invalid("body", "is at most 4096 bytes of UTF-8, without NUL")
	}
	for _, f := range []struct{ field, v string }{{"title", t.Title}, {"body", t.Body}} {
		if _, err := parseTemplate(f.v); err != nil {
			return Within(f.field, err)
		}
	}
	names := t.Placeholders()
	if len(names) > maxPlaceholders {
		return invalid("body", "has more than 64 placeholders")
	}
	for _, k := range slices.Sorted(maps.Keys(t.Defaults)) {
		switch {
		case !slices.Contains(names, k):
			return invalid(below("defaults", shown(k)), "the template has no such placeholder")
		case len(t.Defaults[k]) > MaxTemplateText || !text(t.Defaults[k]):
			return invalid("defaults."+k, "is at most 4096 bytes of UTF-8, without NUL")
		}
	}
	return nil
}

// Placeholders returns the names of t's placeholders, in order, each once. None of a template that is not valid counts.
func (t Template) Placeholders() []string {
	var names []string
	for _, v := range []string{t.Title, t.Body} {
		parts, _ := parseTemplate(v)
		for _, p := range parts {
			if p.name != "" {
				names = append(names, p.name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Render returns t's texts with its placeholders replaced: by values, else by defaults. Invalid, with Field the name of a
// placeholder that has neither, or a value that the template has no placeholder for; TooLarge for more than MaxMessage bytes.
func (t Template) Render(values map[string]string) (title, body string, err error) {
	names := t.Placeholders()
	for _, k := range slices.Sorted(maps.Keys(values)) {
		switch {
		case !slices.Contains(names, k):
			return "", "", invalid(shown(k), "the template has no such placeholder")
		case len(values[k]) > MaxTemplateText || !text(values[k]):
			return "", "", invalid(k, "is at most 4096 bytes of UTF-8, without NUL")
		}
	}
	for _, k := range names {
		if _, given := values[k]; given {
			continue
		}
		if _, has := t.Defaults[k]; !has {
			return "", "", invalid(k, "has no value, and the template has no default for it")
		}
	}
	fill := func(s string) string {
		var b strings.Builder
		parts, _ := parseTemplate(s)
		for _, p := range parts {
			b.WriteString(p.text)
			if p.name != "" {
				v, given := values[p.name]
				if !given {
					v = t.Defaults[p.name]
				}
				b.WriteString(v)
			}
			if b.Len() > MaxMessage { // a value may stand in many places
				break
			}
		}
		return b.String()
	}
	if title, body = fill(t.Title), fill(t.Body); len(title)+len(body) > MaxMessage {
		return "", "", &Error{Kind: TooLarge, Msg: "the texts are larger than " + strconv.Itoa(MaxMessage) + " bytes"}
	}
	return title, body, nil
}

// Fill returns m with t's texts in its notification, as values and, before them, more make them. Everything else that the
// notification says stays. Field of an error is below template.values.
func (t Template) Fill(m Message, more map[string]string) (Message, error) {
	values := map[string]string{}
	if m.Template != nil {
		maps.Copy(values, m.Template.Values)
	}
	maps.Copy(values, more)
	title, body, err := t.Render(values)
	if err != nil {
		return m, Within("template.values", err)
	}
	n := Notification{}
	if m.Notification != nil {
		n = *m.Notification
	}
	n.Title, n.Body = cmp.Or(title, n.Title), cmp.Or(body, n.Body)
	if n.Title == "" && n.Body == "" && n.Ticker == "" {
		return m, invalid("template.values", "leave a notification without title, body and ticker")
	}
	m.Notification, m.Template, m.Personal = &n, nil, nil
	return m, nil
}

// A templatePart is text, and the placeholder that follows it, if any.
type templatePart struct{ text, name string }

// parseTemplate divides s at its placeholders. Invalid if a ${ is not closed, or has no name.
func parseTemplate(s string) ([]templatePart, error) {
	var parts []templatePart
	var plain strings.Builder
	for s != "" {
		at := strings.IndexAny(s, "#$")
		if at < 0 {
			break
		}
		plain.WriteString(s[:at])
		s = s[at:]
		name, length, err := placeholder(s)
		if err != nil {
			return nil, err
		}
		if name == "" {
			plain.WriteByte(s[0])
			s = s[1:]
			continue
		}
		parts = append(parts, templatePart{plain.String(), name})
		plain.Reset()
		s = s[length:]
	}
	plain.WriteString(s)
	return append(parts, templatePart{text: plain.String()}), nil
}

// placeholder returns the name of the placeholder with which s begins, and its length with what encloses it; "" if s begins
// with none.
func placeholder(s string) (name string, length int, err error) {
	if strings.HasPrefix(s, "${") {
		end := strings.IndexByte(s, '}')
		if end < 0 || end-2 > placeholderBytes || !identifier(s[2:end]) {
			return "", 0, invalid("", "has a ${ that names nothing, or is not closed by }")
		}
		return s[2:end], end + 1, nil
	}
	if s[0] != '#' {
		return "", 0, nil
	}
	end := strings.IndexByte(s[1:], '#')
	if end <= 0 || end > placeholderBytes || !identifier(s[1:1+end]) {
		return "", 0, nil
	}
	return s[1 : 1+end], end + 2, nil
}
