package umeng

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
)

// A Code is an error number of the service. It is a string on the wire, and is read from a string or a number. A Code
// is itself an error, so that errors.Is(err, umeng.CodeSignature) works on whatever this package returns.
type Code int

// Generation says which generation of the documentation lists a code: A is 2014 to 2016, B is 2017 and later.
type Generation string

// The generations.
const (
	GenerationA  Generation = "A"
	GenerationB  Generation = "B"
	GenerationAB Generation = "AB"
)

// Codes that this package or a server gives by name. The complete table is behind [Codes].
const (
	CodeNoAppKey        Code = 1000
	CodePayload         Code = 1001
	CodeBody            Code = 1002
	CodeNoCustom        Code = 1003
	CodeNoDisplayType   Code = 1004
	CodeImg             Code = 1005
	CodeURL             Code = 1007
	CodeNoTicker        Code = 1008
	CodeNoTitle         Code = 1009
	CodeNoText          Code = 1010
	CodePlayVibrate     Code = 1011
	CodePlayLights      Code = 1012
	CodePlaySound       Code = 1013
	CodeNoTask          Code = 1014
	CodeNoDeviceTokens  Code = 1015
	CodeNoType          Code = 1016
	CodeProductionMode  Code = 1017
	CodePushDisabled    Code = 1018
	CodeDisplayType     Code = 1019
	CodeNoURL           Code = 1022
	CodeNoActivity      Code = 1024
	CodeExtra           Code = 1026
	CodePolicy          Code = 1027
	CodeNotCancellable  Code = 1028
	CodeAppDisabled     Code = 2000
	CodeStartTime       Code = 2002
	CodeExpireTime      Code = 2003
	CodeWhitelistEmpty  Code = 2004
	CodeValidationToken Code = 2006
	CodeUnsigned        Code = 2007
	CodeJSON            Code = 2008
	CodeNoAlias         Code = 2009
	CodeTooManyAliases  Code = 2011
	CodeTooManyTokens   Code = 2015
	CodeNoFilter        Code = 2016
	CodeNoFileID        Code = 2018
	CodeNoFile          Code = 2019
	CodeUnknownAppKey   Code = 2021
	CodePayloadTooLong  Code = 2022
	CodeUpload          Code = 2023
	CodeSendRate        Code = 2024
	CodeNoAPS           Code = 2025
	CodeSignature       Code = 2027
	CodeTimestampWindow Code = 2028
	CodeNoContent       Code = 2029
	CodeFilterDate      Code = 2030
	CodeFilter          Code = 2031
	CodeTimestamp       Code = 2036
	CodeTimeFormat      Code = 2039
	CodeExpireTooLate   Code = 2040
	CodeStartTooLate    Code = 2046
	CodeNoAliasType     Code = 2047
	CodeType            Code = 2048
	CodeAliasAndFile    Code = 2049
	CodeTooMany         Code = 2050
	CodeNoTimestamp     Code = 2052
	CodeNoTaskID        Code = 2053
	CodeIP              Code = 2054
	CodeSystem          Code = 4000
	CodeBusy            Code = 4001
	CodeToken           Code = 4020
	CodeReservedKey     Code = 5002
	CodeNoAlert         Code = 5003
	CodeAlert           Code = 5004
	CodeIOSToken        Code = 5005
	CodeDatabase        Code = 6003
)

// Codes returns every known code in ascending order.
func Codes() []Code {
	all := make([]Code, 0, len(codeTable))
	for c := range codeTable {
		all = append(all, c)
	}
	slices.Sort(all)
	return all
}

// Meaning says in English what c means, or "unknown error" for a code outside the table.
func (c Code) Meaning() string {
	if info, ok := codeTable[c]; ok {
		return info.meaning
	}
	return "unknown error"
}

// Generation returns the documentation that lists c, or "" for a code outside the table.
func (c Code) Generation() Generation { return codeTable[c].generation }

// Error implements error: the number and its meaning.
func (c Code) Error() string { return fmt.Sprintf("umeng: %d %s", int(c), c.Meaning()) }

// MarshalJSON writes c as a JSON string.
func (c Code) MarshalJSON() ([]byte, error) { return []byte(`"` + strconv.Itoa(int(c)) + `"`), nil }

// UnmarshalJSON reads c from a JSON string or number.
func (c *Code) UnmarshalJSON(data []byte) error {
	n, err := strconv.Atoi(string(bytes.Trim(data, `"`)))
	if err != nil {
		return errors.New("umeng: error_code is not a number")
	}
	*c = Code(n)
	return nil
}

// An Error is the service's refusal of a request. errors.Is matches it with its Code. It never holds a value of the
// request, so it may be shown and logged.
type Error struct {
	Code    Code   `json:"error_code"`
	Message string `json:"error_msg"`
	Field   string `json:"-"` // path of the field at fault, such as "payload.body.title"; "" if there is none, or at the client
	Status  int    `json:"-"` // HTTP status; every refusal is a 400
}

// NewError returns the Error of code about field, which may be "". The message is the field and the code's meaning.
func NewError(code Code, field string) *Error {
	msg := code.Meaning()
	if field != "" {
		msg = field + ": " + msg
	}
	return &Error{Code: code, Message: msg, Field: field, Status: http.StatusBadRequest}
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("umeng: %d %s", int(e.Code), e.Message) }

// Is reports whether target is e's Code.
func (e *Error) Is(target error) bool { c, ok := target.(Code); return ok && c == e.Code }

// Envelope returns the response body of the refusal. All its values are strings.
func (e *Error) Envelope() []byte { return envelope("FAIL", e) }

// envelope wraps data, which is one of this package's wire types and therefore always encodes.
func envelope(ret string, data any) []byte {
	b, err := encodeJSON(struct {
		Ret  string `json:"ret"`
		Data any    `json:"data"`
	}{ret, data})
	if err != nil {
		panic("umeng: a response type does not encode: " + err.Error())
	}
	return b
}

// encodeJSON is json.Marshal without HTML escaping.
func encodeJSON(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
