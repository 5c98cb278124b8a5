package tidy_test

import (
	"go/ast"
	"go/token"
	"path"
	"strings"
	"testing"
)

// docRunesMin is what a package comment of substance has at least: a picture or a paragraph, not a sentence.
const docRunesMin = 200

func TestEveryPackageIsExplained(t *testing.T) {
	t.Parallel()
	has, needs := map[string]string{}, map[string]string{}
	for _, s := range loadSources(t) {
		if s.test {
			continue
		}
		needs[s.folder] = s.file.Name.Name
		if path.Base(s.name) == "doc.go" || s.file.Name.Name == "main" && s.file.Doc != nil {
			has[s.folder] = s.file.Doc.Text()
		}
	}
	for folder, name := range needs {
		doc, want := has[folder], "Package "+name+" "
		if base := path.Base(folder); name == "main" {
			want = "Command " + base + " "
			if other := strings.ToUpper(base[:1]) + base[1:] + " "; strings.HasPrefix(doc, other) {
				want = other
			}
		}
		checkf(t, strings.HasPrefix(doc, want), "%s/doc.go: the package comment must begin with %q", folder, want)
		checkf(t, len([]rune(doc)) >= docRunesMin,
			"%s/doc.go: say what the package is for, who calls it from which goroutine, and draw where records pass", folder)
	}
}

// Two applications in one process must not notice each other. gochecknoglobals finds every package variable; this
// finds those that are plainly mutable, without a linter at hand.
func TestNoMutablePackageVariables(t *testing.T) {
	t.Parallel()
	for _, s := range loadSources(t) {
		if s.test || within(s.folder, "bench", "integration", "examples", "cmd") {
			continue
		}
		excused := map[int]bool{} // lines with a reasoned nolint
		for _, group := range s.file.Comments {
			for _, c := range group.List {
				if strings.HasPrefix(c.Text, "//nolint:gochecknoglobals //") {
					excused[s.fset.Position(c.Pos()).Line] = true
				}
			}
		}
		for _, d := range s.file.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.VAR || excused[s.fset.Position(decl.Pos()).Line] {
				continue
			}
			for _, spec := range decl.Specs {
				v, ok := spec.(*ast.ValueSpec)
				if !ok || v.Names[0].Name == "_" {
					continue
				}
				from, to := s.fset.Position(v.Pos()), s.fset.Position(v.End())
				fine := !mutable(v) || excused[from.Line] || excused[to.Line]
				checkf(t, fine, "%s: package variable %s can be changed by anybody", from, v.Names[0])
			}
		}
	}
}

// mutable recognises maps, slices, pointers, channels, locks and atomics.
func mutable(v *ast.ValueSpec) bool {
	if v.Type != nil && mutableType(v.Type) {
		return true
	}
	for _, value := range v.Values {
		switch e := value.(type) {
		case *ast.UnaryExpr:
			if e.Op == token.AND {
				return true
			}
		case *ast.CompositeLit:
			if e.Type != nil && mutableType(e.Type) {
				return true
			}
		case *ast.CallExpr:
			if f, ok := e.Fun.(*ast.Ident); ok && (f.Name == "make" || f.Name == "new") {
				return true
			}
		}
	}
	return false
}

func mutableType(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.MapType, *ast.ChanType, *ast.StarExpr:
		return true
	case *ast.ArrayType:
		return e.Len == nil
	case *ast.SelectorExpr:
		x, ok := e.X.(*ast.Ident)
		return ok && (x.Name == "sync" || x.Name == "atomic")
	}
	return false
}
