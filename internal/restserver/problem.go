package restserver

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// A Problem is how every error is answered: RFC 9457, with a stable code and the path of the field at fault.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Code   string `json:"code"`
	Field  string `json:"field,omitempty"`
}

const (
	problemType      = "application/problem+json"
	typePrefix       = "/docs#error-"       // of Problem.Type; the code follows
	methodNotAllowed = "method_not_allowed" // the one code that is no push.Kind's
)

// answers is the one mapping from kinds to statuses and titles.
var answers = map[push.Kind]struct {
	status int
	title  string
}{
	push.Internal:        {http.StatusInternalServerError, "Internal error"},
	push.Invalid:         {http.StatusBadRequest, "Invalid request"},
	push.Unauthenticated: {http.StatusUnauthorized, "Not authenticated"},
	push.Denied:          {http.StatusForbidden, "Not allowed"},
	push.NotFound:        {http.StatusNotFound, "Not found"},
	push.Conflict:        {http.StatusConflict, "Conflict"},
	push.TooLarge:        {http.StatusRequestEntityTooLarge, "Too large"},
	push.TooMany:         {http.StatusTooManyRequests, "Too many requests"},
	push.Unavailable:     {http.StatusServiceUnavailable, "Unavailable"},
}

// problemOf returns err as callers may see it: the causes of an internal error stay inside.
func problemOf(err error) Problem {
	var e *push.Error
	if !errors.As(err, &e) {
		e = &push.Error{Kind: push.Internal}
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			e = &push.Error{Kind: push.Unavailable, Msg: "the request ended before its outcome was known"}
		}
	}
	kind := e.Kind
	a, ok := answers[kind]
	if !ok {
		kind, a = push.Internal, answers[push.Internal]
	}
	p := Problem{Type: typePrefix + kind.Error(), Title: a.title, Status: a.status, Code: kind.Error(), Field: e.Field}
	switch {
	case kind == push.Internal:
		p.Detail, p.Field = "the fault is on the server's side; repeating the request may help", ""
	case e.Msg != "" && e.Field != "" && kind == push.Invalid:
		// Messages about a field are written to be read after its name.
		p.Detail = e.Field + ": " + e.Msg
	default:
		p.Detail = e.Msg
	}
	return p
}

// retryAfter returns the seconds for the header Retry-After, 0 for none. Refusals that pass with time always have one.
func retryAfter(err error, status int) int {
	if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
		return 0
	}
	var e *push.Error
	if errors.As(err, &e) && e.RetryAfter > 0 {
		return int(math.Ceil(e.RetryAfter.Seconds()))
	}
	return 1
}

// refuse answers err, and logs it if it is a fault of ours.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, op string, err error) {
	p := problemOf(err)
	if n := retryAfter(err, p.Status); n > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(n))
	}
	if p.Status == http.StatusUnauthorized {
		scheme := "Bearer"
		if devicePath(r.URL.Path) {
			scheme = "Device"
		}
		w.Header().Set("WWW-Authenticate", scheme)
	}
	// A caller that hung up is not our fault.
	if p.Status >= http.StatusInternalServerError && r.Context().Err() == nil {
		s.log.LogAttrs(r.Context(), slog.LevelError, "request failed",
			slog.String("op", op), slog.String("code", p.Code), slog.Any("err", err))
	}
	writeJSON(w, p.Status, problemType, p)
}

// writeJSON answers v. That the caller has gone is not an error.
func writeJSON(w http.ResponseWriter, status int, contentType string, v any) {
	b, err := json.Marshal(v)
	if err != nil { // only a type that cannot be JSON; the tests answer every route's
		http.Error(w, "", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(b)+1))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Now().Add(answerTimeout))
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
	_ = rc.SetWriteDeadline(time.Time{}) // the connection may serve requests of others next
}

// invalid returns the error for a field that breaks a rule; msg is read after the field's name.
func invalid(field, msg string) error { return &push.Error{Kind: push.Invalid, Field: field, Msg: msg} }

// tooLarge returns the error for a body of more than limit bytes.
func tooLarge(limit int64) error {
	return &push.Error{Kind: push.TooLarge, Msg: "the body is larger than " + strconv.FormatInt(limit, 10) + " bytes"}
}

// denied returns the error for a caller who is known and not allowed.
func denied(msg string) error { return &push.Error{Kind: push.Denied, Msg: msg} }
