// Package restserver is the native API over HTTP: REST for senders and administrators under /v1, the device API under
// /device/v1, the OpenAPI document that describes both, and a page that shows it.
//
// Routes are data: what a route takes and answers is a Go type, from which the OpenAPI document is made, so that the two
// cannot differ. Bodies are read strictly. Every error is a Problem.
package restserver

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Options are what a Server can do without. The zero value of each means its default.
type Options struct {
	// AdminToken opens everything. Empty: nobody is an administrator.
	AdminToken string
	// RemoteIP returns the address that a request came from, behind proxies that are trusted. Default: the connection's.
	RemoteIP func(*http.Request) netip.Addr
	// MQTT says where devices connect, as the client of a request sees it. Default: the request's host, the standard port
	// and the WebSocket of the same address.
	MQTT func(*http.Request) MQTT
	// Version is the one of the OpenAPI document. Default "dev".
	Version string
	// Heartbeat is how often a comment is sent on a quiet stream, of an inbox or of events. Default 15 s.
	Heartbeat time.Duration
	// Log gets internal errors. Default: nothing is logged.
	Log *slog.Logger
}

// MQTT is where a device connects. A port of 0 is closed.
type MQTT struct {
	Host      string `json:"host"`
	Port      int    `json:"port,omitempty"`
	TLSPort   int    `json:"tls_port,omitempty"`
	WebSocket string `json:"websocket,omitempty"`
}

// Limits of requests. The HTTP server has no time-outs of its own for what follows the header, since an inbox stream has
// no end; so every body and every answer has one here, and a peer that stalls holds a connection for no longer.
const (
	maxBody       = 4 << 20          // bytes of a body
	maxBatch      = 16 << 20         // bytes of a batch: a thousand pushes of 16 KiB
	bodyTimeout   = 60 * time.Second // for a body to arrive
	answerTimeout = 30 * time.Second // for an answer to be taken
)

// A Server answers the native API. It keeps no state but a lock and whether it drains, and starts no goroutine that outlives
// its request.
type Server struct {
	house House
	opts  Options
	admin [sha256.Size]byte
	log   *slog.Logger
	mux   *http.ServeMux
	api   huma.API

	patching sync.Mutex // held while an app is read, changed and written
	draining sync.Once
	drained  chan struct{} // closed when streams of events are to end
}

// New returns a Server over house, all of whose ports are needed. opts may be nil.
func New(house House, opts *Options) *Server {
	s := &Server{house: house, mux: http.NewServeMux(), drained: make(chan struct{})}
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.RemoteIP == nil {
		s.opts.RemoteIP = connectionIP
	}
	if s.opts.MQTT == nil {
		s.opts.MQTT = defaultMQTT
	}
	if s.opts.Version == "" {
		s.opts.Version = "dev"
	}
	if s.opts.Heartbeat <= 0 {
		s.opts.Heartbeat = 15 * time.Second
	}
	s.log = s.opts.Log
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.admin = sha256.Sum256([]byte(s.opts.AdminToken))

	s.api = humago.New(s.mux, huma.Config{OpenAPI: document(s.opts.Version)})
	aliases(s.api.OpenAPI().Components.Schemas)
	s.appRoutes()
	s.pushRoutes()
	s.batchRoute()
	s.controlRoutes()
	s.accountRoute()
	s.scheduleRoutes()
	s.templateRoutes()
	s.reportRoutes()
	s.webhookRoutes()
	s.eventRoute()
	s.deviceRoutes()
	s.importRoute()
	s.labelRoutes()
	s.tagRoutes()
	s.fileRoutes()
	s.meRoutes()
	s.meLabelRoutes()
	s.doctorRoutes()
	s.documentation()
	s.mux.HandleFunc("/", s.unrouted)
	return s
}

// Handler returns what serves /v1/, /device/v1/, /openapi.json and /docs, and answers all other paths that they do not
// exist. It is safe for concurrent use.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// Drain ends the streams of events, which have no end of their own, and refuses new ones. Shutting an HTTP server down waits
// for them: it is for http.Server.RegisterOnShutdown. Calling it again does nothing.
func (s *Server) Drain() { s.draining.Do(func() { close(s.drained) }) }

// serve keeps paths that are not clean ("//v1/apps", "/v1/./apps") away from the mux, which would redirect them: a sender
// does not follow with its body.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	sent := r.URL.EscapedPath()
	clean := path.Clean("/" + sent)
	if strings.HasSuffix(sent, "/") && clean != "/" {
		clean += "/"
	}
	if clean != sent {
		s.noRoute(w)
		return
	}
	s.mux.ServeHTTP(w, withSlash(r))
}

// slash is the segment of a path that withSlash puts in the place of "/". No name begins with NUL.
const slash = "\x00/"

// withSlash returns r with segments that are "/" alone, as a tag may be, in a form that the mux takes for a segment: it
// takes %2F for the end of the path. checkParams puts it right again. A segment that was sent in that form is made another
// one that is nobody's name.
func withSlash(r *http.Request) *http.Request {
	parts := strings.Split(r.URL.EscapedPath(), "/")
	found := false
	for i, p := range parts {
		switch strings.ToUpper(p) {
		case "%2F":
			parts[i], found = "%00%2F", true
		case "%00%2F":
			parts[i], found = "%00", true
		}
	}
	if !found {
		return r
	}
	u := *r.URL
	u.RawPath = strings.Join(parts, "/")
	u.Path, _ = url.PathUnescape(u.RawPath) // the mux has RawPath only if it is Path, escaped
	changed := *r
	changed.URL = &u
	return &changed
}

// noRoute answers that a path is nobody's.
func (s *Server) noRoute(w http.ResponseWriter) {
	p := problemOf(notFound("there is no such route"))
	writeJSON(w, p.Status, problemType, p)
}

// Home sends a visitor of the bare address to the documentation.
func (s *Server) Home(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "/docs", http.StatusFound)
}

// unrouted answers what no route takes: 405 where another method would be taken, else 404.
func (s *Server) unrouted(w http.ResponseWriter, r *http.Request) {
	// The mux would say 405 by itself if there were no pattern that takes everything else.
	var allow []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := r.Clone(context.Background())
		other.Method = m
		if _, pattern := s.mux.Handler(other); strings.HasPrefix(pattern, m+" ") {
			allow = append(allow, m)
		}
	}
	if allow == nil {
		s.noRoute(w)
		return
	}
	w.Header().Set("Allow", strings.Join(allow, ", "))
	// No failure inside the house is of this sort, so it has a code and no push.Kind.
	writeJSON(w, http.StatusMethodNotAllowed, problemType, Problem{
		Type: typePrefix + methodNotAllowed, Title: "Method not allowed", Status: http.StatusMethodNotAllowed,
		Detail: "this route takes " + strings.Join(allow, ", "), Code: methodNotAllowed,
	})
}

// connectionIP is the default of Options.RemoteIP.
func connectionIP(r *http.Request) netip.Addr {
	ap, _ := netip.ParseAddrPort(r.RemoteAddr) // the zero Addr where the connection has none
	return ap.Addr().Unmap()
}

// defaultMQTT is the default of Options.MQTT.
func defaultMQTT(r *http.Request) MQTT {
	host, scheme := r.Host, "ws"
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	if r.TLS != nil {
		scheme = "wss"
	}
	return MQTT{Host: strings.Trim(host, "[]"), Port: 1883, WebSocket: scheme + "://" + r.Host + "/mqtt"}
}

// devicePath reports whether path is one of the device API, whose callers authenticate in another way.
func devicePath(path string) bool { return strings.HasPrefix(path, "/device/") }
