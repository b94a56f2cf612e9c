// Package server puts the house together: it opens what a node needs in the order in which one thing needs the other,
// runs it, and closes it in reverse. It is the one room that sees all others; tests start the whole program through it.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillonpush/carillon/internal/admission"
	"github.com/carillonpush/carillon/internal/config"
	"github.com/carillonpush/carillon/internal/dispatch"
	"github.com/carillonpush/carillon/internal/gateway"
	"github.com/carillonpush/carillon/internal/identity"
	"github.com/carillonpush/carillon/internal/jobs"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/registry"
	"github.com/carillonpush/carillon/internal/report"
	"github.com/carillonpush/carillon/internal/schedule"
	"github.com/carillonpush/carillon/internal/sqlstore"
	"github.com/carillonpush/carillon/internal/webhook"
)

// Options are what a Server can do without.
type Options struct {
	Log     *slog.Logger // nil discards
	Version string       // "" means "dev"
	Out     io.Writer    // where --demo prints what to paste; nil discards
}

// A Server is one node.
type Server struct {
	config config.Config
	opts   Options
	log    *slog.Logger
	token  string
	house
	network

	metrics *metrics
	ready   ready

	closing sync.Once
	closed  error
	closes  []func() error // in the order of opening
}

// house is what a node does.
type house struct {
	store      *sqlstore.Store
	keys       *identity.Keyring
	registry   *registry.Registry
	ledger     *report.Ledger
	dispatcher *dispatch.Dispatcher
	schedules  *schedule.Schedules
	admission  *admission.Gate
	webhooks   *webhook.Webhooks
	gateway    *gateway.Gateway
	queue      *jobs.Queue
}

// network is where a node listens. A listener that is off is nil.
type network struct {
	http, https, mqtt, mqtts, admin net.Listener
	api                             http.Handler
	private                         http.Handler
	ending                          func() // ends streams, which would hold a shutdown up
}

// New opens a node: its record, keys and indexes, and its listeners, which do not accept yet. What is missing is created.
// opts may be nil. The caller must Close the Server, also if it never runs.
func New(ctx context.Context, c config.Config, opts *Options) (s *Server, err error) {
	s = &Server{config: c}
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.Version == "" {
		s.opts.Version = "dev"
	}
	if s.opts.Out == nil {
		s.opts.Out = io.Discard
	}
	if s.log = s.opts.Log; s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.metrics = newMetrics(s.opts.Version)
	for _, step := range []func(context.Context) error{s.openRecord, s.openHouse, s.load, s.openNetwork} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// closer notes what Close has to do. It is called right after something was opened.
func (s *Server) closer(f func() error) { s.closes = append(s.closes, f) }

// Close closes what New opened, in reverse. It may be called again. Run must have returned.
func (s *Server) Close() error {
	s.closing.Do(func() {
		for len(s.closes) > 0 {
			last := len(s.closes) - 1
			s.closed = errors.Join(s.closed, s.closes[last]())
			s.closes = s.closes[:last]
		}
	})
	return s.closed
}

// load brings what is in memory up to date with the record: the index and the live sets first.
func (s *Server) load(ctx context.Context) error {
	admission := func(ctx context.Context) error { // before the ledger shortens the log
		return s.admission.Load(ctx, func(yield func(push.Logged) error) error { return s.store.Unfolded(ctx, yield) })
	}
	for _, load := range []func(context.Context) error{
		s.registry.Load, s.webhooks.Load, admission, s.ledger.Load, s.dispatcher.Load, s.schedules.Load,
	} {
		if err := load(ctx); err != nil {
			return fmt.Errorf("server: load: %w", err)
		}
	}
	return nil
}

// Run serves until ctx ends, then drains: no new work, devices told to go, all accepted work on disk. It returns nil if
// all of that went well, and the first error otherwise.
func (s *Server) Run(ctx context.Context) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	work, _ := errgroup.WithContext(background)
	failed := make(chan error, 1)
	fail := func(err error) {
		select {
		case failed <- err:
		default: // another was first
		}
	}
	run := func(name string, f func(context.Context) error) {
		work.Go(func() error {
			err := f(background)
			if err == nil {
				return nil
			}
			err = fmt.Errorf("server: %s: %w", name, err)
			fail(err)
			return err
		})
	}
	run("jobs", s.queue.Run)
	run("dispatch", s.dispatcher.Run)
	run("schedule", s.schedules.Run)
	run("webhook", s.webhooks.Run)
	run("report", s.ledger.Run)
	run("registry", s.registry.Run)
	servers := s.serve(run)
	if s.config.Demo {
		if err := s.demo(ctx, s.opts.Out); err != nil {
			fail(err)
		}
	}
	s.ready.is.Store(true)
	s.log.Info("ready", "http", s.HTTPAddr(), "mqtt", s.MQTTAddr(), "admin", s.AdminAddr(), "version", s.opts.Version)

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.ready.is.Store(false)
	s.log.Info("draining")
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.drainTimeout())
	defer cancel()
	err = errors.Join(err, s.drain(drain, servers))
	stop()
	return errors.Join(err, work.Wait())
}

func (s *Server) drainTimeout() time.Duration {
	if s.config.DrainTimeout > 0 {
		return s.config.DrainTimeout
	}
	return 20 * time.Second
}

// drain ends the connections: requests under way are answered, devices are told to go, and their last receipts taken.
func (s *Server) drain(ctx context.Context, servers []*http.Server) error {
	var wg sync.WaitGroup
	errs := make([]error, len(servers)+1)
	for i, h := range servers {
		wg.Go(func() {
			if errs[i] = h.Shutdown(ctx); errs[i] != nil {
				errs[i] = errors.Join(errs[i], h.Close())
			}
		})
	}
	wg.Go(func() { errs[len(servers)] = s.gateway.Drain(ctx) })
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		s.log.Warn("not everything was drained in time", "err", err)
	}
	return nil
}

// HTTPAddr returns the address that serves HTTP, with the port that was chosen for port 0.
func (s *Server) HTTPAddr() string { return addrOf(s.http) }

// MQTTAddr returns the address for devices over TCP, "" if that is off.
func (s *Server) MQTTAddr() string { return addrOf(s.mqtt) }

// HTTPSAddr returns the address that serves HTTP over TLS, "" if that is off.
func (s *Server) HTTPSAddr() string { return addrOf(s.https) }

// MQTTSAddr returns the address for devices over TLS, "" if that is off.
func (s *Server) MQTTSAddr() string { return addrOf(s.mqtts) }

// AdminAddr returns the address for operators, "" if that is off.
func (s *Server) AdminAddr() string { return addrOf(s.admin) }

// AdminToken returns the token that opens everything.
func (s *Server) AdminToken() string { return s.token }

func addrOf(ln net.Listener) string {
	if ln == nil {
		return ""
	}
	return ln.Addr().String()
}
