package repotest

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
)

// Budgets checks the length of files and functions, and the size of interfaces, constructors and structs, but for what
// exempt names. It also reports exemptions that nothing needs.
func Budgets(t *Tree, exempt []Exemption) []Problem {
	b := budget{tree: t, exempt: exempt, used: make(map[string]bool), interfaces: make(map[string]*ast.InterfaceType)}
	b.findInterfaces()
	for _, f := range t.Files {
		b.file(f)
		for _, d := range f.syntax.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				b.function(f, d, d.Name.Name)
				b.constructor(f, d)
			case *ast.GenDecl:
				b.general(f, d)
			}
		}
	}
	for _, e := range exempt {
		if !b.used[e.What] {
			b.problems = append(b.problems, Problem{Path: e.What, Text: "this exemption is not needed"})
		}
		if e.Reason == "" {
			b.problems = append(b.problems, Problem{Path: e.What, Text: "this exemption has no reason"})
		}
	}
	return sorted(b.problems)
}

// A budget is one run of Budgets.
type budget struct {
	tree       *Tree
	exempt     []Exemption
	used       map[string]bool               // by Exemption.What
	interfaces map[string]*ast.InterfaceType // by package and name, to count what is embedded
	problems   []Problem
}

// over notes that what, at n, is over a budget, if it is and may not.
func (b *budget) over(f File, n ast.Node, what, unit string, got, most int) {
	if got <= most {
		return
	}
	if slices.ContainsFunc(b.exempt, func(e Exemption) bool { return e.What == what }) {
		b.used[what] = true
		return
	}
	b.problems = append(b.problems, Problem{
		Path: f.Path, Line: b.tree.line(n.Pos()), Text: fmt.Sprintf("%s has %d %s, at most %d", what, got, unit, most),
	})
}

// findInterfaces notes every interface that is declared by name.
func (b *budget) findInterfaces() {
	for _, f := range b.tree.Files {
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				if it, ok := spec.Type.(*ast.InterfaceType); ok {
					b.interfaces[f.Package+"."+spec.Name.Name] = it
				}
			}
			return true
		})
	}
}

// file checks a file's length.
func (b *budget) file(f File) {
	most := maxFileLines
	if f.Test {
		most = maxTestFileLines
	}
	b.over(f, f.syntax, f.Path, "lines", f.Lines, most)
}

// function checks a function's length. Tests are not held to it: a table may be long.
func (b *budget) function(f File, n ast.Node, name string) {
	if !f.Test {
		b.over(f, n, f.Package+"."+name, "lines", b.tree.length(n), maxFuncLines)
	}
	b.typesIn(f, n, name)
}

// general checks the types of a declaration, and the functions that its variables are given.
func (b *budget) general(f File, d *ast.GenDecl) {
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			b.typesIn(f, spec.Type, spec.Name.Name)
		case *ast.ValueSpec:
			ast.Inspect(spec, func(n ast.Node) bool {
				lit, ok := n.(*ast.FuncLit)
				if ok {
					b.function(f, lit, spec.Names[0].Name)
				}
				return !ok
			})
		}
	}
}

// typesIn checks the interfaces and structs in n, which is, or is in, what name declares.
func (b *budget) typesIn(f File, n ast.Node, name string) {
	what := f.Package + "." + name
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.InterfaceType:
			b.over(f, n, what, "methods", b.methods(f.Package, n), maxMethods)
		case *ast.StructType:
			// Test tables may be wide, and what comes from outside is as wide as it is.
			if !f.Test && !fieldsGiven(f, n) {
				b.over(f, n, what, "fields", count(n.Fields), maxFields)
			}
		}
		return true
	})
}

// methods returns how many methods an interface has, with those of interfaces of this module that it embeds: one that
// is assembled from others is no smaller for it.
func (b *budget) methods(pkg string, it *ast.InterfaceType) int {
	n := 0
	for _, m := range it.Methods.List {
		switch embedded := m.Type.(type) {
		case *ast.Ident:
			if inner := b.interfaces[pkg+"."+embedded.Name]; inner != nil && inner != it {
				n += b.methods(pkg, inner)
			}
		default:
			n += len(m.Names)
		}
	}
	return n
}

// fieldsGiven reports whether somebody outside decides how many fields s has.
func fieldsGiven(f File, s *ast.StructType) bool {
	base := path.Base(f.Path)
	if f.Package == "internal/config" || strings.HasSuffix(base, "wire.go") || strings.HasSuffix(base, "_json.go") {
		return true
	}
	tagged := slices.ContainsFunc(s.Fields.List, func(field *ast.Field) bool { return field.Tag != nil })
	return tagged && matches("sdk/...", f.Package)
}

// constructor checks the parameters of a function named New or New….
func (b *budget) constructor(f File, d *ast.FuncDecl) {
	rest, ok := strings.CutPrefix(d.Name.Name, "New")
	if f.Test || !ok || d.Recv != nil || (rest != "" && !ast.IsExported(rest)) {
		return
	}
	n := count(d.Type.Params)
	if list := d.Type.Params.List; n > 0 && isOptions(list[len(list)-1].Type) {
		n--
	}
	b.over(f, d, f.Package+"."+d.Name.Name, "parameters before its options", n, maxParams)
}

// isOptions reports whether a parameter's type is a pointer to options, or variadic.
func isOptions(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ellipsis:
		return true
	case *ast.StarExpr:
		switch x := e.X.(type) {
		case *ast.Ident:
			return strings.HasSuffix(x.Name, "Options")
		case *ast.SelectorExpr:
			return strings.HasSuffix(x.Sel.Name, "Options")
		}
	}
	return false
}

// count returns how many fields or parameters a list has; an embedded or unnamed one counts as one.
func count(list *ast.FieldList) int {
	n := 0
	for _, f := range list.List {
		n += max(1, len(f.Names))
	}
	return n
}
