package restserver

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillonpush/carillon/internal/push"
)

// fileTimeout is how long an upload may take in all.
const fileTimeout = 5 * time.Minute

// fileRoutes registers what senders do with lists of devices or aliases.
func (s *Server) fileRoutes() {
	const tag = "Files"
	s.bare(route{
		method: http.MethodPost, path: "/v1/apps/{app}/files", id: "upload-file", tag: tag, access: sender,
		summary: "Upload a list",
		doc: "A list of device ids or of aliases, one of at most 128 bytes a line, plain or gzip, at most 10 MiB as it comes. An " +
			"audience names it as {\"file\": id, \"of\": \"devices\" or {\"alias\": type}}. Its lines are resolved when a push to it " +
			"begins; those that stand for no device count as dropped.unknown. It is kept for the time of setting files.keep.",
		media:   []string{"text/plain", "application/gzip"},
		params:  []*huma.Param{headerParam("Content-Encoding", "gzip, or nothing: what is zipped is known by its first bytes too.")},
		limit:   push.MaxFile,
		answers: []answer{{http.StatusCreated, push.File{}, "The file."}},
	}, s.upload)
	handle(s, route{
		method: http.MethodGet, path: "/v1/apps/{app}/files/{file}", id: "show-file", tag: tag, access: sender,
		summary: "Show a file", doc: "How many lines it has, and until when it is kept. Its lines are not shown.",
		answers: []answer{{http.StatusOK, push.File{}, "The file."}},
	}, func(ctx context.Context, c *call, _ *none) (any, error) {
		return s.house.Files.FindFile(ctx, c.app.ID, push.FileID(c.r.PathValue("file")))
	})
}

// upload hands the body to whoever keeps files, as it comes in.
func (s *Server) upload(c *call) error {
	encoding := c.r.Header.Get("Content-Encoding")
	if encoding != "" && encoding != "identity" && encoding != "gzip" {
		return invalid("Content-Encoding", "is gzip, or absent")
	}
	if strings.HasPrefix(c.r.Header.Get("Content-Type"), "multipart/") {
		return invalid("Content-Type", "is of a form: the body is the file itself")
	}
	if c.r.ContentLength > push.MaxFile {
		c.w.Header().Set("Connection", "close") // else the server would read the rest to reuse the connection
		return tooLarge(push.MaxFile)
	}
	rc := http.NewResponseController(c.w) // writers that have no deadlines are those of tests
	_ = rc.SetReadDeadline(time.Now().Add(fileTimeout))
	defer func() { _ = rc.SetReadDeadline(time.Time{}) }()
	body := &upload{r: bufio.NewReader(http.MaxBytesReader(c.w, c.r.Body, push.MaxFile))}
	if head, _ := body.r.Peek(2); encoding == "gzip" && string(head) != "\x1f\x8b" {
		return invalid("Content-Encoding", "says gzip, and the body is not")
	}
	f, err := s.house.Files.AddFile(c.r.Context(), c.app.ID, body)
	if err != nil {
		c.w.Header().Set("Connection", "close") // the rest of the body is of no use
		if body.err != nil {                    // and not what came of half a file
			return body.err
		}
		return err
	}
	writeJSON(c.w, c.status, "application/json", f)
	return nil
}

// An upload is a body whose faults are told apart from those of what is in it.
type upload struct {
	r   *bufio.Reader
	err error // what kept it from being read to its end
}

func (u *upload) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	var over *http.MaxBytesError
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return n, err
	case errors.As(err, &over):
		u.err = tooLarge(push.MaxFile)
	default:
		u.err = &push.Error{Kind: push.Invalid, Msg: "the body ended early", Err: err}
	}
	return n, u.err
}
