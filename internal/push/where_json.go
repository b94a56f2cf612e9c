package push

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"
)

// ParseWhere reads the JSON form of an expression (docs/audiences.md). What is wrong is Invalid with the path of the part:
// "and[2].not.attr". An expression that it returns is valid.
func ParseWhere(b []byte) (Where, error) {
	if len(b) > MaxWhere {
		return Where{}, errWhereTooLong
	}
	return readWhere(b)
}

// readWhere is ParseWhere for an expression of any length. What was accepted once must be read from the record for ever.
func readWhere(b []byte) (Where, error) {
	v, err := ReadJSON(b)
	if err != nil {
		return Where{}, err
	}
	nodes := 0
	w, err := parseWhere(v, &nodes)
	switch {
	case nodes > MaxWhereNodes: // the whole is too large, not the part at which that was noticed
		return Where{}, errTooManyNodes
	case err != nil:
		return Where{}, err
	}
	return w, nil
}

// UnmarshalJSON reads w as ParseWhere does, whatever its length, which is for Validate to judge.
func (w *Where) UnmarshalJSON(b []byte) error {
	parsed, err := readWhere(b)
	if err != nil {
		return err
	}
	*w = parsed
	return nil
}

// MarshalJSON writes w so that ParseWhere reads it.
func (w Where) MarshalJSON() ([]byte, error) { return marshal(w.tree()) }

func (w Where) tree() any {
	if w.Leaf != nil {
		return w.Leaf.members()
	}
	if w.Join == JoinNot && len(w.Of) == 1 {
		return map[string]any{"not": w.Of[0].tree()}
	}
	parts := make([]any, len(w.Of))
	for i := range w.Of {
		parts[i] = w.Of[i].tree()
	}
	return map[string]any{joinNames[w.Join]: parts}
}

func parseWhere(v any, nodes *int) (Where, error) {
	if *nodes++; *nodes > MaxWhereNodes {
		return Where{}, errTooManyNodes
	}
	members, ok := v.(map[string]any)
	if !ok {
		return Where{}, invalid("", "must be an object")
	}
	name, err := discriminator(members)
	if err != nil {
		return Where{}, err
	}
	switch name {
	case "and", "or":
		return parseList(name, members[name], nodes)
	case "not":
		of, err := parseWhere(members[name], nodes)
		return Not(of), Within(name, err)
	}
	leaf, err := leafParsers[name](members)
	if err != nil {
		return Where{}, err
	}
	return Is(leaf), leaf.validate()
}

func parseList(name string, v any, nodes *int) (Where, error) {
	list, ok := v.([]any)
	switch {
	case !ok:
		return Where{}, invalid(name, "must be a list of expressions")
	case len(list) == 0:
		return Where{}, invalid(name, "joins nothing: at least one expression")
	case len(list) > MaxWhereNodes:
		*nodes += len(list)
		return Where{}, errTooManyNodes
	}
	w := Where{Join: JoinAnd, Of: make([]Where, len(list))}
	if name == "or" {
		w.Join = JoinOr
	}
	for i := range list {
		var err error
		if w.Of[i], err = parseWhere(list[i], nodes); err != nil {
			return Where{}, Within(name+"["+strconv.Itoa(i)+"]", err)
		}
	}
	return w, nil
}

// discriminator returns the member that says what an object is. All others must belong to it.
func discriminator(members map[string]any) (string, error) {
	others := []string{}
	if _, ok := members["attr"]; ok {
		others = []string{"op", "value", "in"}
	}
	found := ""
	for _, k := range slices.Sorted(maps.Keys(members)) {
		_, leaf := leafParsers[k]
		switch {
		case slices.Contains(others, k):
		case !leaf && k != "and" && k != "or" && k != "not":
			return "", invalid(shown(k), "is nothing that can be asked")
		case found != "":
			return "", invalid(k, "stands beside "+found+": join them with and or or")
		default:
			found = k
		}
	}
	if found == "" {
		return "", invalid("", "asks nothing")
	}
	return found, nil
}

// leafParsers reads the leaves, by the member that says which it is.
var leafParsers = map[string]func(members map[string]any) (Leaf, error){
	"tag":                   parseTag,
	"alias":                 parseAlias,
	"account":               parseAccount,
	"attr":                  parseAttr,
	"platform":              parsePlatform,
	"registered":            parseRegistered,
	"has":                   parseHas,
	"targeted":              parsePush(MarkTargeted),
	"sent":                  parsePush(MarkSent),
	"reached":               parsePush(MarkDelivered),
	"opened":                parsePush(MarkOpened),
	string(EventActive):     parseWithin(EventActive),
	string(EventBound):      parseWithin(EventBound),
	string(EventUnbound):    parseWithin(EventUnbound),
	string(FlagOnline):      parseFlag(FlagOnline),
	string(FlagTest):        parseFlag(FlagTest),
	string(FlagBlacklisted): parseFlag(FlagBlacklisted),
}

func parseTag(m map[string]any) (Leaf, error) {
	tag, err := str("tag", m["tag"])
	return WhereTag(tag), err
}

func parseAlias(m map[string]any) (Leaf, error) {
	parts, err := partsOf("alias", m["alias"], "type", "values")
	if err != nil {
		return nil, err
	}
	var a WhereAlias
	if t, ok := parts["type"]; ok {
		if a.Type, err = str("alias.type", t); err != nil {
			return nil, err
		}
	}
	a.Values, err = strs("alias.values", parts["values"])
	return a, err
}

func parseAccount(m map[string]any) (Leaf, error) {
	all, err := strs("account", m["account"])
	return WhereAccount(all), err
}

func parseAttr(m map[string]any) (Leaf, error) {
	name, err := str("attr", m["attr"])
	if err != nil {
		return nil, err
	}
	a := WhereAttr{Name: name}
	in, isIn := m["in"]
	value, isValue := m["value"]
	op, isOp := m["op"]
	switch {
	case isIn && (isOp || isValue):
		return nil, invalid("in", "stands beside op or value")
	case !isIn && !isOp:
		return nil, invalid("op", "is missing")
	case isIn:
		list, ok := in.([]any)
		if !ok {
			return nil, invalid("in", "must be a list")
		}
		a.Op = OpIn
		for i, v := range list {
			s, err := scalar("in["+strconv.Itoa(i)+"]", v)
			if err != nil {
				return nil, err
			}
			a.Values = append(a.Values, s)
		}
		return a, nil
	}
	text, err := str("op", op)
	if err != nil {
		return nil, err
	}
	if a.Op = Operator(text); a.Op == OpIn {
		return nil, invalid("op", "is =, !=, <, <=, > or >=")
	}
	if isValue {
		s, err := scalar("value", value)
		if err != nil {
			return nil, err
		}
		a.Values = []string{s}
	}
	return a, nil
}

func parsePlatform(m map[string]any) (Leaf, error) {
	list, err := strs("platform", m["platform"])
	if err != nil {
		return nil, err
	}
	all := make(WherePlatform, len(list))
	for i, name := range list {
		if err := all[i].UnmarshalText([]byte(name)); err != nil {
			return nil, invalid("platform["+strconv.Itoa(i)+"]", "is android, ios, harmony or web")
		}
	}
	return all, nil
}

func parseRegistered(m map[string]any) (Leaf, error) {
	parts, err := partsOf("registered", m["registered"], "after", "before")
	if err != nil {
		return nil, err
	}
	var r WhereRegistered
	for _, k := range slices.Sorted(maps.Keys(parts)) {
		into, field := &r.After, "registered."+k
		if k == "before" {
			into = &r.Before
		}
		s, err := str(field, parts[k])
		if err != nil {
			return nil, err
		}
		t, err := time.Parse(time.RFC3339, s)
		if err != nil || t.IsZero() { // which would be no bound
			return nil, invalid(field, "must be a time like 2026-11-25T09:00:00+08:00")
		}
		*into = t.UTC() // in which it can always be written
	}
	return r, nil
}

func parseHas(m map[string]any) (Leaf, error) {
	what, err := str("has", m["has"])
	return WhereHas(what), err
}

func parsePush(mark Mark) func(map[string]any) (Leaf, error) {
	name := pushLeaves[mark]
	return func(m map[string]any) (Leaf, error) {
		s, err := str(name, m[name])
		if err != nil {
			return nil, err
		}
		var id ID
		if id.UnmarshalText([]byte(s)) != nil {
			return nil, invalid(name, "is a push id")
		}
		return WherePush{id, mark}, nil
	}
}

func parseWithin(e DayEvent) func(map[string]any) (Leaf, error) {
	return func(m map[string]any) (Leaf, error) {
		s, err := str(string(e), m[string(e)])
		if err != nil {
			return nil, err
		}
		d, err := ParseDuration(s)
		if err != nil {
			return nil, invalid(string(e), "must be a duration like 36h or 7d")
		}
		return WhereWithin{e, d}, nil
	}
}

func parseFlag(f Flag) func(map[string]any) (Leaf, error) {
	return func(m map[string]any) (Leaf, error) {
		v, ok := m[string(f)].(bool)
		if !ok {
			return nil, invalid(string(f), "must be true or false")
		}
		return WhereFlag{f, v}, nil
	}
}

func str(field string, v any) (string, error) {
	s, ok := v.(string)
	if !ok {
		return "", invalid(field, "must be a string")
	}
	return s, nil
}

func strs(field string, v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, invalid(field, "must be a list of strings")
	}
	all := make([]string, len(list))
	for i := range list {
		var err error
		if all[i], err = str(field+"["+strconv.Itoa(i)+"]", list[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// scalar returns a string, a number or a boolean as the text that an attribute would have.
func scalar(field string, v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		return strconv.FormatBool(v), nil
	}
	return "", invalid(field, "must be a string, a number or a boolean")
}

func (l WhereTag) members() map[string]any     { return map[string]any{"tag": string(l)} }
func (l WhereAlias) members() map[string]any   { return map[string]any{"alias": Aliases(l)} }
func (l WhereAccount) members() map[string]any { return map[string]any{"account": []string(l)} }

func (l WhereAttr) members() map[string]any {
	if l.Op == OpIn {
		return map[string]any{"attr": l.Name, "in": l.Values}
	}
	m := map[string]any{"attr": l.Name, "op": l.Op}
	if len(l.Values) > 0 {
		m["value"] = l.Values[0]
	}
	return m
}

func (l WherePlatform) members() map[string]any { return map[string]any{"platform": []Platform(l)} }

func (l WhereWithin) members() map[string]any {
	return map[string]any{string(l.Event): Duration(l.For)}
}

func (l WhereRegistered) members() map[string]any {
	parts := map[string]any{}
	if !l.After.IsZero() {
		parts["after"] = l.After
	}
	if !l.Before.IsZero() {
		parts["before"] = l.Before
	}
	return map[string]any{"registered": parts}
}

func (l WherePush) members() map[string]any {
	return map[string]any{pushLeaves[l.Mark]: l.Push.String()}
}
func (l WhereHas) members() map[string]any  { return map[string]any{"has": string(l)} }
func (l WhereFlag) members() map[string]any { return map[string]any{string(l.Flag): l.Value} }

// LeafName returns the name by which a leaf is asked, which is the last step of the path of its faults: "attr", "reached".
func LeafName(l Leaf) string {
	name, _ := discriminator(l.members()) // "" for a leaf that is not valid
	return name
}
