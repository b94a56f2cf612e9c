package push

import "time"

// A Schedule is a push that is to be sent later: once, or again and again. Of one that is sent once the schedule is the push
// itself, under the same id. A recurring one makes a push of each of its occurrences.
type Schedule struct {
	ID      ID            `json:"id"`
	App     AppID         `json:"app"`
	Every   string        `json:"every" enum:"once,day,week,month"`
	State   ScheduleState `json:"state"`
	Created time.Time     `json:"created"`
	Next    time.Time     `json:"next,omitzero"` // the next occurrence; zero when there is none
	Left    int           `json:"left"`          // occurrences that are to come
	Request Request       `json:"request"`       // what each occurrence sends
}

// A ScheduleState is where a schedule stands.
type ScheduleState string

// The states of schedules.
const (
	ScheduleActive    ScheduleState = "active"    // occurrences are to come
	ScheduleFinished  ScheduleState = "finished"  // none is
	ScheduleCancelled ScheduleState = "cancelled" // none will be
)

// An Occurrence is one firing of a schedule. Its id is known before it fires, and is that of the push that it becomes.
type Occurrence struct {
	ID       ID              `json:"id"`
	Schedule ID              `json:"schedule"`
	App      AppID           `json:"app"`
	At       time.Time       `json:"at"`
	State    OccurrenceState `json:"state"`
}

// An OccurrenceState is where an occurrence stands.
type OccurrenceState string

// The states of occurrences.
const (
	OccurrenceWaiting   OccurrenceState = "waiting"
	OccurrenceFired     OccurrenceState = "fired"     // it is a push now
	OccurrenceMissed    OccurrenceState = "missed"    // its time and its push's time to live had passed when the node came back
	OccurrenceFailed    OccurrenceState = "failed"    // what it was to send cannot be made any more: its template is gone
	OccurrenceCancelled OccurrenceState = "cancelled" // by itself or with its schedule
)

// A SchedulePatch changes what is to be sent, and when. What is nil stays.
type SchedulePatch struct {
	Audience *Audience
	Message  *Message
	Policy   *Policy
}

// Apply returns r as p changes it.
func (p SchedulePatch) Apply(r Request) Request {
	if p.Audience != nil {
		r.Audience = *p.Audience
	}
	if p.Message != nil {
		r.Message = *p.Message
	}
	if p.Policy != nil {
		r.Policy = *p.Policy
	}
	return r
}

// MaxOccurrences is the most occurrences of a schedule: one a day, as far ahead as any app allows.
const MaxOccurrences = 366
