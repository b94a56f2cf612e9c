package repotest_test

import (
	"os"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/carillonpush/carillon/internal/repotest"
)

// TestRepository holds the rules against this repository.
func TestRepository(t *testing.T) {
	tree, err := repotest.Load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	// A wrong root would be a tree without problems.
	if !slices.ContainsFunc(tree.Files, func(f repotest.File) bool { return f.Path == "internal/repotest/tree_test.go" }) {
		t.Fatal("the tree does not hold this test")
	}
	for _, rule := range []struct {
		name     string
		problems []repotest.Problem
	}{
		{"imports", repotest.Imports(tree, repotest.Rooms, repotest.Owners)},
		{"package comments", repotest.PackageComments(tree)},
		{"comments", repotest.Documented(tree, repotest.Public)},
		{"budgets", repotest.Budgets(tree, repotest.Exemptions)},
		{"words", repotest.Words(tree, repotest.WorkplaceWords)},
		{"skips", repotest.Skips(tree)},
		{"sleeps", repotest.Sleeps(tree)},
	} {
		t.Run(rule.name, func(t *testing.T) {
			for _, p := range rule.problems {
				t.Error(p)
			}
		})
	}
}

// load returns the tree of files, by path.
func load(t *testing.T, files map[string]string) *repotest.Tree {
	t.Helper()
	fsys := make(fstest.MapFS)
	for name, content := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(content)}
	}
	tree, err := repotest.Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// compare fails t unless the problems are, as text and in order, those wanted.
func compare(t *testing.T, problems []repotest.Problem, want []string) {
	t.Helper()
	var got []string
	for _, p := range problems {
		got = append(got, p.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestLoad(t *testing.T) {
	tree := load(t, map[string]string{
		".git/config":                "x",
		"bin/carillon":               "x",
		"bench/out/today.json":       "{}",
		"conformance/node_modules/x": "x",
		"logo.png":                   "PNG\x00",
		"a/testdata/broken.go":       "this is not Go",
		"a/a.go":                     "// Package a is one.\npackage a\n",
		"a/a_test.go":                "package a_test\n",
		"README.md":                  "# x\n",
	})
	var texts, files []string
	for _, text := range tree.Texts {
		texts = append(texts, text.Path)
	}
	for _, f := range tree.Files {
		files = append(files, f.Path)
	}
	if want := []string{"README.md", "a/a.go", "a/a_test.go", "a/testdata/broken.go"}; !slices.Equal(texts, want) {
		t.Errorf("texts: got %q, want %q", texts, want)
	}
	if want := []string{"a/a.go", "a/a_test.go"}; !slices.Equal(files, want) {
		t.Errorf("files: got %q, want %q", files, want)
	}
	if got := tree.Files[0].Lines; got != 2 {
		t.Errorf("lines of a/a.go: got %d, want 2", got)
	}

	broken := fstest.MapFS{"a.go": &fstest.MapFile{Data: []byte("this is not Go")}}
	if _, err := repotest.Load(broken); err == nil {
		t.Error("got no error for a file that does not parse")
	}
}
