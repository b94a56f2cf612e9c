package server

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/carillonpush/carillon/internal/dispatch"
	"github.com/carillonpush/carillon/internal/gateway"
	"github.com/carillonpush/carillon/internal/identity"
	"github.com/carillonpush/carillon/internal/jobs"
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/registry"
	"github.com/carillonpush/carillon/internal/report"
	"github.com/carillonpush/carillon/internal/sqlstore"
)

// openRecord locks the data directory and opens the record and the keyring that fits it.
func (s *Server) openRecord(ctx context.Context) error {
	lock, err := lockDir(s.config.Data)
	if err != nil {
		return err
	}
	s.closer(lock.Close)
	if s.token, err = adminToken(s.config.AdminTokenPath()); err != nil {
		return err
	}
	s.store, err = sqlstore.Open(ctx, s.recordURL(), &sqlstore.Options{
		Log:        s.log,
		QueueBytes: int64(s.config.AcceptQueue),
		Reserve:    int64(s.config.DiskReserve),
		Observe: func(c sqlstore.Commit) {
			s.metrics.committed(c.Rows, c.Wait, c.Duration)
		},
	})
	if err != nil {
		return fmt.Errorf("server: record: %w", err)
	}
	s.closer(s.store.Close)
	s.keys, err = identity.Open(ctx, s.config.ServerKeyPath(), s.store)
	return err
}

// recordURL returns where the record is: PostgreSQL, or a file in the data directory.
func (s *Server) recordURL() string {
	if s.config.Database != "" {
		return s.config.Database
	}
	return filepath.Join(s.config.Data, "carillon.db")
}

// jobsURL returns where jobs are: beside the record on PostgreSQL, in a file of their own else.
func (s *Server) jobsURL() string {
	if s.config.Database != "" {
		return s.config.Database
	}
	return filepath.Join(s.config.Data, "jobs.db")
}

// openHouse makes the rooms and ties them to each other.
func (s *Server) openHouse(ctx context.Context) error {
	newest, err := s.store.Newest(ctx)
	if err != nil {
		return fmt.Errorf("server: newest push: %w", err)
	}
	clock := identity.NewClock(0, newest, time.Now)

	s.ledger = report.New(s.store, &report.Options{Log: s.log})
	s.registry = registry.New(registry.Stores{
		Apps: s.store, Devices: s.store, Labels: s.store, Feed: s.store, Files: s.store, Activity: s.store,
	}, s.keys, &registry.Options{
		Log: s.log, Snapshot: filepath.Join(s.config.Data, "index.snapshot"),
		Marked: s.marked,
		Pushed: func(ctx context.Context, app push.AppID, id push.ID) error {
			_, err := s.store.Find(ctx, app, id)
			return err
		},
		Revoked: func(ref push.Ref) { s.gateway.Disconnect(ref) },
		Removed: func(ctx context.Context, ref push.Ref) error { return s.dispatcher.Removed(ctx, ref) },
	})
	s.gateway = gateway.New(gatewayHouse{s.registry, s.store, &s.dispatcher}, s.registry, &gateway.Options{
		MaxConnections: s.config.MaxConnections, Log: s.log,
	})
	s.closer(s.gateway.Close)
	s.queue, err = jobs.Open(ctx, s.jobsURL(), func(ctx context.Context, app push.AppID, id push.ID) error {
		return s.dispatcher.Start(ctx, app, id)
	}, s.log)
	if err != nil {
		return err
	}
	s.closer(s.queue.Close)
	s.dispatcher = dispatch.New(dispatch.Ports{
		Record: s.store, Inbox: s.store, Receipts: s.store, Bulk: s.store,
		Gateway: s.gateway, Presence: s.gateway, Audience: s.registry, Census: s.registry, Jobs: s.queue, NextID: clock.Next,
	}, &dispatch.Options{
		Log:     s.log,
		Observe: dispatch.Observer{Accepted: s.metrics.pushAccepted, Settled: s.metrics.settled},
	})
	s.store.OnReceipts(func(row push.Logged) {
		s.ledger.Apply(row)
		s.dispatcher.Settled(row.Receipts)
		s.gateway.Settled(row.Receipts)
	})
	s.observe()
	return nil
}

// marked returns the devices on which a mark holds for a push of an app.
func (s *Server) marked(ctx context.Context, app push.AppID, id push.ID, m push.Mark) (*ordset.Set, error) {
	p, err := s.store.Find(ctx, app, id)
	if err != nil {
		return nil, err
	}
	return s.ledger.Devices(ctx, p, m)
}
