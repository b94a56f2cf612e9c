package carillon

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// A File is an uploaded list of device ids or aliases, one a line. An Audience names it by its ID, and says by OfDevices or
// OfAliases what its lines are.
type File struct {
	ID      string    `json:"file"`
	Lines   int       `json:"lines"` // that are not empty
	Bytes   int       `json:"bytes"` // unzipped
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"` // it is removed then
}

// UploadFile uploads a list: one name of at most 128 bytes a line, plain or gzip, at most 10 MiB. It reads r to its end,
// and is not repeated: a file of which the outcome is unknown is uploaded again, and the other one expires.
func (c *Client) UploadFile(ctx context.Context, app string, r io.Reader) (f File, err error) {
	path := appPath(app, "files")
	got, err := c.once(ctx, http.MethodPost, path, struct{ io.Reader }{r}, &CallOptions{Long: true})
	if err == nil {
		err = read(http.MethodPost, path, got, &f)
	}
	return f, err
}

// ShowFile returns what is known of a file.
func (c *Client) ShowFile(ctx context.Context, app, file string) (f File, err error) {
	err = c.Call(ctx, http.MethodGet, appPath(app, "files", file), nil, &f, nil)
	return f, err
}

// OfDevices is the Of of an Audience whose File lists devices.
func OfDevices() json.RawMessage { return json.RawMessage(`"devices"`) }

// OfAliases is the Of of an Audience whose File lists aliases of a type.
func OfAliases(aliasType string) json.RawMessage {
	return encode(map[string]string{"alias": aliasType})
}
