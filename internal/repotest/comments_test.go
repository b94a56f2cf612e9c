package repotest_test

import (
	"testing"

	"github.com/carillonpush/carillon/internal/repotest"
)

func TestPackageComments(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"a package that says what it is", map[string]string{"a/a.go": "// Package a is one.\npackage a\n", "a/b.go": "package a\n"}, nil},
		{"a program that does", map[string]string{"cmd/ring/main.go": "// Command ring rings.\npackage main\n"}, nil},
		{"a folder of tests", map[string]string{"a/a_test.go": "package a_test\n"}, nil},
		{"no comment", map[string]string{"a/a.go": "package a\n"}, []string{"a: no package comment"}},
		{
			"a comment that is not the package's",
			map[string]string{"a/a.go": "// Package a is one.\n\npackage a\n"},
			[]string{"a: no package comment"},
		},
		{
			"another beginning",
			map[string]string{"a/a.go": "// This is a.\npackage a\n"},
			[]string{`a/a.go:1: package comment does not begin with "Package a"`},
		},
		{
			"another name",
			map[string]string{"cmd/ring/main.go": "// Command ringer rings.\npackage main\n"},
			[]string{`cmd/ring/main.go:1: package comment does not begin with "Command ring"`},
		},
		{
			"two comments",
			map[string]string{"a/a.go": "// Package a is one.\npackage a\n", "a/b.go": "// Package a is two.\npackage a\n"},
			[]string{"a/b.go:2: a second package comment; the first is in a/a.go"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			compare(t, repotest.PackageComments(load(t, tt.files)), tt.want)
		})
	}
}

func TestDocumented(t *testing.T) {
	const source = `package a

func Bare() {}

// Said is.
func Said() {}

func inner() {}

type (
	// Set has a comment.
	Set struct{}
	Bag struct{}
)

func (s *Set) Add() {}

func (b bag[K]) Add() {}

type bag[K any] struct{}

// Kinds have one comment for all.
const (
	One = iota
	Two
)

const (
	Three = 3 // has its own
	Four  = 4
	five  = 5
)

// Store is an interface.
type Store interface {
	Put()
	// Get gets.
	Get()
}
`
	tree := load(t, map[string]string{"a/a.go": source, "a/a_test.go": "package a_test\nfunc TestX() {}\n", "b/b.go": "package b\nfunc Bare() {}\n"})
	compare(t, repotest.Documented(tree, []string{"a"}), []string{
		"a/a.go:3: Bare is exported and has no comment",
		"a/a.go:13: Bag is exported and has no comment",
		"a/a.go:16: Add is exported and has no comment",
		"a/a.go:30: Four is exported and has no comment",
		"a/a.go:36: Put is exported and has no comment",
	})
}
