package push

// An Alias is a name that an app gives to devices, unique within its type. An untyped alias has type "".
type Alias struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// Validate reports a type that has more than 128 bytes, or a value that has not 1 to 128; Field is "type" or "value".
func (a Alias) Validate() error {
	if err := validateAliasType(a.Type); err != nil {
		return err
	}
	if a.Value == "" || len(a.Value) > MaxTarget || !text(a.Value) {
		return invalid("value", "has 1 to 128 bytes of UTF-8, without NUL")
	}
	return nil
}

// Aliases are aliases of one type.
type Aliases struct {
	Type   string   `json:"type"`
	Values []string `json:"values"`
}

func (a Aliases) validate() error {
	if err := validateAliasType(a.Type); err != nil {
		return err
	}
	return Within("values", names(a.Values))
}

func validateAliasType(t string) error {
	if len(t) > MaxTarget || !text(t) {
		return invalid("type", "has at most 128 bytes of UTF-8, without NUL")
	}
	return nil
}

// AliasLimits are the rules under which aliases are given. The zero AliasLimits has no limit.
type AliasLimits struct {
	PerDevice int  // aliases of one device; 0 is no limit
	Devices   int  // devices of one alias; 0 is no limit
	Evict     bool // what is too much pushes the oldest out, instead of being refused (Getui)
}

// An AliasEdit changes one alias of one device.
type AliasEdit struct {
	Ordinal Ordinal
	Op      EditOp // Put: the device becomes the only owner; Add: one more owner; Delete: not an owner any more
	Alias   Alias  // for Delete, the zero Alias means all of the device
}

// A NameKind is a sort of name that a device may be found by, besides its ids.
type NameKind uint8

// The kinds.
const (
	ByAlias    NameKind = iota + 1 // Names.Type is the alias's type
	ByAccount                      // who is logged in
	ByPhone                        // a number, or its MD5
	ByPrevious                     // the device's id at an earlier provider
)

// Names are names of one kind.
type Names struct {
	Kind   NameKind
	Type   string // for ByAlias
	Values []string
}

// A Holder is a registered device that has a name.
type Holder struct {
	Value   string
	Ordinal Ordinal
}
