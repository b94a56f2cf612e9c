// Package umengserver stands in for the Umeng U-Push server API: what the SDKs of that service send is verified, mapped
// to the domain, and answered in the service's own words. The wire types, limits, codes and the signature are those of
// sdk/umeng, which speaks for the other end as well.
//
// The facts are those of protocols/umeng.md; comments cite its sections.
package umengserver

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/carillonpush/carillon/internal/facade"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/sdk/umeng"
)

// Apps finds the app that a request speaks for. It is safe for concurrent use.
type Apps interface {
	// UmengApp returns the app and the platform that appkey stands for, and the secrets that are valid for it now: more than
	// one for a while after they were changed. NotFound if nobody has the appkey.
	UmengApp(appkey string) (push.App, push.Platform, []string, error)
}

// Options change what a Server does. The zero value, like nil, is a server without proxies before it.
type Options struct {
	Edge facade.Edge
	Now  func() time.Time // nil means time.Now
	Log  *slog.Logger     // nil discards
}

// A Server answers Umeng's paths. It is an http.Handler, safe for concurrent use, and starts no goroutines.
type Server struct {
	pushes  facade.Pushes
	apps    Apps
	opts    Options
	handler http.Handler
}

// New returns a Server that hands what it is sent to pushes. opts may be nil.
func New(pushes facade.Pushes, apps Apps, opts *Options) *Server {
	s := &Server{pushes: pushes, apps: apps}
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.Now == nil {
		s.opts.Now = time.Now
	}
	if s.opts.Log == nil {
		s.opts.Log = slog.New(slog.DiscardHandler)
	}
	s.handler = facade.Recover(http.HandlerFunc(s.serve), s.opts.Log, func(w http.ResponseWriter) {
		answer(w, http.StatusBadRequest, umeng.NewError(umeng.CodeSystem, "").Envelope())
	})
	return s
}

// Owns reports whether path is one of the service's: under /api/, or /upload, whose slashes may be doubled, as those of
// senders are whose host ends in one. A Server answers all of them, the unknown ones with the service's FAIL. What routes
// requests to it must not clean paths, neither by redirecting, because senders do not follow (section 2.1), nor in silence,
// because the signature covers the path as it was sent.
func Owns(path string) bool {
	path = single(path)
	return strings.HasPrefix(path, "/api/") || path == "/upload"
}

// single returns path with one slash for each run of them.
func single(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return path
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// A call is one authenticated request on its way through an endpoint.
type call struct {
	app       push.App
	platform  push.Platform
	root      umeng.Root
	now       time.Time
	requestID string
	dryRun    bool
}

// An endpoint does what a path is for, and returns the body of the answer.
type endpoint func(w http.ResponseWriter, r *http.Request, c call) ([]byte, error)

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	var do endpoint
	switch single(r.URL.Path) {
	case umeng.PathSend:
		do = s.send
	case umeng.PathStatus:
		do = s.status
	case umeng.PathCancel:
		do = s.cancel
	default:
		e := umeng.NewError(codeIllegal, "")
		e.Message = "no such path in this version"
		answer(w, http.StatusNotFound, e.Envelope())
		return
	}
	if r.Method != http.MethodPost {
		e := umeng.NewError(codeIllegal, "")
		e.Message = "the method is POST"
		w.Header().Set("Allow", http.MethodPost)
		answer(w, http.StatusMethodNotAllowed, e.Envelope())
		return
	}
	id := facade.RequestID()
	c, err := s.authenticate(w, r)
	c.requestID = id
	var body []byte
	if err == nil {
		body, err = do(w, r, c)
	}
	if err != nil {
		s.refuse(w, r, c, err)
		return
	}
	answer(w, http.StatusOK, body)
}

// authenticate does steps 1 to 4 of section 13, in that order: until the signature has been checked, an answer tells no
// more than the appkey's own existence.
func (s *Server) authenticate(w http.ResponseWriter, r *http.Request) (call, error) {
	body, err := facade.ReadBody(w, r, facade.DefaultBodyLimit)
	if err != nil {
		e := umeng.NewError(umeng.CodeJSON, "")
		var pe *push.Error
		if errors.As(err, &pe) {
			e.Message = pe.Msg
		}
		return call{}, e
	}
	root, err := umeng.ParseRoot(body)
	if err != nil {
		return call{}, err
	}
	appkey, err := root.AppKey()
	if err != nil {
		return call{}, err
	}
	app, platform, secrets, err := s.apps.UmengApp(appkey)
	switch {
	case errors.Is(err, push.NotFound):
		return call{}, umeng.NewError(umeng.CodeUnknownAppKey, "appkey")
	case err != nil:
		return call{}, err
	case app.Settings.Bool(push.SettingDisabled):
		return call{}, umeng.NewError(umeng.CodeAppDisabled, "appkey")
	case !facade.Allowed(app, s.opts.Edge.Client(r)):
		return call{}, umeng.NewError(umeng.CodeIP, "")
	}
	now := s.opts.Now()
	if err := root.CheckTimestamp(now); err != nil {
		return call{}, err
	}
	// Only the URL's query is read: parsing a form would take the body of senders that call their JSON one.
	sign := r.URL.Query().Get("sign")
	if sign == "" {
		return call{}, umeng.NewError(umeng.CodeUnsigned, "sign")
	}
	if !s.signed(r, sign, body, secrets) {
		return call{}, umeng.NewError(umeng.CodeSignature, "sign")
	}
	return call{app: app, platform: platform, root: root, now: now, dryRun: facade.DryRun(r)}, nil
}

// signed reports whether sign is right for any of the URLs that the sender may have called, under any valid secret.
func (s *Server) signed(r *http.Request, sign string, body []byte, secrets []string) bool {
	urls := umeng.CandidateURLs(umeng.Received{
		Host: r.Host, Target: r.RequestURI, ForwardedHost: s.opts.Edge.Host(r), Public: s.opts.Edge.Public,
	})
	for _, secret := range secrets {
		if umeng.Verify(sign, secret, body, urls) {
			return true
		}
	}
	return false
}

func answer(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the sender may be gone
}
