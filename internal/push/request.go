package push

import (
	"crypto/sha256"
	"encoding/json"
	"time"
)

// A Request asks for a message to be sent. Façades and native REST make it; dispatch accepts it.
type Request struct {
	App      AppID    `json:"app"`
	Audience Audience `json:"audience"`
	Message  Message  `json:"message"`
	Policy   Policy   `json:"policy"`

	// Open means that targets are added in several calls, and that the push ends to take them when it is closed. Audience may
	// then be the zero Audience.
	Open bool `json:"open,omitempty"`

	Key       Key    `json:"-"`                // the zero Key means that a repeat is another push
	Origin    string `json:"origin,omitempty"` // the dialect that it came in: "rest", "umeng"
	RequestID string `json:"request_id,omitempty"`

	Uses []Use `json:"-"` // quotas that it is counted under, if it is accepted

	// AllowUnknown accepts named targets of which none is a device of the app. Otherwise that is NotFound.
	AllowUnknown bool `json:"-"`
}

// A Key makes a retry return the first answer: within an app and a namespace, one key is one push.
type Key struct {
	Namespace string // whose keys: "rest", "umeng.android"
	Value     string // the caller's, at most MaxKey bytes
	Strict    bool   // a different request under the same key is a Conflict instead of the first answer
	Keep      time.Duration
}

// MaxKey is the most bytes of a Key's value.
const MaxKey = 256

// Zero reports whether there is no key.
func (k Key) Zero() bool { return k.Value == "" }

// Validate reports what is wrong with k. It goes before a key is looked up, not only before it is stored.
func (k Key) Validate() error {
	switch {
	case len(k.Value) > MaxKey:
		return invalid("key", "is more than 256 bytes")
	case !text(k.Value) || !text(k.Namespace):
		return invalid("key", "is not UTF-8 without NUL")
	}
	return nil
}

// Validate reports what is wrong with r, if it is accepted at now in app. Field is the path in native REST's form.
func (r Request) Validate(now time.Time, app App) error {
	if err := r.validateForm(); err != nil {
		return err
	}
	if err := r.Message.Validate(); err != nil {
		return Within("message", err)
	}
	if r.Message.Personal != nil && !r.Audience.Named() {
		return invalid("message.personal", "goes with devices, aliases or accounts")
	}
	if err := r.Policy.Validate(now, app.Settings.Duration(SettingMaxTTL)); err != nil {
		return Within("policy", err)
	}
	return r.Key.Validate()
}

// validateForm checks whom r is for, and what goes with what.
func (r Request) validateForm() error {
	p := r.Policy
	switch nobody := !r.Audience.said(); {
	case r.Open && (p.StartAt != nil || p.Recurring != nil || p.Rate != 0):
		return invalid("open", "goes with a push that starts at once, and is not paced")
	case r.Open && r.Message.Personal != nil:
		return invalid("message.personal", "goes with named devices, not with an open push")
	case r.Open && nobody:
	default:
		if err := r.Audience.Validate(); err != nil {
			return Within("audience", err)
		}
	}
	return nil
}

// Fingerprint returns a hash of what r asks for: audience, message and policy, not the key, the origin or the request
// id. Equal requests have equal fingerprints across restarts.
func (r Request) Fingerprint() [32]byte {
	b, err := json.Marshal(Request{App: r.App, Audience: r.Audience, Message: r.Message, Policy: r.Policy, Open: r.Open})
	if err != nil { // only raw JSON that is not JSON, which Validate refuses
		return [32]byte{}
	}
	return sha256.Sum256(b)
}
