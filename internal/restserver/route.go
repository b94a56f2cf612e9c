package restserver

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"reflect"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/carillonpush/carillon/internal/push"
)

// A route is one operation as data: where it is, who may use it, and what it takes and answers, for the mux and for the
// OpenAPI document alike.
type route struct {
	method, path string
	id           string // operation id, also the op in logs
	tag          string
	summary, doc string
	access       access
	params       []*huma.Param // query and header; those of the path are found in it
	body         any           // a value of the body's type; nil: none
	optional     bool          // the body may be left out, which is not the same as an empty one
	media        []string      // what a body that is not JSON may be
	example      string        // of the body, JSON
	limit        int64         // of the body; 0 means maxBody
	answers      []answer      // the first is the usual one
	events       any           // a value of the type of the events, where the answer is a stream of them
}

// An answer is a status and a value of the type of its body; nil: none.
type answer struct {
	status int
	body   any
	doc    string
}

// A call is one request on its way.
type call struct {
	r      *http.Request
	w      http.ResponseWriter
	rt     *route
	query  url.Values
	app    push.App // of the path; on routes below /v1/apps/{app}
	admin  bool
	ref    push.Ref // on routes of a device
	device string   // the name by which it authenticated
	status int      // of the answer, if it is not the usual one
	empty  bool     // there is no body

	requestID string // by which its sender calls it; "" is none. On routes that read it
}

// bare registers a route whose handler writes the answer itself, unless it returns an error.
func (s *Server) bare(rt route, fn func(c *call) error) {
	op := operation(s.api, &rt)
	s.api.OpenAPI().AddOperation(op)
	s.api.Adapter().Handle(op, func(hc huma.Context) {
		r, w := humago.Unwrap(hc)
		defer func() {
			if cause := recover(); cause != nil {
				s.recovered(w, r, rt.id, cause)
			}
		}()
		c := &call{r: r, w: w, rt: &rt, query: r.URL.Query(), status: rt.answers[0].status}
		err := s.admit(c, rt.access)
		if err == nil {
			err = c.checkParams()
		}
		if err == nil {
			err = fn(c)
		}
		if err != nil {
			s.refuse(w, r, rt.id, err)
		}
	})
}

// handle registers a route that takes a body of type B, or none if rt.body is nil, and answers what fn returns.
func handle[B any](s *Server, rt route, fn func(ctx context.Context, c *call, body *B) (any, error)) {
	s.bare(rt, func(c *call) error {
		var body B
		if err := c.take(&body); err != nil {
			return err
		}
		v, err := fn(c.r.Context(), c, &body)
		if err != nil {
			return err
		}
		if v == nil {
			c.w.WriteHeader(http.StatusNoContent)
			return nil
		}
		writeJSON(c.w, c.status, "application/json", v)
		return nil
	})
}

// take reads the body, if the route has one, into v.
func (c *call) take(v any) error {
	c.empty = true
	if c.rt.body == nil {
		return nil
	}
	b, err := read(c.w, c.r, limitOf(c.rt))
	switch {
	case err != nil:
		return err
	case len(b) > 0 || !c.rt.optional:
		c.empty = false
		return decode(b, v)
	case c.r.Header.Get("Content-Type") != "":
		// Some proxies drop the body of a DELETE: what was to remove one thing must not become what removes all.
		return invalid("", "the body that Content-Type speaks of has not arrived")
	}
	return nil
}

// none is the body of routes without one.
type none struct{}

// limitOf returns how large rt's body may be.
func limitOf(rt *route) int64 {
	if rt.limit > 0 {
		return rt.limit
	}
	return maxBody
}

// recovered answers for a handler that panicked. http.ErrAbortHandler is for the HTTP server.
func (s *Server) recovered(w http.ResponseWriter, r *http.Request, op string, cause any) {
	if cause == http.ErrAbortHandler {
		panic(cause)
	}
	s.log.Error("handler panicked", "op", op, "cause", cause, "stack", string(debug.Stack()))
	s.refuse(w, r, op, &push.Error{Op: op, Kind: push.Internal, Msg: "panic"})
}

// inApp returns the {app} of the path.
func (c *call) inApp() (string, bool) {
	return c.r.PathValue("app"), strings.Contains(c.rt.path, "{app}")
}

// checkParams refuses query parameters that the route does not know, since ?dryrun=true must not send, and names in the
// path that cannot be anything's.
func (c *call) checkParams() error {
	for name := range c.query {
		if !slices.ContainsFunc(c.rt.params, func(p *huma.Param) bool { return p.In == "query" && p.Name == name }) {
			return invalid(name, "is not a parameter here")
		}
	}
	if slices.ContainsFunc(c.rt.params, func(p *huma.Param) bool { return p.Name == requestHeader }) {
		if err := c.checkRequestID(); err != nil {
			return err
		}
	}
	for _, name := range pathParams(c.rt.path) {
		if c.r.PathValue(name) == slash {
			c.r.SetPathValue(name, "/")
		}
		if !clean(c.r.PathValue(name)) {
			return notFound("no such " + name)
		}
	}
	return nil
}

// checkRequestID reads the id that the sender gave the request, and answers it back, whatever becomes of the request.
func (c *call) checkRequestID() error {
	v := c.r.Header.Get(requestHeader)
	if len(v) > 128 || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return invalid(requestHeader, "has at most 128 visible ASCII characters")
	}
	if v != "" {
		c.requestID = v
		c.w.Header().Set(requestHeader, v)
	}
	return nil
}

// clean reports whether text can be anything's name: UTF-8 without NUL.
func clean(text string) bool { return utf8.ValidString(text) && !strings.ContainsRune(text, 0) }

// nameable reports whether text can be the name of a device, or an alias.
func nameable(text string) bool { return text != "" && len(text) <= push.MaxTarget && clean(text) }

// flag returns a boolean query parameter; absent is false.
func (c *call) flag(name string) (bool, error) {
	v, given := c.query[name]
	switch {
	case !given:
		return false, nil
	case v[0] == "true" || v[0] == "1" || v[0] == "":
		return true, nil
	case v[0] == "false" || v[0] == "0":
		return false, nil
	}
	return false, invalid(name, "must be true or false")
}

// Pages of lists.
const (
	defaultPage = 100
	maxPage     = 1000
)

// page returns the parameters of a list.
func (c *call) page() (cursor string, limit int, err error) {
	cursor, limit = c.query.Get("cursor"), c.rt.pageSize()
	if v := c.query.Get("limit"); v != "" {
		if limit, err = strconv.Atoi(v); err != nil || limit < 1 || limit > maxPage {
			return "", 0, invalid("limit", "must be a number from 1 to 1000")
		}
	}
	if !clean(cursor) {
		return "", 0, badCursor()
	}
	return cursor, limit, nil
}

// pageSize returns how many items a page has unless the caller says, as the document has it.
func (rt *route) pageSize() int {
	for _, p := range rt.params {
		if n, ok := p.Schema.Default.(int); ok && p.Name == "limit" {
			return n
		}
	}
	return defaultPage
}

// badCursor returns the error for a cursor that leads nowhere.
func badCursor() error { return invalid("cursor", "is not one that a list gave") }

// pageOf answers one page of all, a list that is in memory, in the order of its keys, no two of which are the same. A cursor
// is the key of the last item of the page before, so that it holds when items come and go.
func pageOf[T any](c *call, all []T, key func(T) string) (any, error) {
	cursor, limit, err := c.page()
	if err != nil {
		return nil, err
	}
	all = slices.SortedFunc(slices.Values(all), func(a, b T) int { return cmp.Compare(key(a), key(b)) })
	if cursor != "" {
		all = slices.DeleteFunc(all, func(v T) bool { return key(v) <= cursor })
	}
	if len(all) <= limit {
		return listOf(all, ""), nil
	}
	return listOf(all[:limit], key(all[limit-1])), nil
}

// A List is one page of a list, newest first unless its route says otherwise. Next is the cursor of the next page; without one this is the last.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// listOf returns a page whose items are never null.
func listOf[T any](items []T, next string) List[T] {
	if items == nil {
		items = []T{}
	}
	return List[T]{Items: items, Next: next}
}

// pathParams returns the names in braces.
func pathParams(path string) []string {
	var names []string
	for _, part := range strings.Split(path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			names = append(names, strings.TrimSuffix(name, "}"))
		}
	}
	return names
}

// operation returns rt as OpenAPI says it.
func operation(api huma.API, rt *route) *huma.Operation {
	reg := api.OpenAPI().Components.Schemas
	op := &huma.Operation{
		OperationID: rt.id, Method: rt.method, Path: rt.path, Tags: []string{rt.tag},
		Summary: rt.summary, Description: rt.doc, Responses: map[string]*huma.Response{},
		Security: []map[string][]string{},
	}
	// Schemes that stand beside each other are alternatives; none means open.
	switch rt.access {
	case admin:
		op.Security = append(op.Security, map[string][]string{"admin": {}})
	case sender:
		op.Security = append(op.Security, map[string][]string{"key": {}}, map[string][]string{"admin": {}})
	case device:
		op.Security = append(op.Security, map[string][]string{"device": {}})
	}
	for _, name := range pathParams(rt.path) {
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: name, In: "path", Required: true, Description: pathDocs[name], Schema: &huma.Schema{Type: "string"},
		})
	}
	op.Parameters = append(op.Parameters, rt.params...)
	if rt.body != nil {
		m := &huma.MediaType{Schema: reg.Schema(reflect.TypeOf(rt.body), true, rt.id+"Body")}
		if rt.example != "" {
			m.Example = mustJSON(rt.example)
		}
		op.RequestBody = &huma.RequestBody{Required: !rt.optional, Content: map[string]*huma.MediaType{"application/json": m}}
	}
	if rt.media != nil {
		op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{}}
		for _, media := range rt.media {
			op.RequestBody.Content[media] = &huma.MediaType{}
		}
	}
	for _, a := range rt.answers {
		resp := &huma.Response{Description: a.doc}
		if rt.events != nil {
			resp.Content = map[string]*huma.MediaType{"text/event-stream": {Schema: reg.Schema(reflect.TypeOf(rt.events), true, rt.id)}}
		}
		if a.body != nil {
			resp.Content = map[string]*huma.MediaType{"application/json": {Schema: reg.Schema(reflect.TypeOf(a.body), true, rt.id)}}
		}
		op.Responses[strconv.Itoa(a.status)] = resp
	}
	op.Responses["default"] = &huma.Response{
		Description: "What went wrong.",
		Content:     map[string]*huma.MediaType{problemType: {Schema: reg.Schema(reflect.TypeFor[Problem](), true, "Problem")}},
	}
	return op
}
