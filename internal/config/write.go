package config

import (
	"encoding"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// WriteSample writes a settings file with every key commented out at its default. It is a valid file that changes
// nothing.
func WriteSample(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# Settings of carillon serve. A flag, and an environment variable, go before what is said here.\n")
	for _, s := range Settings() {
		if s.Key == "" {
			continue
		}
		fmt.Fprintf(&b, "\n# %s (%s)\n", s.Doc, strings.Join(nonEmpty("--"+s.Flag, s.Env, s.EnvFile), ", "))
		value := scalar(s.Default)
		if s.List {
			value = "[]"
		}
		fmt.Fprintf(&b, "#%s: %s\n", s.Key, value)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteTable writes all settings as a table in Markdown.
func WriteTable(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| flag | environment | file | default | |\n|---|---|---|---|---|\n")
	for _, s := range Settings() {
		fmt.Fprintf(&b, "| `--%s` | %s | %s | %s | %s |\n", s.Flag, code(s.Env, s.EnvFile), code(s.Key), code(s.Default),
			strings.ReplaceAll(s.Doc, "|", `\|`))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Write writes c as a settings file that gives the same values, with secrets left out. Flags that the file may not have
// are left out, too.
func (c Config) Write(w io.Writer) error {
	var b strings.Builder
	v := reflect.ValueOf(c)
	for _, s := range Settings() {
		if s.Key == "" {
			continue
		}
		f := v.Field(s.index)
		switch {
		case s.Secret && !f.IsZero():
			fmt.Fprintf(&b, "#%s: (set, not shown)\n", s.Key)
		case s.List:
			all := make([]string, f.Len())
			for i := range all {
				all[i] = scalar(text(f.Index(i)))
			}
			fmt.Fprintf(&b, "%s: [%s]\n", s.Key, strings.Join(all, ", "))
		default:
			fmt.Fprintf(&b, "%s: %s\n", s.Key, scalar(text(f)))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// text returns a value in the form that a flag takes.
func text(v reflect.Value) string {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		if b, err := m.MarshalText(); err == nil {
			return string(b)
		}
	}
	return fmt.Sprint(v.Interface())
}

// scalar writes s as a text in YAML, in quotes where it needs them.
func scalar(s string) string {
	if _, err := strconv.Atoi(s); err == nil {
		return s // a number is as good as its text, and easier to read
	}
	b, err := yaml.Marshal(s)
	if err != nil || strings.ContainsAny(s, "\r\n") { // quoted on one line
		return fmt.Sprintf("%q", s)
	}
	return strings.TrimSpace(string(b))
}

func code(all ...string) string {
	shown := nonEmpty(all...)
	for i, s := range shown {
		shown[i] = "`" + s + "`"
	}
	return strings.Join(shown, ", ")
}

func nonEmpty(all ...string) []string {
	var some []string
	for _, s := range all {
		if s != "" {
			some = append(some, s)
		}
	}
	return some
}
