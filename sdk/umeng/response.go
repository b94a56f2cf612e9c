package umeng

import (
	"fmt"
	"net/http"
	"strings"
)

// A SendResult is the answer to a send: exactly one of MsgID and TaskID.
type SendResult struct {
	MsgID        string `json:"msg_id,omitempty"`        // of a single message
	TaskID       string `json:"task_id,omitempty"`       // of a task
	ThirdpartyID string `json:"thirdparty_id,omitempty"` // the request's, if it had one
}

// Envelope returns the response body. All its values are strings, because some senders decode it so.
func (r SendResult) Envelope() []byte { return envelope("SUCCESS", r) }

// A CancelResult is the answer to a cancellation.
type CancelResult struct {
	TaskID string `json:"task_id"`
}

// Envelope returns the response body.
func (r CancelResult) Envelope() []byte { return envelope("SUCCESS", r) }

// A TaskState is the state of a task. In states 2 to 6 the task goes no further by itself; a server that still owes a
// finished task to devices that are away lets it be cancelled, from 2 to 4.
type TaskState int

// The states.
const (
	Queued     TaskState = 0
	Sending    TaskState = 1
	Finished   TaskState = 2
	Failed     TaskState = 3
	Cancelled  TaskState = 4
	Expired    TaskState = 5
	NoAudience TaskState = 6 // the filter matched nobody
	Scheduled  TaskState = 7 // start_time has not come
)

// String names s.
func (s TaskState) String() string {
	names := [...]string{"queued", "sending", "finished", "failed", "cancelled", "expired", "no audience", "scheduled"}
	if s < 0 || int(s) >= len(names) {
		return fmt.Sprintf("state %d", int(s))
	}
	return names[s]
}

// Final reports whether the task goes no further by itself, so that there is nothing to wait for. Only a Cancel may change
// the state again, of a task that is Finished, and its numbers grow until it expires.
func (s TaskState) Final() bool { return s >= Finished && s <= NoAudience }

// A Status is the answer to a status query. Counts are devices. A server writes all six numbers for every platform, which
// satisfies readers of every generation; the real service leaves some out, which read as 0.
//
// Source: protocols/umeng.md section 9.
type Status struct {
	TaskID       string    `json:"task_id"`
	Status       TaskState `json:"status"`
	TotalCount   int       `json:"total_count"`   // iOS: submitted to APNs; otherwise the audience
	AcceptCount  int       `json:"accept_count"`  // accepted by the gateway; generation A
	SentCount    int       `json:"sent_count"`    // Android: reached so far; iOS: accepted by APNs
	OpenCount    int       `json:"open_count"`    // opened
	DismissCount int       `json:"dismiss_count"` // dismissed; Android
}

// Envelope returns the response body. Its numbers are JSON numbers.
func (s Status) Envelope() []byte { return envelope("SUCCESS", s) }

// parseResponse reads a response body as tolerantly as a request's. It returns the data of a success, an *Error for a
// refusal, and false if body is neither.
func parseResponse(body []byte, status int) (data reader, refused *Error, ok bool) {
	o, ok := parseObject(validUTF8(body))
	if !ok {
		return reader{}, nil, false
	}
	root := reader{object: o, invalid: map[string]bool{}}
	data, _ = root.sub("data")
	switch ret := root.word("ret"); {
	case strings.EqualFold(ret, "SUCCESS") && status == http.StatusOK:
		return data, nil, true
	case strings.EqualFold(ret, "FAIL"):
		return reader{}, &Error{
			Code: Code(data.number("error_code")), Message: data.text("error_msg"), Status: status,
		}, true
	default:
		return reader{}, nil, false
	}
}
