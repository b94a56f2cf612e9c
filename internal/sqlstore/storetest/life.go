package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/dispatch"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/sqlstore"
)

// The record keeps what these ports ask for.
var (
	_ dispatch.Inboxes  = (*sqlstore.Store)(nil)
	_ dispatch.Bulk     = (*sqlstore.Store)(nil)
	_ dispatch.Changing = (*sqlstore.Store)(nil)
	_ Pushes            = (*sqlstore.Store)(nil)
)

// Pushes is how pushes are found, beside by their ids and keys.
type Pushes interface {
	Newest(ctx context.Context) (push.ID, error)
	List(ctx context.Context, app push.AppID, before push.ID, limit int) (page []push.Push, next push.ID, err error)
	ByRequest(ctx context.Context, app push.AppID, requestID string) (push.Push, error)
	CollapsedBy(ctx context.Context, p push.Push, o push.Ordinal) (push.ID, error)
	Merged(ctx context.Context, p push.Push, o push.Ordinal) (bool, error)
}

// Life are the ports of pushes after they were accepted.
type Life struct {
	Inboxes  dispatch.Inboxes
	Bulk     dispatch.Bulk
	Changing dispatch.Changing
	Pushes   Pushes
}

func life(s *sqlstore.Store) Life { return Life{Inboxes: s, Bulk: s, Changing: s, Pushes: s} }

var lifeSuites = []suite{
	{"a quota of a day", testQuotaDay},
	{"a quota of a window that slides", testQuotaWindow},
	{"no window has more than its quota", testQuotaModel},
	{"charges are used all or none", testQuotaAllOrNone},
	{"a push that is refused leaves nothing", withApps(testQuotaRefused)},
	{"a quota is used up exactly, whoever comes at once", testQuotaAtOnce},
	{"repeats of a push that is refused at once", testQuotaRepeats},
	{"an occurrence fires once", withApps(testFires)},
	{"direct pushes take the place of earlier ones", testCollapseDirect},
	{"direct pushes take places at once", testCollapseAtOnce},
	{"bulk pushes take the place of direct ones", testCollapseBulk},
	{"by which push one was collapsed", testCollapsedBy},
	{"what is personal", testPersonal},
	{"what is personal goes with its day", testPersonalOver},
	{"ids of requests", testRequests},
	{"ids of requests go with their pushes", testRequestsOver},
	{"devices for which several names stand", testMerged},
	{"a template's request is kept beside its texts", testTemplateKept},
	{"rules go with deliveries", testRules},
	{"pushes are counted in totals when they begin", withApps(testStarted)},
	{"an open push grows", withApps(testGrow)},
	{"an open push keeps what was folded", testGrowFolded},
	{"states that a bulk push may begin in", testBeginStates},
	{"a cursor moves on, never back", testAdvance},
	{"a push that waits is replaced", testReplace},
	{"a push that is over is logged", testFinished},
	{"paused direct pushes", testHold},
	{"paused direct pushes expire", testHoldOver},
	{"recall a direct push", testRecallDirect},
	{"recall a direct push from some devices", testRecallSome},
	{"recall a bulk push", testRecallBulk},
	{"recall what is over", testRecallOver},
	{"recall again", testRecallAgain},
}

// found returns a push of app 1.
func found(t *testing.T, p *Ports, id push.ID) push.Push {
	t.Helper()
	got, err := p.Record.Find(t.Context(), 1, id)
	if err != nil {
		t.Fatalf("find %d: %v", id, err)
	}
	return got
}

// sweep has the record tidied up at now, as often as it takes.
func sweep(t *testing.T, p *Ports, now time.Time) {
	t.Helper()
	for range 12 { // each begins with another part, and has little time
		if _, err := p.Inbox.Sweep(t.Context(), now, 1000); err != nil {
			t.Fatal(err)
		}
	}
}

// at returns a as if it had been made at a time.
func at(a *push.Acceptance, when time.Time) *push.Acceptance {
	a.Push.Created, a.Push.Start, a.Push.ID = when, when, nextID(when)
	return a
}

// collapsing returns a with a collapse id.
func collapsing(a *push.Acceptance, id string) *push.Acceptance {
	a.Push.Request.Policy.CollapseID = id
	return finish(a.Push, a.Targets...)
}
