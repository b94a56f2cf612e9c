package report

import (
	"context"

	"github.com/carillonpush/carillon/internal/push"
)

// Store is what report needs of the record. All methods are safe for concurrent use.
type Store interface {
	// Fold writes f in one commit.
	Fold(ctx context.Context, f push.Fold) error
	// Unfolded yields the rows of the receipt log, in order.
	Unfolded(ctx context.Context, yield func(push.Logged) error) error
	// Targets returns the devices that a direct push was accepted for.
	Targets(ctx context.Context, p push.Push) ([]push.Ordinal, error)
	// Outcomes returns the folded marks of a direct push, by device.
	Outcomes(ctx context.Context, p push.Push) (map[push.Ordinal]push.Marked, error)
	// Sets returns the folded sets of a bulk push, by mark.
	Sets(ctx context.Context, id push.ID) (map[push.Mark][]push.Chunk, error)
}
