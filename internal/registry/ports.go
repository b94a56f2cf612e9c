package registry

import (
	"context"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// AppStore is the record of apps and their credentials.
type AppStore interface {
	// CreateApp stores app, gives it the next id, and stores creds under that id. Conflict if its name, or a credential's
	// service and key, is taken (Field says which: "name" or the service).
	CreateApp(ctx context.Context, app push.App, creds []push.Credential) (push.App, error)
	// UpdateApp replaces an app's name, time zone, packages and settings. NotFound, Conflict.
	UpdateApp(ctx context.Context, app push.App) error
	// DeleteApp removes an app, its credentials, devices and pushes. NotFound.
	DeleteApp(ctx context.Context, id push.AppID) error
	// Apps returns all apps and all credentials.
	Apps(ctx context.Context) ([]push.App, []push.Credential, error)
	// PutCredentials stores creds, replacing those of the same app, service and key. Conflict.
	PutCredentials(ctx context.Context, creds []push.Credential) error
}

// DeviceStore is the record of devices. A write is durable when it returns, and appends to the change feed in its own
// commit; writes share commits.
type DeviceStore interface {
	// ChangeDevices makes all of c durable in one commit, or nothing. Conflict with Field "install_id" if the app has another
	// registered device of an install, "ordinal" if an added device's ordinal is another's, "previous_id" if an id is another
	// device's, "tags" if a tag's name or id is taken; NotFound if a device of Save is not there, with Field "app" if the app
	// is not, "aliases[i]" if a device that is to have an alias is not registered; TooMany with Field "aliases[i]" if an edit is
	// against the limits; Unavailable with push.ErrNotQueued if c adds devices and the disk's reserve is reached.
	ChangeDevices(ctx context.Context, c push.DeviceChange) error
	// FindDevices returns devices by ordinal, registered or removed, in order of ordinals, each once; those that are not
	// there are left out. ID, ChannelID, Tags and Aliases are not filled in; TagIDs and PreviousID are.
	FindDevices(ctx context.Context, app push.AppID, ordinals []push.Ordinal) ([]push.DeviceRow, error)
	// FindInstall returns the registered device of an install, as FindDevices does. NotFound.
	FindInstall(ctx context.Context, app push.AppID, install [32]byte) (push.DeviceRow, error)
	// Holders returns the registered devices of app that have one of the names, at most limit (0: all), in the order of
	// names.Values, each value once, and then of ordinals (for aliases: the oldest owner first).
	Holders(ctx context.Context, app push.AppID, names push.Names, limit int) ([]push.Holder, error)
	// ScanIndex yields what the index keeps of every device, registered or removed, of app (0: of all apps that are there),
	// until yield fails. yield is called by several goroutines at once, each with devices of its own.
	ScanIndex(ctx context.Context, app push.AppID, yield func(push.IndexRow) error) error
}

// LabelStore is the record of tags, and of the aliases of devices.
type LabelStore interface {
	// Tags returns the tags of all apps that are there, removed ones too.
	Tags(ctx context.Context) ([]push.Tag, error)
	// AddTag stores a new tag. Conflict; NotFound with Field "app".
	AddTag(ctx context.Context, t push.Tag) error
	// RemoveTag notes that a tag was removed. NotFound if it is not there, or was removed.
	RemoveTag(ctx context.Context, app push.AppID, id push.TagID, at time.Time) error
	// Aliases returns the aliases of devices, the oldest of each first.
	Aliases(ctx context.Context, app push.AppID, ordinals []push.Ordinal) (map[push.Ordinal][]push.Alias, error)
}

// FeedStore is the feed of changes.
type FeedStore interface {
	// Changes returns at most limit rows with sequences above after, in order. A page is bounded in bytes too: only an empty
	// one is the end. Rows may be of apps that have been deleted.
	Changes(ctx context.Context, after int64, limit int) ([]push.Change, error)
	// LastChange returns the greatest sequence that was committed, and the one before the oldest that is kept.
	LastChange(ctx context.Context) (last, before int64, err error)
	// RecordID returns a value that is this record's alone, and the same at every start.
	RecordID(ctx context.Context) ([16]byte, error)
}

// FileStore is the record of uploaded files.
type FileStore interface {
	// AddFilePart stores part n, from 0 on, of a file that is being uploaded. Nobody sees it before AddFile; the upload is given
	// up when its last part expires. Conflict with Field "file" if the file is complete, or the upload was given up; NotFound with
	// Field "app"; Unavailable with push.ErrNotQueued if the disk's reserve is reached.
	AddFilePart(ctx context.Context, app push.AppID, id push.FileID, n int, lines []byte, expires time.Time) error
	// AddFile makes an uploaded file visible. TooMany with Field "file" if the app's files that have not expired when f is
	// created would together have more than most bytes (0: no limit); Conflict with Field "file" if it is visible already, or
	// parts of it have gone because the upload was given up; NotFound with Field "app".
	AddFile(ctx context.Context, f push.File, most int64) error
	// FindFile returns a file. NotFound, also when it has expired at now.
	FindFile(ctx context.Context, app push.AppID, id push.FileID, now time.Time) (push.File, error)
	// ReadFile yields the parts of a file in order, until yield fails. yield does not keep the part.
	ReadFile(ctx context.Context, app push.AppID, id push.FileID, yield func(part []byte) error) error
	// SweepFiles removes what has expired at now, at most limit parts, and returns how many.
	SweepFiles(ctx context.Context, now time.Time, limit int) (int, error)
}

// ActivityStore is the record of when devices were last active.
type ActivityStore interface {
	// Touch stores the day on which devices were last active, and appends one row to the feed, in one commit.
	Touch(ctx context.Context, app push.AppID, day push.Day, devices []push.Ordinal) error
	// PutDeviceDay stores the most devices that were online at once on a day in the app's time zone, if it is more than is
	// stored, and chunks of the set of its active devices, in the place of those that are there.
	PutDeviceDay(ctx context.Context, app push.AppID, day push.Day, peak, active int, chunks []push.Chunk) error
	// ActiveOn returns the chunks of a day, nil if there are none, and its peak.
	ActiveOn(ctx context.Context, app push.AppID, day push.Day) (peak int, chunks []push.Chunk, err error)
	// DeviceDays returns the days of app from one to another, both included, in order; days of which nothing is known too.
	// Their sums count from the app's first day on.
	DeviceDays(ctx context.Context, app push.AppID, from, to push.Day) ([]push.DeviceDay, error)
}
