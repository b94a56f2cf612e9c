package gateway

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/carillonpush/carillon/internal/push"
)

// maxReport is the most bytes of a report.
const maxReport = 4 << 10

var eventMarks = push.Events()

// parseEvent reads {"push": "id", "event": name} and nothing else: unknown and repeated fields are refused.
func parseEvent(b []byte) (push.ID, push.Mark, bool) {
	if len(b) > maxReport {
		return 0, 0, false
	}
	all, ok := readMembers(b)
	if !ok || len(all) != 2 {
		return 0, 0, false
	}
	name, isText := readText(all["push"])
	event, isToo := readText(all["event"])
	if !isText || !isToo {
		return 0, 0, false
	}
	id, err := push.ParseID(name)
	mark, ok := eventMarks[event]
	return id, mark, err == nil && ok
}

// members are what a JSON object has, by name.
type members map[string]json.RawMessage

// readMembers reads one JSON object and nothing behind it. Unlike encoding/json alone it refuses names that come twice.
func readMembers(b []byte) (members, bool) {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	all := members{}
	for d.More() {
		t, err := d.Token()
		name, _ := t.(string)
		if _, again := all[name]; err != nil || again {
			return nil, false
		}
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return nil, false
		}
		all[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, false
	}
	_, err := d.Token()
	return all, err == io.EOF
}

// readText reads a JSON string. Absent is none.
func readText(raw json.RawMessage) (s string, ok bool) {
	if len(raw) == 0 || raw[0] != '"' { // null would be read as ""
		return "", false
	}
	return s, json.Unmarshal(raw, &s) == nil
}
