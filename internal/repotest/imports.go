package repotest

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// Imports checks imports inside the module against rooms, and those outside it against owners.
func Imports(t *Tree, rooms []Room, owners []Owner) []Problem {
	var problems []Problem
	for _, pkg := range t.packages() {
		if roomOf(rooms, pkg) == nil {
			problems = append(problems, Problem{Path: pkg, Text: "package has no row in the import table"})
		}
	}
	for _, f := range t.Files {
		for _, spec := range f.syntax.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				continue // the parser took it, so this does not happen
			}
			if text := badImport(f, name, rooms, owners); text != "" {
				problems = append(problems, t.problem(f, spec, "%s", text))
			}
		}
	}
	return sorted(problems)
}

// badImport says why f must not import name, or "".
func badImport(f File, name string, rooms []Room, owners []Owner) string {
	inner, ours := strings.CutPrefix(name, modulePath+"/")
	if !ours && name != modulePath {
		return badOwner(f, name, owners)
	}
	switch room := roomOf(rooms, f.Package); {
	case matches("cmd/...", inner):
		return "nobody imports cmd"
	case f.Test, room == nil, matchesAny(room.May, inner):
		return ""
	default:
		return f.Package + " may not import " + inner + "; it may import: " + strings.Join(room.May, ", ")
	}
}

// badOwner says why f must not import the foreign package name, or "".
func badOwner(f File, name string, owners []Owner) string {
	for _, o := range owners {
		if matches(o.Import+"/...", name) && !f.Test && !matchesAny(o.Rooms, f.Package) {
			return "only " + strings.Join(o.Rooms, ", ") + " may import " + o.Import
		}
	}
	return ""
}

// roomOf returns the first row of pkg, or nil.
func roomOf(rooms []Room, pkg string) *Room {
	i := slices.IndexFunc(rooms, func(r Room) bool { return matches(r.Package, pkg) })
	if i < 0 {
		return nil
	}
	return &rooms[i]
}

// matches reports whether pkg is what pattern names. (A major version, as in pgx/v5, is below the module's name.)
func matches(pattern, pkg string) bool {
	folder, below := strings.CutSuffix(pattern, "...")
	if !below {
		return pattern == pkg
	}
	return folder == "" || path.Clean(folder) == pkg || strings.HasPrefix(pkg, folder)
}

// matchesAny reports whether one of patterns matches pkg.
func matchesAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, pkg) })
}
