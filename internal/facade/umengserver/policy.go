package umengserver

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/sdk/umeng"
)

// policy maps what in says of when, how fast and by which ways (section 5.6). What has no place in push.Policy is in the
// hints of the message.
func (c call) policy(in *umeng.SendRequest, loc *time.Location) (push.Policy, error) {
	var p push.Policy
	start, expire, err := in.Times(c.now, loc)
	if err != nil {
		return p, err
	}
	if !start.IsZero() {
		start = start.UTC()
		p.StartAt = &start
	}
	p.Description = shorten(in.Description, push.MaxLabel)
	p.Channels = c.channels(in)
	if in.ProductionMode == umeng.False {
		// Section 5.8: of what is served here, test mode narrows broadcasts only.
		p.Test = in.Type == umeng.TypeBroadcast
		if c.platform == push.IOS {
			p.APNSEnv = "sandbox"
		}
	}
	if in.Policy == nil {
		return p, nil
	}
	if in.Policy.ExpireTime != "" { // otherwise the default, which is the house's as well
		expire = expire.UTC()
		p.ExpireAt = &expire
	}
	if in.IsTask() { // a single message goes at once
		p.Rate = in.Policy.Rate()
	}
	if c.platform == push.IOS {
		p.CollapseID = in.Policy.APNsCollapseID
	}
	return p, nil
}

// channels says which ways out in asks for. An Android message goes by a vendor's channel only if it says so, in the
// older way (mipush) or the newer one (channel_properties, channel_strategy); the other platforms have one vendor, who is
// always used. Whether the vendor's channel goes first, or alone, is in the hints, for the channels to act on: a device
// that is connected gets its messages in any case.
func (c call) channels(in *umeng.SendRequest) string {
	strategy := 0
	if in.Policy != nil {
		strategy = in.Policy.ChannelStrategy
	}
	switch {
	case c.platform == push.IOS:
		return ""
	case strategy == 1:
		return "own"
	case strategy != 0, c.platform == push.Harmony, in.MiPush == umeng.True, asksVendor(in.ChannelProperties):
		return "" // auto: own while the device is online, else the vendor's
	default:
		return "own"
	}
}

// asksVendor reports whether p says anything: some senders always send it, with empty values.
func asksVendor(p *umeng.ChannelProperties) bool {
	if p == nil {
		return false
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(p.Raw, &all) != nil {
		return false
	}
	for _, v := range all {
		switch string(v) {
		case "null", `""`, "[]", "{}":
		default:
			return true
		}
	}
	return false
}

// key returns the key under which a repeat of in gets the first answer. Only tasks have one (section 5.2).
func (c call) key(in *umeng.SendRequest, p push.Policy) push.Key {
	if !in.IsTask() || in.Policy == nil || in.Policy.OutBizNo == "" {
		return push.Key{}
	}
	value := in.Policy.OutBizNo
	if len(value) > push.MaxKey { // the service names no limit
		sum := sha256.Sum256([]byte(value))
		value = "sha256:" + hex.EncodeToString(sum[:])
	}
	return push.Key{
		Namespace: Origin + "." + c.platform.String(),
		Value:     value,
		Keep:      max(p.Expiry(c.now).Sub(c.now), minKeep),
	}
}

// shorten returns s, or as many whole characters of it as fit in limit bytes.
func shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
