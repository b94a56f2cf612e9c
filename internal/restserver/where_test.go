package restserver_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/restserver"
)

// expressions are what a where may say, with the path of what is wrong; "ok" where nothing is. schema says that the schema
// cannot know better.
var expressions = []struct {
	name, where, field string
	schema             bool
}{
	{"a tag", `{"tag": "vip"}`, "ok", false},
	{"the one of the contract", `{"and": [{"tag": "vip"}, {"not": {"attr": "app_version", "op": "<", "value": "2.0"}},
		{"or": [{"attr": "province", "in": ["浙江", "上海"]}, {"active_within": "7d"}]}]}`, "ok", false},
	{"every leaf", `{"or": [{"alias": {"type": "uid", "values": ["1"]}}, {"alias": {"values": ["1"]}}, {"account": ["a"]},
		{"attr": "level", "op": ">=", "value": 3}, {"attr": "x", "op": "=", "value": true}, {"platform": ["ios"]}, {"bound_within": "36h"},
		{"unbound_within": "1d"}, {"registered": {"after": "2026-01-01T00:00:00Z", "before": "2026-02-01T00:00:00+08:00"}},
		{"targeted": "187649984473770"}, {"sent": "187649984473770"}, {"reached": "187649984473770"}, {"opened": "187649984473770"}, {"has": "phone"}, {"has": "token.apns"},
		{"online": true}, {"test": false}, {"blacklisted": false}]}`, "ok", false},
	{"nothing", `{}`, "", false},
	{"a text", `"vip"`, "", false},
	{"a list", `[{"tag": "a"}]`, "", false},
	{"two leaves in one", `{"online": true, "tag": "a"}`, "tag", false},
	{"a leaf beside a join", `{"and": [{"tag": "a"}], "tag": "b"}`, "tag", false},
	{"both forms of an attribute", `{"attr": "x", "op": "=", "value": "y", "in": ["z"]}`, "in", false},
	{"an operator beside a tag", `{"tag": "a", "op": "="}`, "op", false},
	{"an unknown leaf", `{"tagg": "a"}`, "tagg", false},
	{"a leaf in another case", `{"Tag": "a"}`, "Tag", false},
	{"an unknown leaf deep down", `{"and": [{"tag": "a"}, {"tag": "b"}, {"not": {"attribute": "x"}}]}`, "and[2].not.attribute", false},
	{"an empty name of an attribute deep down", `{"and": [{"tag": "a"}, {"tag": "b"}, {"not": {"attr": "", "op": "=", "value": "x"}}]}`, "and[2].not.attr", true},
	{"a number for a tag", `{"not": {"not": {"tag": 7}}}`, "not.not.tag", false},
	{"null for a tag", `{"tag": null}`, "tag", false},
	{"nothing joined", `{"or": []}`, "or", false},
	{"an object joined", `{"and": {"tag": "a"}}`, "and", false},
	{"a list negated", `{"not": [{"tag": "a"}]}`, "not", false},
	{"an unknown operator", `{"attr": "x", "op": "~", "value": "y"}`, "op", false},
	{"no value", `{"attr": "x", "op": "="}`, "value", false},
	{"no operator", `{"attr": "x"}`, "op", false},
	{"a value that is an object", `{"attr": "x", "op": "=", "value": {}}`, "value", false},
	{"an order of what is no number", `{"attr": "x", "op": "<", "value": "y"}`, "value", true},
	{"in nothing", `{"attr": "x", "in": []}`, "in", false},
	{"an unknown platform", `{"platform": ["ios", "symbian"]}`, "platform[1]", false},
	{"a number for a duration", `{"active_within": 7}`, "active_within", false},
	{"an unknown unit", `{"active_within": "7 days"}`, "active_within", true},
	{"a time that is none", `{"registered": {"after": "yesterday"}}`, "registered.after", true},
	{"no time", `{"registered": {}}`, "registered", false},
	{"a push id that is none", `{"reached": "x"}`, "reached", false},
	{"a number for a push id", `{"sent": 5}`, "sent", false},
	{"a token of nobody", `{"has": "token.pigeon"}`, "has", false},
	{"a text for a flag", `{"online": "yes"}`, "online", false},
	{"no values of an alias", `{"alias": {"type": "uid"}}`, "alias.values", false},
	{"an unknown part of an alias", `{"alias": {"kind": "uid", "values": ["1"]}}`, "alias.kind", false},
}

func TestWhere(t *testing.T) {
	s := newSite(t, restserver.Options{})
	for _, tt := range expressions {
		t.Run(tt.name, func(t *testing.T) {
			sent := len(s.pushes)
			body := `{"audience": {"where": ` + tt.where + `}, "message": {"data": 1}}`
			r := s.call(t, key1, "POST", pushes, body)
			if tt.field == "ok" {
				into[push.Push](t, r, 202)
				got, err := json.Marshal(s.pushes[sent].Request.Audience.Where)
				if err != nil {
					t.Fatal(err)
				}
				want, err := push.ParseWhere([]byte(tt.where))
				if err != nil {
					t.Fatal(err)
				}
				if again, _ := json.Marshal(want); string(got) != string(again) {
					t.Errorf("asked for %s, want %s", got, again)
				}
				return
			}
			path := strings.TrimSuffix("audience.where."+tt.field, ".")
			wantProblem(t, r, 400, "invalid", path)
			wantProblem(t, s.call(t, key1, "POST", pushes+"?dry_run=true", body), 400, "invalid", path)
			if len(s.pushes) != sent {
				t.Errorf("%d pushes were made, want none", len(s.pushes)-sent)
			}
		})
	}
	t.Run("beside another fault, in the order of names", func(t *testing.T) {
		wantProblem(t, s.call(t, key1, "POST", pushes, `{"audience": {"where": {"tag": 1}}, "message": {"datum": 1}}`), 400, "invalid", "audience.where.tag")
	})
	t.Run("null beside another fault", func(t *testing.T) {
		wantProblem(t, s.call(t, key1, "POST", pushes, `{"audience": {"where": null, "of": null, "all": true}, "message": {"datum": 1}}`), 400, "invalid", "message.datum")
	})
	t.Run("with names of fields in upper case inside the values", func(t *testing.T) {
		into[push.Push](t, s.call(t, key1, "POST", pushes, `{"audience": {"where": {"attr": "Level", "in": ["A"]}}, "message": {"data": {"A": 1}}}`), 202)
	})
	t.Run("too many parts", func(t *testing.T) {
		parts := strings.Repeat(`{"tag": "a"},`, 4095) + `{"tag": "a"}`
		wantProblem(t, s.call(t, key1, "POST", pushes, `{"audience": {"where": {"and": [`+parts+`]}}, "message": {"data": 1}}`), 400, "invalid", "audience.where")
	})
	t.Run("nested deeply", func(t *testing.T) {
		deep := strings.Repeat(`{"not": `, 4000) + `{"tag": "a"}` + strings.Repeat(`}`, 4000)
		into[push.Push](t, s.call(t, key1, "POST", pushes, `{"audience": {"where": `+deep+`}, "message": {"data": 1}}`), 202)
	})
	t.Run("nested beyond what JSON may", func(t *testing.T) {
		deep := strings.Repeat(`{"not": `, 20_000) + `{"tag": "a"}` + strings.Repeat(`}`, 20_000)
		wantProblem(t, s.call(t, key1, "POST", pushes, `{"audience": {"where": `+deep+`}, "message": {"data": 1}}`), 400, "invalid", "")
	})
}

// TestWhereSchema holds the schema, which is written by hand, against what is taken and refused.
func TestWhereSchema(t *testing.T) {
	doc, _ := spec(t)
	schemas := doc["components"].(map[string]any)["schemas"].(map[string]any)
	for _, tt := range expressions {
		t.Run(tt.name, func(t *testing.T) {
			var v any
			if err := json.Unmarshal([]byte(tt.where), &v); err != nil {
				t.Fatal(err)
			}
			if well := fits(schemas, schemas["Where"].(map[string]any), v); well != (tt.field == "ok" || tt.schema) {
				t.Errorf("the schema takes %s: %v", tt.where, well)
			}
		})
	}
}

// fits reports whether v is what a schema says, for those words of JSON Schema that the one of expressions uses.
func fits(schemas, s map[string]any, v any) bool {
	if ref, ok := s["$ref"].(string); ok {
		return fits(schemas, schemas[strings.TrimPrefix(ref, "#/components/schemas/")].(map[string]any), v)
	}
	types := map[string]bool{"string": false, "number": false, "boolean": false, "array": false, "object": false}
	switch v := v.(type) {
	case string:
		types["string"] = true
		if p, ok := s["pattern"].(string); ok && !regexp.MustCompile(p).MatchString(v) {
			return false
		}
	case float64:
		types["number"] = true
	case bool:
		types["boolean"] = true
	case []any:
		types["array"] = true
		if least, ok := s["minItems"].(float64); ok && len(v) < int(least) {
			return false
		}
		for _, item := range v {
			if items, ok := s["items"].(map[string]any); ok && !fits(schemas, items, item) {
				return false
			}
		}
	case map[string]any:
		types["object"] = true
		if !fitsMembers(schemas, s, v) {
			return false
		}
	}
	if t, ok := s["type"].(string); ok && !types[t] {
		return false
	}
	if all, ok := s["enum"].([]any); ok && !slices.Contains(all, v) {
		return false
	}
	if all, ok := s["oneOf"].([]any); ok {
		n := 0
		for _, one := range all {
			if fits(schemas, one.(map[string]any), v) {
				n++
			}
		}
		return n == 1
	}
	return true
}

// fitsMembers is fits for objects.
func fitsMembers(schemas, s, v map[string]any) bool {
	has := func(names any) bool {
		all, _ := names.([]any)
		return !slices.ContainsFunc(all, func(name any) bool { _, ok := v[name.(string)]; return !ok })
	}
	if least, ok := s["minProperties"].(float64); ok && len(v) < int(least) || !has(s["required"]) {
		return false
	}
	properties, _ := s["properties"].(map[string]any)
	dependent, _ := s["dependentRequired"].(map[string]any)
	for name, member := range v {
		p, known := properties[name].(map[string]any)
		if known && !fits(schemas, p, member) || !known && s["additionalProperties"] == false || !has(dependent[name]) {
			return false
		}
	}
	return true
}

// TestOtherAudiences shows that all forms arrive as they were written.
func TestOtherAudiences(t *testing.T) {
	s := newSite(t, restserver.Options{})
	for _, tt := range []struct{ name, audience, field string }{
		{"aliases", `{"aliases":{"type":"uid","values":["1","2"]}}`, "ok"},
		{"accounts", `{"accounts":["a"],"platforms":["ios"]}`, "ok"},
		{"a file of devices", `{"file":"f1","of":"devices"}`, "ok"},
		{"a file of aliases", `{"file":"f1","of":{"alias":"uid"}}`, "ok"},
		{"a file of nothing", `{"file": "f1"}`, "audience.of"},
		{"no values", `{"aliases": {"type": "uid"}}`, "audience.aliases.values"},
		{"no accounts", `{"accounts": []}`, "audience.accounts"},
		{"two forms", `{"accounts": ["a"], "where": {"tag": "a"}}`, "audience"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := s.call(t, key1, "POST", pushes, `{"audience": `+tt.audience+`, "message": {"data": 1}}`)
			if tt.field != "ok" {
				wantProblem(t, r, 400, "invalid", tt.field)
				return
			}
			into[push.Push](t, r, 202)
			got, err := json.Marshal(s.pushes[len(s.pushes)-1].Request.Audience)
			if err != nil || string(got) != tt.audience {
				t.Errorf("got %s, %v, want %s", got, err, tt.audience)
			}
		})
	}
}
