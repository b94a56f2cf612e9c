package dispatch

import (
	"context"
	"time"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Record is where accepted pushes are kept. All methods are safe for concurrent use.
type Record interface {
	// Accept makes a durable: it returns after the commit that holds all its rows. If a's key was used before in its app,
	// nothing changes, and the push of that key is returned with repeated true, or Conflict if the key is Strict and the
	// fingerprints differ. Unavailable means that the outcome is unknown, or that the disk's reserve is reached.
	Accept(ctx context.Context, a *push.Acceptance) (p push.Push, repeated bool, err error)
	// FindKey returns the push that was accepted under key and the fingerprint of its request. NotFound if there is none.
	FindKey(ctx context.Context, app push.AppID, key push.Key) (push.Push, [32]byte, error)
	// Find returns a push of app by id, with its request. NotFound if there is none.
	Find(ctx context.Context, app push.AppID, id push.ID) (push.Push, error)
	// List returns pushes of app with ids below before (0: all), newest first, about limit; next is where to go on, 0 at
	// the end. A page may hold fewer than limit, even none, while next is not 0.
	List(ctx context.Context, app push.AppID, before push.ID, limit int) (page []push.Push, next push.ID, err error)
	// Newest returns the greatest push id in the record, 0 if there is none.
	Newest(ctx context.Context) (push.ID, error)
}

// Inbox holds the rows of direct pushes: which push waits for which device.
type Inbox interface {
	// Owed returns the oldest pushes that wait for a device and expire after now, in order of ids, at most limit, without
	// those that skip names. Before it looks it drops what is above the inbox's limit.
	Owed(ctx context.Context, app push.AppID, o push.Ordinal, now time.Time, limit int, skip func(push.ID) bool) ([]*push.Delivery, error)
	// Withdraw removes what still waits of a direct push, marks it with m in the same commit, and returns how many rows.
	Withdraw(ctx context.Context, app push.AppID, id push.ID, m push.Mark) (int, error)
	// Waiting yields each device for which rows wait, once or more often.
	Waiting(ctx context.Context, yield func(push.AppID, push.Ordinal)) error
	// Full returns how many of the devices have an inbox with limit rows or more that expire after now.
	Full(ctx context.Context, app push.AppID, devices []push.Ordinal, limit int, now time.Time) (int, error)
	// Sweep removes rows that expired before now, at most limit, marks them MarkExpired in the same commit, and returns how
	// many; fewer than limit means that none is left. Days that are over by more than a day are dropped whole.
	Sweep(ctx context.Context, now time.Time, limit int) (int, error)
}

// Receipts is the way into the receipt log. A receipt of a direct push that delivers or drops it takes its inbox row
// away in the same commit.
type Receipts interface {
	// Receive returns after the commit that holds rs.
	Receive(ctx context.Context, rs ...push.Receipt) error
	// Post queues rs and returns; it blocks only while the queue is full. What could not be committed is logged, and comes
	// again, since the device is still owed it.
	Post(rs ...push.Receipt)
	// Targets returns the devices that a direct push was accepted for. NotFound if there is none.
	Targets(ctx context.Context, p push.Push) ([]push.Ordinal, error)
	// Targeted reports whether a device is in the target of p, direct or bulk, begun or over.
	Targeted(ctx context.Context, p push.Push, o push.Ordinal) (bool, error)
}

// Bulk is the record of pushes to sets.
type Bulk interface {
	// Load returns one bulk push as Live yields it, in whatever state it is. NotFound if there is none.
	Load(ctx context.Context, app push.AppID, id push.ID) (push.Live, error)
	// Begin stores the target, of count devices, how many names were unknown, and the sets that are known at the start, and
	// moves the push to Sending, in one commit. Conflict if its state does not allow that.
	Begin(ctx context.Context, app push.AppID, id push.ID, target []push.Chunk, count, unknown int, marked map[push.Mark][]push.Chunk) error
	// Move changes the state of a push that is in state from. Conflict if it is in another.
	Move(ctx context.Context, app push.AppID, id push.ID, from, to push.State, reason string) error
	// Live yields every bulk push whose state is not final, in order of ids.
	Live(ctx context.Context, yield func(push.Live) error) error
}

// Gateway is where devices are connected.
type Gateway interface {
	// Post hands d to one device, if it is connected here; else nothing happens: the record keeps it.
	Post(o push.Ordinal, d *push.Delivery)
	// Broadcast hands d to every connected device of d's app for which owed is true.
	Broadcast(d *push.Delivery, owed func(push.Ordinal) bool)
	// Wake has the device's connection, if there is one, ask again what it is owed.
	Wake(app push.AppID, o push.Ordinal)
	// Withdraw is a barrier: when it returns, no copy of the push will start to be written. settle is then called once, with
	// whether the withdrawal was committed: if not, devices from which copies were held back ask the record again. until is
	// when the push expires; the withdrawal is forgotten then.
	Withdraw(app push.AppID, id push.ID, until time.Time) (settle func(committed bool))
}

// Presence tells which devices are connected.
type Presence interface {
	// Online returns the devices of app that are connected now. The caller owns the set.
	Online(app push.AppID) *ordset.Set
	// IsOnline reports whether one device is connected now.
	IsOnline(app push.AppID, o push.Ordinal) bool
}

// Audience answers whom a request is for. The caller owns the sets.
type Audience interface {
	// App returns an app. NotFound if there is none.
	App(app push.AppID) (push.App, error)
	// Check reports what a asks that cannot be answered: a file or a push that is not there, an attribute with too many values
	// to be asked for. Invalid with the path inside the audience, or NotFound. Whether anybody answers is not its matter.
	Check(ctx context.Context, app push.AppID, a push.Audience) error
	// Resolve returns the registered devices that the names of a.Named() stand for, distinct, in the order of the names, and
	// how many names stand for none. If they are more than limit it returns nothing and more true.
	Resolve(ctx context.Context, app push.AppID, a push.Audience, limit int) (devices []push.Named, unknown int, more bool, err error)
	// Target returns the registered devices that a is for now, and how many names in it stand for none.
	Target(ctx context.Context, app push.AppID, a push.Audience) (target *ordset.Set, unknown int, err error)
	// Select returns the devices for which w holds now. Errors as those of Check.
	Select(ctx context.Context, app push.AppID, w push.Where) (*ordset.Set, error)
}

// Census divides sets of devices.
type Census interface {
	// Tally counts a set by platform, token and blacklist.
	Tally(app push.AppID, set *ordset.Set) push.Tally
}

// Jobs wakes work up. A job is a hint: what must happen stands in the record.
type Jobs interface {
	// Wake asks for the push's run, unless one is asked for already.
	Wake(ctx context.Context, app push.AppID, id push.ID) error
}
