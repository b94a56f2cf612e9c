package webhook

import (
	"context"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Ports are the rooms that Webhooks works with. All are needed.
type Ports struct {
	Store   Store
	Batches Batches
	Devices Devices
	Pushes  Pushes
	Sealer  Sealer
	Jobs    Jobs
}

// Store is the record of webhooks. All methods are safe for concurrent use.
type Store interface {
	// Webhooks returns those of all apps, their secrets sealed.
	Webhooks(ctx context.Context) ([]push.Webhook, error)
	// AddWebhook stores w, its secret sealed, and gives it an id. TooMany with Field "webhooks" if the app has most already;
	// NotFound with Field "app".
	AddWebhook(ctx context.Context, w push.Webhook, most int) (push.Webhook, error)
	// RemoveWebhook removes a webhook and its batches. NotFound.
	RemoveWebhook(ctx context.Context, app push.AppID, id push.WebhookID) error
}

// Batches is the record of what webhooks are still to be told. A fold of the ledger adds to it.
type Batches interface {
	// DueBatches returns batches of a webhook that are due at now, oldest first, at most limit.
	DueBatches(ctx context.Context, id push.WebhookID, now time.Time, limit int) ([]push.Batch, error)
	// NextBatch returns, for every webhook that has batches which are not dead, when the earliest is due.
	NextBatch(ctx context.Context) (map[push.WebhookID]time.Time, error)
	// EndBatch removes a batch that was told, or with a next time or an error puts it off; a zero b.Next is dead.
	EndBatch(ctx context.Context, b push.Batch, told bool) error
	// ListBatches returns batches of a webhook with ids above after, oldest first, at most limit; dead ones only if dead.
	ListBatches(ctx context.Context, id push.WebhookID, dead bool, after int64, limit int) ([]push.BatchInfo, error)
	// ReplayBatches makes dead batches of a webhook due at now, those of ids or all if there are none, and returns how many.
	ReplayBatches(ctx context.Context, id push.WebhookID, ids []int64, now time.Time) (int, error)
}

// Devices names devices.
type Devices interface {
	// DeviceID returns the id of the device that has, or had last, an ordinal; "" if none ever had.
	DeviceID(app push.AppID, o push.Ordinal) push.DeviceID
}

// Pushes finds pushes.
type Pushes interface {
	// Find returns a push of app by id. NotFound.
	Find(ctx context.Context, app push.AppID, id push.ID) (push.Push, error)
}

// Sealer encrypts secrets at rest. label binds what is sealed to its place.
type Sealer interface {
	// Seal encrypts a secret.
	Seal(label string, plain []byte) []byte
	// Open undoes Seal. An error if sealed was not sealed with this label.
	Open(label string, sealed []byte) ([]byte, error)
}

// Jobs wakes work up. A job is a hint: what must happen stands in the record.
type Jobs interface {
	// Wake asks for work on a webhook at a time, unless it is asked for already.
	Wake(ctx context.Context, app push.AppID, id push.WebhookID, at time.Time) error
}
