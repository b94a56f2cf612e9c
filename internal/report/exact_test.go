package report_test

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/report"
)

var zone = time.FixedZone("UTC+8", 8*60*60)

// hook is told of some events only; everything of all.
var (
	hook       = push.Webhook{ID: 1, App: 1, Events: []string{"delivered", "dropped", "finished"}}
	everything = push.Webhook{ID: 2, App: 1}
)

// A world is a record, a ledger that dies now and then, and the truth that they are held against.
type world struct {
	store   *memStore
	ledger  *report.Ledger
	pushes  []push.Push
	devices []push.Ordinal
	truth   map[push.ID]map[push.Ordinal][]push.Timed // what was committed, each mark once
	ends    map[push.ID]int
	told    []push.Happening // by Happened
}

func newWorld() *world {
	request := func(group, origin string) push.Request {
		return push.Request{App: 1, Origin: origin, Policy: push.Policy{Labels: push.Labels{Group: group}}}
	}
	recall := request("", "recall")
	recall.Message.Recall = 8
	w := &world{
		store: newMemStore(), devices: []push.Ordinal{0, 1, 2, 65535, 65536, 1 << 20},
		truth: map[push.ID]map[push.Ordinal][]push.Timed{}, ends: map[push.ID]int{},
	}
	at := func(d time.Duration) time.Time { return now.Add(-d) }
	w.pushes = []push.Push{
		{ID: 7, App: 1, Kind: push.Direct, State: push.Done, Start: at(0), Expires: later, Request: request("g", "rest")},
		{ID: 8, App: 1, Kind: push.Bulk, State: push.Sending, Start: at(0), Expires: later, Request: request("g", "rest"), Unknown: 2},
		{ID: 9, App: 1, Kind: push.Bulk, State: push.Open, Start: at(24 * time.Hour), Expires: later, Request: request("h", "umeng")},
		{ID: 10, App: 1, Kind: push.Bulk, State: push.Sending, Start: at(0), Expires: later, Request: recall},
		{ID: 11, App: 1, Kind: push.Direct, State: push.Done, Start: at(24 * time.Hour), Expires: later.Add(24 * time.Hour), Request: request("", "rest"), Unknown: 1},
	}
	for i := range w.pushes {
		w.store.begin(w.pushes[i], zone, w.devices...)
		if w.pushes[i].Kind == push.Bulk {
			w.pushes[i].Target = len(w.devices)
		}
		w.truth[w.pushes[i].ID] = map[push.Ordinal][]push.Timed{}
	}
	w.restart()
	return w
}

func (w *world) restart() {
	w.ledger = report.New(w.store, w.store, &report.Options{
		Zone:     func(push.AppID) *time.Location { return zone },
		Wanted:   func(push.AppID) []push.Webhook { return []push.Webhook{hook, everything} },
		Happened: func(_ push.AppID, all []push.Happening) { w.told = append(w.told, all...) },
	}).Small()
}

// commit commits rs, and has the ledger know.
func (w *world) commit(rs ...push.Receipt) {
	row := w.store.commit(rs...)
	for _, r := range rs {
		if r.Mark == push.MarkFinished {
			w.ends[r.Push]++
			continue
		}
		if all := w.truth[r.Push][r.Ordinal]; !marked(all).Has(r.Mark) {
			w.truth[r.Push][r.Ordinal] = append(all, push.Timed{Mark: r.Mark, At: row.At})
		}
	}
	w.ledger.Apply(row)
}

func marked(all []push.Timed) push.Marked {
	var m push.Marked
	for _, t := range all {
		m = m.With(t.Mark)
	}
	return m
}

// end ends a push: a bulk one by its state, a direct one by receipts.
func (w *world) end(i int, to push.State, m push.Mark) {
	p := &w.pushes[i]
	if p.Kind == push.Bulk {
		p.State = to
		w.store.mu.Lock()
		w.store.pushes[p.ID] = *p
		w.store.mu.Unlock()
		w.commit(push.Receipt{App: 1, Push: p.ID, Mark: push.MarkFinished})
		return
	}
	var rs []push.Receipt
	for _, o := range w.devices {
		have := marked(w.truth[p.ID][o])
		if _, dropped := have.Dropped(); !dropped && !have.Has(push.MarkDelivered) {
			rs = append(rs, receipt(*p, o, m))
		}
	}
	if len(rs) > 0 {
		w.commit(rs...)
	}
}

// tellable returns what webhooks are told of, as the truth has it: how often.
func (w *world) tellable(wants push.Webhook) map[push.Receipt]int {
	all := map[push.Receipt]int{}
	for _, p := range w.pushes {
		if p.Request.Message.Recall != 0 {
			continue
		}
		for o, times := range w.truth[p.ID] {
			for _, t := range times {
				if name := t.Mark.EventName(); name != "" && wants.Wants(name) {
					all[receipt(p, o, t.Mark)]++
				}
			}
		}
		if n := w.ends[p.ID]; n > 0 && wants.Wants("finished") {
			all[push.Receipt{App: 1, Push: p.ID, Mark: push.MarkFinished}] += n
		}
	}
	return all
}

// checkPushes holds what is asked of single pushes against the truth: it need not be folded.
func (w *world) checkPushes(t *rapid.T) {
	for _, p := range w.pushes {
		got, err := w.ledger.Report(context.Background(), p, now)
		if err != nil {
			t.Fatal(err)
		}
		if d := diff.Diff(w.report(p), got); d != "" {
			t.Fatalf("report of push %d (-want +got):\n%s", p.ID, d)
		}
		w.checkTrails(t, p)
	}
}

// report returns p's report as the truth has it.
func (w *world) report(p push.Push) push.Report {
	flat := map[push.Ordinal]push.Marked{}
	for o, times := range w.truth[p.ID] {
		flat[o] = marked(times)
	}
	return naive(p, w.devices, flat, now)
}

// checkFolded folds, and holds what the record has then against the truth.
func (w *world) checkFolded(t *rapid.T) {
	if err := w.ledger.Fold(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(w.store.log) != 0 {
		t.Fatalf("%d rows are left in the log", len(w.store.log))
	}
	sums := map[push.TotalKey]*push.Totals{}
	for _, p := range w.pushes {
		for _, o := range w.devices {
			if d := diff.Diff(ordered(w.truth[p.ID][o]), ordered(w.store.trail[p.ID][o])); d != "" {
				t.Fatalf("the record's trail of push %d on %d (-want +got):\n%s", p.ID, o, d)
			}
		}
		if p.Request.Message.Recall == 0 {
			for _, key := range p.Request.Keys(push.DayIn(p.Start, zone)) {
				sum(sums, key, w.report(p))
			}
		}
	}
	for _, by := range push.Dimensions() {
		w.checkTotals(t, by, sums)
	}
	for _, h := range []push.Webhook{hook, everything} {
		told := map[push.Receipt]int{}
		for _, b := range w.store.batches {
			if b.Webhook != h.ID {
				continue
			}
			if len(b.Happened) == 0 || len(b.Happened) > push.MaxBatch {
				t.Fatalf("a batch has %d events", len(b.Happened))
			}
			for _, e := range b.Happened {
				told[e.Receipt]++
			}
		}
		if d := diff.Diff(w.tellable(h), told); d != "" {
			t.Fatalf("told webhook %d (-want +got):\n%s", h.ID, d)
		}
	}
}

// sum adds a report to those of key, and of the way out.
func sum(sums map[push.TotalKey]*push.Totals, key push.TotalKey, r push.Report) {
	add := func(key push.TotalKey, add func(t *push.Totals)) {
		if sums[key] == nil {
			sums[key] = &push.Totals{Name: key.Name, Day: key.Day.Date(), Report: push.Report{
				Dropped: map[string]int{}, Channels: map[string]push.ChannelCount{},
			}}
		}
		add(sums[key])
	}
	channel := func(t *push.Totals) {
		if c := t.Channels["own"]; r.Sent+r.Delivered > 0 {
			t.Channels["own"] = push.ChannelCount{Sent: c.Sent + r.Sent, Delivered: c.Delivered + r.Delivered}
		}
	}
	add(key, func(t *push.Totals) {
		t.Pushes++
		t.Target += r.Target
		t.Sent += r.Sent
		t.Delivered += r.Delivered
		t.Unconfirmed += r.Unconfirmed
		t.Displayed += r.Displayed
		t.Opened += r.Opened
		t.Clicked += r.Clicked
		t.Dismissed += r.Dismissed
		t.Pending += r.Pending
		for reason, n := range r.Dropped {
			t.Dropped[reason] += n
		}
		channel(t)
	})
	if key.By == push.ByApp {
		key.By, key.Name = push.ByChannel, "own"
		if r.Sent+r.Delivered > 0 {
			add(key, func(t *push.Totals) {
				t.Sent += r.Sent
				t.Delivered += r.Delivered
				channel(t)
			})
		}
	}
}

// checkTotals holds the totals by a dimension against the sums of reports.
func (w *world) checkTotals(t *rapid.T, by push.Dimension, sums map[push.TotalKey]*push.Totals) {
	from, to := push.DayIn(now.Add(-48*time.Hour), zone), push.DayIn(now, zone)
	got, err := w.ledger.Totals(context.Background(), 1, by, nil, from, to, true)
	if err != nil {
		t.Fatal(err)
	}
	got = slices.DeleteFunc(got, func(t push.Totals) bool { return t.Pushes == 0 && t.Sent == 0 && by == push.ByChannel })
	want := []push.Totals{}
	for _, key := range slices.SortedFunc(maps.Keys(sums), func(a, b push.TotalKey) int {
		if a.Name != b.Name {
			return slices.Compare([]byte(a.Name), []byte(b.Name))
		}
		return int(a.Day - b.Day)
	}) {
		if key.By == by {
			want = append(want, *sums[key])
		}
	}
	if d := diff.Diff(want, got); d != "" {
		t.Fatalf("totals by %s (-sum of reports +got):\n%s", by, d)
	}
}

func (w *world) checkTrails(t *rapid.T, p push.Push) {
	for _, o := range w.devices {
		got, err := w.ledger.Trail(context.Background(), p, o)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSortedFunc(got, func(a, b push.Timed) int { return a.At.Compare(b.At) }) {
			t.Fatalf("trail of push %d on %d is not in order of time: %v", p.ID, o, got)
		}
		if d := diff.Diff(ordered(w.truth[p.ID][o]), ordered(got)); d != "" {
			t.Fatalf("trail of push %d on %d (-want +got):\n%s", p.ID, o, d)
		}
		m, err := w.ledger.Marks(context.Background(), p, o)
		if err != nil || m != marked(w.truth[p.ID][o]) {
			t.Fatalf("marks of push %d on %d: got %b, %v, want %b", p.ID, o, m, err, marked(w.truth[p.ID][o]))
		}
	}
}

// ordered returns all by time, and by mark what was committed together.
func ordered(all []push.Timed) []push.Timed {
	return slices.SortedFunc(slices.Values(all), func(a, b push.Timed) int {
		return cmp.Or(a.At.Compare(b.At), int(a.Mark)-int(b.Mark))
	})
}

// However receipts and ends, folds, commits that fail or whose answer is lost, and crashes follow each other: reports,
// totals, trails and what webhooks are told are those of the truth, each once.
func TestNothingCountsTwice(t *testing.T) {
	marks := []push.Mark{
		push.MarkSent, push.MarkDelivered, push.MarkUnconfirmed, push.MarkDisplayed, push.MarkOpened, push.MarkClicked,
		push.MarkDismissed, push.MarkUnregistered, push.MarkBlacklisted, push.MarkOverflow, push.MarkCancelled,
		push.MarkTold, push.MarkRecalled, push.MarkWithdrawn,
	}
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		t.Repeat(map[string]func(*rapid.T){
			"receipts are committed": func(t *rapid.T) {
				var rs []push.Receipt
				for range rapid.IntRange(1, 8).Draw(t, "n") {
					p := w.pushes[rapid.IntRange(0, len(w.pushes)-1).Draw(t, "push")]
					rs = append(rs, receipt(p, rapid.SampledFrom(w.devices).Draw(t, "device"), rapid.SampledFrom(marks).Draw(t, "mark")))
				}
				w.commit(rs...)
			},
			"many devices are marked": func(t *rapid.T) {
				i := rapid.SampledFrom([]int{1, 2, 3}).Draw(t, "push")
				p, m := w.pushes[i], push.MarkCollapsed
				some := rapid.SliceOfDistinct(rapid.SampledFrom(w.devices), rapid.ID).Draw(t, "devices")
				if err := w.ledger.Mark(t.Context(), p, m, ordset.Of(some...)); err != nil {
					t.Fatal(err)
				}
				for _, o := range some {
					times, err := w.store.Trail(t.Context(), p, o)
					at := slices.IndexFunc(times, func(t push.Timed) bool { return t.Mark == m })
					if err != nil || at < 0 {
						t.Fatalf("device %d is not marked in the record: %v, %v", o, times, err)
					}
					if all := w.truth[p.ID][o]; !marked(all).Has(m) {
						w.truth[p.ID][o] = append(all, times[at])
					}
				}
			},
			"a push ends": func(t *rapid.T) {
				i := rapid.IntRange(0, len(w.pushes)-1).Draw(t, "push")
				if to := rapid.SampledFrom([]push.State{push.Done, push.Cancelled, push.Expired, push.Recalled}).Draw(t, "state"); !w.pushes[i].State.Final() {
					w.end(i, to, push.MarkCancelled)
				}
			},
			"a fold": func(t *rapid.T) {
				if err := w.ledger.Fold(t.Context()); err != nil {
					t.Fatal(err)
				}
			},
			"a fold of which a commit fails": func(t *rapid.T) {
				w.store.fails(rapid.IntRange(1, 6).Draw(t, "commit"), rapid.Bool().Draw(t, "after it happened"))
				if err := w.ledger.Fold(t.Context()); err != nil && !errors.Is(err, errDisk) {
					t.Fatal(err)
				}
				w.store.fails(0, false)
			},
			"a crash": func(t *rapid.T) {
				w.store.fails(rapid.IntRange(1, 6).Draw(t, "commit"), rapid.Bool().Draw(t, "after it happened"))
				_ = w.ledger.Fold(t.Context()) // it may have had fewer commits
				w.store.fails(0, false)
				w.restart()
				if err := w.ledger.Load(t.Context()); err != nil {
					t.Fatal(err)
				}
				if len(w.store.log) != 0 {
					t.Fatalf("%d rows are left in the log after Load", len(w.store.log))
				}
			},
			"all is folded": w.checkFolded,
			"":              w.checkPushes,
		})
		w.checkFolded(t)
	})
}

// The event stream is told after each commit, of what is new, in order of time.
func TestHappened(t *testing.T) {
	w := newWorld()
	w.commit(receipt(w.pushes[0], 1, push.MarkDelivered), receipt(w.pushes[1], 1, push.MarkSent))
	w.commit(receipt(w.pushes[1], 1, push.MarkDelivered), receipt(w.pushes[3], 1, push.MarkDelivered))
	w.commit(receipt(w.pushes[1], 1, push.MarkTold), receipt(w.pushes[1], 1, push.MarkSent))
	w.end(1, push.Cancelled, 0)
	if len(w.told) != 0 {
		t.Fatalf("told %v before the fold", w.told)
	}
	w.store.fails(1, false)
	if err := w.ledger.Fold(t.Context()); !errors.Is(err, errDisk) || len(w.told) != 0 {
		t.Fatalf("a fold that fails: %v, told %v", err, w.told)
	}
	for range 2 {
		if err := w.ledger.Fold(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	got := map[push.Receipt]time.Time{}
	for _, h := range w.told {
		got[h.Receipt] = h.At
	}
	want := map[push.Receipt]time.Time{
		receipt(w.pushes[0], 1, push.MarkDelivered): now.Add(time.Millisecond), receipt(w.pushes[1], 1, push.MarkSent): now.Add(time.Millisecond),
		receipt(w.pushes[1], 1, push.MarkDelivered): now.Add(2 * time.Millisecond),
		{App: 1, Push: 8, Mark: push.MarkFinished}:  now.Add(4 * time.Millisecond),
	}
	if d := diff.Diff(want, got); d != "" || len(w.told) != len(want) {
		t.Errorf("told %d (-want +got):\n%s", len(w.told), d)
	}
}
