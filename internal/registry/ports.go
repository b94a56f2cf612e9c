package registry

import (
	"context"

	"github.com/carillonpush/carillon/internal/push"
)

// AppStore is the record of apps and their credentials.
type AppStore interface {
	// CreateApp stores app, gives it the next id, and stores creds under that id. Conflict if its name, or a credential's
	// service and key, is taken (Field says which: "name" or the service).
	CreateApp(ctx context.Context, app push.App, creds []push.Credential) (push.App, error)
	// UpdateApp replaces an app's name, time zone, packages and settings. NotFound, Conflict.
	UpdateApp(ctx context.Context, app push.App) error
	// DeleteApp removes an app, its credentials, devices and pushes. NotFound.
	DeleteApp(ctx context.Context, id push.AppID) error
	// Apps returns all apps and all credentials.
	Apps(ctx context.Context) ([]push.App, []push.Credential, error)
	// PutCredentials stores creds, replacing those of the same app, service and key. Conflict.
	PutCredentials(ctx context.Context, creds []push.Credential) error
}

// DeviceStore is the record of devices. A write is durable when it returns, and appends to the change feed in its own
// commit; writes share commits.
type DeviceStore interface {
	// AddDevice stores a new device. Conflict with Field "install_id" if its app has a registered device of that install.
	AddDevice(ctx context.Context, d push.DeviceRow) error
	// SaveDevice replaces all that the record knows of a device; what names the change for the feed. NotFound.
	SaveDevice(ctx context.Context, d push.DeviceRow, what string) error
	// FindDevice returns a device by ordinal, registered or removed. NotFound.
	FindDevice(ctx context.Context, app push.AppID, o push.Ordinal) (push.DeviceRow, error)
	// FindInstall returns the registered device of an install. NotFound.
	FindInstall(ctx context.Context, app push.AppID, install [32]byte) (push.DeviceRow, error)
	// ScanDevices yields the devices of app (0: of all apps) in order of app and ordinal, from ordinal from on, until yield
	// returns false. Attributes, tokens and phone are left out where lean is true.
	ScanDevices(ctx context.Context, app push.AppID, from push.Ordinal, lean bool, yield func(push.DeviceRow) bool) error
}

// ActivityStore is the record of when devices were last active.
type ActivityStore interface {
	// Touch stores the days on which devices were last active, in one commit.
	Touch(ctx context.Context, app push.AppID, day push.Day, devices []push.Ordinal) error
}
