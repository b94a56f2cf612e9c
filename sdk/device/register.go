package device

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A Registration is what a device says of itself.
type Registration struct {
	AppKey     string                     `json:"app_key"`
	AppSecret  string                     `json:"app_secret"`
	Platform   string                     `json:"platform"`   // android, ios, harmony or web
	InstallID  string                     `json:"install_id"` // at least 128 random bits, made once and kept
	Attributes map[string]string          `json:"attributes,omitempty"`
	Tokens     map[string]json.RawMessage `json:"tokens,omitempty"` // vendor tokens by channel: a text or an object

	// PreviousID is the id that the device had at another service. If the app has imported it, the device becomes the
	// imported one, and pushes to that id reach it. PreviousProof shows that it may: the lower-case hex of HMAC-SHA256 of
	// PreviousID under the app's API key, which the app's own servers compute and hand out, for the key stays with them. An
	// app can be set to do without.
	PreviousID    string `json:"previous_id,omitempty"`
	PreviousProof string `json:"previous_proof,omitempty"`
}

// An Identity is what a device gets for registering, and keeps. Its JSON form is the server's answer. Secret is shown
// once; whoever has it is the device.
type Identity struct {
	DeviceID  string   `json:"device_id"`  // 32 hex digits
	ChannelID string   `json:"channel_id"` // the same device in digits only
	Secret    string   `json:"secret"`
	Adopted   bool     `json:"adopted,omitempty"` // whether it is the imported device of Registration.PreviousID
	MQTT      Endpoint `json:"mqtt"`
}

// An Endpoint is where to connect. A port of 0 and an empty URL are not offered.
type Endpoint struct {
	Host      string `json:"host"`
	Port      int    `json:"port,omitempty"`
	TLSPort   int    `json:"tls_port,omitempty"`
	WebSocket string `json:"websocket,omitempty"` // ws:// or wss://
}

// RegisterOptions are the optional parts of Register. The zero value, like nil, means the documented defaults.
type RegisterOptions struct {
	// HTTPClient performs the request; nil means one with a timeout of 30 s.
	HTTPClient *http.Client
	// Current is the identity that the installation has already. With it registering again keeps the secret; without it
	// the secret is replaced.
	Current *Identity
}

// An Error is a refusal of the server: an RFC 9457 problem.
type Error struct {
	Status     int           // HTTP status
	Code       string        // stable: "invalid", "unauthenticated", "too_many", …
	Field      string        // what is at fault, as a path; may be empty
	Detail     string        // a sentence
	RetryAfter time.Duration // 0 if the server did not say
}

// Error returns code, field and sentence.
func (e *Error) Error() string {
	s := "device: " + e.Code
	if e.Field != "" && !strings.HasPrefix(e.Detail, e.Field+":") {
		s += ": " + e.Field
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// maxAnswer is the most that is read of an answer.
const maxAnswer = 1 << 20

// Register registers a device at the server with base URL server. It does not retry. The error is an *Error if the
// server refused, and ErrInvalid if r has text that is not UTF-8.
func Register(ctx context.Context, server string, r Registration, opts *RegisterOptions) (Identity, error) {
	if opts == nil {
		opts = new(RegisterOptions)
	}
	if err := mustBeText("register", r.Attributes, r.AppKey, r.AppSecret, r.Platform, r.InstallID, r.PreviousID, r.PreviousProof); err != nil {
		return Identity{}, err
	}
	answer, err := call(ctx, opts.HTTPClient, "register", http.MethodPost, server, "/device/v1/register", r, opts.Current)
	if err != nil {
		return Identity{}, err
	}
	var id Identity
	if err := json.Unmarshal(answer, &id); err != nil || id.DeviceID == "" {
		return Identity{}, errors.New("device: register: the answer is not an identity")
	}
	return id, nil
}

// call makes a call to the device API and returns the answer: what names it in errors, as is who the device is, nil if nobody yet.
func call(ctx context.Context, client *http.Client, what, method, server, path string, body any, as *Identity) ([]byte, error) {
	if client == nil {
		client = &http.Client{Timeout: 30 * time.Second}
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("device: %s: %w", what, err)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(server, "/")+path, bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("device: %s: %w", what, err)
	}
	req.Header.Set("Content-Type", "application/json")
	if as != nil {
		req.Header.Set("Authorization", "Device "+as.DeviceID+":"+as.Secret)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("device: %s: %w", what, err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing is written
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("device: %s: %w", what, err)
	}
	if resp.StatusCode >= 300 {
		return nil, problem(resp, answer)
	}
	return answer, nil
}

// problem returns the error that an answer stands for, whoever gave it: a proxy's page has no code.
func problem(resp *http.Response, answer []byte) *Error {
	var p struct {
		Code, Field, Detail string
	}
	if json.Unmarshal(answer, &p) != nil || p.Code == "" {
		p.Code, p.Detail = "http_"+strconv.Itoa(resp.StatusCode), http.StatusText(resp.StatusCode)
	}
	e := &Error{Status: resp.StatusCode, Code: p.Code, Field: p.Field, Detail: p.Detail}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s >= 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}
