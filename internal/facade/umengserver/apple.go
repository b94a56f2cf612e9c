package umengserver

import (
	"encoding/json"
	"maps"
	"strconv"
	"strings"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/sdk/umeng"
)

// appleMessage maps the payload of iOS (section 5.4). aps and the keys beside it go to APNs as they came; what a person
// reads of it stands beside that, for the device's own connection, and the keys beside aps are the developer's extras.
// Left out is only what is Android's in a payload of both.
func appleMessage(p *umeng.Payload) (push.Message, error) {
	custom, err := encodeAll(p.Custom)
	if err != nil {
		return push.Message{}, err
	}
	whole := map[string]json.RawMessage{"aps": p.APS.Raw} // an object, even if it came as a string
	maps.Copy(whole, custom)
	raw, err := encode(whole)
	if err != nil {
		return push.Message{}, err
	}
	m := push.Message{APNS: raw, Extras: custom, Notification: appleNotification(p.APS)}
	if m.Notification == nil {
		// Silent: the app is woken and handed its keys.
		m.Data, err = encode(custom)
		if custom == nil {
			m.Data = json.RawMessage("{}")
		}
	}
	return m, err
}

// appleNotification returns what aps shows, or nil if it shows nothing.
func appleNotification(aps *umeng.APS) *push.Notification {
	if aps.Alert == nil {
		return nil
	}
	text := push.Text{Title: aps.Alert.Title, Subtitle: aps.Alert.Subtitle, Body: aps.Alert.Body}
	if text.Title == "" && text.Body == "" {
		text.Title, text.Body = localized(aps.Raw)
	}
	if text.Title == "" && text.Body == "" {
		// A subtitle alone is shown; as a body, because a notification is never without title and body.
		if text.Body = text.Subtitle; text.Body == "" {
			return nil
		}
		text.Subtitle = ""
	}
	n := &push.Notification{Text: text, Badge: appleBadge(aps.Badge)}
	n.ThreadID = aps.ThreadID
	if aps.Sound != "" {
		n.Sound = &aps.Sound
	}
	return n
}

// localized returns the keys of an alert whose text lies in the app. An app that has no text for a key shows the key.
func localized(aps json.RawMessage) (title, body string) {
	var a struct {
		Alert struct {
			Title string `json:"title-loc-key"`
			Body  string `json:"loc-key"`
		} `json:"alert"`
	}
	if json.Unmarshal(aps, &a) != nil { // the alert is a string, or a key is none
		return "", ""
	}
	return a.Alert.Title, a.Alert.Body
}

// appleBadge reads "5", the relative "+1" and "-1", and "", which clears. Other text is Apple's to judge.
func appleBadge(s *string) *push.Badge {
	if s == nil {
		return nil
	}
	n, err := strconv.ParseInt(*s, 10, 32)
	v := int(n)
	switch {
	case *s == "":
		v = 0
		return &push.Badge{Set: &v}
	case err != nil:
		return nil
	case strings.HasPrefix(*s, "+") || strings.HasPrefix(*s, "-"):
		return &push.Badge{Add: &v}
	default:
		return &push.Badge{Set: &v}
	}
}
