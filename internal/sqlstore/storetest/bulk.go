package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

func chunks(t *testing.T, all ...push.Ordinal) []push.Chunk {
	t.Helper()
	c, err := ordset.Of(all...).Chunks()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func live(t *testing.T, p *Ports) []push.Live {
	t.Helper()
	var all []push.Live
	if err := p.Bulk.Live(t.Context(), func(l push.Live) error { all = append(all, l); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func testBulk(t *testing.T, p *Ports) {
	ctx := t.Context()
	a, b := bulk(1, push.Accepted, 48*time.Hour), bulk(1, push.Scheduled, 48*time.Hour)
	accept(t, p, a, b)
	same(t, "live before they begin", live(t, p), []push.Live{
		{Push: a.Push, Payload: a.Payload, Marked: map[push.Mark][]push.Chunk{}},
		{Push: b.Push, Payload: b.Payload, Marked: map[push.Mark][]push.Chunk{}},
	})
	target, blocked := chunks(t, 1, 2, 70_000, 1<<31), chunks(t, 2)
	marks := map[push.Mark][]push.Chunk{push.MarkBlacklisted: blocked}
	if err := p.Bulk.Begin(ctx, push.Start{App: 1, ID: a.Push.ID, Target: target, Count: 4, Unknown: 2, Marked: marks}); err != nil {
		t.Fatal(err)
	}
	fails(t, "begin again", p.Bulk.Begin(ctx, push.Start{App: 1, ID: a.Push.ID, Target: target, Count: 4}), push.Conflict, "state")
	fails(t, "begin in another app", p.Bulk.Begin(ctx, push.Start{App: 2, ID: a.Push.ID, Target: target, Count: 4}), push.NotFound, "")
	fails(t, "begin what is none", p.Bulk.Begin(ctx, push.Start{App: 1, ID: 99, Target: target, Count: 4}), push.NotFound, "")
	if err := p.Bulk.Begin(ctx, push.Start{App: 1, ID: b.Push.ID}); err != nil {
		t.Fatal(err)
	}
	a.Push.State, a.Push.Target, a.Push.Unknown, b.Push.State = push.Sending, 4, 2, push.Sending
	begun := []push.Live{
		{Push: a.Push, Payload: a.Payload, Target: target, Marked: marks},
		{Push: b.Push, Payload: b.Payload, Target: []push.Chunk{}, Marked: map[push.Mark][]push.Chunk{}},
	}
	same(t, "live once begun", live(t, p), begun)
	p = p.Reopen(t)
	same(t, "live after a restart", live(t, p), begun)

	load := func(what string, want push.Live) {
		t.Helper()
		got, err := p.Bulk.Load(ctx, 1, want.Push.ID)
		if err != nil {
			t.Fatalf("load %s: %v", what, err)
		}
		same(t, what, got, want)
	}
	load("a live one", begun[0])
	if err := p.Bulk.Move(ctx, 1, b.Push.ID, push.Sending, push.Cancelled, "by hand"); err != nil {
		t.Fatal(err)
	}
	begun[1].Push.State, begun[1].Push.Reason = push.Cancelled, "by hand"
	load("one that is over", begun[1])
	_, err := p.Bulk.Load(ctx, 2, a.Push.ID)
	fails(t, "load in another app", err, push.NotFound, "")
	_, err = p.Bulk.Load(ctx, 1, direct(1, time.Hour, 1).Push.ID)
	fails(t, "load what is none", err, push.NotFound, "")
}

func testTargets(t *testing.T, p *Ports) {
	ctx := t.Context()
	a, b := bulk(1, push.Accepted, 48*time.Hour), bulk(1, push.Accepted, 48*time.Hour)
	accept(t, p, a, b)
	target := chunks(t, 1, 2, 70_000)
	for _, id := range []push.ID{a.Push.ID, b.Push.ID} {
		if err := p.Bulk.Begin(ctx, push.Start{App: 1, ID: id, Target: target, Count: 3}); err != nil {
			t.Fatal(err)
		}
	}
	fails(t, "move from another state", p.Bulk.Move(ctx, 1, a.Push.ID, push.Accepted, push.Cancelled, ""), push.Conflict, "state")
	fails(t, "move in another app", p.Bulk.Move(ctx, 2, a.Push.ID, push.Sending, push.Done, ""), push.NotFound, "")
	if err := p.Bulk.Move(ctx, 1, a.Push.ID, push.Sending, push.Done, ""); err != nil {
		t.Fatal(err)
	}
	if err := p.Bulk.Move(ctx, 1, a.Push.ID, push.Done, push.Cancelled, "by hand"); err != nil {
		t.Fatal(err)
	}
	got, err := p.Record.Find(ctx, 1, a.Push.ID)
	if err != nil || got.State != push.Cancelled || got.Reason != "by hand" || got.Target != 3 {
		t.Errorf("the cancelled push: got %s, %q, target %d, %v", got.State, got.Reason, got.Target, err)
	}
	// The sweep leaves the target of b alone, though a had the same.
	if _, err := p.Inbox.Sweep(ctx, noon, 10); err != nil {
		t.Fatal(err)
	}
	all := live(t, p)
	if len(all) != 1 || all[0].Push.ID != b.Push.ID {
		t.Fatalf("live: got %v, want the other push", all)
	}
	same(t, "its target", all[0].Target, target)

	stop := errors.New("stop")
	if err := p.Bulk.Live(ctx, func(push.Live) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of yield: got %v, want it back", err)
	}
}

func testTargeted(t *testing.T, p *Ports) {
	ctx := t.Context()
	a, b := bulk(1, push.Accepted, 48*time.Hour), direct(1, 48*time.Hour, 3, 70_000)
	accept(t, p, a, b)
	ask := func(what string, q push.Push, want map[push.Ordinal]bool) {
		t.Helper()
		got := map[push.Ordinal]bool{}
		for o := range want {
			in, err := p.Receipts.Targeted(ctx, q, o)
			if err != nil {
				t.Fatal(err)
			}
			got[o] = in
		}
		same(t, what, got, want)
	}
	ask("of a direct push", b.Push, map[push.Ordinal]bool{3: true, 4: false, 70_000: true})
	ask("before it begins", a.Push, map[push.Ordinal]bool{1: false, 70_000: false})
	if err := p.Bulk.Begin(ctx, push.Start{App: 1, ID: a.Push.ID, Target: chunks(t, 1, 70_000, 70_001), Count: 3}); err != nil {
		t.Fatal(err)
	}
	ask("of a bulk push", a.Push, map[push.Ordinal]bool{1: true, 2: false, 70_000: true, 70_001: true})
	if err := p.Report.Fold(ctx, push.Fold{Chunks: []push.FoldedChunk{{Push: a.Push.ID, Mark: push.MarkSent, Chunk: chunks(t, 70_000)[0]}}}); err != nil {
		t.Fatal(err)
	}
	if err := p.Bulk.Move(ctx, 1, a.Push.ID, push.Sending, push.Expired, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Inbox.Sweep(ctx, noon, 10); err != nil {
		t.Fatal(err)
	}
	ask("once it is over, who was sent it", a.Push, map[push.Ordinal]bool{2: false, 70_000: true})
}

func testFold(t *testing.T, p *Ports) {
	ctx := t.Context()
	a, b := direct(1, 24*time.Hour, 1, 2), bulk(1, push.Accepted, 24*time.Hour)
	accept(t, p, a, b)
	day := push.DayOf(a.Push.Expires)
	d := push.Delivery{ID: a.Push.ID, App: 1, Kind: push.Direct, Expires: a.Push.Expires}
	if err := p.Receipts.Receive(ctx, d.Receipt(1, push.MarkSent)); err != nil {
		t.Fatal(err)
	}
	if err := p.Receipts.Receive(ctx, d.Receipt(2, push.MarkSent)); err != nil {
		t.Fatal(err)
	}
	log := p.Logged()
	set := chunks(t, 5, 6, 100_000)
	fold := push.Fold{
		UpTo: log[0].Seq,
		Chunks: []push.FoldedChunk{
			{Push: b.Push.ID, Mark: push.MarkSent, Chunk: set[0]},
			{Push: b.Push.ID, Mark: push.MarkSent, Chunk: set[1]},
			{Push: b.Push.ID, Mark: push.MarkOpened, Chunk: set[0]},
		},
		Outcomes: []push.Outcome{
			{Push: a.Push.ID, Day: day, Ordinal: 1, Marked: push.Marked(0).With(push.MarkSent)},
			{Push: a.Push.ID, Day: day, Ordinal: 1, Marked: push.Marked(0).With(push.MarkOpened)},
		},
	}
	for _, when := range []string{"folded", "folded again"} {
		if err := p.Report.Fold(ctx, fold); err != nil {
			t.Fatal(err)
		}
		outcomes, err := p.Report.Outcomes(ctx, a.Push)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "outcomes "+when, outcomes, map[push.Ordinal]push.Marked{1: push.Marked(0).With(push.MarkSent).With(push.MarkOpened)})
		sets, err := p.Report.Sets(ctx, b.Push.ID)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "sets "+when, sets, map[push.Mark][]push.Chunk{push.MarkSent: set, push.MarkOpened: set[:1]})
	}
	same(t, "the rest of the log", unfolded(t, p), log[1:])

	// Marks only grow; a chunk is replaced by one that holds more.
	larger := chunks(t, 5, 6, 7)
	if err := p.Report.Fold(ctx, push.Fold{
		UpTo:     log[1].Seq,
		Chunks:   []push.FoldedChunk{{Push: b.Push.ID, Mark: push.MarkSent, Chunk: larger[0]}},
		Outcomes: []push.Outcome{{Push: a.Push.ID, Day: day, Ordinal: 1, Marked: push.Marked(0).With(push.MarkDelivered)}},
	}); err != nil {
		t.Fatal(err)
	}
	outcomes, err := p.Report.Outcomes(ctx, a.Push)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "outcomes have grown", outcomes[1], push.Marked(0).With(push.MarkSent).With(push.MarkOpened).With(push.MarkDelivered))
	sets, err := p.Report.Sets(ctx, b.Push.ID)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the larger chunk", sets[push.MarkSent], []push.Chunk{larger[0], set[1]})
	same(t, "the log", unfolded(t, p), nil)
	same(t, "of a push without outcomes", outcomesOf(t, p, direct(1, time.Hour, 1).Push), map[push.Ordinal]push.Marked{})
}

// testFoldSlices folds in several commits, of which the last ends the log: until then, a restart folds anew.
func testFoldSlices(t *testing.T, p *Ports) {
	ctx := t.Context()
	a, b := direct(1, 24*time.Hour, 1, 2), bulk(1, push.Accepted, 24*time.Hour)
	accept(t, p, a, b)
	day := push.DayOf(a.Push.Expires)
	d := push.Delivery{ID: a.Push.ID, App: 1, Kind: push.Direct, Expires: a.Push.Expires}
	for o := range push.Ordinal(2) {
		if err := p.Receipts.Receive(ctx, d.Receipt(1+o, push.MarkSent), push.Receipt{App: 1, Push: b.Push.ID, Ordinal: o, Mark: push.MarkSent}); err != nil {
			t.Fatal(err)
		}
	}
	log := p.Logged()
	set, sent := chunks(t, 0, 1), push.Marked(0).With(push.MarkSent)
	slices := []push.Fold{
		{Chunks: []push.FoldedChunk{{Push: b.Push.ID, Mark: push.MarkSent, Chunk: set[0]}}},
		{Outcomes: []push.Outcome{{Push: a.Push.ID, Day: day, Ordinal: 1, Marked: sent}}},
		{UpTo: log[1].Seq, Outcomes: []push.Outcome{{Push: a.Push.ID, Day: day, Ordinal: 2, Marked: sent}}},
	}
	fold := func(f push.Fold) {
		t.Helper()
		if err := p.Report.Fold(ctx, f); err != nil {
			t.Fatal(err)
		}
	}
	fold(push.Fold{})
	fold(slices[0])
	fold(slices[1])
	same(t, "the log between slices", unfolded(t, p), log)
	p = p.Reopen(t)
	same(t, "the log after a restart between slices", unfolded(t, p), log)
	for _, f := range slices {
		fold(f)
	}
	same(t, "the log after the last slice", unfolded(t, p), nil)
	same(t, "outcomes", outcomesOf(t, p, a.Push), map[push.Ordinal]push.Marked{1: sent, 2: sent})
	sets, err := p.Report.Sets(ctx, b.Push.ID)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "sets", sets, map[push.Mark][]push.Chunk{push.MarkSent: set})
	fold(push.Fold{UpTo: log[1].Seq})
	if err := p.Receipts.Receive(ctx, d.Receipt(1, push.MarkOpened)); err != nil {
		t.Fatal(err)
	}
	same(t, "what came after it", unfolded(t, p), p.Logged())
}

// testBulkOver follows bulk pushes to the end of what the record keeps of them.
func testBulkOver(t *testing.T, p *Ports) {
	ctx := t.Context()
	const keep = 30 * 24 * time.Hour
	over, late, alive := bulk(1, push.Accepted, time.Hour), bulk(1, push.Accepted, 48*time.Hour), bulk(1, push.Accepted, time.Hour)
	all := []*push.Acceptance{over, late, alive}
	for range 100 { // more than are looked at in one read
		all = append(all, bulk(1, push.Accepted, time.Hour))
	}
	accept(t, p, all...)
	set := chunks(t, 1, 70_000, 140_000)
	fold := func(id push.ID) {
		t.Helper()
		var f push.Fold
		for _, m := range []push.Mark{push.MarkSent, push.MarkDelivered, push.MarkOpened} {
			for _, c := range set {
				f.Chunks = append(f.Chunks, push.FoldedChunk{Push: id, Mark: m, Chunk: c})
			}
		}
		if err := p.Report.Fold(ctx, f); err != nil {
			t.Fatal(err)
		}
	}
	marks := func(id push.ID) int {
		t.Helper()
		sets, err := p.Report.Sets(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		return len(sets)
	}
	for _, a := range all {
		fold(a.Push.ID)
		if a == alive {
			continue
		}
		if err := p.Bulk.Move(ctx, 1, a.Push.ID, push.Accepted, push.Expired, ""); err != nil {
			t.Fatal(err)
		}
	}
	sweep := func(now time.Time) {
		t.Helper()
		for range 20 { // each has little time
			if _, err := p.Inbox.Sweep(ctx, now, 100); err != nil {
				t.Fatal(err)
			}
		}
	}
	there := func(when string, want map[push.ID]bool) {
		t.Helper()
		got := map[push.ID]bool{}
		for _, a := range all {
			_, err := p.Record.Find(ctx, 1, a.Push.ID)
			if err == nil {
				got[a.Push.ID] = true
			} else if !errors.Is(err, push.NotFound) {
				t.Fatal(err)
			}
			if n := marks(a.Push.ID); (n > 0) != (err == nil) {
				t.Errorf("%s: push %d is found: %v, with %d sets", when, a.Push.ID, err == nil, n)
			}
		}
		same(t, when, got, want)
	}
	every := map[push.ID]bool{}
	for _, a := range all {
		every[a.Push.ID] = true
	}
	sweep(noon.Add(keep + 59*time.Minute))
	there("a minute before their time", every)
	sweep(noon.Add(keep + time.Hour))
	there("at their time", map[push.ID]bool{late.Push.ID: true, alive.Push.ID: true})
	fold(over.Push.ID)
	if n := marks(over.Push.ID); n != 0 {
		t.Errorf("receipts of a push that has gone left %d sets, want none", n)
	}
	p = p.Reopen(t)
	sweep(noon.Add(keep + 72*time.Hour))
	there("later", map[push.ID]bool{alive.Push.ID: true})
}

func outcomesOf(t *testing.T, p *Ports, q push.Push) map[push.Ordinal]push.Marked {
	t.Helper()
	all, err := p.Report.Outcomes(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func unfolded(t *testing.T, p *Ports) []push.Logged {
	t.Helper()
	var all []push.Logged
	if err := p.Report.Unfolded(t.Context(), func(row push.Logged) error { all = append(all, row); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func testLog(t *testing.T, p *Ports) {
	for i := range 100 {
		rs := []push.Receipt{
			{App: 1, Push: push.ID(1000 + i), Ordinal: push.Ordinal(i), Mark: push.MarkSent},
			{App: 1, Push: push.ID(1000 + i), Ordinal: push.Ordinal(i), Mark: push.MarkDelivered},
			{App: 4_000_000_000, Push: 1<<62 + push.ID(i), Ordinal: 1<<32 - 1, Mark: push.MarkTooLarge, Day: 20_000},
		}
		if err := p.Receipts.Receive(t.Context(), rs...); err != nil {
			t.Fatal(err)
		}
	}
	log := p.Logged()
	same(t, "the log and what was told of it", unfolded(t, p), log)
	last := int64(0)
	for _, row := range log {
		if row.Seq <= last {
			t.Fatalf("sequence %d after %d", row.Seq, last)
		}
		last = row.Seq
	}
	// A sequence is never used again, also when the log is empty and the record starts anew.
	if err := p.Report.Fold(t.Context(), push.Fold{UpTo: last}); err != nil {
		t.Fatal(err)
	}
	p = p.Reopen(t)
	if err := p.Receipts.Receive(t.Context(), push.Receipt{App: 1, Push: 1, Mark: push.MarkSent}); err != nil {
		t.Fatal(err)
	}
	if got := p.Logged(); len(got) != 1 || got[0].Seq <= last {
		t.Errorf("after the log was emptied: got %v, want a sequence above %d", got, last)
	}
	stop := errors.New("stop")
	if err := p.Report.Unfolded(t.Context(), func(push.Logged) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of yield: got %v, want it back", err)
	}
}
