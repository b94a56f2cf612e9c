package push

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Platform is the system a device runs. The zero Platform is none.
type Platform uint8

// The platforms. Their numbers are part of device ids and never change.
const (
	Android Platform = 1
	IOS     Platform = 2
	Harmony Platform = 3
	Web     Platform = 4
)

var platformNames = [...]string{"", "android", "ios", "harmony", "web"}

// Platforms returns all platforms in the order of their numbers.
func Platforms() []Platform { return []Platform{Android, IOS, Harmony, Web} }

// Valid reports whether p is one of the platforms.
func (p Platform) Valid() bool { return p >= Android && p <= Web }

// String returns the name that the API uses, or "" for none.
func (p Platform) String() string {
	if p.Valid() {
		return platformNames[p]
	}
	return ""
}

// MarshalText returns the name.
func (p Platform) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads a name.
func (p *Platform) UnmarshalText(b []byte) error {
	for i, name := range platformNames[1:] {
		if name == string(b) {
			*p = Platform(i + 1)
			return nil
		}
	}
	return invalid("platform", "is android, ios, harmony or web")
}

// An Ordinal is a device's number inside its app: dense, from 0. A set of devices is a bitmap of ordinals.
type Ordinal uint32

// A DeviceID names one device of one app: 32 lower-case hex digits. Its meaning is known to the keyring only.
type DeviceID string

// A ChannelID is a device's second name: a decimal number of at most 19 digits, for clients that take digits only.
type ChannelID string

// A Ref says which device: what a DeviceID or ChannelID decodes to. It is comparable. The zero Ref is no device.
type Ref struct {
	App        AppID
	Ordinal    Ordinal
	Generation uint8    // distinguishes devices that had the same ordinal one after another; from 1
	Platform   Platform // 0 where the name does not say it (a ChannelID)
}

// A Named is a device that a request names, and what operators say of it.
type Named struct {
	Ref
	Test, Blacklisted bool
	Name              string // the first name in the request that stands for it
	Merged            bool   // others stand for it, too: it counts, and gets the message, once
}

// A Token is the address of a device at a vendor channel.
type Token struct {
	Token  string `json:"token,omitempty"`
	Env    string `json:"env,omitempty" enum:"production,sandbox"`
	Web    string `json:"endpoint,omitempty"` // Web Push: the subscription's endpoint
	P256dh string `json:"p256dh,omitempty"`
	Auth   string `json:"auth,omitempty"`
}

// UnmarshalJSON reads the object, or a string that is the token alone.
func (t *Token) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*t = Token{}
		return json.Unmarshal(b, &t.Token)
	}
	type plain Token
	return json.Unmarshal(b, (*plain)(t))
}

// A Device is one installation of an app.
type Device struct {
	ID         DeviceID          `json:"device_id"`
	ChannelID  ChannelID         `json:"channel_id"`
	App        AppID             `json:"app"`
	Platform   Platform          `json:"platform"`
	Attributes map[string]string `json:"attributes"`
	Tokens     map[string]Token  `json:"tokens,omitempty"` // by channel; values are secrets of the device
	Phone      string            `json:"phone,omitempty"`
	Account    string            `json:"account,omitempty"` // who is logged in; "" is nobody
	Network    Network           `json:"network,omitempty"`
	Tags       []string          `json:"tags,omitempty"`        // in order
	Aliases    []Alias           `json:"aliases,omitempty"`     // oldest first
	PreviousID string            `json:"previous_id,omitempty"` // its id at another provider, if it was imported
	Marks
	Times
	Ref Ref `json:"-"`
}

// Marks are what operators say of a device.
type Marks struct {
	Test        bool `json:"test"`        // gets pushes in test mode
	Blacklisted bool `json:"blacklisted"` // gets nothing
	Badge       int  `json:"badge"`
	Reset       bool `json:"reregistered,omitempty"` // its install id registered again without the secret
}

// Times are the days of a device's life. Zero times have not happened.
type Times struct {
	Registered time.Time `json:"registered"`
	LastActive time.Time `json:"last_active,omitzero"` // zero for a device that was imported and never came
	Bound      time.Time `json:"bound,omitzero"`       // when the account was logged in that is
	Unbound    time.Time `json:"unbound,omitzero"`     // when the last account was logged out, while none is logged in
	Changed    time.Time `json:"changed,omitzero"`     // when what audiences ask of it changed last; to the second
}

// Limits of what a device says of itself.
const (
	MaxAttributes     = 64
	MaxAttributeKey   = 64  // bytes
	MaxAttributeValue = 256 // bytes
	MaxTokens         = 16
	MaxToken          = 4096 // bytes
	MaxPhone          = 32   // bytes
	MaxAccount        = 128  // bytes
	MinInstallID      = 16   // bytes; at least 128 random bits
	MaxInstallID      = 256
)

// TokenChannels are the vendor channels that a token may be of.
func TokenChannels() []string {
	return []string{"apns", "fcm", "hms", "honor", "harmony", "xiaomi", "oppo", "vivo", "meizu", "webpush"}
}

// ValidateAttributes reports an attribute whose name or value is not allowed, as "attributes.NAME" where the name can be
// shown. A value "" removes the attribute.
func ValidateAttributes(attrs map[string]string) error {
	if len(attrs) > MaxAttributes {
		return invalid("attributes", "at most 64 attributes")
	}
	for _, k := range slices.Sorted(maps.Keys(attrs)) { // so that the answer is always the same
		switch v := attrs[k]; {
		case len(k) > MaxAttributeKey || !identifier(k):
			return invalid(below("attributes", shown(k)), "a name has 1 to 64 letters, digits, '_', '-' and '.'")
		case len(v) > MaxAttributeValue || !text(v):
			return invalid("attributes."+k, "a value is at most 256 bytes of UTF-8, without NUL")
		}
	}
	return nil
}

// ValidateTokens reports a token of an unknown channel or of a wrong shape, as "tokens.CHANNEL" where the name can be shown.
// A zero Token removes the token.
func ValidateTokens(tokens map[string]Token) error {
	if len(tokens) > MaxTokens {
		return invalid("tokens", "at most 16 tokens")
	}
	for _, channel := range slices.Sorted(maps.Keys(tokens)) {
		switch t := tokens[channel]; {
		case !slices.Contains(TokenChannels(), channel):
			return invalid(below("tokens", shown(channel)), "is not a channel: they are "+strings.Join(TokenChannels(), ", "))
		case len(t.Token) > MaxToken || len(t.Web) > MaxToken || len(t.P256dh) > MaxToken || len(t.Auth) > MaxToken:
			return invalid("tokens."+channel, "a token is at most 4096 bytes")
		case !text(t.Token) || !text(t.Web) || !text(t.P256dh) || !text(t.Auth):
			return invalid("tokens."+channel, "is not UTF-8 without NUL")
		case t.Env != "" && t.Env != "production" && t.Env != "sandbox":
			return invalid("tokens."+channel+".env", "is production or sandbox")
		case channel == "webpush" && t != (Token{}) && (t.Web == "" || t.P256dh == "" || t.Auth == ""):
			return invalid("tokens.webpush", "needs endpoint, p256dh and auth")
		}
	}
	return nil
}

// ValidatePhone reports a phone that is neither a number of 5 to 20 digits with an optional '+', nor the MD5 of one (32
// lower-case hex digits, where only that is known), nor empty.
func ValidatePhone(phone string) error {
	if hashed(phone) {
		return nil
	}
	digits := phone
	if digits != "" && digits[0] == '+' {
		digits = digits[1:]
	}
	if phone != "" && (len(digits) < 5 || len(digits) > 20) {
		return invalid("phone", "is 5 to 20 digits with an optional +, or the MD5 of such a number in lower-case hex")
	}
	for _, r := range digits {
		if r < '0' || r > '9' {
			return invalid("phone", "is 5 to 20 digits with an optional +, or the MD5 of such a number in lower-case hex")
		}
	}
	return nil
}

// hashed reports whether phone is an MD5 rather than a number.
func hashed(phone string) bool {
	for i := range len(phone) {
		if c := phone[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(phone) == 32
}

func identifier(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return s != ""
}
