package tidy_test

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryErrorIsExplained compares docs/errors.md with the exported error types and values of the library.
func TestEveryErrorIsExplained(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join(root, "docs", "errors.md"))
	require.NoError(t, err)
	rows := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+\\.\\w+)` \\|").FindAllStringSubmatch(string(data), -1) {
		checkf(t, !rows[m[1]], "docs/errors.md: two rows for %s", m[1])
		rows[m[1]] = true
	}
	known := map[string]bool{}
	for _, s := range loadSources(t) {
		if s.test || s.file.Name.Name == "main" || within(s.folder, "bench", "integration", "examples", "cmd", "internal") {
			continue
		}
		for _, d := range s.file.Decls {
			for _, name := range exportedErrors(d) {
				known[s.file.Name.Name+"."+name] = true
			}
		}
	}
	for name := range known {
		checkf(t, rows[name], "docs/errors.md: no row for %s", name)
	}
	for name := range rows {
		checkf(t, known[name], "docs/errors.md: %s does not exist", name)
	}
}

// exportedErrors returns the types with an Error method, and the variables named Err…, of a declaration.
func exportedErrors(d ast.Decl) []string {
	var names []string
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.Name != "Error" || d.Recv == nil {
			return nil
		}
		recv := d.Recv.List[0].Type
		if star, ok := recv.(*ast.StarExpr); ok {
			recv = star.X
		}
		if id, ok := recv.(*ast.Ident); ok && id.IsExported() {
			names = append(names, id.Name)
		}
	case *ast.GenDecl:
		if d.Tok != token.VAR {
			return nil
		}
		for _, spec := range d.Specs {
			values, ok := spec.(*ast.ValueSpec)
			if !ok {
				continue
			}
			for _, id := range values.Names {
				if strings.HasPrefix(id.Name, "Err") {
					names = append(names, id.Name)
				}
			}
		}
	}
	return names
}
