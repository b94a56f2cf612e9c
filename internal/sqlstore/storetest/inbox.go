package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

func testOwed(t *testing.T, p *Ports) {
	// Times to live that put neighbours into different days, and one that ends soon.
	all := []*push.Acceptance{
		direct(1, 72*time.Hour, 7, 8), direct(1, time.Hour, 7), direct(1, 30*24*time.Hour, 7), direct(1, 24*time.Hour, 8),
		direct(1, time.Second, 7), direct(1, 48*time.Hour, 7), direct(2, 48*time.Hour, 7),
	}
	ids := accept(t, p, all...)
	same(t, "device 7", owed(t, p, 1, 7, noon), []push.ID{ids[0], ids[1], ids[2], ids[4], ids[5]})
	same(t, "device 8", owed(t, p, 1, 8, noon), []push.ID{ids[0], ids[3]})
	same(t, "device 7 of another app", owed(t, p, 2, 7, noon), []push.ID{ids[6]})
	same(t, "a device without rows", owed(t, p, 1, 9, noon), []push.ID{})
	same(t, "just before one expires", owed(t, p, 1, 7, noon.Add(time.Second-time.Millisecond)), []push.ID{ids[0], ids[1], ids[2], ids[4], ids[5]})
	same(t, "when one expires", owed(t, p, 1, 7, noon.Add(time.Second)), []push.ID{ids[0], ids[1], ids[2], ids[5]})
	same(t, "in two days", owed(t, p, 1, 7, noon.Add(48*time.Hour)), []push.ID{ids[0], ids[2]})

	got, err := p.Inbox.Owed(t.Context(), 1, 7, noon, 2, func(id push.ID) bool { return id == ids[0] || id == ids[2] })
	if err != nil {
		t.Fatal(err)
	}
	want := []*push.Delivery{
		{ID: ids[1], App: 1, Kind: push.Direct, Expires: all[1].Push.Expires, Payload: all[1].Payload, Rules: push.Rules{Silent: true}},
		{ID: ids[4], App: 1, Kind: push.Direct, Expires: all[4].Push.Expires, Payload: all[4].Payload, Rules: push.Rules{Silent: true}},
	}
	same(t, "two, some skipped", got, want)
}

func testOverflow(t *testing.T, p *Ports) {
	app, err := p.Apps.CreateApp(t.Context(), push.App{Name: "small", Settings: push.Settings{push.SettingInboxLimit: "5"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var ids []push.ID
	for i := range 8 {
		a := direct(app.ID, time.Duration(1+i%2)*24*time.Hour, 1)
		a.Limit = 5
		ids = append(ids, accept(t, p, a)...)
	}
	same(t, "the five newest", owed(t, p, app.ID, 1, noon), ids[3:])
	same(t, "dropped for the others", marked(p), map[push.Mark]int{push.MarkOverflow: 3})
	var dropped []push.ID
	for _, r := range receipts(p) {
		dropped = append(dropped, r.Push)
	}
	slices.Sort(dropped)
	same(t, "the oldest", dropped, ids[:3])

	// A device that never comes is looked at by sample: its inbox ends not far above its limit.
	for range 200 {
		a := direct(app.ID, 24*time.Hour, 2)
		a.Limit = 5
		accept(t, p, a)
	}
	if n := marked(p)[push.MarkOverflow] - 3; n < 50 {
		t.Errorf("of 200 pushes to an inbox of 5 that nobody reads, %d were dropped on the way, want most", n)
	}
	if n := len(owed(t, p, app.ID, 2, noon)); n != 5 {
		t.Errorf("owed then: got %d, want 5", n)
	}
}

func testReceipts(t *testing.T, p *Ports) {
	const app = 1
	a, b := direct(app, 24*time.Hour, 1, 2, 3, 4), direct(app, 48*time.Hour, 1)
	accept(t, p, a, b)
	d := push.Delivery{ID: a.Push.ID, App: app, Kind: push.Direct, Expires: a.Push.Expires}
	for _, tt := range []struct {
		name string
		o    push.Ordinal
		mark push.Mark
		want []push.ID
	}{
		{"sent is not delivered", 1, push.MarkSent, []push.ID{d.ID, b.Push.ID}},
		{"opened takes nothing away", 1, push.MarkOpened, []push.ID{d.ID, b.Push.ID}},
		{"delivered", 1, push.MarkDelivered, []push.ID{b.Push.ID}},
		{"delivered again", 1, push.MarkDelivered, []push.ID{b.Push.ID}},
		{"unregistered", 2, push.MarkUnregistered, []push.ID{}},
		{"too large", 3, push.MarkTooLarge, []push.ID{}},
		{"of a device that was not sent it", 9, push.MarkDelivered, []push.ID{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := p.Receipts.Receive(t.Context(), d.Receipt(tt.o, tt.mark)); err != nil {
				t.Fatal(err)
			}
			same(t, "owed", owed(t, p, app, tt.o, noon), tt.want)
		})
	}
	same(t, "who had no receipt", owed(t, p, app, 4, noon), []push.ID{d.ID})

	// A posted receipt is in the queue before what is received after it.
	p.Receipts.Post(d.Receipt(4, push.MarkSent), d.Receipt(4, push.MarkDelivered))
	if err := p.Receipts.Receive(t.Context(), d.Receipt(4, push.MarkOpened)); err != nil {
		t.Fatal(err)
	}
	same(t, "after a posted one", owed(t, p, app, 4, noon), []push.ID{})

	// A bulk push has no rows, and a direct one whose day nobody knows has none any more.
	if err := p.Receipts.Receive(t.Context(),
		push.Receipt{App: app, Push: 77, Ordinal: 1, Mark: push.MarkDelivered},
		push.Receipt{App: app, Push: 78, Ordinal: 1, Mark: push.MarkDelivered, Day: 5}); err != nil {
		t.Fatal(err)
	}
	got := receipts(p)
	same(t, "the last receipts told", got[len(got)-2:], []push.Receipt{
		{App: app, Push: 77, Ordinal: 1, Mark: push.MarkDelivered},
		{App: app, Push: 78, Ordinal: 1, Mark: push.MarkDelivered, Day: 5},
	})
	fails(t, "a receipt of no push", p.Receipts.Receive(t.Context(), push.Receipt{App: app}), push.Invalid, "receipt")
}

func testWithdraw(t *testing.T, p *Ports) {
	a, b := direct(1, 24*time.Hour, 1, 2, 3), direct(1, 24*time.Hour, 1)
	accept(t, p, a, b)
	d := push.Delivery{ID: a.Push.ID, App: 1, Kind: push.Direct, Expires: a.Push.Expires}
	if err := p.Receipts.Receive(t.Context(), d.Receipt(2, push.MarkDelivered)); err != nil {
		t.Fatal(err)
	}
	n, err := p.Inbox.Withdraw(t.Context(), 1, d.ID, push.MarkCancelled)
	if err != nil || n != 2 {
		t.Errorf("withdraw: got %d, %v, want 2", n, err)
	}
	same(t, "receipts", marked(p), map[push.Mark]int{push.MarkDelivered: 1, push.MarkCancelled: 2})
	same(t, "device 1", owed(t, p, 1, 1, noon), []push.ID{b.Push.ID})
	same(t, "device 3", owed(t, p, 1, 3, noon), []push.ID{})
	got, err := p.Record.Find(t.Context(), 1, d.ID)
	if err != nil || got.State != push.Cancelled {
		t.Errorf("state: got %s, %v, want cancelled", got.State, err)
	}
	if n, err := p.Inbox.Withdraw(t.Context(), 1, d.ID, push.MarkWithdrawn); err != nil || n != 0 {
		t.Errorf("withdraw again: got %d, %v, want 0", n, err)
	}

	// What has arrived cannot be withdrawn, and stays what it was.
	db := push.Delivery{ID: b.Push.ID, App: 1, Kind: push.Direct, Expires: b.Push.Expires}
	if err := p.Receipts.Receive(t.Context(), db.Receipt(1, push.MarkDelivered)); err != nil {
		t.Fatal(err)
	}
	if n, err := p.Inbox.Withdraw(t.Context(), 1, db.ID, push.MarkCancelled); err != nil || n != 0 {
		t.Errorf("withdraw what arrived: got %d, %v, want 0", n, err)
	}
	got, err = p.Record.Find(t.Context(), 1, db.ID)
	if err != nil || got.State != push.Done {
		t.Errorf("state of what arrived: got %s, %v, want done", got.State, err)
	}
	_, err = p.Inbox.Withdraw(t.Context(), 2, d.ID, push.MarkCancelled)
	fails(t, "withdraw in another app", err, push.NotFound, "")
}

func testWaiting(t *testing.T, p *Ports) {
	many := make([]push.Ordinal, push.MaxDirect)
	for i := range many {
		many[i] = push.Ordinal(3 * i)
	}
	for range 9 { // more rows than one read takes
		accept(t, p, direct(1, 24*time.Hour, many...))
	}
	accept(t, p, direct(2, 48*time.Hour, 4), direct(2, 72*time.Hour, 4, 5))
	type device struct {
		App push.AppID
		O   push.Ordinal
	}
	got := map[device]bool{}
	if err := p.Inbox.Waiting(t.Context(), func(app push.AppID, o push.Ordinal) { got[device{app, o}] = true }); err != nil {
		t.Fatal(err)
	}
	want := map[device]bool{{2, 4}: true, {2, 5}: true}
	for _, o := range many {
		want[device{1, o}] = true
	}
	same(t, "waiting", got, want)
}

func testFull(t *testing.T, p *Ports) {
	full := func(what string, app push.AppID, limit int, now time.Time, want int, devices ...push.Ordinal) {
		t.Helper()
		got, err := p.Inboxes.Full(t.Context(), app, devices, limit, now)
		if err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", what, got, err, want)
		}
	}
	full("before the first push", 1, 1, noon, 0, 1, 2)
	// 1 has three rows in two days, 2 has two, 3 has one that expires soon.
	accept(t, p, direct(1, 24*time.Hour, 1, 2), direct(1, 72*time.Hour, 1, 2), direct(1, 72*time.Hour, 1), direct(1, time.Minute, 3))
	full("as many as the limit", 1, 2, noon, 2, 1, 2, 3, 4)
	full("each counted once", 1, 3, noon, 1, 1, 1, 1)
	full("more than any has", 1, 4, noon, 0, 1, 2, 3)
	full("one row", 1, 1, noon, 3, 1, 2, 3, 4)
	full("of those that have not expired", 1, 1, noon.Add(time.Minute), 2, 1, 2, 3, 4)
	full("when a day is over", 1, 1, noon.Add(25*time.Hour), 2, 1, 2)
	full("another app", 2, 1, noon, 0, 1, 2, 3)
	full("a limit of nothing", 1, 0, noon, 4, 1, 2, 3, 4)
	full("nobody", 1, 1, noon, 0)
	many := make([]push.Ordinal, 3000)
	for i := range many {
		many[i] = push.Ordinal(i)
	}
	full("many", 1, 1, noon, 3, many...)
}

func testSweep(t *testing.T, p *Ports) {
	soon, later := direct(1, time.Minute, 1, 2, 3, 4, 5), direct(1, 72*time.Hour, 1)
	tomorrow := direct(1, 24*time.Hour, 6, 7)
	accept(t, p, soon, later, tomorrow)
	if n, err := p.Inbox.Sweep(t.Context(), noon.Add(time.Minute-time.Millisecond), 10); err != nil || n != 0 {
		t.Errorf("before anything expires: got %d, %v, want 0", n, err)
	}
	var counts []int
	now := noon.Add(25 * time.Hour)
	for {
		n, err := p.Inbox.Sweep(t.Context(), now, 2)
		if err != nil {
			t.Fatal(err)
		}
		counts = append(counts, n)
		if n < 2 {
			break
		}
	}
	same(t, "rows a sweep", counts, []int{2, 2, 2, 1})
	same(t, "marks", marked(p), map[push.Mark]int{push.MarkExpired: 7})
	same(t, "what is left", owed(t, p, 1, 1, noon), []push.ID{later.Push.ID})

	// A push that is stored after the sweep has passed its time is swept as well.
	late := direct(1, time.Minute, 1)
	accept(t, p, late)
	if n, err := p.Inbox.Sweep(t.Context(), now, 10); err != nil || n != 1 {
		t.Errorf("one that came late: got %d, %v, want 1", n, err)
	}
	// So is one that comes after a restart.
	p = p.Reopen(t)
	accept(t, p, direct(1, time.Minute, 2, 3))
	if n, err := p.Inbox.Sweep(t.Context(), noon.Add(100*time.Hour), 10); err != nil || n != 3 {
		t.Errorf("after a restart, and when the last has expired: got %d, %v, want 3", n, err)
	}
}

func testDays(t *testing.T, p *Ports) {
	// Made long ago, since Sweep looks at the clock only through its argument.
	a, b := direct(1, time.Hour, 1), bulk(1, push.Accepted, time.Hour)
	keep := direct(1, 20*24*time.Hour, 1)
	accept(t, p, a, b, keep)
	d := push.Delivery{ID: a.Push.ID, App: 1, Kind: push.Direct, Expires: a.Push.Expires}
	if err := p.Report.Fold(t.Context(), push.Fold{Outcomes: []push.Outcome{
		{Push: d.ID, Day: push.DayOf(d.Expires), Ordinal: 1, Marked: push.Marked(0).With(push.MarkSent)},
	}}); err != nil {
		t.Fatal(err)
	}
	sweep := func(now time.Time) {
		t.Helper()
		for n := 1; n > 0; {
			var err error
			if n, err = p.Inbox.Sweep(t.Context(), now, 100); err != nil {
				t.Fatal(err)
			}
		}
	}
	payload := func() (found []byte) {
		t.Helper()
		err := p.Bulk.Live(t.Context(), func(l push.Live) error { found = l.Payload; return nil })
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	same(t, "body of the bulk push", payload(), b.Payload)

	// The end of the day after the next: inbox and bodies have gone, reports have not.
	sweep(noon.Add(72 * time.Hour))
	same(t, "body after three days", payload(), nil)
	got, err := p.Record.Find(t.Context(), 1, d.ID)
	if err != nil {
		t.Fatalf("the push after three days: %v", err)
	}
	outcomes, err := p.Report.Outcomes(t.Context(), got)
	if err != nil || len(outcomes) != 1 {
		t.Errorf("its outcomes after three days: got %v, %v, want one", outcomes, err)
	}
	same(t, "the other push is still owed", owed(t, p, 1, 1, noon), []push.ID{keep.Push.ID})

	sweep(noon.Add(33 * 24 * time.Hour))
	_, err = p.Record.Find(t.Context(), 1, d.ID)
	fails(t, "the push after a month", err, push.NotFound, "")
	if _, err := p.Record.Find(t.Context(), 1, keep.Push.ID); err != nil {
		t.Errorf("the other push after a month: %v", err)
	}
	if _, err := p.Record.Find(t.Context(), 1, b.Push.ID); err != nil {
		t.Errorf("the bulk push after a month: %v", err)
	}
	// A receipt that comes then is logged, and its fold finds nothing to write.
	if err := p.Receipts.Receive(t.Context(), d.Receipt(1, push.MarkDelivered)); err != nil {
		t.Errorf("a receipt after a month: %v", err)
	}
	if err := p.Report.Fold(t.Context(), push.Fold{Outcomes: []push.Outcome{{Push: d.ID, Day: push.DayOf(d.Expires), Ordinal: 1, Marked: 1}}}); err != nil {
		t.Errorf("its fold: %v", err)
	}
	p = p.Reopen(t)
	if _, err := p.Record.Find(t.Context(), 1, keep.Push.ID); err != nil {
		t.Errorf("the other push after a restart: %v", err)
	}
}
