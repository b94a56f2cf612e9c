package umengserver

import (
	"encoding/json"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/sdk/umeng"
)

// hints are what a request says that has no place of its own in the domain. They are kept with the push as
// message.vendors.umeng, under the service's own names; absent ones are left out. They do not go to devices.
//
// docs/umeng.md lists them, and says which have effect.
type hints struct {
	ProductionMode    umeng.Flag               `json:"production_mode,omitempty"` // "false" only
	MiPush            umeng.Flag               `json:"mipush,omitempty"`
	MiActivity        string                   `json:"mi_activity,omitempty"`
	ChannelProperties *umeng.ChannelProperties `json:"channel_properties,omitempty"`
	LocalProperties   *umeng.LocalProperties   `json:"local_properties,omitempty"`
	Category          int                      `json:"category,omitempty"`
	CallbackParams    json.RawMessage          `json:"callback_params,omitempty"`
	ReceiptURL        string                   `json:"receipt_url,omitempty"`
	ReceiptType       string                   `json:"receipt_type,omitempty"`
	TemplateName      string                   `json:"template_name,omitempty"`
	ThirdpartyID      string                   `json:"thirdparty_id,omitempty"`
	Feedback          string                   `json:"feedback,omitempty"`
	Description       string                   `json:"description,omitempty"` // only if the label had to be shortened
	Policy            *policyHints             `json:"policy,omitempty"`
}

// policyHints are the hints of the policy object.
type policyHints struct {
	OutBizNo                 string        `json:"out_biz_no,omitempty"`
	ChannelStrategy          *strategyHint `json:"channel_strategy,omitempty"`
	NotificationClosedFilter *bool         `json:"notification_closed_filter,omitempty"`
	InApp                    *inAppHint    `json:"in_app,omitempty"`
	UAppArg                  string        `json:"uapp_arg,omitempty"`
}

type strategyHint struct {
	Default int `json:"default"`
}

type inAppHint struct {
	InApp bool `json:"in_app"`
}

func hintsOf(in *umeng.SendRequest) hints {
	h := hints{
		MiPush: in.MiPush, MiActivity: in.MiActivity, ChannelProperties: in.ChannelProperties,
		LocalProperties: in.LocalProperties, Category: in.Category, CallbackParams: in.CallbackParams,
		ReceiptURL: in.ReceiptURL, ReceiptType: in.ReceiptType, TemplateName: in.TemplateName,
		ThirdpartyID: in.ThirdpartyID, Feedback: in.Feedback,
	}
	if in.ProductionMode == umeng.False {
		h.ProductionMode = umeng.False
	}
	if len(in.Description) > push.MaxLabel {
		h.Description = in.Description
	}
	if in.Policy == nil {
		return h
	}
	p := policyHints{
		OutBizNo: in.Policy.OutBizNo, NotificationClosedFilter: boolean(in.Policy.NotificationClosedFilter),
		UAppArg: in.Policy.UAppArg,
	}
	if in.Policy.ChannelStrategy != 0 {
		p.ChannelStrategy = &strategyHint{in.Policy.ChannelStrategy}
	}
	if v := boolean(in.Policy.InApp); v != nil {
		p.InApp = &inAppHint{*v}
	}
	if p != (policyHints{}) {
		h.Policy = &p
	}
	return h
}
