package storetest

import (
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

func testCaps(t *testing.T, p *Ports) {
	ctx := t.Context()
	caps := func(what string, from push.Day, seq int64, want ...push.CapLevel) {
		t.Helper()
		got, levels, err := p.Caps.Caps(ctx, from)
		if err != nil || got != seq {
			t.Errorf("%s: got sequence %d, %v, want %d", what, got, err, seq)
		}
		same(t, what, levels, want)
	}
	save := func(seq int64, levels ...push.CapLevel) {
		t.Helper()
		if err := p.Caps.SaveCaps(ctx, seq, levels); err != nil {
			t.Fatal(err)
		}
	}
	caps("at first", 0, 0)
	today := push.DayOf(noon)
	set, larger := chunks(t, 1, 70_000), chunks(t, 1, 2)
	level := func(day push.Day, category string, n int, c push.Chunk) push.CapLevel {
		return push.CapLevel{App: 1, Day: day, Category: category, Level: n, Chunk: c}
	}
	before, a, b, c := level(today-1, "", 1, set[0]), level(today, "", 1, set[0]), level(today, "", 1, set[1]), level(today, "ads", 2, set[0])
	save(7, before, a, b, c)
	p = p.Reopen(t)
	caps("after a restart", today-1, 7, before, a, b, c)
	caps("from today on", today, 7, a, b, c)
	a.Chunk = larger[0]
	save(9, level(today, "", 1, set[1]), level(today, "", 1, set[0]), a) // the last of one chunk counts
	save(12)
	caps("a chunk in the place of another", today, 12, a, b, c)

	sweep(t, p, noon.Add(24*time.Hour))
	caps("when a day is over everywhere", 0, 12, a, b, c)
}

func deviceDays(t *testing.T, p *Ports, from, to push.Day) []push.DeviceDay {
	t.Helper()
	all, err := p.Activity.DeviceDays(t.Context(), 1, from, to)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func testDeviceDays(t *testing.T, p *Ports) {
	ctx := t.Context()
	change := func(day push.Day, add, save []push.DeviceRow) error {
		app := append(add[:len(add):len(add)], save...)[0].App
		return p.Devices.ChangeDevices(ctx, push.DeviceChange{App: app, Add: add, Save: save, What: "register", Today: day})
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	row := func(o push.Ordinal, removed bool) push.DeviceRow {
		d := device(1, o)
		if removed {
			d.Removed = noon
		}
		return d
	}
	const day = push.Day(20_000)
	same(t, "of nothing", deviceDays(t, p, day, day), []push.DeviceDay{{Day: day.Date()}})
	must(change(day, []push.DeviceRow{row(1, false), row(2, false), row(3, true)}, nil)) // one is removed from the start
	must(change(day, []push.DeviceRow{row(4, false)}, []push.DeviceRow{row(1, false), row(2, true)}))
	fails(t, "a change that is refused", change(day, []push.DeviceRow{row(1, false)}, nil), push.Conflict, "ordinal")
	must(change(day+2, nil, []push.DeviceRow{row(1, true), row(2, true), row(3, true)})) // two of them are removed already
	again := row(2, false)
	again.Ref.Generation++
	must(change(day+3, []push.DeviceRow{again}, nil))
	must(change(0, []push.DeviceRow{row(9, false)}, nil))
	must(change(day, []push.DeviceRow{device(2, 1)}, nil)) // another app's
	must(p.Activity.PutDeviceDay(ctx, 1, day+2, 5, 3, chunks(t, 1, 2, 3)))
	p = p.Reopen(t)
	want := []push.DeviceDay{
		{},
		{New: 3, Removed: 1, Total: 2, Cumulative: 3},
		{Total: 2, Cumulative: 3},
		{Removed: 1, Total: 1, Cumulative: 3, Active: 3, OnlinePeak: 5},
		{New: 1, Total: 2, Cumulative: 4},
		{Total: 2, Cumulative: 4},
	}
	for i := range want {
		want[i].Day = (day - 1 + push.Day(i)).Date()
	}
	same(t, "the days", deviceDays(t, p, day-1, day+4), want)
	same(t, "some of them, with all sums", deviceDays(t, p, day+2, day+3), want[3:5])
	same(t, "none", deviceDays(t, p, day, day-1), nil)
}

func testActiveOn(t *testing.T, p *Ports) {
	ctx := t.Context()
	active := func(what string, app push.AppID, day push.Day, peak int, want []push.Chunk) {
		t.Helper()
		got, chunks, err := p.Activity.ActiveOn(ctx, app, day)
		if err != nil || got != peak {
			t.Errorf("%s: got a peak of %d, %v, want %d", what, got, err, peak)
		}
		same(t, what, chunks, want)
	}
	put := func(app push.AppID, day push.Day, peak, n int, chunks []push.Chunk) {
		t.Helper()
		if err := p.Activity.PutDeviceDay(ctx, app, day, peak, n, chunks); err != nil {
			t.Fatal(err)
		}
	}
	today := push.DayOf(noon)
	active("at first", 1, today, 0, nil)
	set, larger := chunks(t, 1, 70_000), chunks(t, 1, 2)
	put(1, today, 4, 2, set)
	put(1, today, 3, 3, larger) // a peak never falls
	put(2, today, 1, 1, set[:1])
	put(99, today, 1, 1, set) // of no app
	p = p.Reopen(t)
	active("today", 1, today, 4, []push.Chunk{larger[0], set[1]})
	active("of another app", 2, today, 1, set[:1])
	active("of no app", 99, today, 0, nil)
	active("yesterday", 1, today-1, 0, nil)

	sweep(t, p, noon.Add(2*24*time.Hour))
	active("while it may not be over by a day", 1, today, 4, []push.Chunk{larger[0], set[1]})
	sweep(t, p, noon.Add(3*24*time.Hour))
	active("when it is: the peak is kept", 1, today, 4, nil)
	same(t, "and the numbers", deviceDays(t, p, today, today), []push.DeviceDay{{Day: today.Date(), Active: 3, OnlinePeak: 4}})
}
