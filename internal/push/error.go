package push

import (
	"errors"
	"strings"
	"time"
)

// A Kind says what sort of failure an Error is. It is an error itself, so that errors.Is(err, push.NotFound) works.
// The zero Kind is Internal.
type Kind uint8

// The kinds. Native REST answers each with one status and one code; façades map kind and field to their own codes.
const (
	Internal        Kind = iota // a fault of ours: retrying may help, changing the request will not
	Invalid                     // the request breaks a rule; Field names where
	Unauthenticated             // no or wrong credentials
	Denied                      // known, but not allowed
	NotFound                    // the thing named does not exist in this app
	Conflict                    // it exists already, or its state does not allow this
	TooLarge                    // more bytes than the route takes
	TooMany                     // a limit or quota is used up; RetryAfter may say for how long
	Unavailable                 // cannot be done now; the outcome may be unknown, repeat with the same key
)

var kindCodes = [...]string{
	"internal", "invalid", "unauthenticated", "denied", "not_found", "conflict", "too_large", "too_many", "unavailable",
}

// Error returns the stable code of k, as native REST shows it: "not_found".
func (k Kind) Error() string {
	if int(k) < len(kindCodes) {
		return kindCodes[k]
	}
	return kindCodes[Internal]
}

// ErrNotQueued is inside an Unavailable error of the record that says for sure that nothing was, or will be, changed.
var ErrNotQueued = errors.New("not queued")

// An Error is the one error type that crosses rooms.
type Error struct {
	Op         string        // where, "dispatch.Accept"; may be empty
	Kind       Kind          // what sort
	Field      string        // for Invalid: the path of what is wrong, "policy.ttl"
	Msg        string        // for the caller: what is wrong, in a sentence without secrets
	RetryAfter time.Duration // for TooMany and Unavailable: when to try again; 0 is unknown
	Err        error         // the cause, for operators; may be nil
}

// Error returns op, field, message and cause, for operators and logs. Callers outside are shown Msg only.
func (e *Error) Error() string {
	parts := make([]string, 0, 4)
	if e.Op != "" {
		parts = append(parts, e.Op)
	}
	if e.Field != "" {
		parts = append(parts, e.Field)
	}
	if e.Msg != "" {
		parts = append(parts, e.Msg)
	} else {
		parts = append(parts, e.Kind.Error())
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is e's Kind.
func (e *Error) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && k == e.Kind
}

// Wrap returns err as an *Error of op. An *Error inside err keeps its kind, field and message; anything else is
// Internal. A nil err is nil.
func Wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return &Error{Op: op, Kind: e.Kind, Field: e.Field, Msg: e.Msg, RetryAfter: e.RetryAfter, Err: err}
	}
	return &Error{Op: op, Kind: Internal, Err: err}
}

// KindOf returns the kind of err: Internal for an error that carries none, and for nil.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// invalid returns the error for a field that breaks a rule.
func invalid(field, msg string) error { return &Error{Kind: Invalid, Field: field, Msg: msg} }

// Within returns err with its field put below parent: "ttl" below "policy" is "policy.ttl", "[2]" below "devices" is
// "devices[2]". A nil err is nil.
func Within(parent string, err error) error {
	var e *Error
	if err == nil || !errors.As(err, &e) {
		return err
	}
	c := *e
	switch {
	case c.Field == "" || parent == "":
		c.Field = parent + c.Field
	case c.Field[0] == '[':
		c.Field = parent + c.Field
	default:
		c.Field = parent + "." + c.Field
	}
	return &c
}
