package push

import (
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// A Where is an expression over the devices of an app: a leaf, or others joined by and, or, not. It is what
// {"where": …} of native REST says, and what every service's way to name a crowd is turned into (docs/audiences.md). Make
// one with And, Or, Not and Is. The zero Where is invalid.
//
// What a device does not have is false: a leaf on a missing attribute does not hold, and its not does.
type Where struct {
	Join Join
	Of   []Where // what is joined: one or more for and and or, one for not, none for a leaf
	Leaf Leaf    // nil unless Join is JoinNone
}

// A Join is how a Where joins others. The zero Join joins nothing: the Where is a leaf.
type Join uint8

// The joins.
const (
	JoinNone Join = iota
	JoinAnd
	JoinOr
	JoinNot
)

// And returns the expression that holds where all of ws do.
func And(ws ...Where) Where { return Where{Join: JoinAnd, Of: ws} }

// Or returns the expression that holds where any of ws does.
func Or(ws ...Where) Where { return Where{Join: JoinOr, Of: ws} }

// Not returns the expression that holds where w does not.
func Not(w Where) Where { return Where{Join: JoinNot, Of: []Where{w}} }

// Is returns the expression that is one leaf.
func Is(l Leaf) Where { return Where{Leaf: l} }

// A Leaf asks one thing of a device. The Where… types of this package are all there are.
type Leaf interface {
	// validate reports what is wrong, with a path below the leaf's own object.
	validate() error
	// members returns the leaf as the members of its JSON object.
	members() map[string]any
}

// WhereTag holds for devices that carry a tag. A tag that nobody carries is no error.
type WhereTag string

// WhereAlias holds for devices that own one of some aliases.
type WhereAlias Aliases

// WhereAccount holds for devices on which one of some accounts is logged in.
type WhereAccount []string

// WhereAttr holds for devices whose attribute Name compares so with a value, or for OpIn equals one of several. A device
// without the attribute is in none of them, nor in "!=". See Holds for what is equal, and what is above what.
type WhereAttr struct {
	Name   string
	Op     Operator
	Values []string // one, or for OpIn 1 to MaxDirect; none is empty
}

// Holds reports whether l, which is valid, holds for a device whose attribute is value; "" means that it has none. "=",
// "!=" and "in" compare the text as it is: "1.0" is not "1.00". The others compare app_version and os_version as versions
// (CompareVersions) and all else as numbers (ParseNumber), where they hold for values that are numbers only.
func (l WhereAttr) Holds(value string) bool {
	switch {
	case value == "":
		return false
	case l.Op == OpIsNot:
		return value != l.Values[0]
	case !l.Op.Ordered():
		return slices.Contains(l.Values, value)
	case IsVersion(l.Name):
		return l.Op.of(CompareVersions(value, l.Values[0]))
	}
	order, ok := CompareNumbers(value, l.Values[0])
	return ok && l.Op.of(order)
}

// An Operator compares an attribute.
type Operator string

// The operators.
const (
	OpIs      Operator = "="
	OpIsNot   Operator = "!="
	OpBelow   Operator = "<"
	OpAtMost  Operator = "<="
	OpAbove   Operator = ">"
	OpAtLeast Operator = ">="
	OpIn      Operator = "in"
)

// Ordered reports whether op needs an order: "<", "<=", ">" or ">=".
func (op Operator) Ordered() bool {
	return op == OpBelow || op == OpAtMost || op == OpAbove || op == OpAtLeast
}

// of reports whether op, which is ordered, holds for two values of which the first is below (-1), equal to (0) or above (1)
// the second.
func (op Operator) of(order int) bool {
	switch op {
	case OpBelow:
		return order < 0
	case OpAtMost:
		return order <= 0
	case OpAbove:
		return order > 0
	}
	return order >= 0
}

// WherePlatform holds for devices of some platforms.
type WherePlatform []Platform

// WhereWithin holds for devices to which Event happened in the last For, which is positive. It is as fine as a day (in
// UTC): the day of the moment For ago counts in full.
type WhereWithin struct {
	Event DayEvent
	For   time.Duration
}

// A DayEvent is what the index knows the day of.
type DayEvent string

// The events. A device is bound while an account is logged in on it, and unbound after a logout.
const (
	EventActive  DayEvent = "active_within"
	EventBound   DayEvent = "bound_within"
	EventUnbound DayEvent = "unbound_within"
)

// WhereRegistered holds for devices that registered at After or later, and earlier than Before. A zero time is no bound;
// one of them is set. Years are 0 to 9999, so that it can be written down. It is as fine as a second.
type WhereRegistered struct{ After, Before time.Time }

// WherePush holds for devices of which Mark is true for a push of the app: MarkTargeted, MarkSent, MarkDelivered ("reached")
// or MarkOpened.
type WherePush struct {
	Push ID
	Mark Mark
}

// WhereHas holds for devices with a phone ("phone") or a token of a channel ("token.apns").
type WhereHas string

// HasPhone and HasToken are what WhereHas may say; HasToken is followed by a channel.
const (
	HasPhone = "phone"
	HasToken = "token."
)

// WhereFlag holds for devices of which a flag is Value.
type WhereFlag struct {
	Flag  Flag
	Value bool
}

// A Flag is true or false of a device.
type Flag string

// The flags.
const (
	FlagOnline      Flag = "online"
	FlagTest        Flag = "test"
	FlagBlacklisted Flag = "blacklisted"
)

// Limits of expressions.
const (
	MaxWhereNodes = 4096    // leaves and joins
	MaxWhere      = 1 << 20 // bytes, as JSON, as it comes and as it is kept
)

// Validate reports what is wrong with w, with the path of the part: "and[2].not.attr". Whether tags, aliases or pushes
// exist is not its matter.
func (w Where) Validate() error {
	nodes := 0
	err := w.check(&nodes)
	switch {
	case nodes > MaxWhereNodes:
		return errTooManyNodes // the whole is too large, not the part at which that was noticed
	case err != nil:
		return err
	}
	if b, err := w.MarshalJSON(); err != nil || len(b) > MaxWhere {
		return errWhereTooLong
	}
	return nil
}

var errWhereTooLong = invalid("", "is more than 1 MiB")

var errTooManyNodes = invalid("", "has more than 4096 parts")

func (w Where) check(nodes *int) error {
	if *nodes++; *nodes > MaxWhereNodes {
		return errTooManyNodes
	}
	switch {
	case w.Join == JoinNone && w.Leaf == nil:
		return invalid("", "asks nothing")
	case w.Leaf != nil && w.Join == JoinNone && len(w.Of) == 0:
		return w.Leaf.validate()
	case w.Leaf != nil:
		return invalid("", "is a leaf and joins others")
	case w.Join == JoinNot && len(w.Of) == 1:
		return Within("not", w.Of[0].check(nodes))
	case w.Join == JoinNot:
		return invalid("not", "negates one expression")
	}
	name := joinNames[w.Join]
	switch {
	case name == "":
		return invalid("", "joins in an unknown way")
	case len(w.Of) == 0:
		return invalid(name, "joins nothing: at least one expression")
	}
	for i := range w.Of {
		if err := w.Of[i].check(nodes); err != nil {
			return Within(name+"["+strconv.Itoa(i)+"]", err)
		}
	}
	return nil
}

var joinNames = map[Join]string{JoinAnd: "and", JoinOr: "or", JoinNot: "not"}

// Leaves yields every leaf of w, from left to right, until yield returns false.
func (w Where) Leaves(yield func(Leaf) bool) {
	w.leaves(yield)
}

func (w Where) leaves(yield func(Leaf) bool) bool {
	if w.Leaf != nil {
		return yield(w.Leaf)
	}
	for _, part := range w.Of {
		if !part.leaves(yield) {
			return false
		}
	}
	return true
}

func (l WhereTag) validate() error { return Within("tag", ValidateTag(string(l))) }

func (l WhereAlias) validate() error { return Within("alias", Aliases(l).validate()) }

func (l WhereAccount) validate() error { return Within("account", names(l)) }

func (l WhereAttr) validate() error {
	switch {
	case len(l.Name) > MaxAttributeKey || !identifier(l.Name):
		return invalid("attr", "a name has 1 to 64 letters, digits, '_', '-' and '.'")
	case l.Op == OpIn && (len(l.Values) == 0 || len(l.Values) > MaxDirect):
		return invalid("in", "names 1 to 1000 values")
	case l.Op != OpIn && l.Op != OpIs && l.Op != OpIsNot && !l.Op.Ordered():
		return invalid("op", "is =, !=, <, <=, > or >=")
	case l.Op != OpIn && len(l.Values) != 1:
		return invalid("value", "is missing")
	}
	for i, v := range l.Values {
		field := "value"
		if l.Op == OpIn {
			field = "in[" + strconv.Itoa(i) + "]"
		}
		if v == "" || len(v) > MaxAttributeValue || !text(v) {
			return invalid(field, "a value has 1 to 256 bytes of UTF-8, without NUL")
		}
		if _, isNumber := ParseNumber(v); l.Op.Ordered() && !IsVersion(l.Name) && !isNumber {
			return invalid(field, "must be a number: only app_version and os_version compare as versions")
		}
	}
	return nil
}

func (l WherePlatform) validate() error {
	if len(l) == 0 || !platforms(l) {
		return invalid("platform", "is a list of android, ios, harmony and web, each once")
	}
	return nil
}

func (l WhereWithin) validate() error {
	if l.Event != EventActive && l.Event != EventBound && l.Event != EventUnbound {
		return invalid("", "asks for an unknown event")
	}
	if l.For <= 0 {
		return invalid(string(l.Event), "must be a duration like 36h or 7d")
	}
	return nil
}

func (l WhereRegistered) validate() error {
	switch {
	case l.After.IsZero() && l.Before.IsZero():
		return invalid("registered", "has after, before or both")
	case !l.After.IsZero() && !l.Before.IsZero() && !l.After.Before(l.Before):
		return invalid("registered.before", "must be later than after")
	case !written(l.After):
		return invalid("registered.after", "is not in the years 0 to 9999")
	case !written(l.Before):
		return invalid("registered.before", "is not in the years 0 to 9999")
	}
	return nil
}

// written reports whether t can be written in JSON, which knows four digits of a year.
func written(t time.Time) bool {
	_, err := t.MarshalJSON()
	return err == nil
}

func (l WherePush) validate() error {
	switch {
	case pushLeaves[l.Mark] == "":
		return invalid("", "asks for an unknown mark")
	case l.Push <= 0:
		return invalid(pushLeaves[l.Mark], "is a push id")
	}
	return nil
}

// pushLeaves are the names of the leaves that ask for a mark of a push.
var pushLeaves = map[Mark]string{
	MarkTargeted: "targeted", MarkSent: "sent", MarkDelivered: "reached", MarkOpened: "opened",
}

func (l WhereHas) validate() error {
	if l == HasPhone {
		return nil
	}
	for _, c := range TokenChannels() {
		if string(l) == HasToken+c {
			return nil
		}
	}
	return invalid("has", `is "phone", or "token." and a channel`)
}

func (l WhereFlag) validate() error {
	if l.Flag != FlagOnline && l.Flag != FlagTest && l.Flag != FlagBlacklisted {
		return invalid("", "asks for an unknown flag")
	}
	return nil
}

// A TagID is a tag's number inside its app, from 1. It is never given again.
type TagID uint32

// A Tag is a name that devices carry.
type Tag struct {
	ID      TagID
	App     AppID
	Name    string
	Created time.Time
	Removed time.Time // zero while it exists; devices that still name it do not carry it
}

// MaxTagLength is the most characters of a tag.
const MaxTagLength = 128

// ValidateTag reports a tag that is not 1 to 128 characters.
func ValidateTag(tag string) error {
	if n := utf8.RuneCountInString(tag); n == 0 || n > MaxTagLength || !text(tag) {
		return invalid("", "a tag has 1 to 128 characters of UTF-8, without NUL")
	}
	return nil
}
