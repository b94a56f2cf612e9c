package umeng

import (
	"encoding/json"
	"maps"
	"strconv"
)

// Unicast returns a request for one device.
func Unicast(token string, p *Payload) *SendRequest {
	return &SendRequest{Type: TypeUnicast, DeviceTokens: []string{token}, Payload: p}
}

// Listcast returns a request for at most MaxTokens devices.
func Listcast(tokens []string, p *Payload) *SendRequest {
	return &SendRequest{Type: TypeListcast, DeviceTokens: tokens, Payload: p}
}

// Broadcast returns a request for every device of the app. Set Policy.OutBizNo to make it safe to repeat.
func Broadcast(p *Payload) *SendRequest { return &SendRequest{Type: TypeBroadcast, Payload: p} }

// Notification returns a payload that Android and HarmonyOS show; a tap opens the app. The title is also the ticker.
func Notification(title, text string) *Payload {
	return &Payload{
		DisplayType: DisplayNotification,
		Body:        &Body{Ticker: title, Title: title, Text: text, AfterOpen: OpenApp},
	}
}

// Message returns a payload that is handed to the Android or HarmonyOS app and not shown.
func Message(custom string) *Payload {
	return &Payload{DisplayType: DisplayMessage, Body: &Body{Custom: jsonString(custom)}}
}

// AppleNotification returns a payload that iOS shows.
func AppleNotification(title, body string) *Payload {
	return &Payload{APS: &APS{Alert: &Alert{Title: title, Body: body}}}
}

// AppleSilent returns a payload that wakes the iOS app and shows nothing.
func AppleSilent() *Payload { return &Payload{APS: &APS{ContentAvailable: true}} }

// OpenURL makes a tap on p, a Notification, open url. Like all methods that change p it returns p.
func (p *Payload) OpenURL(url string) *Payload {
	p.Body.AfterOpen, p.Body.URL = OpenURL, url
	return p
}

// OpenActivity makes a tap on p, a Notification, open an activity by its class name.
func (p *Payload) OpenActivity(class string) *Payload {
	p.Body.AfterOpen, p.Body.Activity = OpenActivity, class
	return p
}

// OpenCustom makes a tap on p, a Notification, hand custom to the app.
func (p *Payload) OpenCustom(custom string) *Payload {
	p.Body.AfterOpen, p.Body.Custom = OpenCustom, jsonString(custom)
	return p
}

// With gives the app a key and its value, which encodes as JSON: in Extra, or beside aps for iOS.
func (p *Payload) With(key string, value any) *Payload {
	pairs := &p.Extra
	if p.APS != nil {
		pairs = &p.Custom
	}
	m := maps.Clone(*pairs)
	if m == nil {
		m = map[string]any{}
	}
	m[key] = value
	*pairs = m
	return p
}

// Badge sets the number on the app's icon. On iOS 0 clears it.
func (p *Payload) Badge(n int) *Payload {
	if p.APS != nil {
		s := strconv.Itoa(n)
		p.APS.Badge = &s
	} else {
		p.Body.SetBadge = &n
	}
	return p
}

func jsonString(s string) json.RawMessage { return appendString(nil, string(validUTF8([]byte(s)))) }
