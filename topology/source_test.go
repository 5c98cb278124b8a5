package topology_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

func TestSourceUndecodable(t *testing.T) {
	b := topology.NewBuilder()
	topology.Stream(b, "in", serde.Int32, serde.Int64, topology.Named("numbers"))
	d := run(t, b, false)
	err := d.tryPipe("in", kv("four", "not eight", 1))
	failed, ok := errors.AsType[*processor.DeserializationError](err)
	require.True(t, ok)
	require.Equal(t, "numbers", failed.Node)
	require.Equal(t, "value", failed.Part)
	err = d.tryPipe("in", kv("k", "-", 1))
	require.EqualError(t, err, `processor: source "numbers" cannot decode the key: `+
		`serde: int32: want 4 byte(s), got 1: "k" (was it written with another serde?)`)
}

func TestSourceTimestamps(t *testing.T) {
	b := topology.NewBuilder()
	topology.Stream(b, "in", serde.String, serde.String,
		topology.WithTimestampExtractor(func(r *record.Raw, at processor.Extraction) (int64, error) {
			if string(r.Value) == "bad" {
				return -1, nil
			}
			return max(at.PartitionTime, 0) + int64(len(r.Value)), nil
		})).To("out")
	d := run(t, b, false)
	d.pipe("in", kv("k", "four", 1))
	d.pipe("in", kv("k", "bad", 1))
	d.pipe("in", kv("k", "-", 1))
	require.Equal(t, []string{"k=four@4", "k=-@4"}, d.take("out", text))
	require.Len(t, d.dropped, 1)
}

func TestSourceOptions(t *testing.T) {
	b := topology.NewBuilder()
	topology.Streams(b, []string{"a", "b"}, serde.String, serde.String,
		topology.WithOffsetReset(processor.ResetLatest)).To("out")
	topology.Table(b, "t", serde.String, serde.String, topology.As("rows"), topology.Named("table"),
		topology.WithOffsetReset(processor.ResetNone), topology.WithoutCaching())
	plan := b.MustBuild()
	require.Equal(t, []string{"a", "b"}, plan.Nodes[0].Topics)
	require.Equal(t, processor.ResetLatest, plan.Nodes[0].OffsetReset)
	require.Equal(t, "table-source", plan.Nodes[2].Name)
	require.Equal(t, processor.ResetNone, plan.Nodes[2].OffsetReset)
	require.Equal(t, "table", plan.Nodes[3].Name)
	require.False(t, plan.Stores[0].CachingEnabled)
	d := run(t, b, false)
	d.pipe("a", kv("k", "1", 1))
	d.pipe("b", kv("k", "2", 2))
	require.Equal(t, []string{"k=1@1", "k=2@2"}, d.take("out", text))
}

// TestSourceNil shows that a serde may say null too: JSON null is a nil pointer.
func TestSourceNil(t *testing.T) {
	type value struct{ N int }
	b := topology.NewBuilder()
	s := topology.Stream(b, "in", serde.String, serde.JSON[*value]())
	s.To("out")
	topology.Count(s.GroupByKey()).ToStream().To("counts")
	d := run(t, b, false)
	d.pipe("in", kv("k", "null", 1))
	d.pipe("in", kv("k", `{"N":1}`, 2))
	require.Equal(t, []string{"k=-@1", `k={"N":1}@2`}, d.take("out", text))
	require.Equal(t, []string{"k=1@2"}, d.take("counts", number))
}
