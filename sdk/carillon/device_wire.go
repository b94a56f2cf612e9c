package carillon

import (
	"encoding/json"
	"time"
)

// A Device is one installation of an app.
type Device struct {
	ID           string                     `json:"device_id"`
	ChannelID    string                     `json:"channel_id"` // the same device in digits only
	App          string                     `json:"app"`
	Platform     string                     `json:"platform"`
	Attributes   map[string]string          `json:"attributes"`
	Tokens       map[string]json.RawMessage `json:"tokens"` // vendor tokens by channel
	Phone        string                     `json:"phone"`
	Account      string                     `json:"account"` // who is logged in; "" is nobody
	Network      string                     `json:"network"`
	Test         bool                       `json:"test"`        // gets pushes in test mode
	Blacklisted  bool                       `json:"blacklisted"` // gets nothing
	Badge        int                        `json:"badge"`
	Reregistered bool                       `json:"reregistered"` // its installation registered again without the secret
	Registered   time.Time                  `json:"registered"`
	LastActive   time.Time                  `json:"last_active"`
	Bound        time.Time                  `json:"bound"`       // when the account was logged in that is; zero while none is
	Unbound      time.Time                  `json:"unbound"`     // when the last account was logged out; zero while one is logged in
	Changed      time.Time                  `json:"changed"`     // when what audiences ask of it changed last, to the second; zero if it never did
	Tags         []string                   `json:"tags"`        // in order
	Aliases      []Alias                    `json:"aliases"`     // oldest first
	PreviousID   string                     `json:"previous_id"` // its id at another provider, if it was imported
}

// A DevicePatch changes a device. Nil fields stay; an attribute "" is taken away.
type DevicePatch struct {
	Attributes  map[string]string          `json:"attributes,omitempty"`
	Tokens      map[string]json.RawMessage `json:"tokens,omitempty"`
	Phone       *string                    `json:"phone,omitempty"`
	Network     *string                    `json:"network,omitempty"`
	Test        *bool                      `json:"test,omitempty"`
	Blacklisted *bool                      `json:"blacklisted,omitempty"`
	Badge       *int                       `json:"badge,omitempty"`
}

// An Import is a device that is moved here from another provider. What is left out stays as it is, if the device was
// imported before.
type Import struct {
	PreviousID string                     `json:"device_id"`          // its id at the other provider, 1 to 128 bytes
	Platform   string                     `json:"platform,omitempty"` // android, ios, harmony or web; "" is android for a device that is new
	Account    string                     `json:"account,omitempty"`
	Phone      string                     `json:"phone,omitempty"`
	Tags       []string                   `json:"tags,omitempty"`
	Aliases    []Alias                    `json:"aliases,omitempty"`
	Attributes map[string]string          `json:"attributes,omitempty"`
	Tokens     map[string]json.RawMessage `json:"tokens,omitempty"` // by channel: a string, or an object with its parts
	Test       *bool                      `json:"test,omitempty"`
}
