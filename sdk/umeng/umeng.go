// Package umeng speaks the Umeng U-Push server API: wire types, limits, error codes, signing and a client, for the
// real service or for a Carillon server.
//
// Both ends use it. A sender builds a [SendRequest] and hands it to a [Client]; a server reads the body with
// [ParseRoot], checks the signature with [Verify], and validates with the same methods that the sender may call
// before sending. Reading is tolerant where the senders in the field are sloppy (see [ParseRoot]); writing uses the one form
// that every generation of the service accepts.
//
// The facts are those of protocols/umeng.md; comments cite its sections.
package umeng

import "time"

// Addresses of the real service; paths of the endpoints served here (protocols/umeng.md section 1).
const (
	DefaultBaseURL = "https://msgapi.umeng.com"
	PlainBaseURL   = "http://msg.umeng.com"

	PathSend   = "/api/send"
	PathStatus = "/api/status"
	PathCancel = "/api/cancel"
)

// Limits of protocols/umeng.md sections 3, 5 and 8. Sizes are in bytes unless said otherwise.
const (
	MaxTokens          = 500  // device tokens of one listcast
	MaxAliases         = 500  // aliases of one customizedcast
	MaxTokenLength     = 128  // longer device tokens are refused; the service's own have 44 (Android) or 64 (iOS)
	MaxAndroidPayload  = 1840 // compact payload, see Payload.Size
	MaxIOSPayload      = 2012
	MaxHarmonyPayload  = 2048
	MaxAPNsCollapseID  = 64
	MinSendRate        = 1000 // devices a second; a lower max_send_num is raised to it
	TimestampWindow    = 10 * time.Minute
	DefaultTTL         = 3 * 24 * time.Hour // from the start of sending, if expire_time is absent
	MaxTTL             = 7 * 24 * time.Hour // from the start of sending
	MaxStartAhead      = 7 * 24 * time.Hour
	defaultHTTPTimeout = 60 * time.Second
)

// Beijing is the zone in which the service reads and writes times without a zone: a fixed UTC+8.
var Beijing = time.FixedZone("Asia/Shanghai", 8*60*60)

// TimeLayout is the form of start_time and expire_time, for [time.Time.Format].
const TimeLayout = "2006-01-02 15:04:05"

// FormatTime writes t as the service reads it: yyyy-MM-dd HH:mm:ss in Beijing time.
func FormatTime(t time.Time) string { return t.In(Beijing).Format(TimeLayout) }

// A Platform is the system of an app's devices. It belongs to the appkey, never to a request: each platform has an
// appkey of its own.
type Platform string

// The platforms.
const (
	Android Platform = "android"
	IOS     Platform = "ios"
	Harmony Platform = "harmony"
)

// PayloadLimit returns the largest payload of p in bytes, as [Payload.Size] counts.
func (p Platform) PayloadLimit() int {
	switch p {
	case IOS:
		return MaxIOSPayload
	case Harmony:
		return MaxHarmonyPayload
	default:
		return MaxAndroidPayload
	}
}

// A Flag is a boolean that travels as the string "true" or "false". The zero Flag is absent and means the field's default.
// A received Flag with any other text is kept as it came, so that validation can refuse it.
type Flag string

// The two values of a Flag.
const (
	True  Flag = "true"
	False Flag = "false"
)

// FlagOf returns the Flag of b.
func FlagOf(b bool) Flag {
	if b {
		return True
	}
	return False
}

// Valid reports whether f is absent, true or false.
func (f Flag) Valid() bool { return f == "" || f == True || f == False }

// Or returns the value of f, or def if f is absent or invalid.
func (f Flag) Or(def bool) bool {
	switch f {
	case True:
		return true
	case False:
		return false
	default:
		return def
	}
}
