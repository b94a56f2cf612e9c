package audience_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/audience"
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// world is an index of two apps and what it is held against. Tag 5 was removed.
type world struct {
	index  *audience.Index
	models map[push.AppID]*model
}

func newWorld() world {
	w := world{new(audience.Index), map[push.AppID]*model{1: newModel(), 2: newModel()}}
	for app, m := range w.models {
		for id, name := range tagNames {
			if id > 0 && id < 5 {
				w.index.AddTag(app, push.TagID(id), name)
				m.tags[push.TagID(id)] = name
			}
		}
	}
	return w
}

func (w world) apply(r push.IndexRow) {
	w.index.Apply(r)
	w.models[r.Ref.App].apply(r)
}

// crowd fills a world with many devices that follow from a seed, so that sets take all their forms.
func crowd(seed, n uint32) world {
	w := newWorld()
	for i := range n {
		h := (i + seed) * 2654435761
		pick := func(shift, n uint32) uint32 { return h >> shift % n }
		r := push.IndexRow{Ref: push.Ref{App: 1, Ordinal: push.Ordinal(i), Generation: 1, Platform: push.Platform(1 + pick(3, 5)*pick(4, 2)*3/4)}}
		r.Registered = now.Unix() - int64(n-i)/1000
		r.Test, r.Phone, r.Blacklisted = pick(5, 200) == 0, pick(7, 3) == 0, pick(9, 50) == 0
		r.Tokens = uint16(1 << pick(6, 4))
		r.Active = push.DayOf(now) - push.Day(pick(8, 40)*pick(2, 3))
		if pick(11, 4) == 0 {
			r.Bound = push.DayOf(now) - push.Day(pick(9, 40))
		}
		for j, name := range attributeNames {
			if values := attributes[name]; pick(uint32(j), 7) != 0 {
				r.Attributes = append(r.Attributes, push.Attribute{Name: name, Value: values[pick(uint32(2+j), uint32(len(values)))]})
			}
		}
		for id := range tagNames[1:] {
			if pick(uint32(id), uint32(3+id*id*40)) == 0 {
				r.Tags = append(r.Tags, push.TagID(id+1))
			}
		}
		w.apply(r)
	}
	return w
}

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// ask compares what the index answers with what the model does.
func (w world) ask(t failer, app push.AppID, where push.Where) {
	t.Helper()
	m := w.models[app]
	want := m.where(func(r push.IndexRow) bool { return m.holds(r, where) })
	got, err := w.index.Select(query(app, where))
	if err != nil {
		t.Fatalf("Select: %v", err)
	}
	json, _ := where.MarshalJSON()
	if all := list(got); !slices.Equal(all, want) {
		t.Fatalf("app %d, %s: got %d devices, want %d: %s", app, json, len(all), len(want), difference(all, want))
	}
	n, err := w.index.Count(query(app, where))
	if err != nil || n != len(want) {
		t.Fatalf("app %d, %s: Count = %d, %v, want %d", app, json, n, err, len(want))
	}
}

func difference(got, want []push.Ordinal) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("at %d: got %d, want %d", i, got[i], want[i])
		}
	}
	return "one is longer"
}

func list(s *ordset.Set) []push.Ordinal { return slices.AppendSeq([]push.Ordinal{}, s.All()) }

func TestAnswersAreThoseOfALoop(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		for _, r := range rapid.SliceOfN(rows(), 0, 80).Draw(t, "rows") {
			w.apply(r)
		}
		for _, where := range rapid.SliceOfN(wheres(3), 1, 8).Draw(t, "questions") {
			w.ask(t, 1, where)
			w.ask(t, 2, where)
		}
	})
}

func TestAnswersAreThoseOfALoopInACrowd(t *testing.T) {
	w := crowd(3, 70_000)
	rapid.Check(t, func(t *rapid.T) {
		for _, r := range rapid.SliceOfN(rows(), 0, 5).Draw(t, "changes") {
			w.apply(r)
		}
		w.ask(t, 1, wheres(3).Draw(t, "question"))
	})
}

func TestUnknownAppIsEmpty(t *testing.T) {
	x := new(audience.Index)
	w := push.Not(push.Is(push.WhereTag("vip")))
	s, err := x.Select(query(9, w))
	if err != nil || !s.Empty() {
		t.Errorf("Select = %d devices, %v", s.Len(), err)
	}
	if n, err := x.Count(query(9, w)); n != 0 || err != nil {
		t.Errorf("Count = %d, %v", n, err)
	}
	if err := x.Check(9, w); err != nil {
		t.Errorf("Check = %v", err)
	}
}

// Deep and wide expressions are neither slow nor wrong.
func TestLargeExpressions(t *testing.T) {
	w := crowd(1, 20_000)
	deep := push.Is(push.WhereTag("vip"))
	for i := range push.MaxWhereNodes - 1 {
		if i%2 == 0 {
			deep = push.Not(deep)
		}
	}
	chain := push.Is(push.WhereFlag{Flag: push.FlagTest, Value: true})
	for i := range 1000 {
		leaf := push.Is(push.WhereTag(tagNames[1+i%4]))
		if i%2 == 0 {
			chain = push.And(push.Not(chain), leaf)
		} else {
			chain = push.Or(chain, push.Not(leaf))
		}
	}
	wide := make([]push.Where, 2000)
	for i := range wide {
		wide[i] = push.Not(push.Is(push.WhereAttr{Name: "age", Op: push.OpIs, Values: []string{fmt.Sprint(i)}}))
	}
	for _, where := range []push.Where{deep, chain, push.And(wide...), push.Or(wide...)} {
		if err := where.Validate(); err != nil {
			t.Fatal(err)
		}
		w.ask(t, 1, where)
	}
}

func TestWhatIsGivenFails(t *testing.T) {
	w := crowd(1, 10)
	failure := &push.Error{Kind: push.NotFound, Field: "reached", Msg: "no such push"}
	q := query(1, push.And(push.Is(push.WhereTag("vip")), push.Not(push.Is(push.WherePush{Push: 4, Mark: push.MarkDelivered}))))
	q.Given = func(push.Leaf) (*ordset.Set, error) { return nil, failure }
	_, err := w.index.Select(q)
	var e *push.Error
	if !errors.Is(err, push.NotFound) || !errors.As(err, &e) || e.Field != "and[1].not.reached" {
		t.Errorf("got %v, want NotFound at and[1].not.reached", err)
	}
}

// A set that is given is asked for once, however many goroutines work, and devices in it that are not registered do not
// count, whatever is negated.
func TestGivenSets(t *testing.T) {
	w := crowd(1, 66_000)
	for _, r := range []push.Ordinal{0, 3, 65_537} {
		w.apply(push.IndexRow{Ref: push.Ref{App: 1, Ordinal: r, Generation: 1}, Removed: true})
	}
	online := push.Is(push.WhereFlag{Flag: push.FlagOnline, Value: true})
	offline := push.Is(push.WhereFlag{Flag: push.FlagOnline})
	vip := push.Is(push.WhereTag("vip"))
	for _, where := range []push.Where{
		online, offline, push.Not(online), push.Or(online, vip), push.And(online, vip), push.And(offline, vip),
		push.Or(offline, vip), push.Or(online, vip, push.Is(push.WhereAttr{Name: "app_version", Op: push.OpAbove, Values: []string{"1"}})), push.And(push.Not(online), push.Not(vip)), push.Or(push.Not(offline), push.Not(vip)),
	} {
		w.ask(t, 1, where)
	}
	q, asked := query(1, push.And(online, vip)), 0
	q.Given = func(l push.Leaf) (*ordset.Set, error) { asked++; return given(l) }
	if _, err := w.index.Select(q); err != nil || asked != 1 {
		t.Errorf("the set was asked for %d times (%v), want once", asked, err)
	}
}

func TestSetsBelongToTheCaller(t *testing.T) {
	w := crowd(1, 1000)
	everybody := push.Not(push.Is(push.WhereTag("unknown")))
	mine, err := w.index.Select(query(1, everybody))
	if err != nil {
		t.Fatal(err)
	}
	mine.Add(1 << 20)
	w.ask(t, 1, everybody)
	before := list(mine)
	w.apply(push.IndexRow{Ref: push.Ref{App: 1, Ordinal: 4, Generation: 1}, Removed: true})
	if diff := cmp.Diff(before, list(mine)); diff != "" {
		t.Errorf("a set changed after it was given out (-before +after):\n%s", diff)
	}
}
