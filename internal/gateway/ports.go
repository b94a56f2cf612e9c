package gateway

import (
	"context"

	"github.com/carillonpush/carillon/internal/push"
)

// House is what the gateway needs of the rest. All methods are safe for concurrent use.
type House interface {
	// Authenticate returns the device that name and secret stand for: Unauthenticated if they do not match, Denied if its
	// app is switched off. It reads no database.
	Authenticate(name, secret string) (push.Ref, error)
	// Owed returns what waits for a device, in order of ids, at most limit, without the pushes that skip names. Fewer than
	// limit means that nothing else waits. Unauthenticated if the device is not registered any more, Denied if its app is
	// switched off: its connection is ended.
	Owed(ctx context.Context, ref push.Ref, limit int, skip func(push.ID) bool) ([]*push.Delivery, error)
	// Receipt queues what happened to messages of one device and returns. It blocks only while the record's queue is full.
	// When the receipts are durable the house calls Settled. The slice is the house's from then on.
	Receipt(rs ...push.Receipt)
	// Event records what a device says of a push, and returns when that is durable. NotFound if the device was never sent it,
	// Unavailable if it cannot be recorded now: then the device is to say it again.
	Event(ctx context.Context, ref push.Ref, id push.ID, m push.Mark) error
	// Presence says that a device came or went.
	Presence(ref push.Ref, online bool)
}

// Labels is what devices say of themselves on the topics below device/.
type Labels interface {
	// Relabel returns when the edit is durable. Invalid, NotFound (the device was removed), TooMany,
	// Unavailable. When ctx ends it is given up, unless it is being written.
	Relabel(ctx context.Context, ref push.Ref, e push.LabelEdit) error
	// SetNetwork notes what network the device is on: WiFi, Mobile, or AnyNetwork where it does not say. It returns as Relabel does.
	SetNetwork(ctx context.Context, ref push.Ref, n push.Network) error
}
