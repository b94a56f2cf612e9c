package storetest

import (
	"context"
	"testing"

	"github.com/carillonpush/carillon/internal/admission"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/report"
	"github.com/carillonpush/carillon/internal/schedule"
	"github.com/carillonpush/carillon/internal/sqlstore"
	"github.com/carillonpush/carillon/internal/webhook"
)

// The record keeps what these ports ask for.
var (
	_ schedule.Store       = (*sqlstore.Store)(nil)
	_ schedule.Occurrences = (*sqlstore.Store)(nil)
	_ report.Details       = (*sqlstore.Store)(nil)
	_ admission.Store      = (*sqlstore.Store)(nil)
	_ webhook.Store        = (*sqlstore.Store)(nil)
	_ webhook.Batches      = (*sqlstore.Store)(nil)
	_ Templates            = (*sqlstore.Store)(nil)
)

// Templates is where the record keeps templates; most is how many an app may have.
type Templates interface {
	AddTemplate(ctx context.Context, t push.Template, most int) (stored push.Template, replaced bool, err error)
	FindTemplate(ctx context.Context, app push.AppID, name string) (push.Template, error)
	Templates(ctx context.Context, app push.AppID, after string, limit int) (page []push.Template, next string, err error)
	RemoveTemplate(ctx context.Context, app push.AppID, name string) error
}

// Later are the ports of what goes beyond accepting and delivering: when pushes are sent, and the account of it.
type Later struct {
	Schedules   schedule.Store
	Occurrences schedule.Occurrences
	Details     report.Details
	Caps        admission.Store
	Webhooks    webhook.Store
	Batches     webhook.Batches
	Templates   Templates
}

func later(s *sqlstore.Store) Later {
	return Later{Schedules: s, Occurrences: s, Details: s, Caps: s, Webhooks: s, Batches: s, Templates: s}
}

// A suite is one contract of a record.
type suite struct {
	name string
	run  func(t *testing.T, p *Ports)
}

var laterSuites = []suite{
	{"a schedule and its occurrences", withApps(testSchedule)},
	{"a schedule has a key", withApps(testScheduleKey)},
	{"schedules are listed with the pushes that wait", withApps(testSchedules)},
	{"a schedule is replaced, or nothing of it", withApps(testReplaceSchedule)},
	{"a schedule ends", withApps(testEndSchedule)},
	{"occurrences end once", withApps(testOccurrences)},
	{"the next occurrence of every schedule", withApps(testNextOccurrences)},
	{"a schedule goes when it ended long ago", withApps(testScheduleOver)},
	{"templates", withApps(testTemplates)},
	{"webhooks", withApps(testWebhooks)},
	{"webhooks up to the limit at once", withApps(testWebhooksAtOnce)},
	{"batches are told, put off, and replayed", withApps(testBatches)},
	{"a removed webhook's batches go", withApps(testWebhookRemoved)},
	{"dead batches go in time", withApps(testBatchesOver)},
	{"totals", withApps(testTotals)},
	{"when marks of direct pushes were committed", withApps(testDirectTimes)},
	{"when marks of bulk pushes were committed", withApps(testTrails)},
	{"trails go with their days", withApps(testTrailsOver)},
	{"folded marks of many devices", withApps(testMarked)},
	{"pushes with their labels", withApps(testLabelled)},
	{"a fold that is made again counts once", withApps(testFoldAgain)},
	{"a fold that is refused leaves nothing", withApps(testFoldRefused)},
	{"the log says when", withApps(testLogAt)},
	{"caps", withApps(testCaps)},
	{"device days", withApps(testDeviceDays)},
	{"who was active on a day", withApps(testActiveOn)},
	{"a deleted app leaves no schedule, webhook, template or total", withApps(testDeleteAppLater)},
}
