package push

import "time"

// The types below cross the ports between the record and the rooms that keep their nouns in it. They are plain rows.

// An Acceptance is all that one commit makes durable when a push is accepted.
type Acceptance struct {
	Push    Push
	Payload []byte    // what devices get; stored once
	Targets []Ordinal // Direct: the devices that get an inbox row, at most MaxDirect; distinct
	Marks   []Receipt // Direct: targets that are dropped at once, in addition to Targets
	Limit   int       // Direct: rows that one device's inbox may hold
}

// A Chunk is the part of a set of ordinals that shares the upper 16 bits: a serialised roaring bitmap of whole ordinals.
type Chunk struct {
	Key  uint16
	Bits []byte
}

// A Live is a bulk push that may still be owed to devices, with what the record knows of it.
type Live struct {
	Push    Push
	Payload []byte
	Target  []Chunk          // nil until it has begun
	Marked  map[Mark][]Chunk // folded sets by mark
}

// A Fold moves receipts from the log into sets and outcomes, in one commit.
type Fold struct {
	UpTo     int64 // rows of the receipt log with a sequence up to this are in the sets afterwards, and deleted
	Chunks   []FoldedChunk
	Outcomes []Outcome
}

// A FoldedChunk replaces one chunk of one set of a bulk push.
type FoldedChunk struct {
	Push  ID
	Mark  Mark
	Chunk Chunk
}

// An Outcome adds marks to what the record knows of a direct push on one device.
type Outcome struct {
	Push    ID
	Day     Day
	Ordinal Ordinal
	Marked  Marked
}

// A Logged is one row of the receipt log: the receipts of one commit.
type Logged struct {
	Seq      int64
	Receipts []Receipt
}

// A DeviceRow is a device as the record keeps it.
type DeviceRow struct {
	Device
	Epoch   uint32 // of the device's secret: counts how often it was replaced
	Install [32]byte
	TagIDs  []TagID   // Device.Tags, as the record knows them; some may be of tags that were removed
	Removed time.Time // zero while it is registered
}

// A Credential is one secret of an app for one service, as the record keeps it: sealed.
type Credential struct {
	App     AppID
	Service string    // "native", "device", "umeng.android", …
	Key     string    // what a request names: appkey, access key id
	Shared  bool      // several apps may have this service and key; otherwise they are one app's only
	Sealed  []byte    // the secret, sealed by the keyring
	Expires time.Time // zero: valid until replaced
}

// A Change is one row of the change feed: something of a device changed, or many devices were active. The feed is ordered
// by Seq.
type Change struct {
	Seq     int64
	At      time.Time
	App     AppID
	Ordinal Ordinal
	What    string  // "register", "attributes", "tokens", "account", "marks", "tags", "aliases", "import", "remove"; "active" says Devices instead
	Day     Day     // for "active": on which
	Devices []Chunk // for "active": which
}
