package restserver

import (
	"context"
	"io"
	"net/netip"

	"github.com/carillonpush/carillon/internal/push"
)

// A House is what restserver needs of the rest: one port a noun. All are needed, and all their methods must be safe for
// concurrent use. Errors are *push.Error; anything else is answered as internal.
type House struct {
	Pushes  Pushes
	Control Control
	Events  Events
	Apps    Apps
	Keys    Keys
	Devices Devices
	Lists   DeviceLists
	Inbox   Inbox
	Labels  Labels
	Tags    Tags
	Files   Files
	Imports Imports
	Doctor  Doctor
	Late    // what was added later, so that no struct grows too long
}

// Late are the nouns around a push.
type Late struct {
	Accounts    Accounts
	Schedules   Schedules
	Occurrences Occurrences
	Templates   Templates
	Reports     Reports
	Webhooks    Webhooks
	Stream      Stream
}

// Pushes is the life of a push.
type Pushes interface {
	// Accept returns the push once it is durable, or the first push of req's key if that was used before. Invalid,
	// Conflict (the key was used for a different request), TooMany, Unavailable.
	Accept(ctx context.Context, req push.Request) (push.Push, error)
	// Count returns whom req would reach now; nothing is sent. Invalid.
	Count(ctx context.Context, req push.Request) (push.Count, error)
	// Find returns a push of app and what became of it. NotFound.
	Find(ctx context.Context, app push.AppID, id push.ID) (push.Push, push.Report, error)
	// List returns pushes of app with ids below before (0: all), newest first, at most limit; next is where to go on, 0 at
	// the end. A page may be short, even empty, while next is not 0.
	List(ctx context.Context, app push.AppID, before push.ID, limit int) (page []push.Push, next push.ID, err error)
	// Cancel stops what has not left. NotFound; Conflict if nothing can be stopped any more.
	Cancel(ctx context.Context, app push.AppID, id push.ID) (push.Push, error)
}

// Control changes pushes after they were accepted. NotFound; Conflict if the push's state does not allow it.
type Control interface {
	// Pause has nothing of a push leave until it is resumed.
	Pause(ctx context.Context, app push.AppID, id push.ID) (push.Push, error)
	// Resume has a paused push go on.
	Resume(ctx context.Context, app push.AppID, id push.ID) (push.Push, error)
	// Recall takes a push back, whole, or from the named devices if there are any. NotFound with Field "devices" if none of them
	// is in its target. Again is once.
	Recall(ctx context.Context, app push.AppID, id push.ID, devices []string) (push.Recall, error)
	// AddTargets adds to the target of an open push and sends to what is new: the push, how many devices were new, and how many
	// names stood for none.
	AddTargets(ctx context.Context, app push.AppID, id push.ID, a push.Audience) (p push.Push, added, unknown int, err error)
	// CloseOpen has an open push take no more targets.
	CloseOpen(ctx context.Context, app push.AppID, id push.ID) (push.Push, error)
}

// Accounts answer what became of one push on one device, and what a request id belongs to.
type Accounts interface {
	// Account returns what became of a push on a device, by any of its names. NotFound with Field "id" or "device".
	Account(ctx context.Context, app push.AppID, id push.ID, device string) (push.Account, error)
	// ByRequest returns the push of a request. NotFound.
	ByRequest(ctx context.Context, app push.AppID, requestID string) (push.Push, error)
}

// Schedules are what is to be sent later. NotFound.
type Schedules interface {
	// Schedules returns schedules of app with ids below before (0: all), newest first, at most limit; next is where to go on.
	Schedules(ctx context.Context, app push.AppID, before push.ID, limit int) (page []push.Schedule, next push.ID, err error)
	// FindSchedule returns one.
	FindSchedule(ctx context.Context, app push.AppID, id push.ID) (push.Schedule, error)
	// EditSchedule changes what is to be sent, and when. Invalid, also for a policy without start_at of what is sent once, and
	// without recurring of what recurs; Conflict if nothing is to come.
	EditSchedule(ctx context.Context, app push.AppID, id push.ID, p push.SchedulePatch) (push.Schedule, error)
	// CancelSchedule ends a schedule: nothing of it fires any more. Conflict if nothing is to come.
	CancelSchedule(ctx context.Context, app push.AppID, id push.ID) (push.Schedule, error)
}

// Occurrences are the firings of a schedule. NotFound.
type Occurrences interface {
	// OccurrencesOf returns all of a schedule, in order of time.
	OccurrencesOf(ctx context.Context, app push.AppID, schedule push.ID) ([]push.Occurrence, error)
	// CancelOccurrence has one that waits not fire. Conflict if it does not wait.
	CancelOccurrence(ctx context.Context, app push.AppID, schedule, id push.ID) (push.Occurrence, error)
}

// Templates are named texts.
type Templates interface {
	// AddTemplate stores a template; replaced is whether one of its name was there. Invalid, TooMany.
	AddTemplate(ctx context.Context, t push.Template) (stored push.Template, replaced bool, err error)
	// FindTemplate returns one. NotFound.
	FindTemplate(ctx context.Context, app push.AppID, name string) (push.Template, error)
	// Templates returns templates in order of names, at most limit, after a name; next is "" at the end.
	Templates(ctx context.Context, app push.AppID, after string, limit int) (page []push.Template, next string, err error)
	// RemoveTemplate removes one. NotFound.
	RemoveTemplate(ctx context.Context, app push.AppID, name string) error
}

// Reports are sums over many pushes, and devices by day.
type Reports interface {
	// Totals returns the sums of the pushes that started on days from one to another, both included, by a dimension: of one
	// name, or of every name if name is nil; each day for itself if daily. In order of names, then of days.
	Totals(ctx context.Context, app push.AppID, by push.Dimension, name *string, from, to push.Day, daily bool) ([]push.Totals, error)
	// DeviceDays returns the devices of days from one to another, both included, in order.
	DeviceDays(ctx context.Context, app push.AppID, from, to push.Day) ([]push.DeviceDay, error)
}

// Webhooks are where apps' servers are told of events. NotFound.
type Webhooks interface {
	// AddWebhook makes a webhook of w and a secret, which is in it and is not shown again. Invalid, TooMany.
	AddWebhook(ctx context.Context, w push.Webhook) (push.Webhook, error)
	// Webhooks returns those of app in order of ids.
	Webhooks(app push.AppID) []push.Webhook
	// RemoveWebhook removes one with what it was still to be told.
	RemoveWebhook(ctx context.Context, app push.AppID, id push.WebhookID) error
	// Batches returns what a webhook is still to be told, dead only if dead, with ids above after, at most limit.
	Batches(ctx context.Context, app push.AppID, id push.WebhookID, dead bool, after int64, limit int) ([]push.BatchInfo, error)
	// Replay makes dead batches due again, those of ids or all if there are none, and returns how many.
	Replay(ctx context.Context, app push.AppID, id push.WebhookID, ids []int64) (int, error)
}

// Stream is the events of an app as they happen.
type Stream interface {
	// Follow calls write with one event after another from now on, until ctx ends or write fails. TooMany if too many follow;
	// Unavailable if the caller does not keep up.
	Follow(ctx context.Context, app push.AppID, events []string, write func(push.Event) error) error
}

// Events is what devices say of pushes.
type Events interface {
	// Event returns when what the device says is durable. NotFound if the device was never sent the push.
	Event(ctx context.Context, ref push.Ref, id push.ID, m push.Mark) error
}

// Apps is the registry of apps.
type Apps interface {
	// CreateApp makes app, with creds and new values where creds has none. Invalid, Conflict.
	CreateApp(ctx context.Context, app push.App, creds push.Credentials) (push.AppCard, error)
	// UpdateApp replaces an app's name, time zone, packages and settings. Invalid, NotFound, Conflict.
	UpdateApp(ctx context.Context, app push.App) (push.App, error)
	// DeleteApp removes an app and all that belongs to it. NotFound.
	DeleteApp(ctx context.Context, app push.AppID) error
	// FindApp returns an app by its id in decimal, or by its name. NotFound.
	FindApp(idOrName string) (push.App, error)
	// Apps returns all apps in order of their ids.
	Apps() []push.App
}

// Keys is the registry of credentials.
type Keys interface {
	// ByAPIKey returns the app that a native API key opens. Unauthenticated if it opens none.
	ByAPIKey(key string) (push.App, error)
	// Card returns an app with all its credentials. NotFound.
	Card(app push.AppID) (push.AppCard, error)
	// RotateKeys replaces an app's credentials of one kind; the old ones stay valid for a day. Invalid for a kind that does
	// not exist, NotFound.
	RotateKeys(ctx context.Context, app push.AppID, kind string) (push.AppCard, error)
}

// Devices is the registry of devices.
type Devices interface {
	// Register makes a device of r, or returns the one of its install id. auth is the Authorization header, with which a
	// device that registers again shows that it is the same. Unauthenticated (app key or secret), Invalid, TooMany from
	// one address.
	Register(ctx context.Context, r push.Registration, auth string, remote netip.Addr) (push.Registered, error)
	// Authenticate returns the device that name (device id or channel id) and secret stand for. Unauthenticated; Denied if
	// its app is switched off.
	Authenticate(name, secret string) (push.Ref, error)
	// Device returns a device of app by device id, channel id, or the id that it had at an earlier provider. NotFound.
	Device(ctx context.Context, app push.AppID, name string) (push.Device, error)
	// Patch changes a device and returns it as it is then. Invalid, NotFound.
	Patch(ctx context.Context, ref push.Ref, patch push.DevicePatch) (push.Device, error)
	// Remove removes a device. NotFound.
	Remove(ctx context.Context, ref push.Ref) error
}

// DeviceLists lists devices.
type DeviceLists interface {
	// Devices returns devices of app, newest first, at most limit, from cursor on ("": from the start); next is where to go
	// on, "" at the end. Invalid for a cursor that it did not make.
	Devices(ctx context.Context, app push.AppID, cursor string, limit int) (page []push.Device, next string, err error)
}

// Inbox is the gateway, for devices that cannot MQTT.
type Inbox interface {
	// Stream is a device's connection: it calls write with one inbox message after another, as the JSON that MQTT carries,
	// until ctx ends, write fails or a newer connection of the device takes over. write is called by one goroutine at a
	// time and not after Stream has returned; it does not block, and does not keep the bytes. A *push.Error is told to the
	// device; any other end is just an end.
	Stream(ctx context.Context, ref push.Ref, write func(message []byte) error) error
}

// Labels changes tags, aliases, attributes and accounts of devices, and finds devices by their names.
type Labels interface {
	// Ref returns the registered device of app that has name as its device id, channel id, or id at an earlier provider,
	// without reading what else is known of it. NotFound.
	Ref(ctx context.Context, app push.AppID, name string) (push.Ref, error)
	// EditLabels changes one device, in one commit, and returns it as it is then. Invalid, NotFound; TooMany (a limit of tags
	// or aliases), Field as in push.LabelEdit.
	EditLabels(ctx context.Context, ref push.Ref, e push.LabelEdit) (push.Device, error)
	// TagDevices has the named devices carry a tag (Add) or not (Delete), in one commit: how many that changed, and which of
	// the names stand for no device. Invalid, TooMany; NotFound if no name stands for a device.
	TagDevices(ctx context.Context, app push.AppID, tag string, op push.EditOp, names []string) (changed int, unknown []string, err error)
	// NamedDevices returns the ids of the devices that have one of the names. Invalid.
	NamedDevices(ctx context.Context, app push.AppID, names push.Names) ([]push.DeviceID, error)
}

// Tags is the list of an app's tags.
type Tags interface {
	// Tags returns tags in order of names, at most limit, from cursor on ("": from the start); next is where to go on, "" at
	// the end. Invalid for a cursor that it did not make.
	Tags(app push.AppID, cursor string, limit int) (page []push.TagInfo, next string, err error)
	// FindTag returns a tag. NotFound.
	FindTag(app push.AppID, name string) (push.TagInfo, error)
	// AddTag makes a tag that nobody carries yet. Invalid, Conflict, TooMany.
	AddTag(ctx context.Context, app push.AppID, name string) (push.TagInfo, error)
	// RemoveTag removes a tag from the app and from all devices. NotFound.
	RemoveTag(ctx context.Context, app push.AppID, name string) error
}

// Files are uploaded lists of devices or aliases.
type Files interface {
	// AddFile reads lines, plain or gzip, and keeps them. Invalid with Field "line N" for a line that is not a name, TooLarge.
	// What it has read of a file that is then refused is not kept.
	AddFile(ctx context.Context, app push.AppID, body io.Reader) (push.File, error)
	// FindFile returns a file. NotFound.
	FindFile(ctx context.Context, app push.AppID, id push.FileID) (push.File, error)
}

// Imports takes over devices from other providers.
type Imports interface {
	// Import adds devices, or changes those that were imported before, in one commit where none is refused: an answer for
	// each, in order. Invalid if there are more than push.MaxImports, or none.
	Import(ctx context.Context, app push.AppID, devices []push.Import) ([]push.Imported, error)
}

// Doctor compares what is in memory with the record.
type Doctor interface {
	// CheckIndex compares the index of an app (0: of all) with the record, and makes it say what the record says if repair.
	CheckIndex(ctx context.Context, app push.AppID, repair bool) (push.IndexCheck, error)
}
