package push_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/push"
)

func TestLabelEditsNameWhatIsWrong(t *testing.T) {
	long := strings.Repeat("x", 129)
	for _, tt := range []struct {
		name  string
		edit  push.LabelEdit
		field string // "" means valid
	}{
		{"tags, aliases, attributes and an account", push.LabelEdit{
			Op: push.Put, Tags: []string{"a", "浙江"}, Aliases: []push.Alias{{Type: "uid", Value: "1"}, {Value: "2"}},
			Attributes: map[string]string{"city": "杭州", "gone": ""}, Account: ptr("user-42"),
		}, ""},
		{"nothing", push.LabelEdit{Op: push.Add}, ""},
		{"all tags", push.LabelEdit{Op: push.Delete, All: push.AllTags}, ""},
		{"all aliases", push.LabelEdit{Op: push.Delete, All: push.AllAliases}, ""},
		{"a logout", push.LabelEdit{Op: push.Delete, Account: ptr("")}, ""},
		{"1,000 tags", push.LabelEdit{Op: push.Add, Tags: slices.Repeat([]string{"a"}, push.MaxLabels)}, ""},
		{"no op", push.LabelEdit{Tags: []string{"a"}}, "op"},
		{"an unknown op", push.LabelEdit{Op: push.Delete + 1}, "op"},
		{"all of an unknown kind", push.LabelEdit{Op: push.Delete, All: push.AllAliases + 1}, "op"},
		{"all tags, added", push.LabelEdit{Op: push.Add, All: push.AllTags}, "op"},
		{"1,001 tags", push.LabelEdit{Op: push.Add, Tags: slices.Repeat([]string{"a"}, push.MaxLabels+1)}, "tags"},
		{"1,001 aliases", push.LabelEdit{Op: push.Add, Aliases: slices.Repeat([]push.Alias{{Value: "a"}}, push.MaxLabels+1)}, "aliases"},
		{"an empty tag", push.LabelEdit{Op: push.Add, Tags: []string{"a", "b", ""}}, "tags[2]"},
		{"a tag of 129 characters", push.LabelEdit{Op: push.Delete, Tags: []string{long}}, "tags[0]"},
		{"an alias of nothing", push.LabelEdit{Op: push.Put, Aliases: []push.Alias{{Type: "uid"}}}, "aliases[0].value"},
		{"an alias of 129 bytes", push.LabelEdit{Op: push.Put, Aliases: []push.Alias{{Value: "a"}, {Value: long}}}, "aliases[1].value"},
		{"an alias that is not UTF-8", push.LabelEdit{Op: push.Put, Aliases: []push.Alias{{Value: "\xff"}}}, "aliases[0].value"},
		{"an alias type of 129 bytes", push.LabelEdit{Op: push.Delete, Aliases: []push.Alias{{Type: long, Value: "a"}}}, "aliases[0].type"},
		{"an alias type with NUL", push.LabelEdit{Op: push.Add, Aliases: []push.Alias{{Type: "\x00", Value: "a"}}}, "aliases[0].type"},
		{"an attribute with a blank in its name", push.LabelEdit{Op: push.Add, Attributes: map[string]string{"a b": "1"}}, "attributes.a b"},
		{"an attribute whose name cannot be shown", push.LabelEdit{Op: push.Add, Attributes: map[string]string{"a\x1b": "1"}}, "attributes"},
		{"an attribute with a long name", push.LabelEdit{Op: push.Add, Attributes: map[string]string{strings.Repeat("a", 65): "1"}}, "attributes"},
		{"two odd names, of which the first is told", push.LabelEdit{Op: push.Add, Attributes: map[string]string{"b ": "1", "a ": "1", "c ": "1"}}, "attributes.a "},
		{"an attribute of 257 bytes", push.LabelEdit{Op: push.Add, Attributes: map[string]string{"city": strings.Repeat("x", 257)}}, "attributes.city"},
		{"nobody logs in", push.LabelEdit{Op: push.Put, Account: ptr("")}, "account"},
		{"an account of 129 bytes", push.LabelEdit{Op: push.Add, Account: &long}, "account"},
		{"an account that is not UTF-8", push.LabelEdit{Op: push.Put, Account: ptr("\xff")}, "account"},
	} {
		t.Run(tt.name, func(t *testing.T) { wantField(t, tt.edit.Validate(), tt.field) })
	}
}

// wantField fails unless err is Invalid at field, or nil where that is "".
func wantField(t *testing.T, err error, field string) {
	t.Helper()
	if (err == nil) != (field == "") || fieldOf(err) != field {
		t.Fatalf("got %v (field %q), want field %q", err, fieldOf(err), field)
	}
	if err != nil && !errors.Is(err, push.Invalid) {
		t.Errorf("got kind %v, want invalid", push.KindOf(err))
	}
}

func TestEditOpsAreTexts(t *testing.T) {
	for op, want := range map[push.EditOp]string{push.Put: `"put"`, push.Add: `"add"`, push.Delete: `"delete"`} {
		b, err := json.Marshal(op)
		if err != nil || string(b) != want {
			t.Errorf("%d: got %s, %v, want %s", op, b, err, want)
		}
		var again push.EditOp
		if err := json.Unmarshal(b, &again); err != nil || again != op {
			t.Errorf("%s: got %d, %v, want %d", b, again, err, op)
		}
	}
	for _, op := range []push.EditOp{0, 4, 255} {
		if b, err := json.Marshal(op); err == nil {
			t.Errorf("%d: got %s, want an error", op, b)
		}
	}
	for _, text := range []string{"", "Put", "remove"} {
		var op push.EditOp
		if err := op.UnmarshalText([]byte(text)); fieldOf(err) != "op" || op != 0 {
			t.Errorf("%q: got %d, %v, want op refused", text, op, err)
		}
	}
}

func TestImportsNameWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*push.Import)
		field  string
	}{
		{"an id alone", func(*push.Import) {}, ""},
		{"all that there is", func(i *push.Import) {
			i.Platform, i.Account, i.Phone, i.Tags = push.IOS, "user-42", "+8613800000000", []string{"vip"}
			i.Aliases, i.Attributes = []push.Alias{{Type: "uid", Value: "42"}}, map[string]string{"city": "杭州"}
			i.Tokens, i.Test = map[string]push.Token{"apns": {Token: "t", Env: "sandbox"}}, ptr(true)
		}, ""},
		{"the MD5 of a phone", func(i *push.Import) { i.Phone = "d41d8cd98f00b204e9800998ecf8427e" }, ""},
		{"no id", func(i *push.Import) { i.PreviousID = "" }, "device_id"},
		{"an id of 129 bytes", func(i *push.Import) { i.PreviousID = strings.Repeat("x", 129) }, "device_id"},
		{"an id with NUL", func(i *push.Import) { i.PreviousID = "a\x00" }, "device_id"},
		{"an unknown platform", func(i *push.Import) { i.Platform = 9 }, "platform"},
		{"an account of 129 bytes", func(i *push.Import) { i.Account = strings.Repeat("x", 129) }, "account"},
		{"a phone with letters", func(i *push.Import) { i.Phone = "call me" }, "phone"},
		{"an empty tag", func(i *push.Import) { i.Tags = []string{"a", ""} }, "tags[1]"},
		{"1,001 tags", func(i *push.Import) { i.Tags = slices.Repeat([]string{"a"}, 1001) }, "tags"},
		{"an empty alias", func(i *push.Import) { i.Aliases = []push.Alias{{Type: "uid"}} }, "aliases[0].value"},
		{"an attribute without a name", func(i *push.Import) { i.Attributes = map[string]string{"": "x"} }, "attributes"},
		{"a token of an unknown channel", func(i *push.Import) { i.Tokens = map[string]push.Token{"pigeon": {Token: "t"}} }, "tokens.pigeon"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := push.Import{PreviousID: "AoldToken"}
			tt.change(&i)
			wantField(t, i.Validate(), tt.field)
			if tt.field != "" {
				return
			}
			b, err := json.Marshal(i)
			if err != nil {
				t.Fatal(err)
			}
			var again push.Import
			if err := json.Unmarshal(b, &again); err != nil || !cmp.Equal(again, i) {
				t.Errorf("got %+v, %v, want %+v", again, err, i)
			}
		})
	}
}

func TestPhones(t *testing.T) {
	for _, tt := range []struct {
		name, phone string
		ok          bool
	}{
		{"none", "", true},
		{"a number", "13800000000", true},
		{"a number with its country", "+8613800000000", true},
		{"five digits", "10086", true},
		{"twenty digits", "+" + strings.Repeat("1", 20), true},
		{"the MD5 of a number", "d41d8cd98f00b204e9800998ecf8427e", true},
		{"an MD5 of digits only", strings.Repeat("0", 32), true},
		{"an MD5 in capitals", "D41D8CD98F00B204E9800998ECF8427E", false},
		{"an MD5 with a plus", "+d41d8cd98f00b204e9800998ecf8427e", false},
		{"an MD5 that is short", "d41d8cd98f00b204e9800998ecf8427", false},
		{"a SHA-1", strings.Repeat("a", 40), false},
		{"four digits", "1008", false},
		{"21 digits", strings.Repeat("1", 21), false},
		{"a plus alone", "+", false},
		{"two pluses", "++13800000000", false},
		{"blanks", "138 0000 0000", false},
		{"digits of another script", "١٢٣٤٥", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := ""
			if !tt.ok {
				want = "phone"
			}
			wantField(t, push.ValidatePhone(tt.phone), want)
		})
	}
}

func TestIndexRowsSayWhatIsAskedFor(t *testing.T) {
	day := push.DayOf(now)
	full := push.DeviceRow{Device: push.Device{
		Ref: push.Ref{App: 1, Ordinal: 70_000, Generation: 2, Platform: push.IOS}, Phone: "13800000000", Account: "user-42",
		Attributes: map[string]string{"city": "杭州", "app_version": "2.0"},
		Tokens:     map[string]push.Token{"apns": {Token: "t"}, "webpush": {Web: "w", P256dh: "p", Auth: "a"}, "fcm": {}},
		Marks:      push.Marks{Test: true, Blacklisted: true, Badge: 7},
		Times:      push.Times{Registered: now.Add(-48 * time.Hour), LastActive: now, Bound: now.Add(-24 * time.Hour)},
	}, Epoch: 3, TagIDs: []push.TagID{4, 9}}
	fullRow := push.IndexRow{
		Ref: full.Ref, Epoch: 3, Test: true, Blacklisted: true, Phone: true, Tokens: 1<<0 | 1<<9,
		Registered: now.Add(-48 * time.Hour).Unix(), Active: day, Bound: day - 1,
		Attributes: []push.Attribute{{"app_version", "2.0"}, {"city", "杭州"}}, Tags: []push.TagID{4, 9},
	}
	removed := full
	removed.Removed = now
	loggedOut := push.DeviceRow{Device: push.Device{
		Ref: push.Ref{App: 1, Platform: push.Web}, Times: push.Times{Registered: now, Unbound: now.Truncate(24 * time.Hour)},
	}}
	for _, tt := range []struct {
		name string
		row  push.DeviceRow
		want push.IndexRow
	}{
		{"all that there is", full, fullRow},
		{"a removed device has a name only", removed, push.IndexRow{Ref: full.Ref, Epoch: 3, Removed: true}},
		{"logged out, and never active", loggedOut, push.IndexRow{Ref: loggedOut.Ref, Registered: now.Unix(), Unbound: day}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.row.Index()
			slices.SortFunc(got.Attributes, func(a, b push.Attribute) int { return strings.Compare(a.Name, b.Name) })
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	for i, c := range push.TokenChannels() { // each channel has a bit of its own, and one that never moves
		row := push.DeviceRow{Device: push.Device{Tokens: map[string]push.Token{c: {Token: "t", Web: "w", P256dh: "p", Auth: "a"}}}}
		if got := row.Index().Tokens; got != 1<<i {
			t.Errorf("%s: got %b, want bit %d", c, got, i)
		}
	}
}
