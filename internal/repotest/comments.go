package repotest

import (
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
)

// PackageComments checks that every package has one comment that begins with "Package x", or "Command x" for a
// program, where x is its folder's name. A folder of tests only needs none.
func PackageComments(t *Tree) []Problem {
	var problems []Problem
	for _, pkg := range t.packages() {
		var code, commented []File
		for _, f := range t.Files {
			if f.Package != pkg || f.Test {
				continue
			}
			code = append(code, f)
			if f.syntax.Doc != nil {
				commented = append(commented, f)
			}
		}
		switch {
		case len(code) == 0:
		case len(commented) == 0:
			problems = append(problems, Problem{Path: pkg, Text: "no package comment"})
		case len(commented) > 1:
			problems = append(problems, t.problem(commented[1], commented[1].syntax,
				"a second package comment; the first is in %s", commented[0].Path))
		default:
			f := commented[0]
			want := "Package " + f.syntax.Name.Name
			if f.syntax.Name.Name == "main" {
				want = "Command " + path.Base(pkg)
			}
			if !startsWith(f.syntax.Doc.Text(), want) {
				problems = append(problems, t.problem(f, f.syntax.Doc, "package comment does not begin with %q", want))
			}
		}
	}
	return sorted(problems)
}

// startsWith reports whether text begins with the words of want.
func startsWith(text, want string) bool {
	rest, ok := strings.CutPrefix(text, want)
	return ok && strings.TrimLeft(rest, " \n") != rest
}

// Documented checks that whatever the packages that patterns match export has a comment: functions, types, constants
// and variables, methods of exported types, and the methods of exported interfaces.
func Documented(t *Tree, patterns []string) []Problem {
	var problems []Problem
	for _, f := range t.Files {
		if f.Test || !matchesAny(patterns, f.Package) {
			continue
		}
		for _, d := range f.syntax.Decls {
			for _, name := range undocumented(d) {
				problems = append(problems, t.problem(f, name, "%s is exported and has no comment", name.Name))
			}
		}
	}
	return sorted(problems)
}

// undocumented returns the names that d exports without a comment.
func undocumented(d ast.Decl) []*ast.Ident {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d))) {
			return []*ast.Ident{d.Name}
		}
	case *ast.GenDecl:
		if d.Tok == token.IMPORT {
			return nil
		}
		var names []*ast.Ident
		for _, spec := range d.Specs {
			names = append(names, undocumentedSpec(d, spec)...)
		}
		return names
	}
	return nil
}

// undocumentedSpec returns the names that one spec of d exports without a comment. A comment on a group of constants
// or variables serves all of them, one on a group of types does not.
func undocumentedSpec(d *ast.GenDecl, spec ast.Spec) []*ast.Ident {
	switch spec := spec.(type) {
	case *ast.ValueSpec:
		if d.Doc != nil || spec.Doc != nil || spec.Comment != nil {
			return nil
		}
		return slices.DeleteFunc(slices.Clone(spec.Names), func(n *ast.Ident) bool { return !n.IsExported() })
	case *ast.TypeSpec:
		var names []*ast.Ident
		if !spec.Name.IsExported() {
			return nil
		}
		if spec.Doc == nil && spec.Comment == nil && (d.Doc == nil || d.Lparen.IsValid()) {
			names = append(names, spec.Name)
		}
		if it, ok := spec.Type.(*ast.InterfaceType); ok {
			for _, m := range it.Methods.List {
				if len(m.Names) > 0 && m.Names[0].IsExported() && m.Doc == nil && m.Comment == nil {
					names = append(names, m.Names[0])
				}
			}
		}
		return names
	}
	return nil
}

// receiver returns the name of the type that a method belongs to.
func receiver(d *ast.FuncDecl) string {
	name := ""
	ast.Inspect(d.Recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && name == "" {
			name = id.Name // the outermost: *T, T[K]
		}
		return name == ""
	})
	return name
}
