package server

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/carillonpush/carillon/internal/admission"
	"github.com/carillonpush/carillon/internal/dispatch"
	"github.com/carillonpush/carillon/internal/gateway"
	"github.com/carillonpush/carillon/internal/identity"
	"github.com/carillonpush/carillon/internal/jobs"
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/registry"
	"github.com/carillonpush/carillon/internal/report"
	"github.com/carillonpush/carillon/internal/schedule"
	"github.com/carillonpush/carillon/internal/sqlstore"
	"github.com/carillonpush/carillon/internal/webhook"
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
		Keep:       s.config.Keep,
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
	s.openPeople()
	s.openReport()
	if err := s.openJobs(ctx); err != nil {
		return err
	}
	s.gateway = gateway.New(gatewayHouse{s.registry, s.store, &s.dispatcher}, s.registry, &gateway.Options{
		MaxConnections: s.config.MaxConnections, Log: s.log,
	})
	s.closer(s.gateway.Close)
	s.dispatcher = dispatch.New(dispatch.Ports{
		Record: s.store, Inbox: s.store, Inboxes: s.store, Receipts: s.store, Bulk: s.store, Changing: s.store,
		Gateway: s.gateway, Presence: s.gateway, Audience: s.registry, Census: s.registry,
		Marks: s.ledger, Admission: s.admission, Templates: s.store, NextID: clock.Next,
	}, &dispatch.Options{
		Log:        s.log,
		LiveMemory: int64(s.config.LiveMemory),
		Observe:    dispatch.Observer{Accepted: s.metrics.pushAccepted, Settled: s.metrics.settled},
	})
	s.schedules = schedule.New(schedule.Ports{
		Store: s.store, Occurrences: s.store, Record: s.store, Pushes: s.dispatcher, App: s.registry.App, NextID: clock.Next,
	}, &schedule.Options{Log: s.log})
	s.store.OnReceipts(func(row push.Logged) {
		s.admission.Counted(row) // before the ledger, whose fold saves what was counted
		s.ledger.Apply(row)
		s.dispatcher.Settled(row.Receipts)
		s.gateway.Settled(row.Receipts)
	})
	s.observe()
	return nil
}

// openPeople makes the rooms that know devices.
func (s *Server) openPeople() {
	s.registry = registry.New(registry.Stores{
		Apps: s.store, Devices: s.store, Labels: s.store, Feed: s.store, Files: s.store, Activity: s.store,
	}, s.keys, &registry.Options{
		Log: s.log, Snapshot: filepath.Join(s.config.Data, "index.snapshot"),
		Marked: s.marked,
		Pushed: func(ctx context.Context, app push.AppID, id push.ID) error {
			_, err := s.store.Find(ctx, app, id)
			return err
		},
		Revoked:   func(ref push.Ref) { s.gateway.Disconnect(ref) },
		Removed:   func(ctx context.Context, ref push.Ref) error { return s.dispatcher.Removed(ctx, ref) },
		Networked: func(app push.AppID, o push.Ordinal) { s.admission.Networked(app, o) },
	})
	s.admission = admission.New(s.registry, s.store, &admission.Options{Log: s.log})
}

// openReport makes the rooms that know what happened, and tell it.
func (s *Server) openReport() {
	s.webhooks = webhook.New(webhook.Ports{
		Store: s.store, Batches: s.store, Devices: s.registry, Pushes: s.store, Sealer: s.keys, Jobs: webhookJobs{&s.queue},
	}, &webhook.Options{Allow: s.config.WebhookAllow, Log: s.log})
	s.ledger = report.New(s.store, s.store, &report.Options{
		Log:        s.log,
		BeforeFold: s.admission.Save,
		Wanted:     s.webhooks.Wanted,
		Happened:   s.webhooks.Happened,
		Followed:   s.webhooks.Followed,
		Batched:    s.webhooks.Batched,
		Zone: func(app push.AppID) *time.Location {
			found, _ := s.registry.App(app) // one that is gone has the zone of those that name none
			return found.Location()
		},
	})
}

// openJobs opens the queue of wake-ups.
func (s *Server) openJobs(ctx context.Context) (err error) {
	s.queue, err = jobs.Open(ctx, s.jobsURL(), jobs.Handlers{
		webhookJob: func(ctx context.Context, app push.AppID, id int64) error {
			return s.webhooks.Work(ctx, app, push.WebhookID(id))
		},
	}, s.log)
	if err == nil {
		s.closer(s.queue.Close)
	}
	return err
}

// webhookJob is the kind of job that has a webhook told.
const webhookJob = "webhook"

// webhookJobs wakes the work on webhooks up. The queue is made after the webhooks, whose work it does.
type webhookJobs struct{ queue **jobs.Queue }

// Wake implements webhook.Jobs.
func (j webhookJobs) Wake(ctx context.Context, app push.AppID, id push.WebhookID, at time.Time) error {
	return (*j.queue).Wake(ctx, webhookJob, app, int64(id), at)
}

// marked returns the devices on which a mark holds for a push of an app; push.MarkTargeted holds on its target.
func (s *Server) marked(ctx context.Context, app push.AppID, id push.ID, m push.Mark) (*ordset.Set, error) {
	p, err := s.store.Find(ctx, app, id)
	if err != nil {
		return nil, err
	}
	if m != push.MarkTargeted {
		return s.ledger.Devices(ctx, p, m)
	}
	if p.Kind == push.Direct {
		all, err := s.store.Targets(ctx, p)
		return ordset.Of(all...), err
	}
	row, err := s.store.Load(ctx, app, id)
	if err != nil {
		return nil, err
	}
	return ordset.FromChunks(row.Target)
}
