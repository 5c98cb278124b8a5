package tidy_test

import (
	"go/ast"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryOperatorHasAnExample wants each operator of package topology in the body of a runnable Example of its tests:
// what declares an operator is an exported function or method that takes or returns a stream, a table or a step on the
// way to one. A method whose name several types have is looked for in the Examples of its type, Example<Type>_<Method>.
func TestEveryOperatorHasAnExample(t *testing.T) {
	t.Parallel()
	var operators []operator
	used := map[string][]string{} // names in the body of an Example: the names of those Examples
	for _, s := range loadSources(t) {
		if s.folder != "topology" {
			continue
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			switch {
			case !ok:
			case s.test && strings.HasPrefix(f.Name.Name, "Example"):
				for _, name := range selected(f.Body) {
					used[name] = append(used[name], f.Name.Name)
				}
			case !s.test && f.Name.IsExported():
				if o := (operator{receiver(f), f.Name.Name, s.name}); o.is(f) {
					operators = append(operators, o)
				}
			}
		}
	}
	require.NotEmpty(t, operators)
	for _, o := range operators {
		shown := len(used[o.name]) > 0
		if o.receiver == "" {
			shown = len(used["topology."+o.name]) > 0
		} else if slices.ContainsFunc(operators, func(p operator) bool {
			return p.name == o.name && p.receiver != o.receiver
		}) {
			shown = slices.ContainsFunc(used[o.name], func(example string) bool {
				return strings.HasPrefix(example, "Example"+o.receiver+"_"+o.name)
			})
		}
		checkf(t, shown, "%s: no Example in topology/example_*_test.go uses %s", o.file, strings.TrimPrefix(
			o.receiver+"."+o.name, "."))
	}
}

// operator is an exported function or method of package topology.
type operator struct{ receiver, name, file string }

// operands are the types between which operators lie.
var operands = []string{
	"KStream", "KTable", "GlobalKTable", "KGroupedStream", "KGroupedTable", "KWindowedStream", "KSessionWindowedStream",
	"KCogroupedStream", "KWindowedCogroupedStream", "KSessionWindowedCogroupedStream", "BranchedKStream",
}

func (o operator) is(f *ast.FuncDecl) bool {
	if o.receiver != "" {
		// StoreName tells about a table and adds nothing.
		return slices.Contains(operands, o.receiver) && o.name != "StoreName"
	}
	if o.name == "AddGlobalStore" {
		return true
	}
	if f.Type.Results == nil {
		return false
	}
	for _, r := range f.Type.Results.List {
		if slices.Contains(operands, typeName(r.Type)) {
			return true
		}
	}
	return false
}

// receiver returns the name of the type whose method f is.
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	return typeName(f.Recv.List[0].Type)
}

// typeName returns the name of a type, without pointer and type arguments.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.IndexExpr:
		return typeName(e.X)
	case *ast.IndexListExpr:
		return typeName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// selected returns the names behind a dot in a body, for a function of this package with the dot and what is before it.
func selected(body *ast.BlockStmt) []string {
	var names []string
	ast.Inspect(body, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		name := s.Sel.Name
		if of, ok := s.X.(*ast.Ident); ok && of.Name == "topology" {
			name = "topology." + name
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		return true
	})
	return names
}
