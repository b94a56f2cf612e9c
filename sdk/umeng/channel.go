package umeng

import "encoding/json"

// ChannelProperties are wishes for the phone vendors' channels. They pass through and are not validated.
//
// Source: protocols/umeng.md section 5.7.
type ChannelProperties struct {
	ChannelActivity         string          `json:"channel_activity,omitempty"` // class name opened by a vendor notification
	MainActivity            string          `json:"main_activity,omitempty"`
	XiaomiChannelID         string          `json:"xiaomi_channel_id,omitempty"`
	XiaomiExtraProperties   json.RawMessage `json:"xiaomi_extra_properties,omitempty"` // {"template_id", "template_param"}
	VivoCategory            string          `json:"vivo_category,omitempty"`
	VivoClassification      string          `json:"vivo_classification,omitempty"` // "0" or "1", older
	VivoAddBadge            string          `json:"vivo_addbadge,omitempty"`
	OppoChannelID           string          `json:"oppo_channel_id,omitempty"`
	OppoCategory            string          `json:"oppo_category,omitempty"`
	OppoNotifyLevel         string          `json:"oppo_notify_level,omitempty"` // "1", "2" or "16"; needs OppoCategory
	OppoPrivateMsgTemplate  json.RawMessage `json:"oppo_private_msg_template,omitempty"`
	HuaweiChannelImportance string          `json:"huawei_channel_importance,omitempty"` // LOW or NORMAL
	HuaweiChannelCategory   string          `json:"huawei_channel_category,omitempty"`
	HonorChannelImportance  string          `json:"honor_channel_importance,omitempty"`
	MeizuMsgType            string          `json:"meizu_msg_type,omitempty"` // "0" or "1"
	ChannelFCM              string          `json:"channel_fcm,omitempty"`    // "0" or "1"
	HarmonyChannelCategory  string          `json:"harmony_channel_category,omitempty"`

	// Raw is the whole object, with keys that have no field here. If it is set it is what MarshalJSON writes.
	Raw json.RawMessage `json:"-"`
}

// MarshalJSON writes p: Raw if it is set, else the fields.
func (p ChannelProperties) MarshalJSON() ([]byte, error) {
	if p.Raw != nil {
		return p.Raw, nil
	}
	type fields ChannelProperties // without this method
	return encodeJSON(fields(p))
}

// LocalProperties place a notification in a channel of Android's own notification settings.
//
// Source: protocols/umeng.md section 5.7.
type LocalProperties struct {
	Category    string `json:"category,omitempty"`
	Importance  string `json:"importance,omitempty"` // without effect alone
	ChannelID   string `json:"channel_id,omitempty"`
	ChannelName string `json:"channel_name,omitempty"`

	// Raw is the whole object, with keys that have no field here. If it is set it is what MarshalJSON writes.
	Raw json.RawMessage `json:"-"`
}

// MarshalJSON writes p: Raw if it is set, else the fields.
func (p LocalProperties) MarshalJSON() ([]byte, error) {
	if p.Raw != nil {
		return p.Raw, nil
	}
	type fields LocalProperties // without this method
	return encodeJSON(fields(p))
}
