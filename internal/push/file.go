package push

import "time"

// A FileID names an uploaded file: 24 lower-case hex digits, drawn at random.
type FileID string

// A File is a list of devices or aliases, one a line, that somebody uploaded.
type File struct {
	ID      FileID    `json:"file"`
	App     AppID     `json:"-"`
	Lines   int       `json:"lines"` // that are not empty
	Bytes   int       `json:"bytes"` // unzipped
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"` // it is removed then
}

// Limits of files.
const (
	MaxFile      = 10 << 20  // bytes of an upload, as it comes
	MaxFileBytes = 64 << 20  // bytes of it unzipped
	MaxLine      = MaxTarget // bytes of a line
)
