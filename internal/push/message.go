package push

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
)

// A Message is what a device gets: a notification to show, data to pass through, or both; or a recall of an earlier
// message. It carries every notification field of the five services without loss: what has no field of its own is in
// APNS or Vendors as it came. Its JSON form is the one that native REST takes and that devices receive.
type Message struct {
	Notification *Notification              `json:"notification,omitempty"`
	Data         json.RawMessage            `json:"data,omitempty"`     // any JSON value, for the app
	Template     *TemplateUse               `json:"template,omitempty"` // gives the texts; a notification beside it the rest
	Extras       map[string]json.RawMessage `json:"extras,omitempty"`   // the developer's keys, beside either
	APNS         json.RawMessage            `json:"apns,omitempty"`     // the payload for iOS as it came: {"aps": {…}, …}
	Vendors      map[string]json.RawMessage `json:"vendors,omitempty"`  // hints by vendor channel: {"hms": {…}}

	Offline  *Notification                `json:"offline,omitempty"`   // what vendor channels show instead, while the device is away
	Variants map[Platform]*Variant        `json:"platforms,omitempty"` // what the devices of a platform get instead
	Launch   bool                         `json:"launch,omitempty"`    // start the app when this arrives, without a touch
	Personal map[string]map[string]string `json:"personal,omitempty"`  // template values by device or alias
	Recall   ID                           `json:"recall,omitempty"`    // the push whose message the device must withdraw
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

// A Notification is shown to a person. Its parts are embedded, so that its JSON form is flat. Every field is optional;
// nil and zero mean that the device's own default holds.
type Notification struct {
	Text
	Look
	Alert
	Placement
	Badge     *Badge     `json:"badge,omitempty"`
	Click     *Click     `json:"click,omitempty"`
	Download  *Download  `json:"download,omitempty"` // with click action download
	ShowFrom  *time.Time `json:"show_from,omitempty"`
	ShowUntil *time.Time `json:"show_until,omitempty"`
}

// Text is what a notification says.
type Text struct {
	Title    string   `json:"title,omitempty"`
	Subtitle string   `json:"subtitle,omitempty"`
	Body     string   `json:"body,omitempty"`
	Ticker   string   `json:"ticker,omitempty"`    // the status bar's line
	BigTitle string   `json:"big_title,omitempty"` // shown when expanded
	BigText  string   `json:"big_text,omitempty"`
	Lines    []string `json:"lines,omitempty"` // list style
}

// Look is how a notification looks.
type Look struct {
	Icon      string `json:"icon,omitempty"`       // resource name, status bar
	LargeIcon string `json:"large_icon,omitempty"` // resource name
	IconURL   string `json:"icon_url,omitempty"`   // http(s); wins over large_icon
	Image     string `json:"image,omitempty"`      // http(s); the big picture
	Banner    string `json:"banner,omitempty"`     // http(s); a picture instead of text
	Style     int    `json:"style,omitempty"`      // id of a style that the app registered
	Layout    string `json:"layout,omitempty"`     // "", big_text, big_image, lines, banner
}

// Alert is how a notification makes itself noticed.
type Alert struct {
	Sound     *string `json:"sound,omitempty"` // resource name; "" is silent
	Vibrate   *bool   `json:"vibrate,omitempty"`
	Lights    *bool   `json:"lights,omitempty"`
	Ring      *bool   `json:"ring,omitempty"`
	Clearable *bool   `json:"clearable,omitempty"`
	Priority  *int    `json:"priority,omitempty"` // -2 to 2
	Repeat    *Repeat `json:"repeat,omitempty"`   // show it again while nobody looked
}

// A Repeat shows a notification again: up to Times, over Within.
type Repeat struct {
	Times  int      `json:"times"`
	Within Duration `json:"within,omitempty"`
}

// Placement is where a notification goes among others.
type Placement struct {
	ChannelID   string `json:"channel_id,omitempty"` // Android notification channel
	ChannelName string `json:"channel_name,omitempty"`
	Importance  *int   `json:"importance,omitempty"` // of the channel, 0 (silent) to 4
	NotifyID    string `json:"notify_id,omitempty"`  // the same id replaces what is shown
	ThreadID    string `json:"thread_id,omitempty"`
	GroupID     string `json:"group_id,omitempty"`
	Slot        string `json:"slot,omitempty"`  // HarmonyOS notification slot
	InApp       *bool  `json:"inapp,omitempty"` // show inside the app where notifications are off
}

// A Badge sets the number on the app's icon, or adds to it. Exactly one of Set and Add is given.
type Badge struct {
	Set   *int   `json:"set,omitempty"`
	Add   *int   `json:"add,omitempty"`
	Class string `json:"class,omitempty"` // the launcher activity that carries it
}

// Click actions.
const (
	ClickApp      = "app"
	ClickURL      = "url"
	ClickActivity = "activity"
	ClickIntent   = "intent"
	ClickCustom   = "custom"
	ClickDownload = "download"
	ClickNone     = "none"
)

// A Click says what touching the notification does.
type Click struct {
	Action   string          `json:"action" enum:"app,url,activity,intent,custom,download,none"`
	URL      string          `json:"url,omitempty"`
	Activity string          `json:"activity,omitempty"` // class name of an activity, or a HarmonyOS ability's action
	Intent   string          `json:"intent,omitempty"`   // intent: URI, or a HarmonyOS want
	Custom   json.RawMessage `json:"custom,omitempty"`   // any JSON value, handed to the app
}

// A Download is what click action download offers: a dialog whose first button fetches the click's URL.
type Download struct {
	Name    string   `json:"name,omitempty"`
	Icon    string   `json:"icon,omitempty"`
	Title   string   `json:"title,omitempty"`
	Body    string   `json:"body,omitempty"`
	Image   string   `json:"image,omitempty"`
	Buttons []string `json:"buttons,omitempty"`
	Install bool     `json:"install,omitempty"` // when it has arrived
	Start   bool     `json:"start,omitempty"`   // when it is installed
}

// MaxMessage is the most bytes that the JSON form of a message may have.
const MaxMessage = 64 << 10

// Validate reports what is wrong with m. It does not know the limits of a service or a vendor.
func (m Message) Validate() error {
	if err := m.validateForm(); err != nil {
		return err
	}
	if err := texts(m); err != nil {
		return err
	}
	if err := m.validateRaw(); err != nil {
		return err
	}
	if m.Notification != nil {
		if m.Template == nil && m.Notification.Title == "" && m.Notification.Body == "" && m.Notification.Ticker == "" {
			return invalid("notification.title", "a notification needs a title, a body or a ticker")
		}
		if err := m.Notification.validate(); err != nil {
			return Within("notification", err)
		}
	}
	if err := m.validateOthers(); err != nil {
		return err
	}
	switch b, err := json.Marshal(m); {
	case err != nil: // a time that RFC 3339 does not know
		return invalid("", "has no JSON form")
	case len(b) > MaxMessage:
		return &Error{Kind: TooLarge, Msg: "is larger than " + strconv.Itoa(MaxMessage) + " bytes"}
	}
	return nil
}

// validateForm checks which parts m has.
func (m Message) validateForm() error {
	shown := m.Notification != nil || m.Template != nil
	switch {
	case m.Recall < 0:
		return invalid("recall", "is not a push")
	case m.Recall != 0 && (shown || m.Offline != nil || m.Variants != nil || m.Data != nil || m.Extras != nil || m.APNS != nil || m.Personal != nil):
		return invalid("recall", "stands alone")
	case m.Recall == 0 && !shown && len(m.Data) == 0:
		return invalid("", "needs one of notification, data, template")
	case m.Template != nil && m.Template.Name == "":
		return invalid("template.name", "is empty")
	case m.Template != nil && len(m.Template.Name) > MaxLabel:
		return invalid("template.name", "is more than 256 bytes")
	case m.Personal != nil && m.Template == nil:
		return invalid("personal", "goes with template")
	}
	for target := range m.Personal {
		if target == "" || len(target) > MaxTarget {
			return invalid("personal", "a name has 1 to 128 bytes")
		}
	}
	for vendor := range m.Vendors {
		if !identifier(vendor) || len(vendor) > MaxAttributeKey {
			return invalid("vendors", "a name has 1 to 64 letters, digits, '_', '-' and '.'")
		}
	}
	return nil
}

// validateOthers checks what some devices get instead.
func (m Message) validateOthers() error {
	if m.Offline != nil {
		if err := m.Offline.validate(); err != nil {
			return Within("offline", err)
		}
	}
	for p, v := range m.Variants {
		field := "platforms." + p.String()
		switch {
		case !p.Valid():
			return invalid("platforms", "is by android, ios, harmony or web")
		case v == nil:
			return invalid(field, "is empty")
		case v.Notification != nil:
			if err := v.Notification.validate(); err != nil {
				return Within(field+".notification", err)
			}
		}
		if err := raw(field+".data", v.Data); err != nil {
			return err
		}
		for _, k := range slices.Sorted(maps.Keys(v.Extras)) {
			if err := raw(field+".extras."+k, v.Extras[k]); err != nil {
				return err
			}
		}
	}
	return nil
}

// validateRaw checks what m carries as it came, the parts of a map in the order of their names.
func (m Message) validateRaw() error {
	if err := raw("data", m.Data); err != nil {
		return err
	}
	if err := rawObject("apns", m.APNS); err != nil {
		return err
	}
	for _, k := range slices.Sorted(maps.Keys(m.Extras)) {
		if err := raw("extras."+k, m.Extras[k]); err != nil {
			return err
		}
	}
	for _, k := range slices.Sorted(maps.Keys(m.Vendors)) {
		if !object(m.Vendors[k]) {
			return invalid("vendors."+k, "is not a JSON object")
		}
		if err := raw("vendors."+k, m.Vendors[k]); err != nil {
			return err
		}
	}
	return nil
}

func (n *Notification) validate() error {
	switch {
	case n.ShowFrom != nil && n.ShowUntil != nil && !n.ShowFrom.Before(*n.ShowUntil):
		return invalid("show_until", "is not after show_from")
	case n.Priority != nil && (*n.Priority < -2 || *n.Priority > 2):
		return invalid("priority", "is -2 to 2")
	case n.Importance != nil && (*n.Importance < 0 || *n.Importance > 4):
		return invalid("importance", "is 0 to 4")
	case n.Style < -math.MaxInt32 || n.Style > math.MaxInt32:
		return invalid("style", "does not fit 32 bits")
	case !oneOf(n.Layout, "", "big_text", "big_image", "lines", "banner"):
		return invalid("layout", "is big_text, big_image, lines or banner")
	case n.Repeat != nil && (n.Repeat.Times < 1 || n.Repeat.Times > math.MaxInt32):
		return invalid("repeat.times", "is at least 1 and fits 32 bits")
	}
	if n.Badge != nil {
		if err := n.Badge.validate(); err != nil {
			return Within("badge", err)
		}
	}
	if n.Click != nil {
		return Within("click", n.Click.validate())
	}
	return nil
}

// validate keeps badges within what devices count with.
func (b *Badge) validate() error {
	switch {
	case (b.Set == nil) == (b.Add == nil):
		return invalid("", "has exactly one of set and add")
	case b.Set != nil && (*b.Set < 0 || *b.Set > math.MaxInt32):
		return invalid("set", "is not negative and fits 32 bits")
	case b.Add != nil && (*b.Add < -math.MaxInt32 || *b.Add > math.MaxInt32):
		return invalid("add", "does not fit 32 bits")
	}
	return nil
}

func (c *Click) validate() error {
	need := func(field, v string) error {
		if v == "" {
			return invalid(field, "is needed by this action")
		}
		return nil
	}
	if err := raw("custom", c.Custom); err != nil {
		return err
	}
	switch c.Action {
	case ClickApp, ClickNone, ClickCustom:
		return nil
	case ClickURL, ClickDownload:
		return need("url", c.URL)
	case ClickActivity:
		return need("activity", c.Activity+c.URL)
	case ClickIntent:
		return need("intent", c.Intent)
	}
	return invalid("action", "is app, url, activity, intent, custom, download or none")
}

func object(b json.RawMessage) bool {
	return json.Valid(b) && len(b) > 0 && bytes.TrimLeft(b, " \t\r\n")[0] == '{'
}

func marshal(v any) ([]byte, error) { return json.Marshal(v) }

func unmarshalStrict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(v)
}
