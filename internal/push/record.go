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

	Personal map[Ordinal][]byte // payloads of devices that do not get Payload; also of a bulk push, by its Begin
	Merged   []Ordinal          // Direct: devices for which several names of the request stand
	Charges  []Charge           // quotas that it uses; one that does not fit refuses it
	Totals   []TotalKey         // Direct: where its target is counted, and with it the push
	Fires    *Occurrence        // the occurrence that becomes this push, if it still waits
}

// A Recalling is a push that is taken back, whole or from some devices. What waits of a direct push is dropped with
// MarkWithdrawn, and in the whole case the push is recalled; a bulk push moves to Recalled, or, for some devices, those of
// Stopped get receipts of MarkWithdrawn. Those of Told get receipts of MarkTold.
type Recalling struct {
	Push    Push
	Devices []Ordinal // from whom; nil is the whole push
	Stopped []Ordinal // Bulk, from some devices: those of Devices that are owed it
	Told    []Ordinal // Direct, or from some devices: those that have, or may have, got it
}

// A Chunk is the part of a set of ordinals that shares the upper 16 bits: a serialised roaring bitmap of whole ordinals.
type Chunk struct {
	Key  uint16
	Bits []byte
}

// A Start is what one commit makes durable when a bulk push begins to be sent.
type Start struct {
	App      AppID
	ID       ID
	Target   []Chunk // nobody changes them
	Count    int     // devices in it
	Unknown  int     // names that stand for none
	Marked   map[Mark][]Chunk
	Cursor   Ordinal // of a paced push: 0; of all others greater than every ordinal
	Personal map[Ordinal][]byte
	Totals   []TotalKey // where its target is counted, and with it the push
}

// Everybody is the Cursor of a push that is not paced, or whose first pass is complete.
const Everybody = Ordinal(1<<32 - 1)

// A Growth is what one call adds to the target of an open push.
type Growth struct {
	App     AppID
	ID      ID
	Target  []Chunk // the chunks that change, as they are afterwards
	Count   int     // devices in the whole target afterwards
	Unknown int     // names that stood for none, in all calls
	Totals  []TotalDelta
	Settled map[Mark][]Chunk // devices of it that are dropped at once: chunks that change, as they are afterwards
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
	Trails   []Trail
	Totals   []TotalDelta
	Batches  []Batch // for webhooks: their ids are given by the record
	Counted  []Counted
}

// A Trail is what is kept of when: receipts of one bulk push in one chunk that were new, in order of time. The record puts
// them behind those that it has.
type Trail struct {
	Push  ID
	Day   Day // on which the push expires
	Key   uint16
	Marks []TrailMark
}

// A TrailMark is one of them.
type TrailMark struct {
	Ordinal Ordinal
	Timed
}

// Counted is how far the receipts of a bulk push are counted in totals: its report as they have it.
type Counted struct {
	Push   ID
	Report Report
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
	Times   []Timed // of those marks that are new
}

// A Logged is one row of the receipt log: the receipts of one commit.
type Logged struct {
	Seq      int64
	At       time.Time // when it was committed, by the node's clock
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

// A Labelled is a push, and how far it is counted in totals.
type Labelled struct {
	Push    Push
	Counted Report // of a bulk push: its report as the totals have it; zero counts of one that has not been counted
}
