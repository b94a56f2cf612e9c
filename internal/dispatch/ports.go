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
	// fingerprints differ. TooMany with RetryAfter if one of a's charges does not fit: then it uses none. Conflict with Field
	// "occurrence" if a.Fires does not wait any more. Unavailable means that the outcome is unknown, or that the disk's reserve is reached.
	Accept(ctx context.Context, a *push.Acceptance) (p push.Push, repeated bool, err error)
	// FindKey returns the push that was accepted under key and the fingerprint of its request. NotFound if there is none.
	FindKey(ctx context.Context, app push.AppID, key push.Key) (push.Push, [32]byte, error)
	// Find returns a push of app by id, with its request and, once it has begun, its target's size. NotFound if there is none.
	Find(ctx context.Context, app push.AppID, id push.ID) (push.Push, error)
	// Personal returns the payload of p that is one device's own, nil if it gets the push's.
	Personal(ctx context.Context, p push.ID, day push.Day, o push.Ordinal) ([]byte, error)
}

// Inbox holds the rows of direct pushes: which push waits for which device.
type Inbox interface {
	// Owed returns the oldest pushes that wait for a device and expire after now, in order of ids, at most limit, without
	// those that skip names; what is personal has its own payload. Before it looks it drops what is above the inbox's limit.
	Owed(ctx context.Context, app push.AppID, o push.Ordinal, now time.Time, limit int, skip func(push.ID) bool) ([]*push.Delivery, error)
	// Withdraw removes what still waits of a direct push, marks it with m in the same commit, and returns how many rows.
	Withdraw(ctx context.Context, app push.AppID, id push.ID, m push.Mark) (int, error)
	// Collapse drops, with MarkCollapsed, what waits of the direct pushes of app with a collapse id, but for push except, for the
	// devices that in returns true for, and returns which devices had one.
	Collapse(ctx context.Context, app push.AppID, collapse string, except push.ID, in func(push.Ordinal) bool) ([]push.Ordinal, error)
	// Waiting yields each device for which rows wait, once or more often.
	Waiting(ctx context.Context, yield func(push.AppID, push.Ordinal)) error
	// Sweep removes rows that expired before now, at most limit, marks them MarkExpired in the same commit, and returns how
	// many; fewer than limit means that none is left. Days that are over by more than a day are dropped whole.
	Sweep(ctx context.Context, now time.Time, limit int) (int, error)
}

// Inboxes is what is asked of inboxes beside their rows.
type Inboxes interface {
	// Full returns how many of the devices have an inbox with limit rows or more that expire after now.
	Full(ctx context.Context, app push.AppID, devices []push.Ordinal, limit int, now time.Time) (int, error)
	// Hold notes that a direct push is paused, or that it is not any more, and returns after the commit. NotFound.
	Hold(ctx context.Context, app push.AppID, id push.ID, paused bool) error
	// Held returns the direct pushes that are paused and have not expired at now.
	Held(ctx context.Context, now time.Time) ([]push.Push, error)
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
	// Begin makes s durable and moves the push to Sending, in one commit. Conflict if its state does not allow that.
	Begin(ctx context.Context, s push.Start) error
	// Move changes the state of a push that is in state from, and logs a receipt of MarkFinished if to is Done or final. Conflict
	// if it is in another state.
	Move(ctx context.Context, app push.AppID, id push.ID, from, to push.State, reason string) error
	// Live yields every bulk push whose state is not final, in order of ids.
	Live(ctx context.Context, yield func(push.Live) error) error
}

// Changing is the record of pushes that change after they were accepted.
type Changing interface {
	// Grow adds to the target of a push that is open. Conflict if it is not.
	Grow(ctx context.Context, g push.Growth) error
	// Advance moves the cursor of a paced push on, never back. Rows of several pushes share commits.
	Advance(ctx context.Context, app push.AppID, id push.ID, cursor push.Ordinal) error
	// Recall ends a push, or what of it some devices are owed, and accepts the push that carries the recall, in one commit. A
	// push that is over stays as it is. NotFound. Unavailable means that the outcome is unknown.
	Recall(ctx context.Context, r push.Recalling, message *push.Acceptance) error
	// Replace changes what a push sends and when, if it is scheduled still. Conflict if it is not.
	Replace(ctx context.Context, p push.Push, payload []byte) error
}

// Marks is what the report knows and takes of bulk pushes.
type Marks interface {
	// Devices returns the devices on which m holds for p. The caller owns the set.
	Devices(ctx context.Context, p push.Push, m push.Mark) (*ordset.Set, error)
	// Mark adds m for all devices of set to a bulk push, as if each had a receipt, and returns after the commit.
	Mark(ctx context.Context, p push.Push, m push.Mark, set *ordset.Set) error
	// Report returns the account of p at now.
	Report(ctx context.Context, p push.Push, now time.Time) (push.Report, error)
}

// Admission decides whether copies may leave for devices: quiet hours, networks, caps. It does no I/O.
type Admission interface {
	// Admit decides on one push and device. What it lets through counts under the caps from then on, once a push.
	Admit(now time.Time, app push.AppID, o push.Ordinal, id push.ID, r push.Rules) push.Verdict
	// Peek is Admit without counting anything.
	Peek(now time.Time, app push.AppID, o push.Ordinal, id push.ID, r push.Rules) push.Verdict
	// Idle reports whether Admit lets everything of r through, whatever the device.
	Idle(app push.AppID, r push.Rules) bool
	// Released yields devices for which something was held and may not be any more, each once, and forgets them.
	Released(now time.Time, yield func(push.AppID, push.Ordinal))
}

// Templates are named texts.
type Templates interface {
	// FindTemplate returns a template. NotFound.
	FindTemplate(ctx context.Context, app push.AppID, name string) (push.Template, error)
}

// Gateway is where devices are connected.
type Gateway interface {
	// Post hands d to one device, if it is connected here; else nothing happens: the record keeps it.
	Post(o push.Ordinal, d *push.Delivery)
	// Broadcast hands d to every connected device of d's app for which owed is true.
	Broadcast(d *push.Delivery, owed func(push.Ordinal) bool)
	// Wake has the device's connection, if there is one, ask again what it is owed.
	Wake(app push.AppID, o push.Ordinal)
	// Withdraw is a barrier: when it returns, no copy of the push will start to be written, but for those of other devices if
	// devices names some. settle is then called once, with
	// whether the withdrawal was committed: if not, devices from which copies were held back ask the record again. until is
	// when the push expires; the withdrawal is forgotten then.
	Withdraw(app push.AppID, id push.ID, devices []push.Ordinal, until time.Time) (settle func(committed bool))
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
