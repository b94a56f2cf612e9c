package push

// A Mark is one thing that happened to one push on one device. Marks are bits: a set of them is a Marked, and
// marking twice is marking once.
type Mark uint8

// The marks. Their numbers are stored and never change.
const (
	MarkSent        Mark = 0 // written to a connection, or accepted by a vendor
	MarkDelivered   Mark = 1 // acknowledged by the device, or written at QoS 0
	MarkUnconfirmed Mark = 2 // delivered, but at QoS 0
	MarkDisplayed   Mark = 3
	MarkOpened      Mark = 4
	MarkClicked     Mark = 5
	MarkDismissed   Mark = 6
	MarkRecalled    Mark = 7 // the device confirmed a recall

	MarkTold Mark = 8 // a recall was asked for, and the device has, or may have, got the push

	// MarkFinished is of the push and not of a device: its first pass is complete, or it is over. Its ordinal is 0, and it is in
	// no set and no outcome.
	MarkFinished Mark = 15

	// MarkTargeted stands for being in the target, where marks name sets of a push. No receipt carries it.
	MarkTargeted Mark = 30

	MarkUnregistered Mark = 16 // the device was removed
	MarkBlacklisted  Mark = 17
	MarkCapped       Mark = 18
	MarkQuiet        Mark = 19
	MarkOffline      Mark = 20 // away, and the push was not to be stored
	MarkNetwork      Mark = 21
	MarkOverflow     Mark = 22 // pushed out of a full inbox
	MarkCollapsed    Mark = 23
	MarkCancelled    Mark = 24
	MarkWithdrawn    Mark = 25 // recalled before it was delivered
	MarkExpired      Mark = 26
	MarkRefused      Mark = 27
	MarkTooLarge     Mark = 28 // above the client's maximum packet size
)

const firstDrop = MarkUnregistered

var dropReasons = map[Mark]string{
	MarkUnregistered: "unregistered", MarkBlacklisted: "blacklisted", MarkCapped: "capped", MarkQuiet: "quiet",
	MarkOffline: "offline", MarkNetwork: "network", MarkOverflow: "overflow", MarkCollapsed: "collapsed",
	MarkCancelled: "cancelled", MarkWithdrawn: "recalled", MarkExpired: "expired", MarkRefused: "refused",
	MarkTooLarge: "too_large",
}

// DroppedUnknown is the reason for a named target that is no device of the app. No Mark stands for it: there is no
// device to mark.
const DroppedUnknown = "unknown"

// Drops returns the marks that drop a push, in the order in which they count: a device with several counts under the
// first.
func Drops() []Mark {
	all := make([]Mark, 0, len(dropReasons))
	for m := firstDrop; m <= MarkTooLarge; m++ {
		all = append(all, m)
	}
	return all
}

// Reason returns the name of a mark that drops, "" for the others.
func (m Mark) Reason() string { return dropReasons[m] }

// Events returns what a device may report of a push, and the mark that stands for it.
func Events() map[string]Mark {
	return map[string]Mark{
		"delivered": MarkDelivered, "displayed": MarkDisplayed, "opened": MarkOpened,
		"clicked": MarkClicked, "dismissed": MarkDismissed, "recalled": MarkRecalled,
	}
}

// A Receipt says that a mark holds for a push on a device.
type Receipt struct {
	App     AppID
	Push    ID
	Ordinal Ordinal
	Mark    Mark
	Day     Day // for a direct push: the day it expires, where its rows are; 0 for a bulk push
}

// Marked is a set of marks of one push on one device.
type Marked uint32

// With returns s and m.
func (s Marked) With(m Mark) Marked { return s | 1<<m }

// Has reports whether m is in s.
func (s Marked) Has(m Mark) bool { return s&(1<<m) != 0 }

// Dropped returns the mark under which a device with s counts as dropped. What was delivered was not dropped.
func (s Marked) Dropped() (Mark, bool) {
	if s.Has(MarkDelivered) || s>>firstDrop == 0 {
		return 0, false
	}
	for m := firstDrop; ; m++ {
		if s.Has(m) {
			return m, true
		}
	}
}

// A Report is the account of one push. Target = Delivered + Pending + the sum of Dropped, always.
type Report struct {
	Target      int                     `json:"target"`
	Sent        int                     `json:"sent"`
	Delivered   int                     `json:"delivered"`
	Unconfirmed int                     `json:"unconfirmed"`
	Displayed   int                     `json:"displayed"`
	Opened      int                     `json:"opened"`
	Clicked     int                     `json:"clicked"`
	Dismissed   int                     `json:"dismissed"`
	Pending     int                     `json:"pending"`
	Recall      *Recall                 `json:"recall,omitempty"` // of a push that was taken back
	Dropped     map[string]int          `json:"dropped"`
	Channels    map[string]ChannelCount `json:"channels"`
}

// A ChannelCount is what one way out did of a push.
type ChannelCount struct {
	Sent      int `json:"sent"`
	Delivered int `json:"delivered"`
}

// A Count answers a dry run: whom a request would reach now.
type Count struct {
	Target      int            `json:"target"`  // devices and unknown names, as Report.Target counts them
	Unknown     int            `json:"unknown"` // names that are no device of the app
	Online      int            `json:"online"`
	Platforms   map[string]int `json:"platforms"`
	Channels    map[string]int `json:"channels"`
	Blacklisted int            `json:"blacklisted"`
	OverLimit   int            `json:"over_limit"`
}
