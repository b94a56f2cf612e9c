package repotest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/repotest"
)

// fields returns n fields of a struct, each with tag.
func fields(n int, tag string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "\tF%d int %s\n", i, tag)
	}
	return b.String()
}

func TestBudgets(t *testing.T) {
	// A function of n lines, and a file of n more.
	function := func(n int) string { return "package a\nfunc f() {\n" + strings.Repeat("\n", n-2) + "}\n" }
	file := func(n int) string { return "package a\n" + strings.Repeat("//\n", n-1) }
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"a file of 600 lines", map[string]string{"a/a.go": file(600)}, nil},
		{"a file of 601 lines", map[string]string{"a/a.go": file(601)}, []string{"a/a.go:1: a/a.go has 601 lines, at most 600"}},
		{"a test of 900 lines", map[string]string{"a/a_test.go": file(900)}, nil},
		{
			"a test of 901 lines",
			map[string]string{"a/a_test.go": file(901)},
			[]string{"a/a_test.go:1: a/a_test.go has 901 lines, at most 900"},
		},
		{"a function of 100 lines", map[string]string{"a/a.go": function(100)}, nil},
		{"a function of 101 lines", map[string]string{"a/a.go": function(101)}, []string{"a/a.go:2: a.f has 101 lines, at most 100"}},
		{"a test function of 101 lines", map[string]string{"a/a_test.go": function(101)}, nil},
		{
			"a function of 101 lines in a variable",
			map[string]string{"a/a.go": "package a\nvar g = map[string]func(){\"x\": func() {\n" + strings.Repeat("\n", 99) + "}}\n"},
			[]string{"a/a.go:2: a.g has 101 lines, at most 100"},
		},
		{
			"an interface of six, one embedded",
			map[string]string{
				"a/a.go": "package a\ntype S interface { A(); B(); C(); D(); E() }\n",
				"a/b.go": "package a\ntype T interface {\nS\nF()\n}\n",
			},
			[]string{"a/b.go:2: a.T has 6 methods, at most 5"},
		},
		{
			"an interface of six without a name",
			map[string]string{"a/a.go": "package a\nfunc f(x interface { A(); B(); C(); D(); E(); F() }) {}\n"},
			[]string{"a/a.go:2: a.f has 6 methods, at most 5"},
		},
		{"a constraint", map[string]string{"a/a.go": "package a\ntype N interface { ~int | ~uint }\n"}, nil},
		{
			"constructors within the budget",
			map[string]string{"a/a.go": "package a\n" +
				"func New(a, b, c int, o *Options) {}\n" +
				"func NewX(a, b int, c string, o ...int) {}\n" +
				"func NewY(a, b, c int, o *b.ClientOptions) {}\n" +
				"func Newest(a, b, c, d int) {}\n" +
				"func (x T) New(a, b, c, d int) {}\n"},
			nil,
		},
		{
			"constructors beyond it",
			map[string]string{"a/a.go": "package a\nfunc New(a, b, c, d int) {}\nfunc NewX(int, int, int, int, *Options) {}\n"},
			[]string{
				"a/a.go:2: a.New has 4 parameters before its options, at most 3",
				"a/a.go:3: a.NewX has 4 parameters before its options, at most 3",
			},
		},
		{"a struct of 15 fields", map[string]string{"a/a.go": "package a\ntype S struct {\n" + fields(15, "") + "}\n"}, nil},
		{
			"structs of 16 fields",
			map[string]string{"a/a.go": "package a\ntype S struct {\n" + fields(15, "") + "T\n}\nfunc f() {\nvar x struct {\n" + fields(16, "`json:\"x\"`") + "}\n}\n"},
			[]string{"a/a.go:2: a.S has 16 fields, at most 15", "a/a.go:21: a.f has 16 fields, at most 15"},
		},
		{
			"structs whose fields are given",
			map[string]string{
				"internal/config/c.go": "package config\ntype S struct {\n" + fields(16, "") + "}\n",
				"a/wire.go":            "package a\ntype S struct {\n" + fields(16, "") + "}\n",
				"a/push_json.go":       "package a\ntype T struct {\n" + fields(16, "") + "}\n",
				"sdk/x/x.go":           "package x\ntype S struct {\n" + fields(16, "`json:\"x\"`") + "}\n",
				"a/a_test.go":          "package a\ntype U struct {\n" + fields(16, "") + "}\n",
			},
			nil,
		},
		{
			"a struct of an sdk that is not on the wire",
			map[string]string{"sdk/x/x.go": "package x\ntype S struct {\n" + fields(16, "") + "}\n"},
			[]string{"sdk/x/x.go:2: sdk/x.S has 16 fields, at most 15"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			compare(t, repotest.Budgets(load(t, tt.files), nil), tt.want)
		})
	}
}

func TestBudgetsExemptions(t *testing.T) {
	tree := load(t, map[string]string{"a/a.go": "package a\ntype S struct {\n" + fields(16, "") + "}\n"})
	for _, tt := range []struct {
		name   string
		exempt []repotest.Exemption
		want   []string
	}{
		{"what is exempt may be over", []repotest.Exemption{{"a.S", "the paper has 16"}}, nil},
		{"a reason is owed", []repotest.Exemption{{"a.S", ""}}, []string{"a.S: this exemption has no reason"}},
		{
			"what needs none may have none",
			[]repotest.Exemption{{"a.S", "the paper has 16"}, {"a.T", "it had 16"}},
			[]string{"a.T: this exemption is not needed"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			compare(t, repotest.Budgets(tree, tt.exempt), tt.want)
		})
	}
}
