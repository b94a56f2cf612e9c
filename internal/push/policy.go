package push

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// A Policy says when, how fast, until when and by which ways a push is sent. The zero Policy means now, unpaced, kept
// for DefaultTTL, to all devices, by every way.
type Policy struct {
	StartAt      *time.Time `json:"start_at,omitempty"`      // nil means at once
	TTL          Duration   `json:"ttl,omitempty"`           // from the start; 0 means DefaultTTL
	ExpireAt     *time.Time `json:"expire_at,omitempty"`     // instead of TTL
	Recurring    *Recurring `json:"recurring,omitempty"`     //
	Rate         int        `json:"rate,omitempty"`          // devices a second; 0 means no limit
	StoreOffline *bool      `json:"store_offline,omitempty"` // nil means true; false is now or never
	Network      Network    `json:"network,omitempty"`       // "" means any
	Test         bool       `json:"test,omitempty"`          // test devices only
	CollapseID   string     `json:"collapse_id,omitempty"`   // a newer message replaces an undelivered older one
	Quiet        string     `json:"quiet,omitempty" enum:"hold,drop,ignore"`
	SMS          *SMS       `json:"sms,omitempty"`
	Ways
	Labels
}

// Ways are the channels that a push may take. The zero Ways is auto.
type Ways struct {
	Channels string   `json:"channels,omitempty" enum:"auto,own,vendor,own_first"`
	Deadline Duration `json:"deadline,omitempty"` // of own_first: when a vendor takes over
	APNSEnv  string   `json:"apns_env,omitempty" enum:"production,sandbox"`
	Only     []string `json:"only,omitempty"` // names of channels; empty is all
}

// Labels are names under which pushes are found and counted. They do not change what is sent.
type Labels struct {
	Topic       string `json:"topic,omitempty"`
	Group       string `json:"group,omitempty"`
	Name        string `json:"name,omitempty"`
	Description string `json:"description,omitempty"`
	Category    string `json:"category,omitempty"`
}

// Network is the sort of network that a device is on, or must be on. "" is any.
type Network string

// The networks.
const (
	AnyNetwork Network = "any"
	WiFi       Network = "wifi"
	Mobile     Network = "mobile"
)

// Recurring sends a push again and again, at a time of day in the app's time zone.
type Recurring struct {
	Every string    `json:"every" enum:"day,week,month"`
	On    []int     `json:"on,omitempty"` // days of the week, 1 Monday to 7 Sunday, or of the month
	At    string    `json:"at"`           // HH:MM:SS
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

// SMS is the text message for devices that a push has not reached.
type SMS struct {
	Template  string            `json:"template"`
	Signature string            `json:"signature,omitempty"`
	Values    map[string]string `json:"values,omitempty"`
	After     Duration          `json:"after"`
	Unless    string            `json:"unless,omitempty" enum:"delivered,opened"`
	Max       int               `json:"max,omitempty"` // messages at most; 0 means no limit
}

// Limits of policies.
const (
	DefaultTTL    = 72 * time.Hour
	MinTTL        = time.Second
	MaxAhead      = 366 * 24 * time.Hour // how far ahead a push may start: one of the services allows a year
	MaxCollapseID = 64                   // bytes
	MaxLabel      = 256                  // bytes
	MaxSMSValues  = 4096                 // bytes of names and values
)

var collapseID = regexp.MustCompile(`^[\x21-\x7e]*$`)

// Validate reports what is wrong with p for a push accepted at now in an app that allows a time to live of maxTTL.
func (p Policy) Validate(now time.Time, maxTTL time.Duration) error {
	start := p.Start(now)
	switch {
	case p.StartAt != nil && !p.StartAt.After(now):
		return invalid("start_at", "is not after now")
	case start.Sub(now) > MaxAhead:
		return invalid("start_at", "is more than 366 days ahead")
	case p.Recurring != nil && p.StartAt != nil:
		return invalid("start_at", "and recurring exclude each other")
	case p.Recurring != nil && p.ExpireAt != nil:
		return invalid("expire_at", "and recurring exclude each other: ttl counts from each occurrence")
	case p.TTL != 0 && p.ExpireAt != nil:
		return invalid("expire_at", "and ttl exclude each other")
	case p.TTL != 0 && p.TTL.Std() < MinTTL:
		return invalid("ttl", "is at least 1s")
	case p.TTL.Std() > maxTTL:
		return invalid("ttl", "is more than the app's "+FormatDuration(maxTTL))
	case p.ExpireAt != nil && !p.ExpireAt.After(start):
		return invalid("expire_at", "is not after the start")
	case p.ExpireAt != nil && p.ExpireAt.Sub(start) > maxTTL:
		return invalid("expire_at", "is more than the app's "+FormatDuration(maxTTL)+" after the start")
	case p.Rate < 0 || p.Rate > math.MaxInt32:
		return invalid("rate", "is not negative and fits 32 bits")
	case p.Network != "" && p.Network != AnyNetwork && p.Network != WiFi && p.Network != Mobile:
		return invalid("network", "is any, wifi or mobile")
	case len(p.CollapseID) > MaxCollapseID || !collapseID.MatchString(p.CollapseID):
		return invalid("collapse_id", "is at most 64 visible ASCII characters")
	case !oneOf(p.Quiet, "", "hold", "drop", "ignore"):
		return invalid("quiet", "is hold, drop or ignore")
	}
	for _, l := range []struct{ field, v string }{
		{"topic", p.Topic}, {"group", p.Group}, {"name", p.Name}, {"description", p.Description}, {"category", p.Category},
	} {
		if len(l.v) > MaxLabel {
			return invalid(l.field, "is more than 256 bytes")
		}
	}
	if err := p.Ways.validate(maxTTL); err != nil {
		return err
	}
	if p.SMS != nil {
		if err := p.SMS.validate(maxTTL); err != nil {
			return Within("sms", err)
		}
	}
	if p.Recurring != nil {
		if err := p.Recurring.validate(); err != nil {
			return Within("recurring", err)
		}
	}
	return texts(p)
}

func (w Ways) validate(maxTTL time.Duration) error {
	switch {
	case !oneOf(w.Channels, "", "auto", "own", "vendor", "own_first"):
		return invalid("channels", "is auto, own, vendor or own_first")
	case w.Deadline < 0 || w.Deadline.Std() > maxTTL:
		return invalid("deadline", "is at most "+FormatDuration(maxTTL))
	case w.Deadline != 0 && w.Channels != "own_first":
		return invalid("deadline", "goes with channels own_first")
	case !oneOf(w.APNSEnv, "", "production", "sandbox"):
		return invalid("apns_env", "is production or sandbox")
	}
	for i, name := range w.Only {
		if name != "own" && !slices.Contains(TokenChannels(), name) || slices.Contains(w.Only[:i], name) {
			return invalid("only", "is own or names of vendor channels, each once")
		}
	}
	return nil
}

func (s *SMS) validate(maxTTL time.Duration) error {
	switch {
	case s.Template == "" || len(s.Template) > MaxLabel:
		return invalid("template", "has 1 to 256 bytes")
	case len(s.Signature) > MaxLabel:
		return invalid("signature", "is more than 256 bytes")
	case s.After < 0 || s.After.Std() > maxTTL:
		return invalid("after", "is at most "+FormatDuration(maxTTL))
	case !oneOf(s.Unless, "", "delivered", "opened"):
		return invalid("unless", "is delivered or opened")
	case s.Max < 0 || s.Max > math.MaxInt32:
		return invalid("max", "is not negative and fits 32 bits")
	}
	n := 0
	for k, v := range s.Values {
		n += len(k) + len(v)
	}
	if n > MaxSMSValues {
		return invalid("values", "are more than 4096 bytes")
	}
	return nil
}

func (r *Recurring) validate() error {
	most := map[string]int{"day": 0, "week": 7, "month": 31}[r.Every]
	switch _, err := time.Parse(time.TimeOnly, r.At); {
	case !oneOf(r.Every, "day", "week", "month"):
		return invalid("every", "is day, week or month")
	case err != nil || len(r.At) != len(time.TimeOnly):
		return invalid("at", "is a time of day like 09:45:11")
	case (most == 0) != (len(r.On) == 0):
		return invalid("on", "goes with week and month, which need it")
	case r.Until.Before(r.From):
		return invalid("until", "is before from")
	}
	for i, d := range r.On {
		if d < 1 || d > most || slices.Contains(r.On[:i], d) {
			return invalid("on", "has days from 1 to "+strconv.Itoa(most)+", each once")
		}
	}
	return nil
}

// Start returns when a push accepted at now starts.
func (p Policy) Start(now time.Time) time.Time {
	if p.StartAt != nil {
		return *p.StartAt
	}
	return now
}

// Expiry returns when a push accepted at now ends to be owed.
func (p Policy) Expiry(now time.Time) time.Time {
	switch {
	case p.ExpireAt != nil:
		return *p.ExpireAt
	case p.TTL != 0:
		return p.Start(now).Add(p.TTL.Std())
	}
	return p.Start(now).Add(DefaultTTL)
}

// Offline reports whether the push is kept for devices that are away.
func (p Policy) Offline() bool { return p.StoreOffline == nil || *p.StoreOffline }

func oneOf(v string, all ...string) bool {
	for _, a := range all {
		if v == a {
			return true
		}
	}
	return false
}
