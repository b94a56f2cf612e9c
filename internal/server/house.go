package server

import (
	"context"
	"time"

	"github.com/carillonpush/carillon/internal/dispatch"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/registry"
	"github.com/carillonpush/carillon/internal/report"
	"github.com/carillonpush/carillon/internal/sqlstore"
)

// pushes is the life of a push as façades and native REST see it: dispatch and report behind one port.
type pushes struct {
	*dispatch.Dispatcher
	store  *sqlstore.Store
	ledger *report.Ledger
}

// Find returns a push of app and what became of it.
func (p pushes) Find(ctx context.Context, app push.AppID, id push.ID) (push.Push, push.Report, error) {
	found, err := p.store.Find(ctx, app, id)
	if err != nil {
		return push.Push{}, push.Report{}, err
	}
	r, err := p.ledger.Report(ctx, found, time.Now())
	return found, r, err
}

// List returns pushes of app with ids below before, newest first.
func (p pushes) List(ctx context.Context, app push.AppID, before push.ID, limit int) ([]push.Push, push.ID, error) {
	return p.store.List(ctx, app, before, limit)
}

// gatewayHouse is the rest of the house as the gateway sees it.
type gatewayHouse struct {
	registry   *registry.Registry
	store      *sqlstore.Store
	dispatcher **dispatch.Dispatcher // which is made after the gateway, since it posts to it
}

// Authenticate implements gateway.House.
func (h gatewayHouse) Authenticate(name, secret string) (push.Ref, error) {
	return h.registry.Authenticate(name, secret)
}

// Owed implements gateway.House.
func (h gatewayHouse) Owed(ctx context.Context, ref push.Ref, limit int, skip func(push.ID) bool) ([]*push.Delivery, error) {
	// In memory, and after the gateway has put the device among those whom Revoked finds: no revocation is missed.
	have, ok := h.registry.Find(ref.App, ref.Ordinal)
	app, err := h.registry.App(ref.App)
	switch {
	case err != nil, !ok, have.Generation != ref.Generation:
		return nil, &push.Error{Op: "server.Owed", Kind: push.Unauthenticated, Msg: "the device is not registered"}
	case app.Settings.Bool(push.SettingDisabled):
		return nil, &push.Error{Op: "server.Owed", Kind: push.Denied, Msg: "the app is switched off"}
	case h.registry.Blacklisted(ref.App, ref.Ordinal): // it gets nothing, also of what was accepted before
		return nil, nil
	}
	return (*h.dispatcher).Owed(ctx, ref, limit, skip)
}

// Receipt implements gateway.House.
func (h gatewayHouse) Receipt(rs ...push.Receipt) { h.store.Post(rs...) }

// Event implements gateway.House.
func (h gatewayHouse) Event(ctx context.Context, ref push.Ref, id push.ID, m push.Mark) error {
	return (*h.dispatcher).Event(ctx, ref, id, m)
}

// Presence implements gateway.House.
func (h gatewayHouse) Presence(ref push.Ref, online bool) { h.registry.Presence(ref, online) }

// devices is the registry as native REST sees it: a device that is removed is owed nothing any more.
type devices struct {
	*registry.Registry
	dispatcher *dispatch.Dispatcher
}

// Remove removes a device, and drops what it was owed.
func (d devices) Remove(ctx context.Context, ref push.Ref) error {
	ctx = context.WithoutCancel(ctx) // a caller who goes away must not leave a removed device owed
	if err := d.Registry.Remove(ctx, ref); err != nil {
		return err
	}
	return d.dispatcher.Removed(ctx, ref)
}
