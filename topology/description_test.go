package topology_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// described is a topology with one of everything that a description tells apart.
func described(opts ...topology.BuilderOption) *topology.Builder {
	b := topology.NewBuilder(opts...)
	byValue := func(_, v string) string { return v }
	orders := topology.SelectKey(topology.Stream(b, "orders", serde.String, serde.String), byValue, nil)
	topology.Count(orders.GroupByKey(topology.Named("by-item")), topology.As("counts"),
		topology.ChangelogConfig(map[string]string{"segment.ms": "600000"})).ToStream().To("item-counts")
	topology.Reduce(orders.GroupByKey(), func(_, v string) string { return v }, topology.As("last"), topology.InMemory(),
		topology.WithoutCaching(), topology.WithoutLogging())
	topology.Table(b, "prices", serde.String, serde.Int64, topology.As("prices")).ToStream().ToEach(
		chooseNumbers)
	orders.Repartition(topology.Named("again"), topology.Partitions(3)).To("item-counts")
	return b
}

// chooseNumbers is named in the golden files.
func chooseNumbers(record.Record[string, int64], processor.RecordMetadata) string { return "numbers" }

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// TestDescriptions compares all forms of a description with files: what others read must not change by accident.
func TestDescriptions(t *testing.T) {
	plain, optimized := described().MustBuild(), described(topology.OptimizeAll()).MustBuild()
	text, err := topology.NewDescription(plain).JSON()
	require.NoError(t, err)
	golden(t, "description.json", string(text))
	text, err = topology.NewDescription(optimized).JSON()
	require.NoError(t, err)
	golden(t, "description-optimized.json", string(text))
	golden(t, "description.txt", topology.Describe(plain))
	golden(t, "description-optimized.txt", topology.Describe(optimized))
	golden(t, "description.dot", topology.DOT(optimized))
	golden(t, "description.mmd", topology.Mermaid(optimized))
}

func TestParseDescription(t *testing.T) {
	d := topology.NewDescription(described().MustBuild())
	text, err := d.JSON()
	require.NoError(t, err)
	parsed, err := topology.ParseDescription(text)
	require.NoError(t, err)
	require.Equal(t, d, parsed)
	_, err = topology.ParseDescription([]byte(`{"version":2}`))
	require.ErrorContains(t, err, "has version 2, and this build reads version 1")
	_, err = topology.ParseDescription([]byte(`[]`))
	require.ErrorContains(t, err, "not a description of a topology")
}

func FuzzParseDescription(f *testing.F) {
	text, err := topology.NewDescription(described().MustBuild()).JSON()
	require.NoError(f, err)
	f.Add(text)
	f.Add([]byte(`{"version":1,"stores":[{"name":"x"}],"topics":[{}],"subtopologies":[{}]}`))
	now := topology.NewDescription(described(topology.OptimizeAll()).MustBuild())
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := topology.ParseDescription(data)
		if err != nil {
			return
		}
		topology.Diff(d, now)
		topology.Diff(now, d)
		again, err := d.JSON()
		require.NoError(t, err)
		_, err = topology.ParseDescription(again)
		require.NoError(t, err)
	})
}
