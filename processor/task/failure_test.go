package task_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// failing is a topology in which the value "error" fails, "panic" panics, and keys that are no eight bytes do not
// decode.
func failing() *topology.Builder {
	b := topology.NewBuilder()
	in := topology.Stream(b, "in", serde.Int64, serde.String)
	topology.Process(in, func() processor.Processor[int64, string, int64, string] {
		return processor.Func[int64, string, int64, string](
			func(ctx processor.Context[int64, string], r record.Record[int64, string]) error {
				switch r.Value {
				case "error":
					if err := ctx.Forward(record.WithValue(r, "before the error")); err != nil {
						return err
					}
					return errors.New("this value")
				case "panic":
					panic("that value")
				}
				return ctx.Forward(r)
			})
	}, serde.Int64, serde.String, topology.Named("picky")).To("out")
	return b
}

func key(offset int64, value string) record.Raw {
	r := raw(offset, 100+offset, "12345678", value)
	r.Headers = []record.Header{{Key: "own", Value: []byte("header")}}
	return r
}

func badKey(offset int64) record.Raw {
	r := key(offset, "v")
	r.Key = []byte("short")
	return r
}

func TestFailingRecordsStopTheTaskByDefault(t *testing.T) {
	for name, c := range map[string]struct {
		r    record.Raw
		want string
	}{
		"decode": {badKey(1), "OnDeserializationError"},
		"error":  {key(1, "error"), "this value"},
		"panic":  {key(1, "panic"), "panicked on in-0 offset 1: that value"},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, harnessConfig(t, failing()))
			h.add("in", 3, key(0, "ok"), c.r, key(2, "never"))
			n, err := h.Process(10, 0)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "1_0")
			require.Equal(t, 2, n)
			h.rollback()
			h.pipe("in", key(0, "ok"))
			require.Equal(t, []string{"12345678=ok"}, h.commit()["out"], "the task is usable after a rollback")
		})
	}
}

func TestHandlersDecideByStage(t *testing.T) {
	cfg := harnessConfig(t, failing())
	var seen []processor.Failure
	note := func(f processor.Failure) processor.Action {
		seen = append(seen, f)
		return processor.ContinueAction()
	}
	cfg.Handlers = task.Handlers{Deserialization: note, Processing: note}
	h := open(t, cfg)
	h.pipe("in", badKey(0), key(1, "error"), key(2, "panic"), key(3, "ok"))
	require.Equal(t, []string{"12345678=before the error", "12345678=ok"}, h.commit()["out"],
		"what a record wrote before it failed stays")
	require.Len(t, seen, 3)
	for i, f := range seen {
		require.Equal(t, h.ID(), f.Task)
		require.Equal(t, tp("in"), f.TopicPartition)
		require.Equal(t, int64(i), f.Record.Offset)
		require.Equal(t, int64(100+i), f.Record.Timestamp)
		require.Equal(t, "own", f.Record.Headers[0].Key)
	}
	require.Equal(t, []processor.Stage{processor.Deserialization, processor.Processing, processor.Processing},
		[]processor.Stage{seen[0].Stage, seen[1].Stage, seen[2].Stage})
	require.Equal(t, "picky", seen[1].Node)
	require.Equal(t, "picky", seen[2].Node)
	require.Equal(t, "short", string(seen[0].Record.Key))
	require.Equal(t, task.Metrics{Processed: 4, Failed: 3}, h.Metrics())
	require.Equal(t, int64(103), h.StreamTime())
}

func TestDeadLetterCarriesOrigin(t *testing.T) {
	cfg := harnessConfig(t, failing())
	cfg.Handlers = task.Handlers{Deserialization: processor.DeadLetter("dead"), Processing: processor.DeadLetter("dead")}
	h := open(t, cfg)
	h.pipe("in", badKey(0), key(1, "panic"))
	e := h.seal()
	require.Equal(t, map[string][]string{"dead": {"short=v", "12345678=panic"}}, written(e))
	for i, wantStack := range []bool{false, true} {
		r := e.Batches[0].At(i)
		headers := make(map[string]string)
		for _, hd := range r.Headers {
			headers[hd.Key] = string(hd.Value)
		}
		require.Equal(t, "header", headers["own"])
		require.Equal(t, "in", headers["__streams.errors.topic"])
		require.Equal(t, "0", headers["__streams.errors.partition"])
		require.Equal(t, string(rune('0'+i)), headers["__streams.errors.offset"])
		require.NotEmpty(t, headers["__streams.errors.exception"])
		require.NotEmpty(t, headers["__streams.errors.message"])
		_, stack := headers["__streams.errors.stacktrace"]
		require.Equal(t, wantStack, stack)
		require.Equal(t, int64(100+i), r.Timestamp)
	}
	h.rollback()
	h.pipe("in", key(0, "ok"))
	require.Empty(t, h.commit()["dead"], "a dead letter belongs to the epoch")
}

func TestHandlersThatFailThemselves(t *testing.T) {
	for name, c := range map[string]struct {
		handler processor.Handler
		want    string
	}{
		"fail":       {processor.Fail(), "this value"},
		"panic":      {func(processor.Failure) processor.Action { panic("oops") }, "the processing handler panicked: oops"},
		"no topic":   {processor.DeadLetter("missing"), `dead-letter topic "missing"`},
		"zero value": {func(processor.Failure) processor.Action { return processor.Action{} }, "this value"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := harnessConfig(t, failing())
			cfg.Partitions = func(topic string) (int32, error) {
				if topic == "missing" {
					return 0, nil
				}
				return 1, nil
			}
			cfg.Handlers.Processing = c.handler
			h := open(t, cfg)
			h.add("in", 1, key(0, "error"))
			_, err := h.Process(10, 0)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "this value", "the cause is not lost")
		})
	}
}

// TestOutputTopics pins what a sink that chooses its topics makes of one that does not exist, which is the user's
// mistake, and of one that nobody can look up, for which no handler may skip a record.
func TestOutputTopics(t *testing.T) {
	noAnswer := errors.New("no broker answers")
	b := topology.NewBuilder()
	texts(b, "in").ToEach(func(r record.Record[string, string], _ processor.RecordMetadata) string { return r.Value })
	cfg := harnessConfig(t, b)
	cfg.Partitions = func(topic string) (int32, error) {
		switch topic {
		case "missing":
			return 0, nil
		case "unknown":
			return 0, noAnswer
		}
		return 1, nil
	}
	var seen []error
	cfg.Handlers.Processing = func(f processor.Failure) processor.Action {
		seen = append(seen, f.Err)
		return processor.ContinueAction()
	}
	h := open(t, cfg)
	h.pipe("in", raw(0, 1, "k", "missing"), raw(1, 2, "k", "there"))
	require.Equal(t, map[string][]string{"there": {"k=there"}}, h.commit())
	require.Len(t, seen, 1)
	user, ok := errors.AsType[*processor.UserError](seen[0])
	require.True(t, ok)
	require.Equal(t, "KSTREAM-SINK-0000000001", user.Node)
	require.ErrorContains(t, seen[0], `task 1_0: output topic "missing" does not exist: create it first: `+
		"kafka-topics --create --topic missing --partitions <n>")

	h.add("in", 3, raw(2, 3, "k", "unknown"))
	_, err := h.Process(10, 0)
	require.ErrorIs(t, err, noAnswer)
	_, ok = errors.AsType[*processor.UserError](err)
	require.False(t, ok, "it would never be restarted")
	lookup, ok := errors.AsType[*processor.LookupError](err)
	require.True(t, ok)
	require.Equal(t, "unknown", lookup.Topic)
	require.Len(t, seen, 1)
}

// TestDeadLetterTopicThatNobodyKnows ends with the error of the look-up alone, after which a restart helps.
func TestDeadLetterTopicThatNobodyKnows(t *testing.T) {
	noAnswer := errors.New("no broker answers")
	cfg := harnessConfig(t, failing())
	cfg.Partitions = func(topic string) (int32, error) {
		if topic == "dead" {
			return 0, noAnswer
		}
		return 1, nil
	}
	cfg.Handlers.Processing = processor.DeadLetter("dead")
	h := open(t, cfg)
	h.add("in", 1, key(0, "error"))
	_, err := h.Process(10, 0)
	require.ErrorIs(t, err, noAnswer)
	_, ok := errors.AsType[*processor.UserError](err)
	require.False(t, ok)
}

// A failure among several inputs is the failure of the record that was taken, not of the queue's next one.
func TestFailureNamesTheRightInput(t *testing.T) {
	b := topology.NewBuilder()
	topology.MapValues(texts(b, "a").Merge(texts(b, "b")), func(v string) string {
		if v == "bad" {
			panic(v)
		}
		return v
	}, serde.String).To("out")
	cfg := harnessConfig(t, b)
	var seen []processor.Failure
	cfg.Handlers.Processing = func(f processor.Failure) processor.Action {
		seen = append(seen, f)
		return processor.ContinueAction()
	}
	h := open(t, cfg)
	h.add("a", 2, raw(0, 1, "a", "1"), raw(1, 4, "a", "4"))
	h.add("b", 3, raw(0, 2, "b", "2"), raw(1, 3, "b", "bad"), raw(2, 5, "b", "5"))
	h.process()
	require.Equal(t, []string{"a=1", "b=2", "a=4", "b=5"}, h.commit()["out"])
	require.Len(t, seen, 1)
	require.Equal(t, tp("b"), seen[0].TopicPartition)
	require.Equal(t, int64(1), seen[0].Record.Offset)
	require.Equal(t, "bad", string(seen[0].Record.Value))
}
