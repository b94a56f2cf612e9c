package push

import "strconv"

// An EditOp is how labels are changed. The zero EditOp is invalid.
type EditOp uint8

// The ops. What Put means is said where it is used.
const (
	Put EditOp = iota + 1
	Add
	Delete
)

var editNames = [...]string{"", "put", "add", "delete"}

// MarshalText returns "put", "add" or "delete". Invalid for anything else.
func (op EditOp) MarshalText() ([]byte, error) {
	if op < Put || op > Delete {
		return nil, invalid("op", "is put, add or delete")
	}
	return []byte(editNames[op]), nil
}

// UnmarshalText reads "put", "add" or "delete".
func (op *EditOp) UnmarshalText(b []byte) error {
	for i, name := range editNames[1:] {
		if name == string(b) {
			*op = EditOp(i + 1)
			return nil
		}
	}
	return invalid("op", "is put, add or delete")
}

// A LabelEdit changes the labels of one device. All that it names changes in one commit, or nothing does.
type LabelEdit struct {
	Op EditOp

	// Tags: Put makes them the device's only tags, Add and Delete change what is named. Delete with All takes all.
	Tags []string
	// Aliases: Put makes the device the only owner of each, Add one more owner, Delete ends that. Delete with All takes all.
	Aliases []Alias
	// Attributes: Put makes them the device's only attributes, Add changes what is named, Delete removes those that are
	// named, whatever their value.
	Attributes map[string]string
	// Account: Put and Add log it in, Delete logs it out if it is logged in, and with "" whoever is. Nil leaves it.
	Account *string

	All      LabelKind    // for Delete
	Limits   *AliasLimits // nil means the app's settings
	ByDevice bool         // the device says so itself: see SettingDeviceNewTags
}

// A LabelKind is one sort of label. The zero LabelKind is none.
type LabelKind uint8

// The kinds of labels of which a device may have several.
const (
	AllTags LabelKind = iota + 1
	AllAliases
)

// MaxLabels is how many tags or aliases one edit may name, and how many tags a device may carry.
const MaxLabels = 1000

// Validate reports what is wrong with e; Field is as in the body of a request: "tags[2]", "aliases[0].value", "account".
func (e LabelEdit) Validate() error {
	switch {
	case e.Op < Put || e.Op > Delete:
		return invalid("op", "is put, add or delete")
	case e.All > AllAliases || e.All != 0 && e.Op != Delete:
		return invalid("op", "is not delete, which alone takes all tags or all aliases")
	case len(e.Tags) > MaxLabels:
		return invalid("tags", "are at most 1000")
	case len(e.Aliases) > MaxLabels:
		return invalid("aliases", "are at most 1000")
	}
	for i, t := range e.Tags {
		if err := ValidateTag(t); err != nil {
			return Within("tags["+strconv.Itoa(i)+"]", err)
		}
	}
	for i, a := range e.Aliases {
		if err := a.Validate(); err != nil {
			return Within("aliases["+strconv.Itoa(i)+"]", err)
		}
	}
	if e.Account != nil && e.Op != Delete {
		if *e.Account == "" || len(*e.Account) > MaxAccount || !text(*e.Account) {
			return invalid("account", "has 1 to 128 bytes of UTF-8, without NUL")
		}
	}
	return ValidateAttributes(e.Attributes)
}
