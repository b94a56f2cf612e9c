package admission_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/push"
)

var night = push.Settings{push.SettingQuietHours: "22:00-08:00"}

func TestQuietHours(t *testing.T) {
	// at returns a time of day in Shanghai (UTC+8).
	at := func(hour, minute int) time.Time {
		return time.Date(2026, 11, 25, hour, minute, 0, 0, time.FixedZone("", 8*60*60))
	}
	dropping := push.Settings{push.SettingQuietHours: "22:00-08:00", push.SettingQuietDefault: "drop"}
	held := func(until time.Time) push.Verdict { return push.Verdict{Held: true, Until: until} }
	for _, tt := range []struct {
		name     string
		settings push.Settings
		zone     string // of the device
		now      time.Time
		rules    push.Rules
		want     push.Verdict
	}{
		{"an app without quiet hours", nil, "", at(23, 0), push.Rules{}, push.Verdict{}},
		{"in the evening", night, "", at(22, 0), push.Rules{}, held(at(32, 0))},
		{"in the morning", night, "", at(7, 59), push.Rules{}, held(at(8, 0))},
		{"when they have ended", night, "", at(8, 0), push.Rules{}, push.Verdict{}},
		{"before they begin", night, "", at(21, 59), push.Rules{}, push.Verdict{}},
		{"a push that is dropped", night, "", at(23, 0), push.Rules{Quiet: "drop"}, push.Verdict{Drop: push.MarkQuiet}},
		{"a push that does not care", night, "", at(23, 0), push.Rules{Quiet: "ignore"}, push.Verdict{}},
		{"a silent push", night, "", at(23, 0), push.Rules{Silent: true}, push.Verdict{}},
		{"an app that drops", dropping, "", at(23, 0), push.Rules{}, push.Verdict{Drop: push.MarkQuiet}},
		{"an app that drops, and a push that waits", dropping, "", at(23, 0), push.Rules{Quiet: "hold"}, held(at(32, 0))},
		{"a device in London, where it is afternoon", night, "Europe/London", at(23, 0), push.Rules{}, push.Verdict{}},
		{"a device in London, where it is night", night, "Europe/London", at(12, 0), push.Rules{}, held(at(16, 0))},
		{"a device that says an offset", night, "-03:30", at(12, 0), push.Rules{}, held(at(19, 30))},
		{"a device far in the east", night, "+14:00", at(12, 0), push.Rules{}, push.Verdict{}},
		{"a device that says nonsense", night, "Mars/Olympus", at(23, 0), push.Rules{}, held(at(32, 0))},
		{"a device that says an impossible offset", night, "+25:00", at(23, 0), push.Rules{}, held(at(32, 0))},
		{"a device that says a path", night, "../../etc/passwd", at(23, 0), push.Rules{}, held(at(32, 0))},
		{"a device that writes a zone as nobody does", night, "Europe//London", at(23, 0), push.Rules{}, held(at(32, 0))},
		{"a device in our own zone", night, "Local", at(23, 0), push.Rules{}, held(at(32, 0))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(tt.settings)
			h.zones[5] = tt.zone
			g := h.gate(t, tt.now)
			same := cmp.Comparer(time.Time.Equal)
			for range 2 { // the second time from what is remembered
				if got := g.Admit(tt.now, 1, 5, 1, tt.rules); !cmp.Equal(got, tt.want, same) {
					t.Errorf("got %+v, want %+v", got, tt.want)
				}
				if got := g.Peek(tt.now, 1, 5, 1, tt.rules); !cmp.Equal(got, tt.want, same) {
					t.Errorf("peek: got %+v, want %+v", got, tt.want)
				}
			}
			if g.Idle(1, tt.rules) && tt.want != (push.Verdict{}) {
				t.Error("it says that it lets everything through")
			}
		})
	}
}

// On 2026-11-01 New York's clocks go from 02:00 back to 01:00, on 2026-03-08 from 02:00 on to 03:00.
func TestQuietHoursWhenClocksChange(t *testing.T) {
	ny, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, hours string
		now, until  time.Time // until is zero if it is not quiet
	}{
		{"a night that is an hour longer", "22:00-08:00", time.Date(2026, 10, 31, 23, 0, 0, 0, ny), time.Date(2026, 11, 1, 13, 0, 0, 0, time.UTC)},
		{"a night that is an hour shorter", "22:00-08:00", time.Date(2026, 3, 7, 23, 0, 0, 0, ny), time.Date(2026, 3, 8, 12, 0, 0, 0, time.UTC)},
		{"an end that does not exist", "22:00-02:30", time.Date(2026, 3, 8, 1, 0, 0, 0, ny), time.Date(2026, 3, 8, 7, 0, 0, 0, time.UTC)},
		{"an end that comes twice, before the first", "22:00-01:30", time.Date(2026, 11, 1, 5, 15, 0, 0, time.UTC), time.Date(2026, 11, 1, 5, 30, 0, 0, time.UTC)},
		{"an end that comes twice, after the first", "22:00-01:30", time.Date(2026, 11, 1, 5, 45, 0, 0, time.UTC), time.Time{}},
		{"an end that comes twice, before the second", "22:00-01:30", time.Date(2026, 11, 1, 6, 15, 0, 0, time.UTC), time.Date(2026, 11, 1, 6, 30, 0, 0, time.UTC)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(push.Settings{push.SettingQuietHours: tt.hours})
			h.zones[0] = "America/New_York"
			got := h.gate(t, tt.now).Admit(tt.now, 1, 0, 1, push.Rules{})
			if got.Held != !tt.until.IsZero() || !got.Until.Equal(tt.until) {
				t.Errorf("got %+v, want until %v", got, tt.until)
			}
		})
	}
}

func TestNetworks(t *testing.T) {
	for _, tt := range []struct {
		name     string
		is, want push.Network
		held     bool
	}{
		{"no wish", push.Mobile, "", false},
		{"any will do", push.Mobile, push.AnyNetwork, false},
		{"the wish fulfilled", push.WiFi, push.WiFi, false},
		{"the other one", push.Mobile, push.WiFi, true},
		{"the other one, the other way round", push.WiFi, push.Mobile, true},
		{"a device that has never said", "", push.WiFi, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(nil)
			h.networks[3] = tt.is
			got := h.gate(t, noon).Admit(noon, 1, 3, 1, push.Rules{Network: tt.want, Silent: true})
			if want := (push.Verdict{Held: tt.held}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestIdle(t *testing.T) {
	capped := push.Settings{push.SettingCapCategories: "news=1", push.SettingCapBypass: "alarm"}
	daily := push.Settings{push.SettingCap: "3", push.SettingCapBypass: "alarm, otp"}
	for _, tt := range []struct {
		name     string
		settings push.Settings
		app      push.AppID
		rules    push.Rules
		want     bool
	}{
		{"an app without rules", nil, 1, push.Rules{Category: "news", Quiet: "hold"}, true},
		{"an app that is not there", nil, 2, push.Rules{}, true},
		{"a network", nil, 1, push.Rules{Network: push.WiFi}, false},
		{"a network, silently", nil, 1, push.Rules{Network: push.WiFi, Silent: true}, false},
		{"quiet hours", night, 1, push.Rules{}, false},
		{"quiet hours, silently", night, 1, push.Rules{Silent: true}, true},
		{"quiet hours that are ignored", night, 1, push.Rules{Quiet: "ignore"}, true},
		{"a category with a cap", capped, 1, push.Rules{Category: "news"}, false},
		{"a category without", capped, 1, push.Rules{Category: "ads"}, true},
		{"no category", capped, 1, push.Rules{}, true},
		{"a cap", daily, 1, push.Rules{}, false},
		{"a cap, silently", daily, 1, push.Rules{Silent: true}, true},
		{"a category that no cap holds for", daily, 1, push.Rules{Category: "otp"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := newHouse(tt.settings).gate(t, noon).Idle(tt.app, tt.rules); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestWhatWasHeldIsReleased(t *testing.T) {
	at := time.Date(2026, 11, 25, 22, 30, 0, 0, time.FixedZone("", 8*60*60))
	h := newHouse(night)
	h.zones[2] = "+07:00" // there it is not night yet
	h.zones[3] = "+09:00" // there the night ends earlier
	h.networks[4] = push.Mobile
	g := h.gate(t, at)
	for _, o := range []push.Ordinal{1, 1, 2, 3} {
		g.Admit(at, 1, o, 1, push.Rules{})
		g.Admit(at, 1, o, 2, push.Rules{}) // for two pushes, and yielded once
	}
	g.Admit(at, 1, 4, 1, push.Rules{Silent: true, Network: push.WiFi})
	g.Peek(at, 1, 5, 1, push.Rules{}) // held, and not remembered
	for _, tt := range []struct {
		name  string
		after time.Duration
		do    func()
		want  []push.Ordinal
	}{
		{"at once", 0, nil, nil},
		{"before the first night ends", 8*time.Hour + 29*time.Minute, nil, nil},
		{"when it ends in the east", 8*time.Hour + 30*time.Minute, nil, []push.Ordinal{3}},
		{"when it ends here", 9*time.Hour + 30*time.Minute, nil, []push.Ordinal{1}},
		{"again", 10 * time.Hour, nil, nil},
		{"when another device tells its network", 10 * time.Hour, func() { g.Networked(1, 1) }, nil},
		{"when the device tells its network", 10 * time.Hour, func() { g.Networked(1, 4) }, []push.Ordinal{4}},
		{"when it tells it again", 10 * time.Hour, func() { g.Networked(1, 4); g.Networked(9, 4) }, nil},
	} {
		if tt.do != nil {
			tt.do()
		}
		if got := released(g, at.Add(tt.after)); !cmp.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestOtherSettingsReleaseWhatTheOldOnesHeld(t *testing.T) {
	at := time.Date(2026, 11, 25, 22, 30, 0, 0, time.FixedZone("", 8*60*60))
	h := newHouse(night)
	g := h.gate(t, at)
	g.Admit(at, 1, 7, 1, push.Rules{})
	if got := released(g, at); got != nil {
		t.Fatalf("got %v, want nothing yet", got)
	}
	h.set(push.Settings{push.SettingQuietHours: "23:00-08:00"})
	if got := released(g, at); !cmp.Equal(got, []push.Ordinal{7}) {
		t.Errorf("got %v, want the device", got)
	}
	if got := g.Admit(at, 1, 7, 1, push.Rules{}); got != (push.Verdict{}) {
		t.Errorf("got %+v, want it let through", got)
	}
	h.networks[8] = push.Mobile
	g.Admit(at, 1, 8, 1, push.Rules{Network: push.WiFi})
	delete(h.apps, 1)
	if got := released(g, at); !cmp.Equal(got, []push.Ordinal{8}) {
		t.Errorf("got %v, want what was held of an app that is gone", got)
	}
}

// Devices may say anything, and what they say is remembered in bounds.
func TestManyStrangeZones(t *testing.T) {
	h := newHouse(night)
	g := h.gate(t, noon)
	for i := range 10_000 {
		h.zones[0] = "Nowhere/" + strings.Repeat("x", i%50) + fmt.Sprint(i)
		if got := g.Admit(noon, 1, 0, 1, push.Rules{}); got.Held {
			t.Fatalf("zone %q: got %+v, want the app's noon", h.zones[0], got)
		}
	}
}
