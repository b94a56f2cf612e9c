package storetest

import (
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// recalls returns the push that carries a recall of another.
func recalls(of push.Push, when time.Time) *push.Acceptance {
	a := at(bulk(of.App, push.Accepted, 72*time.Hour), when)
	a.Push.Request.Message = push.Message{Recall: of.ID}
	a.Push.Request.Key = push.Key{Namespace: "recall", Value: of.ID.String()}
	return finish(a.Push)
}

func recall(t *testing.T, p *Ports, r push.Recalling, message *push.Acceptance) {
	t.Helper()
	if err := p.Changing.Recall(t.Context(), r, message); err != nil {
		t.Fatal(err)
	}
}

// delivers has devices acknowledge a direct push.
func delivers(t *testing.T, p *Ports, q push.Push, devices ...push.Ordinal) {
	t.Helper()
	d := push.Delivery{ID: q.ID, App: q.App, Kind: push.Direct, Expires: q.Expires}
	for _, o := range devices {
		if err := p.Receipts.Receive(t.Context(), d.Receipt(o, push.MarkDelivered)); err != nil {
			t.Fatal(err)
		}
	}
}

func testRecallDirect(t *testing.T, p *Ports) {
	a, b := direct(1, 48*time.Hour, 1, 2, 3), direct(1, 48*time.Hour, 1)
	accept(t, p, a, b)
	delivers(t, p, a.Push, 2)
	message := recalls(a.Push, noon.Add(time.Hour))
	recall(t, p, push.Recalling{Push: a.Push, Told: []push.Ordinal{2}}, message)
	for _, when := range []string{"then", "after a restart"} {
		same(t, "device 1 "+when, owed(t, p, 1, 1, noon), []push.ID{b.Push.ID})
		same(t, "device 3 "+when, owed(t, p, 1, 3, noon), []push.ID{})
		same(t, "its state "+when, found(t, p, a.Push.ID).State, push.Recalled)
		got := found(t, p, message.Push.ID)
		same(t, "the message "+when, []any{got.Kind, got.State, got.Request.Message.Recall}, []any{push.Bulk, push.Accepted, a.Push.ID})
		if when == "then" {
			same(t, "marks", marked(p), map[push.Mark]int{push.MarkDelivered: 1, push.MarkWithdrawn: 2, push.MarkTold: 1})
			same(t, "the log", unfolded(t, p), p.Logged())
		}
		p = p.Reopen(t)
	}
	if n, err := p.Inbox.Withdraw(t.Context(), 1, a.Push.ID, push.MarkCancelled); err != nil || n != 0 {
		t.Errorf("cancel it then: got %d, %v, want 0", n, err)
	}
	err := p.Changing.Recall(t.Context(), push.Recalling{Push: direct(1, time.Hour).Push}, nil)
	fails(t, "recall what is none", err, push.NotFound, "")
	other := a.Push
	other.App = 2
	fails(t, "recall another app's", p.Changing.Recall(t.Context(), push.Recalling{Push: other}, nil), push.NotFound, "")
}

func testRecallSome(t *testing.T, p *Ports) {
	a := direct(1, 48*time.Hour, 1, 2, 3, 4)
	accept(t, p, a)
	delivers(t, p, a.Push, 2)
	recall(t, p, push.Recalling{Push: a.Push, Devices: []push.Ordinal{1, 2}, Told: []push.Ordinal{2}}, recalls(a.Push, noon))
	same(t, "device 1", owed(t, p, 1, 1, noon), []push.ID{})
	same(t, "device 3", owed(t, p, 1, 3, noon), []push.ID{a.Push.ID})
	same(t, "its state", found(t, p, a.Push.ID).State, push.Done)
	day := push.DayOf(a.Push.Expires)
	same(t, "receipts", receipts(p)[1:], []push.Receipt{
		{App: 1, Push: a.Push.ID, Ordinal: 1, Mark: push.MarkWithdrawn, Day: day}, {App: 1, Push: a.Push.ID, Ordinal: 2, Mark: push.MarkTold, Day: day},
	})
	// Nobody is not everybody.
	recall(t, p, push.Recalling{Push: a.Push, Devices: []push.Ordinal{}}, nil)
	same(t, "device 3 then", owed(t, p, 1, 3, noon), []push.ID{a.Push.ID})
}

func testRecallBulk(t *testing.T, p *Ports) {
	for _, state := range []push.State{push.Open, push.Scheduled, push.Accepted, push.Sending, push.Paused, push.Done} {
		a, some := bulk(1, state, 48*time.Hour), bulk(1, state, 48*time.Hour)
		accept(t, p, a, some)
		before := len(receipts(p))
		recall(t, p, push.Recalling{
			Push: some.Push, Devices: []push.Ordinal{1, 2, 70_000}, Stopped: []push.Ordinal{1, 70_000}, Told: []push.Ordinal{2},
		}, recalls(some.Push, noon))
		same(t, "from some devices", found(t, p, some.Push.ID).State, state)
		recall(t, p, push.Recalling{Push: a.Push}, recalls(a.Push, noon))
		same(t, "the whole of one that is "+string(state), found(t, p, a.Push.ID).State, push.Recalled)
		same(t, "receipts", receipts(p)[before:], []push.Receipt{
			{App: 1, Push: some.Push.ID, Ordinal: 1, Mark: push.MarkWithdrawn},
			{App: 1, Push: some.Push.ID, Ordinal: 70_000, Mark: push.MarkWithdrawn},
			{App: 1, Push: some.Push.ID, Ordinal: 2, Mark: push.MarkTold},
			{App: 1, Push: a.Push.ID, Mark: push.MarkFinished},
		})
	}
	// None of the recalled ones is live after a restart, and they go like all others that are over.
	p = p.Reopen(t)
	for _, l := range live(t, p) {
		if l.Push.State == push.Recalled {
			t.Errorf("push %d is recalled and live", l.Push.ID)
		}
	}
	over := bulk(1, push.Accepted, time.Hour)
	accept(t, p, over)
	recall(t, p, push.Recalling{Push: over.Push}, nil)
	sweep(t, p, noon.Add(31*24*time.Hour))
	_, err := p.Record.Find(t.Context(), 1, over.Push.ID)
	fails(t, "long after its end", err, push.NotFound, "")
}

// testRecallOver takes back what has ended another way: it stays what it is, and the message is accepted.
func testRecallOver(t *testing.T, p *Ports) {
	cancelled, expired := direct(1, time.Hour, 1), direct(1, time.Hour, 1)
	failed, late := bulk(1, push.Cancelled, time.Hour), bulk(1, push.Done, time.Hour)
	said := direct(1, time.Hour, 1)
	accept(t, p, cancelled, expired, failed, late, said)
	if _, err := p.Inbox.Withdraw(t.Context(), 1, cancelled.Push.ID, push.MarkCancelled); err != nil {
		t.Fatal(err)
	}
	said.Push.State = push.Expired // who asks knows it
	for _, tt := range []struct {
		name string
		of   push.Push
		when time.Time
		want push.State
	}{
		{"a direct push that was cancelled", cancelled.Push, noon, push.Cancelled},
		{"a direct push that has expired", expired.Push, noon.Add(time.Hour), push.Done},
		{"a direct push that is said to be over", said.Push, noon, push.Done},
		{"a bulk push that was cancelled", failed.Push, noon, push.Cancelled},
		{"a bulk push that has expired and does not say so", late.Push, noon.Add(2 * time.Hour), push.Done},
	} {
		message := recalls(tt.of, tt.when)
		recall(t, p, push.Recalling{Push: tt.of, Told: []push.Ordinal{1}}, message)
		same(t, tt.name, found(t, p, tt.of.ID).State, tt.want)
		same(t, tt.name+": the message", found(t, p, message.Push.ID).Request.Message.Recall, tt.of.ID)
	}
	if n := marked(p)[push.MarkTold]; n != 5 {
		t.Errorf("told: got %d, want 5", n)
	}
}

// testRecallAgain sends a recall twice, as a caller does who does not know what became of the first.
func testRecallAgain(t *testing.T, p *Ports) {
	a := direct(1, 48*time.Hour, 1)
	accept(t, p, a)
	first, second := recalls(a.Push, noon), recalls(a.Push, noon)
	recall(t, p, push.Recalling{Push: a.Push}, first)
	recall(t, p, push.Recalling{Push: a.Push}, second)
	_, err := p.Record.Find(t.Context(), 1, second.Push.ID)
	fails(t, "the second message", err, push.NotFound, "")
	got, _, err := p.Record.FindKey(t.Context(), 1, first.Push.Request.Key)
	if err != nil || got.ID != first.Push.ID {
		t.Errorf("the key: got %d, %v, want %d", got.ID, err, first.Push.ID)
	}
	same(t, "marks", marked(p), map[push.Mark]int{push.MarkWithdrawn: 1})
	bad := recalls(a.Push, noon)
	bad.Push.ID = 0
	fails(t, "with a message that is none", p.Changing.Recall(t.Context(), push.Recalling{Push: a.Push}, bad), push.Invalid, "id")
}
