package umeng

import "time"

// A Policy says when and how fast a message is sent, and how long it is kept. The zero Policy means now, unpaced, kept for
// DefaultTTL.
//
// Source: protocols/umeng.md section 5.6.
type Policy struct {
	StartTime  string // TimeLayout, see FormatTime; tasks only
	ExpireTime string // TimeLayout
	MaxSendNum int    // devices a second, see Rate; 0 means unpaced
	OutBizNo   string // tasks only: idempotency key, unique to the appkey

	APNsCollapseID string // iOS: at most MaxAPNsCollapseID bytes
	// ChannelStrategy is 1 own channel only, 2 own if the device is online, else the vendor's (the default), 3 the vendor's
	// first, 4 the vendor's only; 0 is absent.
	ChannelStrategy          int
	NotificationClosedFilter Flag   // skip devices that have turned notifications off
	InApp                    Flag   // popup inside the app where notifications are off
	UAppArg                  string // id of a marketing plan; without effect
}

// Rate returns the devices a second that MaxSendNum stands for: at least MinSendRate, or 0 for unpaced.
func (p *Policy) Rate() int {
	if p.MaxSendNum <= 0 {
		return 0
	}
	return max(p.MaxSendNum, MinSendRate)
}

// MarshalJSON writes p; the flags of a policy are JSON booleans, unlike those of a request.
func (p Policy) MarshalJSON() ([]byte, error) {
	type strategy struct {
		Default int `json:"default"`
	}
	type inApp struct {
		InApp bool `json:"in_app"`
	}
	out := struct {
		StartTime                string    `json:"start_time,omitempty"`
		ExpireTime               string    `json:"expire_time,omitempty"`
		MaxSendNum               int       `json:"max_send_num,omitempty"`
		OutBizNo                 string    `json:"out_biz_no,omitempty"`
		APNsCollapseID           string    `json:"apns_collapse_id,omitempty"`
		ChannelStrategy          *strategy `json:"channel_strategy,omitempty"`
		NotificationClosedFilter *bool     `json:"notification_closed_filter,omitempty"`
		InApp                    *inApp    `json:"in_app,omitempty"`
		UAppArg                  string    `json:"uapp_arg,omitempty"`
	}{
		StartTime: p.StartTime, ExpireTime: p.ExpireTime, MaxSendNum: p.MaxSendNum, OutBizNo: p.OutBizNo,
		APNsCollapseID: p.APNsCollapseID, UAppArg: p.UAppArg,
	}
	if p.ChannelStrategy != 0 {
		out.ChannelStrategy = &strategy{p.ChannelStrategy}
	}
	if p.NotificationClosedFilter != "" {
		b := p.NotificationClosedFilter == True
		out.NotificationClosedFilter = &b
	}
	if p.InApp != "" {
		out.InApp = &inApp{p.InApp == True}
	}
	return encodeJSON(out)
}

// Times returns when sending starts, zero for at once, and when the message expires, which is never zero. Times are read
// in loc; nil means Beijing. A single message starts at once whatever its policy says.
//
// The error is an *Error with the first of CodeTimeFormat, CodeStartTime, CodeStartTooLate, CodeExpireTime and
// CodeExpireTooLate that applies.
func (r *SendRequest) Times(now time.Time, loc *time.Location) (start, expire time.Time, err error) {
	if loc == nil {
		loc = Beijing
	}
	var p Policy
	if r.Policy != nil {
		p = *r.Policy
	}
	read := func(s, field string) (time.Time, error) {
		if s == "" && !r.bad(field) {
			return time.Time{}, nil
		}
		t, err := time.ParseInLocation(TimeLayout, s, loc)
		// A fraction of a second parses although the layout has none; the service's format does not.
		if err != nil || len(s) != len(TimeLayout) {
			return time.Time{}, NewError(CodeTimeFormat, field)
		}
		return t, nil
	}
	if r.IsTask() {
		if start, err = read(p.StartTime, "policy.start_time"); err != nil {
			return time.Time{}, time.Time{}, err
		}
	}
	if expire, err = read(p.ExpireTime, "policy.expire_time"); err != nil {
		return time.Time{}, time.Time{}, err
	}
	sent := now
	if !start.IsZero() {
		sent = start
	}
	switch {
	case !start.IsZero() && !start.After(now):
		err = NewError(CodeStartTime, "policy.start_time")
	case start.After(now.Add(MaxStartAhead)):
		err = NewError(CodeStartTooLate, "policy.start_time")
	case expire.IsZero():
		expire = sent.Add(DefaultTTL)
	case !expire.After(sent):
		err = NewError(CodeExpireTime, "policy.expire_time")
	case expire.After(sent.Add(MaxTTL)):
		err = NewError(CodeExpireTooLate, "policy.expire_time")
	}
	if err != nil {
		return time.Time{}, time.Time{}, err
	}
	return start, expire, nil
}
