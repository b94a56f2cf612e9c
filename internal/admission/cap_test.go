package admission_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/admission"
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

func TestCaps(t *testing.T) {
	settings := push.Settings{
		push.SettingCap: "3", push.SettingCapCategories: "news=1,ads=2", push.SettingCapBypass: "alarm",
	}
	for _, tt := range []struct {
		name  string
		rules []push.Rules // of pushes one after another; the last is what is asked for
		want  push.Mark
	}{
		{"the first", []push.Rules{{}}, 0},
		{"the third", []push.Rules{{}, {}, {}}, 0},
		{"the fourth", []push.Rules{{}, {}, {}, {}}, push.MarkCapped},
		{"a silent one after three", []push.Rules{{}, {}, {}, {Silent: true}}, 0},
		{"one after three silent ones", []push.Rules{{Silent: true}, {Silent: true}, {Silent: true}, {}}, 0},
		{"one that no cap holds for after three", []push.Rules{{}, {}, {}, {Category: "alarm"}}, 0},
		{"one after three that no cap holds for", []push.Rules{{Category: "alarm"}, {Category: "alarm"}, {Category: "alarm"}, {}}, 0},
		{"the second of a category", []push.Rules{{Category: "news"}, {Category: "news"}}, push.MarkCapped},
		{"one of another category", []push.Rules{{Category: "news"}, {Category: "ads"}}, 0},
		{"the third of another category", []push.Rules{{Category: "ads"}, {Category: "ads"}, {Category: "ads"}}, push.MarkCapped},
		{"all categories together", []push.Rules{{Category: "news"}, {Category: "ads"}, {Category: "else"}, {}}, push.MarkCapped},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, delivered := range []bool{true, false} {
				h := newHouse(settings)
				g := h.gate(t, noon)
				for i, r := range tt.rules {
					id, want := push.ID(i+1), push.Mark(0)
					if i == len(tt.rules)-1 {
						want = tt.want
						if got := g.Peek(noon, 1, 9, id, r); got != (push.Verdict{Drop: want}) {
							t.Errorf("peek: got %+v, want drop %d", got, want)
						}
					}
					if got := g.Admit(noon, 1, 9, id, r); got != (push.Verdict{Drop: want}) {
						t.Errorf("push %d, earlier ones delivered %v: got %+v, want drop %d", id, delivered, got, want)
					}
					if delivered && want == 0 {
						h.deliver(g, noon, id, 9)
					}
				}
				if got := g.Admit(noon, 1, 10, 99, push.Rules{Category: "news"}); got.Drop != 0 {
					t.Errorf("another device: got %+v", got)
				}
			}
		})
	}
}

func TestACopyCountsOnce(t *testing.T) {
	h := newHouse(push.Settings{push.SettingCap: "2"})
	g := h.gate(t, noon)
	for range 3 { // handed to a connection again and again
		if got := g.Admit(noon, 1, 9, 1, push.Rules{}); got.Drop != 0 {
			t.Fatalf("got %+v", got)
		}
	}
	for range 3 { // the device says so again and again
		h.deliver(g, noon, 1, 9)
	}
	if !room(g, noon, 9, "") {
		t.Error("one push counts twice")
	}
	h.deliver(g, noon, 1, 9)
	if got := g.Admit(noon, 1, 9, 1, push.Rules{}); got.Drop != 0 {
		t.Errorf("what was delivered is not let through again: %+v", got)
	}
	g.Admit(noon, 1, 9, 2, push.Rules{})
	if room(g, noon, 9, "") {
		t.Error("two pushes count once")
	}
}

func TestWhatIsDroppedGivesItsPlaceBack(t *testing.T) {
	for _, tt := range []struct {
		name string
		row  push.Receipt
		over push.State // of the push, as the record has it then
		want bool       // whether there is room again
	}{
		{"cancelled", receipt(1, 9, push.MarkCancelled), push.Cancelled, true},
		{"too large", receipt(1, 9, push.MarkTooLarge), push.Done, true},
		{"dropped on another device", receipt(1, 8, push.MarkExpired), push.Done, false},
		{"another push", receipt(2, 9, push.MarkExpired), push.Done, false},
		{"only sent", receipt(1, 9, push.MarkSent), push.Done, false},
		{"its first pass is complete", receipt(1, 0, push.MarkFinished), push.Done, false},
		{"the whole push is over", receipt(1, 0, push.MarkFinished), push.Expired, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(push.Settings{push.SettingCap: "1", push.SettingCapCategories: "news=1"})
			h.add(1, "news")
			g := h.gate(t, noon)
			g.Admit(noon, 1, 9, 1, push.Rules{Category: "news"})
			p := h.pushes[1]
			p.State = tt.over
			h.pushes[1] = p
			g.Counted(h.commit(noon, tt.row))
			if err := g.Save(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, category := range []string{"", "news"} {
				if got := room(g, noon, 9, category); got != tt.want {
					t.Errorf("category %q: got room %v, want %v", category, got, tt.want)
				}
			}
		})
	}
}

func TestADayIsTheApps(t *testing.T) {
	midnight := time.Date(2026, 11, 25, 16, 0, 0, 0, time.UTC) // in Shanghai
	h := newHouse(push.Settings{push.SettingCap: "1"})
	g := h.gate(t, noon)
	before := midnight.Add(-time.Second)
	g.Admit(before, 1, 1, 1, push.Rules{}) // delivered today
	h.deliver(g, before, 1, 1)
	g.Admit(before, 1, 2, 2, push.Rules{}) // delivered tomorrow
	if room(g, before, 1, "") || room(g, before, 2, "") {
		t.Error("there is room on the day itself")
	}
	if !room(g, midnight, 1, "") {
		t.Error("yesterday's delivery counts today")
	}
	if room(g, midnight, 2, "") {
		t.Error("a copy under way since yesterday does not count today")
	}
	h.deliver(g, midnight.Add(time.Second), 2, 2)
	if room(g, midnight.Add(time.Hour), 2, "") {
		t.Error("what was delivered today does not count today")
	}
	if !room(g, midnight.Add(24*time.Hour), 2, "") {
		t.Error("it counts tomorrow, too")
	}
}

func TestWhatWasNotAdmittedHereCounts(t *testing.T) {
	h := newHouse(push.Settings{push.SettingCap: "2", push.SettingCapCategories: "news=1"})
	h.add(1, "news")
	h.pushes[2] = push.Push{ID: 2, Request: push.Request{Message: push.Message{Data: []byte("1")}}}
	g := h.gate(t, noon)
	for range 2 {
		h.deliver(g, noon, 1, 9)
		h.deliver(g, noon, 2, 9) // silent
		h.deliver(g, noon, 3, 9) // gone
		if err := g.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if room(g, noon, 9, "news") {
		t.Error("the news do not count")
	}
	if !room(g, noon, 9, "") {
		t.Error("something counts twice, or what is silent or gone counts")
	}
	if h.finds != 3 {
		t.Errorf("the record was asked %d times for 3 pushes", h.finds)
	}
}

func TestCountsSurviveARestart(t *testing.T) {
	h := newHouse(push.Settings{push.SettingCap: "10"})
	for id := range push.ID(10) {
		h.add(id, "")
	}
	g := h.gate(t, noon)
	one := func(id push.ID) {
		g.Admit(noon, 1, 70_000, id, push.Rules{})
		h.deliver(g, noon, id, 70_000)
	}
	// count returns how many of device 70,000 count, by how many more fit.
	count := func(g *admission.Gate) int {
		n := 10
		for id := push.ID(1000); g.Admit(noon, 1, 70_000, id, push.Rules{}).Drop == 0; id++ {
			n--
		}
		return n
	}
	one(1)
	one(2)
	if err := g.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.deliver(g, noon, 2, 70_000) // again, after it was saved
	one(3)
	h.log = append(h.log, h.log[0]) // of what a log may say twice
	if got := count(h.gate(t, noon)); got != 3 {
		t.Errorf("after a restart with the whole log: got %d, want 3", got)
	}
	if err := g.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.log = nil // folded
	if got := count(h.gate(t, noon)); got != 3 {
		t.Errorf("after a restart without the log: got %d, want 3", got)
	}
	g = h.gate(t, noon)
	one(4)
	h.log = h.log[:0:0]
	if got := count(h.gate(t, noon)); got != 3 {
		t.Errorf("what was neither saved nor is in the log counts: got %d, want 3", got)
	}
}

func TestSaveWritesOnlyWhatChanged(t *testing.T) {
	h := newHouse(push.Settings{push.SettingCap: "3"})
	g := h.gate(t, noon)
	save := func() {
		t.Helper()
		if err := g.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	save()
	g.Counted(h.commit(noon, receipt(1, 1, push.MarkSent), receipt(1, 1, push.MarkOpened)))
	g.Admit(noon, 1, 1, 1, push.Rules{})
	save()
	if h.saves != 0 {
		t.Errorf("it wrote %d times though nothing counted", h.saves)
	}
	h.deliver(g, noon, 1, 1)
	h.fail = &push.Error{Kind: push.Unavailable}
	if err := g.Save(t.Context()); !errors.Is(err, push.Unavailable) {
		t.Errorf("got %v, want unavailable", err)
	}
	h.fail = nil
	save() // what failed is written again
	save()
	if h.saves != 1 || len(h.levels) != 1 || h.seq != 2 {
		t.Errorf("got %d saves of %d chunks up to row %d, want 1 of 1 up to 2", h.saves, len(h.levels), h.seq)
	}
	delete(h.apps, 1)
	h.deliver(g, noon, 2, 2)
	save()
	if h.saves != 1 {
		t.Error("it wrote what an app got that is gone")
	}
}

func TestLoadSaysWhatFailed(t *testing.T) {
	h := newHouse(push.Settings{push.SettingCap: "3"})
	h.commit(noon, receipt(1, 1, push.MarkDelivered))
	h.fail = &push.Error{Kind: push.Unavailable}
	if err := admission.New(h, h, nil).Load(t.Context(), h.unfolded); !errors.Is(err, push.Unavailable) {
		t.Errorf("got %v, want unavailable", err)
	}
	h.fail = nil
	h.levels["x"] = push.CapLevel{App: 1, Day: 1 << 20, Level: 1, Chunk: push.Chunk{Bits: []byte("no set")}}
	if err := admission.New(h, h, nil).Load(t.Context(), h.unfolded); err == nil {
		t.Error("bytes that are no set were loaded")
	}
}

func TestCapped(t *testing.T) {
	h := newHouse(push.Settings{push.SettingCap: "3", push.SettingCapCategories: "news=1", push.SettingCapBypass: "alarm"})
	g := h.gate(t, noon)
	admit := func(o push.Ordinal, delivered, under int, category string) {
		for i := range delivered + under {
			id := push.ID(1000*int(o) + i)
			g.Admit(noon, 1, o, id, push.Rules{Category: category})
			if i < delivered {
				h.deliver(g, noon, id, o)
			}
		}
	}
	admit(1, 3, 0, "")
	admit(2, 2, 1, "")
	admit(3, 0, 3, "")
	admit(4, 1, 1, "")
	admit(5, 1, 0, "news")
	admit(6, 0, 1, "news")
	admit(7, 2, 0, "")
	for category, want := range map[string]int{"": 3, "news": 5, "ads": 3, "alarm": 0} {
		if got := g.Capped(1, category, full(100)); got != want {
			t.Errorf("category %q: got %d, want %d", category, got, want)
		}
	}
	if got := g.Capped(1, "", ordset.Of(2, 4)); got != 1 {
		t.Errorf("of two devices: got %d, want 1", got)
	}
	if got := g.Capped(2, "", full(100)); got != 0 {
		t.Errorf("of an app that is not there: got %d, want 0", got)
	}
}

// Whatever happens, and with restarts in between, what was delivered on a day is never more than the cap, and a device that
// has less delivered and under way than the cap gets its next one.
func TestCapsHoldWhateverHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const devices, pushes = 3, 12
		most, news := rapid.IntRange(1, 3).Draw(t, "most"), rapid.IntRange(1, 3).Draw(t, "news")
		h := newHouse(push.Settings{push.SettingCap: fmt.Sprint(most), push.SettingCapCategories: fmt.Sprintf("news=%d", news)})
		category := func(id push.ID) string { return []string{"", "news", "ads"}[id%3] }
		for id := push.ID(1); id <= pushes; id++ {
			h.add(id, category(id))
		}
		now := noon
		load := func() *admission.Gate {
			g := admission.New(h, h, &admission.Options{Now: func() time.Time { return now }})
			if err := g.Load(t.Context(), h.unfolded); err != nil {
				t.Fatal(err)
			}
			return g
		}
		g := load()
		type pair struct {
			o  push.Ordinal
			id push.ID
		}
		zone := time.FixedZone("", 8*60*60)
		under, delivered := map[pair]bool{}, map[pair]push.Day{}
		used := func(o push.Ordinal, of string) (n int) {
			for p := range under {
				if p.o == o && (of == "" || category(p.id) == of) {
					n++
				}
			}
			for p, day := range delivered {
				if p.o == o && day == push.DayIn(now, zone) && (of == "" || category(p.id) == of) {
					n++
				}
			}
			return n
		}
		draw := func() pair {
			return pair{push.Ordinal(rapid.Uint32Range(0, devices-1).Draw(t, "device")), push.ID(rapid.Int64Range(1, pushes).Draw(t, "push"))}
		}
		t.Repeat(map[string]func(*rapid.T){
			"admit": func(t *rapid.T) {
				p := draw()
				_, was := delivered[p]
				want := was || under[p] || used(p.o, "") < most && (category(p.id) != "news" || used(p.o, "news") < news)
				got := g.Admit(now, 1, p.o, p.id, push.Rules{Category: category(p.id)}).Drop == 0
				if got != want {
					t.Fatalf("device %d, push %d: let through %v, want %v", p.o, p.id, got, want)
				}
				if got && !was {
					under[p] = true
				}
			},
			"deliver": func(t *rapid.T) {
				p := draw()
				if _, was := delivered[p]; !under[p] && !was {
					return
				}
				if under[p] {
					delete(under, p)
					delivered[p] = push.DayIn(now, zone)
				}
				h.deliver(g, now, p.id, p.o)
			},
			"drop": func(t *rapid.T) {
				p := draw()
				if !under[p] {
					return
				}
				delete(under, p)
				g.Counted(h.commit(now, receipt(p.id, p.o, push.MarkCollapsed)))
			},
			"save": func(t *rapid.T) {
				if err := g.Save(t.Context()); err != nil {
					t.Fatal(err)
				}
			},
			"restart": func(t *rapid.T) {
				g = load()
				clear(under) // they are owed still, and are asked for again
			},
			"a while passes": func(t *rapid.T) {
				// Until the end of the next day: later what is under way of a push that nobody hears of is given back.
				now = now.Add(time.Duration(rapid.IntRange(1, 6).Draw(t, "hours")) * time.Hour)
				if end := noon.Add(35 * time.Hour); now.After(end) {
					now = end
				}
			},
		})
	})
}

func TestCapsHoldUnderConcurrency(t *testing.T) {
	const devices, pushes, most, workers = 200, 40, 3, 8
	h := newHouse(push.Settings{push.SettingCap: fmt.Sprint(most), push.SettingQuietHours: "22:00-08:00"})
	for id := push.ID(1); id <= pushes; id++ {
		h.add(id, "")
	}
	g := h.gate(t, noon)
	var through [devices]atomic.Int32
	rows := make(chan push.Logged, 1024)
	var seq atomic.Int64
	var senders, others sync.WaitGroup
	done := make(chan struct{})
	others.Go(func() { // the record, in order
		for row := range rows {
			row.Seq = seq.Add(1)
			g.Counted(row)
		}
	})
	others.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				if err := g.Save(t.Context()); err != nil {
					t.Error(err)
				}
				g.Released(noon, func(push.AppID, push.Ordinal) {})
				g.Capped(1, "", full(devices))
				g.Idle(1, push.Rules{})
			}
		}
	})
	for w := range workers {
		senders.Go(func() {
			// Every push goes to every device, from two workers at once.
			for id := push.ID(1 + w/2); id <= pushes; id += workers / 2 {
				for o := range push.Ordinal(devices) {
					g.Peek(noon, 1, o, id, push.Rules{})
					if g.Admit(noon, 1, o, id, push.Rules{}).Drop == 0 {
						if w%2 == 0 {
							through[o].Add(1)
						}
						rows <- push.Logged{At: noon, Receipts: []push.Receipt{receipt(id, o, push.MarkDelivered)}}
					}
				}
			}
		})
	}
	senders.Wait()
	close(rows)
	close(done)
	others.Wait()
	got := make([]int32, devices)
	for o := range got {
		got[o] = through[o].Load()
	}
	if slices.Max(got) > most || g.Capped(1, "", full(devices)) != devices {
		t.Errorf("got at most %d a device, and %d of %d at their cap; want %d, all", slices.Max(got), g.Capped(1, "", full(devices)), devices, most)
	}
}

func TestWhatNobodyHearsOfIsForgotten(t *testing.T) {
	h := newHouse(push.Settings{push.SettingCap: "1"})
	g := h.gate(t, noon)
	g.Admit(noon, 1, 9, 1, push.Rules{}) // and then the push's day is dropped whole: no receipt tells of it
	for days, want := range []bool{false, false, true} {
		now := noon.AddDate(0, 0, days)
		g.Admit(now, 1, 8, push.ID(10+days), push.Rules{})
		if got := room(g, now, 9, ""); got != want {
			t.Errorf("after %d days: got room %v, want %v", days, got, want)
		}
	}
	h.deliver(g, noon.AddDate(0, 0, 2), 1, 9)
	if !room(g, noon.AddDate(0, 0, 2), 9, "") {
		t.Error("what may have counted long ago counts again")
	}
}

// However many pushes an app sends, what is remembered of them is bounded; the newest are remembered, and what is under way.
func TestManyPushes(t *testing.T) {
	const n = 150_000
	h := newHouse(push.Settings{push.SettingCap: "1000"})
	g := h.gate(t, noon)
	g.Admit(noon, 1, 1, 1, push.Rules{}) // under way all the time
	for id := push.ID(2); id <= n; id++ {
		o := push.Ordinal(id)
		g.Admit(noon, 1, o, id, push.Rules{})
		g.Counted(push.Logged{Seq: int64(id), At: noon, Receipts: []push.Receipt{receipt(id, o, push.MarkDelivered)}})
	}
	if most := 1 << 17; g.Remembered(1) > most {
		t.Errorf("it remembers %d pushes, want at most %d", g.Remembered(1), most)
	}
	h.set(push.Settings{push.SettingCap: "2"})
	for id := range push.ID(n) { // all receipts again: of the forgotten ones nobody knows any more that they counted
		id++
		g.Counted(push.Logged{Seq: int64(n + id), At: noon, Receipts: []push.Receipt{receipt(id, push.Ordinal(id), push.MarkDelivered)}})
	}
	if err := g.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := g.Capped(1, "", full(n+1)); got != 0 {
		t.Errorf("%d devices have got two notifications, though each got one", got)
	}
}
