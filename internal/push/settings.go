package push

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Settings are what an app has changed of the switches of Catalogue, by key. A missing key has its default; nil is all
// defaults.
type Settings map[string]string

// MaxSetting is the most bytes of a setting's value.
const MaxSetting = 16 << 10

// A Setting is one switch of an app: its key, default and meaning, and how its value is checked.
type Setting struct {
	Key     string
	Default string
	Doc     string
	check   func(string) error
}

// Keys of settings that code reads.
const (
	SettingUmengRequireTicker   = "umeng.require_ticker"
	SettingUmengPayloadLimit    = "umeng.payload_limit"
	SettingMaxTTL               = "push.max_ttl"
	SettingInboxLimit           = "inbox.limit"
	SettingIPAllow              = "ip_allow"
	SettingRegistrationsAddress = "device.registrations_per_minute"
	SettingDisabled             = "disabled"
	SettingAdoptPrevious        = "adopt_previous_id"
	SettingTags                 = "tags.limit"
	SettingDeviceTags           = "tags.per_device"
	SettingDeviceNewTags        = "tags.made_by_devices"
	SettingFileBytes            = "files.bytes"
	SettingDeviceAliases        = "aliases.per_device"
	SettingAliasDevices         = "aliases.devices"
	SettingFileKeep             = "files.keep"
	SettingCap                  = "cap.per_day"
	SettingCapCategories        = "cap.categories"
	SettingCapBypass            = "cap.bypass"
	SettingQuietHours           = "quiet.hours"
	SettingQuietDefault         = "quiet.default"
	SettingSchedules            = "schedules.unfinished"
	SettingSchedulesAhead       = "schedules.days_ahead"
)

// Catalogue lists every setting, ordered by key. It is what `carillon app set --help` and docs/settings.md show.
func Catalogue() []Setting {
	return []Setting{
		{SettingAdoptPrevious, "proof", "how a device becomes the imported device of its previous_id: proof (it shows previous_proof) or open (the first to name it)", oneOfText("proof", "open")},
		{"aliyun.all_messages_per_10_minutes", "30", "Alibaba messages to all devices in ten minutes; 0 is no limit", intRange(0, 1_000_000_000)},
		{"aliyun.all_notices_per_10_minutes", "10", "Alibaba notices to all devices in ten minutes; 0 is no limit", intRange(0, 1_000_000_000)},
		{SettingAliasDevices, "128", "devices that one alias may have", intRange(1, 100_000)},
		{SettingDeviceAliases, "128", "aliases that one device may have", intRange(1, 1000)},
		{"baidu.ios_message_limit", "256", "bytes of a Baidu message for iOS; for Baidu's API, which comes later", intRange(1, 4096)},
		{SettingCapBypass, "", "categories that no cap holds for, separated by commas", categories},
		{SettingCapCategories, "", "caps of categories beside cap.per_day, as news=3,ads=1", categoryCaps},
		{SettingCap, "0", "notifications that one device gets a day, in the app's time zone; what is above is dropped (capped); 0 is no limit", intRange(0, 1000)},
		{SettingRegistrationsAddress, "600", "device registrations a minute from one address; 0 is no limit", intRange(0, 1_000_000)},
		{SettingDisabled, "false", "an app that is switched off: its senders and devices are refused", boolean},
		{SettingFileBytes, "1073741824", "bytes of all uploaded files of an app, unzipped", intRange(1<<20, 1<<40)},
		{SettingFileKeep, "30d", "how long an uploaded file is kept", duration(time.Hour, 365*24*time.Hour)},
		{"getui.app_pushes_per_day", "100", "Getui pushes to an app or a tag a day; 0 is no limit", intRange(0, 1_000_000_000)},
		{"getui.app_pushes_per_minute", "5", "Getui pushes to an app or a tag a minute; 0 is no limit", intRange(0, 1_000_000_000)},
		{"getui.list_targets_per_day", "2000000", "targets of Getui list pushes a day; 0 is no limit", intRange(0, 1_000_000_000)},
		{"getui.session_by_ip", "true", "accept Getui clients that never send their token by address; for Getui's API, which comes later", boolean},
		{SettingInboxLimit, "500", "direct messages that wait for one device; the oldest gives way", intRange(1, 100_000)},
		{SettingIPAllow, "", "addresses and networks (CIDR) that may send, separated by commas; empty is everybody", prefixes},
		{SettingMaxTTL, "30d", "greatest time to live of a push", duration(time.Minute, 30*24*time.Hour)},
		{SettingQuietDefault, "hold", "what a push that does not say it does in quiet hours: hold (until they end), drop, or ignore", oneOfText("hold", "drop", "ignore")},
		{SettingQuietHours, "", "when notifications wait, as 22:00-08:00 in the device's time zone, or the app's where the device has none; empty is never", optional(quietHours)},
		{"rest.broadcasts_per_day", "0", "pushes to all devices by native REST a day; 0 is no limit", intRange(0, 1_000_000_000)},
		{"rest.bulk_pushes_per_minute", "0", "pushes to all devices, an expression or a file by native REST a minute; 0 is no limit", intRange(0, 1_000_000_000)},
		{"rest.pushes_per_minute", "0", "pushes by native REST a minute; 0 is no limit", intRange(0, 1_000_000_000)},
		{SettingSchedulesAhead, "180", "days that a recurring push may be ahead", intRange(1, MaxOccurrences)},
		{SettingSchedules, "100", "schedules of an app, once or recurring, that are not finished", intRange(1, 100_000)},
		{SettingTags, "10000", "tags of an app", intRange(1, 1_000_000)},
		{SettingDeviceNewTags, "true", "whether a device may carry a tag that the app does not have yet; else senders make tags, and a device carries those there are", boolean},
		{SettingDeviceTags, "1000", "tags that one device may carry", intRange(1, 1000)},
		{"umeng.broadcasts_per_day", "10", "Umeng broadcasts a day; 0 is no limit", intRange(0, 1_000_000_000)},
		{"umeng.file_sends_per_hour", "300", "Umeng filecasts, and customizedcasts with a file, an hour; 0 is no limit", intRange(0, 1_000_000_000)},
		{"umeng.groupcasts_per_minute", "5", "Umeng groupcasts a minute; 0 is no limit", intRange(0, 1_000_000_000)},
		{SettingUmengPayloadLimit, "", "bytes of an Umeng payload; empty is the service's own limit (Android 1840, iOS 2012, HarmonyOS 2048)", optional(intRange(1, 4096))},
		{SettingUmengRequireTicker, "true", "refuse an Umeng Android notification without ticker (error 1008)", boolean},
	}
}

// defaults are those of Catalogue, by key.
var defaults = func() map[string]string {
	all := map[string]string{}
	for _, c := range Catalogue() {
		all[c.Key] = c.Default
	}
	return all
}()

// Get returns the value of key: what s says, else the default, else "" for a key that is not in Catalogue.
func (s Settings) Get(key string) string {
	if v, ok := s[key]; ok {
		return v
	}
	return defaults[key]
}

// Bool returns the value of key as a boolean.
func (s Settings) Bool(key string) bool { return s.Get(key) == "true" }

// Int returns the value of key as a number; 0 if it is empty.
func (s Settings) Int(key string) int {
	n, _ := strconv.Atoi(s.Get(key)) // Validate has seen it
	return n
}

// Duration returns the value of key as a duration; 0 if it is empty.
func (s Settings) Duration(key string) time.Duration {
	d, _ := ParseDuration(s.Get(key)) // Validate has seen it
	return d
}

// Validate reports a key that is not in Catalogue, or a value that the setting does not take; Field is the key.
func (s Settings) Validate() error {
	all := Catalogue()
	for k, v := range s {
		i := slices.IndexFunc(all, func(c Setting) bool { return c.Key == k })
		if i < 0 {
			return invalid(k, "no such setting")
		}
		if len(v) > MaxSetting {
			return invalid(k, "is more than 16384 bytes")
		}
		if err := all[i].check(v); err != nil {
			return Within(k, err)
		}
	}
	return nil
}

func boolean(v string) error {
	if v != "true" && v != "false" {
		return invalid("", "is true or false")
	}
	return nil
}

func intRange(lo, hi int) func(string) error {
	return func(v string) error {
		if n, err := strconv.Atoi(v); err != nil || n < lo || n > hi {
			return invalid("", "is a number from "+strconv.Itoa(lo)+" to "+strconv.Itoa(hi))
		}
		return nil
	}
}

func duration(lo, hi time.Duration) func(string) error {
	return func(v string) error {
		if d, err := ParseDuration(v); err != nil || d < lo || d > hi {
			return invalid("", "is a duration from "+FormatDuration(lo)+" to "+FormatDuration(hi))
		}
		return nil
	}
}

func optional(check func(string) error) func(string) error {
	return func(v string) error {
		if v == "" {
			return nil
		}
		return check(v)
	}
}

func oneOfText(all ...string) func(string) error {
	return func(v string) error {
		if !slices.Contains(all, v) {
			return invalid("", "is one of "+strings.Join(all, ", "))
		}
		return nil
	}
}

func prefixes(v string) error {
	if _, err := ParsePrefixes(v); err != nil {
		return invalid("", "is a list of addresses or networks")
	}
	return nil
}

// ParsePrefixes reads addresses and networks separated by commas or spaces: "10.0.0.0/8, ::1". Empty is none.
func ParsePrefixes(v string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, f := range strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' }) {
		if a, err := netip.ParseAddr(f); err == nil {
			all = append(all, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(f)
		if err != nil {
			return nil, err
		}
		all = append(all, p.Masked())
	}
	return all, nil
}
