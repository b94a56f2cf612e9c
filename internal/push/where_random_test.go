package push_test

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/push"
)

func TestAnyWhereIsReadAsItIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWhere(4).Draw(t, "where")
		roundTrip(t, w)
		leaves := 0
		for range w.Leaves {
			leaves++
		}
		b, _ := json.Marshal(w) // roundTrip has done it
		if leaves == 0 || leaves > strings.Count(string(b), "{") {
			t.Fatalf("%s has %d leaves", b, leaves)
		}
	})
}

// A fault is found wherever it is, and its path leads there.
func TestAnyFaultIsFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, path := push.Is(push.WhereTag("")), "tag"
		for range rapid.IntRange(0, 8).Draw(t, "depth") {
			switch join := rapid.SampledFrom([]string{"and", "or", "not"}).Draw(t, "join"); join {
			case "not":
				w, path = push.Not(w), "not."+path
			default:
				parts := rapid.SliceOfN(anyWhere(1), 0, 11).Draw(t, "before")
				at := len(parts)
				parts = append(append(parts, w), rapid.SliceOfN(anyWhere(1), 0, 2).Draw(t, "after")...)
				if w = push.And(parts...); join == "or" {
					w = push.Or(parts...)
				}
				path = join + "[" + strconv.Itoa(at) + "]." + path
			}
		}
		if err := w.Validate(); fieldOf(err) != path {
			t.Fatalf("got %v (field %q), want field %q", err, fieldOf(err), path)
		}
		b, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := push.ParseWhere(b); fieldOf(err) != path {
			t.Fatalf("read: got %v (field %q), want field %q", err, fieldOf(err), path)
		}
	})
}

// anyWhere draws valid expressions of at most depth joins on top of each other.
func anyWhere(depth int) *rapid.Generator[push.Where] {
	return rapid.Custom(func(t *rapid.T) push.Where {
		join := rapid.SampledFrom([]push.Join{push.JoinNone, push.JoinAnd, push.JoinOr, push.JoinNot}).Draw(t, "join")
		switch {
		case depth == 0 || join == push.JoinNone:
			return push.Is(anyLeaf(t))
		case join == push.JoinNot:
			return push.Not(anyWhere(depth-1).Draw(t, "of"))
		}
		return push.Where{Join: join, Of: rapid.SliceOfN(anyWhere(depth-1), 1, 4).Draw(t, "of")}
	})
}

var (
	anyName   = rapid.StringN(1, 32, 128).Filter(kept)
	anyNames  = rapid.SliceOfN(anyName, 1, 5)
	anyMoment = rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(-1<<33, 1<<34).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds")).UTC()
	})
)

// kept reports whether a text may be kept: what the JSON package would change is not drawn.
func kept(s string) bool {
	return !strings.ContainsRune(s, 0) && strings.ToValidUTF8(s, "") == s
}

func anyLeaf(t *rapid.T) push.Leaf {
	switch rapid.IntRange(0, 9).Draw(t, "leaf") {
	case 0:
		return push.WhereTag(rapid.StringN(1, push.MaxTagLength, -1).Filter(kept).Draw(t, "tag"))
	case 1:
		return push.WhereAlias{Type: rapid.StringN(0, 32, 128).Filter(kept).Draw(t, "type"), Values: anyNames.Draw(t, "aliases")}
	case 2:
		return push.WhereAccount(anyNames.Draw(t, "accounts"))
	case 3:
		return anyAttr(t)
	case 4:
		return push.WherePlatform(rapid.SliceOfNDistinct(rapid.SampledFrom(push.Platforms()), 1, 4, rapid.ID).Draw(t, "platforms"))
	case 5:
		event := rapid.SampledFrom([]push.DayEvent{push.EventActive, push.EventBound, push.EventUnbound}).Draw(t, "event")
		return push.WhereWithin{Event: event, For: time.Duration(rapid.Int64Range(1, 1<<53).Draw(t, "for"))}
	case 6:
		r := push.WhereRegistered{After: anyMoment.Draw(t, "after")}
		switch rapid.IntRange(0, 2).Draw(t, "bounds") {
		case 1:
			r = push.WhereRegistered{Before: r.After}
		case 2:
			r.Before = r.After.Add(time.Duration(rapid.Int64Range(1, 1<<50).Draw(t, "span")))
		}
		return r
	case 7:
		mark := rapid.SampledFrom([]push.Mark{push.MarkTargeted, push.MarkSent, push.MarkDelivered, push.MarkOpened}).Draw(t, "mark")
		return push.WherePush{Push: push.ID(rapid.Int64Range(1, 1<<62).Draw(t, "push")), Mark: mark}
	case 8:
		return push.WhereHas(rapid.SampledFrom(append(tokens(), push.HasPhone)).Draw(t, "has"))
	}
	f := rapid.SampledFrom([]push.Flag{push.FlagOnline, push.FlagTest, push.FlagBlacklisted}).Draw(t, "flag")
	return push.WhereFlag{Flag: f, Value: rapid.Bool().Draw(t, "value")}
}

func anyAttr(t *rapid.T) push.WhereAttr {
	a := push.WhereAttr{
		Name: rapid.SampledFrom([]string{"app_version", "os_version", "city", "level", "a-b.c_9"}).Draw(t, "name"),
		Op:   rapid.SampledFrom([]push.Operator{"=", "!=", "<", "<=", ">", ">=", "in"}).Draw(t, "op"),
	}
	switch {
	case a.Op == push.OpIn:
		a.Values = anyNames.Draw(t, "values")
	case a.Op.Ordered() && !push.IsVersion(a.Name):
		a.Values = []string{rapid.StringMatching(`-?[0-9]{1,9}(\.[0-9]{1,3})?(e[0-9])?`).Draw(t, "number")}
	default:
		a.Values = []string{anyName.Draw(t, "value")}
	}
	return a
}

func tokens() []string {
	all := push.TokenChannels()
	for i := range all {
		all[i] = push.HasToken + all[i]
	}
	return all
}

// Nothing that anybody sends makes ParseWhere panic; what it reads is valid, and is read again as it is written.
func FuzzParseWhere(f *testing.F) {
	for _, g := range goodWheres {
		f.Add([]byte(g.text))
	}
	for _, bad := range []string{
		`{"and": [{"tag": null}, {"not": []}]}`, `{"tag": "a", "tag": "b"}`, `{"registered": {"after": "0000-01-01T00:00:00+23:59"}}`,
		`{"active_within": "1µs"}`, `{"attr": "a", "op": ">", "value": 1e999}`, `{"reached": "9223372036854775808"}`,
		strings.Repeat(`{"not":`, 100), `[[[[`, "\xff", `{"alias": {"values": ["\ud800"]}}`,
	} {
		f.Add([]byte(bad))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := push.ParseWhere(b)
		if err != nil {
			if push.KindOf(err) != push.Invalid {
				t.Fatalf("got %v, want invalid", err)
			}
			if !reflect.DeepEqual(w, push.Where{}) {
				t.Fatalf("got %+v beside %v", w, err)
			}
			return
		}
		roundTrip(t, w)
	})
}
