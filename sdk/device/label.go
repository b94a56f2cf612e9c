package device

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/carillonpush/carillon/internal/mqtt"
)

// Errors of what a device says, beside ErrNotConnected and ErrUnavailable. That the server refuses it only MQTT 5.0 can tell;
// 3.1.1 closes the connection, which is ErrUnavailable.
var (
	// ErrInvalid says that the server cannot read what was said, or does not allow it: a tag too long, text that is not UTF-8,
	// more than 4 KiB.
	ErrInvalid = errors.New("device: not valid")
	// ErrTooMany says that a limit of the app is reached: of tags, or of aliases.
	ErrTooMany = errors.New("device: a limit is reached")
)

// An edit is what a device publishes to device/…: how its labels change. Fields that are nil are left out.
type edit struct {
	Op         string            `json:"op"` // put, add or delete
	Type       *string           `json:"type,omitempty"`
	Value      *string           `json:"value,omitempty"`
	Tags       *[]string         `json:"tags,omitempty"`
	Account    *string           `json:"account,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
}

// SetAlias makes the device the only owner of an alias. An alias is unique within its type; typ may be "". Like all methods
// that say what the device is called, SetAlias returns when the server has it on disk. One called after another has returned
// takes effect after it. Errors are ErrNotConnected, ErrUnavailable, ctx's, after which the server may have it all the same,
// ErrInvalid, ErrTooMany, or another refusal of the server.
func (d *Device) SetAlias(ctx context.Context, typ, value string) error {
	return d.edit(ctx, "alias", edit{Op: "put", Type: &typ, Value: &value})
}

// AddAlias makes the device one more owner of an alias.
func (d *Device) AddAlias(ctx context.Context, typ, value string) error {
	return d.edit(ctx, "alias", edit{Op: "add", Type: &typ, Value: &value})
}

// RemoveAlias ends that the device owns an alias.
func (d *Device) RemoveAlias(ctx context.Context, typ, value string) error {
	return d.edit(ctx, "alias", edit{Op: "delete", Type: &typ, Value: &value})
}

// RemoveAliases ends that the device owns any alias.
func (d *Device) RemoveAliases(ctx context.Context) error {
	return d.edit(ctx, "alias", edit{Op: "delete"})
}

// SetTags makes tags, which may be none, the only ones that the device carries.
func (d *Device) SetTags(ctx context.Context, tags ...string) error {
	if tags == nil {
		tags = []string{}
	}
	return d.edit(ctx, "tags", edit{Op: "put", Tags: &tags})
}

// AddTags has the device carry tags beside those that it does. No tags change nothing.
func (d *Device) AddTags(ctx context.Context, tags ...string) error {
	if len(tags) == 0 {
		return nil
	}
	return d.edit(ctx, "tags", edit{Op: "add", Tags: &tags})
}

// RemoveTags has the device not carry tags any more. No tags change nothing: SetTags with none takes all.
func (d *Device) RemoveTags(ctx context.Context, tags ...string) error {
	if len(tags) == 0 {
		return nil
	}
	return d.edit(ctx, "tags", edit{Op: "delete", Tags: &tags})
}

// Login says that account uses the device now, in the place of whoever did.
func (d *Device) Login(ctx context.Context, account string) error {
	return d.edit(ctx, "account", edit{Op: "put", Account: &account})
}

// Logout says that nobody uses the device now. Twice is once.
func (d *Device) Logout(ctx context.Context) error {
	return d.edit(ctx, "account", edit{Op: "delete"})
}

// SetAttributes changes the attributes that are named and leaves the rest; a value "" removes one. No attributes change
// nothing.
func (d *Device) SetAttributes(ctx context.Context, attributes map[string]string) error {
	if len(attributes) == 0 {
		return nil
	}
	return d.edit(ctx, "attributes", edit{Op: "add", Attributes: attributes})
}

// mustBeText returns ErrInvalid if something is not UTF-8. encoding/json would put U+FFFD in its place, so that the device
// would say something else.
func mustBeText(what string, attributes map[string]string, texts ...string) error {
	all := slices.Concat(texts, slices.Collect(maps.Keys(attributes)), slices.Collect(maps.Values(attributes)))
	if slices.ContainsFunc(all, func(s string) bool { return !utf8.ValidString(s) }) {
		return fmt.Errorf("%w: %s: is not UTF-8", ErrInvalid, what)
	}
	return nil
}

// edit publishes e.
func (d *Device) edit(ctx context.Context, what string, e edit) error {
	var texts []string
	if e.Tags != nil {
		texts = slices.Clone(*e.Tags)
	}
	for _, s := range []*string{e.Type, e.Value, e.Account} {
		if s != nil {
			texts = append(texts, *s)
		}
	}
	if err := mustBeText(what, e.Attributes, texts...); err != nil {
		return err
	}
	payload, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("device: %s: %w", what, err)
	}
	return d.say(ctx, "device/"+what, what, payload)
}

// maxSaid is the most bytes that the server takes of what a device says at a time. What is far above it would end the
// connection, and that is no answer.
const maxSaid = 4 << 10

// say publishes what the device has to say, and returns when it is answered.
func (d *Device) say(ctx context.Context, topic, what string, payload []byte) error {
	if len(payload) > maxSaid {
		return fmt.Errorf("%w: %s: has %d bytes, more than %d", ErrInvalid, what, len(payload), maxSaid)
	}
	d.mu.Lock()
	s := d.current
	d.mu.Unlock()
	if s == nil {
		return ErrNotConnected
	}
	a, err := s.publish(ctx, topic, payload)
	if err != nil {
		return err
	}
	return a.refused(what)
}

// An answer is what a PUBACK says of what was published.
type answer struct {
	reason mqtt.ReasonCode
	why    string // the server's words, or ""
}

// refused returns the error that an answer stands for; nil for a success.
func (a answer) refused(what string) error {
	if !a.reason.Failed() {
		return nil
	}
	why := a.reason.String()
	if a.why != "" {
		why += ": " + a.why
	}
	switch a.reason {
	case mqtt.PayloadFormatInvalid:
		return fmt.Errorf("%w: %s: %s", ErrInvalid, what, why)
	case mqtt.QuotaExceeded:
		return fmt.Errorf("%w: %s: %s", ErrTooMany, what, why)
	}
	return fmt.Errorf("device: %s refused: %s", what, why)
}
