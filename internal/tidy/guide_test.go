package tidy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// freePages are pages of the guide whose code is put together from several places, or is cut short.
var freePages = map[string]bool{"serdes.md": true, "state.md": true, "time.md": true, "topology.md": true}

// TestGuideQuotesCode wants each block of Go in docs/guide to be lines of a Go file of the module, in their order: so
// what the guide shows compiles, and is tested.
func TestGuideQuotesCode(t *testing.T) {
	t.Parallel()
	var code []string
	require.NoError(t, walk(func(name string) error {
		if filepath.Ext(name) != ".go" {
			return nil
		}
		data, err := os.ReadFile(filepath.Join(root, name))
		code = append(code, flattened(string(data)))
		return err
	}))
	pages, err := filepath.Glob(filepath.Join(root, "docs", "guide", "*.md"))
	require.NoError(t, err)
	require.NotEmpty(t, pages)
	block := regexp.MustCompile("(?s)```go\n(.*?)```")
	for _, page := range pages {
		if freePages[filepath.Base(page)] {
			continue
		}
		data, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range block.FindAllStringSubmatch(string(data), -1) {
			checkf(t, quoted(code, flattened(m[1])), "docs/guide/%s: no Go file has these lines:\n%s", filepath.Base(page), m[1])
		}
	}
}

func quoted(code []string, block string) bool {
	for _, c := range code {
		if strings.Contains(c, block) {
			return true
		}
	}
	return false
}

// flattened returns lines without indentation.
func flattened(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimSpace(l)
	}
	return strings.Join(lines, "\n")
}
