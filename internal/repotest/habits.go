package repotest

import (
	"bytes"
	"go/ast"
	"strconv"
	"strings"
)

// Words checks that no file says one of words.
func Words(t *Tree, words []string) []Problem {
	var problems []Problem
	for _, text := range t.Texts {
		for i, line := range bytes.Split(text.Content, []byte("\n")) {
			for _, w := range words {
				if bytes.Contains(line, []byte(w)) {
					problems = append(problems, Problem{Path: text.Path, Line: i + 1, Text: "says " + strconv.Quote(w)})
				}
			}
		}
	}
	return sorted(problems)
}

// Skips checks that a full run of the tests leaves none out: a test is skipped only by `go test -short`, inside an if
// that asks testing.Short, and says why. What a test needs and the machine has not is a failure.
//
// A generator that turns a value down is not a skipped test: the functions given to f.Fuzz and those that take a
// *rapid.T may skip.
func Skips(t *Tree) []Problem {
	var problems []Problem
	for _, f := range t.Files {
		var visit func(n ast.Node, short bool)
		visit = func(root ast.Node, short bool) {
			ast.Inspect(root, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.IfStmt:
					if mentions(n.Cond, "testing", "Short") {
						visit(n.Body, true)
						if n.Else != nil {
							visit(n.Else, short)
						}
						return false
					}
				case *ast.FuncLit:
					return !takesRapid(n.Type)
				case *ast.FuncDecl:
					return !takesRapid(n.Type)
				case *ast.CallExpr:
					sel, ok := n.Fun.(*ast.SelectorExpr)
					if !ok {
						return true
					}
					if sel.Sel.Name == "Fuzz" {
						return false
					}
					if text := badSkip(sel, n.Args, short); text != "" {
						problems = append(problems, t.problem(f, n, "%s", text))
					}
				}
				return true
			})
		}
		visit(f.syntax, false)
	}
	return sorted(problems)
}

// badSkip says what is wrong with a call of sel, if it skips a test.
func badSkip(sel *ast.SelectorExpr, args []ast.Expr, short bool) string {
	id, ok := sel.X.(*ast.Ident)
	if !ok || !strings.Contains(" t tb b f ", " "+id.Name+" ") {
		return ""
	}
	switch sel.Sel.Name {
	case "Skip", "Skipf", "SkipNow":
	default:
		return ""
	}
	switch {
	case len(args) == 0, isEmptyString(args[0]):
		return "skips without saying why"
	case !short:
		return "skips in a full run; ask testing.Short, or fail and say what the machine lacks"
	}
	return ""
}

// Sleeps checks that tests do not sleep for luck: a call of time.Sleep has a comment on its line that begins with
// "ok: " and says why nothing better will do.
func Sleeps(t *Tree) []Problem {
	var problems []Problem
	for _, f := range t.Files {
		if !f.Test {
			continue
		}
		reasons := make(map[int]bool)
		for _, group := range f.syntax.Comments {
			for _, c := range group.List {
				reason, ok := strings.CutPrefix(c.Text, "// ok: ")
				reasons[t.line(c.Pos())] = ok && strings.TrimSpace(reason) != ""
			}
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && isName(call.Fun, "time", "Sleep") && !reasons[t.line(call.Pos())] {
				problems = append(problems, t.problem(f, call,
					`sleeps; use testing/synctest, a channel or a deadline, or say why not: "// ok: reason"`))
			}
			return true
		})
	}
	return sorted(problems)
}

// takesRapid reports whether a function has a parameter *rapid.T.
func takesRapid(f *ast.FuncType) bool {
	for _, p := range f.Params.List {
		if star, ok := p.Type.(*ast.StarExpr); ok && isName(star.X, "rapid", "T") {
			return true
		}
	}
	return false
}

// mentions reports whether pkg.name is used in n.
func mentions(n ast.Node, pkg, name string) bool {
	found := false
	ast.Inspect(n, func(n ast.Node) bool {
		if e, ok := n.(ast.Expr); ok && isName(e, pkg, name) {
			found = true
		}
		return !found
	})
	return found
}

// isName reports whether e is pkg.name.
func isName(e ast.Expr, pkg, name string) bool {
	sel, ok := e.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	id, ok := sel.X.(*ast.Ident)
	return ok && id.Name == pkg
}

// isEmptyString reports whether e is a string literal with nothing in it.
func isEmptyString(e ast.Expr) bool {
	lit, ok := e.(*ast.BasicLit)
	if !ok {
		return false
	}
	s, err := strconv.Unquote(lit.Value)
	return err == nil && strings.TrimSpace(s) == ""
}
