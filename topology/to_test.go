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

func chooseByValue(r record.Record[string, string]) string {
	if r.NullValue {
		return "nulls"
	}
	return r.Value
}

func TestToKeepsNullApartFromEmpty(t *testing.T) {
	b := topology.NewBuilder()
	topology.Stream(b, "in", serde.String, serde.String).To("out")
	topology.Stream(b, "bytes", serde.Bytes, serde.Bytes).To("out")
	d := run(t, b, false)
	for _, topic := range []string{"in", "bytes"} {
		d.pipe(topic, kv("", "", 1))
		d.pipe(topic, kv("-", "", 2))
		d.pipe(topic, kv("", "-", 3))
		d.pipe(topic, kv("long key", "long value", 4))
		d.pipe(topic, kv("k", "v", 5))
		require.Equal(t, []string{"=@1", "-=@2", "=-@3", "long key=long value@4", "k=v@5"}, d.take("out", text))
	}
}

func TestToKeepsHeaders(t *testing.T) {
	b := topology.NewBuilder()
	topology.Stream(b, "in", serde.String, serde.String).To("out")
	d := run(t, b, false)
	r := kv("k", "v", 1)
	r.Headers = []record.Header{{Key: "a", Value: []byte("1")}, {Key: "b"}}
	d.pipe("in", r)
	require.Equal(t, r.Headers, d.written["out"][0].Headers)
}

func TestToEach(t *testing.T) {
	b := topology.NewBuilder()
	topology.Stream(b, "in", serde.String, serde.String).ToEach(chooseByValue)
	require.Empty(t, b.MustBuild().Subtopologies[0].SinkTopics)
	d := run(t, b, false)
	d.pipe("in", kv("k", "one", 1))
	d.pipe("in", kv("k", "-", 2))
	d.pipe("in", kv("k", "one", 3))
	require.Equal(t, []string{"k=one@1", "k=one@3"}, d.take("one", text))
	require.Equal(t, []string{"k=-@2"}, d.take("nulls", text))
	err := d.tryPipe("in", kv("k", "missing", 4))
	user, ok := errors.AsType[*processor.UserError](err)
	require.True(t, ok)
	require.Equal(t, "KSTREAM-SINK-0000000001", user.Node)
	require.ErrorContains(t, err, `topology: topic "missing": no topic "missing"`)
}

func TestToWithSerdesAndPartitioner(t *testing.T) {
	b := topology.NewBuilder()
	choose := func(_ string, r record.Record[string, string], n int32) int32 { return int32(len(r.Value)) % (n + 1) }
	topology.Stream(b, "in", serde.String, serde.String).
		To("out", topology.WithSerdes[string, string](nil, serde.JSON[string]()), topology.WithPartitioner(choose))
	d := run(t, b, false)
	d.pipe("in", kv("k", "v", 1))
	require.Equal(t, []string{`k="v"@1`}, d.take("out-1", text))
	err := d.tryPipe("in", kv("k", "four", 2))
	require.ErrorContains(t, err, "the partitioner chose partition 4 of 4")
	_, ok := errors.AsType[*processor.UserError](err)
	require.True(t, ok)
}

// failing is a serde that cannot encode.
type failing struct{ serde.Serde[string] }

var errEncode = errors.New("cannot encode")

func (failing) Append(dst []byte, _ string) ([]byte, error) { return dst, errEncode }

func TestToReportsSerdeErrorsAsTheUsers(t *testing.T) {
	for part, serdes := range map[string]topology.Serdes{
		"key":   topology.WithSerdes[string, string](failing{}, nil),
		"value": topology.WithSerdes[string, string](nil, failing{}),
	} {
		b := topology.NewBuilder()
		topology.Stream(b, "in", serde.String, serde.String).To("out", topology.Named("the-sink"), serdes)
		d := run(t, b, false)
		err := d.tryPipe("in", kv("k", "v", 1))
		require.ErrorIs(t, err, errEncode)
		user, ok := errors.AsType[*processor.UserError](err)
		require.True(t, ok)
		require.Equal(t, "the-sink", user.Node)
		require.Equal(t, "in", user.TopicPartition.Topic)
		require.ErrorContains(t, err, "encode the "+part)
	}
}
