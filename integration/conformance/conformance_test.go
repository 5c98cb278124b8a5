package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/integration/conformance/cases"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

const corpus = "testdata"

// TestCorpus demands that every case passes whose operators are in the registry. What the registry lacks is counted.
func TestCorpus(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(corpus, "*.jsonl"))
	require.NoError(t, err)
	require.Len(t, files, 20)
	for _, file := range files {
		group := filepath.Base(file[:len(file)-len(filepath.Ext(file))])
		t.Run(group, func(t *testing.T) {
			t.Parallel()
			all, err := cases.Load(corpus, group, "")
			require.NoError(t, err)
			passed, unknown := 0, make(map[string]int)
			for i := range all {
				err := cases.Run(&all[i])
				if u, ok := errors.AsType[*cases.UnknownError](err); ok {
					unknown[u.What]++
					continue
				}
				require.NoError(t, err, all[i].ID)
				passed++
			}
			t.Logf("%d of %d pass; unknown operators: %v", passed, len(all), unknown)
		})
	}
}

// TestCorpusAcrossCrashes ends everything after each event: what was committed must give the same results, with stores
// that were restored from their changelogs. Processors are left out, since those of the format remember outside of
// their stores.
func TestCorpusAcrossCrashes(t *testing.T) {
	t.Parallel()
	all, err := cases.Load(corpus, "", "")
	require.NoError(t, err)
	acrossCrashes(t, all)
}

// TestCorpusOptimized demands the same results of topologies that were optimised, also across crashes: tables are then
// restored from their source topics. Those that the rules leave as they are run in the tests above.
func TestCorpusOptimized(t *testing.T) {
	t.Parallel()
	all, err := cases.Load(corpus, "", "")
	require.NoError(t, err)
	changed := slices.DeleteFunc(all, func(c cases.Case) bool {
		return planOf(t, &c) == planOf(t, &c, topology.OptimizeAll())
	})
	t.Logf("%d cases are optimised", len(changed))
	for i := range changed {
		err := cases.RunWith(&changed[i], func(*tidemarktest.Driver) error { return nil }, topology.OptimizeAll())
		require.NoError(t, err, changed[i].ID)
	}
	acrossCrashes(t, changed, topology.OptimizeAll())
}

// planOf describes everything that a rule may change: nodes, stores with what they are restored from, and topics. It is
// empty for operators that are not in the registry, and for topologies that must not build.
func planOf(t *testing.T, c *cases.Case, opts ...topology.BuilderOption) string {
	t.Helper()
	b, err := cases.Build(c, opts...)
	if err != nil {
		var unknown *cases.UnknownError
		require.ErrorAs(t, err, &unknown)
		return ""
	}
	plan, err := b.Build()
	if err != nil {
		return ""
	}
	text, err := topology.NewDescription(plan).JSON()
	require.NoError(t, err)
	return string(text)
}

func acrossCrashes(t *testing.T, all []cases.Case, opts ...topology.BuilderOption) {
	t.Helper()
	compared := 0
	for i := range all {
		c := &all[i]
		if slices.ContainsFunc(c.Topology, func(s cases.Step) bool { return s.Op == "process" || s.Op == "processValues" }) {
			continue
		}
		err := cases.RunWith(c, func(d *tidemarktest.Driver) error {
			return errors.Join(d.TryCommit(), d.TryCrash())
		}, opts...)
		if _, ok := errors.AsType[*cases.UnknownError](err); ok {
			continue
		}
		require.NoError(t, err, c.ID)
		compared++
	}
	t.Logf("%d cases compared", compared)
	require.NotZero(t, compared)
}

func caseOf(t *testing.T, id string) *cases.Case {
	t.Helper()
	all, err := cases.Load(corpus, id[:strings.LastIndexByte(id, '-')], id)
	require.NoError(t, err)
	require.Len(t, all, 1)
	return &all[0]
}

// A runner that compares nothing would pass everything.
func TestDifferencesAreFound(t *testing.T) {
	t.Parallel()
	const id = "kv-aggregate-001"
	require.NoError(t, cases.Run(caseOf(t, id)))

	c := caseOf(t, id)
	for i := range c.Outputs {
		if len(c.Outputs[i]) > 0 {
			c.Outputs[i] = map[string]json.RawMessage{}
			break
		}
	}
	require.ErrorContains(t, cases.Run(c), "want null")

	c = caseOf(t, id)
	c.Outputs[0]["elsewhere"] = json.RawMessage(`[]`)
	require.ErrorContains(t, cases.Run(c), "topic elsewhere is not written")

	c = caseOf(t, id)
	last := len(c.Outputs) - 1
	c.Outputs[last] = map[string]json.RawMessage{"error": json.RawMessage(`"boom"`)}
	require.ErrorContains(t, cases.Run(c), `no error, want "boom"`)

	c = caseOf(t, id)
	require.NotEmpty(t, c.Stores)
	for name, s := range c.Stores {
		s.Entries[0].Value = cases.Some("other")
		c.Stores[name] = s
	}
	require.ErrorContains(t, cases.Run(c), "store ")

	c = caseOf(t, id)
	c.Stores["missing"] = cases.WantedStore{}
	require.ErrorContains(t, cases.Run(c), `no store "missing"`)
}

func TestUnknownOperators(t *testing.T) {
	t.Parallel()
	ok, missing := caseOf(t, "kv-aggregate-001"), *caseOf(t, "kv-aggregate-002")
	missing.Topology = append([]cases.Step{{Op: "teleport"}}, missing.Topology...)
	out, failed := report([]cases.Case{*ok, missing}, true)
	require.Equal(t, 1, failed)
	require.Equal(t, `kv-aggregate           1 passed,   1 failed (1 with unknown operators)
  kv-aggregate-001: ok
  kv-aggregate-002: unknown operator teleport
unknown operator teleport: first met in 1 cases
1 passed, 1 failed
`, out)
}

func TestCasesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := cases.Load(dir, "", "")
	require.ErrorContains(t, err, "no *.jsonl")
	write := func(line string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "g.jsonl"), []byte(line), 0o600))
	}
	write(`{"id":"a","events":[{}],"outputs":[]}`)
	_, err = cases.Load(dir, "g", "")
	require.ErrorContains(t, err, "1 events and 0 outputs")
	write(`{`)
	_, err = cases.Load(dir, "g", "")
	require.ErrorContains(t, err, "case 1")
	write(`{"id":"a"}`)
	_, err = cases.Load(dir, "g", "b")
	require.ErrorContains(t, err, `no case "b"`)
}
