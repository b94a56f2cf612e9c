package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

func testTags(t *testing.T, p *Ports) {
	ctx := t.Context()
	one := push.Tag{App: 1, ID: 1, Name: "vip 客户", Created: noon}
	other := push.Tag{App: 2, ID: 1, Name: "vip 客户", Created: noon.Add(time.Hour)}
	for _, tag := range []push.Tag{other, one} {
		if err := p.Labels.AddTag(ctx, tag); err != nil {
			t.Fatal(err)
		}
	}
	fails(t, "a name that is taken", p.Labels.AddTag(ctx, push.Tag{App: 1, ID: 2, Name: one.Name}), push.Conflict, "tags")
	fails(t, "an id that is taken", p.Labels.AddTag(ctx, push.Tag{App: 1, ID: 1, Name: "x"}), push.Conflict, "tags")
	fails(t, "no name", p.Labels.AddTag(ctx, push.Tag{App: 1, Name: "x"}), push.Invalid, "tags")
	fails(t, "remove what is not there", p.Labels.RemoveTag(ctx, 1, 2, noon), push.NotFound, "")
	one.Removed = noon.Add(time.Minute)
	if err := p.Labels.RemoveTag(ctx, 1, 1, one.Removed); err != nil {
		t.Fatal(err)
	}
	fails(t, "remove again", p.Labels.RemoveTag(ctx, 1, 1, noon), push.NotFound, "")
	fails(t, "the id of a removed tag", p.Labels.AddTag(ctx, push.Tag{App: 1, ID: 1, Name: "x"}), push.Conflict, "tags")
	again := push.Tag{App: 1, ID: 2, Name: one.Name, Created: noon.Add(2 * time.Hour)}
	made := push.Tag{App: 1, ID: 3, Name: "made with a device", Created: noon}
	if err := p.Labels.AddTag(ctx, again); err != nil {
		t.Errorf("the name of a removed tag: %v", err)
	}
	if err := p.Devices.ChangeDevices(ctx, push.DeviceChange{App: 1, Add: []push.DeviceRow{device(1, 1)}, Tags: []push.Tag{made}}); err != nil {
		t.Fatal(err)
	}
	all, err := p.Reopen(t).Labels.Tags(ctx)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "all tags", all, []push.Tag{one, again, made, other})
}

// holders returns who has the names.
func holders(t *testing.T, p *Ports, app push.AppID, names push.Names) []push.Holder {
	t.Helper()
	all, err := p.Devices.Holders(t.Context(), app, names, 0)
	if err != nil {
		t.Fatalf("holders: %v", err)
	}
	return all
}

func testHolders(t *testing.T, p *Ports) {
	var rows []push.DeviceRow
	for o := range push.Ordinal(6) {
		d := device(1, o)
		d.Account, d.Phone = fmt.Sprintf("account %d", o/2), fmt.Sprintf("1380000000%d", o/3)
		rows = append(rows, d)
	}
	gone := device(1, 6)
	gone.Account, gone.Phone, gone.Removed = "account 0", "13800000000", noon
	nobody := device(1, 7)
	nobody.Account, nobody.Phone, nobody.PreviousID = "", "", ""
	add(t, p, append(rows, gone, nobody)...)
	add(t, p, device(2, 0))
	for _, e := range []push.AliasEdit{
		{Ordinal: 3, Op: push.Add, Alias: push.Alias{Value: "x"}},
		{Ordinal: 1, Op: push.Add, Alias: push.Alias{Value: "x"}},
		{Ordinal: 2, Op: push.Add, Alias: push.Alias{Type: "mail", Value: "x"}},
		{Ordinal: 1, Op: push.Add, Alias: push.Alias{Value: "y"}},
	} {
		if err := p.Devices.ChangeDevices(t.Context(), push.DeviceChange{App: 1, Aliases: []push.AliasEdit{e}}); err != nil {
			t.Fatal(err)
		}
	}
	many := make([]string, 1000)
	for i := range many {
		many[i] = fmt.Sprintf("account %d", 999-i)
	}
	for _, tt := range []struct {
		name  string
		app   push.AppID
		names push.Names
		want  []push.Holder
	}{
		{
			"an account, in order of ordinals", 1,
			push.Names{Kind: push.ByAccount, Values: []string{"account 1", "none", "account 0", "account 1"}},
			[]push.Holder{{Value: "account 1", Ordinal: 2}, {Value: "account 1", Ordinal: 3}, {Value: "account 0", Ordinal: 0}, {Value: "account 0", Ordinal: 1}},
		},
		{
			"a thousand accounts", 1,
			push.Names{Kind: push.ByAccount, Values: many},
			[]push.Holder{{Value: "account 2", Ordinal: 4}, {Value: "account 2", Ordinal: 5}, {Value: "account 1", Ordinal: 2}, {Value: "account 1", Ordinal: 3}, {Value: "account 0", Ordinal: 0}, {Value: "account 0", Ordinal: 1}},
		},
		{
			"a phone", 1,
			push.Names{Kind: push.ByPhone, Values: []string{"13800000001"}},
			[]push.Holder{{Value: "13800000001", Ordinal: 3}, {Value: "13800000001", Ordinal: 4}, {Value: "13800000001", Ordinal: 5}},
		},
		{
			"an earlier id", 1,
			push.Names{Kind: push.ByPrevious, Values: []string{"old 5 of 1", "old 6 of 1"}},
			[]push.Holder{{Value: "old 5 of 1", Ordinal: 5}},
		},
		{
			"an alias, the oldest owner first", 1,
			push.Names{Kind: push.ByAlias, Values: []string{"y", "x"}},
			[]push.Holder{{Value: "y", Ordinal: 1}, {Value: "x", Ordinal: 3}, {Value: "x", Ordinal: 1}},
		},
		{"an alias with a type", 1, push.Names{Kind: push.ByAlias, Type: "mail", Values: []string{"x", "y"}}, []push.Holder{{Value: "x", Ordinal: 2}}},
		{"another app", 2, push.Names{Kind: push.ByAccount, Values: []string{"account 0", "ann"}}, []push.Holder{{Value: "ann", Ordinal: 0}}},
		{"no name is nobody's", 1, push.Names{Kind: push.ByAccount, Values: []string{""}}, nil},
		{"what cannot be a name", 1, push.Names{Kind: push.ByPhone, Values: []string{"a\x00b", "\xff", "'; --"}}, nil},
		{"a type that cannot be one", 1, push.Names{Kind: push.ByAlias, Type: "\x00", Values: []string{"x"}}, nil},
		{"no values", 1, push.Names{Kind: push.ByPhone}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) { same(t, "holders", holders(t, p, tt.app, tt.names), tt.want) })
	}
	_, err := p.Devices.Holders(t.Context(), 1, push.Names{Values: []string{"x"}}, 0)
	fails(t, "no kind", err, push.Invalid, "kind")
}

// testHoldersLimit has names that many devices share, so that they are read page by page.
func testHoldersLimit(t *testing.T, p *Ports) {
	const n = 5000 // more than one read takes
	var rows []push.DeviceRow
	var edits []push.AliasEdit
	var ordinals []push.Ordinal
	for o := range push.Ordinal(n) {
		d := device(1, o)
		d.Account, d.Phone = "all", "1"
		if o%1000 == 999 {
			d.Account = "few"
		}
		rows = append(rows, d)
		edits = append(edits, edit(push.Add, n-1-o, "", "all"))
		ordinals = append(ordinals, o)
	}
	edits = append(edits, edit(push.Add, 3, "", "few"), edit(push.Add, 1, "", "few"))
	err := p.Devices.ChangeDevices(t.Context(), push.DeviceChange{App: 1, Add: rows, Aliases: edits})
	if err != nil {
		t.Fatal(err)
	}
	reversed := slices.Clone(ordinals)
	slices.Reverse(reversed)
	without := func(o push.Ordinal) bool { return o%1000 == 999 }
	all := slices.DeleteFunc(slices.Clone(ordinals), without)
	few := []push.Ordinal{999, 1999, 2999, 3999, 4999}
	for _, tt := range []struct {
		name  string
		names push.Names
		want  []push.Ordinal
	}{
		{"a phone", push.Names{Kind: push.ByPhone, Values: []string{"1", "2"}}, ordinals},
		{"accounts, the larger first", push.Names{Kind: push.ByAccount, Values: []string{"none", "all", "few", "all"}}, slices.Concat(all, few)},
		{"accounts, the larger last", push.Names{Kind: push.ByAccount, Values: []string{"few", "all"}}, slices.Concat(few, all)},
		{"aliases, the larger first", push.Names{Kind: push.ByAlias, Values: []string{"all", "few"}}, append(slices.Clone(reversed), 3, 1)},
		{"aliases, the larger last", push.Names{Kind: push.ByAlias, Values: []string{"few", "all"}}, append([]push.Ordinal{3, 1}, reversed...)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, limit := range []int{0, 1, 7, 4096, 4097, n + 1, n + 2, n + 3} {
				got, err := p.Devices.Holders(t.Context(), 1, tt.names, limit)
				if err != nil {
					t.Fatal(err)
				}
				var found []push.Ordinal
				for _, h := range got {
					found = append(found, h.Ordinal)
				}
				want := tt.want
				if limit > 0 {
					want = want[:min(limit, len(want))]
				}
				if !slices.Equal(found, want) {
					t.Errorf("limit %d: got %d holders, want %d, in order", limit, len(found), len(want))
				}
			}
		})
	}
}

// aliases returns the aliases of devices as texts.
func aliases(t *testing.T, p *Ports, app push.AppID, ordinals ...push.Ordinal) map[push.Ordinal][]string {
	t.Helper()
	all, err := p.Labels.Aliases(t.Context(), app, ordinals)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[push.Ordinal][]string{}
	for o, some := range all {
		for _, a := range some {
			texts[o] = append(texts[o], a.Type+":"+a.Value)
		}
	}
	return texts
}

// edit returns an edit of the alias value of a type.
func edit(op push.EditOp, o push.Ordinal, kind, value string) push.AliasEdit {
	return push.AliasEdit{Ordinal: o, Op: op, Alias: push.Alias{Type: kind, Value: value}}
}

// editAliases makes one change of edits.
func editAliases(t *testing.T, p *Ports, limits push.AliasLimits, edits ...push.AliasEdit) error {
	return p.Devices.ChangeDevices(t.Context(), push.DeviceChange{App: 1, Aliases: edits, Limits: limits, What: "aliases"})
}

func testAliases(t *testing.T, p *Ports) {
	addSome(t, p, 1, 4)
	steps := []struct {
		name  string
		edits []push.AliasEdit
		want  map[push.Ordinal][]string
	}{
		{"added, the oldest first", []push.AliasEdit{edit(push.Add, 0, "", "b"), edit(push.Add, 0, "", "a"), edit(push.Add, 1, "", "a")}, map[push.Ordinal][]string{0: {":b", ":a"}, 1: {":a"}}},
		{"added again, keeps its age", []push.AliasEdit{edit(push.Add, 0, "", "b")}, map[push.Ordinal][]string{0: {":b", ":a"}, 1: {":a"}}},
		{"put is the only owner", []push.AliasEdit{edit(push.Put, 2, "", "a")}, map[push.Ordinal][]string{0: {":b"}, 2: {":a"}}},
		{"of that type only", []push.AliasEdit{edit(push.Add, 0, "mail", "a"), edit(push.Put, 1, "mail", "b")}, map[push.Ordinal][]string{0: {":b", "mail:a"}, 1: {"mail:b"}, 2: {":a"}}},
		{"put where it is", []push.AliasEdit{edit(push.Put, 2, "", "a")}, map[push.Ordinal][]string{0: {":b", "mail:a"}, 1: {"mail:b"}, 2: {":a"}}},
		{"delete one, and one that is not there", []push.AliasEdit{edit(push.Delete, 0, "mail", "a"), edit(push.Delete, 3, "", "a")}, map[push.Ordinal][]string{0: {":b"}, 1: {"mail:b"}, 2: {":a"}}},
		{"done in order", []push.AliasEdit{edit(push.Add, 3, "", "z"), edit(push.Put, 1, "", "z"), edit(push.Add, 2, "", "z"), edit(push.Delete, 1, "", "z")}, map[push.Ordinal][]string{0: {":b"}, 1: {"mail:b"}, 2: {":a", ":z"}}},
		{"delete all, then one", []push.AliasEdit{edit(push.Delete, 2, "", ""), edit(push.Add, 2, "", "z"), edit(push.Add, 2, "", "a")}, map[push.Ordinal][]string{0: {":b"}, 1: {"mail:b"}, 2: {":z", ":a"}}},
		{"delete all", []push.AliasEdit{edit(push.Delete, 2, "", "")}, map[push.Ordinal][]string{0: {":b"}, 1: {"mail:b"}}},
	}
	for _, tt := range steps {
		t.Run(tt.name, func(t *testing.T) {
			if err := editAliases(t, p, push.AliasLimits{}, tt.edits...); err != nil {
				t.Fatal(err)
			}
			same(t, "aliases", aliases(t, p, 1, 0, 1, 2, 3, 3, 99), tt.want)
		})
	}
	same(t, "of another app", len(aliases(t, p, 2, 0, 1)), 0)
	fails(t, "no alias", editAliases(t, p, push.AliasLimits{}, edit(push.Add, 0, "", "a"), edit(push.Add, 0, "", "")), push.Invalid, "aliases[1]")
}

func testAliasLimits(t *testing.T, p *Ports) {
	addSome(t, p, 1, 4)
	limits := push.AliasLimits{PerDevice: 2, Devices: 3}
	well := []push.AliasEdit{edit(push.Add, 0, "", "a"), edit(push.Add, 1, "", "a"), edit(push.Add, 2, "", "a"), edit(push.Add, 0, "mail", "b")}
	if err := editAliases(t, p, limits, well...); err != nil {
		t.Fatal(err)
	}
	before := aliases(t, p, 1, 0, 1, 2, 3)
	fails(t, "a device too many", editAliases(t, p, limits, edit(push.Add, 3, "", "q"), edit(push.Add, 3, "", "a")), push.TooMany, "aliases[1]")
	fails(t, "an alias too many", editAliases(t, p, limits, edit(push.Add, 0, "", "c")), push.TooMany, "aliases[0]")
	fails(t, "put is one more of the device", editAliases(t, p, limits, edit(push.Put, 0, "", "c")), push.TooMany, "aliases[0]")
	same(t, "after that", aliases(t, p, 1, 0, 1, 2, 3), before)

	// What it has already is not too much, also where the limit has become less.
	if err := editAliases(t, p, push.AliasLimits{PerDevice: 1, Devices: 1}, well...); err != nil {
		t.Errorf("what is there: %v", err)
	}
	// Room that the same change makes is room.
	err := editAliases(t, p, limits, edit(push.Delete, 0, "mail", "b"), edit(push.Add, 0, "", "c"), edit(push.Delete, 1, "", "a"), edit(push.Add, 3, "", "a"))
	if err != nil {
		t.Errorf("room that is made: %v", err)
	}
	if err := editAliases(t, p, push.AliasLimits{Devices: 1}, edit(push.Put, 3, "", "a")); err != nil {
		t.Errorf("put makes room: %v", err)
	}
	same(t, "in the end", aliases(t, p, 1, 0, 1, 2, 3), map[push.Ordinal][]string{0: {":c"}, 3: {":a"}})
}

func testAliasEvict(t *testing.T, p *Ports) {
	addSome(t, p, 1, 5)
	limits := push.AliasLimits{PerDevice: 1, Devices: 2, Evict: true}
	for o := range push.Ordinal(3) {
		if err := editAliases(t, p, limits, edit(push.Add, o, "", "a")); err != nil {
			t.Fatal(err)
		}
	}
	same(t, "the oldest owner is out", aliases(t, p, 1, 0, 1, 2), map[push.Ordinal][]string{1: {":a"}, 2: {":a"}})
	if err := editAliases(t, p, limits, edit(push.Add, 1, "", "b"), edit(push.Add, 3, "", "b"), edit(push.Add, 3, "", "c")); err != nil {
		t.Fatal(err)
	}
	same(t, "and the oldest alias", aliases(t, p, 1, 0, 1, 2, 3), map[push.Ordinal][]string{1: {":b"}, 2: {":a"}, 3: {":c"}})
	feed := changes(t, p)
	same(t, "who was pushed out has a row", feed[5:], []string{
		"1/0 aliases", "1/1 aliases", "1/0 aliases", "1/2 aliases", "1/1 aliases", "1/3 aliases",
	})
	// Who ended it and came again is the newest, and who put it is as old as before, also within one change.
	for _, tt := range []struct {
		name  string
		edits []push.AliasEdit
		want  map[push.Ordinal][]string
	}{
		{"came again", []push.AliasEdit{edit(push.Delete, 1, "", "z"), edit(push.Add, 1, "", "z"), edit(push.Add, 3, "", "z")}, map[push.Ordinal][]string{1: {":z"}, 3: {":z"}}},
		{"put it", []push.AliasEdit{edit(push.Put, 1, "", "z"), edit(push.Add, 2, "", "z"), edit(push.Add, 3, "", "z")}, map[push.Ordinal][]string{2: {":z"}, 3: {":z"}}},
	} {
		limits := push.AliasLimits{Devices: 2, Evict: true}
		err := editAliases(t, p, limits, slices.Concat([]push.AliasEdit{
			edit(push.Delete, 1, "", ""), edit(push.Delete, 2, "", ""), edit(push.Delete, 3, "", ""),
			edit(push.Add, 1, "", "z"), edit(push.Add, 2, "", "z"),
		}, tt.edits)...)
		if err != nil {
			t.Fatal(err)
		}
		same(t, tt.name, aliases(t, p, 1, 1, 2, 3), tt.want)
	}
}

// testAliasModel makes random changes and compares with rules that are written down another way: one list of who has what,
// the oldest first.
func testAliasModel(t *testing.T, p *Ports) {
	const devices = 6
	addSome(t, p, 1, devices)
	random := rand.New(rand.NewPCG(3, 7))
	var model []push.AliasEdit // Op is not used
	without := func(list []push.AliasEdit, gone func(push.AliasEdit) bool) []push.AliasEdit {
		return slices.DeleteFunc(slices.Clone(list), gone)
	}
	apply := func(list []push.AliasEdit, e push.AliasEdit, l push.AliasLimits) ([]push.AliasEdit, bool) {
		mine := func(h push.AliasEdit) bool { return h.Ordinal == e.Ordinal }
		that := func(h push.AliasEdit) bool { return h.Alias == e.Alias }
		if e.Op == push.Delete {
			return without(list, func(h push.AliasEdit) bool { return mine(h) && (that(h) || e.Alias == push.Alias{}) }), true
		}
		if e.Op == push.Put {
			list = without(list, func(h push.AliasEdit) bool { return that(h) && !mine(h) })
		}
		if slices.ContainsFunc(list, func(h push.AliasEdit) bool { return mine(h) && that(h) }) {
			return list, true
		}
		list = append(slices.Clone(list), e)
		for _, rule := range []struct {
			most int
			same func(push.AliasEdit) bool
		}{{l.Devices, that}, {l.PerDevice, mine}} {
			for over := len(list) - len(without(list, rule.same)) - rule.most; rule.most > 0 && over > 0; over-- {
				if !l.Evict {
					return nil, false
				}
				i := slices.IndexFunc(list, rule.same)
				list = slices.Delete(list, i, i+1)
			}
		}
		return list, true
	}
	refused := 0
	for n := range 150 {
		l := push.AliasLimits{PerDevice: random.IntN(4), Devices: random.IntN(4), Evict: random.IntN(2) == 0}
		var edits []push.AliasEdit
		next, ok := model, true
		for range 1 + random.IntN(6) {
			e := edit(push.EditOp(1+random.IntN(3)), push.Ordinal(random.IntN(devices)), []string{"", "t"}[random.IntN(2)], string(rune('a'+random.IntN(3))))
			if e.Op == push.Delete && random.IntN(4) == 0 {
				e.Alias = push.Alias{}
			}
			edits = append(edits, e)
			if ok {
				next, ok = apply(next, e, l)
			}
		}
		err := editAliases(t, p, l, edits...)
		if ok != (err == nil) || err != nil && !errors.Is(err, push.TooMany) {
			t.Fatalf("change %d, %+v under %+v: got %v, want it done: %v", n, edits, l, err, ok)
		}
		if ok {
			model = next
		} else {
			refused++
		}
		want := map[push.Ordinal][]string{}
		for _, h := range model {
			want[h.Ordinal] = append(want[h.Ordinal], h.Alias.Type+":"+h.Alias.Value)
		}
		same(t, fmt.Sprintf("after change %d, %+v under %+v", n, edits, l), aliases(t, p, 1, 0, 1, 2, 3, 4, 5), want)
		if t.Failed() {
			return
		}
	}
	if refused == 0 || refused > 100 {
		t.Errorf("%d of 150 changes were refused: too few or too many to be a test", refused)
	}
}

func testAliasRemoved(t *testing.T, p *Ports) {
	addSome(t, p, 1, 3)
	if err := editAliases(t, p, push.AliasLimits{}, edit(push.Add, 0, "", "a"), edit(push.Add, 1, "", "a"), edit(push.Add, 0, "", "b")); err != nil {
		t.Fatal(err)
	}
	gone := device(1, 0)
	gone.Removed, gone.PreviousID = noon, ""
	// The place of the removed device is free in the same change.
	err := p.Devices.ChangeDevices(t.Context(), push.DeviceChange{
		App: 1, Save: []push.DeviceRow{gone}, Aliases: []push.AliasEdit{edit(push.Add, 2, "", "a")}, Limits: push.AliasLimits{Devices: 2}, What: "remove",
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "aliases", aliases(t, p, 1, 0, 1, 2), map[push.Ordinal][]string{1: {":a"}, 2: {":a"}})
	same(t, "holders", holders(t, p, 1, push.Names{Kind: push.ByAlias, Values: []string{"a", "b"}}), []push.Holder{{Value: "a", Ordinal: 1}, {Value: "a", Ordinal: 2}})
	next := device(1, 0)
	next.Ref.Generation = 2
	add(t, p, next)
	same(t, "aliases of a later generation", len(aliases(t, p, 1, 0)), 0)
	same(t, "the feed", changes(t, p)[3:], []string{"1/0 aliases", "1/1 aliases", "1/0 remove", "1/2 remove", "1/0 register"})
}
