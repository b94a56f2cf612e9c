package push

// A State is where a push stands in its life: see On for what leads from one to another.
type State string

// The states.
const (
	Open      State = "open"      // targets are being added, and each is sent to at once
	Scheduled State = "scheduled" // waits for its start
	Accepted  State = "accepted"  // durable, not begun
	Sending   State = "sending"   // the first pass over the target is under way
	Paused    State = "paused"    // nothing leaves until it is resumed
	Done      State = "done"      // the first pass is complete; what is pending may still arrive
	Cancelled State = "cancelled"
	Recalled  State = "recalled"
	Expired   State = "expired"
	Failed    State = "failed"
)

// An Action is what happens to a push as a whole.
type Action string

// The actions.
const (
	ActBegin  Action = "begin"  // its time has come, and its target is committed
	ActClose  Action = "close"  // no more targets are added to an open push
	ActPass   Action = "pass"   // the first pass is complete
	ActPause  Action = "pause"  // somebody has it wait
	ActResume Action = "resume" // and go on
	ActCancel Action = "cancel"
	ActRecall Action = "recall"
	ActExpire Action = "expire"
	ActFail   Action = "fail" // whom it is for cannot be found out any more
)

// machine is the whole life of a push. What a state does not name cannot happen in it.
var machine = map[State]map[Action]State{
	Open:      {ActClose: Sending, ActCancel: Cancelled, ActRecall: Recalled, ActExpire: Expired},
	Scheduled: {ActBegin: Sending, ActCancel: Cancelled, ActRecall: Recalled, ActExpire: Expired, ActFail: Failed},
	Accepted:  {ActBegin: Sending, ActCancel: Cancelled, ActRecall: Recalled, ActExpire: Expired, ActFail: Failed},
	Sending:   {ActPass: Done, ActPause: Paused, ActCancel: Cancelled, ActRecall: Recalled, ActExpire: Expired},
	Paused:    {ActResume: Sending, ActCancel: Cancelled, ActRecall: Recalled, ActExpire: Expired},
	Done:      {ActPause: Paused, ActCancel: Cancelled, ActRecall: Recalled, ActExpire: Expired},
	// What is over can still be taken back where it has arrived; that it was over stays said.
	Cancelled: {ActRecall: Cancelled},
	Recalled:  {ActRecall: Recalled},
	Expired:   {ActRecall: Expired},
}

// On returns the state that a leads to from s, and whether a may happen in s at all.
func (s State) On(a Action) (State, bool) {
	to, ok := machine[s][a]
	return to, ok
}

// May reports whether some action leads from s to another state, to.
func (s State) May(to State) bool {
	for _, next := range machine[s] {
		if next == to && to != s {
			return true
		}
	}
	return false
}

// Final reports whether s ends a push. A State that is none of the above does not.
func (s State) Final() bool { return s == Cancelled || s == Recalled || s == Expired || s == Failed }

// Waits reports whether a push in state s has no target yet.
func (s State) Waits() bool { return s == Scheduled || s == Accepted }

// ExpiredUnsent is the Reason of an Expired push of which nothing was ever sent: it had expired before it began.
const ExpiredUnsent = "expired before it began"
