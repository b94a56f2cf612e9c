package admission

import (
	"path"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// What a push does in quiet hours.
const (
	hold   = "hold"
	drop   = "drop"
	ignore = "ignore"
)

// A law is what an app's settings say, read once for each version of them. Nobody changes it.
type law struct {
	settings push.Settings // as they were read: holding on to them keeps their address from being used anew
	version  uintptr       // their address
	zoneName string
	zone     *time.Location
	quiet    push.Quiet
	unsaid   string         // what a push that does not say it does in quiet hours
	perDay   int            // 0 is no cap
	category map[string]int // caps beside perDay
	bypass   map[string]bool

	ends sync.Map // *time.Location → span: a quiet time that was found before
}

// A span is a time from its from on, to its to, which is not in it.
type span struct{ from, to time.Time }

// newLaw reads a's settings.
func newLaw(a push.App) *law {
	l := &law{settings: a.Settings, version: version(a.Settings), zoneName: a.TimeZone, zone: a.Location()}
	l.quiet, _ = push.ParseQuiet(a.Settings.Get(push.SettingQuietHours)) // they were validated
	l.unsaid = a.Settings.Get(push.SettingQuietDefault)
	l.perDay = a.Settings.Int(push.SettingCap)
	l.category = push.CategoryCaps(a.Settings.Get(push.SettingCapCategories))
	l.bypass = map[string]bool{}
	for name := range strings.SplitSeq(a.Settings.Get(push.SettingCapBypass), ",") {
		if name = strings.TrimSpace(name); name != "" {
			l.bypass[name] = true
		}
	}
	return l
}

// version returns what tells settings apart from others that somebody holds: a change of them makes a new map.
func version(s push.Settings) uintptr { return reflect.ValueOf(s).Pointer() }

// of reports whether l was read from a's settings as they are.
func (l *law) of(a push.App) bool {
	return l.version == version(a.Settings) && l.zoneName == a.TimeZone
}

// idle reports whether nothing that is not silent, under r, is held or dropped, networks apart.
func (l *law) idle(r push.Rules) bool { return l.inQuiet(r) == ignore && !l.caps(r) }

// inQuiet returns what a push under r does in quiet hours: ignore them, too, if there are none.
func (l *law) inQuiet(r push.Rules) string {
	switch {
	case r.Silent || l.quiet == (push.Quiet{}):
		return ignore
	case r.Quiet == "":
		return l.unsaid
	}
	return r.Quiet
}

// caps reports whether a cap holds for pushes under r.
func (l *law) caps(r push.Rules) bool { return !r.Silent && l.capped(r.Category) }

// capped reports whether a cap holds for notifications of a category.
func (l *law) capped(category string) bool {
	return (l.perDay > 0 || len(l.category) > 0 && l.category[category] > 0) && (len(l.bypass) == 0 || !l.bypass[category])
}

// counts reports whether the app has any cap.
func (l *law) counts() bool { return l.perDay > 0 || len(l.category) > 0 }

// day returns the day of t in the app's time zone.
func (l *law) day(t time.Time) push.Day { return push.DayIn(t, l.zone) }

// until returns when the quiet time at now in a zone ends, and whether there is one. Its end is looked up for many devices.
func (l *law) until(now time.Time, zone *time.Location) (end time.Time, in bool) {
	if s, ok := l.ends.Load(zone); ok {
		if s := s.(span); !now.Before(s.from) && now.Before(s.to) {
			return s.to, true
		}
	}
	if end, in = l.quiet.Until(now.In(zone)); in {
		l.ends.Store(zone, span{now, end})
	}
	return end, in
}

// maxStrange bounds how many names that name no time zone are remembered, since devices may say anything.
const maxStrange = 4096

// zones finds time zones by name. The standard library reads files for that, so names are remembered.
type zones struct {
	mu      sync.RWMutex              // guards what follows
	named   map[string]*time.Location // one object a name, and as many as there are zones
	strange map[string]bool           // names of none
}

// find returns the zone that a device's attribute time_zone names, an IANA name or an offset like +08:00, or else other.
func (z *zones) find(name string, other *time.Location) *time.Location {
	if name == "" {
		return other
	}
	z.mu.RLock()
	loc, strange := z.named[name], z.strange[name]
	z.mu.RUnlock()
	switch {
	case loc != nil:
		return loc
	case strange:
		return other
	}
	loc = parseZone(name)
	z.mu.Lock()
	defer z.mu.Unlock()
	if loc == nil {
		if z.strange == nil || len(z.strange) >= maxStrange {
			z.strange = map[string]bool{}
		}
		z.strange[name] = true
		return other
	}
	if z.named == nil {
		z.named = map[string]*time.Location{}
	}
	if had := z.named[name]; had != nil {
		return had
	}
	z.named[name] = loc
	return loc
}

// parseZone returns the zone that name names, or nil.
func parseZone(name string) *time.Location {
	if name[0] == '+' || name[0] == '-' {
		t, err := time.Parse("15:04", name[1:])
		offset := t.Hour()*60*60 + t.Minute()*60
		if err != nil || len(name) != len("+08:00") || offset > 18*60*60 {
			return nil
		}
		if name[0] == '-' {
			offset = -offset
		}
		return time.FixedZone(name, offset)
	}
	if path.Clean(name) != name || name == "Local" { // other ways of writing a file's name, and the zone of this machine
		return nil
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	return loc
}
