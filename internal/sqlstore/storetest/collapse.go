package storetest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

func testCollapseDirect(t *testing.T, p *Ports) {
	const hour = time.Hour
	a := collapsing(direct(1, 24*hour, 1, 2, 3), "score")
	other, plain := collapsing(direct(1, 24*hour, 1, 2), "Score"), direct(1, 24*hour, 1, 2)
	elsewhere := collapsing(direct(2, 24*hour, 1, 2), "score")
	soon := collapsing(direct(1, time.Minute, 4), "score")
	accept(t, p, a, other, plain, elsewhere, soon)
	same(t, "nothing is dropped yet", receipts(p), nil)
	d := push.Delivery{ID: a.Push.ID, App: 1, Kind: push.Direct, Expires: a.Push.Expires}
	if err := p.Receipts.Receive(t.Context(), d.Receipt(3, push.MarkDelivered)); err != nil {
		t.Fatal(err)
	}
	// Another day, and an hour later: what has expired by then is not collapsed.
	b := at(collapsing(direct(1, 72*hour, 2, 3, 4, 5), "score"), noon.Add(hour))
	accept(t, p, finish(b.Push, b.Targets...))
	for o, want := range map[push.Ordinal][]push.ID{
		1: {a.Push.ID, other.Push.ID, plain.Push.ID}, 2: {other.Push.ID, plain.Push.ID, b.Push.ID}, 3: {b.Push.ID},
		4: {soon.Push.ID, b.Push.ID}, 5: {b.Push.ID},
	} {
		slices.Sort(want)
		same(t, "owed", owed(t, p, 1, o, noon), want)
	}
	same(t, "device 2 of another app", owed(t, p, 2, 2, noon), []push.ID{elsewhere.Push.ID})
	same(t, "receipts", receipts(p), []push.Receipt{d.Receipt(3, push.MarkDelivered), d.Receipt(2, push.MarkCollapsed)})
	p = p.Reopen(t)
	same(t, "after a restart", owed(t, p, 1, 5, noon), []push.ID{b.Push.ID})
}

// testCollapseAtOnce has many pushes with one id accepted at once: one of them waits, and all others are dropped once.
func testCollapseAtOnce(t *testing.T, p *Ports) {
	const n = 100
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if _, _, err := p.Record.Accept(t.Context(), collapsing(direct(1, 24*time.Hour, 1, 2), "x")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	first, second := owed(t, p, 1, 1, noon), owed(t, p, 1, 2, noon)
	if len(first) != 1 {
		t.Errorf("device 1 is owed %d of %d pushes, want one", len(first), n)
	}
	same(t, "device 2 and device 1", second, first)
	same(t, "marks", marked(p), map[push.Mark]int{push.MarkCollapsed: 2 * (n - 1)})
}

func testCollapseBulk(t *testing.T, p *Ports) {
	var all []*push.Acceptance
	for i := range 150 { // more than one read takes
		all = append(all, collapsing(direct(1, time.Duration(1+i%2)*24*time.Hour, push.Ordinal(2*i), push.Ordinal(2*i+1)), "x"))
	}
	except, other := collapsing(direct(1, 24*time.Hour, 1000), "x"), collapsing(direct(1, 24*time.Hour, 0), "y")
	elsewhere := collapsing(direct(2, 24*time.Hour, 0), "x")
	accept(t, p, append(all, except, other, elsewhere)...)
	d := push.Delivery{ID: all[3].Push.ID, App: 1, Kind: push.Direct, Expires: all[3].Push.Expires}
	if err := p.Receipts.Receive(t.Context(), d.Receipt(6, push.MarkDelivered)); err != nil {
		t.Fatal(err)
	}
	got, err := p.Inbox.Collapse(t.Context(), 1, "x", except.Push.ID, func(o push.Ordinal) bool { return o%2 == 0 })
	if err != nil {
		t.Fatal(err)
	}
	var want []push.Ordinal
	for o := push.Ordinal(0); o < 300; o += 2 {
		if o != 6 {
			want = append(want, o)
		}
	}
	same(t, "devices that had one", got, want)
	same(t, "marks", marked(p), map[push.Mark]int{push.MarkDelivered: 1, push.MarkCollapsed: 149})
	same(t, "device 0", owed(t, p, 1, 0, noon), []push.ID{other.Push.ID})
	same(t, "device 0 of another app", owed(t, p, 2, 0, noon), []push.ID{elsewhere.Push.ID})
	same(t, "a device that is not in", owed(t, p, 1, 1, noon), []push.ID{all[0].Push.ID})
	same(t, "the push itself", owed(t, p, 1, 1000, noon), []push.ID{except.Push.ID})
	got, err = p.Inbox.Collapse(t.Context(), 1, "x", except.Push.ID, func(o push.Ordinal) bool { return o%2 == 0 })
	if err != nil || len(got) != 0 {
		t.Errorf("again: got %v, %v, want nobody", got, err)
	}
	for _, id := range []string{"", "z", "x\x00", "\xff"} {
		got, err := p.Inbox.Collapse(t.Context(), 1, id, 0, func(push.Ordinal) bool { return true })
		if err != nil || len(got) != 0 {
			t.Errorf("the id %q: got %v, %v, want nobody", id, got, err)
		}
	}
}

func testCollapsedBy(t *testing.T, p *Ports) {
	minute := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }
	direct := func(n int, id string, targets ...push.Ordinal) *push.Acceptance {
		return at(collapsing(direct(1, 48*time.Hour, targets...), id), minute(n))
	}
	bulk := func(n int, id string) *push.Acceptance {
		a := at(bulk(1, push.Accepted, 48*time.Hour), noon)
		a.Push.Start = minute(n)
		return collapsing(a, id)
	}
	first := direct(0, "x", 1, 2, 3, 4)
	second, third := direct(10, "x", 1), direct(20, "x", 1, 2)
	between, late, never := bulk(15, "x"), bulk(30, "x"), bulk(12, "x")
	accept(t, p, first, second, third, between, late, never, direct(11, "y", 3), direct(12, "", 3))
	for _, a := range []*push.Acceptance{between, late} {
		if err := p.Bulk.Begin(t.Context(), push.Start{App: 1, ID: a.Push.ID, Target: chunks(t, 2, 3), Count: 2}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		of   *push.Acceptance
		o    push.Ordinal
		want push.ID
	}{
		{"the next direct push", first, 1, second.Push.ID},
		{"a bulk push that began before the next direct one", first, 2, between.Push.ID},
		{"only bulk pushes", first, 3, between.Push.ID},
		{"nobody", first, 4, 0},
		{"the second", second, 1, third.Push.ID},
		{"a bulk push by a direct one", between, 2, third.Push.ID},
		{"a bulk push by a bulk one", between, 3, late.Push.ID},
		{"the last", late, 3, 0},
	} {
		got, err := p.Pushes.CollapsedBy(t.Context(), found(t, p, tt.of.Push.ID), tt.o)
		if err != nil || got != tt.want {
			t.Errorf("%s: got %d, %v, want %d", tt.name, got, err, tt.want)
		}
	}
}
