// Package repotest holds the rules of this repository as tests: which room may import which, what is documented, how
// long things may be, and what tests may not do. Each rule is a function from a Tree to the Problems it finds, so that
// it can be shown a tree that breaks it; the rules that a reader looks up are data, in table.go.
package repotest

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// A Problem is one place where the tree breaks a rule.
type Problem struct {
	Path string // from the root of the tree, with slashes
	Line int    // from 1; 0 is the file or folder as a whole
	Text string // what is wrong, and what would be right
}

// String returns the problem as compilers print theirs.
func (p Problem) String() string {
	if p.Line == 0 {
		return p.Path + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.Path, p.Line, p.Text)
}

// A Tree is the repository as read once: every text file, and of Go files the syntax.
type Tree struct {
	Texts []Text // by path
	Files []File // by path

	fset *token.FileSet
}

// A Text is one file that is not binary.
type Text struct {
	Path    string
	Content []byte
}

// A File is one Go file.
type File struct {
	Path    string
	Package string // its folder: "internal/push", "." for the root
	Test    bool   // named _test.go
	Lines   int

	syntax *ast.File
}

// Load reads the tree under fsys, but for what a build or a run leaves there (see generated). Go files under testdata
// are texts only.
func Load(fsys fs.FS) (*Tree, error) {
	t := &Tree{fset: token.NewFileSet()}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (slices.Contains(generated, name) || slices.Contains(generated, d.Name()+"/")):
			return fs.SkipDir
		case !d.Type().IsRegular(), name == ".git": // in a second work tree of git, .git is a file
			return nil
		}
		return t.add(fsys, name)
	})
	return t, err
}

// add reads one file.
func (t *Tree) add(fsys fs.FS, name string) error {
	content, err := fs.ReadFile(fsys, name)
	if err != nil {
		return err
	}
	if bytes.IndexByte(content, 0) >= 0 {
		return nil // binary
	}
	t.Texts = append(t.Texts, Text{Path: name, Content: content})
	if path.Ext(name) != ".go" || slices.Contains(strings.Split(name, "/"), "testdata") {
		return nil
	}
	syntax, err := parser.ParseFile(t.fset, name, content, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	t.Files = append(t.Files, File{
		Path:    name,
		Package: path.Dir(name),
		Test:    strings.HasSuffix(name, "_test.go"),
		Lines:   t.fset.File(syntax.FileStart).LineCount(),
		syntax:  syntax,
	})
	return nil
}

// packages returns the folders that hold Go files, sorted.
func (t *Tree) packages() []string {
	var all []string
	for _, f := range t.Files {
		all = append(all, f.Package)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// line returns the line of a position.
func (t *Tree) line(p token.Pos) int { return t.fset.Position(p).Line }

// length returns the number of lines that n covers.
func (t *Tree) length(n ast.Node) int { return t.line(n.End()) - t.line(n.Pos()) + 1 }

// problem returns a problem at n.
func (t *Tree) problem(f File, n ast.Node, format string, args ...any) Problem {
	return Problem{Path: f.Path, Line: t.line(n.Pos()), Text: fmt.Sprintf(format, args...)}
}

// sorted returns problems by path and line.
func sorted(problems []Problem) []Problem {
	slices.SortFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Text, b.Text))
	})
	return problems
}
