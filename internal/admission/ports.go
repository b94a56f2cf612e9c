package admission

import (
	"context"

	"github.com/carillonpush/carillon/internal/push"
)

// Devices is what is known of apps and devices, in memory. All methods are safe for concurrent use.
type Devices interface {
	// App returns an app. NotFound.
	App(app push.AppID) (push.App, error)
	// Zone returns the value of the device's attribute time_zone, "" if it has none.
	Zone(app push.AppID, o push.Ordinal) string
	// Network returns what network the device said last that it is on, "" if it has not said.
	Network(app push.AppID, o push.Ordinal) push.Network
}

// Store is the record of how many notifications devices got today, as sets by level: the devices of level n got n or more.
type Store interface {
	// SaveCaps stores chunks of levels in the place of those that are there, and up to which sequence of the receipt log they
	// count, in one commit.
	SaveCaps(ctx context.Context, seq int64, levels []push.CapLevel) error
	// Caps returns what SaveCaps stored of days from day on, and the sequence. Earlier days are removed with time.
	Caps(ctx context.Context, from push.Day) (seq int64, levels []push.CapLevel, err error)
	// Find returns a push of app by id. NotFound.
	Find(ctx context.Context, app push.AppID, id push.ID) (push.Push, error)
}
