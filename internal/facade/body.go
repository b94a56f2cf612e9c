package facade

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// DefaultBodyLimit is the greatest request body of a route that has no limit of its own, in bytes.
const DefaultBodyLimit = 4 << 20

// BodyTimeout is how long the body of one request may take to arrive.
const BodyTimeout = time.Minute

// firstRead bounds what is set aside for a body because its sender says that it is large; the rest grows as it arrives.
const firstRead = 64 << 10

// ReadBody returns r's body. Of a body above limit bytes it reads no more than that, none at all if the length is
// announced; the error is then TooLarge, and the connection closes after the answer. Any other failure to read, among
// them that BodyTimeout has passed, is Invalid. It never looks at the content type, and leaves forms unparsed.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	const op = "facade.ReadBody"
	tooLarge := &push.Error{
		Op: op, Kind: push.TooLarge, Msg: "the body is larger than " + strconv.FormatInt(limit, 10) + " bytes",
	}
	if r.ContentLength > limit {
		w.Header().Set("Connection", "close")
		return nil, tooLarge
	}
	var buf bytes.Buffer
	if r.ContentLength > 0 {
		buf.Grow(int(min(r.ContentLength, firstRead)))
	}
	// A sender that trickles, or is gone without a word, must not hold its connection and what has arrived for ever. Not every
	// w has deadlines: one in a test has no connection.
	deadline := http.NewResponseController(w)
	_ = deadline.SetReadDeadline(time.Now().Add(BodyTimeout))
	defer func() { _ = deadline.SetReadDeadline(time.Time{}) }()
	_, err := io.Copy(&buf, http.MaxBytesReader(w, r.Body, limit))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		w.Header().Set("Connection", "close") // a wrapped w keeps MaxBytesReader from saying so itself
		return nil, tooLarge
	case err != nil:
		return nil, &push.Error{Op: op, Kind: push.Invalid, Msg: "the body cannot be read", Err: err}
	}
	return buf.Bytes(), nil
}
