package push

import (
	"encoding/json"
	"slices"
	"unicode/utf8"
)

// An Audience says whom a push is for: exactly one of its first six forms, narrowed to Platforms if that is not empty.
// The zero Audience is invalid.
type Audience struct {
	All      bool            `json:"all,omitempty"`
	Devices  []string        `json:"devices,omitempty"`  // device ids or channel ids, as the caller wrote them
	Aliases  *Aliases        `json:"aliases,omitempty"`  //
	Accounts []string        `json:"accounts,omitempty"` //
	Where    json.RawMessage `json:"where,omitempty"`    // an expression over attributes; carried, not yet evaluated
	File     string          `json:"file,omitempty"`     // an uploaded list; Of says of what
	Of       *FileOf         `json:"of,omitempty"`

	Platforms []Platform `json:"platforms,omitempty"` // an Umeng appkey addresses one platform's devices only
}

// Aliases are aliases of one type. An untyped alias has type "".
type Aliases struct {
	Type   string   `json:"type"`
	Values []string `json:"values"`
}

// A FileOf says what the lines of a file are: device ids, or aliases of a type.
type FileOf struct {
	Devices bool
	Alias   string
}

// MarshalJSON writes "devices" or {"alias": type}.
func (f FileOf) MarshalJSON() ([]byte, error) {
	if f.Devices {
		return []byte(`"devices"`), nil
	}
	return marshal(map[string]string{"alias": f.Alias})
}

// UnmarshalJSON reads "devices" or {"alias": type}.
func (f *FileOf) UnmarshalJSON(b []byte) error {
	if string(b) == `"devices"` {
		*f = FileOf{Devices: true}
		return nil
	}
	var of struct {
		Alias *string `json:"alias"`
	}
	if err := unmarshalStrict(b, &of); err != nil || of.Alias == nil {
		return invalid("of", `is "devices" or {"alias": type}`)
	}
	*f = FileOf{Alias: *of.Alias}
	return nil
}

// Limits of audiences.
const (
	MaxDirect = 1000     // targets of a direct push
	MaxTarget = 128      // bytes of one target's name
	MaxWhere  = 64 << 10 // bytes of an expression
)

// Direct reports whether a names its devices one by one, so that a push to it is one message and a row a device. All
// other audiences are sets.
func (a Audience) Direct() bool { return len(a.Devices) > 0 }

// Validate reports what is wrong with a's form; whether its targets exist is for the registry to find out.
func (a Audience) Validate() error {
	forms := 0
	for _, set := range []bool{a.All, a.Devices != nil, a.Aliases != nil, a.Accounts != nil, a.Where != nil, a.File != ""} {
		if set {
			forms++
		}
	}
	switch {
	case forms == 0:
		return invalid("", "names nobody: one of all, devices, aliases, accounts, where, file")
	case forms > 1:
		return invalid("", "has more than one of all, devices, aliases, accounts, where, file")
	case (a.File != "") != (a.Of != nil):
		return invalid("of", "goes with file, and says what its lines are")
	}
	for i, p := range a.Platforms {
		if !p.Valid() || slices.Contains(a.Platforms[:i], p) {
			return invalid("platforms", "is android, ios, harmony or web, each once")
		}
	}
	switch {
	case a.File != "":
		return a.validateFile()
	case a.Devices != nil:
		return targets("devices", a.Devices)
	case a.Accounts != nil:
		return targets("accounts", a.Accounts)
	case a.Aliases != nil:
		if len(a.Aliases.Type) > MaxTarget || !text(a.Aliases.Type) {
			return invalid("aliases.type", "has at most 128 bytes of UTF-8")
		}
		return targets("aliases.values", a.Aliases.Values)
	case a.Where != nil:
		return where(a.Where)
	}
	return nil
}

// validateFile checks the names of a file and of what is in it; its lines are for whoever reads it.
func (a Audience) validateFile() error {
	if len(a.Of.Alias) > MaxTarget || !text(a.Of.Alias) || a.Of.Devices && a.Of.Alias != "" {
		return invalid("of", `is "devices" or an alias type of at most 128 bytes`)
	}
	return targets("file", []string{a.File})
}

// where checks the form of an expression; what it says is for the index to read.
func where(expr json.RawMessage) error {
	switch {
	case !object(expr):
		return invalid("where", "is not a JSON object")
	case len(expr) > MaxWhere:
		return invalid("where", "is more than 64 KiB")
	case !utf8.Valid(expr):
		return invalid("where", "is not UTF-8")
	}
	return raw("where", expr)
}

func targets(field string, names []string) error {
	if len(names) == 0 || len(names) > MaxDirect {
		return invalid(field, "names 1 to 1000 targets")
	}
	if slices.ContainsFunc(names, func(n string) bool { return n == "" || len(n) > MaxTarget || !text(n) }) {
		return invalid(field, "a name has 1 to 128 bytes of UTF-8, without NUL")
	}
	return nil
}
