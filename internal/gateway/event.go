package gateway

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/carillonpush/carillon/internal/push"
)

// maxEvent is the most bytes of a report.
const maxEvent = 4 << 10

var eventMarks = push.Events()

// parseEvent reads {"push": "id", "event": name} and nothing else: unknown and repeated fields are refused.
func parseEvent(b []byte) (push.ID, push.Mark, bool) {
	if len(b) > maxEvent {
		return 0, 0, false
	}
	d := json.NewDecoder(bytes.NewReader(b))
	fields := map[string]string{}
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return 0, 0, false
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return 0, 0, false
		}
		value, err := d.Token()
		name, _ := key.(string)
		text, isText := value.(string)
		if _, again := fields[name]; err != nil || !isText || again {
			return 0, 0, false
		}
		fields[name] = text
	}
	if _, err := d.Token(); err != nil {
		return 0, 0, false
	}
	if _, err := d.Token(); err != io.EOF {
		return 0, 0, false
	}
	id, err := push.ParseID(fields["push"])
	mark, ok := eventMarks[fields["event"]]
	return id, mark, err == nil && ok && len(fields) == 2
}
