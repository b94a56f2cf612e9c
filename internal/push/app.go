package push

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// An AppID names one app: a positive number, written in decimal. The zero AppID names none.
type AppID uint32

// String returns the decimal form.
func (id AppID) String() string { return strconv.FormatUint(uint64(id), 10) }

// MarshalText returns the decimal form, so that an id is a string in JSON.
func (id AppID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the decimal form.
func (id *AppID) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(string(b), 10, 32)
	if err != nil || n == 0 {
		return invalid("app", "not an app id")
	}
	*id = AppID(n)
	return nil
}

// An App is one product, with devices of any platform.
type App struct {
	ID       AppID               `json:"id"`
	Name     string              `json:"name"`
	TimeZone string              `json:"time_zone"` // IANA name; what a dialect writes without a zone is read in it
	Packages map[Platform]string `json:"packages"`  // the app's package or bundle name by platform
	Settings Settings            `json:"settings"`
	Created  time.Time           `json:"created"`
}

// DefaultTimeZone is the time zone of an app that names none.
const DefaultTimeZone = "Asia/Shanghai"

// Location returns the app's time zone. A name that this machine does not know is UTC+8, where the services live.
func (a App) Location() *time.Location {
	if loc, err := time.LoadLocation(a.TimeZone); err == nil && a.TimeZone != "" {
		return loc
	}
	return time.FixedZone("UTC+8", 8*60*60)
}

// Validate reports what is wrong with a's name, time zone or settings.
func (a App) Validate() error {
	switch {
	case a.Name == "" || utf8.RuneCountInString(a.Name) > 64:
		return invalid("name", "an app's name has 1 to 64 characters")
	case !utf8.ValidString(a.Name):
		return invalid("name", "is not UTF-8")
	case strings.ContainsFunc(a.Name, func(r rune) bool { return r < ' ' || r == '/' || r == 0x7f }):
		return invalid("name", "an app's name has no control characters and no slash")
	}
	if _, err := strconv.ParseUint(a.Name, 10, 64); err == nil {
		return invalid("name", "an app's name is not a number: numbers are ids")
	}
	if _, err := time.LoadLocation(a.TimeZone); err != nil || a.TimeZone == "Local" {
		return invalid("time_zone", "not an IANA time zone")
	}
	for p, name := range a.Packages {
		switch {
		case !p.Valid():
			return invalid("packages", "not a platform")
		case len(name) > MaxLabel || !text(name):
			return invalid("packages."+p.String(), "has at most 256 bytes of UTF-8")
		}
	}
	return Within("settings", a.Settings.Validate())
}
