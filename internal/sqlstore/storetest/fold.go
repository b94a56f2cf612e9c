package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// totals returns the totals of app 1 by a dimension, as text.
func totals(t *testing.T, p *Ports, by push.Dimension, name *string, from, to push.Day) []string {
	t.Helper()
	all := []string{}
	if err := p.Details.Totals(t.Context(), 1, by, name, from, to, func(d push.TotalDelta) error {
		if d.Key.App != 1 || d.Key.By != by {
			t.Errorf("got totals of %v, want app 1 by %s", d.Key, by)
		}
		all = append(all, fmt.Sprintf("%s/%d/%d=%d", d.Key.Name, d.Key.Day, d.Metric, d.N))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func testTotals(t *testing.T, p *Ports) {
	count := func(app push.AppID, day push.Day, by push.Dimension, name string, m push.Metric, n int) push.TotalDelta {
		return push.TotalDelta{Key: push.TotalKey{App: app, Day: day, By: by, Name: name}, Metric: m, N: n}
	}
	sent := push.Metric(push.MarkSent)
	fold(t, p, push.Fold{Totals: []push.TotalDelta{
		count(1, 10, push.ByGroup, "b", sent, 2), count(1, 10, push.ByGroup, "b", sent, 3),
		count(1, 10, push.ByGroup, "b", push.MetricTarget, 7), count(1, 10, push.ByGroup, "春", sent, 1),
		count(1, 12, push.ByGroup, "b", sent, 4), count(1, 10, push.ByGroup, "B", sent, 1),
		count(1, 10, push.ByApp, "", sent, 9), count(1, 10, push.ByGroup, "none", sent, 5), count(1, 10, push.ByGroup, "none", sent, -5),
		count(2, 10, push.ByGroup, "b", sent, 100), count(99, 10, push.ByGroup, "b", sent, 100),
	}})
	fold(t, p, push.Fold{Totals: []push.TotalDelta{
		count(1, 10, push.ByGroup, "b", sent, 1), count(1, 10, push.ByGroup, "b", push.MetricTarget, -7),
	}})
	p = p.Reopen(t)
	same(t, "of all names", totals(t, p, push.ByGroup, nil, 0, 100), []string{"B/10/0=1", "b/10/0=6", "b/12/0=4", "春/10/0=1"})
	same(t, "of some days", totals(t, p, push.ByGroup, nil, 11, 12), []string{"b/12/0=4"})
	name := "b"
	same(t, "of one name", totals(t, p, push.ByGroup, &name, 10, 12), []string{"b/10/0=6", "b/12/0=4"})
	none := ""
	same(t, "of the app", totals(t, p, push.ByApp, &none, 10, 10), []string{"/10/0=9"})
	same(t, "of what is not counted", totals(t, p, push.ByTopic, nil, 0, 100), []string{})
	sweep(t, p, noon.Add(400*24*time.Hour))
	same(t, "a year later", totals(t, p, push.ByApp, &none, 10, 10), []string{"/10/0=9"})
}

func trail(t *testing.T, p *Ports, q push.Push, o push.Ordinal) []push.Timed {
	t.Helper()
	all, err := p.Details.Trail(t.Context(), q, o)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// timed is a mark that was committed so many milliseconds after noon.
func timed(m push.Mark, ms int) push.Timed {
	return push.Timed{Mark: m, At: noon.Add(time.Duration(ms) * time.Millisecond)}
}

func marks(all ...push.Timed) push.Marked {
	m := push.Marked(0)
	for _, t := range all {
		m = m.With(t.Mark)
	}
	return m
}

func testDirectTimes(t *testing.T, p *Ports) {
	a := direct(1, 24*time.Hour, 1, 2)
	accept(t, p, a)
	day := push.DayOf(a.Push.Expires)
	outcome := func(o push.Ordinal, all ...push.Timed) push.Outcome {
		return push.Outcome{Push: a.Push.ID, Day: day, Ordinal: o, Marked: marks(all...), Times: all}
	}
	same(t, "at first", trail(t, p, a.Push, 1), nil)
	// 0x0a, 0x00 and bytes above 0x7f are in what is stored: it is no text.
	sent, delivered, opened := timed(push.MarkSent, 0), timed(push.MarkDelivered, 10), timed(push.MarkOpened, 40_000_000)
	fold(t, p, push.Fold{Outcomes: []push.Outcome{outcome(1, sent), outcome(1, delivered), outcome(2, delivered)}})
	same(t, "of one fold", trail(t, p, a.Push, 1), []push.Timed{sent, delivered})
	fold(t, p, push.Fold{Outcomes: []push.Outcome{outcome(1, sent, delivered)}})
	fold(t, p, push.Fold{Outcomes: []push.Outcome{outcome(1, opened)}})
	late := timed(push.MarkOpened, 50_000_000)
	fold(t, p, push.Fold{Outcomes: []push.Outcome{outcome(1, late, timed(push.MarkClicked, -5))}}) // one is new, and the clock was set back
	p = p.Reopen(t)
	same(t, "of several folds", trail(t, p, a.Push, 1), []push.Timed{timed(push.MarkClicked, -5), sent, delivered, opened})
	same(t, "of another device", trail(t, p, a.Push, 2), []push.Timed{delivered})
	same(t, "of a device without outcomes", trail(t, p, a.Push, 3), nil)
	same(t, "its marks", outcomesOf(t, p, a.Push)[1], marks(sent, delivered, opened, timed(push.MarkClicked, 0)))
	same(t, "of a push that is not there", trail(t, p, direct(1, time.Hour, 1).Push, 1), nil)
}

func testTrails(t *testing.T, p *Ports) {
	a, b, gone := bulk(1, push.Accepted, 24*time.Hour), bulk(1, push.Accepted, 24*time.Hour), bulk(1, push.Accepted, 24*time.Hour)
	accept(t, p, a, b)
	day := push.DayOf(a.Push.Expires)
	want := map[push.Ordinal][]push.Timed{}
	chunk := func(of push.ID, key uint16, first, n int, m push.Mark) push.Trail {
		tr := push.Trail{Push: of, Day: day, Key: key}
		for i := range n {
			o, when := push.Ordinal(key)<<16|push.Ordinal(i), timed(m, first+i*3)
			tr.Marks = append(tr.Marks, push.TrailMark{Ordinal: o, Timed: when})
			if of == a.Push.ID {
				want[o] = append(want[o], when)
			}
		}
		return tr
	}
	same(t, "at first", trail(t, p, a.Push, 1), nil)
	fold(t, p, push.Fold{Trails: []push.Trail{
		chunk(a.Push.ID, 0, 0, 3000, push.MarkSent), chunk(a.Push.ID, 3, 7, 2, push.MarkSent), chunk(gone.Push.ID, 0, 0, 1, push.MarkSent),
		chunk(b.Push.ID, 0, 5, 1, push.MarkSent),
	}})
	// Small folds fill pages up; the second is twice in one fold.
	for i := range 40 {
		fold(t, p, push.Fold{Trails: []push.Trail{
			chunk(a.Push.ID, 3, 1000+100*i, 1, push.Mark(i%8+1)), chunk(a.Push.ID, 0, 20_000+i, 10+i, push.Mark(i%8+1)),
		}})
	}
	p = p.Reopen(t)
	for _, o := range []push.Ordinal{0, 1, 9, 12, 48, 1500, 2999, 3 << 16, 3<<16 | 1} {
		seen := push.Marked(0)
		var first []push.Timed
		for _, w := range want[o] {
			if !seen.Has(w.Mark) {
				first = append(first, w)
			}
			seen = seen.With(w.Mark)
		}
		same(t, fmt.Sprint("of device ", o), trail(t, p, a.Push, o), first)
	}
	same(t, "of a device without", trail(t, p, a.Push, 3<<16|2), nil)
	same(t, "of the other push", trail(t, p, b.Push, 0), []push.Timed{timed(push.MarkSent, 5)})
	same(t, "of a push that is gone", trail(t, p, gone.Push, 0), nil)

	// A clock that was set back does not change the order in which they are told.
	fold(t, p, push.Fold{Trails: []push.Trail{{Push: b.Push.ID, Day: day, Marks: []push.TrailMark{{Ordinal: 0, Timed: timed(push.MarkOpened, -10_000)}}}}})
	same(t, "with a clock that was set back", trail(t, p, b.Push, 0), []push.Timed{timed(push.MarkOpened, -10_000), timed(push.MarkSent, 5)})
}

func testTrailsOver(t *testing.T, p *Ports) {
	a := bulk(1, push.Accepted, time.Hour)
	accept(t, p, a)
	day := push.DayOf(a.Push.Expires)
	f := push.Fold{Trails: []push.Trail{{Push: a.Push.ID, Day: day, Marks: []push.TrailMark{{Ordinal: 1, Timed: timed(push.MarkSent, 0)}}}}}
	fold(t, p, f)
	end := time.Unix(int64(day+1)*24*60*60, 0)
	for _, tt := range []struct {
		name string
		at   time.Time
		want int
	}{
		{"while they are kept", end.Add(30*24*time.Hour - time.Second), 1},
		{"when their day is long over", end.Add(30 * 24 * time.Hour), 0},
	} {
		sweep(t, p, tt.at)
		same(t, tt.name, len(trail(t, p, a.Push, 1)), tt.want)
	}
}

func testMarked(t *testing.T, p *Ports) {
	a := direct(1, 24*time.Hour, 1, 2)
	accept(t, p, a)
	day := push.DayOf(a.Push.Expires)
	ask := func(what string, day push.Day, all []push.Outcome, want []push.Marked) {
		t.Helper()
		got, err := p.Details.Marked(t.Context(), day, all)
		if err != nil {
			t.Fatal(err)
		}
		same(t, what, got, want)
	}
	ask("of a day without outcomes", day, []push.Outcome{{Push: a.Push.ID, Ordinal: 1}}, []push.Marked{0})
	ask("of nobody", day, nil, []push.Marked{})
	var f push.Fold
	var all []push.Outcome
	var want []push.Marked
	for i := range 5000 { // more than one read takes
		o := push.Outcome{Push: a.Push.ID, Day: day, Ordinal: push.Ordinal(i * 7919 % 5000), Marked: push.Marked(1 + i%200)}
		all = append(all, o)
		if i%3 == 0 {
			want = append(want, 0)
			continue
		}
		f.Outcomes = append(f.Outcomes, o)
		want = append(want, o.Marked)
	}
	fold(t, p, f)
	ask("of many", day, all, want)
	ask("of another day", day+1, all[:2], []push.Marked{0, 0})
}

func testLabelled(t *testing.T, p *Ports) {
	label := func(a *push.Acceptance, name string) push.Push {
		q := &a.Push
		q.Request.Policy.Group, q.Request.Policy.Topic, q.Request.Origin = name, "t "+name, "rest"
		q.Request.Message.Template = &push.TemplateUse{Name: "tpl"}
		*a = *finish(*q, a.Targets...)
		accept(t, p, a)
		return *q
	}
	d, plain, b := label(direct(1, 24*time.Hour, 1), "d"), direct(1, 24*time.Hour, 1), label(bulk(1, push.Accepted, 24*time.Hour), "b")
	accept(t, p, plain)
	day := push.DayOf(d.Expires)
	ask := func(what string, day push.Day, want map[push.ID]push.Report, ids ...push.ID) {
		t.Helper()
		got, err := p.Details.Labelled(t.Context(), day, ids)
		if err != nil || len(got) != len(want) {
			t.Fatalf("%s: got %d pushes, %v, want %d", what, len(got), err, len(want))
		}
		for id, l := range got {
			q := map[push.ID]push.Push{d.ID: d, plain.Push.ID: plain.Push, b.ID: b}[id]
			r := l.Push.Request
			same(t, what+": its labels", r.Policy.Labels, q.Request.Policy.Labels)
			same(t, what+": its template", r.Message.Template, q.Request.Message.Template)
			same(t, what+": its keys", r.Keys(9), q.Request.Keys(9))
			same(t, what+": its times", []time.Time{l.Push.Created, l.Push.Start, l.Push.Expires}, []time.Time{q.Created, q.Start, q.Expires})
			same(t, what+": its id", []any{l.Push.ID, l.Push.App, l.Push.Kind}, []any{q.ID, q.App, q.Kind})
			same(t, what+": how far it is counted", l.Counted, want[id])
		}
	}
	ask("direct ones", day, map[push.ID]push.Report{d.ID: {}, plain.Push.ID: {}}, d.ID, plain.Push.ID, b.ID, 99)
	ask("of another day", day+5, nil, d.ID)
	ask("a bulk one", 0, map[push.ID]push.Report{b.ID: {}}, d.ID, b.ID)
	counted := push.Report{Target: 7, Sent: 3, Pending: 5, Dropped: map[string]int{"quiet": 2}}
	fold(t, p, push.Fold{Counted: []push.Counted{{Push: b.ID, Report: counted}, {Push: 99, Report: counted}}})
	p = p.Reopen(t)
	ask("a bulk one that is counted", 0, map[push.ID]push.Report{b.ID: counted}, b.ID)
}

// receive has a receipt for an unknown push stand in the log, and returns its sequence.
func receive(t *testing.T, p *Ports) int64 {
	t.Helper()
	if err := p.Receipts.Receive(t.Context(), push.Receipt{App: 1, Push: 1, Ordinal: 1, Mark: push.MarkOpened}); err != nil {
		t.Fatal(err)
	}
	log := unfolded(t, p)
	return log[len(log)-1].Seq
}

// everything is a fold with something in every part, of receipts up to seq.
func everything(direct, bulk push.Push, w push.Webhook, seq int64, chunks []push.Chunk) push.Fold {
	sent := timed(push.MarkSent, 3)
	return push.Fold{
		UpTo:     seq,
		Chunks:   []push.FoldedChunk{{Push: bulk.ID, Mark: push.MarkSent, Chunk: chunks[0]}},
		Outcomes: []push.Outcome{{Push: direct.ID, Day: push.DayOf(direct.Expires), Ordinal: 1, Marked: marks(sent), Times: []push.Timed{sent}}},
		Trails:   []push.Trail{{Push: bulk.ID, Day: push.DayOf(bulk.Expires), Marks: []push.TrailMark{{Ordinal: 1, Timed: sent}}}},
		Totals:   []push.TotalDelta{{Key: push.TotalKey{App: 1, Day: 10, By: push.ByApp}, Metric: push.MetricPushes, N: 1}},
		Batches:  []push.Batch{batch(w, noon, 1)},
		Counted:  []push.Counted{{Push: bulk.ID, Report: push.Report{Sent: 1}}},
	}
}

// summary is what a fold of everything leaves, in numbers.
func summary(t *testing.T, p *Ports, direct, bulk push.Push, w push.Webhook) string {
	t.Helper()
	sets, err := p.Report.Sets(t.Context(), bulk.ID)
	if err != nil {
		t.Fatal(err)
	}
	labelled, err := p.Details.Labelled(t.Context(), 0, []push.ID{bulk.ID})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("log %d, sets %d, outcomes %d, times %d, trail %d, totals %v, batches %d, counted %d",
		len(unfolded(t, p)), len(sets), len(outcomesOf(t, p, direct)), len(trail(t, p, direct, 1)), len(trail(t, p, bulk, 1)),
		totals(t, p, push.ByApp, nil, 0, 100), len(due(t, p, w, noon, 10)), labelled[bulk.ID].Counted.Sent)
}

func testFoldAgain(t *testing.T, p *Ports) {
	a, b, w := direct(1, 24*time.Hour, 1), bulk(1, push.Accepted, 24*time.Hour), addWebhook(t, p, 1)
	accept(t, p, a, b)
	before := summary(t, p, a.Push, b.Push, w)
	f := everything(a.Push, b.Push, w, receive(t, p), chunks(t, 1, 2))
	fold(t, p, f)
	const once = "log 0, sets 1, outcomes 1, times 1, trail 1, totals [/10/64=1], batches 1, counted 1"
	same(t, "folded", summary(t, p, a.Push, b.Push, w), once)
	fold(t, p, f)
	p = p.Reopen(t)
	fold(t, p, f)
	same(t, "folded again", summary(t, p, a.Push, b.Push, w), once)
	f.UpTo = receive(t, p)
	fold(t, p, f)
	same(t, "with a receipt more", summary(t, p, a.Push, b.Push, w),
		"log 0, sets 1, outcomes 1, times 1, trail 1, totals [/10/64=2], batches 2, counted 1")
	if before == once {
		t.Error("nothing was there to fold")
	}
}

func testFoldRefused(t *testing.T, p *Ports) {
	a, b, w := direct(1, 24*time.Hour, 1), bulk(1, push.Accepted, 24*time.Hour), addWebhook(t, p, 1)
	accept(t, p, a, b)
	f := everything(a.Push, b.Push, w, receive(t, p), chunks(t, 1, 2))
	before := summary(t, p, a.Push, b.Push, w)
	for _, tt := range []struct {
		name  string
		field string
		spoil func(f *push.Fold)
	}{
		{"a name with NUL", "totals", func(f *push.Fold) { f.Totals[0].Key.Name = "\x00" }},
		{"an error that is no text", "error", func(f *push.Fold) { f.Batches[0].Error = "\xff" }},
	} {
		bad := f
		bad.Totals, bad.Batches = append([]push.TotalDelta(nil), f.Totals...), append([]push.Batch(nil), f.Batches...)
		tt.spoil(&bad)
		fails(t, tt.name, p.Report.Fold(t.Context(), bad), push.Invalid, tt.field)
		same(t, "after "+tt.name, summary(t, p, a.Push, b.Push, w), before)
	}
	fold(t, p, f)
	same(t, "without it", summary(t, p, a.Push, b.Push, w),
		"log 0, sets 1, outcomes 1, times 1, trail 1, totals [/10/64=1], batches 1, counted 1")
}

func testLogAt(t *testing.T, p *Ports) {
	before := time.Now().Truncate(time.Millisecond)
	receive(t, p)
	after := time.Now()
	log := p.Logged()
	if len(log) != 1 || log[0].At.Before(before) || log[0].At.After(after) {
		t.Fatalf("told: got %v, want one between %v and %v", log, before, after)
	}
	same(t, "in the log", unfolded(t, p), log)
	same(t, "after a restart", unfolded(t, p.Reopen(t)), log)
}

// testDeleteAppLater has everything of two apps, and deletes one.
func testDeleteAppLater(t *testing.T, p *Ports) {
	ctx := t.Context()
	today := push.DayOf(noon)
	var hooks []push.Webhook
	var pushes []push.Push
	var f push.Fold
	for app := push.AppID(1); app <= 2; app++ {
		s, all := scheduleOf(app, 2)
		addSchedule(t, p, s, all)
		if _, _, err := p.Templates.AddTemplate(ctx, push.Template{App: app, Name: "t", Body: "x"}, 9); err != nil {
			t.Fatal(err)
		}
		w, a := addWebhook(t, p, app), bulk(app, push.Accepted, 24*time.Hour)
		hooks, pushes = append(hooks, w), append(pushes, a.Push)
		accept(t, p, a)
		f.Batches = append(f.Batches, batch(w, noon, 1))
		f.Totals = append(f.Totals, push.TotalDelta{Key: push.TotalKey{App: app, Day: 1, By: push.ByApp}, N: 1})
		f.Trails = append(f.Trails, push.Trail{
			Push: a.Push.ID, Day: push.DayOf(a.Push.Expires), Marks: []push.TrailMark{{Ordinal: 1, Timed: timed(push.MarkSent, 0)}},
		})
		if err := p.Activity.PutDeviceDay(ctx, app, today, 1, 1, chunks(t, 1)); err != nil {
			t.Fatal(err)
		}
		if err := p.Caps.SaveCaps(ctx, 1, []push.CapLevel{{App: app, Day: today, Level: 1, Chunk: chunks(t, 1)[0]}}); err != nil {
			t.Fatal(err)
		}
	}
	fold(t, p, f)
	left := func() string {
		t.Helper()
		out := ""
		for app := push.AppID(1); app <= 2; app++ {
			schedules, _, err1 := p.Schedules.Schedules(ctx, app, 0, 10)
			templates, _, err2 := p.Templates.Templates(ctx, app, "", 10)
			peak, active, err3 := p.Activity.ActiveOn(ctx, app, today)
			counted := 0
			err4 := p.Details.Totals(ctx, app, push.ByApp, nil, 0, 10, func(push.TotalDelta) error { counted++; return nil })
			for i, err := range []error{err1, err2, err3, err4} {
				if err != nil {
					t.Fatal(i, err)
				}
			}
			w, q := hooks[app-1], pushes[app-1]
			out += fmt.Sprintf("app %d: %d schedules, %d templates, peak %d of %d, %d totals, %d batches, trail %d; ", app,
				len(schedules), len(templates), peak, len(active), counted, len(listBatches(t, p, w, false, 0, 10)), len(trail(t, p, q, 1)))
		}
		_, levels, err := p.Caps.Caps(ctx, 0)
		if err != nil {
			t.Fatal(err)
		}
		return out + fmt.Sprintf("%d webhooks, %d levels, %d next", len(webhooks(t, p)), len(levels), len(nextOccurrences(t, p)))
	}
	const one = "1 schedules, 1 templates, peak 1 of 1, 1 totals, 1 batches, trail 1; "
	same(t, "at first", left(), "app 1: "+one+"app 2: "+one+"2 webhooks, 2 levels, 2 next")
	if err := p.Apps.DeleteApp(ctx, 1); err != nil {
		t.Fatal(err)
	}
	fold(t, p, push.Fold{Totals: f.Totals[:1], Batches: f.Batches[:1], Trails: f.Trails[:1]}) // of receipts that were under way
	same(t, "afterwards", left(),
		"app 1: 0 schedules, 0 templates, peak 0 of 0, 0 totals, 0 batches, trail 0; app 2: "+one+"1 webhooks, 1 levels, 1 next")
}
