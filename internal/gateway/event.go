package gateway

import "github.com/carillonpush/carillon/internal/push"

// maxPayload is the most bytes of what a device says at a time.
const maxPayload = 4 << 10

var eventMarks = push.Events()

// parseEvent reads {"push": "id", "event": name} and nothing else: unknown and repeated fields are refused.
func parseEvent(b []byte) (push.ID, push.Mark, bool) {
	if len(b) > maxPayload {
		return 0, 0, false
	}
	v, err := push.ReadJSON(b)
	all, ok := v.(map[string]any)
	if err != nil || !ok || len(all) != 2 {
		return 0, 0, false
	}
	name, isText := all["push"].(string)
	event, isToo := all["event"].(string)
	if !isText || !isToo {
		return 0, 0, false
	}
	id, err := push.ParseID(name)
	mark, ok := eventMarks[event]
	return id, mark, err == nil && ok
}
