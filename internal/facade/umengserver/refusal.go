package umengserver

import (
	"errors"
	"net/http"
	"strings"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/sdk/umeng"
)

// Codes of generation A for which generation B has none.
const (
	codeFailed  umeng.Code = 4002 // operation failed
	codeIllegal umeng.Code = 4024 // illegal access
)

// kindCodes says which code stands for a failure of the house that is not about one field (section 12).
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

// fieldCodes says which code and which field of the request stand for a field of the domain that the house refused, by
// prefix, the longest first. Validation has seen to the service's own rules before; what is left are the house's.
var fieldCodes = []struct {
	prefix string
	code   umeng.Code
	field  string
}{
	{"policy.collapse_id", umeng.CodePolicy, "policy.apns_collapse_id"},
	{"policy.expire_at", umeng.CodeExpireTooLate, "policy.expire_time"},
	{"policy.start_at", umeng.CodeStartTooLate, "policy.start_time"},
	{"policy.rate", umeng.CodeSendRate, "policy.max_send_num"},
	{"policy", umeng.CodePolicy, "policy"},
	{"message.vendors", umeng.CodePayload, "payload"},
	{"message.notification", umeng.CodeBody, "payload.body"},
	{"message", umeng.CodePayloadTooLong, "payload"},
	{"audience", umeng.CodeNoDeviceTokens, "device_tokens"},
}

// refusal returns err in the service's words.
func refusal(err error) *umeng.Error {
	var e *umeng.Error
	if errors.As(err, &e) {
		return e
	}
	var pe *push.Error
	if !errors.As(err, &pe) {
		return umeng.NewError(umeng.CodeSystem, "")
	}
	if pe.Kind != push.Invalid {
		return umeng.NewError(kindCodes[pe.Kind], "")
	}
	for _, f := range fieldCodes {
		if strings.HasPrefix(pe.Field, f.prefix) {
			e := umeng.NewError(f.code, f.field)
			if pe.Msg != "" {
				e.Message = f.field + ": " + pe.Msg
			}
			return e
		}
	}
	return umeng.NewError(umeng.CodeJSON, "")
}

// refuse answers err. All refusals are a 400, whoever is to blame: senders look at the body of no other status.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, id string, err error) {
	e := refusal(err)
	switch e.Code {
	case umeng.CodeSystem, umeng.CodeBusy, codeFailed:
		s.opts.Log.Error("umeng request failed", "path", r.URL.Path, "request_id", id, "code", int(e.Code), "err", err)
	default:
		// A field is a path of the protocol and never a value of the request.
		s.opts.Log.Debug("umeng request refused", "path", r.URL.Path, "request_id", id, "code", int(e.Code), "field", e.Field)
	}
	answer(w, http.StatusBadRequest, e.Envelope())
}
