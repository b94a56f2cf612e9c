package carillon

import (
	"encoding/json"
	"time"
)

// The functions below make expressions for Audience.Where, which is JSON: one from a file, or from somebody else, can stand
// wherever one of these can.
//
//	carillon.And(
//		carillon.WhereTag("vip"),
//		carillon.Not(carillon.WhereAttr("app_version", "<", "2.0")),
//		carillon.Or(carillon.WhereAttrIn("province", "浙江", "上海"), carillon.WhereActiveWithin(7*24*time.Hour)),
//	)

// encode returns v as JSON. What the package gives it always encodes, but for text of the caller's that is not UTF-8, and raw
// JSON that is not JSON: that becomes null, which the server refuses by its path.
func encode(v any) json.RawMessage {
	b, err := marshal(v)
	if err != nil {
		return json.RawMessage("null")
	}
	return b
}

func leaf(name string, v any) json.RawMessage { return encode(map[string]any{name: v}) }

// join encodes each part for itself, so that one that is not JSON does not take the others with it.
func join(name string, parts []json.RawMessage) json.RawMessage {
	all := make([]json.RawMessage, len(parts))
	for i, p := range parts {
		all[i] = encode(p)
	}
	return leaf(name, all)
}

// And holds where all of parts do; at least one is needed.
func And(parts ...json.RawMessage) json.RawMessage { return join("and", parts) }

// Or holds where any of parts does; at least one is needed.
func Or(parts ...json.RawMessage) json.RawMessage { return join("or", parts) }

// Not holds where part does not.
func Not(part json.RawMessage) json.RawMessage { return leaf("not", encode(part)) }

// WhereTag holds for devices that carry a tag.
func WhereTag(tag string) json.RawMessage { return leaf("tag", tag) }

// WhereAlias holds for devices that own one of some aliases.
func WhereAlias(a Aliases) json.RawMessage { return leaf("alias", a) }

// WhereAccount holds for devices on which one of some accounts is logged in.
func WhereAccount(accounts ...string) json.RawMessage {
	return leaf("account", append([]string{}, accounts...))
}

// WhereAttr holds for devices whose attribute compares so with a value: op is =, !=, <, <=, > or >=. app_version and
// os_version compare as versions, others as numbers. A device without the attribute is in none, nor in !=.
func WhereAttr(name, op, value string) json.RawMessage {
	return encode(map[string]string{"attr": name, "op": op, "value": value})
}

// WhereAttrIn holds for devices whose attribute is one of values.
func WhereAttrIn(name string, values ...string) json.RawMessage {
	return encode(map[string]any{"attr": name, "in": append([]string{}, values...)})
}

// WherePlatform holds for devices of some platforms: android, ios, harmony, web.
func WherePlatform(platforms ...string) json.RawMessage {
	return leaf("platform", append([]string{}, platforms...))
}

// WhereActiveWithin holds for devices that were active in the last d. Like the two below it is as fine as a day.
func WhereActiveWithin(d time.Duration) json.RawMessage { return leaf("active_within", Duration(d)) }

// WhereBoundWithin holds for devices on which an account was logged in in the last d, and is.
func WhereBoundWithin(d time.Duration) json.RawMessage { return leaf("bound_within", Duration(d)) }

// WhereUnboundWithin holds for devices on which the last account was logged out in the last d, and none is logged in.
func WhereUnboundWithin(d time.Duration) json.RawMessage { return leaf("unbound_within", Duration(d)) }

// WhereRegistered holds for devices that registered at after or later, and earlier than before. A zero time is no bound;
// one is needed.
func WhereRegistered(after, before time.Time) json.RawMessage {
	return leaf("registered", struct {
		After  time.Time `json:"after,omitzero"`
		Before time.Time `json:"before,omitzero"`
	}{after, before})
}

// WhereTargeted holds for devices in the target of a push.
func WhereTargeted(pushID string) json.RawMessage { return leaf("targeted", pushID) }

// WhereSent holds for devices to a connection of which a push was written.
func WhereSent(pushID string) json.RawMessage { return leaf("sent", pushID) }

// WhereReached holds for devices that a push was delivered to.
func WhereReached(pushID string) json.RawMessage { return leaf("reached", pushID) }

// WhereOpened holds for devices on which a push was opened.
func WhereOpened(pushID string) json.RawMessage { return leaf("opened", pushID) }

// WhereHas holds for devices with a phone ("phone"), or with a token of a channel ("token.apns").
func WhereHas(what string) json.RawMessage { return leaf("has", what) }

// WhereIs holds for devices of which a flag is value: flag is online, test or blacklisted.
func WhereIs(flag string, value bool) json.RawMessage { return leaf(flag, value) }
