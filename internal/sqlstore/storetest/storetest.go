// Package storetest is what every record must pass, and every fake of one: the contracts of the ports that dispatch, report
// and registry declare, as tests.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/dispatch"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/registry"
	"github.com/carillonpush/carillon/internal/report"
	"github.com/carillonpush/carillon/internal/sqlstore"
)

// The record keeps what these ports ask for.
var (
	_ dispatch.Record        = (*sqlstore.Store)(nil)
	_ dispatch.Inbox         = (*sqlstore.Store)(nil)
	_ dispatch.Receipts      = (*sqlstore.Store)(nil)
	_ report.Store           = (*sqlstore.Store)(nil)
	_ registry.AppStore      = (*sqlstore.Store)(nil)
	_ registry.DeviceStore   = (*sqlstore.Store)(nil)
	_ registry.LabelStore    = (*sqlstore.Store)(nil)
	_ registry.FeedStore     = (*sqlstore.Store)(nil)
	_ registry.FileStore     = (*sqlstore.Store)(nil)
	_ registry.ActivityStore = (*sqlstore.Store)(nil)
	_ Meta                   = (*sqlstore.Store)(nil)
)

// Meta is where the record keeps values that are not of one app, as the keyring needs it.
type Meta interface {
	Meta(ctx context.Context, key string) ([]byte, error)
	PutMeta(ctx context.Context, key string, value []byte) error
	Empty(ctx context.Context) (bool, error)
}

// Ports are one record, as the rooms see it.
type Ports struct {
	Record   dispatch.Record
	Inbox    dispatch.Inbox
	Receipts dispatch.Receipts
	Report   report.Store
	Apps     registry.AppStore
	Devices  registry.DeviceStore
	Labels   registry.LabelStore
	Feed     registry.FeedStore
	Files    registry.FileStore
	Activity registry.ActivityStore
	Meta     Meta
	Life
	Later

	// Logged returns what the record has told of committed receipts, since it was opened.
	Logged func() []push.Logged
	// Reopen closes the record and opens it again, as a restart does.
	Reopen func(t *testing.T) *Ports
}

// Open returns the ports of the record at url, closed when t ends.
func Open(t *testing.T, url string, opts *sqlstore.Options) *Ports {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), url, opts)
	if err != nil {
		t.Fatalf("open the record: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the record: %v", err)
		}
	})
	var mu sync.Mutex
	var logged []push.Logged
	s.OnReceipts(func(row push.Logged) {
		mu.Lock()
		defer mu.Unlock()
		logged = append(logged, row)
	})
	return &Ports{
		Record: s, Inbox: s, Receipts: s, Report: s, Apps: s, Meta: s,
		Devices: s, Labels: s, Feed: s, Files: s, Activity: s, Life: life(s), Later: later(s),
		Logged: func() []push.Logged {
			mu.Lock()
			defer mu.Unlock()
			return append([]push.Logged(nil), logged...)
		},
		Reopen: func(t *testing.T) *Ports {
			t.Helper()
			if err := s.Close(); err != nil {
				t.Fatalf("close the record: %v", err)
			}
			return Open(t, url, opts)
		},
	}
}

// Test runs every suite. open returns an empty record.
func Test(t *testing.T, open func(t *testing.T) *Ports) {
	for _, suite := range append([]suite{
		{"accept and find a direct push", testAcceptDirect},
		{"accept and find a bulk push", testAcceptBulk},
		{"a key is one push", testKeys},
		{"a key that has expired is free", testKeyExpires},
		{"rows that are no push are refused", testInvalid},
		{"an id is one push", testIDTwice},
		{"list pages, newest first", testList},
		{"owed in order of ids, across days", testOwed},
		{"a full inbox drops its oldest", testOverflow},
		{"receipts take rows away", testReceipts},
		{"withdraw", testWithdraw},
		{"waiting devices", testWaiting},
		{"full inboxes", testFull},
		{"sweep in slices", testSweep},
		{"days are dropped when they are over", testDays},
		{"a bulk push from begin to end", testBulk},
		{"targets are shared and go with their pushes", testTargets},
		{"who is in a target", testTargeted},
		{"folding twice is folding once", testFold},
		{"a fold in slices", testFoldSlices},
		{"a bulk push goes when it is long over", testBulkOver},
		{"the log is in order", testLog},
		{"apps and credentials", testApps},
		{"a deleted app leaves nothing", testDeleteApp},
		{"an app that is not there has nothing", testNoApp},
		{"devices", withApps(testDevices)},
		{"a change is all or nothing", withApps(testChangeRefused)},
		{"what is unique is handed over in one change", withApps(testHandOver)},
		{"changes at once", withApps(testChangesAtOnce)},
		{"scan the index", withApps(testScan)},
		{"holders of every name", withApps(testHolders)},
		{"holders within a limit", withApps(testHoldersLimit)},
		{"tags", withApps(testTags)},
		{"aliases", withApps(testAliases)},
		{"aliases within limits", withApps(testAliasLimits)},
		{"aliases that push the oldest out", withApps(testAliasEvict)},
		{"aliases change as their rules say", withApps(testAliasModel)},
		{"a device that is removed loses its aliases", withApps(testAliasRemoved)},
		{"the change feed is in order", withApps(testChanges)},
		{"the change feed is paged by bytes, too", withApps(testChangesBytes)},
		{"the change feed goes back a month", withApps(testChangesOver)},
		{"activity", withApps(testTouch)},
		{"files", withApps(testFiles)},
		{"files within a limit", withApps(testFilesLimit)},
		{"files expire", withApps(testFilesExpire)},
		{"a record has an id", testRecordID},
		{"meta", testMeta},
		{"a restart changes nothing", testRestart},
	}, append(lifeSuites, laterSuites...)...) {
		t.Run(suite.name, func(t *testing.T) { suite.run(t, open(t)) })
	}
}

// withApps has a suite begin with apps 1 and 2.
func withApps(suite func(t *testing.T, p *Ports)) func(t *testing.T, p *Ports) {
	return func(t *testing.T, p *Ports) {
		for id := range push.AppID(2) {
			app, err := p.Apps.CreateApp(t.Context(), push.App{Name: fmt.Sprint("app ", id+1)}, nil)
			if err != nil || app.ID != id+1 {
				t.Fatalf("create an app: got id %d, %v, want %d", app.ID, err, id+1)
			}
		}
		suite(t, p)
	}
}

// noon is the time at which the suites' pushes are made: now, on a full millisecond, so that keys do not expire under way.
var noon = time.Now().UTC().Truncate(time.Millisecond)

var epoch = time.Date(2024, time.January, 1, 0, 0, 0, 0, time.UTC)

var sequence atomic.Int64

// nextID returns an id of a push made at the given time. Later calls return greater ids for the same time.
func nextID(at time.Time) push.ID {
	return push.ID(at.Sub(epoch).Milliseconds()<<22 + sequence.Add(1))
}

// direct returns a direct push of app that expires after ttl.
func direct(app push.AppID, ttl time.Duration, targets ...push.Ordinal) *push.Acceptance {
	p := push.Push{
		ID: nextID(noon), App: app, Kind: push.Direct, State: push.Done,
		Created: noon, Start: noon, Expires: noon.Add(ttl), Target: len(targets),
	}
	p.Request.App = app
	p.Request.Message.Data = []byte(fmt.Sprintf(`{"n":%d}`, p.ID))
	return finish(p, targets...)
}

// finish returns the acceptance of p with its own payload.
func finish(p push.Push, targets ...push.Ordinal) *push.Acceptance {
	payload, err := p.Payload()
	if err != nil {
		panic(err) // a push of this package
	}
	return &push.Acceptance{Push: p, Payload: payload, Targets: targets, Limit: 500}
}

// bulk returns a bulk push of app that expires after ttl.
func bulk(app push.AppID, state push.State, ttl time.Duration) *push.Acceptance {
	p := push.Push{
		ID: nextID(noon), App: app, Kind: push.Bulk, State: state, Created: noon, Start: noon, Expires: noon.Add(ttl),
	}
	p.Request.App = app
	p.Request.Audience.All = true
	p.Request.Message.Data = []byte(`"to all"`)
	return finish(p)
}

// accept stores all and returns their ids.
func accept(t *testing.T, p *Ports, all ...*push.Acceptance) []push.ID {
	t.Helper()
	ids := make([]push.ID, len(all))
	for i, a := range all {
		got, repeated, err := p.Record.Accept(t.Context(), a)
		if err != nil || repeated || got.ID != a.Push.ID {
			t.Fatalf("accept %d: got %d, repeated %v, %v", a.Push.ID, got.ID, repeated, err)
		}
		ids[i] = got.ID
	}
	return ids
}

// owed returns the ids of what a device is owed at now.
func owed(t *testing.T, p *Ports, app push.AppID, o push.Ordinal, now time.Time) []push.ID {
	t.Helper()
	all, err := p.Inbox.Owed(t.Context(), app, o, now, 1000, none)
	if err != nil {
		t.Fatalf("owed: %v", err)
	}
	ids := []push.ID{}
	for _, d := range all {
		ids = append(ids, d.ID)
	}
	return ids
}

func none(push.ID) bool { return false }

// same fails t if got is not want.
func same[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("%s: got %v, want %v (-got +want):\n%s", what, got, want, diff)
	}
}

// fails fails t if err is not of kind and, for a Conflict or Invalid, of field.
func fails(t *testing.T, what string, err error, kind push.Kind, field string) {
	t.Helper()
	var e *push.Error
	if !errors.As(err, &e) || e.Kind != kind || e.Field != field {
		t.Errorf("%s: got error %v, want %v with field %q", what, err, kind, field)
	}
}

// receipts returns what the record has told, without the sequences.
func receipts(p *Ports) []push.Receipt {
	var all []push.Receipt
	for _, row := range p.Logged() {
		all = append(all, row.Receipts...)
	}
	return all
}

// marked counts receipts by mark.
func marked(p *Ports) map[push.Mark]int {
	all := map[push.Mark]int{}
	for _, r := range receipts(p) {
		all[r.Mark]++
	}
	return all
}
