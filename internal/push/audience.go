package push

import (
	"slices"
	"strconv"
)

// An Audience says whom a push is for: exactly one of its first six forms, narrowed to Platforms if that is not empty.
// The zero Audience is invalid.
type Audience struct {
	All      bool     `json:"all,omitempty"`
	Devices  []string `json:"devices,omitempty"`  // device ids or channel ids, as the caller wrote them
	Aliases  *Aliases `json:"aliases,omitempty"`  //
	Accounts []string `json:"accounts,omitempty"` //
	Where    *Where   `json:"where,omitempty"`    // an expression
	File     string   `json:"file,omitempty"`     // an uploaded list; Of says of what
	Of       *FileOf  `json:"of,omitempty"`

	Platforms []Platform `json:"platforms,omitempty"` // an Umeng appkey addresses one platform's devices only
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
	MaxDirect = 1000 // targets of a direct push
	MaxTarget = 128  // bytes of one target's name
)

// Named reports whether a names devices, aliases or accounts one by one: if they are MaxDirect devices or fewer, a push to
// it is one message and a row a device. All other audiences are sets.
func (a Audience) Named() bool { return a.Devices != nil || a.Aliases != nil || a.Accounts != nil }

// said reports whether a is anything but the zero Audience.
func (a Audience) said() bool {
	return a.All || a.Named() || a.Where != nil || a.File != "" || a.Of != nil || a.Platforms != nil
}

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
	if !platforms(a.Platforms) {
		return invalid("platforms", "is android, ios, harmony or web, each once")
	}
	switch {
	case a.File != "":
		return a.validateFile()
	case a.Devices != nil:
		return Within("devices", names(a.Devices))
	case a.Accounts != nil:
		return Within("accounts", names(a.Accounts))
	case a.Aliases != nil:
		return Within("aliases", a.Aliases.validate())
	case a.Where != nil:
		return Within("where", a.Where.Validate())
	}
	return nil
}

// platforms reports whether all are valid and none is twice.
func platforms(all []Platform) bool {
	for i, p := range all {
		if !p.Valid() || slices.Contains(all[:i], p) {
			return false
		}
	}
	return true
}

// validateFile checks the names of a file and of what is in it; its lines are for whoever reads it.
func (a Audience) validateFile() error {
	if len(a.Of.Alias) > MaxTarget || !text(a.Of.Alias) || a.Of.Devices && a.Of.Alias != "" {
		return invalid("of", `is "devices" or an alias type of at most 128 bytes`)
	}
	if len(a.File) > MaxTarget || !text(a.File) {
		return invalid("file", "is no file's id")
	}
	return nil
}

// names checks a list of names of devices.
func names(all []string) error {
	if len(all) == 0 || len(all) > MaxDirect {
		return invalid("", "names 1 to 1000 targets")
	}
	for i, n := range all {
		if n == "" || len(n) > MaxTarget || !text(n) {
			return invalid("["+strconv.Itoa(i)+"]", "a name has 1 to 128 bytes of UTF-8, without NUL")
		}
	}
	return nil
}
