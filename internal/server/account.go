package server

import (
	"context"
	"errors"
	"time"

	"github.com/carillonpush/carillon/internal/dispatch"
	"github.com/carillonpush/carillon/internal/gateway"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/registry"
	"github.com/carillonpush/carillon/internal/report"
	"github.com/carillonpush/carillon/internal/sqlstore"
)

// accounts answers what became of one push on one device: the facts are in five rooms.
type accounts struct {
	store      *sqlstore.Store
	registry   *registry.Registry
	ledger     *report.Ledger
	dispatcher *dispatch.Dispatcher
	gateway    *gateway.Gateway
}

func (s *Server) accounts() accounts {
	return accounts{s.store, s.registry, s.ledger, s.dispatcher, s.gateway}
}

// ByRequest returns the push of a request.
func (a accounts) ByRequest(ctx context.Context, app push.AppID, requestID string) (push.Push, error) {
	return a.store.ByRequest(ctx, app, requestID)
}

// Account returns what became of a push on a device, by any of its names.
func (a accounts) Account(ctx context.Context, app push.AppID, id push.ID, device string) (push.Account, error) {
	const op = "server.Account"
	p, err := a.store.Find(ctx, app, id)
	if err != nil {
		return push.Account{}, push.Wrap(op, named("id", err))
	}
	d, err := a.registry.Device(ctx, app, device)
	if err != nil {
		return push.Account{}, push.Wrap(op, named("device", err))
	}
	f, err := a.facts(ctx, p, d)
	if err != nil {
		return push.Account{}, push.Wrap(op, err)
	}
	return report.Explain(f), nil
}

// named gives an error the field that is at fault.
func named(field string, err error) error {
	if e, ok := errors.AsType[*push.Error](err); ok {
		c := *e
		c.Field = field
		return &c
	}
	return err
}

// facts gathers what is known of p on d.
func (a accounts) facts(ctx context.Context, p push.Push, d push.Device) (f report.Facts, err error) {
	o := d.Ref.Ordinal
	f = report.Facts{Push: p, Online: a.gateway.IsOnline(p.App, o), Now: time.Now()}
	if f.Standing, err = a.dispatcher.Standing(ctx, p.App, p, o); err != nil {
		return f, err
	}
	f.Targeted = f.Standing.Targeted
	if f.Marks, err = a.ledger.Trail(ctx, p, o); err != nil {
		return f, err
	}
	if f.Merged, err = a.store.Merged(ctx, p, o); err != nil {
		return f, err
	}
	if !f.Targeted && !p.State.Waits() {
		_, f.Leaf, err = a.registry.Explain(ctx, p.App, p.Request.Audience, o)
		if err != nil && !errors.Is(err, push.NotFound) && !errors.Is(err, push.Invalid) { // of what is gone nothing is known
			return f, err
		}
		f.Changed = d.Changed.After(p.Start)
	}
	for _, m := range f.Marks {
		if m.Mark == push.MarkCollapsed {
			if f.CollapsedBy, err = a.store.CollapsedBy(ctx, p, o); err != nil {
				return f, err
			}
		}
	}
	return f, nil
}
