package push_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/push"
)

// goodWheres are one of each form that the language has, and what it is read as. The fuzz target starts from them.
var goodWheres = []struct {
	name, text string
	want       push.Where
}{
	{"a tag", `{"tag": "vip"}`, push.Is(push.WhereTag("vip"))},
	{"a tag of 128 characters, which are more bytes", `{"tag": "` + strings.Repeat("浙", 128) + `"}`, push.Is(push.WhereTag(strings.Repeat("浙", 128)))},
	{"a tag with escapes", `{"tag": "\u6d59\"\n"}`, push.Is(push.WhereTag("浙\"\n"))},
	{"aliases of a type", `{"alias": {"type": "uid", "values": ["1", "2"]}}`, push.Is(push.WhereAlias{Type: "uid", Values: []string{"1", "2"}})},
	{"untyped aliases", `{"alias": {"values": ["1"]}}`, push.Is(push.WhereAlias{Values: []string{"1"}})},
	{"accounts", `{"account": ["a", "b"]}`, push.Is(push.WhereAccount{"a", "b"})},
	{"an attribute that is", `{"attr": "city", "op": "=", "value": "杭州"}`, attr("city", "=", "杭州")},
	{"an attribute that is not", `{"attr": "city", "op": "!=", "value": "杭州"}`, attr("city", "!=", "杭州")},
	{"a version below", `{"attr": "app_version", "op": "<", "value": "2.0"}`, attr("app_version", "<", "2.0")},
	{"a version that is no number", `{"attr": "os_version", "op": ">=", "value": "14.1-beta"}`, attr("os_version", ">=", "14.1-beta")},
	{"a number at most", `{"attr": "age", "op": "<=", "value": "17"}`, attr("age", "<=", "17")},
	{"a number above, as a number", `{"attr": "age", "op": ">", "value": 17.50}`, attr("age", ">", "17.50")},
	{"a boolean", `{"attr": "paid", "op": "=", "value": true}`, attr("paid", "=", "true")},
	{"a list of values", `{"attr": "province", "in": ["浙江", 7, false]}`, attr("province", "in", "浙江", "7", "false")},
	{"platforms", `{"platform": ["ios", "android"]}`, push.Is(push.WherePlatform{push.IOS, push.Android})},
	{"active within", `{"active_within": "7d"}`, push.Is(push.WhereWithin{Event: push.EventActive, For: 7 * 24 * time.Hour})},
	{"bound within", `{"bound_within": "36h"}`, push.Is(push.WhereWithin{Event: push.EventBound, For: 36 * time.Hour})},
	{"unbound within", `{"unbound_within": "90s"}`, push.Is(push.WhereWithin{Event: push.EventUnbound, For: 90 * time.Second})},
	{"bound ever", `{"bound_within": "36500d"}`, push.Is(push.WhereWithin{Event: push.EventBound, For: 36500 * 24 * time.Hour})},
	{"registered between", `{"registered": {"after": "2026-11-01T00:00:00+08:00", "before": "2026-11-24T12:00:00.5Z"}}`, push.Is(push.WhereRegistered{
		After: time.Date(2026, 10, 31, 16, 0, 0, 0, time.UTC), Before: now.Add(500 * time.Millisecond),
	})},
	{"registered before", `{"registered": {"before": "2026-11-24T12:00:00Z"}}`, push.Is(push.WhereRegistered{Before: now})},
	{"in the target of a push", `{"targeted": "7"}`, push.Is(push.WherePush{Push: 7, Mark: push.MarkTargeted})},
	{"sent a push", `{"sent": "8"}`, push.Is(push.WherePush{Push: 8, Mark: push.MarkSent})},
	{"reached by a push", `{"reached": "187649984473770"}`, push.Is(push.WherePush{Push: 187649984473770, Mark: push.MarkDelivered})},
	{"opened a push", `{"opened": "1"}`, push.Is(push.WherePush{Push: 1, Mark: push.MarkOpened})},
	{"has a phone", `{"has": "phone"}`, push.Is(push.WhereHas(push.HasPhone))},
	{"has a token", `{"has": "token.apns"}`, push.Is(push.WhereHas("token.apns"))},
	{"online", `{"online": true}`, flag(push.FlagOnline, true)},
	{"not a test device", `{"test": false}`, flag(push.FlagTest, false)},
	{"blacklisted", `{"blacklisted": true}`, flag(push.FlagBlacklisted, true)},
	{"not", `{"not": {"tag": "a"}}`, push.Not(tag("a"))},
	{"and of one", `{"and": [{"tag": "a"}]}`, push.And(tag("a"))},
	{
		"everything joined", `{"and": [{"tag": "vip"}, {"not": {"attr": "app_version", "op": "<", "value": "2.0"}},
			{"or": [{"attr": "province", "in": ["浙江", "上海"]}, {"active_within": "7d"}]}]}`,
		push.And(tag("vip"), push.Not(attr("app_version", "<", "2.0")),
			push.Or(attr("province", "in", "浙江", "上海"), push.Is(push.WhereWithin{Event: push.EventActive, For: 7 * 24 * time.Hour}))),
	},
	{"white space around it", " {\"tag\":\n\"a\"}\t", tag("a")},
}

// A leaf is called by the member that it is written with.
func TestLeafName(t *testing.T) {
	for _, tt := range goodWheres {
		for l := range tt.want.Leaves {
			name := push.LeafName(l)
			if name == "" || !strings.Contains(tt.text, `"`+name+`"`) {
				t.Errorf("%s: got %q", tt.name, name)
			}
		}
	}
	for want, l := range map[string]push.Leaf{
		"attr": push.WhereAttr{Name: "city", Op: push.OpIs, Values: []string{"杭州"}}, "targeted": push.WherePush{Push: 1, Mark: push.MarkTargeted},
	} {
		if got := push.LeafName(l); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func tag(name string) push.Where { return push.Is(push.WhereTag(name)) }

func attr(name string, op push.Operator, values ...string) push.Where {
	return push.Is(push.WhereAttr{Name: name, Op: op, Values: values})
}

func flag(f push.Flag, v bool) push.Where { return push.Is(push.WhereFlag{Flag: f, Value: v}) }

func TestWhereIsReadAndWritten(t *testing.T) {
	for _, tt := range goodWheres {
		t.Run(tt.name, func(t *testing.T) {
			got, err := push.ParseWhere([]byte(tt.text))
			if err != nil {
				t.Fatalf("got %v (field %q)", err, fieldOf(err))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("read (-want +got):\n%s", diff)
			}
			roundTrip(t, got)
		})
	}
}

// roundTrip fails unless w is valid and is read again as it is written.
func roundTrip(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, w push.Where,
) {
	t.Helper()
	if err := w.Validate(); err != nil {
		t.Fatalf("%+v is not valid: %v", w, err)
	}
	b, err := json.Marshal(w)
	if err != nil {
		t.Fatalf("%+v cannot be written: %v", w, err)
	}
	var again push.Where
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatalf("%s cannot be read: %v", b, err)
	}
	if !reflect.DeepEqual(w, again) { // cmp takes minutes for an expression that is 4,000 deep
		t.Fatalf("got %+v, want %+v, which was written as %s", again, w, b)
	}
}

func TestWhereNamesWhatIsWrong(t *testing.T) {
	many := func(n int) string { return strings.TrimSuffix(strings.Repeat(`"a",`, n), ",") }
	for _, tt := range []struct{ name, text, field string }{
		{"nothing", ``, ""},
		{"no JSON", `{"tag": `, ""},
		{"something behind it", `{"tag": "a"} {"tag": "b"}`, ""},
		{"not UTF-8", "{\"tag\": \"\xff\"}", ""},
		{"half of a character", `{"and": [{"tag": "a"}, {"tag": "\ud83d"}]}`, "and[1].tag"},
		{"the other half in a list", `{"account": ["a", "x\ude00"]}`, "account[1]"},
		{"half of a character in a name", `{"not": {"\udfff": "a"}}`, "not"},
		{"null", `null`, ""},
		{"a list", `[{"tag": "a"}]`, ""},
		{"an empty object", `{}`, ""},
		{"more than 1 MiB", `{"tag": "a"}` + strings.Repeat(" ", push.MaxWhere), ""},
		{"nested deeper than JSON may", strings.Repeat(`{"not":`, 10_001) + `{"tag":"a"}` + strings.Repeat("}", 10_001), ""},

		{"an unknown leaf", `{"colour": "red"}`, "colour"},
		{"an unknown leaf in a list", `{"and": [{"tag": "a"}, {"colour": "red"}]}`, "and[1].colour"},
		{"a leaf in capitals", `{"Tag": "a"}`, "Tag"},
		{"a name that is no name", `{"and": [{"a b": 1}]}`, "and[0].a b"},
		{"a name that cannot be printed is not shown", `{"and": [{"a\u001b": 1}]}`, "and[0]"},
		{"a long name is not shown", `{"` + strings.Repeat("a", 65) + `": 1}`, ""},
		{"two leaves in one object", `{"tag": "a", "platform": ["ios"]}`, "tag"},
		{"a leaf beside a join", `{"and": [{"tag": "a"}], "tag": "b"}`, "tag"},
		{"two joins in one object", `{"and": [{"tag": "a"}], "or": [{"tag": "b"}]}`, "or"},
		{"the same leaf twice", `{"not": {"tag": "a", "tag": "b"}}`, "not.tag"},
		{"the same part twice", `{"registered": {"after": "2026-11-01T00:00:00Z", "after": "2026-11-02T00:00:00Z"}}`, "registered.after"},
		{"a value without its attribute", `{"value": "1"}`, "value"},
		{"an operator beside a tag", `{"tag": "a", "op": "="}`, "op"},

		{"and of no list", `{"and": {"tag": "a"}}`, "and"},
		{"and of nothing", `{"and": []}`, "and"},
		{"or of nothing, inside", `{"and": [{"tag": "a"}, {"or": []}]}`, "and[1].or"},
		{"or of null", `{"or": null}`, "or"},
		{"null in a list", `{"and": [{"tag": "a"}, null]}`, "and[1]"},
		{"a text in a list", `{"or": ["a"]}`, "or[0]"},
		{"not of a list", `{"not": [{"tag": "a"}]}`, "not"},
		{"not of null", `{"not": null}`, "not"},
		{"the path of the issue", `{"and": [{"tag": "a"}, {"tag": "b"}, {"not": {"attr": "a b", "op": "=", "value": "1"}}]}`, "and[2].not.attr"},

		{"a tag that is null", `{"tag": null}`, "tag"},
		{"a tag that is a number", `{"tag": 1}`, "tag"},
		{"a list of tags", `{"tag": ["a"]}`, "tag"},
		{"an empty tag", `{"tag": ""}`, "tag"},
		{"a tag of 129 characters", `{"tag": "` + strings.Repeat("a", 129) + `"}`, "tag"},
		{"a tag with NUL", `{"tag": "\u0000"}`, "tag"},

		{"an alias that is a text", `{"alias": "a"}`, "alias"},
		{"an alias that is null", `{"alias": null}`, "alias"},
		{"an alias without values", `{"alias": {"type": "uid"}}`, "alias.values"},
		{"an alias of no value", `{"alias": {"type": "uid", "values": []}}`, "alias.values"},
		{"an alias of an empty value", `{"alias": {"type": "uid", "values": ["a", ""]}}`, "alias.values[1]"},
		{"an alias of 1,001 values", `{"alias": {"values": [` + many(1001) + `]}}`, "alias.values"},
		{"an alias with a number", `{"alias": {"values": ["a", 1]}}`, "alias.values[1]"},
		{"an alias with a null", `{"alias": {"values": ["a", null]}}`, "alias.values[1]"},
		{"an alias whose type is null", `{"alias": {"type": null, "values": ["a"]}}`, "alias.type"},
		{"an alias whose type has 129 bytes", `{"alias": {"type": "` + strings.Repeat("a", 129) + `", "values": ["a"]}}`, "alias.type"},
		{"an alias with another part", `{"alias": {"value": "a"}}`, "alias.value"},
		{"an alias with parts that are no names", `{"alias": {"": 1}}`, "alias"},

		{"an account that is a text", `{"account": "a"}`, "account"},
		{"an account of nobody", `{"account": []}`, "account"},
		{"an account of 129 bytes", `{"account": ["` + strings.Repeat("a", 129) + `"]}`, "account[0]"},
		{"an account that is null", `{"account": [null]}`, "account[0]"},

		{"an attribute that is null", `{"attr": null, "op": "=", "value": "a"}`, "attr"},
		{"an attribute without a name", `{"attr": "", "op": "=", "value": "a"}`, "attr"},
		{"an attribute with a name of 65 bytes", `{"attr": "` + strings.Repeat("a", 65) + `", "op": "=", "value": "a"}`, "attr"},
		{"an attribute alone", `{"attr": "city"}`, "op"},
		{"an attribute without its operator", `{"attr": "city", "value": "a"}`, "op"},
		{"an unknown operator", `{"attr": "city", "op": "~", "value": "a"}`, "op"},
		{"an empty operator", `{"attr": "city", "op": "", "value": "a"}`, "op"},
		{"an operator that is null", `{"attr": "city", "op": null, "value": "a"}`, "op"},
		{"in as an operator", `{"attr": "city", "op": "in", "value": "a"}`, "op"},
		{"an operator without a value", `{"attr": "city", "op": "="}`, "value"},
		{"a value that is null", `{"attr": "city", "op": "=", "value": null}`, "value"},
		{"a value that is a list", `{"attr": "city", "op": "=", "value": ["a"]}`, "value"},
		{"an empty value", `{"attr": "city", "op": "=", "value": ""}`, "value"},
		{"a value of 257 bytes", `{"attr": "city", "op": "=", "value": "` + strings.Repeat("a", 257) + `"}`, "value"},
		{"an attribute that has no order", `{"attr": "city", "op": "<", "value": "杭州"}`, "value"},
		{"not a number", `{"attr": "age", "op": "<", "value": "NaN"}`, "value"},
		{"a version of an attribute that is none", `{"attr": "sdk_version", "op": ">", "value": "1.2.3"}`, "value"},
		{"a boolean that would need an order", `{"attr": "paid", "op": ">", "value": true}`, "value"},
		{"in that is no list", `{"attr": "city", "in": "a"}`, "in"},
		{"in nothing", `{"attr": "city", "in": []}`, "in"},
		{"in null", `{"attr": "city", "in": null}`, "in"},
		{"in 1,001 values", `{"attr": "city", "in": [` + many(1001) + `]}`, "in"},
		{"in an empty value", `{"attr": "city", "in": ["a", ""]}`, "in[1]"},
		{"in an object", `{"attr": "city", "in": ["a", {}]}`, "in[1]"},
		{"in beside an operator", `{"attr": "city", "op": "=", "in": ["a"]}`, "in"},
		{"in beside a value", `{"attr": "city", "value": "a", "in": ["a"]}`, "in"},
		{"a value twice", `{"attr": "city", "op": "=", "value": "a", "value": "b"}`, "value"},

		{"a platform that is a text", `{"platform": "ios"}`, "platform"},
		{"no platform", `{"platform": []}`, "platform"},
		{"an unknown platform", `{"platform": ["ios", "symbian"]}`, "platform[1]"},
		{"a platform twice", `{"platform": ["ios", "ios"]}`, "platform"},
		{"a platform that is null", `{"platform": [null]}`, "platform[0]"},

		{"a duration that is a number", `{"active_within": 7}`, "active_within"},
		{"a duration that is null", `{"bound_within": null}`, "bound_within"},
		{"a duration of no unit", `{"unbound_within": "7"}`, "unbound_within"},
		{"no duration", `{"active_within": ""}`, "active_within"},
		{"a duration of nothing", `{"active_within": "0s"}`, "active_within"},
		{"a duration back in time", `{"active_within": "-7d"}`, "active_within"},
		{"a duration of 300 years", `{"active_within": "109500d"}`, "active_within"},

		{"registered, a text", `{"registered": "2026-11-01"}`, "registered"},
		{"registered at no time", `{"registered": {}}`, "registered"},
		{"registered on a day", `{"registered": {"after": "2026-11-01"}}`, "registered.after"},
		{"registered at a time without a zone", `{"registered": {"before": "2026-11-01T00:00:00"}}`, "registered.before"},
		{"registered on a day that there is not", `{"registered": {"before": "2026-11-31T00:00:00Z"}}`, "registered.before"},
		{"registered in year 10000, in UTC", `{"registered": {"before": "9999-12-31T23:00:00-08:00"}}`, "registered.before"},
		{"registered in year 1", `{"registered": {"after": "0001-01-01T00:00:00Z"}}`, "registered.after"},
		{"registered at null", `{"registered": {"after": "2026-11-01T00:00:00Z", "before": null}}`, "registered.before"},
		{"registered before it is after", `{"registered": {"after": "2026-11-02T00:00:00Z", "before": "2026-11-01T00:00:00Z"}}`, "registered.before"},
		{"registered in no time", `{"registered": {"after": "2026-11-01T08:00:00+08:00", "before": "2026-11-01T00:00:00Z"}}`, "registered.before"},
		{"registered since", `{"registered": {"since": "2026-11-01T00:00:00Z"}}`, "registered.since"},

		{"a push id that is a number", `{"reached": 1}`, "reached"},
		{"a push id that is zero", `{"opened": "0"}`, "opened"},
		{"a push id that is none", `{"opened": "us123"}`, "opened"},
		{"a push id that is null", `{"reached": null}`, "reached"},
		{"sent nothing", `{"sent": ""}`, "sent"},
		{"in the target of a list", `{"targeted": ["1"]}`, "targeted"},
		{"has nothing known", `{"has": "email"}`, "has"},
		{"has a token of an unknown channel", `{"has": "token.pigeon"}`, "has"},
		{"has a list", `{"has": ["phone"]}`, "has"},
		{"has null", `{"has": null}`, "has"},
		{"a flag that is a text", `{"online": "true"}`, "online"},
		{"a flag that is a number", `{"test": 1}`, "test"},
		{"a flag that is null", `{"blacklisted": null}`, "blacklisted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, err := push.ParseWhere([]byte(tt.text))
			if !errors.Is(err, push.Invalid) || fieldOf(err) != tt.field {
				t.Errorf("got %+v, %v (field %q), want invalid at %q", w, err, fieldOf(err), tt.field)
			}
			if w.Leaf != nil || w.Of != nil {
				t.Errorf("got %+v beside the error", w)
			}
		})
	}
}

func TestWhereIsBounded(t *testing.T) {
	leaves := func(n int) string { return strings.TrimSuffix(strings.Repeat(`{"tag":"a"},`, n), ",") }
	nots := func(n int) string { return strings.Repeat(`{"not":`, n) + `{"tag":"a"}` + strings.Repeat("}", n) }
	ands := func(n int) string { return strings.Repeat(`{"and":[`, n) + `{"tag":"a"}` + strings.Repeat("]}", n) }
	for _, tt := range []struct {
		name, text string
		ok         bool
	}{
		{"4,096 parts side by side", `{"and":[` + leaves(4095) + `]}`, true},
		{"4,097 parts side by side", `{"and":[` + leaves(4096) + `]}`, false},
		{"8,000 parts side by side", `{"and":[` + leaves(8000) + `]}`, false},
		{"4,097 parts in two lists", `{"and":[{"or":[` + leaves(2047) + `]},{"or":[` + leaves(2047) + `]}]}`, false},
		{"4,000 nots in each other", nots(4000), true},
		{"4,096 nots in each other", nots(4096), false},
		{"4,095 lists in each other", ands(4095), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			began := time.Now()
			w, err := push.ParseWhere([]byte(tt.text))
			if tt.ok {
				if err != nil {
					t.Fatal(err)
				}
				roundTrip(t, w)
			} else if !errors.Is(err, push.Invalid) || fieldOf(err) != "" {
				t.Fatalf("got %v (field %q), want the whole refused", err, fieldOf(err))
			}
			// It takes milliseconds. The rest is for a machine with other things to do.
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
	deep := strings.Replace(nots(4000), `{"tag":"a"}`, `{"tag":""}`, 1)
	if _, err := push.ParseWhere([]byte(deep)); fieldOf(err) != strings.Repeat("not.", 4000)+"tag" {
		t.Errorf("got %.80v, want the path through 4,000 nots", err)
	}
}

// What code puts together is held against the same rules as what is read.
func TestWhereValidatesWhatCodeMakes(t *testing.T) {
	tooMany := make([]push.Where, push.MaxWhereNodes)
	for i := range tooMany {
		tooMany[i] = tag("a")
	}
	for _, tt := range []struct {
		name  string
		where push.Where
		field string
	}{
		{"the zero expression", push.Where{}, ""},
		{"a part that is zero", push.And(tag("a"), push.Where{}), "and[1]"},
		{"and of nothing", push.And(), "and"},
		{"or of nothing", push.Not(push.Or()), "not.or"},
		{"not of two", push.Where{Join: push.JoinNot, Of: []push.Where{tag("a"), tag("b")}}, "not"},
		{"not of nothing", push.Where{Join: push.JoinNot}, "not"},
		{"a leaf that joins", push.Where{Join: push.JoinAnd, Of: []push.Where{tag("a")}, Leaf: push.WhereTag("a")}, ""},
		{"a leaf with parts", push.Where{Of: []push.Where{tag("a")}, Leaf: push.WhereTag("a")}, ""},
		{"an unknown join", push.Or(push.Where{Join: 9, Of: []push.Where{tag("a")}}), "or[0]"},
		{"4,097 parts", push.And(tooMany...), ""},
		{"two values for one operator", attr("city", "=", "a", "b"), "value"},
		{"no value", attr("city", "!="), "value"},
		{"no values", push.Not(attr("city", "in")), "not.in"},
		{"an unknown operator", attr("city", "like", "a"), "op"},
		{"an unknown event", push.Is(push.WhereWithin{Event: "born_within", For: time.Hour}), ""},
		{"no time", push.Is(push.WhereWithin{Event: push.EventActive}), "active_within"},
		{"an unknown flag", flag("happy", true), ""},
		{"an unknown mark", push.Is(push.WherePush{Push: 1, Mark: push.MarkClicked}), ""},
		{"no push", push.Is(push.WherePush{Mark: push.MarkOpened}), "opened"},
		{"year 10000", push.Is(push.WhereRegistered{Before: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}), "registered.before"},
		{"a year before the first", push.Is(push.WhereRegistered{After: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)}), "registered.after"},
		{"a tag that is not UTF-8", tag("\xff"), "tag"},
		{"no platform", push.Is(push.WherePlatform{push.Platform(9)}), "platform"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.where.Validate(); !errors.Is(err, push.Invalid) || fieldOf(err) != tt.field {
				t.Errorf("got %v (field %q), want invalid at %q", err, fieldOf(err), tt.field)
			}
		})
	}
}

func TestWhereInAnAudience(t *testing.T) {
	var a push.Audience
	if err := json.Unmarshal([]byte(`{"where": {"tag": "vip"}}`), &a); err != nil || a.Validate() != nil {
		t.Fatalf("got %v, %v", err, a.Validate())
	}
	if a.Named() || !cmp.Equal(*a.Where, tag("vip")) {
		t.Errorf("got %+v", a)
	}
	w := push.And(tag("a"), push.Not(tag("")))
	if err := (push.Audience{Where: &w}).Validate(); fieldOf(err) != "where.and[1].not.tag" {
		t.Errorf("got %v (field %q), want where.and[1].not.tag", err, fieldOf(err))
	}
}

func TestLeavesComeFromLeftToRight(t *testing.T) {
	w := push.And(tag("a"), push.Or(push.Not(tag("b")), tag("c")), tag("d"))
	var all []push.Leaf
	for l := range w.Leaves {
		all = append(all, l)
	}
	if want := []push.Leaf{push.WhereTag("a"), push.WhereTag("b"), push.WhereTag("c"), push.WhereTag("d")}; !slices.Equal(all, want) {
		t.Errorf("got %v, want %v", all, want)
	}
	seen := 0
	for l := range w.Leaves {
		if seen++; l == push.Leaf(push.WhereTag("b")) {
			break
		}
	}
	if seen != 2 {
		t.Errorf("got %d leaves before the one that was looked for, want 2", seen)
	}
}

func TestAttributesCompare(t *testing.T) {
	for _, tt := range []struct {
		name  string
		where push.Where
		yes   string // values, divided by blanks
		no    string
	}{
		{"= is the text as it is", attr("app_version", "=", "1.0"), "1.0", "1 1.00 1.0.0 01.0"},
		{"!= is every other text", attr("app_version", "!=", "1.0"), "1 1.00 2", "1.0"},
		{"in is one of several texts", attr("level", "in", "1", "2"), "1 2", "3 01 1.0"},
		{"versions below", attr("app_version", "<", "1.10"), "1.9 1.9.99 1.09 0", "1.10 1.10.0 1.10.1 2 1.10-beta"},
		{"versions at most", attr("os_version", "<=", "1.10"), "1.9 1.10 1.10.0", "1.10.1 1.11"},
		{"versions above", attr("app_version", ">", "1.9"), "1.10 2 1.9.1 1.9b beta", "1.9 1.9.0 1.8"},
		{"versions at least", attr("app_version", ">=", "1.9"), "1.9 1.9.0 1.10", "1.8.99"},
		{"numbers below", attr("age", "<", "18"), "17 9 -1 17.9 1e1", "18 18.0 100 old 1.2.3 0x1"},
		{"numbers at most", attr("age", "<=", "18"), "18 18.0 9", "18.1 NaN"},
		{"numbers above", attr("age", ">", "9"), "10 1e3", "9 8 zz Inf"},
		{"numbers at least", attr("age", ">=", "9"), "9 09 9.0", "8.999 nine"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, ok := tt.where.Leaf.(push.WhereAttr)
			if !ok || tt.where.Validate() != nil {
				t.Fatalf("%+v is no valid attribute", tt.where)
			}
			for _, v := range strings.Fields(tt.yes) {
				if !l.Holds(v) {
					t.Errorf("%s %s %q does not hold for %q", l.Name, l.Op, l.Values, v)
				}
			}
			for _, v := range append(strings.Fields(tt.no), "") { // "" is a device without the attribute
				if l.Holds(v) {
					t.Errorf("%s %s %q holds for %q", l.Name, l.Op, l.Values, v)
				}
			}
		})
	}
}

func TestTagsAreCountedInCharacters(t *testing.T) {
	for n, ok := range map[int]bool{0: false, 1: true, push.MaxTagLength: true, push.MaxTagLength + 1: false} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			if err := push.ValidateTag(strings.Repeat("标", n)); (err == nil) != ok {
				t.Errorf("got %v, want ok %v", err, ok)
			}
		})
	}
}

// What is kept may be longer than what came: numbers become texts, and some characters are written in six. What has been
// accepted is read for ever all the same.
func TestExpressionThatGrows(t *testing.T) {
	leaf := `{"attr":"a","in":[` + strings.TrimSuffix(strings.Repeat("1,", 1000), ",") + `]}`
	expr := `{"or":[` + strings.TrimSuffix(strings.Repeat(leaf+",", 450), ",") + `]}`
	w, err := push.ParseWhere([]byte(expr))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Validate(); !errors.Is(err, push.Invalid) {
		t.Errorf("a request with it: got %v, want invalid", err)
	}
	kept, err := json.Marshal(w)
	if err != nil || len(kept) <= push.MaxWhere {
		t.Fatalf("it is kept in %d bytes, %v", len(kept), err)
	}
	var read push.Where
	if err := json.Unmarshal(kept, &read); err != nil {
		t.Errorf("reading what was kept: %v", err)
	}
}
