package tidy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	module = "github.com/tidemarkio/tidemark"
	root   = "../.."
)

// source is a Go file. Its name and folder are relative to the root, with slashes; the root's folder is ".".
type source struct {
	name    string
	folder  string
	test    bool
	file    *ast.File
	fset    *token.FileSet
	imports []string
}

// sources parses every Go file of the module, once.
var sources = sync.OnceValues(func() ([]source, error) {
	var all []source
	err := walk(func(name string) error {
		if path.Ext(name) != ".go" {
			return nil
		}
		s := source{name: name, folder: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), fset: token.NewFileSet()}
		var err error
		mode := parser.ParseComments | parser.SkipObjectResolution
		s.file, err = parser.ParseFile(s.fset, filepath.Join(root, name), nil, mode)
		if err != nil {
			return err
		}
		for _, i := range s.file.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, p)
		}
		all = append(all, s)
		return nil
	})
	return all, err
})

func loadSources(t *testing.T) []source {
	t.Helper()
	all, err := sources()
	require.NoError(t, err)
	require.NotEmpty(t, all)
	return all
}

// checkf reports a violation and goes on, so that one run shows all of them.
func checkf(t *testing.T, ok bool, format string, args ...any) {
	t.Helper()
	if !ok {
		t.Errorf(format, args...)
	}
}

// walk visits every file that may be committed.
func walk(visit func(name string) error) error {
	skip := []string{".git", "target", "results", "work", "bin", "node_modules"}
	return filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil // other tests create and remove files meanwhile
			}
			return err
		}
		if e.IsDir() {
			if slices.Contains(skip, e.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !e.Type().IsRegular() {
			return nil
		}
		name, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		return visit(filepath.ToSlash(name))
	})
}

// within tells whether a folder is one of the given ones or lies below one.
func within(folder string, parents ...string) bool {
	return slices.ContainsFunc(parents, func(p string) bool { return folder == p || strings.HasPrefix(folder, p+"/") })
}
