package umeng

import (
	"encoding/json"
	"strings"
	"time"
)

// A Root is a request body that is a JSON object and of which nothing else has been read yet. A server works through it in
// the order of protocols/umeng.md section 13, so that a caller without the secret learns as little as possible:
//
//	root, err := umeng.ParseRoot(body)   // CodeJSON
//	key, err := root.AppKey()            // CodeNoAppKey; then the app is looked up
//	err = root.CheckTimestamp(now)       // CodeNoTimestamp, CodeTimestamp, CodeTimestampWindow
//	ok := umeng.Verify(sign, …)          // over the raw body
//	req := root.Send()
//	err = req.Validate(platform, now, nil)
//
// A Root is for one goroutine.
type Root struct{ reader }

// ParseRoot reads body as far as a JSON object with at most 64 levels; else the error is an *Error with CodeJSON. Bytes that
// are not UTF-8 are replaced. The Root keeps no reference to body.
//
// What is read from a Root is read tolerantly (protocols/umeng.md section 4.2). Fields that are null or "" are absent. An
// object may be written as [] if it is empty, or as a string that holds its JSON. Booleans, numbers and strings stand for one
// another, an array for a list with commas. Lists and names are trimmed, "appkey" may be in any letter case, and unknown
// keys are ignored.
func ParseRoot(body []byte) (Root, error) {
	o, ok := parseObject(validUTF8(body))
	if !ok {
		return Root{}, NewError(CodeJSON, "")
	}
	return Root{reader{object: o, invalid: map[string]bool{}}}, nil
}

// AppKey returns the application key, or an *Error with CodeNoAppKey.
func (r Root) AppKey() (string, error) {
	key := r.appkey()
	if key == "" {
		return "", NewError(CodeNoAppKey, "appkey")
	}
	return key, nil
}

// CheckTimestamp returns nil if the timestamp is within TimestampWindow of now, on either side, else an *Error with
// CodeNoTimestamp, CodeTimestamp or CodeTimestampWindow.
func (r Root) CheckTimestamp(now time.Time) error {
	const field = "timestamp"
	if r.member(field) == nil {
		return NewError(CodeNoTimestamp, field)
	}
	s := r.word(field)
	if len(s) != 10 && len(s) != 13 || strings.Trim(s, "0123456789") != "" {
		return NewError(CodeTimestamp, field)
	}
	var ms int64
	for _, c := range []byte(s) {
		ms = ms*10 + int64(c-'0')
	}
	if len(s) == 10 {
		ms *= 1000
	}
	if now.Sub(time.UnixMilli(ms)).Abs() > TimestampWindow {
		return NewError(CodeTimestampWindow, field)
	}
	return nil
}

// DecodeSend is ParseRoot and Root.Send in one, for a caller who does not authenticate.
func DecodeSend(body []byte) (*SendRequest, error) {
	root, err := ParseRoot(body)
	if err != nil {
		return nil, err
	}
	return root.Send(), nil
}

// DecodeTask is ParseRoot and Root.Task in one, for a caller who does not authenticate.
func DecodeTask(body []byte) (*TaskRequest, error) {
	root, err := ParseRoot(body)
	if err != nil {
		return nil, err
	}
	return root.Task(), nil
}

// Task reads the body of a status query or a cancellation.
func (r Root) Task() *TaskRequest {
	return &TaskRequest{AppKey: r.appkey(), Timestamp: r.word("timestamp"), TaskID: r.word("task_id")}
}

// Send reads the body of a send. It always succeeds: what cannot be read is absent, and SendRequest.Validate refuses it
// when its turn comes.
func (r Root) Send() *SendRequest {
	req := &SendRequest{
		AppKey:         r.appkey(),
		Timestamp:      r.word("timestamp"),
		Type:           Type(r.word("type")),
		DeviceTokens:   r.list("device_tokens"),
		AliasType:      r.word("alias_type"),
		Aliases:        r.list("alias"),
		FileID:         r.word("file_id"),
		Filter:         r.nested("filter"),
		GroupID:        r.word("group_id"),
		Payload:        r.payload(),
		Policy:         r.policy(),
		ProductionMode: r.flag("production_mode"),
		Description:    r.text("description"),
		MiPush:         r.flag("mipush"),
		MiActivity:     r.word("mi_activity"),
		Category:       r.number("category"),
		CallbackParams: r.nested("callback_params"),
		ReceiptURL:     r.word("receipt_url"),
		ReceiptType:    r.word("receipt_type"),
		TemplateName:   r.text("template_name"),
		ThirdpartyID:   r.text("thirdparty_id"),
		Feedback:       r.text("feedback"),
		invalid:        r.invalid,
	}
	if req.ThirdpartyID == "" {
		req.ThirdpartyID = r.text("thirdparty")
	}
	if p, raw := r.sub("channel_properties"); raw != nil {
		req.ChannelProperties = p.channelProperties(raw)
	}
	if p, raw := r.sub("local_properties"); raw != nil {
		req.LocalProperties = &LocalProperties{
			Category: p.word("category"), Importance: p.word("importance"),
			ChannelID: p.word("channel_id"), ChannelName: p.text("channel_name"), Raw: raw,
		}
	}
	return req
}

func (r Root) payload() *Payload {
	p, raw := r.sub("payload")
	if raw == nil {
		return nil
	}
	out := &Payload{DisplayType: DisplayType(p.word("display_type")), Raw: raw}
	aps, apsRaw := p.sub("aps")
	if apsRaw != nil {
		out.APS = aps.aps(apsRaw)
	}
	android := map[string]bool{"aps": true, "display_type": true, "body": true, "extra": true, "channels_body": true}
	if out.APS != nil && out.DisplayType == "" {
		// A payload for iOS alone: its sender may call his own keys body and extra.
		android = map[string]bool{"aps": true, "display_type": true}
	} else {
		if body, bodyRaw := p.sub("body"); bodyRaw != nil {
			out.Body = body.body()
		}
		out.Extra = p.values("extra")
		out.ChannelsBody = p.nested("channels_body")
	}
	for k, v := range p.object {
		if !android[k] {
			if out.Custom == nil {
				out.Custom = map[string]any{}
			}
			out.Custom[k] = decodeAny(v)
		}
	}
	return out
}

func (r reader) body() *Body {
	b := &Body{
		Ticker:      r.text("ticker"),
		Title:       r.text("title"),
		Text:        r.text("text"),
		Icon:        r.word("icon"),
		LargeIcon:   r.word("largeIcon"),
		LargeIconOH: r.word("large_icon"),
		Img:         r.word("img"),
		ExpandImage: r.word("expand_image"),
		BigBody:     r.text("big_body"),
		Sound:       r.word("sound"),
		BuilderID:   r.number("builder_id"),
		SetBadge:    r.integer("set_badge"),
		AddBadge:    r.integer("add_badge"),
		RePop:       r.number("re_pop"),
		PlayVibrate: r.flag("play_vibrate"),
		PlayLights:  r.flag("play_lights"),
		PlaySound:   r.flag("play_sound"),
		AfterOpen:   AfterOpen(r.word("after_open")),
		URL:         r.word("url"),
		Activity:    r.word("activity"),
		URI:         r.word("uri"),
		Action:      r.word("action"),
	}
	if b.AddBadge == nil {
		b.AddBadge = r.integer("badge")
	}
	if b.Text == "" && !r.invalid[r.prefix+"text"] { // one HarmonyOS client's name for it
		b.Text = r.text("body")
	}
	// custom is a string or an object, so a string that holds an object stays a string.
	if v := r.member("custom"); v != nil {
		if b.Custom = compact(v); string(b.Custom) == "[]" {
			b.Custom = json.RawMessage("{}")
		}
	}
	return b
}

func (r reader) aps(raw json.RawMessage) *APS {
	a := &APS{
		ContentAvailable:  r.boolean("content-available"),
		MutableContent:    r.boolean("mutable-content"),
		Category:          r.text("category"),
		ThreadID:          r.text("thread-id"),
		InterruptionLevel: r.word("interruption-level"),
		Raw:               raw,
	}
	// Unlike everywhere else "" is a value of badge: it clears.
	if v, ok := r.object["badge"]; ok && string(v) != "null" {
		if s, ok := scalar(v); ok {
			s = strings.TrimSpace(s)
			a.Badge = &s
		}
	}
	if s, ok := scalar(r.member("sound")); ok {
		a.Sound = s
	}
	v := r.member("alert")
	if v == nil {
		return a
	}
	if v[0] == '"' {
		s, _ := scalar(v)
		a.Alert = &Alert{Body: s}
		return a
	}
	if obj, text := r.sub("alert"); text != nil && len(obj.object) > 0 {
		a.Alert = &Alert{Title: obj.text("title"), Subtitle: obj.text("subtitle"), Body: obj.text("body")}
	}
	return a
}

func (r Root) policy() *Policy {
	p, raw := r.sub("policy")
	if raw == nil {
		return nil
	}
	out := &Policy{
		StartTime:                p.word("start_time"),
		ExpireTime:               p.word("expire_time"),
		MaxSendNum:               p.number("max_send_num"),
		OutBizNo:                 p.word("out_biz_no"),
		APNsCollapseID:           p.text("apns_collapse_id"),
		NotificationClosedFilter: p.flag("notification_closed_filter"),
		UAppArg:                  p.text("uapp_arg"),
	}
	if n := p.integer("max_send_num"); n != nil && *n <= 0 {
		p.fail("max_send_num")
	}
	strategy, _ := p.sub("channel_strategy")
	out.ChannelStrategy = strategy.number("default")
	inApp, _ := p.sub("in_app")
	out.InApp = inApp.flag("in_app")
	return out
}

func (r reader) channelProperties(raw json.RawMessage) *ChannelProperties {
	return &ChannelProperties{
		ChannelActivity:         r.word("channel_activity"),
		MainActivity:            r.word("main_activity"),
		XiaomiChannelID:         r.word("xiaomi_channel_id"),
		XiaomiExtraProperties:   r.nested("xiaomi_extra_properties"),
		VivoCategory:            r.word("vivo_category"),
		VivoClassification:      r.word("vivo_classification"),
		VivoAddBadge:            r.word("vivo_addbadge"),
		OppoChannelID:           r.word("oppo_channel_id"),
		OppoCategory:            r.word("oppo_category"),
		OppoNotifyLevel:         r.word("oppo_notify_level"),
		OppoPrivateMsgTemplate:  r.nested("oppo_private_msg_template"),
		HuaweiChannelImportance: r.word("huawei_channel_importance"),
		HuaweiChannelCategory:   r.word("huawei_channel_category"),
		HonorChannelImportance:  r.word("honor_channel_importance"),
		MeizuMsgType:            r.word("meizu_msg_type"),
		ChannelFCM:              r.word("channel_fcm"),
		HarmonyChannelCategory:  r.word("harmony_channel_category"),
		Raw:                     raw,
	}
}
