package mqtt

import "strings"

// sharePrefix begins the filter of a shared subscription in 5.0.
const sharePrefix = "$share/"

// CheckTopic returns nil if s can be the topic of a message: 1 to 65,535 bytes of UTF-8 without U+0000 and without the
// wildcards + and # [MQTT-3.3.2-2, MQTT-4.7.3-1]. The error is an *Error.
func CheckTopic(s string) error {
	if s == "" {
		return malformed("topic is empty")
	}
	if strings.ContainsAny(s, "+#") {
		return malformed("topic contains a wildcard")
	}
	return checkString(s)
}

// CheckFilter returns nil if s can be a topic filter in version v: 1 to 65,535 bytes of UTF-8 without U+0000, where + is
// a level of its own and # is one and the last [MQTT-4.7.1-1, MQTT-4.7.1-2]. In 5.0 a filter that begins with $share/ must
// go on with a name of the group, which has no wildcard, and a filter [MQTT-4.8.2-1, MQTT-4.8.2-2]; in 3.1.1 it is like any
// other. The error is an *Error.
func CheckFilter(v Version, s string) error {
	if err := checkString(s); err != nil {
		return err
	}
	filter := s
	if v == V5 && strings.HasPrefix(s, sharePrefix) {
		group, rest, _ := strings.Cut(s[len(sharePrefix):], "/")
		if group == "" || strings.ContainsAny(group, "+#") {
			return protocolError("shared subscription without a proper group name")
		}
		filter = rest
	}
	if filter == "" {
		return malformed("topic filter is empty")
	}
	for {
		level, rest, more := strings.Cut(filter, "/")
		if len(level) > 1 && strings.ContainsAny(level, "+#") {
			return malformed("wildcard in a topic filter does not stand alone in its level")
		}
		if level == "#" && more {
			return malformed("# in a topic filter is not its last level")
		}
		if !more {
			return nil
		}
		filter = rest
	}
}

// HasWildcard reports whether a valid filter matches more than one topic.
func HasWildcard(filter string) bool { return strings.ContainsAny(filter, "+#") }

// IsShared reports whether filter asks for a shared subscription, which exists in 5.0 only.
func IsShared(filter string) bool { return strings.HasPrefix(filter, sharePrefix) }
