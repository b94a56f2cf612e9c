package push

import (
	"encoding/json"
	"time"
)

// An InboxMessage is what arrives on a device's inbox, as docs/devices.md says. Its notification, data, extras and
// apns are those of the Message.
type InboxMessage struct {
	ID           ID                         `json:"id"`
	Time         time.Time                  `json:"time,omitzero"`
	Expires      time.Time                  `json:"expires,omitzero"`
	Notification *Notification              `json:"notification,omitempty"`
	Data         json.RawMessage            `json:"data,omitempty"`
	Extras       map[string]json.RawMessage `json:"extras,omitempty"`
	APNS         json.RawMessage            `json:"apns,omitempty"`
	Launch       bool                       `json:"launch,omitempty"`
	CollapseID   string                     `json:"collapse_id,omitempty"` // it replaces what the device has of an earlier message with the same
	Recall       ID                         `json:"recall,omitempty"`
}

// Payload returns p's message as devices get it: an InboxMessage in JSON.
func (p Push) Payload() ([]byte, error) {
	m := p.Request.Message
	if m.Recall != 0 {
		return json.Marshal(InboxMessage{ID: p.ID, Recall: m.Recall})
	}
	return json.Marshal(InboxMessage{
		ID: p.ID, Time: p.Created.UTC().Truncate(time.Millisecond), Expires: p.Expires.UTC().Truncate(time.Millisecond),
		Notification: m.Notification, Data: m.Data, Extras: m.Extras, APNS: m.APNS, Launch: m.Launch,
		CollapseID: p.Request.Policy.CollapseID,
	})
}
