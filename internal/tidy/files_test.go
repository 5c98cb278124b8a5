package tidy_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// forbidden words tell where something was made, not what it is: folders of one machine, hosts of package registries
// (a user has mirrors), folders that are not part of the project. They are put together here so that this file does
// not contain them.
var forbidden = regexp.MustCompile(strings.Join([]string{
	`/` + `work/`, `/` + `root/`, `/` + `tmp/(peers|goka)`, `\.\./` + `shared`,
	`\b` + `user-view\.md`, `proxy\.` + `golang\.org`, `sum\.` + `golang\.org`, `repo1?\.` + `maven`,
	`registry\.` + `npmjs`, `\bpypi\.` + `org`, `crates\.` + `io`, `deb\.` + `debian`,
}, "|"))

// unfinished marks must not be committed; an issue is the place for them.
var unfinished = regexp.MustCompile(`\b(` + `FIX` + `ME|` + `X` + `XX|` + `TO` + `DO)\b`)

const fileBytesMax = 4 << 20

func TestForbiddenWords(t *testing.T) {
	t.Parallel()
	texts := []string{
		"", ".css", ".go", ".html", ".java", ".js", ".json", ".jsonl", ".md", ".mod", ".sh", ".txt", ".xml", ".yaml", ".yml",
	}
	require.NoError(t, walk(func(name string) error {
		if !slices.Contains(texts, path.Ext(name)) {
			return nil
		}
		data, err := os.ReadFile(filepath.Join(root, name))
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		checkf(t, len(data) <= fileBytesMax, "%s is too large for a repository", name)
		for i, line := range strings.Split(string(data), "\n") {
			if word := forbidden.FindString(line); word != "" {
				t.Errorf("%s:%d: %q must not be committed", name, i+1, word)
			}
			if word := unfinished.FindString(line); word != "" && path.Ext(name) != ".txt" {
				t.Errorf("%s:%d: %q: finish it, or file an issue", name, i+1, word)
			}
		}
		return nil
	}))
}

func TestScriptsStopAtErrors(t *testing.T) {
	t.Parallel()
	require.NoError(t, walk(func(name string) error {
		if path.Ext(name) != ".sh" && name != ".ci/run" {
			return nil
		}
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		begins := strings.HasPrefix(string(data), "#!/usr/bin/env bash\n# ")
		checkf(t, begins, "%s: begin with the shell and what it is for", name)
		checkf(t, strings.Contains(string(data), "\nset -euo pipefail\n"), "%s: set -euo pipefail", name)
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil {
			return err
		}
		checkf(t, info.Mode()&0o100 != 0, "%s is not executable", name)
		return nil
	}))
}

// The changelog is for users: Keep a Changelog, each entry a sentence on its effect.
func TestChangelogForm(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join(root, "CHANGELOG.md"))
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	require.Equal(t, "# Changelog", lines[0])
	release := regexp.MustCompile(`^## \[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}$`)
	kinds := []string{"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
	var releases []string
	entry := ""
	finish := func(i int) {
		checkf(t, entry == "" || strings.HasSuffix(entry, "."), "CHANGELOG.md:%d: an entry is a sentence: %s", i, entry)
		entry = ""
	}
	for i, line := range lines {
		switch {
		case strings.HasPrefix(line, "## "):
			finish(i)
			checkf(t, line == "## [Unreleased]" || release.MatchString(line), "CHANGELOG.md:%d: %s", i+1, line)
			releases = append(releases, line)
		case strings.HasPrefix(line, "### "):
			finish(i)
			checkf(t, slices.Contains(kinds, strings.TrimPrefix(line, "### ")), "CHANGELOG.md:%d: one of %v", i+1, kinds)
		case strings.HasPrefix(line, "- "):
			finish(i)
			entry = line
		case strings.HasPrefix(line, "  ") && entry != "":
			entry = line
		case line == "":
			finish(i)
		}
	}
	finish(len(lines))
	require.NotEmpty(t, releases)
	require.Equal(t, "## [Unreleased]", releases[0])
}
