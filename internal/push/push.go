package push

import (
	"strconv"
	"time"
)

// An ID names a push: positive, at most 63 bits, growing with time. In JSON it is a decimal string. The zero ID is no
// push.
type ID int64

// String returns the decimal form.
func (id ID) String() string { return strconv.FormatInt(int64(id), 10) }

// MarshalText returns the decimal form.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the decimal form.
func (id *ID) UnmarshalText(b []byte) error {
	v, err := ParseID(string(b))
	*id = v
	return err
}

// An ID is, from the top: milliseconds since IDEpoch in 41 bits (until the year 2093), and IDTail bits that tell apart what
// was made within one.
const IDTail = 22

// IDEpoch is where the time in ids begins.
var IDEpoch = time.Date(2024, time.January, 1, 0, 0, 0, 0, time.UTC)

// Time returns when id was made, to the millisecond, by the clock of its node.
func (id ID) Time() time.Time { return IDEpoch.Add(time.Duration(id>>IDTail) * time.Millisecond) }

// ParseID reads the decimal form of an id. Anything else is NotFound: no push has such an id.
func ParseID(s string) (ID, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 || s[0] == '+' || s[0] == '0' {
		return 0, &Error{Kind: NotFound, Field: "id", Msg: "no such push"}
	}
	return ID(n), nil
}

// PushKind tells a push to named devices (a row a device) from one to a set (a bitmap).
type PushKind string

// The kinds of pushes.
const (
	Direct PushKind = "direct"
	Bulk   PushKind = "bulk"
)

// A Push is an accepted request.
type Push struct {
	ID      ID        `json:"id"`
	App     AppID     `json:"app"`
	Kind    PushKind  `json:"kind"`
	State   State     `json:"state"`
	Created time.Time `json:"created"`
	Start   time.Time `json:"start"`
	Expires time.Time `json:"expires"`
	Unknown int       `json:"-"` // named targets that are no device of the app
	Target  int       `json:"-"` // devices in the target; 0 until a bulk push begins
	Reason  string    `json:"reason,omitempty"`
	Request Request   `json:"-"`

	Schedule ID      `json:"schedule,omitempty"` // the recurring schedule that it is an occurrence of
	Cursor   Ordinal `json:"-"`                  // of a paced push: it is owed to the devices of its target with ordinals below
}

// A Day is a day in UTC, counted from 1970-01-01. What grows with traffic lives in tables by the day it expires. The
// zero Day means none.
type Day int32

// DayOf returns the day of t.
func DayOf(t time.Time) Day { return Day(t.Unix() / (24 * 60 * 60)) }

// String returns the day as eight digits, "20261125": the suffix of its tables.
func (d Day) String() string { return time.Unix(int64(d)*24*60*60, 0).UTC().Format("20060102") }

// A Delivery is a message as it goes to devices: one object that all connections share, and that nobody changes. That of a
// personal push is one device's own.
type Delivery struct {
	ID      ID
	App     AppID
	Kind    PushKind
	Expires time.Time
	Payload []byte // the JSON object of the inbox topic
	Rules   Rules  // what is looked at before it leaves for a device
}

// Rules are what of a push is asked again whenever a copy is about to leave for a device. The zero Rules are those of a
// notification of no category, under the app's defaults.
type Rules struct {
	Quiet    string  `json:"quiet,omitempty"`    // "hold", "drop" or "ignore"; "" is the app's default
	Network  Network `json:"network,omitempty"`  // "wifi" or "mobile"; "" is any
	Category string  `json:"category,omitempty"` // for the caps
	Silent   bool    `json:"silent,omitempty"`   // it shows nothing, so that quiet hours and caps are not for it
}

// Rules returns the rules of r.
func (r Request) Rules() Rules {
	out := Rules{Quiet: r.Policy.Quiet, Network: r.Policy.Network, Category: r.Policy.Category}
	if out.Network == AnyNetwork {
		out.Network = ""
	}
	out.Silent = r.Message.Notification == nil && r.Message.Template == nil
	return out
}

// Receipt returns the receipt for m on the device that has ordinal o.
func (d *Delivery) Receipt(o Ordinal, m Mark) Receipt {
	r := Receipt{App: d.App, Push: d.ID, Ordinal: o, Mark: m}
	if d.Kind == Direct {
		r.Day = DayOf(d.Expires)
	}
	return r
}
