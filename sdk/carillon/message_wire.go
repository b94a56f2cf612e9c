package carillon

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A PushRequest asks for a message to be sent.
type PushRequest struct {
	Audience Audience `json:"audience,omitzero"` // may be left out of a push that is Open
	Message  Message  `json:"message"`
	Policy   Policy   `json:"policy,omitzero"`
	Open     bool     `json:"open,omitempty"` // targets are added with AddTargets until ClosePush
}

// An Audience says whom a push is for: exactly one of its forms, of which Platforms is none.
type Audience struct {
	All       bool            `json:"all,omitempty"`
	Devices   []string        `json:"devices,omitempty"` // device ids or channel ids, at most 1,000
	Aliases   *Aliases        `json:"aliases,omitempty"`
	Accounts  []string        `json:"accounts,omitempty"`
	Where     json.RawMessage `json:"where,omitempty"` // an expression: {"and": [{"tag": "vip"}, …]}
	File      string          `json:"file,omitempty"`  // an uploaded list
	Of        json.RawMessage `json:"of,omitempty"`    // of what File is: "devices" or {"alias": type}
	Platforms []string        `json:"platforms,omitempty"`
}

// Aliases are aliases of one type. An untyped alias has type "".
type Aliases struct {
	Type   string   `json:"type"`
	Values []string `json:"values"`
}

// A Message is what a device gets: at least one of Notification, Data and Template.
type Message struct {
	Notification *Notification                `json:"notification,omitempty"`
	Data         json.RawMessage              `json:"data,omitempty"`     // any JSON value, passed through
	Template     *TemplateUse                 `json:"template,omitempty"` // gives the texts; Notification the rest
	Extras       map[string]json.RawMessage   `json:"extras,omitempty"`   // your own keys, beside the others
	APNS         json.RawMessage              `json:"apns,omitempty"`
	Vendors      map[string]json.RawMessage   `json:"vendors,omitempty"`
	Personal     map[string]map[string]string `json:"personal,omitempty"` // values of a template by device or alias
	Launch       bool                         `json:"launch,omitempty"`   // start the app when this arrives, without a touch

	// Offline is what vendor channels show instead, while the device is away; Platforms what the devices of a platform get
	// instead. Servers that cannot do so yet refuse them by name.
	Offline   *Notification       `json:"offline,omitempty"`
	Platforms map[string]*Variant `json:"platforms,omitempty"`
}

// A Variant is what the devices of one platform get in the place of the parts of the same names.
type Variant struct {
	Notification *Notification              `json:"notification,omitempty"`
	Data         json.RawMessage            `json:"data,omitempty"`
	Extras       map[string]json.RawMessage `json:"extras,omitempty"`
}

// A TemplateUse names a template and gives values to its placeholders.
type TemplateUse struct {
	Name   string            `json:"name"`
	Values map[string]string `json:"values,omitempty"`
}

// A Notification is shown to a person. Every field is optional but that one of Title, Body and Ticker is needed; nil and
// zero leave it to the device.
type Notification struct {
	Title    string   `json:"title,omitempty"`
	Subtitle string   `json:"subtitle,omitempty"`
	Body     string   `json:"body,omitempty"`
	Ticker   string   `json:"ticker,omitempty"` // the status bar's line
	BigTitle string   `json:"big_title,omitempty"`
	BigText  string   `json:"big_text,omitempty"`
	Lines    []string `json:"lines,omitempty"`

	Icon      string `json:"icon,omitempty"`       // resource name
	LargeIcon string `json:"large_icon,omitempty"` // resource name
	IconURL   string `json:"icon_url,omitempty"`   // wins over LargeIcon
	Image     string `json:"image,omitempty"`      // URL of the big picture
	Banner    string `json:"banner,omitempty"`     // URL of a picture instead of text
	Style     int    `json:"style,omitempty"`      // id of a style that the app registered
	Layout    string `json:"layout,omitempty"`     // big_text, big_image, lines or banner

	Sound     *string `json:"sound,omitempty"` // resource name; "" is silent
	Vibrate   *bool   `json:"vibrate,omitempty"`
	Lights    *bool   `json:"lights,omitempty"`
	Ring      *bool   `json:"ring,omitempty"`
	Clearable *bool   `json:"clearable,omitempty"`
	Priority  *int    `json:"priority,omitempty"` // -2 to 2
	Repeat    *Repeat `json:"repeat,omitempty"`

	ChannelID   string `json:"channel_id,omitempty"` // Android notification channel
	ChannelName string `json:"channel_name,omitempty"`
	Importance  *int   `json:"importance,omitempty"` // 0 (silent) to 4
	NotifyID    string `json:"notify_id,omitempty"`  // the same id replaces what is shown
	ThreadID    string `json:"thread_id,omitempty"`
	GroupID     string `json:"group_id,omitempty"`
	Slot        string `json:"slot,omitempty"` // HarmonyOS
	InApp       *bool  `json:"inapp,omitempty"`

	Badge     *Badge     `json:"badge,omitempty"`
	Click     *Click     `json:"click,omitempty"`
	Download  *Download  `json:"download,omitempty"` // with the click action download
	ShowFrom  *time.Time `json:"show_from,omitempty"`
	ShowUntil *time.Time `json:"show_until,omitempty"`
}

// A Repeat shows a notification again while nobody looked: up to Times, over Within.
type Repeat struct {
	Times  int      `json:"times"`
	Within Duration `json:"within,omitzero"`
}

// A Badge sets the number on the app's icon, or adds to it: exactly one of the two.
type Badge struct {
	Set   *int   `json:"set,omitempty"`
	Add   *int   `json:"add,omitempty"`
	Class string `json:"class,omitempty"` // the launcher activity that carries it
}

// A Click says what touching the notification does.
type Click struct {
	Action   string          `json:"action"` // app, url, activity, intent, custom, download or none
	URL      string          `json:"url,omitempty"`
	Activity string          `json:"activity,omitempty"`
	Intent   string          `json:"intent,omitempty"`
	Custom   json.RawMessage `json:"custom,omitempty"`
}

// A Download is what the click action download offers.
type Download struct {
	Name    string   `json:"name,omitempty"`
	Icon    string   `json:"icon,omitempty"`
	Title   string   `json:"title,omitempty"`
	Body    string   `json:"body,omitempty"`
	Image   string   `json:"image,omitempty"`
	Buttons []string `json:"buttons,omitempty"`
	Install bool     `json:"install,omitempty"`
	Start   bool     `json:"start,omitempty"`
}

// A Policy says when, how fast, until when and by which ways a push is sent. The zero Policy means now, unpaced, kept for
// 72 hours, by every way.
type Policy struct {
	StartAt      *time.Time `json:"start_at,omitempty"`
	TTL          Duration   `json:"ttl,omitzero"`
	ExpireAt     *time.Time `json:"expire_at,omitempty"` // instead of TTL
	Recurring    *Recurring `json:"recurring,omitempty"`
	Rate         int        `json:"rate,omitempty"`          // devices a second; 0 means no limit
	StoreOffline *bool      `json:"store_offline,omitempty"` // nil means true
	Network      string     `json:"network,omitempty"`       // any, wifi or mobile
	Channels     string     `json:"channels,omitempty"`      // auto, own, vendor or own_first
	Deadline     Duration   `json:"deadline,omitzero"`       // of own_first
	Only         []string   `json:"only,omitempty"`          // names of channels
	APNSEnv      string     `json:"apns_env,omitempty"`      // production or sandbox
	Test         bool       `json:"test,omitempty"`          // test devices only
	CollapseID   string     `json:"collapse_id,omitempty"`
	Quiet        string     `json:"quiet,omitempty"` // hold, drop or ignore
	SMS          *SMS       `json:"sms,omitempty"`
	Topic        string     `json:"topic,omitempty"`
	Group        string     `json:"group,omitempty"`
	Name         string     `json:"name,omitempty"`
	Description  string     `json:"description,omitempty"`
	Category     string     `json:"category,omitempty"`
}

// Recurring sends a push again and again, at a time of day in the app's time zone.
type Recurring struct {
	Every string    `json:"every"` // day, week or month
	On    []int     `json:"on,omitempty"`
	At    string    `json:"at"` // HH:MM:SS
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

// SMS is the text message for devices that a push has not reached.
type SMS struct {
	Template  string            `json:"template"`
	Signature string            `json:"signature,omitempty"`
	Values    map[string]string `json:"values,omitempty"`
	After     Duration          `json:"after"`
	Unless    string            `json:"unless,omitempty"` // delivered or opened
	Max       int               `json:"max,omitempty"`
}

// A Duration is a span of time as the API writes it: "90s", "72h", "7d". The zero Duration means not given.
type Duration time.Duration

// MarshalText writes d as time.Duration does: "72h0m0s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration reads, and whole days: "7d".
func (d *Duration) UnmarshalText(b []byte) error {
	s := string(b)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return fmt.Errorf("%q is not a duration like 90s, 72h or 7d", s)
		}
		*d = Duration(n) * Duration(24*time.Hour)
		return nil
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration like 90s, 72h or 7d", s)
	}
	*d = Duration(v)
	return nil
}
