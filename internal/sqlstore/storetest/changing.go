package storetest

import (
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// load returns a bulk push of app 1 with all that the record knows.
func load(t *testing.T, p *Ports, id push.ID) push.Live {
	t.Helper()
	got, err := p.Bulk.Load(t.Context(), 1, id)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// move changes the state of a push of app 1.
func move(t *testing.T, p *Ports, id push.ID, from, to push.State) {
	t.Helper()
	if err := p.Bulk.Move(t.Context(), 1, id, from, to, ""); err != nil {
		t.Fatal(err)
	}
}

func testGrow(t *testing.T, p *Ports) {
	ctx := t.Context()
	a := bulk(1, push.Open, 48*time.Hour)
	a.Push.Request.Open = true
	a = finish(a.Push)
	sending := bulk(1, push.Sending, 48*time.Hour)
	accept(t, p, a, sending)
	want := push.Live{Push: a.Push, Payload: a.Payload, Target: []push.Chunk{}, Marked: map[push.Mark][]push.Chunk{}}
	same(t, "before anybody is added", live(t, p)[0], want)

	keys := a.Push.Request.Keys(push.DayOf(noon))
	grow := func(g push.Growth) {
		t.Helper()
		g.App, g.ID = 1, a.Push.ID
		for _, k := range keys {
			g.Totals = append(g.Totals, push.TotalDelta{Key: k, Metric: push.MetricTarget, N: 3})
		}
		if err := p.Changing.Grow(ctx, g); err != nil {
			t.Fatal(err)
		}
	}
	grow(push.Growth{Target: chunks(t, 1, 70_000), Count: 2, Unknown: 1, Settled: map[push.Mark][]push.Chunk{push.MarkBlacklisted: chunks(t, 1)}})
	p = p.Reopen(t)
	// Only the chunk that changes is given.
	grow(push.Growth{Target: chunks(t, 1, 2, 3), Count: 4, Unknown: 3, Settled: map[push.Mark][]push.Chunk{push.MarkBlacklisted: chunks(t, 1, 3)}})
	p = p.Reopen(t)
	want.Push.Target, want.Push.Unknown, want.Push.Cursor = 4, 3, push.Everybody
	want.Target, want.Marked[push.MarkBlacklisted] = chunks(t, 1, 2, 3, 70_000), chunks(t, 1, 3)
	same(t, "grown twice", live(t, p)[0], want)
	same(t, "loaded", load(t, p, a.Push.ID), want)
	same(t, "totals", appTotals(t, p, 1), map[push.Metric]int{push.MetricTarget: 6})
	for o, in := range map[push.Ordinal]bool{2: true, 4: false, 70_000: true} {
		if got, err := p.Receipts.Targeted(ctx, a.Push, o); err != nil || got != in {
			t.Errorf("device %d is in the target: got %v, %v, want %v", o, got, err, in)
		}
	}
	// Another push with the same devices has a target of its own.
	b := bulk(1, push.Accepted, 48*time.Hour)
	accept(t, p, b)
	if err := p.Bulk.Begin(ctx, push.Start{App: 1, ID: b.Push.ID, Target: want.Target, Count: 4}); err != nil {
		t.Fatal(err)
	}
	grow(push.Growth{Target: chunks(t, 1, 2, 3, 9), Count: 5})
	same(t, "the other's target", load(t, p, b.Push.ID).Target, want.Target)

	g := push.Growth{App: 1, ID: a.Push.ID, Target: chunks(t, 5), Count: 1, Totals: []push.TotalDelta{{Key: keys[0], Metric: push.MetricTarget, N: 1}}}
	fails(t, "of another app", p.Changing.Grow(ctx, push.Growth{App: 2, ID: a.Push.ID}), push.NotFound, "")
	fails(t, "of what is none", p.Changing.Grow(ctx, push.Growth{App: 1, ID: 99}), push.NotFound, "")
	fails(t, "of one that is not open", p.Changing.Grow(ctx, push.Growth{App: 1, ID: sending.Push.ID}), push.Conflict, "state")
	move(t, p, a.Push.ID, push.Open, push.Sending)
	fails(t, "when it is closed", p.Changing.Grow(ctx, g), push.Conflict, "state")
	same(t, "its target then", load(t, p, a.Push.ID).Target, chunks(t, 1, 2, 3, 9, 70_000))
	same(t, "totals then", appTotals(t, p, 1), map[push.Metric]int{push.MetricTarget: 9})

	// The target goes when the push is over.
	move(t, p, a.Push.ID, push.Sending, push.Expired)
	sweep(t, p, noon)
	if in, err := p.Receipts.Targeted(ctx, a.Push, 2); err != nil || in {
		t.Errorf("when it is over: got %v, %v, want the target gone", in, err)
	}
}

// testGrowFolded has receipts folded between the moment at which an addition was made up and its commit.
func testGrowFolded(t *testing.T, p *Ports) {
	a := bulk(1, push.Open, 48*time.Hour)
	accept(t, p, a)
	fold := push.Fold{Chunks: []push.FoldedChunk{{Push: a.Push.ID, Mark: push.MarkOffline, Chunk: chunks(t, 7)[0]}}}
	if err := p.Report.Fold(t.Context(), fold); err != nil {
		t.Fatal(err)
	}
	err := p.Changing.Grow(t.Context(), push.Growth{
		App: 1, ID: a.Push.ID, Target: chunks(t, 7, 8), Count: 2, Settled: map[push.Mark][]push.Chunk{push.MarkOffline: chunks(t, 8, 70_000)},
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "sets", load(t, p, a.Push.ID).Marked, map[push.Mark][]push.Chunk{push.MarkOffline: chunks(t, 7, 8, 70_000)})
}

func testBeginStates(t *testing.T, p *Ports) {
	for _, state := range []push.State{
		push.Open, push.Scheduled, push.Accepted, push.Sending, push.Paused, push.Done, push.Cancelled, push.Recalled, push.Expired, push.Failed,
	} {
		a := bulk(1, state, time.Hour)
		accept(t, p, a)
		same(t, "accepted", found(t, p, a.Push.ID).State, state)
		err := p.Bulk.Begin(t.Context(), push.Start{App: 1, ID: a.Push.ID, Target: chunks(t, 1), Count: 1, Cursor: 5})
		if !state.Waits() {
			fails(t, "begin a push that is "+string(state), err, push.Conflict, "state")
			continue
		}
		if err != nil {
			t.Errorf("begin a push that is %s: %v", state, err)
		}
		got := found(t, p, a.Push.ID)
		same(t, "begun", []any{got.State, got.Cursor, got.Target}, []any{push.Sending, push.Ordinal(5), 1})
	}
	// Those that are not over are live.
	states := map[push.State]int{}
	for _, l := range live(t, p) {
		states[l.Push.State]++
	}
	same(t, "live", states, map[push.State]int{push.Open: 1, push.Sending: 3, push.Paused: 1, push.Done: 1})
}

func testAdvance(t *testing.T, p *Ports) {
	ctx := t.Context()
	a, b := bulk(1, push.Accepted, time.Hour), bulk(1, push.Accepted, time.Hour)
	a.Push.Schedule = 77
	accept(t, p, a, b)
	same(t, "the schedule that it is of", found(t, p, a.Push.ID).Schedule, push.ID(77))
	for _, id := range []push.ID{a.Push.ID, b.Push.ID} {
		if err := p.Bulk.Begin(ctx, push.Start{App: 1, ID: id, Target: chunks(t, 1, 2), Count: 2}); err != nil {
			t.Fatal(err)
		}
	}
	at := func(what string, want ...push.Ordinal) {
		t.Helper()
		var got []push.Ordinal
		for _, l := range live(t, p) {
			got = append(got, l.Push.Cursor)
		}
		same(t, what, got, want)
	}
	at("at the beginning", 0, 0)
	for _, cursor := range []push.Ordinal{100, 70_000, 300, 70_000} {
		if err := p.Changing.Advance(ctx, 1, a.Push.ID, cursor); err != nil {
			t.Fatal(err)
		}
	}
	at("the greatest counts", 70_000, 0)
	p = p.Reopen(t)
	at("after a restart", 70_000, 0)
	if err := p.Changing.Advance(ctx, 1, a.Push.ID, push.Everybody); err != nil {
		t.Fatal(err)
	}
	at("at the end", push.Everybody, 0)
	fails(t, "of another app", p.Changing.Advance(ctx, 2, b.Push.ID, 5), push.NotFound, "")
	fails(t, "of what is none", p.Changing.Advance(ctx, 1, 99, 5), push.NotFound, "")
	at("then", push.Everybody, 0)
}

func testReplace(t *testing.T, p *Ports) {
	ctx := t.Context()
	a, sending := bulk(1, push.Scheduled, 24*time.Hour), bulk(1, push.Sending, 24*time.Hour)
	a.Push.Request.RequestID = "r"
	accept(t, p, a, sending)
	for _, ttl := range []time.Duration{24 * time.Hour, 24 * 20 * time.Hour, 48 * time.Hour} {
		b := a.Push
		b.Start, b.Expires = noon.Add(ttl/2), noon.Add(ttl)
		b.Request.Message.Data, b.Request.Policy.CollapseID = []byte(`"changed"`), "x"
		c := finish(b)
		if err := p.Changing.Replace(ctx, c.Push, c.Payload); err != nil {
			t.Fatal(err)
		}
		p = p.Reopen(t)
		same(t, "replaced", load(t, p, b.ID), push.Live{Push: b, Payload: c.Payload, Marked: map[push.Mark][]push.Chunk{}})
	}
	// The payload and the id of the request live as long as the new end says.
	sweep(t, p, noon.Add(72*time.Hour))
	if got, err := p.Pushes.ByRequest(ctx, 1, "r"); err != nil || got.ID != a.Push.ID {
		t.Errorf("by its request: got %d, %v, want %d", got.ID, err, a.Push.ID)
	}
	other := a.Push
	other.App = 2
	fails(t, "of another app", p.Changing.Replace(ctx, other, nil), push.NotFound, "")
	fails(t, "of one that is not scheduled", p.Changing.Replace(ctx, sending.Push, nil), push.Conflict, "state")
	bad := a.Push
	bad.Expires = time.Time{}
	fails(t, "without an end", p.Changing.Replace(ctx, bad, nil), push.Invalid, "expires")
	move(t, p, a.Push.ID, push.Scheduled, push.Cancelled)
	fails(t, "when it is cancelled", p.Changing.Replace(ctx, a.Push, nil), push.Conflict, "state")
}

func testFinished(t *testing.T, p *Ports) {
	a := bulk(1, push.Accepted, 24*time.Hour)
	accept(t, p, a)
	if err := p.Bulk.Begin(t.Context(), push.Start{App: 1, ID: a.Push.ID, Target: chunks(t, 1), Count: 1}); err != nil {
		t.Fatal(err)
	}
	finished := push.Receipt{App: 1, Push: a.Push.ID, Mark: push.MarkFinished}
	var want []push.Receipt
	for _, step := range []struct {
		from, to push.State
		finishes bool
	}{
		{push.Sending, push.Paused, false}, {push.Paused, push.Sending, false}, {push.Sending, push.Done, true}, {push.Done, push.Cancelled, true},
	} {
		fails(t, "from another state", p.Bulk.Move(t.Context(), 1, a.Push.ID, push.Accepted, step.to, ""), push.Conflict, "state")
		move(t, p, a.Push.ID, step.from, step.to)
		if step.finishes {
			want = append(want, finished)
		}
		same(t, "receipts", receipts(p), want)
		same(t, "its state", found(t, p, a.Push.ID).State, step.to)
	}
	same(t, "the log", unfolded(t, p), p.Logged())
}
