package umeng

import (
	"encoding/json"
	"maps"
)

// A DisplayType says what the app's device does with a payload: show it, or hand it to the app.
type DisplayType string

// The display types. DisplayScene is of HarmonyOS and of unicasts only.
const (
	DisplayNotification DisplayType = "notification"
	DisplayMessage      DisplayType = "message"
	DisplayScene        DisplayType = "scene"
)

// AfterOpen says what a tap on a notification does.
type AfterOpen string

// The actions. Absent means OpenApp; OpenAbility is of HarmonyOS only.
const (
	OpenApp      AfterOpen = "go_app"
	OpenURL      AfterOpen = "go_url"
	OpenActivity AfterOpen = "go_activity"
	OpenCustom   AfterOpen = "go_custom"
	OpenAbility  AfterOpen = "go_ability"
)

// A Payload is what reaches the app. Android and HarmonyOS use DisplayType, Body and Extra, iOS uses APS and Custom; a
// sender fills the one or the other.
//
// Source: protocols/umeng.md sections 5.3 to 5.5.
type Payload struct {
	DisplayType  DisplayType
	Body         *Body
	Extra        map[string]any  // developer's key-values; numbers are read as json.Number
	ChannelsBody json.RawMessage // HarmonyOS scene: an object, {"harmony": {"type": …, "payload": …}}

	APS    *APS           // iOS
	Custom map[string]any // iOS: keys beside aps, delivered to the app; "d" and "p" are reserved

	// Raw is the whole payload as it was received, compact. If it is set it is what MarshalJSON writes, so set it to nil
	// before changing the payload of a received request.
	Raw json.RawMessage
}

// MarshalJSON writes p: Raw if it is set, else the fields.
func (p Payload) MarshalJSON() ([]byte, error) {
	if p.Raw != nil {
		return p.Raw, nil
	}
	m := make(map[string]any, len(p.Custom)+4)
	maps.Copy(m, p.Custom)
	if p.DisplayType != "" {
		m["display_type"] = p.DisplayType
	}
	if p.Body != nil {
		m["body"] = p.Body
	}
	if len(p.Extra) > 0 {
		m["extra"] = p.Extra
	}
	if p.ChannelsBody != nil {
		m["channels_body"] = p.ChannelsBody
	}
	if p.APS != nil {
		m["aps"] = p.APS
	}
	return encodeJSON(m)
}

// Size returns the bytes that count against the payload limit: the UTF-8 length of the compact JSON with no character
// escaped that need not be, so that the verdict does not depend on a sender's escaping. The error is that of encoding a
// value in Extra or Custom that is not JSON.
func (p *Payload) Size() (int, error) {
	b, err := p.MarshalJSON()
	if err != nil {
		return 0, err
	}
	return len(compact(b)), nil
}

// A Body is what an Android or HarmonyOS payload shows or hands over.
//
// Source: protocols/umeng.md sections 5.3 and 5.5.
type Body struct {
	Ticker      string          `json:"ticker,omitempty"` // status-bar text
	Title       string          `json:"title,omitempty"`
	Text        string          `json:"text,omitempty"`
	Icon        string          `json:"icon,omitempty"`         // drawable id for the status bar
	LargeIcon   string          `json:"largeIcon,omitempty"`    // Android: drawable id
	LargeIconOH string          `json:"large_icon,omitempty"`   // HarmonyOS: the same
	Img         string          `json:"img,omitempty"`          // URL of the large icon, wins over LargeIcon
	ExpandImage string          `json:"expand_image,omitempty"` // URL of a big picture
	BigBody     string          `json:"big_body,omitempty"`     // long text; phones show about 120 characters
	Sound       string          `json:"sound,omitempty"`        // raw resource name
	BuilderID   int             `json:"builder_id,omitempty"`   // notification style, 0 is the default one
	SetBadge    *int            `json:"set_badge,omitempty"`    // wins over AddBadge
	AddBadge    *int            `json:"add_badge,omitempty"`    // also read from the older key badge
	RePop       int             `json:"re_pop,omitempty"`       // 1: show again
	PlayVibrate Flag            `json:"play_vibrate,omitempty"` // this and the next two: absent means true
	PlayLights  Flag            `json:"play_lights,omitempty"`
	PlaySound   Flag            `json:"play_sound,omitempty"`
	AfterOpen   AfterOpen       `json:"after_open,omitempty"`
	URL         string          `json:"url,omitempty"`      // for OpenURL
	Activity    string          `json:"activity,omitempty"` // for OpenActivity: class name
	URI         string          `json:"uri,omitempty"`      // HarmonyOS, for OpenAbility: this or Action or both
	Action      string          `json:"action,omitempty"`
	Custom      json.RawMessage `json:"custom,omitempty"` // a string or an object: for a message, and for OpenCustom
}

// CustomText returns Custom as text: a JSON string's value, or any other value as JSON. It is "" if Custom is absent.
func (b *Body) CustomText() string {
	var s string
	if json.Unmarshal(b.Custom, &s) == nil {
		return s
	}
	return string(b.Custom)
}

// An APS is Apple's own dictionary, which passes through unchanged.
//
// Source: protocols/umeng.md section 5.4.
type APS struct {
	Alert             *Alert
	Badge             *string // "5"; "+1" and "-1" are relative; "" clears
	Sound             string  // "" also for a sound that is an object, which is in Raw
	ContentAvailable  bool    // a silent push; it needs no Alert
	MutableContent    bool
	Category          string
	ThreadID          string
	InterruptionLevel string // passive, active, time-sensitive or critical

	// Raw is the whole dictionary, with keys that have no field here. If it is set it is what MarshalJSON writes; a sender who
	// needs such keys sets it and leaves the fields alone.
	Raw json.RawMessage
}

// An Alert is what an iOS notification shows. Title and Subtitle may be empty; other keys of the object form, such as
// loc-key, are in APS.Raw.
type Alert struct {
	Title    string `json:"title,omitempty"`
	Subtitle string `json:"subtitle,omitempty"`
	Body     string `json:"body,omitempty"`
}

// MarshalJSON writes a as a plain string if it has a body only, else as an object.
func (a Alert) MarshalJSON() ([]byte, error) {
	if a.Title == "" && a.Subtitle == "" {
		return encodeJSON(a.Body)
	}
	type object Alert // without this method
	return encodeJSON(object(a))
}

// MarshalJSON writes a: Raw if it is set, else the fields.
func (a APS) MarshalJSON() ([]byte, error) {
	if a.Raw != nil {
		return a.Raw, nil
	}
	one := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	var badge any
	if a.Badge != nil {
		badge = *a.Badge
		if n, ok := parseInt(*a.Badge); ok && (*a.Badge)[0] != '+' && (*a.Badge)[0] != '-' {
			badge = n // generations before C know numbers only
		}
	}
	return encodeJSON(struct {
		Alert             *Alert `json:"alert,omitempty"`
		Badge             any    `json:"badge,omitempty"`
		Sound             string `json:"sound,omitempty"`
		ContentAvailable  int    `json:"content-available,omitempty"`
		MutableContent    int    `json:"mutable-content,omitempty"`
		Category          string `json:"category,omitempty"`
		ThreadID          string `json:"thread-id,omitempty"`
		InterruptionLevel string `json:"interruption-level,omitempty"`
	}{
		a.Alert, badge, a.Sound, one(a.ContentAvailable), one(a.MutableContent), a.Category, a.ThreadID,
		a.InterruptionLevel,
	})
}
