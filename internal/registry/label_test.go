package registry_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// set gives app 1 settings, as pairs of keys and values.
func (h *house) set(t testing.TB, card push.AppCard, pairs ...string) {
	t.Helper()
	app := card.App
	app.Settings = push.Settings{}
	for i := 0; i < len(pairs); i += 2 {
		app.Settings[pairs[i]] = pairs[i+1]
	}
	if _, err := h.UpdateApp(t.Context(), app); err != nil {
		t.Fatal(err)
	}
}

// fails fails t if err is not of kind with field.
func fails(t testing.TB, what string, err error, kind push.Kind, field string) {
	t.Helper()
	var e *push.Error
	if !errors.As(err, &e) || e.Kind != kind || e.Field != field {
		t.Errorf("%s: got %v, want %v with field %q", what, err, kind, field)
	}
}

// text shows what an edit may change of a device.
func text(d push.Device) string {
	var attrs []string
	for _, k := range slices.Sorted(maps.Keys(d.Attributes)) {
		attrs = append(attrs, k+"="+d.Attributes[k])
	}
	return strings.Join([]string{strings.Join(d.Tags, " "), aliasText(d.Aliases), strings.Join(attrs, " "), d.Account}, "|")
}

func TestEditLabels(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	dev := h.device(t, card, "one")
	for _, tt := range []struct {
		name string
		edit push.LabelEdit
		want string
		feed string // "" means that nothing is written
	}{
		{"nothing", push.LabelEdit{Op: push.Put}, "|||", ""},
		{"tags are made and added", push.LabelEdit{Op: push.Add, Tags: []string{"b", "猫", "b", "a"}}, "a b 猫|||", "tags"},
		{"added again", push.LabelEdit{Op: push.Add, Tags: []string{"a"}}, "a b 猫|||", ""},
		{"tags are put", push.LabelEdit{Op: push.Put, Tags: []string{"c", "a"}}, "a c|||", "tags"},
		{"a tag is deleted, with one that is not there", push.LabelEdit{Op: push.Delete, Tags: []string{"c", "z"}}, "a|||", "tags"},
		{"no tags are put", push.LabelEdit{Op: push.Put, Tags: []string{}}, "|||", "tags"},
		{"aliases, oldest first", push.LabelEdit{Op: push.Add, Aliases: []push.Alias{{Type: "uid", Value: "2"}, {Value: "1"}}}, "|uid:2 :1||", "aliases"},
		{"an alias is deleted", push.LabelEdit{Op: push.Delete, Aliases: []push.Alias{{Type: "uid", Value: "2"}}}, "|:1||", "aliases"},
		{"all are deleted", push.LabelEdit{Op: push.Delete, All: push.AllAliases}, "|||", "aliases"},
		{"attributes are added", push.LabelEdit{Op: push.Add, Attributes: map[string]string{"a": "1", "b": "2"}}, "||a=1 b=2|", "attributes"},
		{"an empty one takes away", push.LabelEdit{Op: push.Add, Attributes: map[string]string{"a": "", "c": "3"}}, "||b=2 c=3|", "attributes"},
		{"attributes are put", push.LabelEdit{Op: push.Put, Attributes: map[string]string{"d": "4", "e": "5"}}, "||d=4 e=5|", "attributes"},
		{"attributes are deleted by name", push.LabelEdit{Op: push.Delete, Attributes: map[string]string{"d": "whatever"}}, "||e=5|", "attributes"},
		{"an account", push.LabelEdit{Op: push.Put, Account: ptr("ann")}, "||e=5|ann", "account"},
		{"the same account", push.LabelEdit{Op: push.Add, Account: ptr("ann")}, "||e=5|ann", ""},
		{"all at once", push.LabelEdit{Op: push.Add, Tags: []string{"x"}, Aliases: []push.Alias{{Value: "y"}}, Attributes: map[string]string{"z": "1"}, Account: ptr("bob")}, "x|:y|e=5 z=1|bob", "tags,aliases,attributes,account"},
		{"a logout of another", push.LabelEdit{Op: push.Delete, Account: ptr("ann")}, "x|:y|e=5 z=1|bob", ""},
		{"a logout, whoever it is", push.LabelEdit{Op: push.Delete, Account: ptr("")}, "x|:y|e=5 z=1|", "account"},
		{"all tags", push.LabelEdit{Op: push.Delete, All: push.AllTags}, "|:y|e=5 z=1|", "tags"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h.store.feed = nil
			got, err := h.EditLabels(t.Context(), dev.Ref, tt.edit)
			if err != nil || text(got) != tt.want {
				t.Errorf("EditLabels = %s, %v, want %s", text(got), err, tt.want)
			}
			if again, err := h.Device(t.Context(), 1, string(dev.DeviceID)); err != nil || text(again) != tt.want {
				t.Errorf("Device = %s, %v, want %s", text(again), err, tt.want)
			}
			if feed := strings.Join(h.store.whats(), " "); feed != tt.feed {
				t.Errorf("the feed says %q, want %q", feed, tt.feed)
			}
		})
	}
}

func TestEditLabelsRefuses(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	h.set(t, card, push.SettingTags, "3", push.SettingDeviceTags, "2", push.SettingDeviceAliases, "2", push.SettingAliasDevices, "1")
	one, two := h.device(t, card, "one"), h.device(t, card, "two")
	edit := func(d push.Registered, e push.LabelEdit) error {
		_, err := h.EditLabels(t.Context(), d.Ref, e)
		return err
	}
	if err := errors.Join(
		edit(one, push.LabelEdit{Op: push.Add, Tags: []string{"a", "b"}, Aliases: []push.Alias{{Value: "x"}}}),
		edit(two, push.LabelEdit{Op: push.Add, Tags: []string{"a"}, Attributes: map[string]string{"city": "1"}}),
	); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 129)
	older := two.Ref
	older.Generation = 9
	h.store.feed = nil
	for _, tt := range []struct {
		name  string
		ref   push.Ref
		edit  push.LabelEdit
		kind  push.Kind
		field string
	}{
		{"no op", two.Ref, push.LabelEdit{}, push.Invalid, "op"},
		{"a tag too long", two.Ref, push.LabelEdit{Op: push.Add, Tags: []string{"a", long}}, push.Invalid, "tags[1]"},
		{"an alias without value", two.Ref, push.LabelEdit{Op: push.Add, Aliases: []push.Alias{{Type: "t"}}}, push.Invalid, "aliases[0].value"},
		{"an account too long", two.Ref, push.LabelEdit{Op: push.Put, Account: &long}, push.Invalid, "account"},
		{"tags of the app", two.Ref, push.LabelEdit{Op: push.Put, Tags: []string{"c", "d"}}, push.TooMany, "tags"},
		{"tags of the device", one.Ref, push.LabelEdit{Op: push.Add, Tags: []string{"c"}}, push.TooMany, "tags"},
		{"devices of an alias", two.Ref, push.LabelEdit{Op: push.Add, Tags: []string{"b"}, Aliases: []push.Alias{{Value: "y"}, {Value: "x"}}}, push.TooMany, "aliases[1]"},
		{"aliases of a device", two.Ref, push.LabelEdit{Op: push.Add, Aliases: []push.Alias{{Value: "1"}, {Value: "2"}, {Value: "3"}}}, push.TooMany, "aliases[2]"},
		{"limits of the request", two.Ref, push.LabelEdit{Op: push.Add, Aliases: []push.Alias{{Value: "1"}, {Value: "2"}}, Limits: &push.AliasLimits{PerDevice: 1}}, push.TooMany, "aliases[1]"},
		{"another generation", older, push.LabelEdit{Op: push.Add, Tags: []string{"a"}}, push.NotFound, "device"},
		{"no such app", push.Ref{App: 9, Generation: 1}, push.LabelEdit{Op: push.Add, Tags: []string{"a"}}, push.NotFound, "app"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fails(t, "EditLabels", edit(push.Registered{Ref: tt.ref}, tt.edit), tt.kind, tt.field)
			if feed := h.store.whats(); feed != nil {
				t.Errorf("the feed says %v", feed)
			}
			d, err := h.Device(t.Context(), 1, string(two.DeviceID))
			if err != nil || text(d) != "a||city=1|" {
				t.Errorf("the device is %s, %v", text(d), err)
			}
			if got := listTags(t, h); !maps.Equal(got, map[string]int{"a": 2, "b": 1}) {
				t.Errorf("tags are %v", got)
			}
		})
	}
	// What is there stays when a limit becomes less, and may change within it.
	h.set(t, card, push.SettingTags, "1", push.SettingDeviceTags, "1", push.SettingDeviceAliases, "1")
	for _, e := range []push.LabelEdit{
		{Op: push.Add, Tags: []string{"a"}},
		{Op: push.Put, Tags: []string{"b", "a"}},
		{Op: push.Add, Attributes: map[string]string{"x": "y"}},
		{Op: push.Delete, Tags: []string{"a"}},
	} {
		if err := edit(one, e); err != nil {
			t.Errorf("%+v above the limits: %v", e, err)
		}
	}
	// As an alias's owner one may take it from the other, and Getui's way pushes the oldest out.
	if err := edit(two, push.LabelEdit{Op: push.Put, Aliases: []push.Alias{{Value: "x"}}}); err != nil {
		t.Fatal(err)
	}
	if err := edit(two, push.LabelEdit{Op: push.Add, Aliases: []push.Alias{{Value: "y"}}, Limits: &push.AliasLimits{PerDevice: 1, Evict: true}}); err != nil {
		t.Fatal(err)
	}
	if d, err := h.Device(t.Context(), 1, string(two.DeviceID)); err != nil || aliasText(d.Aliases) != ":y" {
		t.Errorf("aliases are %s, %v, want :y", aliasText(d.Aliases), err)
	}
}

func TestAccountDays(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	dev := h.device(t, card, "one")
	var zero time.Time
	start := h.clock()
	for i, tt := range []struct {
		name           string
		account        string
		bound, unbound time.Time
	}{
		{"logged in", "ann", start, zero},
		{"again", "ann", start, zero},
		{"another", "bob", start.Add(48 * time.Hour), zero},
		{"logged out", "", zero, start.Add(72 * time.Hour)},
		{"again out", "", zero, start.Add(72 * time.Hour)},
		{"in once more", "bob", start.Add(120 * time.Hour), zero},
	} {
		d, err := h.Patch(t.Context(), dev.Ref, push.DevicePatch{Account: &tt.account})
		if err != nil || d.Account != tt.account || !d.Bound.Equal(tt.bound) || !d.Unbound.Equal(tt.unbound) {
			t.Errorf("%s: %q bound %v, unbound %v, %v, want %v and %v", tt.name, d.Account, d.Bound, d.Unbound, err, tt.bound, tt.unbound)
		}
		bound := push.Is(push.WhereWithin{Event: push.EventBound, For: time.Hour})
		if got, want := len(h.everybody(t, bound)) > 0, tt.bound.Equal(h.clock()); got != want {
			t.Errorf("%s, step %d: bound within the hour %v, want %v", tt.name, i, got, want)
		}
		h.pass(24 * time.Hour)
	}
}

func TestTagsOfAnApp(t *testing.T) {
	h := newHouse(t)
	card, other := h.app(t, "demo"), h.app(t, "other")
	dev := h.device(t, card, "one")
	if _, err := h.EditLabels(t.Context(), dev.Ref, push.LabelEdit{Op: push.Add, Tags: []string{"m", "a/b c"}}); err != nil {
		t.Fatal(err)
	}
	added, err := h.AddTag(t.Context(), 1, "猫")
	if err != nil || added.Tag != "猫" || added.ID != 3 || added.Devices != 0 || !added.Created.Equal(h.clock()) {
		t.Errorf("AddTag = %+v, %v", added, err)
	}
	_, err = h.AddTag(t.Context(), 1, "m")
	fails(t, "a tag that is there", err, push.Conflict, "tag")
	_, err = h.AddTag(t.Context(), 1, "")
	fails(t, "no tag", err, push.Invalid, "tag")
	_, err = h.AddTag(t.Context(), 9, "x")
	fails(t, "no app", err, push.NotFound, "app")
	if _, err := h.AddTag(t.Context(), other.App.ID, "m"); err != nil {
		t.Error("the tag of another app", err)
	}
	for range 2 {
		if got := listTags(t, h); !maps.Equal(got, map[string]int{"m": 1, "a/b c": 1, "猫": 0}) {
			t.Errorf("tags are %v", got)
		}
		if got, err := h.FindTag(1, "m"); err != nil || got.Devices != 1 {
			t.Errorf("FindTag = %+v, %v", got, err)
		}
		h.restart(t)
	}
	for _, cursor := range []string{"*", "AA", "_w"} {
		_, _, err := h.Tags(1, cursor, 5)
		fails(t, "cursor "+cursor, err, push.Invalid, "cursor")
	}
	_, _, err = h.Tags(9, "", 5)
	fails(t, "no app", err, push.NotFound, "app")

	// A removed tag is gone from the device; its name comes back as another tag, without devices.
	if err := h.RemoveTag(t.Context(), 1, "m"); err != nil {
		t.Fatal(err)
	}
	fails(t, "twice", h.RemoveTag(t.Context(), 1, "m"), push.NotFound, "tag")
	_, err = h.FindTag(1, "m")
	fails(t, "a removed tag", err, push.NotFound, "tag")
	again, err := h.AddTag(t.Context(), 1, "m")
	if err != nil || again.ID != 4 || again.Devices != 0 {
		t.Errorf("the name again = %+v, %v, want tag 4", again, err)
	}
	for range 2 {
		d, err := h.Device(t.Context(), 1, string(dev.DeviceID))
		if err != nil || !slices.Equal(d.Tags, []string{"a/b c"}) || len(h.everybody(t, push.Is(push.WhereTag("m")))) != 0 {
			t.Errorf("tags = %v, %v", d.Tags, err)
		}
		h.restart(t)
	}
	// The next write of the device leaves the dead id out.
	if _, err := h.Patch(t.Context(), dev.Ref, push.DevicePatch{Badge: ptr(1)}); err != nil {
		t.Fatal(err)
	}
	if ids := h.store.devices[key(1, 0)].TagIDs; !slices.Equal(ids, []push.TagID{2}) {
		t.Errorf("the row names tags %v, want 2", ids)
	}
}

// A tag whose making failed for its caller is known as soon as the record can say.
func TestUncertainTags(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	dev := h.device(t, card, "one")
	h.store.fail = func(string) (error, bool) { return &push.Error{Kind: push.Unavailable}, true }
	_, err := h.AddTag(t.Context(), 1, "a")
	fails(t, "AddTag", err, push.Unavailable, "")
	h.store.fail = nil
	_, err = h.AddTag(t.Context(), 1, "b") // looks first what the record has
	if err != nil || !maps.Equal(listTags(t, h), map[string]int{"a": 0, "b": 0}) {
		t.Errorf("%v, %v", err, listTags(t, h))
	}
	writes := false
	h.store.fail = func(op string) (error, bool) { // the write is unknown, and so is what came of it
		if op == "ChangeDevices" {
			writes = true
		}
		if !writes {
			return nil, false
		}
		return &push.Error{Kind: push.Unavailable}, true
	}
	_, err = h.EditLabels(t.Context(), dev.Ref, push.LabelEdit{Op: push.Add, Tags: []string{"c"}})
	fails(t, "EditLabels", err, push.Unavailable, "")
	h.store.fail = nil
	if len(h.everybody(t, push.Is(push.WhereTag("c")))) != 0 {
		t.Error("a tag is known that nobody could tell of")
	}
	h.Settle(t.Context())
	if len(h.everybody(t, push.Is(push.WhereTag("c")))) != 1 {
		t.Error("a minute later the tag is not known")
	}
}

func TestTagDevices(t *testing.T) {
	h := newHouse(t)
	card, other := h.app(t, "demo"), h.app(t, "other")
	a, b, c := h.device(t, card, "a"), h.device(t, card, "b"), h.device(t, card, "c")
	foreign := h.device(t, other, "a")
	h.imports(t, push.Import{PreviousID: "old"})
	h.store.feed = nil
	names := []string{string(a.DeviceID), string(a.ChannelID), "x", string(b.ChannelID), string(foreign.DeviceID), "x", "old"}
	changed, unknown, err := h.TagDevices(t.Context(), 1, "vip", push.Add, names)
	if err != nil || changed != 3 || !slices.Equal(unknown, []string{"x", string(foreign.DeviceID)}) {
		t.Errorf("TagDevices = %d, %v, %v", changed, unknown, err)
	}
	if feed := h.store.whats(); !slices.Equal(feed, []string{"tags", "tags", "tags"}) {
		t.Errorf("the feed says %v", feed)
	}
	if changed, _, err = h.TagDevices(t.Context(), 1, "vip", push.Add, []string{string(a.DeviceID), string(c.DeviceID)}); err != nil || changed != 1 {
		t.Errorf("one of them new: %d, %v", changed, err)
	}
	if got := h.everybody(t, push.Is(push.WhereTag("vip"))); len(got) != 4 {
		t.Errorf("tagged are %v", got)
	}
	if changed, _, err = h.TagDevices(t.Context(), 1, "vip", push.Delete, names); err != nil || changed != 3 {
		t.Errorf("untagged %d, %v", changed, err)
	}
	if changed, _, err = h.TagDevices(t.Context(), 1, "nothing", push.Delete, names); err != nil || changed != 0 || len(listTags(t, h)) != 1 {
		t.Errorf("a tag that is not there: %d, %v", changed, err)
	}
	h.set(t, card, push.SettingDeviceTags, "1")
	many := make([]string, 1001)
	for i := range many {
		many[i] = strconv.Itoa(i)
	}
	h.store.feed = nil
	for _, tt := range []struct {
		name, tag string
		op        push.EditOp
		names     []string
		kind      push.Kind
		field     string
	}{
		{"nobody", "vip", push.Add, nil, push.Invalid, "devices"},
		{"too many", "vip", push.Add, many, push.Invalid, "devices"},
		{"nobody known", "vip", push.Add, many[:1000], push.NotFound, "device"},
		{"put", "vip", push.Put, names, push.Invalid, "op"},
		{"no tag", "", push.Add, names, push.Invalid, "tag"},
		{"one has enough", "other", push.Add, []string{string(a.DeviceID), string(c.DeviceID)}, push.TooMany, "tags"},
	} {
		_, _, err := h.TagDevices(t.Context(), 1, tt.tag, tt.op, tt.names)
		fails(t, tt.name, err, tt.kind, tt.field)
		if feed := h.store.whats(); feed != nil || len(listTags(t, h)) != 1 {
			t.Errorf("%s: the feed says %v", tt.name, feed)
		}
	}
}

// Changes of several devices at once, of sets that overlap in every way, all come to an end, and none is lost.
func TestManyDevicesAtOnce(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	var ids []string
	var refs []push.Ref
	for i := range 40 {
		d := h.device(t, card, strconv.Itoa(i))
		ids, refs = append(ids, string(d.DeviceID)), append(refs, d.Ref)
	}
	var wg sync.WaitGroup
	for n := range 8 {
		some := slices.Clone(ids[n*3 : n*3+15])
		if n%2 == 0 {
			slices.Reverse(some)
		}
		wg.Go(func() {
			for i := range 10 {
				if _, _, err := h.TagDevices(t.Context(), 1, fmt.Sprintf("t%d-%d", n, i), push.Add, some); err != nil {
					t.Error(err)
				}
				if err := h.SetPhones(t.Context(), 1, []push.PhoneBind{{Ref: refs[n], Phone: "10001"}, {Ref: refs[20-n], Phone: fmt.Sprint(10000 + i)}}, true); err != nil {
					t.Error(err)
				}
				if _, err := h.Patch(t.Context(), refs[n*2], push.DevicePatch{Phone: ptr("10002")}); err != nil {
					t.Error(err)
				}
				if _, err := h.Import(t.Context(), 1, []push.Import{{PreviousID: fmt.Sprint(i), Tags: []string{"i"}}, {PreviousID: fmt.Sprint(n), Phone: "10001"}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for n := range 8 {
		for i := range 10 {
			if got, err := h.FindTag(1, fmt.Sprintf("t%d-%d", n, i)); err != nil || got.Devices != 15 {
				t.Errorf("tag %d of %d: %+v, %v", i, n, got, err)
			}
		}
	}
	if check, err := h.CheckIndex(t.Context(), 0, false); err != nil || check != (push.IndexCheck{Devices: 50}) {
		t.Errorf("the doctor says %+v, %v", check, err)
	}
}

func TestSetPhones(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	a, b, c := h.device(t, card, "a"), h.device(t, card, "b"), h.device(t, card, "c")
	older := c.Ref
	older.Generation = 2
	md5 := strings.Repeat("0a", 16)
	for _, tt := range []struct {
		name      string
		exclusive bool
		binds     []push.PhoneBind
		want      string
		field     string // of what it is refused for
		kind      push.Kind
	}{
		{"shared", false, []push.PhoneBind{{Ref: a.Ref, Phone: "10001"}, {Ref: b.Ref, Phone: "10001"}, {Ref: c.Ref, Phone: md5}}, "10001 10001 " + md5, "", 0},
		{"exclusive takes it from others", true, []push.PhoneBind{{Ref: c.Ref, Phone: "10001"}}, "- - 10001", "", 0},
		{"the later of two", true, []push.PhoneBind{{Ref: a.Ref, Phone: "10002"}, {Ref: b.Ref, Phone: "10002"}}, "- 10002 10001", "", 0},
		{"one device twice", true, []push.PhoneBind{{Ref: a.Ref, Phone: "10003"}, {Ref: a.Ref, Phone: "10004"}}, "10004 10002 10001", "", 0},
		{"they change", true, []push.PhoneBind{{Ref: a.Ref, Phone: "10002"}, {Ref: b.Ref, Phone: "10004"}}, "10002 10004 10001", "", 0},
		{"taken away", true, []push.PhoneBind{{Ref: b.Ref, Phone: ""}}, "10002 - 10001", "", 0},
		{"none", true, nil, "10002 - 10001", "phones", push.Invalid},
		{"no number", true, []push.PhoneBind{{Ref: a.Ref, Phone: "1"}}, "10002 - 10001", "phones[0]", push.Invalid},
		{"another generation", true, []push.PhoneBind{{Ref: a.Ref, Phone: "10005"}, {Ref: older, Phone: "10006"}}, "10002 - 10001", "phones[1]", push.NotFound},
		{"of another app", true, []push.PhoneBind{{Ref: push.Ref{App: 2, Generation: 1}, Phone: "10006"}}, "10002 - 10001", "phones[0]", push.NotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := h.SetPhones(t.Context(), 1, tt.binds, tt.exclusive)
			if tt.field != "" {
				fails(t, "SetPhones", err, tt.kind, tt.field)
			} else if err != nil {
				t.Fatal(err)
			}
			var got []string
			for o := range push.Ordinal(3) {
				phone := h.store.devices[key(1, o)].Phone
				if phone == "" {
					phone = "-"
				}
				got = append(got, phone)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("phones are %v, want %s", got, tt.want)
			}
		})
	}
	if got := h.everybody(t, push.Is(push.WhereHas(push.HasPhone))); !slices.Equal(got, []push.Ordinal{0, 2}) {
		t.Errorf("with a phone are %v", got)
	}
}

func TestNamedDevices(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	a, b := h.device(t, card, "a"), h.device(t, card, "b")
	for _, d := range []push.Registered{b, a} {
		_, err := h.EditLabels(t.Context(), d.Ref, push.LabelEdit{Op: push.Add, Aliases: []push.Alias{{Type: "uid", Value: "1"}, {Type: "uid", Value: "2"}}, Account: ptr("ann")})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name  string
		names push.Names
		want  []push.DeviceID
	}{
		{"the oldest owner first", push.Names{Kind: push.ByAlias, Type: "uid", Values: []string{"1", "2"}}, []push.DeviceID{b.DeviceID, a.DeviceID}},
		{"another type", push.Names{Kind: push.ByAlias, Values: []string{"1"}}, nil},
		{"an account", push.Names{Kind: push.ByAccount, Values: []string{"ann"}}, []push.DeviceID{a.DeviceID, b.DeviceID}},
		{"nobody's phone", push.Names{Kind: push.ByPhone, Values: []string{"10001"}}, nil},
	} {
		got, err := h.NamedDevices(t.Context(), 1, tt.names)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, %v, want %v", tt.name, got, err, tt.want)
		}
	}
	for _, tt := range []struct {
		names push.Names
		field string
	}{
		{push.Names{Values: []string{"x"}}, "kind"},
		{push.Names{Kind: push.ByAlias}, "value"},
		{push.Names{Kind: push.ByAlias, Values: []string{"x", ""}}, "value"},
		{push.Names{Kind: push.ByAlias, Type: strings.Repeat("x", 129), Values: []string{"x"}}, "type"},
	} {
		_, err := h.NamedDevices(t.Context(), 1, tt.names)
		fails(t, "names", err, push.Invalid, tt.field)
	}
}

// Where devices may not make tags, one carries those that are there; senders make them as ever.
func TestDevicesThatMayNotMakeTags(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	dev := h.device(t, card, "a")
	h.set(t, card, push.SettingDeviceNewTags, "false")
	own := push.LabelEdit{Op: push.Add, Tags: []string{"vip", "mine"}, ByDevice: true}
	_, err := h.EditLabels(t.Context(), dev.Ref, own)
	fails(t, "two new tags", err, push.Invalid, "tags[0]")
	if _, err := h.AddTag(t.Context(), 1, "vip"); err != nil {
		t.Fatal(err)
	}
	_, err = h.EditLabels(t.Context(), dev.Ref, own)
	fails(t, "one new tag", err, push.Invalid, "tags[1]")
	own.Tags = []string{"vip"}
	if err := h.Relabel(t.Context(), dev.Ref, own); err != nil {
		t.Error(err)
	}
	if err := h.Relabel(t.Context(), dev.Ref, push.LabelEdit{Op: push.Add, Tags: []string{"sender's"}}); err != nil {
		t.Error(err)
	}
	if d, err := h.Device(t.Context(), 1, string(dev.DeviceID)); err != nil || !slices.Equal(d.Tags, []string{"sender's", "vip"}) {
		t.Errorf("tags %v, %v", d.Tags, err)
	}
}
