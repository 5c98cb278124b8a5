package integration

import (
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Bad records, and user code that fails on them, with each choice of the handlers.

// choices are the handlers that a user can choose, by name.
func choices(deadLetters string) map[string]processor.Handler {
	return map[string]processor.Handler{
		"default": nil, "fail": processor.Fail(), "continue": processor.Continue(),
		"dead-letter": processor.DeadLetter(deadLetters),
	}
}

func TestBadUndecodableRecord(t *testing.T) {
	for choice := range choices("") {
		t.Run(choice, func(t *testing.T) {
			s := onePartition(t, broker.Start(t))
			dlq := broker.Name(t, "dlq")
			s.cluster.CreateTopic(t, dlq, 1, nil)
			number := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
			s.cluster.Produce(t, s.in, broker.Record{Key: []byte("a"), Value: number(1)},
				broker.Record{
					Key: []byte("bad"), Value: []byte("xyz"), Timestamp: time.UnixMilli(1_700_000_000_123),
					Headers: []record.Header{{Key: "trace", Value: []byte("7")}},
				},
				broker.Record{Key: []byte("b"), Value: number(2)})
			b := topology.NewBuilder()
			topology.Stream(b, s.in, serde.String, serde.Int64).To(s.out)
			cfg := s.config()
			cfg.OnDeserializationError = choices(dlq)[choice]
			a := s.run(b, cfg)
			if choice == "default" || choice == "fail" {
				err := a.awaitError(s.in+"-0", "offset 1", "cannot decode the value", "set OnDeserializationError")
				var de *processor.DeserializationError
				require.ErrorAs(t, err, &de)
				require.Equal(t, "value", de.Part)
				require.Less(t, s.cluster.CommittedOffsets(t, s.app)[record.TopicPartition{Topic: s.in}], int64(2))

				cfg.OnDeserializationError = processor.Continue() // the user mends it: nothing else is lost or doubled
				a = s.run(b, cfg)
			}
			s.awaitOutputs(s.out, 2)
			s.cluster.AwaitCommitted(t, s.app, s.in, badPatience)
			if choice != "dead-letter" {
				require.Empty(t, s.cluster.ReadCommitted(t, dlq))
				require.Contains(t, a.log.String(), "record failed")
				return
			}
			letters := s.awaitOutputs(dlq, 1)
			require.Equal(t, "bad", string(letters[0].Key))
			require.Equal(t, "xyz", string(letters[0].Value))
			require.Equal(t, int64(1_700_000_000_123), letters[0].Timestamp.UnixMilli())
			require.Equal(t, "7", header(letters[0], "trace"))
			require.Equal(t, s.in, header(letters[0], "__streams.errors.topic"))
			require.Equal(t, "0", header(letters[0], "__streams.errors.partition"))
			require.Equal(t, "1", header(letters[0], "__streams.errors.offset"))
			require.Contains(t, header(letters[0], "__streams.errors.message"), "cannot decode the value")
			require.Contains(t, header(letters[0], "__streams.errors.exception"), "DeserializationError")
		})
	}
}

// A handler that sends dead letters to a topic that does not exist must not lose the record.
func TestBadDeadLetterTopicMissing(t *testing.T) {
	s := onePartition(t, broker.Start(t))
	dlq := broker.Name(t, "dlq")
	s.produce("bad")
	b := topology.NewBuilder()
	topology.Stream(b, s.in, serde.String, serde.Int64).To(s.out)
	cfg := s.config()
	cfg.OnDeserializationError = processor.DeadLetter(dlq)
	_ = s.run(b, cfg).awaitError("cannot decode the value", "dead-letter topic", dlq, "does not exist")

	s.cluster.CreateTopic(t, dlq, 1, nil)
	s.run(b, cfg)
	require.Equal(t, []string{"bad"}, values(s.awaitOutputs(dlq, 1)))
}

func TestBadRecordTooLarge(t *testing.T) {
	const limit = 2000
	large := strings.Repeat("x", 3*limit)
	for choice := range choices("") {
		t.Run(choice, func(t *testing.T) {
			s := onePartition(t, broker.Start(t))
			small, dlq := broker.Name(t, "small"), broker.Name(t, "dlq")
			s.cluster.CreateTopic(t, small, 1, map[string]string{"max.message.bytes": strconv.Itoa(limit)})
			s.cluster.CreateTopic(t, dlq, 1, nil)
			s.produce("a", large, "b")
			b := topology.NewBuilder()
			topology.Stream(b, s.in, serde.String, serde.String).To(small)
			cfg := s.config()
			cfg.OnProductionError = choices(dlq)[choice]
			a := s.run(b, cfg)
			if choice == "default" || choice == "fail" {
				err := a.awaitError(small, "raise max.message.bytes", "OnProductionError")
				var tooLarge *eos.RecordTooLargeError
				require.ErrorAs(t, err, &tooLarge)
				require.GreaterOrEqual(t, tooLarge.SizeBytes, 2*len(large))
				require.Zero(t, s.cluster.CommittedOffsets(t, s.app)[record.TopicPartition{Topic: s.in}])
				require.Empty(t, s.cluster.ReadCommitted(t, small))

				cfg.OnProductionError = processor.Continue()
				a = s.run(b, cfg)
			}
			require.Equal(t, []string{"a", "b"}, values(s.awaitOutputs(small, 2)))
			s.cluster.AwaitCommitted(t, s.app, s.in, badPatience)
			require.Contains(t, a.log.String(), "record failed")
			letters := s.cluster.ReadCommitted(t, dlq)
			if choice != "dead-letter" {
				require.Empty(t, letters)
				return
			}
			require.Equal(t, []string{large}, values(letters))
			require.Equal(t, small, header(letters[0], "__streams.errors.topic"))
		})
	}
}

// A store that holds what its changelog refuses could not be restored: no handler may let that pass.
func TestBadChangelogRecordTooLarge(t *testing.T) {
	s := onePartition(t, broker.Start(t))
	s.cluster.CreateTopic(t, s.app+"-last-changelog", 1, map[string]string{
		"cleanup.policy": "compact", "max.message.bytes": "2000",
	})
	b := topology.NewBuilder()
	topology.Reduce(topology.Stream(b, s.in, serde.String, serde.String).GroupByKey(),
		func(_, v string) string { return v }, topology.As("last")).ToStream().To(s.out)
	cfg := s.config()
	cfg.OnProductionError, cfg.OnProcessingError = processor.Continue(), processor.Continue()
	s.cluster.Produce(t, s.in, broker.Record{Key: []byte("k"), Value: []byte(strings.Repeat("x", 6000))})
	err := s.run(b, cfg).awaitError(s.app+"-last-changelog-0", "too large for its changelog", "raise max.message.bytes")
	var tooLarge *eos.RecordTooLargeError
	require.ErrorAs(t, err, &tooLarge)
	require.Empty(t, s.cluster.ReadCommitted(t, s.out))
	require.Zero(t, s.cluster.CommittedOffsets(t, s.app)[record.TopicPartition{Topic: s.in}])
}

var errUser = errors.New("user code does not like this")

// fails is user code: it fails on values that say how.
func fails(value string) error {
	switch {
	case strings.HasPrefix(value, "error"):
		return errUser
	case strings.HasPrefix(value, "panic"):
		panic(errUser)
	}
	return nil
}

// mustNotFail is fails for functions without an error result.
func mustNotFail(value string) {
	if err := fails(value); err != nil {
		panic(err)
	}
}

// badTopologies put user code that fails on some values in different places. All of them pass the other values on.
func badTopologies(in, out string) map[string]*topology.Builder {
	builders := map[string]*topology.Builder{}
	stream := func(name string) *topology.KStream[string, string] {
		builders[name] = topology.NewBuilder()
		return topology.Stream(builders[name], in, serde.String, serde.String)
	}
	topology.Process(stream("Process"), func() processor.Processor[string, string, string, string] {
		return processor.Func[string, string, string, string](
			func(ctx processor.Context[string, string], r record.Record[string, string]) error {
				if err := fails(r.Value); err != nil {
					return err
				}
				return ctx.Forward(r)
			})
	}, serde.String, serde.String, topology.Named("culprit")).To(out)
	stream("predicate").Filter(func(_, v string) bool { mustNotFail(v); return true }, topology.Named("culprit")).To(out)
	topology.Aggregate(stream("aggregator").GroupByKey(), func() string { return "" },
		func(_, v, _ string) string { mustNotFail(v); return v }, serde.String, topology.As("culprit")).ToStream().To(out)
	topology.MapValues(topology.Reduce(stream("behind a cache").GroupByKey(), func(_, v string) string { return v },
		topology.As("last")).ToStream(), func(v string) string { mustNotFail(v); return v }, serde.String,
		topology.Named("culprit")).To(out)
	topology.Process(stream("punctuator"), func() processor.Processor[string, string, string, string] {
		return &punctual{}
	}, serde.String, serde.String, topology.Named("culprit")).To(out)
	return builders
}

// punctual passes records on, and fails in a punctuator after it has seen a bad one.
type punctual struct{ bad []string }

func (p *punctual) Init(ctx processor.Context[string, string]) error {
	ctx.Schedule(time.Millisecond, processor.WallClockTime, func(int64) error {
		bad := p.bad
		p.bad = nil
		for _, v := range bad {
			return fails(v)
		}
		return nil
	})
	return nil
}

func (p *punctual) Process(ctx processor.Context[string, string], r record.Record[string, string]) error {
	if strings.HasPrefix(r.Value, "good") {
		return ctx.Forward(r)
	}
	p.bad = append(p.bad, r.Value)
	return nil
}

func TestBadUserCode(t *testing.T) {
	for place := range badTopologies("", "") {
		for _, how := range []string{"error", "panic"} {
			for choice := range choices("") {
				t.Run(place+"/"+how+"/"+choice, func(t *testing.T) {
					t.Parallel()
					testBadUserCode(t, place, how, choice)
				})
			}
		}
	}
}

func testBadUserCode(t *testing.T, place, how, choice string) {
	s := onePartition(t, broker.Start(t))
	dlq := broker.Name(t, "dlq")
	s.cluster.CreateTopic(t, dlq, 1, nil)
	s.produce("good-1", how, "good-2")
	cfg := s.config()
	cfg.OnProcessingError = choices(dlq)[choice]
	noRecord := place == "punctuator" || place == "behind a cache"
	if place == "behind a cache" {
		cfg.CacheBytesMax = 0
	}
	a := s.run(badTopologies(s.in, s.out)[place], cfg)
	if choice == "default" || choice == "fail" {
		words := []string{"task 0_0", errUser.Error(), "set OnProcessingError"}
		if !noRecord {
			words = append(words, s.in+"-0 offset 1")
		}
		err := a.awaitError(words...)
		var ue *processor.UserError
		require.ErrorAs(t, err, &ue)
		if place != "aggregator" { // its node is named by the operator
			require.Equal(t, "culprit", ue.Node)
		}
		require.Equal(t, ue.Stack != nil, how == "panic" || place != "Process" && place != "punctuator")
		cfg.OnProcessingError = processor.Continue()
		if place == "punctuator" && s.cluster.CommittedOffsets(t, s.app)[record.TopicPartition{Topic: s.in}] == 3 {
			s.awaitOutputs(s.out, 2)
			return // the records were committed before it came to the punctuator
		}
		a = s.run(badTopologies(s.in, s.out)[place], cfg)
	}
	require.ElementsMatch(t, []string{"good-1", "good-2"}, values(s.awaitOutputs(s.out, 2)))
	s.cluster.AwaitCommitted(t, s.app, s.in, badPatience)
	if choice != "dead-letter" {
		eventually(t, "a log line", func() bool { return strings.Contains(a.log.String(), "record failed") })
		require.Empty(t, s.cluster.ReadCommitted(t, dlq))
		return
	}
	letter := s.awaitOutputs(dlq, 1)[0]
	require.Contains(t, header(letter, "__streams.errors.message"), errUser.Error())
	if noRecord {
		require.Nil(t, letter.Key)
		require.Nil(t, letter.Value)
		return
	}
	require.Equal(t, how, string(letter.Value))
	require.Equal(t, "1", header(letter, "__streams.errors.offset"))
}

// initFails fails in Init.
type initFails struct{ how string }

func (p *initFails) Init(processor.Context[string, string]) error { return fails(p.how) }

func (p *initFails) Process(ctx processor.Context[string, string], r record.Record[string, string]) error {
	return ctx.Forward(r)
}

// Without Init a processor cannot process: no handler lets that pass.
func TestBadInit(t *testing.T) {
	for _, how := range []string{"error", "panic"} {
		t.Run(how, func(t *testing.T) {
			s := onePartition(t, broker.Start(t))
			s.produce("good-1")
			cfg := s.config()
			cfg.OnProcessingError = processor.Continue()
			build := func(how string) *topology.Builder {
				b := topology.NewBuilder()
				topology.Process(topology.Stream(b, s.in, serde.String, serde.String),
					func() processor.Processor[string, string, string, string] { return &initFails{how} },
					serde.String, serde.String, topology.Named("culprit")).To(s.out)
				return b
			}
			err := s.run(build(how), cfg).awaitError(`node "culprit"`, "task 0_0", "in Init", errUser.Error())
			require.NotContains(t, err.Error(), "OnProcessingError")
			s.run(build(""), cfg)
			s.awaitOutputs(s.out, 1)
		})
	}
}

// A handler that panics must not let the record pass.
func TestBadHandler(t *testing.T) {
	s := onePartition(t, broker.Start(t))
	s.produce("error")
	cfg := s.config()
	cfg.OnProcessingError = func(processor.Failure) processor.Action { panic("handler") }
	err := s.run(badTopologies(s.in, s.out)["Process"], cfg).awaitError("the processing handler panicked", "handler")
	require.ErrorIs(t, err, errUser)
	require.Zero(t, s.cluster.CommittedOffsets(t, s.app)[record.TopicPartition{Topic: s.in}])
}
