package umeng

import (
	"encoding/json"
	"strings"
)

// A Type says how the audience of a message is named.
type Type string

// The types. Unicast, listcast and customizedcast with aliases are single messages and are answered with a msg_id; the
// others are tasks, answered with a task_id, and only tasks can be scheduled, queried and cancelled.
const (
	TypeUnicast        Type = "unicast"
	TypeListcast       Type = "listcast"
	TypeBroadcast      Type = "broadcast"
	TypeGroupcast      Type = "groupcast"
	TypeFilecast       Type = "filecast"
	TypeCustomizedcast Type = "customizedcast"
)

func (t Type) known() bool {
	switch t {
	case TypeUnicast, TypeListcast, TypeBroadcast, TypeGroupcast, TypeFilecast, TypeCustomizedcast:
		return true
	default:
		return false
	}
}

// A SendRequest is the body of a send. Zero fields are absent. Fields that the type does not use are carried but neither
// validated nor acted on, since several senders leave keys of an earlier message in the next one.
//
// Source: protocols/umeng.md section 5.1.
type SendRequest struct {
	AppKey    string // a Client fills it
	Timestamp string // Unix time in 10 digits of seconds or 13 of milliseconds; a Client fills it
	Type      Type

	DeviceTokens []string        // unicast: one; listcast: at most MaxTokens
	AliasType    string          // customizedcast
	Aliases      []string        // customizedcast without FileID: at most MaxAliases
	FileID       string          // filecast: a file of tokens; customizedcast without Aliases: a file of aliases
	Filter       json.RawMessage // groupcast: an object, {"where": …}
	GroupID      string          // groupcast on Android and HarmonyOS, wins over Filter

	Payload        *Payload
	Policy         *Policy
	ProductionMode Flag   // absent means true
	Description    string // label for the console

	MiPush            Flag   // Android: use the vendors' channels for devices that are offline; absent means false
	MiActivity        string // Android, with MiPush: class name of the activity that a vendor notification opens
	ChannelProperties *ChannelProperties
	LocalProperties   *LocalProperties
	Category          int             // Android: 0 marketing, 1 service
	CallbackParams    json.RawMessage // an object that receipts repeat
	ReceiptURL        string
	ReceiptType       string // "1" delivered, "2" clicked, "3" both, which is the default
	TemplateName      string
	ThirdpartyID      string // sender's own id, echoed in the answer
	Feedback          string // without meaning since 2016; carried only

	invalid map[string]bool // paths of fields that were received in a form that cannot be read
}

// bad reports whether the field at path was received in an unreadable form.
func (r *SendRequest) bad(path string) bool { return r.invalid[path] }

// IsTask reports whether the service treats r as a task, which has a task_id, rather than as a single message.
func (r *SendRequest) IsTask() bool {
	switch r.Type {
	case TypeBroadcast, TypeGroupcast, TypeFilecast:
		return true
	case TypeCustomizedcast:
		return r.FileID != ""
	default:
		return false
	}
}

// VendorActivity returns the class name of the activity that a notification of a vendor's channel opens: the older mi_activity
// under mipush and the newer channel_activity are the same thing, and the newer wins.
func (r *SendRequest) VendorActivity() string {
	if p := r.ChannelProperties; p != nil && p.ChannelActivity != "" {
		return p.ChannelActivity
	}
	if r.MiPush == True {
		return r.MiActivity
	}
	return ""
}

// MarshalJSON writes r in the form that every generation of the service reads: lists joined by commas, booleans and
// the timestamp as strings.
func (r SendRequest) MarshalJSON() ([]byte, error) {
	return encodeJSON(struct {
		AppKey            string             `json:"appkey"`
		Timestamp         string             `json:"timestamp"`
		Type              Type               `json:"type"`
		DeviceTokens      string             `json:"device_tokens,omitempty"`
		AliasType         string             `json:"alias_type,omitempty"`
		Alias             string             `json:"alias,omitempty"`
		FileID            string             `json:"file_id,omitempty"`
		Filter            json.RawMessage    `json:"filter,omitempty"`
		GroupID           string             `json:"group_id,omitempty"`
		Payload           *Payload           `json:"payload,omitempty"`
		Policy            *Policy            `json:"policy,omitempty"`
		ProductionMode    Flag               `json:"production_mode,omitempty"`
		Description       string             `json:"description,omitempty"`
		MiPush            Flag               `json:"mipush,omitempty"`
		MiActivity        string             `json:"mi_activity,omitempty"`
		ChannelProperties *ChannelProperties `json:"channel_properties,omitempty"`
		LocalProperties   *LocalProperties   `json:"local_properties,omitempty"`
		Category          int                `json:"category,omitempty"`
		CallbackParams    json.RawMessage    `json:"callback_params,omitempty"`
		ReceiptURL        string             `json:"receipt_url,omitempty"`
		ReceiptType       string             `json:"receipt_type,omitempty"`
		TemplateName      string             `json:"template_name,omitempty"`
		ThirdpartyID      string             `json:"thirdparty_id,omitempty"`
		Feedback          string             `json:"feedback,omitempty"`
	}{
		r.AppKey, r.Timestamp, r.Type, strings.Join(r.DeviceTokens, ","), r.AliasType, strings.Join(r.Aliases, ","),
		r.FileID, r.Filter, r.GroupID, r.Payload, r.Policy, r.ProductionMode, r.Description, r.MiPush, r.MiActivity,
		r.ChannelProperties, r.LocalProperties, r.Category, r.CallbackParams, r.ReceiptURL, r.ReceiptType, r.TemplateName,
		r.ThirdpartyID, r.Feedback,
	})
}

// A TaskRequest is the body of a status query or a cancellation.
type TaskRequest struct {
	AppKey    string `json:"appkey"`
	Timestamp string `json:"timestamp"`
	TaskID    string `json:"task_id"`
}

// Validate returns CodeNoTaskID if the task is not named.
func (r *TaskRequest) Validate() error {
	if r.TaskID == "" {
		return NewError(CodeNoTaskID, "task_id")
	}
	return nil
}
