package umengserver

import (
	"bytes"
	"encoding/json"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/sdk/umeng"
)

// message maps what in says of the message itself. in is valid.
func (c call) message(in *umeng.SendRequest) (push.Message, error) {
	var m push.Message
	var err error
	if c.platform == push.IOS {
		m, err = appleMessage(in.Payload)
	} else {
		m, err = bodyMessage(in)
	}
	if err != nil {
		return m, err
	}
	hint, err := encode(hintsOf(in))
	if err != nil {
		return m, err
	}
	if string(hint) != "{}" {
		m.Vendors = setVendor(m.Vendors, Origin, hint)
	}
	return m, nil
}

// bodyMessage maps the payload of Android and HarmonyOS (sections 5.3 and 5.5).
func bodyMessage(in *umeng.SendRequest) (push.Message, error) {
	p := in.Payload
	extras, err := encodeAll(p.Extra)
	m := push.Message{Extras: extras}
	if err != nil {
		return m, err
	}
	switch p.DisplayType {
	case umeng.DisplayMessage:
		m.Data = p.Body.Custom
	case umeng.DisplayScene:
		// A scene is the vendor's business. On its own connection the app gets it as it came, to do with it what it can.
		m.Data = p.ChannelsBody
		var bodies map[string]json.RawMessage
		if json.Unmarshal(p.ChannelsBody, &bodies) == nil {
			if b := bodies[push.Harmony.String()]; isObject(b) {
				m.Vendors = setVendor(m.Vendors, push.Harmony.String(), b)
			}
		}
	default:
		m.Notification = notification(in)
	}
	return m, nil
}

func notification(in *umeng.SendRequest) *push.Notification {
	b := in.Payload.Body
	n := &push.Notification{
		Text: push.Text{Title: b.Title, Body: b.Text, Ticker: b.Ticker, BigText: b.BigBody},
		Look: push.Look{
			Icon: b.Icon, LargeIcon: b.LargeIcon, IconURL: b.Img, Image: b.ExpandImage, Style: b.BuilderID,
		},
		Alert: push.Alert{
			Vibrate: boolean(b.PlayVibrate), Lights: boolean(b.PlayLights), Ring: boolean(b.PlaySound),
		},
		Badge: badge(b.SetBadge, b.AddBadge),
		Click: click(b),
	}
	if b.LargeIconOH != "" {
		n.LargeIcon = b.LargeIconOH
	}
	if b.Sound != "" {
		n.Sound = &b.Sound
	}
	if b.RePop > 0 {
		n.Repeat = &push.Repeat{Times: b.RePop}
	}
	if lp := in.LocalProperties; lp != nil {
		n.ChannelID, n.ChannelName = lp.ChannelID, lp.ChannelName
	}
	if in.Policy != nil {
		n.InApp = boolean(in.Policy.InApp)
	}
	return n
}

// badge prefers set to add. A number below 0 to set is no badge at all, rather than an error.
func badge(set, add *int) *push.Badge {
	switch {
	case set != nil && *set >= 0:
		return &push.Badge{Set: set}
	case set == nil && add != nil:
		return &push.Badge{Add: add}
	default:
		return nil
	}
}

// clicks says what the service's actions are called in the domain.
var clicks = map[umeng.AfterOpen]string{
	"":                 push.ClickApp,
	umeng.OpenApp:      push.ClickApp,
	umeng.OpenURL:      push.ClickURL,
	umeng.OpenActivity: push.ClickActivity,
	umeng.OpenAbility:  push.ClickActivity,
	umeng.OpenCustom:   push.ClickCustom,
}

// click carries url, activity and custom whatever the action is: the app finds all of them in what it is handed.
func click(b *umeng.Body) *push.Click {
	c := &push.Click{Action: clicks[b.AfterOpen], URL: b.URL, Activity: b.Activity, Custom: b.Custom}
	if b.AfterOpen == umeng.OpenAbility {
		c.Activity, c.URL = b.Action, b.URI
	}
	return c
}

// boolean returns what f says, nil if it says nothing.
func boolean(f umeng.Flag) *bool {
	if f != umeng.True && f != umeng.False {
		return nil
	}
	v := f == umeng.True
	return &v
}

func setVendor(all map[string]json.RawMessage, vendor string, hint json.RawMessage) map[string]json.RawMessage {
	if all == nil {
		all = map[string]json.RawMessage{}
	}
	all[vendor] = hint
	return all
}

func isObject(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '{' }

// encode is json.Marshal without HTML escaping.
func encode(v any) (json.RawMessage, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, push.Wrap("umengserver.encode", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// encodeAll encodes the values of m; nil for none.
func encodeAll(m map[string]any) (map[string]json.RawMessage, error) {
	if len(m) == 0 {
		return nil, nil
	}
	out := make(map[string]json.RawMessage, len(m))
	for k, v := range m {
		raw, err := encode(v)
		if err != nil {
			return nil, err
		}
		out[k] = raw
	}
	return out, nil
}
