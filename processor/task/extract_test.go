package task_test

import (
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// passing reads "in" and writes "out", with the record's time as its value.
func passing(opts ...topology.SourceOption) *topology.Builder {
	b := topology.NewBuilder()
	topology.Process(texts(b, "in", opts...), func() processor.Processor[string, string, string, string] {
		return processor.Func[string, string, string, string](
			func(ctx processor.Context[string, string], r record.Record[string, string]) error {
				return ctx.Forward(record.WithValue(r, strconv.FormatInt(r.Timestamp, 10)))
			})
	}, nil, nil).To("out")
	return b
}

func TestReadyMadeExtractors(t *testing.T) {
	for name, c := range map[string]struct {
		extract processor.TimestampExtractor
		times   []int64
		want    []string // output values
		wantErr string
		dropped uint64
	}{
		"default": {nil, []int64{5, -1}, []string{"5"}, "in-0 offset 1 (timestamp -1): the timestamp is negative", 0},
		"fail":    {processor.FailOnInvalidTimestamp, []int64{5, -7}, []string{"5"}, "offset 1 (timestamp -7)", 0},
		"skip":    {processor.LogAndSkipOnInvalidTimestamp, []int64{-1, 5, -7, 4}, []string{"5", "4"}, "", 2},
		"previous": {
			processor.UsePreviousTimeOnInvalidTimestamp, []int64{5, -7, 9, 3, -1}, []string{"5", "5", "9", "3", "9"}, "", 0,
		},
		"no previous": {processor.UsePreviousTimeOnInvalidTimestamp, []int64{-1}, nil, "has no time yet", 0},
		"wall clock":  {processor.WallclockTimestampExtractor, []int64{5, -1}, []string{"1000", "1000"}, "", 0},
	} {
		// Of the source, and of the application.
		for _, own := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/%t", name, own), func(t *testing.T) {
				var opts []topology.SourceOption
				if own && c.extract != nil {
					opts = append(opts, topology.WithTimestampExtractor(c.extract))
				}
				cfg := harnessConfig(t, passing(opts...))
				asked := 0
				cfg.Handlers.Processing = func(processor.Failure) processor.Action { asked++; return processor.ContinueAction() }
				cfg.Handlers.Deserialization = cfg.Handlers.Processing
				if !own {
					cfg.TimestampExtractor = c.extract
				}
				h := open(t, cfg)
				records := make([]record.Raw, len(c.times))
				for i, ts := range c.times {
					records[i] = raw(int64(i), ts, "k", "v")
				}
				h.add("in", int64(len(records)), records...)
				_, err := h.Process(100, 1000)
				if c.wantErr != "" {
					require.ErrorContains(t, err, c.wantErr)
					_, ok := errors.AsType[*processor.TimestampError](err)
					require.True(t, ok)
				} else {
					require.NoError(t, err)
				}
				var got []string
				for _, kv := range h.outputsOf()["out"] {
					got = append(got, kv[len("k="):])
				}
				require.Equal(t, c.want, got)
				require.Equal(t, c.dropped, h.Metrics().Dropped)
				require.Zero(t, asked, "as in Kafka Streams, no handler decides about them")
			})
		}
	}
}

// The application's extractor does not touch repartition topics, and a source's own comes first.
func TestDefaultExtractorIsForSourcesOfTheUser(t *testing.T) {
	b := topology.NewBuilder()
	in := texts(b, "in").Merge(texts(b, "other", topology.WithTimestampExtractor(processor.FailOnInvalidTimestamp)))
	again := topology.SelectKey(in, func(k, _ string) string { return k }, nil).Repartition(topology.Named("again"))
	again.To("out")
	plan := b.MustBuild()
	for _, n := range plan.Nodes {
		internal := n.Kind == processor.SourceNode && n.Topics[0] == "again-repartition"
		require.Equal(t, internal, n.Internal, n.Name)
	}
	cfg := harnessConfig(t, b)
	cfg.TimestampExtractor = func(*record.Raw, processor.Extraction) (int64, error) { return 77, nil }
	times := func(sub int, topics ...string) (out []int64) {
		cfg := cfg
		cfg.Subtopology, cfg.Inputs = plan.Subtopologies[sub], nil
		for _, topic := range topics {
			cfg.Inputs = append(cfg.Inputs, tp(topic))
		}
		h := open(t, cfg)
		for _, topic := range topics {
			h.add(topic, 1, raw(0, 5, "k", "v"))
		}
		h.process()
		for _, topic := range topics {
			out = append(out, h.seal().Positions[tp(topic)].StreamTime)
			h.rollback()
			for _, topic := range topics {
				h.add(topic, 1, raw(0, 5, "k", "v"))
			}
			h.process()
		}
		return out
	}
	require.Equal(t, []int64{77, 5}, times(0, "in", "other"))
	require.Equal(t, []int64{5}, times(1, "again-repartition"))
}

// decodes counts how often it decodes.
type decodes struct {
	serde.Serde[string]

	n *int
}

func (d decodes) Decode(data []byte) (string, error) {
	*d.n++
	if string(data) == "bad" {
		return "", errors.New("not decodable")
	}
	return d.Serde.Decode(data)
}

func typed(n *int, topics ...string) *topology.Builder {
	b := topology.NewBuilder()
	topology.Streams(b, topics, serde.String, serde.Serde[string](decodes{serde.String, n}),
		topology.WithTypedTimestampExtractor(func(r record.Record[string, string], _ processor.Extraction) (int64, error) {
			switch r.Value {
			case "fail":
				return 0, errors.New("no time in it")
			case "panic":
				panic("no time in it")
			case "drop":
				return -1, nil
			case "own":
				return r.Timestamp, nil
			}
			return strconv.ParseInt(r.Value, 10, 64)
		}), topology.Named("timed")).To("out")
	return b
}

// Two partitions of one source wait at the same time, each with its decoded record.
func TestTypedExtractorDecodesOnce(t *testing.T) {
	n := 0
	h := open(t, harnessConfig(t, typed(&n, "a", "b")))
	h.add("a", 3, raw(0, 0, "a", "10"), raw(1, 0, "a", "30"), raw(2, 33, "a", "own"))
	h.add("b", 3, raw(0, 0, "b", "20"), raw(1, 0, "b", "drop"), raw(2, 0, "b", "31"))
	h.process()
	e := h.seal()
	require.Equal(t, []string{"a=10", "b=20", "a=30", "b=31", "a=own"}, written(e)["out"])
	require.Equal(t, 6, n)
	require.Equal(t, task.Position{Offset: 3, StreamTime: 33}, position(e, "a"))
	require.Equal(t, uint64(1), h.Metrics().Dropped)

	h.rollback()
	h.add("a", 1, raw(0, 0, "a", "10"))
	h.add("b", 1, raw(0, 0, "b", "5"))
	h.process()
	require.Equal(t, []string{"b=5", "a=10"}, h.commit()["out"], "what was decoded before is forgotten")
}

func TestFailingExtractor(t *testing.T) {
	n := 0
	for value, c := range map[string]struct {
		stage processor.Stage
		want  string
	}{
		"fail":  {processor.Processing, `node "timed" of task 1_0 failed on in-0 offset 1: no time in it`},
		"panic": {processor.Processing, `node "timed" of task 1_0 panicked on in-0 offset 1: no time in it`},
		"bad":   {processor.Deserialization, "not decodable"},
	} {
		t.Run(value, func(t *testing.T) {
			records := func() []record.Raw {
				return []record.Raw{raw(0, 7, "k", "own"), raw(1, 8, "k", value), raw(2, 9, "k", "own")}
			}
			h := open(t, harnessConfig(t, typed(&n, "in")))
			h.add("in", 3, records()...)
			done, err := h.Process(10, 0)
			require.ErrorContains(t, err, c.want)
			require.Equal(t, 2, done)

			cfg := harnessConfig(t, typed(&n, "in"))
			var failures []processor.Failure
			cfg.Handlers.Processing = func(f processor.Failure) processor.Action {
				failures = append(failures, f)
				return processor.DeadLetterAction("dead")
			}
			cfg.Handlers.Deserialization = cfg.Handlers.Processing
			h = open(t, cfg)
			h.pipe("in", records()...)
			require.Len(t, failures, 1)
			require.Equal(t, c.stage, failures[0].Stage)
			require.Equal(t, "timed", failures[0].Node)
			require.Equal(t, int64(1), failures[0].Record.Offset)
			require.Equal(t, int64(8), failures[0].Record.Timestamp)
			require.Equal(t, map[string][]string{"out": {"k=own", "k=own"}, "dead": {"k=" + value}}, h.commit())
		})
	}
}

func TestTypedExtractorOfOtherTypes(t *testing.T) {
	b := topology.NewBuilder()
	topology.Stream(b, "in", serde.String, serde.Int64,
		topology.WithTypedTimestampExtractor(func(record.Record[string, string], processor.Extraction) (int64, error) {
			return 0, nil
		})).To("out")
	_, err := b.Build()
	require.ErrorContains(t, err, "the records are of string and int64")
}
