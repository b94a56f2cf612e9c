package push

import "time"

// A Standing is where one device stands with a push. The zero Standing is nowhere near it.
type Standing struct {
	Targeted bool      // the device is in the target
	Paused   bool      // the push is paused
	Turn     bool      // its turn has not come: the push is paced
	TurnAt   time.Time // about when it comes; zero if that is not known
	Verdict  Verdict   // what the door says now, if nothing else is in the way
}
