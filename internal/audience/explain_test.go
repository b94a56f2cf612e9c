package audience_test

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/audience"
	"github.com/carillonpush/carillon/internal/push"
)

// Of every device it is said what Select says of it, and if it is not in, the path leads to a leaf that is to blame.
func TestExplainAgreesWithTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		for _, r := range rapid.SliceOfN(rows(), 1, 40).Draw(t, "rows") {
			w.apply(r)
		}
		where := wheres(3).Draw(t, "where")
		m := w.models[1]
		for _, o := range m.where(everybody) {
			w.explain(t, m.rows[o], where)
		}
	})
}

// The forms that sets and columns have in a crowd are asked, too.
func TestExplainInACrowd(t *testing.T) {
	w := crowd(5, 70_000)
	rapid.Check(t, func(t *rapid.T) {
		where := wheres(2).Draw(t, "where")
		for range 20 {
			o := push.Ordinal(rapid.Uint32Range(0, 69_999).Draw(t, "ordinal"))
			w.explain(t, w.models[1].rows[o], where)
		}
	})
}

func (w world) explain(t *rapid.T, r push.IndexRow, where push.Where) {
	t.Helper()
	json, _ := where.MarshalJSON()
	holds, path, err := w.index.Explain(query(1, where), r.Ref.Ordinal)
	want := w.models[1].holds(r, where)
	switch {
	case err != nil || holds != want:
		t.Fatalf("device %d, %s: got %t, %v, want %t", r.Ref.Ordinal, json, holds, err, want)
	case holds && path != "":
		t.Fatalf("device %d, %s: holds, and yet %s does not", r.Ref.Ordinal, json, path)
	case holds:
		return
	}
	leaf, negated := follow(t, where, path)
	if w.models[1].holds(r, leaf) != negated {
		t.Fatalf("device %d, %s: %s is not to blame", r.Ref.Ordinal, json, path)
	}
}

var step = regexp.MustCompile(`^(?:(not)|(?:and|or)\[(\d+)\])\.`)

// follow returns the leaf to which a path leads, and whether it is negated on the way.
func follow(t *rapid.T, w push.Where, path string) (leaf push.Where, negated bool) {
	for {
		found := step.FindStringSubmatch(path)
		if found == nil {
			break
		}
		path = path[len(found[0]):]
		if found[1] != "" {
			w, negated = w.Of[0], !negated
			continue
		}
		i, _ := strconv.Atoi(found[2])
		w = w.Of[i]
	}
	if w.Leaf == nil || path != push.LeafName(w.Leaf) {
		t.Fatalf("the path ends at %q, which is %+v", path, w)
	}
	return w, negated
}

func TestExplainNamesTheFirstLeaf(t *testing.T) {
	w := newWorld()
	w.apply(push.IndexRow{
		Ref: push.Ref{App: 1, Ordinal: 7, Generation: 1, Platform: push.IOS}, Registered: now.Unix(),
		Tags: []push.TagID{1}, Attributes: []push.Attribute{{Name: "province", Value: "浙江"}},
	})
	for _, tt := range []struct{ name, where, want string }{
		{"a leaf", `{"tag": "new"}`, "tag"},
		{"a leaf that holds", `{"tag": "vip"}`, ""},
		{"the second of and", `{"and": [{"tag": "vip"}, {"attr": "province", "op": "=", "value": "上海"}, {"tag": "new"}]}`, "and[1].attr"},
		{"a negated leaf", `{"and": [{"tag": "vip"}, {"not": {"attr": "province", "in": ["浙江"]}}]}`, "and[1].not.attr"},
		{"none of or", `{"or": [{"platform": ["android", "web"]}, {"tag": "new"}]}`, "or[0].platform"},
		{"one of or", `{"or": [{"platform": ["android"]}, {"tag": "vip"}]}`, ""},
		{"what of or holds, negated", `{"not": {"or": [{"tag": "new"}, {"platform": ["ios"]}]}}`, "not.or[1].platform"},
		{"and that holds, negated", `{"not": {"and": [{"tag": "vip"}, {"not": {"tag": "new"}}]}}`, "not.and[0].tag"},
		{"and that does not, negated", `{"not": {"and": [{"tag": "vip"}, {"tag": "new"}]}}`, ""},
		{"or negated after or", `{"and": [{"or": [{"tag": "new"}, {"tag": "vip"}]}, {"not": {"tag": "vip"}}]}`, "and[1].not.tag"},
		{"twice negated", `{"not": {"not": {"has": "phone"}}}`, "not.not.has"},
		{"offline", `{"online": true}`, "online"},
		{"not a test device", `{"test": true}`, "test"},
		{"an attribute that nobody has", `{"attr": "colour", "op": "=", "value": "red"}`, "attr"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			where, err := push.ParseWhere([]byte(tt.where))
			if err != nil {
				t.Fatal(err)
			}
			holds, path, err := w.index.Explain(query(1, where), 7)
			if err != nil || path != tt.want || holds != (tt.want == "") {
				t.Errorf("got %t at %q, %v; want %q", holds, path, err, tt.want)
			}
		})
	}
	var none audience.Index
	for _, x := range []*audience.Index{&none, w.index} { // no such app, and no such chunk
		if holds, path, err := x.Explain(query(1, push.Is(push.WhereTag("vip"))), math.MaxUint32); holds || path != "" || err != nil {
			t.Errorf("nobody: got %t, %q, %v", holds, path, err)
		}
	}
}

// What cannot be asked is refused as Select refuses it, with its path.
func TestExplainRefuses(t *testing.T) {
	w := newWorld()
	for i := range push.Ordinal(audience.MaxValues + 1) {
		w.apply(push.IndexRow{
			Ref:        push.Ref{App: 1, Ordinal: i, Generation: 1, Platform: push.Android},
			Attributes: []push.Attribute{{Name: "serial", Value: fmt.Sprint(i)}},
		})
	}
	if got := w.index.Attribute(1, 5, "serial"); got != "" {
		t.Errorf("got %q of an attribute that is not indexed", got)
	}
	where := push.And(push.Is(push.WhereTag("vip")), push.Not(push.Is(push.WhereAttr{Name: "serial", Op: push.OpIs, Values: []string{"5"}})))
	_, _, err := w.index.Explain(query(1, where), 5)
	var e *push.Error
	if !errors.As(err, &e) || e.Kind != push.Invalid || e.Field != "and[1].not.attr" || !strings.Contains(e.Msg, "different values") {
		t.Errorf("got %v", err)
	}
}
