package push

import "time"

// An Account is what became of one push on one device, in the order in which it happened.
type Account struct {
	State string        `json:"state" enum:"not_targeted,waiting,held,sent,delivered,displayed,opened,clicked,dismissed,recalled,dropped"`
	Steps []AccountStep `json:"steps"`
}

// An AccountStep is one line of an Account.
type AccountStep struct {
	Time    time.Time `json:"time,omitzero"`     // when; of what is still to come, when it will; zero where that is not known
	Step    string    `json:"step"`              // one of Steps
	Channel string    `json:"channel,omitempty"` // the way out: "own"
	Reason  string    `json:"reason,omitempty"`  // why: of a drop the report's reason, else in words
	Leaf    string    `json:"leaf,omitempty"`    // of not_targeted: the part of the audience that does not hold now, as a path
	Changed bool      `json:"changed,omitempty"` // of not_targeted: the device has changed since, so what holds now need not have held then
	Push    ID        `json:"push,omitempty"`    // of collapsed: by which push; of recall: the push that carries it
}

// AccountSteps returns every step that an Account can have, and what it means: the closed list of docs/pushes.md.
func AccountSteps() [][2]string {
	return [][2]string{
		{"accepted", "the push was durable"},
		{"scheduled", "it waits, or waited, for its start"},
		{"not_targeted", "the device was not in the audience when sending began: leaf says what of it does not hold"},
		{"targeted", "the device is in the target"},
		{"deduplicated", "several names of the request stand for the device: it gets one copy"},
		{"paced", "its turn has not come: the push is sent at a rate"},
		{"paused", "the push is paused"},
		{"held", "quiet hours, until time; or the wrong network"},
		{"waiting", "the device is away; it gets it when it connects"},
		{"sent", "a copy was written to channel"},
		{"delivered", "the device acknowledged it; with reason unconfirmed it was written at QoS 0"},
		{"displayed", "the device said so"},
		{"opened", "the device said so"},
		{"clicked", "the device said so"},
		{"dismissed", "the device said so"},
		{"dropped", "it gets no copy any more: reason is one of the report's"},
		{"recall_sent", "the device is told to take it back"},
		{"recalled", "the device said that it has taken it back"},
	}
}

// A Timed is a mark and when it was committed.
type Timed struct {
	Mark Mark
	At   time.Time
}

// A Recall says what became of taking a push back, in devices. Target = Stopped + Recalled + TooLate + those that it was
// dropped for before.
type Recall struct {
	Stopped   int `json:"stopped"`   // have not got it, and will not
	Recalled  int `json:"recalled"`  // have, or may have, got it and are told to take it back
	Confirmed int `json:"confirmed"` // of Recalled and TooLate: have said that they did
	TooLate   int `json:"too_late"`  // somebody had opened, clicked or dismissed it; they are told, too
}
