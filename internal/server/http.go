package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/carillonpush/carillon/internal/facade"
	"github.com/carillonpush/carillon/internal/facade/umengserver"
	"github.com/carillonpush/carillon/internal/gateway"
	"github.com/carillonpush/carillon/internal/restserver"
)

// Time-outs of HTTP connections. Requests have no time-out of their own, because an inbox stream has no end.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10
)

// phoneKeepAlive is how TCP looks after the connections of devices: rarely, since each probe wakes a radio, and the keep-alive
// of MQTT finds most of those that are gone.
var phoneKeepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Minute, Interval: 75 * time.Second, Count: 4}

// openNetwork makes the handlers and opens the listeners. They accept when Run serves them.
func (s *Server) openNetwork(ctx context.Context) error {
	if err := s.listen(ctx); err != nil {
		return err
	}
	edge := facade.Edge{Trusted: s.config.TrustedProxies, Public: s.config.PublicURLs}
	life := pushes{s.dispatcher, s.schedules, s.store, s.ledger}
	rest := restserver.New(restserver.House{
		Pushes: life, Control: s.dispatcher, Events: s.dispatcher, Apps: s.registry, Keys: s.registry, Devices: devices{s.registry, s.dispatcher}, Lists: s.registry,
		Inbox: s.gateway, Labels: s.registry, Tags: s.registry, Files: s.registry, Imports: s.registry, Doctor: s.registry,
		Late: restserver.Late{
			Accounts: s.accounts(), Schedules: s.schedules, Occurrences: s.schedules, Templates: templates{s.store},
			Reports: reports{s.ledger, s.registry}, Webhooks: s.webhooks, Stream: s.webhooks,
		},
	}, &restserver.Options{
		AdminToken: s.token, RemoteIP: edge.Client, MQTT: s.deviceAddress(edge), Version: s.opts.Version, Log: s.log,
	})
	umeng := umengserver.New(life, s.registry, &umengserver.Options{Edge: edge, Log: s.log})
	s.api, s.ending = s.route(rest, umeng), rest.Drain
	s.private = adminHandler(s.metrics, &s.ready)
	return nil
}

// route sends each request to the API that its path belongs to. Façades come first and see the path as it was sent:
// signatures cover it, so that it must not be cleaned, nor a sender redirected.
func (s *Server) route(rest *restserver.Server, umeng *umengserver.Server) http.Handler {
	umengAPI, restAPI := s.measured("umeng", umeng), s.measured("rest", rest.Handler())
	deviceAPI := s.measured("device", rest.Handler())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case umengserver.Owns(path):
			umengAPI.ServeHTTP(w, r)
		case path == "/mqtt":
			s.gateway.ServeHTTP(w, r)
		case path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
			rest.Home(w, r)
		case strings.HasPrefix(path, "/device/"):
			deviceAPI.ServeHTTP(w, r)
		default:
			restAPI.ServeHTTP(w, r)
		}
	})
}

// measured counts h's requests by status and time.
func (s *Server) measured(api string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		watch := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			s.metrics.requests.WithLabelValues(api, strconv.Itoa(watch.status)).Observe(time.Since(began).Seconds())
		}()
		h.ServeHTTP(watch, r)
	})
}

// A statusWriter remembers the status that was answered.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach what is beneath: flushing, deadlines, hijacking.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// deviceAddress returns where devices connect, as the client of a request sees this node.
func (s *Server) deviceAddress(edge facade.Edge) func(*http.Request) restserver.MQTT {
	_, port := splitAddr(s.MQTTAddr())
	_, tlsPort := splitAddr(s.MQTTSAddr())
	return func(r *http.Request) restserver.MQTT {
		host := edge.Host(r)
		if host == "" {
			host = r.Host
		}
		at := restserver.MQTT{Port: port, TLSPort: tlsPort, WebSocket: strings.Replace(edge.Scheme(r), "http", "ws", 1) + "://" + host + "/mqtt"}
		at.Host, _ = splitAddr(host)
		if s.config.PublicMQTT != "" {
			at.Host, at.Port = splitAddr(s.config.PublicMQTT)
		}
		return at
	}
}

// splitAddr divides an address into host and port; a port that is missing is 0.
func splitAddr(addr string) (host string, port int) {
	h, p, err := net.SplitHostPort(addr)
	if err != nil {
		return strings.Trim(addr, "[]"), 0
	}
	port, _ = strconv.Atoi(p) // a listener's port is a number, and config has checked the others
	return h, port
}

// listen opens the listeners that are configured.
func (s *Server) listen(ctx context.Context) error {
	var cert *certificate
	if s.config.TLSCert != "" {
		var err error
		if cert, err = loadCertificate(s.config.TLSCert, s.config.TLSKey, s.log); err != nil {
			return err
		}
	}
	for _, l := range []struct {
		addr   string
		secure bool
		protos []string
		to     *net.Listener
	}{
		{s.config.HTTP, false, nil, &s.http},
		{s.config.HTTPS, true, []string{"h2", "http/1.1"}, &s.https},
		{s.config.MQTT, false, nil, &s.mqtt},
		{s.config.MQTTS, true, nil, &s.mqtts},
		{s.config.Admin, false, nil, &s.admin},
	} {
		if l.addr == "" {
			continue
		}
		lc := net.ListenConfig{}
		if l.to == &s.mqtt || l.to == &s.mqtts {
			lc.KeepAliveConfig = phoneKeepAlive
		}
		ln, err := lc.Listen(ctx, "tcp", l.addr)
		if err != nil {
			return fmt.Errorf("server: %w", err)
		}
		if l.secure {
			ln = tls.NewListener(ln, cert.config(l.protos...))
		}
		s.closer(func() error {
			if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
				return err
			}
			return nil
		})
		*l.to = ln
	}
	return nil
}

// serve starts to accept on all listeners, and returns the HTTP servers to shut down.
func (s *Server) serve(run func(name string, f func(context.Context) error)) []*http.Server {
	var servers []*http.Server
	for _, h := range []struct {
		name    string
		ln      net.Listener
		handler http.Handler
	}{{"http", s.http, s.api}, {"https", s.https, s.api}, {"admin", s.admin, s.private}} {
		if h.ln == nil {
			continue
		}
		srv := &http.Server{
			Handler: h.handler, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
			ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		}
		srv.RegisterOnShutdown(s.ending)
		servers = append(servers, srv)
		run(h.name, func(context.Context) error {
			if err := srv.Serve(h.ln); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	for name, ln := range map[string]net.Listener{"mqtt": s.mqtt, "mqtts": s.mqtts} {
		if ln == nil {
			continue
		}
		run(name, func(ctx context.Context) error {
			if err := s.gateway.Serve(ctx, ln); !errors.Is(err, gateway.ErrClosed) {
				return err
			}
			return nil
		})
	}
	return servers
}
