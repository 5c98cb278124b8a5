package topology_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

func chooseByValue(r record.Record[string, string], _ processor.RecordMetadata) string {
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
	require.ErrorContains(t, err, `topology: the chosen topic: no topic "missing"`)
	require.ErrorContains(t, d.tryPipe("in", kv("k", "", 5)), "the function chose a topic without a name")
}

// TestToEachSeesWhereTheRecordCameFrom pins that time and headers are the record's, and the place is the input's.
func TestToEachSeesWhereTheRecordCameFrom(t *testing.T) {
	b := topology.NewBuilder()
	s := topology.Stream(b, "in", serde.String, serde.String)
	choose := func(_ record.Record[string, int64], at processor.RecordMetadata) string {
		return fmt.Sprintf("%s.%d.%d@%d%s", at.Topic, at.Partition, at.Offset, at.Timestamp, at.Headers[0].Key)
	}
	topology.Count(s.GroupByKey(), topology.As("n")).ToStream().ToEach(choose)
	d := run(t, b, false)
	for _, timestamp := range []int64{7, 3} {
		r := kv("k", "v", timestamp)
		r.Headers = headersOf("h")
		d.pipe("in", r)
	}
	require.Equal(t, []string{"k=1@7"}, d.take("in.0.0@7h", number))
	require.Equal(t, []string{"k=2@7"}, d.take("in.0.1@7h", number))
}

// TestForwardToDynamicSinks lets a processor choose among named sinks, of which one chooses the topic.
func TestForwardToDynamicSinks(t *testing.T) {
	b := topology.NewBuilder()
	s := topology.Process(topology.Stream(b, "in", serde.String, serde.String),
		func() processor.Processor[string, string, string, string] {
			return processor.Func[string, string, string, string](func(ctx textContext, r textRecord) error {
				if err := ctx.ForwardTo("fixed", r); err != nil {
					return err
				}
				return ctx.ForwardTo("dynamic", r.WithHeader("a", nil))
			})
		}, nil, nil)
	s.To("out", topology.Named("fixed"))
	s.ToEach(chooseByValue, topology.Named("dynamic"))
	d := run(t, b, false)
	d.pipe("in", kv("k", "one", 1))
	require.Equal(t, []record.Header{{Key: "a"}}, d.written["one"][0].Headers)
	require.Empty(t, d.written["out"][0].Headers)
	require.Equal(t, []string{"k=one@1"}, d.take("out", text))
	err := d.tryPipe("in", kv("k", "missing", 2))
	user, ok := errors.AsType[*processor.UserError](err)
	require.True(t, ok)
	require.Equal(t, "dynamic", user.Node)
}

// TestToEachWithPartitioner pins that the partitioner is told the chosen topic.
func TestToEachWithPartitioner(t *testing.T) {
	b := topology.NewBuilder()
	topology.Stream(b, "in", serde.String, serde.String).ToEach(chooseByValue,
		topology.WithPartitioner(func(topic string, _ textRecord, n int32) int32 { return int32(len(topic)) % n }))
	d := run(t, b, false)
	d.partitions = 4
	d.pipe("in", kv("k", "topic", 1))
	require.Equal(t, []string{"k=topic@1"}, d.take("topic-1", text))
}

func TestMulticast(t *testing.T) {
	b := topology.NewBuilder()
	choose := func(_ string, r textRecord, _ int32) ([]int32, bool) {
		switch r.Value {
		case "all":
			return []int32{0, 1, 2, 3, 0}, true
		case "none":
			return nil, true
		case "bad":
			return []int32{0, 4}, true
		}
		return nil, false
	}
	topology.Stream(b, "in", serde.String, serde.String).To("out", topology.WithMulticast(choose))
	d := run(t, b, false)
	d.partitions = 4
	d.pipe("in", kv("k", "all", 1))
	for _, topic := range []string{"out-0", "out-1", "out-2", "out-3"} {
		require.Equal(t, []string{"k=all@1"}, d.take(topic, text))
	}
	d.pipe("in", kv("k", "none", 2))
	require.Empty(t, d.written)
	require.Equal(t, []string{"the partitioner chose no partition"}, d.dropped)
	d.pipe("in", kv("k", "default", 3))
	require.Equal(t, []string{"k=default@3"}, d.take("out", text))
	require.ErrorContains(t, d.tryPipe("in", kv("k", "bad", 4)), "the partitioner chose partition 4 of 4")
	require.Empty(t, d.written)
}

func TestSinkMistakes(t *testing.T) {
	b := topology.NewBuilder()
	s := topology.Stream(b, "in", serde.String, serde.String)
	s.To("out", topology.WithMulticast[string, string](nil))
	s.To("out", topology.WithPartitioner[string, string](nil))
	s.To("out", topology.WithMulticast[int, int](nil))
	s.ToEach(nil)
	topology.MapValues(s, func(v string) int { return len(v) }, nil).
		ToEach(func(record.Record[string, int], processor.RecordMetadata) string { return "" })
	_, err := b.Build()
	mistakes := strings.Split(err.Error(), "\n")
	require.Len(t, mistakes, 5)
	require.Contains(t, mistakes[0], "To: the function is nil")
	require.Contains(t, mistakes[1], "To: the function is nil")
	require.Contains(t, mistakes[2], "topology.Multicast[int,int] is not for keys of type string")
	require.Contains(t, mistakes[3], "ToEach: the function is nil")
	require.Contains(t, mistakes[4], "ToEach: no value serde for writing to a topic")
}

func TestToRefusesNegativeTimestamps(t *testing.T) {
	d := processText(t, func(ctx textContext, r textRecord) error {
		r.Timestamp = -5
		return ctx.Forward(r)
	})
	err := d.tryPipe("in", kv("k", "v", 1))
	user, ok := errors.AsType[*processor.UserError](err)
	require.True(t, ok)
	require.Equal(t, "left-sink", user.Node)
	require.ErrorContains(t, err, "the record has the negative timestamp -5")
}

func TestToWithSerdesAndPartitioner(t *testing.T) {
	b := topology.NewBuilder()
	choose := func(_ string, r record.Record[string, string], n int32) int32 { return int32(len(r.Value)) % (n + 1) }
	topology.Stream(b, "in", serde.String, serde.String).
		To("out", topology.WithSerdes[string, string](nil, serde.JSON[string]()), topology.WithPartitioner(choose))
	d := run(t, b, false)
	d.partitions = 4
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

// TestToPlacesWindowsByTheirKey: all windows of a key go to the partition of the key, as WindowedStreamPartitioner has
// it; with nested windows, to that of the key and its inner window.
func TestToPlacesWindowsByTheirKey(t *testing.T) {
	for name, key := range map[string]serde.Serde[record.Windowed[string]]{
		"time": serde.TimeWindowed(serde.String, time.Second), "session": serde.SessionWindowed(serde.String),
	} {
		t.Run(name, func(t *testing.T) {
			b := topology.NewBuilder()
			topology.Stream(b, "in", key, serde.String).To("out")
			d := run(t, b, false)
			d.partitions = 4
			for i := range int64(8) {
				window := record.Window{Start: i * 1000, End: i*1000 + 1000}
				encoded, err := key.Append(nil, record.Windowed[string]{Key: "k", Window: window})
				require.NoError(t, err)
				d.pipe("in", record.Raw{Key: encoded, Value: []byte("v"), Timestamp: i})
			}
			require.Len(t, d.written[fmt.Sprintf("out-%d", processor.DefaultPartition([]byte("k"), 4))], 8)
		})
	}
}
