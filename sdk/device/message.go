package device

import (
	"encoding/json"
	"time"
)

// A Message is what arrives on a device's inbox. Exactly one of two forms: something to show or to pass through, or a
// recall of an earlier message.
type Message struct {
	ID           string                     `json:"id"`      // decimal; the same in every copy
	Time         time.Time                  `json:"time"`    // when it was sent
	Expires      time.Time                  `json:"expires"` // not to be shown afterwards
	Notification *Notification              `json:"notification"`
	Data         json.RawMessage            `json:"data"`        // any JSON value, for the app; nil if absent
	Extras       map[string]json.RawMessage `json:"extras"`      // the sender's own keys
	APNS         json.RawMessage            `json:"apns"`        // the payload for iOS as the sender gave it
	Launch       bool                       `json:"launch"`      // start the app now, without a touch
	CollapseID   string                     `json:"collapse_id"` // it takes the place of an earlier message with the same; "" of none
	Recall       string                     `json:"recall"`      // withdraw the message with this id; "" for all others

	Raw         []byte `json:"-"` // the JSON object as it came
	AtLeastOnce bool   `json:"-"` // it came at QoS 1, and is acknowledged when the handler returns nil
}

// A Notification is to be shown to a person. Every field is optional; nil and zero leave it to the device.
type Notification struct {
	Title    string   `json:"title"`
	Subtitle string   `json:"subtitle"`
	Body     string   `json:"body"`
	Ticker   string   `json:"ticker"` // the status bar's line
	BigTitle string   `json:"big_title"`
	BigText  string   `json:"big_text"`
	Lines    []string `json:"lines"`

	Icon      string `json:"icon"`       // resource name
	LargeIcon string `json:"large_icon"` // resource name
	IconURL   string `json:"icon_url"`   // wins over LargeIcon
	Image     string `json:"image"`      // URL of the big picture
	Banner    string `json:"banner"`     // URL of a picture instead of text
	Style     int    `json:"style"`      // id of a style that the app registered
	Layout    string `json:"layout"`

	Sound     *string `json:"sound"` // resource name; "" is silent
	Vibrate   *bool   `json:"vibrate"`
	Lights    *bool   `json:"lights"`
	Ring      *bool   `json:"ring"`
	Clearable *bool   `json:"clearable"`
	Priority  *int    `json:"priority"` // -2 to 2

	ChannelID   string `json:"channel_id"` // Android notification channel
	ChannelName string `json:"channel_name"`
	Importance  *int   `json:"importance"` // 0 to 4
	NotifyID    string `json:"notify_id"`  // the same id replaces what is shown
	ThreadID    string `json:"thread_id"`
	GroupID     string `json:"group_id"`
	Slot        string `json:"slot"`
	InApp       *bool  `json:"inapp"`

	Badge     *Badge     `json:"badge"`
	Click     *Click     `json:"click"`
	ShowFrom  *time.Time `json:"show_from"`
	ShowUntil *time.Time `json:"show_until"`
}

// A Badge sets the number on the app's icon, or adds to it.
type Badge struct {
	Set   *int   `json:"set"`
	Add   *int   `json:"add"`
	Class string `json:"class"`
}

// A Click says what touching the notification does.
type Click struct {
	Action   string          `json:"action"` // app, url, activity, intent, custom, download or none
	URL      string          `json:"url"`
	Activity string          `json:"activity"`
	Intent   string          `json:"intent"`
	Custom   json.RawMessage `json:"custom"`
}

// parseMessage reads the payload of a PUBLISH, which it keeps.
func parseMessage(payload []byte, atLeastOnce bool) (Message, error) {
	m := Message{Raw: payload, AtLeastOnce: atLeastOnce}
	err := json.Unmarshal(payload, &m)
	return m, err
}

// An Event is something that a device reports of a message.
type Event string

// The events. Delivered is for devices that do not receive over MQTT, where the acknowledgement says it.
const (
	Delivered Event = "delivered"
	Displayed Event = "displayed"
	Opened    Event = "opened"
	Clicked   Event = "clicked"
	Dismissed Event = "dismissed"
	Recalled  Event = "recalled"
)
