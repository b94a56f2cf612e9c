package server

import (
	"context"
	"time"

	"github.com/carillonpush/carillon/internal/dispatch"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/registry"
	"github.com/carillonpush/carillon/internal/report"
	"github.com/carillonpush/carillon/internal/schedule"
	"github.com/carillonpush/carillon/internal/sqlstore"
)

// pushes is the life of a push as façades and native REST see it: dispatch, schedules and report behind one port.
type pushes struct {
	*dispatch.Dispatcher
	schedules *schedule.Schedules
	store     *sqlstore.Store
	ledger    *report.Ledger
}

// Accept makes r durable: as a schedule if it is recurring, else as a push.
func (p pushes) Accept(ctx context.Context, r push.Request) (push.Push, error) {
	return p.schedules.Accept(ctx, r)
}

// Cancel stops what has not left of a push, or of a schedule.
func (p pushes) Cancel(ctx context.Context, app push.AppID, id push.ID) (push.Push, error) {
	if ended, ok, err := p.schedules.Cancel(ctx, app, id); ok || err != nil {
		return ended, err
	}
	return p.Dispatcher.Cancel(ctx, app, id)
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

// templates are the record of templates, and what is looked at before it.
type templates struct{ *sqlstore.Store }

// AddTemplate stores a template; replaced is whether one of its name was there.
func (t templates) AddTemplate(ctx context.Context, one push.Template) (stored push.Template, replaced bool, err error) {
	if err := one.Validate(); err != nil {
		return push.Template{}, false, err
	}
	one.Created = time.Now().UTC().Truncate(time.Millisecond)
	return t.Store.AddTemplate(ctx, one, push.MaxTemplates)
}

// reports are sums over pushes, and devices by day.
type reports struct {
	*report.Ledger
	registry *registry.Registry
}

// DeviceDays returns the devices of days from one to another, both included, in order.
func (r reports) DeviceDays(ctx context.Context, app push.AppID, from, to push.Day) ([]push.DeviceDay, error) {
	return r.registry.DeviceDays(ctx, app, from, to)
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
