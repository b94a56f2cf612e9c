package audience_test

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/audience"
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// now is the time of all questions in these tests.
var now = time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)

// A model is an app as a map of rows: what the index is held against. It loops over devices.
type model struct {
	rows map[push.Ordinal]push.IndexRow
	tags map[push.TagID]string
}

func newModel() *model {
	return &model{rows: map[push.Ordinal]push.IndexRow{}, tags: map[push.TagID]string{}}
}

// apply says of a device what row says.
func (m *model) apply(row push.IndexRow) {
	if old, ok := m.rows[row.Ref.Ordinal]; ok && !old.Removed && !row.Removed && old.Ref.Generation == row.Ref.Generation {
		row.Active = max(row.Active, old.Active)
	}
	m.rows[row.Ref.Ordinal] = row
}

func (m *model) touch(day push.Day, devices *ordset.Set) {
	for o := range devices.All() {
		if r, ok := m.rows[o]; ok && !r.Removed {
			r.Active = max(r.Active, day)
			m.rows[o] = r
		}
	}
}

// where returns the registered devices for which ok is true, in order.
func (m *model) where(ok func(push.IndexRow) bool) []push.Ordinal {
	all := []push.Ordinal{}
	for o, r := range m.rows {
		if !r.Removed && ok(r) {
			all = append(all, o)
		}
	}
	slices.Sort(all)
	return all
}

// holds reports whether w holds for a device.
func (m *model) holds(r push.IndexRow, w push.Where) bool {
	is := func(w push.Where) bool { return m.holds(r, w) }
	switch w.Join {
	case push.JoinAnd:
		return !slices.ContainsFunc(w.Of, func(w push.Where) bool { return !is(w) })
	case push.JoinOr:
		return slices.ContainsFunc(w.Of, is)
	case push.JoinNot:
		return !is(w.Of[0])
	}
	switch l := w.Leaf.(type) {
	case push.WhereTag:
		return slices.ContainsFunc(r.Tags, func(t push.TagID) bool { return m.tags[t] == string(l) })
	case push.WhereAttr:
		return l.Holds(attribute(r, l.Name))
	case push.WherePlatform:
		return slices.Contains(l, r.Ref.Platform)
	case push.WhereWithin:
		day := map[push.DayEvent]push.Day{push.EventActive: r.Active, push.EventBound: r.Bound, push.EventUnbound: r.Unbound}[l.Event]
		return day != 0 && day >= push.DayOf(now.Add(-l.For))
	case push.WhereRegistered:
		t := time.Unix(r.Registered, 0)
		return (l.After.IsZero() || !t.Before(l.After)) && (l.Before.IsZero() || t.Before(l.Before))
	case push.WhereHas:
		for i, c := range push.TokenChannels() {
			if string(l) == push.HasToken+c {
				return r.Tokens&(1<<i) != 0
			}
		}
		return r.Phone
	case push.WhereFlag:
		switch l.Flag {
		case push.FlagTest:
			return r.Test == l.Value
		case push.FlagBlacklisted:
			return r.Blacklisted == l.Value
		}
		return isOnline(r.Ref.Ordinal) == l.Value
	case push.WhereAccount:
		return account(r.Ref.Ordinal) == l[0]
	}
	panic(fmt.Sprintf("no such leaf: %T", w.Leaf))
}

func attribute(r push.IndexRow, name string) string {
	for _, at := range r.Attributes {
		if at.Name == name {
			return at.Value
		}
	}
	return ""
}

// Who is online, and what accounts are logged in, follows from the ordinal. There are devices in these sets that are not
// registered.
func isOnline(o push.Ordinal) bool { return o%3 == 0 }

func account(o push.Ordinal) string { return "a" + strconv.Itoa(int(o%50)) }

// given returns what the index does not hold. Its sets are of devices of three chunks.
func given(l push.Leaf) (*ordset.Set, error) {
	switch l := l.(type) {
	case push.WhereFlag:
		if l.Flag == push.FlagOnline && l.Value {
			return givenSets()["online"], nil
		}
	case push.WhereAccount:
		return givenSets()[l[0]], nil
	}
	return nil, fmt.Errorf("asked for %T", l)
}

var givenSets = sync.OnceValue(func() map[string]*ordset.Set {
	sets := map[string]*ordset.Set{"online": new(ordset.Set)}
	for i := range push.Ordinal(60) {
		sets[account(i)] = new(ordset.Set)
	}
	for o := range push.Ordinal(3 << 16) {
		sets[account(o)].Add(o)
		if isOnline(o) {
			sets["online"].Add(o)
		}
	}
	return sets
})

func query(app push.AppID, w push.Where) audience.Query {
	return audience.Query{App: app, Where: w, Now: now, Given: given}
}

var (
	tagNames   = []string{"", "vip", "new", "gold", "old", "never"} // by id
	attributes = map[string][]string{
		"app_version": {"1.2", "1.9", "1.10", "2.0", "2.0.1"},
		"province":    {"浙江", "上海", "北京"},
		"age":         {"7", "17.5", "70", "old"},
		"level":       {"1"},
	}
	attributeNames = []string{"age", "app_version", "level", "province"}
)

func days() *rapid.Generator[push.Day] {
	return rapid.Custom(func(t *rapid.T) push.Day {
		if rapid.IntRange(0, 2).Draw(t, "never") == 0 {
			return 0
		}
		return push.DayOf(now) - push.Day(rapid.IntRange(0, 40).Draw(t, "days ago"))
	})
}

func ordinals() *rapid.Generator[push.Ordinal] {
	return rapid.Custom(func(t *rapid.T) push.Ordinal {
		return push.Ordinal(rapid.OneOf(rapid.Uint32Range(0, 40), rapid.Uint32Range(65_520, 65_560), rapid.Uint32Range(0, 2<<16)).Draw(t, "ordinal"))
	})
}

// rows draws devices of the apps 1 and 2.
func rows() *rapid.Generator[push.IndexRow] {
	return rapid.Custom(func(t *rapid.T) push.IndexRow {
		r := push.IndexRow{Ref: push.Ref{
			App: push.AppID(rapid.IntRange(1, 2).Draw(t, "app")), Ordinal: ordinals().Draw(t, "ordinal"),
			Generation: rapid.Uint8Range(1, 2).Draw(t, "generation"), Platform: rapid.SampledFrom(push.Platforms()).Draw(t, "platform"),
		}}
		if rapid.IntRange(0, 3).Draw(t, "secret was replaced") == 0 {
			r.Epoch = rapid.Uint32().Draw(t, "epoch")
		}
		if rapid.IntRange(0, 4).Draw(t, "removed") == 0 {
			r.Removed = true
			return r
		}
		marks := rapid.Uint8().Draw(t, "marks")
		r.Test, r.Blacklisted, r.Phone = marks&1 != 0, marks&2 != 0, marks&4 != 0
		r.Tokens = uint16(rapid.IntRange(0, 1<<len(push.TokenChannels())-1).Draw(t, "tokens"))
		r.Network = rapid.SampledFrom([]push.Network{"", push.WiFi, push.Mobile}).Draw(t, "network")
		r.Registered = now.Unix() - int64(rapid.IntRange(0, 10).Draw(t, "registered"))
		r.Active, r.Bound, r.Unbound = days().Draw(t, "active"), days().Draw(t, "bound"), days().Draw(t, "unbound")
		for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom(attributeNames), rapid.ID).Draw(t, "attributes") {
			r.Attributes = append(r.Attributes, push.Attribute{Name: name, Value: rapid.SampledFrom(attributes[name]).Draw(t, name)})
		}
		for id := range tagNames {
			if id > 0 && rapid.Bool().Draw(t, "tag") {
				r.Tags = append(r.Tags, push.TagID(id))
			}
		}
		return r
	})
}

func leaves() *rapid.Generator[push.Leaf] {
	return rapid.Custom(func(t *rapid.T) push.Leaf {
		switch rapid.IntRange(0, 8).Draw(t, "leaf") {
		case 0:
			return push.WhereTag(rapid.SampledFrom(append([]string{"unknown"}, tagNames[1:]...)).Draw(t, "tag"))
		case 1, 2:
			return attrs(t)
		case 3:
			return push.WherePlatform(rapid.SliceOfNDistinct(rapid.SampledFrom(push.Platforms()), 1, 3, rapid.ID).Draw(t, "platforms"))
		case 4:
			event := rapid.SampledFrom([]push.DayEvent{push.EventActive, push.EventBound, push.EventUnbound}).Draw(t, "event")
			return push.WhereWithin{Event: event, For: time.Duration(rapid.IntRange(1, 45).Draw(t, "days")) * 24 * time.Hour}
		case 5:
			var r push.WhereRegistered
			half := func(name string, from int) time.Time {
				return now.Add(-time.Duration(rapid.IntRange(from, from+12).Draw(t, name)) * time.Second / 2)
			}
			if rapid.Bool().Draw(t, "has after") {
				r.After = half("after", 12)
			}
			if r.After.IsZero() || rapid.Bool().Draw(t, "has before") {
				r.Before = half("before", -1)
			}
			return r
		case 6:
			return push.WhereHas(rapid.SampledFrom([]string{push.HasPhone, push.HasToken + "apns", push.HasToken + "webpush"}).Draw(t, "has"))
		case 7:
			flag := rapid.SampledFrom([]push.Flag{push.FlagTest, push.FlagBlacklisted, push.FlagOnline}).Draw(t, "flag")
			return push.WhereFlag{Flag: flag, Value: rapid.Bool().Draw(t, "value")}
		}
		return push.WhereAccount{account(push.Ordinal(rapid.Uint32Range(0, 60).Draw(t, "account")))}
	})
}

func attrs(t *rapid.T) push.Leaf {
	name := rapid.SampledFrom(append([]string{"unknown"}, attributeNames...)).Draw(t, "name")
	values := append([]string{"3", "1.5"}, attributes[name]...)
	op := rapid.SampledFrom([]push.Operator{
		push.OpIs, push.OpIsNot, push.OpBelow, push.OpAtMost, push.OpAbove, push.OpAtLeast, push.OpIn,
	}).Draw(t, "op")
	if op == push.OpIn {
		return push.WhereAttr{Name: name, Op: op, Values: rapid.SliceOfN(rapid.SampledFrom(values), 1, 4).Draw(t, "values")}
	}
	if op.Ordered() && !push.IsVersion(name) {
		values = slices.DeleteFunc(values, func(v string) bool { _, ok := push.ParseNumber(v); return !ok })
	}
	return push.WhereAttr{Name: name, Op: op, Values: []string{rapid.SampledFrom(values).Draw(t, "value")}}
}

// wheres draws expressions.
func wheres(depth int) *rapid.Generator[push.Where] {
	return rapid.Custom(func(t *rapid.T) push.Where {
		if depth == 0 {
			return push.Is(leaves().Draw(t, "leaf"))
		}
		part := wheres(depth - 1)
		switch rapid.IntRange(0, 5).Draw(t, "join") {
		case 0, 1:
			return push.And(rapid.SliceOfN(part, 1, 4).Draw(t, "and")...)
		case 2, 3:
			return push.Or(rapid.SliceOfN(part, 1, 4).Draw(t, "or")...)
		case 4:
			return push.Not(part.Draw(t, "not"))
		}
		return push.Is(leaves().Draw(t, "leaf"))
	})
}
