package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

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
			cases, err := load(corpus, group, "")
			require.NoError(t, err)
			passed, unknown := 0, make(map[string]int)
			for i := range cases {
				err := runCase(&cases[i])
				if u, ok := errors.AsType[*unknownError](err); ok {
					unknown[u.what]++
					continue
				}
				require.NoError(t, err, cases[i].ID)
				passed++
			}
			t.Logf("%d of %d pass; unknown operators: %v", passed, len(cases), unknown)
		})
	}
}

// TestCorpusAcrossCrashes ends everything after each event: what was committed must give the same results, with stores
// that were restored from their changelogs. Processors are left out, since those of the format remember outside of
// their stores.
func TestCorpusAcrossCrashes(t *testing.T) {
	t.Parallel()
	acrossCrashes(t)
}

// TestCorpusOptimized demands the same results of topologies that were optimised, also across crashes: tables are then
// restored from their source topics.
func TestCorpusOptimized(t *testing.T) {
	t.Parallel()
	cases, err := load(corpus, "", "")
	require.NoError(t, err)
	compared := 0
	for i := range cases {
		err := runCaseWith(&cases[i], func(*tidemarktest.Driver) error { return nil }, topology.OptimizeAll())
		if _, ok := errors.AsType[*unknownError](err); ok {
			continue
		}
		require.NoError(t, err, cases[i].ID)
		compared++
	}
	t.Logf("%d cases compared", compared)
	acrossCrashes(t, topology.OptimizeAll())
}

func acrossCrashes(t *testing.T, opts ...topology.BuilderOption) {
	t.Helper()
	cases, err := load(corpus, "", "")
	require.NoError(t, err)
	compared := 0
	for i := range cases {
		c := &cases[i]
		if slices.ContainsFunc(c.Topology, func(s step) bool { return s.Op == "process" || s.Op == "processValues" }) {
			continue
		}
		err := runCaseWith(c, func(d *tidemarktest.Driver) error {
			return errors.Join(d.TryCommit(), d.TryCrash())
		}, opts...)
		if _, ok := errors.AsType[*unknownError](err); ok {
			continue
		}
		require.NoError(t, err, c.ID)
		compared++
	}
	t.Logf("%d cases compared", compared)
	require.NotZero(t, compared)
}

func caseOf(t *testing.T, id string) *testCase {
	t.Helper()
	cases, err := load(corpus, "", id)
	require.NoError(t, err)
	require.Len(t, cases, 1)
	return &cases[0]
}

// A runner that compares nothing would pass everything.
func TestDifferencesAreFound(t *testing.T) {
	t.Parallel()
	const id = "kv-aggregate-001"
	require.NoError(t, runCase(caseOf(t, id)))

	c := caseOf(t, id)
	for i := range c.Outputs {
		if len(c.Outputs[i]) > 0 {
			c.Outputs[i] = map[string]json.RawMessage{}
			break
		}
	}
	require.ErrorContains(t, runCase(c), "want null")

	c = caseOf(t, id)
	c.Outputs[0]["elsewhere"] = json.RawMessage(`[]`)
	require.ErrorContains(t, runCase(c), "topic elsewhere is not written")

	c = caseOf(t, id)
	last := len(c.Outputs) - 1
	c.Outputs[last] = map[string]json.RawMessage{"error": json.RawMessage(`"boom"`)}
	require.ErrorContains(t, runCase(c), `no error, want "boom"`)

	c = caseOf(t, id)
	require.NotEmpty(t, c.Stores)
	for name, s := range c.Stores {
		s.Entries[0].Value = some("other")
		c.Stores[name] = s
	}
	require.ErrorContains(t, runCase(c), "store ")

	c = caseOf(t, id)
	c.Stores["missing"] = wantedStore{}
	require.ErrorContains(t, runCase(c), `no store "missing"`)
}

func TestUnknownOperators(t *testing.T) {
	t.Parallel()
	ok, missing := caseOf(t, "kv-aggregate-001"), *caseOf(t, "kv-aggregate-002")
	missing.Topology = append([]step{{Op: "teleport"}}, missing.Topology...)
	out, failed := report([]testCase{*ok, missing}, true)
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
	_, err := load(dir, "", "")
	require.ErrorContains(t, err, "no *.jsonl")
	write := func(line string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "g.jsonl"), []byte(line), 0o600))
	}
	write(`{"id":"a","events":[{}],"outputs":[]}`)
	_, err = load(dir, "g", "")
	require.ErrorContains(t, err, "1 events and 0 outputs")
	write(`{`)
	_, err = load(dir, "g", "")
	require.ErrorContains(t, err, "case 1")
	write(`{"id":"a"}`)
	_, err = load(dir, "g", "b")
	require.ErrorContains(t, err, `no case "b"`)
}

func TestFunctions(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int64{"5": 5, "-12": -12, "": 0, "1x": 0, "+4": 0, "1234567890": 0, "-": 0} {
		require.Equal(t, want, integer(in), in)
	}
	require.Equal(t, "a|b", *joined(some("a"), "|", "b"))
	require.Equal(t, "b", *joined(nil, "|", "b"))
	require.Equal(t, "a|c", *without(some("a|b|c"), "|", "b"))
	require.Equal(t, "a", *without(some("a"), "|", "b"))
	_, err := aggregatorOf("juggle:1")
	require.EqualError(t, err, `conformance: unknown aggregator "juggle:1"`)
}
