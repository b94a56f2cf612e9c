package sqlstore_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/sqlstore"
)

// moments draws times of the record: milliseconds, some before others by clocks that were set.
var moments = rapid.Custom(func(t *rapid.T) time.Time {
	return time.UnixMilli(rapid.Int64Range(1, 1<<42).Draw(t, "ms")).UTC()
})

var ids = rapid.Custom(func(t *rapid.T) push.ID { return push.ID(rapid.Int64Range(1, 1<<62).Draw(t, "id")) })

func TestTimesSurvivePacking(t *testing.T) {
	one := rapid.Custom(func(t *rapid.T) push.Timed {
		return push.Timed{Mark: push.Mark(rapid.Uint8Range(0, 31).Draw(t, "mark")), At: moments.Draw(t, "at")}
	})
	rapid.Check(t, func(t *rapid.T) {
		id, want := ids.Draw(t, "id"), rapid.SliceOf(one).Draw(t, "times")
		got, err := sqlstore.UnpackTimes(id, sqlstore.PackTimes(id, want))
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("got %v, %v, want %v", got, err, want)
		}
	})
}

func TestTrailsSurvivePacking(t *testing.T) {
	one := rapid.Custom(func(t *rapid.T) push.TrailMark {
		return push.TrailMark{
			Ordinal: push.Ordinal(rapid.Uint16().Draw(t, "ordinal")),
			Timed:   push.Timed{Mark: push.Mark(rapid.Uint8Range(0, 31).Draw(t, "mark")), At: moments.Draw(t, "at")},
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		first, want := moments.Draw(t, "first"), rapid.SliceOfN(one, 0, 700).Draw(t, "marks")
		var got []push.TrailMark
		for rest := want; ; {
			page, last, more := sqlstore.AppendTrail(nil, first, rest)
			if len(page) > 4096 || len(rest) > 0 && len(more) == len(rest) {
				t.Fatalf("a page has %d bytes, and leaves %d of %d", len(page), len(more), len(rest))
			}
			at, err := sqlstore.EachTrail(page, first, func(low uint16, when push.Timed) {
				got = append(got, push.TrailMark{Ordinal: push.Ordinal(low), Timed: when})
			})
			if err != nil || !at.Equal(last) {
				t.Fatalf("the last was at %v, %v, want %v", at, err, last)
			}
			if rest = more; len(rest) == 0 {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

// TestPackedTrailsAreSmall has a hundred thousand receipts come within a minute: what the account of a broadcast costs.
func TestPackedTrailsAreSmall(t *testing.T) {
	start := time.UnixMilli(1_700_000_000_000).UTC()
	var marks []push.TrailMark
	for i := range 100_000 {
		marks = append(marks, push.TrailMark{
			Ordinal: push.Ordinal(i), Timed: push.Timed{Mark: push.MarkDelivered, At: start.Add(time.Duration(i*6/10) * time.Millisecond)},
		})
	}
	size := 0
	for rest := marks; len(rest) > 0; {
		var page []byte
		page, _, rest = sqlstore.AppendTrail(nil, start, rest)
		size += len(page)
	}
	if size > 4*len(marks) {
		t.Errorf("%d receipts take %d bytes, want at most 4 each", len(marks), size)
	}
}

func FuzzEachTrail(f *testing.F) {
	page, _, _ := sqlstore.AppendTrail(nil, time.UnixMilli(5), []push.TrailMark{{Ordinal: 7, Timed: push.Timed{Mark: 3, At: time.UnixMilli(4)}}})
	f.Add(page)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0, 0})
	f.Add([]byte{1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		_, err := sqlstore.EachTrail(b, time.UnixMilli(0), func(uint16, push.Timed) { n++ })
		if err == nil && 3*n > len(b) {
			t.Errorf("%d bytes hold %d marks", len(b), n)
		}
	})
}

func TestHappeningsSurvivePacking(t *testing.T) {
	one := rapid.Custom(func(t *rapid.T) push.Happening {
		return push.Happening{At: moments.Draw(t, "at"), Receipt: push.Receipt{
			App: push.AppID(rapid.Uint32().Draw(t, "app")), Push: ids.Draw(t, "push"), Ordinal: push.Ordinal(rapid.Uint32().Draw(t, "ordinal")),
			Mark: push.Mark(rapid.Uint8Range(0, 31).Draw(t, "mark")), Day: push.Day(rapid.Int32Range(0, 1<<30).Draw(t, "day")),
		}}
	})
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOf(one).Draw(t, "happened")
		got, err := sqlstore.UnpackHappened(sqlstore.PackHappened(want))
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("got %v, %v, want %v", got, err, want)
		}
	})
}

func FuzzUnpackHappened(f *testing.F) {
	f.Add(sqlstore.PackHappened([]push.Happening{{Receipt: push.Receipt{App: 1, Push: 2, Mark: 3}, At: time.UnixMilli(4)}}))
	f.Add([]byte{1, 1, 1})
	f.Add([]byte{1, 1, 1, 0})
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := sqlstore.UnpackHappened(b)
		if err != nil {
			return
		}
		again, err := sqlstore.UnpackHappened(sqlstore.PackHappened(all))
		if err != nil || !slices.Equal(again, all) {
			t.Errorf("got %v, %v, want %v", again, err, all)
		}
	})
}

// TestAFoldIsOneCommit takes one table after another away from a fold: nothing of it may be written while one is missing.
func TestAFoldIsOneCommit(t *testing.T) {
	databases(t, func(t *testing.T, url string) {
		s, err := sqlstore.Open(t.Context(), url, &sqlstore.Options{Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		newApp(t, s)
		f, left := foldOfAll(t, s)
		before := left()
		for _, table := range []string{"sets", "total", "batch", "receipt_log"} {
			alter(t, url, "ALTER TABLE "+table+" RENAME TO missing")
			if err := s.Fold(t.Context(), f); err == nil {
				t.Fatalf("without %s: the fold was made", table)
			}
			alter(t, url, "ALTER TABLE missing RENAME TO "+table)
			if got := left(); got != before {
				t.Errorf("without %s: got %s, want %s", table, got, before)
			}
		}
		if err := s.Fold(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		if got, want := left(), "log 0, sets 1, outcomes 1, trail 1, totals 1, batches 1"; got != want {
			t.Errorf("with all of them: got %s, want %s", got, want)
		}
	})
}

// foldOfAll returns a fold with something in every part, and what tells how much of it is in the record.
func foldOfAll(t *testing.T, s *sqlstore.Store) (push.Fold, func() string) {
	t.Helper()
	ctx, now := t.Context(), time.Now().UTC().Truncate(time.Millisecond)
	p := push.Push{ID: 1 << 30, App: 1, Kind: push.Direct, State: push.Done, Created: now, Start: now, Expires: now.Add(24 * time.Hour)}
	all := p
	all.ID, all.Kind, all.State = p.ID+1, push.Bulk, push.Accepted
	for _, a := range []push.Acceptance{{Push: p, Payload: []byte("{}"), Targets: []push.Ordinal{1}, Limit: 500}, {Push: all, Payload: []byte("{}")}} {
		if _, _, err := s.Accept(ctx, &a); err != nil {
			t.Fatal(err)
		}
	}
	w, err := s.AddWebhook(ctx, push.Webhook{App: 1, URL: "http://example.com/"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Receive(ctx, push.Receipt{App: 1, Push: all.ID, Ordinal: 1, Mark: push.MarkSent}); err != nil {
		t.Fatal(err)
	}
	count := func() (log int, upTo int64) {
		err := s.Unfolded(ctx, func(row push.Logged) error { log, upTo = log+1, row.Seq; return nil })
		if err != nil {
			t.Fatal(err)
		}
		return log, upTo
	}
	_, upTo := count()
	chunks, err := ordset.Of(1).Chunks()
	if err != nil {
		t.Fatal(err)
	}
	sent, day := push.Timed{Mark: push.MarkSent, At: now}, push.DayOf(p.Expires)
	f := push.Fold{
		UpTo:     upTo,
		Chunks:   []push.FoldedChunk{{Push: all.ID, Mark: push.MarkSent, Chunk: chunks[0]}},
		Outcomes: []push.Outcome{{Push: p.ID, Day: day, Ordinal: 1, Marked: 1, Times: []push.Timed{sent}}},
		Trails:   []push.Trail{{Push: all.ID, Day: day, Marks: []push.TrailMark{{Ordinal: 1, Timed: sent}}}},
		Totals:   []push.TotalDelta{{Key: push.TotalKey{App: 1, Day: day, By: push.ByApp}, N: 1}},
		Batches:  []push.Batch{{App: 1, Webhook: w.ID, Created: now, Next: now, Happened: []push.Happening{{Receipt: push.Receipt{App: 1, Push: 1}, At: now}}}},
	}
	return f, func() string {
		log, _ := count()
		sets, err1 := s.Sets(ctx, all.ID)
		outcomes, err2 := s.Outcomes(ctx, p)
		trail, err3 := s.Trail(ctx, all, 1)
		totals := 0
		err4 := s.Totals(ctx, 1, push.ByApp, nil, day, day, func(push.TotalDelta) error { totals++; return nil })
		batches, err5 := s.DueBatches(ctx, w.ID, now, 9)
		for _, err := range []error{err1, err2, err3, err4, err5} {
			if err != nil {
				t.Fatal(err)
			}
		}
		return fmt.Sprintf("log %d, sets %d, outcomes %d, trail %d, totals %d, batches %d", log, len(sets), len(outcomes), len(trail), totals, len(batches))
	}
}

// BenchmarkFoldDirect folds the outcomes of 2,000 devices, each with two times, and what is counted of them.
func BenchmarkFoldDirect(b *testing.B) {
	benchStores(b, func(b *testing.B, s *sqlstore.Store, _ *atomic.Int64) {
		now := time.Now()
		a := benchPush(1, 256, now)
		if _, _, err := s.Accept(context.Background(), a); err != nil {
			b.Fatal(err)
		}
		day := push.DayOf(a.Push.Expires)
		f := push.Fold{}
		for by := range 5 {
			for m := range push.Metric(3) {
				f.Totals = append(f.Totals, push.TotalDelta{Key: push.TotalKey{App: 1, Day: day, By: push.Dimensions()[by]}, Metric: m, N: 1})
			}
		}
		b.ResetTimer()
		for i := range b.N {
			f.Outcomes = make([]push.Outcome, 2000)
			for j := range f.Outcomes {
				f.Outcomes[j] = push.Outcome{
					Push: a.Push.ID + push.ID(i*2000+j), Day: day, Ordinal: push.Ordinal(j * 7919 % benchDevices), Marked: 3,
					Times: []push.Timed{{Mark: push.MarkSent, At: now}, {Mark: push.MarkDelivered, At: now.Add(20 * time.Millisecond)}},
				}
			}
			if err := s.Fold(context.Background(), f); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)*2000/b.Elapsed().Seconds(), "outcomes/s")
	})
}

// BenchmarkFoldBulk folds 100,000 receipts of one bulk push to a million devices: its sets and its trail.
func BenchmarkFoldBulk(b *testing.B) {
	benchStores(b, func(b *testing.B, s *sqlstore.Store, _ *atomic.Int64) {
		const receipts = 100_000
		now := time.Now()
		p := push.Push{ID: 1, App: 1, Kind: push.Bulk, State: push.Accepted, Created: now, Start: now, Expires: now.Add(24 * time.Hour)}
		if _, _, err := s.Accept(context.Background(), &push.Acceptance{Push: p, Payload: bytes.Repeat([]byte("x"), 256)}); err != nil {
			b.Fatal(err)
		}
		set := new(ordset.Set)
		b.ResetTimer()
		for i := range b.N {
			b.StopTimer()
			trails := map[uint16]*push.Trail{}
			for j := range receipts {
				o := push.Ordinal((i*receipts + j) * 7919 % benchDevices)
				set.Add(o)
				tr := trails[uint16(o>>16)]
				if tr == nil {
					tr = &push.Trail{Push: p.ID, Day: push.DayOf(p.Expires), Key: uint16(o >> 16)}
					trails[tr.Key] = tr
				}
				tr.Marks = append(tr.Marks, push.TrailMark{
					Ordinal: o, Timed: push.Timed{Mark: push.MarkDelivered, At: now.Add(time.Duration(i*2000+j/50) * time.Millisecond)},
				})
			}
			chunks, err := set.Chunks()
			if err != nil {
				b.Fatal(err)
			}
			var f push.Fold
			for _, c := range chunks {
				f.Chunks = append(f.Chunks, push.FoldedChunk{Push: p.ID, Mark: push.MarkDelivered, Chunk: c})
			}
			for _, tr := range trails {
				f.Trails = append(f.Trails, *tr)
			}
			b.StartTimer()
			if err := s.Fold(context.Background(), f); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)*receipts/b.Elapsed().Seconds(), "receipts/s")
	})
}

// TestBatchesOfNobodyAreSwept has a removal of a webhook end before its batches were removed.
func TestBatchesOfNobodyAreSwept(t *testing.T) {
	databases(t, func(t *testing.T, url string) {
		s, err := sqlstore.Open(t.Context(), url, &sqlstore.Options{Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		newApp(t, s)
		now := time.Now()
		var hooks []push.WebhookID
		var f push.Fold
		for range 3 {
			w, err := s.AddWebhook(t.Context(), push.Webhook{App: 1, URL: "http://example.com/"}, 9)
			if err != nil {
				t.Fatal(err)
			}
			hooks = append(hooks, w.ID)
			for range 100 {
				f.Batches = append(f.Batches, push.Batch{App: 1, Webhook: w.ID, Created: now, Next: now})
			}
		}
		if err := s.Fold(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		alter(t, url, fmt.Sprintf("DELETE FROM webhook WHERE id <> %d", hooks[1]))
		if due, err := s.DueBatches(t.Context(), hooks[0], now, 9); err != nil || len(due) != 0 {
			t.Errorf("due of a webhook that has gone: got %d, %v, want none", len(due), err)
		}
		for range 12 { // each begins with another part, and has little time
			if _, err := s.Sweep(t.Context(), now, 9); err != nil {
				t.Fatal(err)
			}
		}
		for i, want := range []int{0, 100, 0} {
			left, err := s.ListBatches(t.Context(), hooks[i], false, 0, 1000)
			if err != nil || len(left) != want {
				t.Errorf("batches of webhook %d: got %d, %v, want %d", hooks[i], len(left), err, want)
			}
		}
	})
}
