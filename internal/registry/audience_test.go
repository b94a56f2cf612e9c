package registry_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// A crowd is four devices: 0 to 2 of Android, of which 2 was imported, and 3 of iOS, imported too.
func crowd(t testing.TB) (*house, []push.Registered) {
	h := newHouse(t)
	card := h.app(t, "demo")
	all := []push.Registered{h.device(t, card, "0"), h.device(t, card, "1")}
	for i, d := range h.imports(t, push.Import{PreviousID: "old-2"}, push.Import{PreviousID: "333", Platform: push.IOS}) {
		ref, ok := h.Find(1, push.Ordinal(i+2))
		if !ok {
			t.Fatalf("no device %d", i+2)
		}
		all = append(all, push.Registered{DeviceID: d.Device, ChannelID: h.keys.ChannelID(ref), Ref: ref})
	}
	edit := func(i int, e push.LabelEdit) {
		e.Op = push.Add
		if _, err := h.EditLabels(t.Context(), all[i].Ref, e); err != nil {
			t.Fatal(err)
		}
	}
	alias := []push.Alias{{Type: "uid", Value: "shared"}}
	edit(3, push.LabelEdit{Aliases: alias, Account: ptr("ann")})
	edit(1, push.LabelEdit{Aliases: append(alias, push.Alias{Type: "uid", Value: "one"}), Account: ptr("ann"), Tags: []string{"vip"}})
	edit(0, push.LabelEdit{Aliases: []push.Alias{{Value: "shared"}}, Account: ptr("bob")})
	return h, all
}

func TestResolveNames(t *testing.T) {
	h, all := crowd(t)
	if _, err := h.Patch(t.Context(), all[1].Ref, push.DevicePatch{Test: ptr(true), Blacklisted: ptr(true)}); err != nil {
		t.Fatal(err)
	}
	uid := func(values ...string) push.Audience {
		return push.Audience{Aliases: &push.Aliases{Type: "uid", Values: values}}
	}
	ios := func(a push.Audience) push.Audience { a.Platforms = []push.Platform{push.IOS}; return a }
	for _, tt := range []struct {
		name    string
		a       push.Audience
		limit   int
		want    []push.Ordinal
		unknown int
		more    bool
	}{
		{"ids of an earlier provider, and ours", push.Audience{Devices: []string{"333", string(all[0].DeviceID), "x", "old-2", string(all[2].ChannelID)}}, 1000, []push.Ordinal{3, 0, 2}, 1, false},
		{"an alias, oldest owner first", uid("shared"), 1000, []push.Ordinal{3, 1}, 0, false},
		{"aliases, each device once", uid("one", "nobody", "shared", "nobody"), 1000, []push.Ordinal{1, 3}, 1, false},
		{"an untyped alias", push.Audience{Aliases: &push.Aliases{Values: []string{"shared", "one"}}}, 1000, []push.Ordinal{0}, 1, false},
		{"accounts", push.Audience{Accounts: []string{"bob", "ann", "eve"}}, 1000, []push.Ordinal{0, 1, 3}, 1, false},
		{"as many as may be", push.Audience{Accounts: []string{"bob", "ann"}}, 3, []push.Ordinal{0, 1, 3}, 0, false},
		{"one more than may be", push.Audience{Accounts: []string{"bob", "ann", "eve"}}, 2, nil, 0, true},
		{"of one platform", ios(uid("shared", "one", "nobody")), 1000, []push.Ordinal{3}, 1, false},
		{"an id of another platform", ios(push.Audience{Devices: []string{"old-2", "333"}}), 1000, []push.Ordinal{3}, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.a.Validate(); err != nil {
				t.Fatal(err)
			}
			devices, unknown, more, err := h.Resolve(t.Context(), 1, tt.a, tt.limit)
			var got []push.Ordinal
			for _, d := range devices {
				if ref, ok := h.Find(1, d.Ordinal); !ok || ref != d.Ref || d.Test != (d.Ordinal == 1) || d.Blacklisted != (d.Ordinal == 1) {
					t.Errorf("device %+v", d)
				}
				got = append(got, d.Ordinal)
			}
			if err != nil || !slices.Equal(got, tt.want) || unknown != tt.unknown || more != tt.more {
				t.Errorf("Resolve = %v, %d unknown, more %v, %v, want %v, %d, %v", got, unknown, more, err, tt.want, tt.unknown, tt.more)
			}
			if more {
				return
			}
			set, unknown, err := h.Target(t.Context(), 1, tt.a)
			if err != nil || !slices.Equal(slices.Collect(set.All()), slices.Sorted(slices.Values(tt.want))) || unknown != tt.unknown {
				t.Errorf("Target = %v, %d unknown, %v", slices.Collect(set.All()), unknown, err)
			}
		})
	}
}

// Of several names of a device the first counts, and it is said that there are others.
func TestResolveTellsByWhichName(t *testing.T) {
	h, all := crowd(t)
	id, channel := string(all[0].DeviceID), string(all[0].ChannelID)
	type named struct {
		Ordinal push.Ordinal
		Name    string
		Merged  bool
	}
	for _, tt := range []struct {
		name string
		a    push.Audience
		want []named
	}{
		{"one device by one name", push.Audience{Devices: []string{channel}}, []named{{0, channel, false}}},
		{"the same name twice", push.Audience{Devices: []string{id, id}}, []named{{0, id, false}}},
		{"two names of one device", push.Audience{Devices: []string{channel, "333", id}}, []named{{0, channel, true}, {3, "333", false}}},
		{"an alias that two devices have", push.Audience{Aliases: &push.Aliases{Type: "uid", Values: []string{"shared"}}}, []named{{3, "shared", false}, {1, "shared", false}}},
		{"two aliases, which one device has", push.Audience{Aliases: &push.Aliases{Type: "uid", Values: []string{"one", "shared"}}}, []named{{1, "one", true}, {3, "shared", false}}},
		{"accounts", push.Audience{Accounts: []string{"bob", "ann"}}, []named{{0, "bob", false}, {1, "ann", false}, {3, "ann", false}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			devices, _, _, err := h.Resolve(t.Context(), 1, tt.a, 1000)
			var got []named
			for _, d := range devices {
				got = append(got, named{d.Ordinal, d.Name, d.Merged})
			}
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func TestTargets(t *testing.T) {
	h, all := crowd(t)
	h.pushes = map[push.ID]*ordset.Set{7: ordset.Of(0, 1, 77)}
	h.Presence(all[3].Ref, true)
	h.Presence(all[1].Ref, true)
	where := func(expr string) push.Audience {
		w, err := push.ParseWhere([]byte(expr))
		if err != nil {
			t.Fatalf("%s: %v", expr, err)
		}
		return push.Audience{Where: &w}
	}
	android := func(a push.Audience) push.Audience { a.Platforms = []push.Platform{push.Android}; return a }
	for _, tt := range []struct {
		name string
		a    push.Audience
		want []push.Ordinal
	}{
		{"all", push.Audience{All: true}, []push.Ordinal{0, 1, 2, 3}},
		{"all of a platform", android(push.Audience{All: true}), []push.Ordinal{0, 1, 2}},
		{"a tag", where(`{"tag": "vip"}`), []push.Ordinal{1}},
		{"an alias", where(`{"alias": {"type": "uid", "values": ["shared", "x"]}}`), []push.Ordinal{1, 3}},
		{"accounts", where(`{"or": [{"account": ["bob"]}, {"account": ["eve"]}]}`), []push.Ordinal{0}},
		{"not an account, of a platform", android(where(`{"not": {"account": ["ann"]}}`)), []push.Ordinal{0, 2}},
		{"reached", where(`{"reached": "7"}`), []push.Ordinal{0, 1}},
		{"reached and not opened", where(`{"and": [{"reached": "7"}, {"not": {"opened": "7"}}]}`), []push.Ordinal{0, 1}},
		{"online", where(`{"online": true}`), []push.Ordinal{1, 3}},
		{"offline", where(`{"online": false}`), []push.Ordinal{0, 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := h.Check(t.Context(), 1, tt.a); err != nil {
				t.Errorf("Check = %v", err)
			}
			set, unknown, err := h.Target(t.Context(), 1, tt.a)
			if err != nil || unknown != 0 || !slices.Equal(slices.Collect(set.All()), tt.want) {
				t.Errorf("Target = %v, %d unknown, %v, want %v", slices.Collect(set.All()), unknown, err, tt.want)
			}
		})
	}
	tally := h.Tally(1, ordset.Of(0, 1, 3, 77))
	if tally.Platforms[push.Android] != 2 || tally.Platforms[push.IOS] != 1 {
		t.Errorf("Tally = %+v", tally)
	}
}

func TestCheckRefuses(t *testing.T) {
	h, all := crowd(t)
	h.pushes = map[push.ID]*ordset.Set{7: ordset.Of(0)}
	for i := range 21 { // an attribute with more values than can be asked for
		var some []push.Import
		for n := range 500 {
			some = append(some, push.Import{PreviousID: fmt.Sprint(i, "-", n), Attributes: map[string]string{"serial": fmt.Sprint(i, "-", n)}})
		}
		h.imports(t, some...)
	}
	reached, unknown := push.Is(push.WherePush{Push: 7, Mark: push.MarkDelivered}), push.Is(push.WherePush{Push: 8, Mark: push.MarkOpened})
	serial := push.Is(push.WhereAttr{Name: "serial", Op: push.OpIs, Values: []string{"1-1"}})
	for _, tt := range []struct {
		name  string
		where push.Where
		kind  push.Kind
		field string
	}{
		{"a push that is not there", unknown, push.NotFound, "where.opened"},
		{"deep inside", push.And(reached, push.Or(reached, push.Not(unknown))), push.NotFound, "where.and[1].or[1].not.opened"},
		{"an attribute with too many values", push.And(reached, push.Not(serial)), push.Invalid, "where.and[1].not.attr"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := push.Audience{Where: &tt.where}
			fails(t, "Check", h.Check(t.Context(), 1, a), tt.kind, tt.field)
			_, _, err := h.Target(t.Context(), 1, a)
			fails(t, "Target", err, tt.kind, tt.field)
			_, err = h.Select(t.Context(), 1, tt.where)
			fails(t, "Select", err, tt.kind, strings.TrimPrefix(tt.field, "where."))
		})
	}
	file := push.Audience{File: "nothing", Of: &push.FileOf{Devices: true}}
	fails(t, "a file", h.Check(t.Context(), 1, file), push.NotFound, "file")
	_, _, err := h.Target(t.Context(), 1, file)
	fails(t, "a file", err, push.NotFound, "file")
	for _, a := range []push.Audience{{All: true}, {Devices: []string{"x"}}, {Where: &reached}} {
		if err := h.Check(t.Context(), 1, a); err != nil {
			t.Errorf("Check(%+v) = %v", a, err)
		}
	}
	if err := h.Remove(context.Background(), all[0].Ref); err != nil {
		t.Error(err)
	}
}
