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

// Details is what report needs of the record to count and to tell when.
type Details interface {
	// Marked returns the folded marks of direct pushes of one day on devices, in the order of all; 0 where there are none.
	Marked(ctx context.Context, day push.Day, all []push.Outcome) ([]push.Marked, error)
	// Labelled returns pushes by id, with their requests' labels, template and origin, and how far bulk ones are counted: direct
	// ones that expire on day, bulk ones for day 0. Those that are gone are left out.
	Labelled(ctx context.Context, day push.Day, ids []push.ID) (map[push.ID]push.Labelled, error)
	// Trail returns when which marks of p on a device were committed, as far as it is folded, in order of time.
	Trail(ctx context.Context, p push.Push, o push.Ordinal) ([]push.Timed, error)
	// Totals yields the rows of totals of app by a dimension, from one day to another, both included: of one name, or of all if
	// name is nil.
	Totals(ctx context.Context, app push.AppID, by push.Dimension, name *string, from, to push.Day, yield func(push.TotalDelta) error) error
}
