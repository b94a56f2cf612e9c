package restserver

import (
	"bytes"
	"context"
	"encoding/json"
)

// stream is a device's inbox as server-sent events. The gateway calls for each message from a goroutine of the stream's own,
// and what it has handed over is on the wire when the call returns: a push that was withdrawn is not waiting here.
func (s *Server) stream(c *call) error {
	s.follow(c.r.Context(), c, func(ctx context.Context, out *eventWriter) error {
		return s.house.Inbox.Stream(ctx, c.ref, func(message []byte) error { return out.write(frame(message)) })
	})
	return nil
}

// frame returns message as an event, its push id as the event's.
func frame(message []byte) []byte {
	var head struct {
		ID json.RawMessage `json:"id"`
	}
	var b bytes.Buffer
	if json.Unmarshal(message, &head) == nil && len(head.ID) > 2 {
		b.WriteString("id: ")
		b.Write(bytes.Trim(head.ID, `"`))
		b.WriteByte('\n')
	}
	b.WriteString("data: ")
	for _, c := range message {
		if c == '\n' || c == '\r' { // only between tokens, where a space means the same
			c = ' '
		}
		b.WriteByte(c)
	}
	b.WriteString("\n\n")
	return b.Bytes()
}
