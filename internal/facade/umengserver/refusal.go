package umengserver

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/sdk/umeng"
)

// Codes of generation A for which generation B has none.
const (
	codeFailed  umeng.Code = 4002 // operation failed
	codeIllegal umeng.Code = 4024 // illegal access
)

// kindCodes says which code stands for a failure of the house that is not about one field (section 12). A quota that is used
// up is 2050 for all senders; 2012 and 2026, which generation A had for two of them, are not needed where generation B has one.
var kindCodes = map[push.Kind]umeng.Code{
	push.Internal:        umeng.CodeSystem,
	push.Unauthenticated: umeng.CodeSignature,
	push.Denied:          umeng.CodeAppDisabled,
	push.NotFound:        umeng.CodeUnknownAppKey,
	push.Conflict:        codeFailed,
	push.TooLarge:        umeng.CodePayloadTooLong,
	push.TooMany:         umeng.CodeTooMany,
	push.Unavailable:     umeng.CodeBusy,
}

// A fieldCode says which code and which field of the request stand for the fields of the domain with a prefix.
type fieldCode struct {
	prefix string
	code   umeng.Code
	field  string // "" where there is none to name
}

// fieldCodes are for what the house refused, the longest prefix of a kind first. Validation has seen to the service's own
// rules before; what is left are the house's: text without NUL, bounds of depth and size, and times that passed in between.
var fieldCodes = []fieldCode{
	{"policy.collapse_id", umeng.CodePolicy, "policy.apns_collapse_id"},
	{"policy.expire_at", umeng.CodeExpireTooLate, "policy.expire_time"},
	{"policy.start_at", umeng.CodeStartTime, "policy.start_time"}, // seven days ahead have been checked, a year is the house's bound
	{"policy.rate", umeng.CodeSendRate, "policy.max_send_num"},
	{"policy.description", umeng.CodeJSON, "description"},
	{"policy", umeng.CodePolicy, "policy"},
	{"key", umeng.CodePolicy, "policy.out_biz_no"},
	{"message.vendors." + Origin, umeng.CodeJSON, ""}, // what is around the payload
	{"message.vendors", umeng.CodePayload, "payload.channels_body"},
	{"message.notification.click.custom", umeng.CodeBody, "payload.body.custom"},
	{"message.notification.channel_", umeng.CodeJSON, "local_properties"},
	{"message.notification", umeng.CodeBody, "payload.body"},
	{"message.data", umeng.CodeBody, "payload.body"},
	{"message.extras", umeng.CodeExtra, "payload.extra"},
	{"message.apns", umeng.CodeNoAPS, "payload.aps"},
	{"message", umeng.CodePayloadTooLong, "payload"},
	{"audience.devices", umeng.CodeToken, "device_tokens"},
	{"audience", umeng.CodeNoDeviceTokens, "device_tokens"},
}

// appleCodes go before fieldCodes for iOS, where the same parts of a message come from other fields.
var appleCodes = []fieldCode{
	{"message.notification.title", umeng.CodeAlert, "payload.aps.alert"},
	{"message.notification.subtitle", umeng.CodeAlert, "payload.aps.alert"},
	{"message.notification.body", umeng.CodeAlert, "payload.aps.alert"},
	{"message.notification", umeng.CodeNoAPS, "payload.aps"},
	{"message.data", umeng.CodePayload, "payload"},
	{"message.extras", umeng.CodePayload, "payload"},
	{"audience.devices", umeng.CodeIOSToken, "device_tokens"},
}

// refusal returns err in the service's words, to a sender for platform (0: not known yet).
func refusal(platform push.Platform, err error) *umeng.Error {
	var e *umeng.Error
	if errors.As(err, &e) {
		return e
	}
	var pe *push.Error
	if !errors.As(err, &pe) {
		return umeng.NewError(umeng.CodeSystem, "")
	}
	if pe.Kind != push.Invalid {
		e := umeng.NewError(kindCodes[pe.Kind], "")
		if pe.Kind == push.TooMany && strings.HasPrefix(pe.Field, Origin+".") { // a quota, which says which
			e.Message += ": " + pe.Msg
		}
		return e
	}
	codes := fieldCodes
	if platform == push.IOS {
		codes = slices.Concat(appleCodes, fieldCodes)
	}
	for _, f := range codes {
		if !strings.HasPrefix(pe.Field, f.prefix) {
			continue
		}
		e := umeng.NewError(f.code, f.field)
		if pe.Msg != "" && f.field != "" {
			e.Message = f.field + ": " + pe.Msg
		}
		return e
	}
	return umeng.NewError(umeng.CodeJSON, "")
}

// refuse answers err. All refusals are a 400, whoever is to blame: senders look at the body of no other status.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, c call, err error) {
	e, id := refusal(c.platform, err), c.requestID
	switch e.Code {
	case umeng.CodeSystem, umeng.CodeBusy, codeFailed:
		s.opts.Log.Error("umeng request failed", "path", r.URL.Path, "request_id", id, "code", int(e.Code), "err", err)
	default:
		// A field is a path of the protocol and never a value of the request.
		s.opts.Log.Debug("umeng request refused", "path", r.URL.Path, "request_id", id, "code", int(e.Code), "field", e.Field)
	}
	answer(w, http.StatusBadRequest, e.Envelope())
}
