package push

import "time"

// A Verdict says whether a copy may leave for a device now. The zero Verdict lets it.
type Verdict struct {
	Drop  Mark      // other than 0: it never may
	Until time.Time // not zero: not before then
	Held  bool      // not now; Until is zero if it is not known until when
}
