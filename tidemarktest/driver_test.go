package tidemarktest_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

type (
	counts  = record.Record[string, int64]
	texts   = record.Record[string, string]
	context = processor.Context[string, string]
)

// counting counts the words of "lines" behind a repartition topic, so that there are two sub-topologies.
func counting() *topology.Builder {
	b := topology.NewBuilder()
	words := topology.FlatMapValues(topology.Stream(b, "lines", serde.String, serde.String), strings.Fields, nil)
	by := topology.GroupBy(words, func(_, w string) string { return w }, nil, topology.Named("by-word"))
	topology.Count(by, topology.As("counts")).ToStream().To("counts")
	return b
}

// probe is a processor of texts made of functions, each of which may be missing.
type probe struct {
	init    func(ctx context) error
	process func(ctx context, r texts) error
	close   func() error
}

func (p *probe) Init(ctx context) error {
	if p.init == nil {
		return nil
	}
	return p.init(ctx)
}

func (p *probe) Process(ctx context, r texts) error {
	if p.process == nil {
		return ctx.Forward(r)
	}
	return p.process(ctx, r)
}

func (p *probe) Close() error {
	if p.close == nil {
		return nil
	}
	return p.close()
}

// through puts a probe between "in" and "out".
func through(p *probe) *topology.Builder {
	b := topology.NewBuilder()
	topology.Process(topology.Stream(b, "in", serde.String, serde.String),
		func() processor.Processor[string, string, string, string] { return p }, nil, nil, topology.Named("probe")).To("out")
	return b
}

func show[V any](rs []record.Record[string, V]) []string {
	out := make([]string, len(rs))
	for i, r := range rs {
		out[i] = fmt.Sprintf("%s=%v@%d", r.Key, r.Value, r.Timestamp)
	}
	return out
}

func TestPipeRunsAcrossSubtopologies(t *testing.T) {
	t.Parallel()
	d := tidemarktest.New(t, counting())
	in := tidemarktest.Input(d, "lines", serde.String, serde.String)
	out := tidemarktest.Output(d, "counts", serde.String, serde.Int64)
	require.Empty(t, out.ReadAll())
	header := record.Header{Key: "h", Value: []byte("1")}
	in.Pipe("", "a b a", 10, header)
	require.Equal(t, 3, out.Len())
	require.Equal(t, counts{Key: "a", Value: 1, Timestamp: 10, Headers: []record.Header{header}}, out.Read())
	require.Equal(t, []string{"b=1@10", "a=2@10"}, show(out.ReadAll()), "every update is forwarded")
	in.Pipe("", "b", 5)
	require.Equal(t, []string{"b=2@10"}, show(out.ReadAll()))
	require.Equal(t, int64(10), d.StreamTime())
	require.Equal(t, []string{"counts", "lines", "test-by-word-repartition"}, d.Topics())
	words := tidemarktest.Output(d, "by-word-repartition", serde.String, serde.String)
	require.Equal(t, 4, words.Len(), "internal topics can be read, from their beginning")
	n, found, err := tidemarktest.Store[*store.KeyValue[string, int64]](d, "counts").Get("a")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, int64(2), n)
}

func TestNulls(t *testing.T) {
	t.Parallel()
	b := topology.NewBuilder()
	topology.Stream(b, "in", serde.Nullable(serde.String), serde.String).To("out")
	d := tidemarktest.New(t, b)
	in := tidemarktest.Input(d, "in", serde.Nullable(serde.String), serde.String)
	empty := ""
	in.Pipe(nil, "", 1)
	in.PipeRecord(record.Record[*string, string]{Key: &empty, NullValue: true, Timestamp: 2})
	require.Equal(t, []record.Record[*string, string]{
		{NullKey: true, Timestamp: 1}, {Key: &empty, NullValue: true, Timestamp: 2},
	}, tidemarktest.Output(d, "out", serde.Nullable(serde.String), serde.String).ReadAll())
	require.Equal(t, []texts{
		{NullKey: true, Timestamp: 1}, {NullValue: true, Timestamp: 2},
	}, tidemarktest.Output(d, "out", serde.String, serde.String).ReadAll(), "flags stand for nil")
}

func TestQueuesGoByTheLowestTimestamp(t *testing.T) {
	t.Parallel()
	for _, single := range []bool{false, true} {
		b := topology.NewBuilder()
		var order []string
		later := func(by int64) func() processor.Processor[string, string, string, string] {
			return func() processor.Processor[string, string, string, string] {
				return &probe{process: func(ctx context, r texts) error {
					r.Timestamp += by
					return ctx.Forward(r)
				}}
			}
		}
		in := topology.Stream(b, "in", serde.String, serde.String)
		topology.Process(in, later(20), nil, nil).To("late")
		topology.Process(in, later(10), nil, nil).To("early")
		for _, topic := range []string{"late", "early"} {
			topology.Stream(b, topic, serde.String, serde.String).
				Peek(func(string, string) { order = append(order, topic) }).To("out")
		}
		var opts []tidemarktest.Option
		if single {
			opts = append(opts, tidemarktest.SingleTask())
		}
		d := tidemarktest.New(t, b, opts...)
		tidemarktest.Input(d, "in", serde.String, serde.String).Pipe("k", "v", 0)
		require.Equal(t, []string{"early", "late"}, order)
		require.Equal(t, []string{"k=v@10", "k=v@20"},
			show(tidemarktest.Output(d, "out", serde.String, serde.String).ReadAll()))
	}
}

func TestWallClockPunctuators(t *testing.T) {
	t.Parallel()
	d := tidemarktest.New(t, through(&probe{init: func(ctx context) error {
		ctx.Schedule(10*time.Millisecond, processor.WallClockTime, func(now int64) error {
			return ctx.Forward(texts{Key: "tick", Value: strconv.FormatInt(ctx.CurrentSystemTime(), 10), Timestamp: now})
		})
		return nil
	}}), tidemarktest.WithWallClock(time.UnixMilli(1000)))
	out := tidemarktest.Output(d, "out", serde.String, serde.String)
	d.AdvanceWallClock(9 * time.Millisecond)
	require.Empty(t, out.ReadAll())
	d.AdvanceWallClock(26 * time.Millisecond)
	require.Equal(t, []string{"tick=1035@1035"}, show(out.ReadAll()), "once, with the time of the clock")
	d.AdvanceWallClock(5 * time.Millisecond)
	require.Equal(t, []string{"tick=1040@1040"}, show(out.ReadAll()), "due at multiples of the interval")
	require.Equal(t, time.UnixMilli(1040), d.WallClock())
	require.ErrorContains(t, d.TryAdvanceWallClock(-time.Second), "does not go back")
}

func TestCachingHoldsUpdatesBackUntilCommit(t *testing.T) {
	t.Parallel()
	d := tidemarktest.New(t, counting(), tidemarktest.WithCaching())
	in := tidemarktest.Input(d, "lines", serde.String, serde.String)
	out := tidemarktest.Output(d, "counts", serde.String, serde.Int64)
	in.Pipe("", "a b a", 10)
	require.Empty(t, out.ReadAll())
	d.Commit()
	require.Equal(t, []string{"b=1@10", "a=2@10"}, show(out.ReadAll()))
	d.Commit()
	require.Empty(t, out.ReadAll())
}

func TestCommitReachesCachesBelowInternalTopics(t *testing.T) {
	t.Parallel()
	b := counting()
	again := topology.GroupBy(topology.Stream(b, "counts", serde.String, serde.Int64),
		func(string, int64) string { return "all" }, nil, topology.Named("all"))
	topology.Reduce(again, func(a, v int64) int64 { return a + v }, topology.As("sum")).ToStream().To("sum")
	d := tidemarktest.New(t, b, tidemarktest.WithCaching())
	tidemarktest.Input(d, "lines", serde.String, serde.String).Pipe("", "a b a", 10)
	d.Commit()
	require.Equal(t, []string{"all=3@10"}, show(tidemarktest.Output(d, "sum", serde.String, serde.Int64).ReadAll()))
	d.Crash()
	require.Equal(t, 1, tidemarktest.Output(d, "sum", serde.String, serde.Int64).Len(), "all of it was committed")
}

func TestCrashUndoesWhatIsNotCommitted(t *testing.T) {
	t.Parallel()
	for _, opts := range [][]tidemarktest.Option{nil, {tidemarktest.SingleTask()}, {tidemarktest.WithCaching()}} {
		d := tidemarktest.New(t, counting(), opts...)
		in := tidemarktest.Input(d, "lines", serde.String, serde.String)
		out := tidemarktest.Output(d, "counts", serde.String, serde.Int64)
		in.Pipe("", "a b", 10)
		d.Commit()
		require.Equal(t, []string{"a=1@10", "b=1@10"}, show(out.ReadAll()))
		in.Pipe("", "a c", 20)
		_ = out.ReadAll()
		for range 2 {
			d.Crash()
			s := tidemarktest.Store[*store.KeyValue[string, int64]](d, "counts")
			n, _, err := s.Get("a")
			require.NoError(t, err)
			require.Equal(t, int64(2), n, "once, not twice")
		}
		d.Commit()
		require.Equal(t, []string{"a=2@20", "c=1@20"}, show(out.ReadAll()), "the outputs came again")
		d.Crash()
		require.Empty(t, out.ReadAll(), "what is committed stays and does not come again")
		in.Pipe("", "a", 5)
		d.Commit()
		require.Equal(t, []string{"a=3@20"}, show(out.ReadAll()), "restored with its timestamp")
		require.Equal(t, int64(20), d.StreamTime(), "stream time survives with the offsets")
	}
}

func TestCrashOnTopicsThatAreBothPipedAndWritten(t *testing.T) {
	t.Parallel()
	b := topology.NewBuilder()
	topology.Stream(b, "in", serde.String, serde.String).To("middle")
	topology.MapValues(topology.Stream(b, "middle", serde.String, serde.String), strings.ToUpper, nil).To("out")
	d := tidemarktest.New(t, b)
	tidemarktest.Input(d, "in", serde.String, serde.String).Pipe("k", "written", 1)
	tidemarktest.Input(d, "middle", serde.String, serde.String).Pipe("k", "piped", 2)
	out := tidemarktest.Output(d, "out", serde.String, serde.String)
	require.Equal(t, []string{"k=WRITTEN@1", "k=PIPED@2"}, show(out.ReadAll()))
	d.Crash()
	require.ElementsMatch(t, []string{"k=WRITTEN@1", "k=PIPED@2"}, show(out.ReadAll()))
	require.Equal(t, 2, tidemarktest.Output(d, "middle", serde.String, serde.String).Len())
}

func TestProcessorsMayAskForCommits(t *testing.T) {
	t.Parallel()
	d := tidemarktest.New(t, through(&probe{
		init: func(ctx context) error { ctx.Commit(); return nil },
		process: func(ctx context, r texts) error {
			if r.Value == "commit" {
				ctx.Commit()
			}
			return ctx.Forward(r)
		},
	}))
	in := tidemarktest.Input(d, "in", serde.String, serde.String)
	out := tidemarktest.Output(d, "out", serde.String, serde.String)
	in.Pipe("a", "x", 1)
	in.Pipe("a", "commit", 2)
	in.Pipe("a", "y", 3)
	require.Len(t, out.ReadAll(), 3)
	d.Crash()
	require.Equal(t, []string{"a=y@3"}, show(out.ReadAll()), "only what came behind the commit")
}

func TestErrorsStopTheDriver(t *testing.T) {
	t.Parallel()
	boom, closed := errors.New("boom"), 0
	fails := true
	d := tidemarktest.New(t, through(&probe{
		process: func(ctx context, r texts) error {
			switch {
			case r.Value == "error" && fails:
				return boom
			case r.Value == "panic" && fails:
				panic("ouch")
			}
			return ctx.Forward(r)
		},
		close: func() error { closed++; return nil },
	}))
	in := tidemarktest.Input(d, "in", serde.String, serde.String)
	out := tidemarktest.Output(d, "out", serde.String, serde.String)
	err := in.TryPipe("k", "error", 1)
	require.ErrorIs(t, err, boom)
	var user *processor.UserError
	require.ErrorAs(t, err, &user)
	require.Equal(t, "probe", user.Node)
	require.ErrorContains(t, in.TryPipe("k", "fine", 1), "has stopped")
	require.ErrorIs(t, d.TryCommit(), boom)
	fails = false
	d.Crash()
	require.Equal(t, []string{"k=error@1"}, show(out.ReadAll()), "the record that failed is processed once more")
	d.Commit()
	fails = true
	require.ErrorContains(t, in.TryPipe("k", "panic", 2), "ouch")
	require.ErrorContains(t, d.TryCrash(), "ouch")
	fails = false
	d.Crash()
	require.Zero(t, closed, "a crash closes nothing")
	require.NoError(t, d.Close())
	require.Equal(t, 1, closed)
	require.ErrorContains(t, d.TryCommit(), "closed")
	require.ErrorContains(t, d.TryCrash(), "closed")
	require.NoError(t, d.Close())
}

func TestPanicsOutsideOfNodes(t *testing.T) {
	t.Parallel()
	b := topology.NewBuilder()
	topology.Stream(b, "in", serde.String, serde.String, topology.WithTimestampExtractor(
		func(*record.Raw, processor.Extraction) (int64, error) { panic("extractor") })).To("out")
	d := tidemarktest.New(t, b)
	in := tidemarktest.Input(d, "in", serde.String, serde.String)
	require.ErrorContains(t, in.TryPipe("k", "v", 1), "extractor")
	b = topology.NewBuilder()
	topology.Process(topology.Stream(b, "in", serde.String, serde.String),
		func() processor.Processor[string, string, string, string] { panic("constructor") }, nil, nil).To("out")
	_, err := tidemarktest.Open(b)
	require.ErrorContains(t, err, "constructor")
	_, err = tidemarktest.Open(through(&probe{init: func(context) error { panic("init") }}))
	require.ErrorContains(t, err, "init")
	_, err = tidemarktest.Open(topology.NewBuilder())
	require.ErrorContains(t, err, "nothing was declared")
}

func TestHandlers(t *testing.T) {
	t.Parallel()
	b := topology.NewBuilder()
	topology.Stream(b, "in", serde.String, serde.Int64).
		Peek(func(_ string, n int64) {
			if n < 0 {
				panic("negative")
			}
		}).To("out")
	d := tidemarktest.New(t, b, tidemarktest.WithHandlers(processor.DeadLetter("dead"), processor.Continue()))
	in := tidemarktest.Input(d, "in", serde.String, serde.String)
	in.Pipe("k", "not a number", 1)
	in.Pipe("k", "\x00\x00\x00\x00\x00\x00\x00\x05", 2)
	in.Pipe("k", "\xff\xff\xff\xff\xff\xff\xff\xff", 3)
	require.Equal(t, []string{"k=5@2"}, show(tidemarktest.Output(d, "out", serde.String, serde.Int64).ReadAll()))
	dead := tidemarktest.Output(d, "dead", serde.String, serde.String).Read()
	require.Equal(t, "not a number", dead.Value)
	topic, _ := dead.Header("__streams.errors.topic")
	require.Equal(t, "in", string(topic))
}

func TestDroppedRecords(t *testing.T) {
	t.Parallel()
	b := topology.NewBuilder()
	topology.Count(topology.Stream(b, "in", serde.String, serde.String).GroupByKey()).ToStream().To("out")
	d := tidemarktest.New(t, b, tidemarktest.WithTimestampExtractor(processor.LogAndSkipOnInvalidTimestamp))
	in := tidemarktest.Input(d, "in", serde.String, serde.String)
	in.PipeRecord(texts{NullKey: true, Value: "v"})
	in.Pipe("k", "v", -1)
	in.Pipe("k", "v", 1)
	require.Equal(t, 2, d.Dropped())
	require.Equal(t, int64(1), d.StreamTime())
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	d := tidemarktest.New(t, through(&probe{process: func(ctx context, r texts) error {
		m, ok := ctx.RecordMetadata()
		r.Value = fmt.Sprintln(ok, m.Topic, m.Offset, ctx.StreamTime(), ctx.ApplicationID())
		return ctx.Forward(r)
	}}), tidemarktest.WithApplicationID("app"))
	in := tidemarktest.Input(d, "in", serde.String, serde.String)
	in.Pipe("k", "", 7)
	in.Pipe("k", "", 5)
	require.Equal(t, []string{"k=true in 0 7 app\n@7", "k=true in 1 7 app\n@5"},
		show(tidemarktest.Output(d, "out", serde.String, serde.String).ReadAll()))
}

// fatal is a test that notes why it failed; like a real one it does not go on.
type fatal struct {
	testing.TB

	why string
}

func (f *fatal) Helper()        {}
func (f *fatal) Cleanup(func()) {}

func (f *fatal) Fatal(args ...any) {
	f.why = fmt.Sprint(args...)
	panic(f)
}

func (f *fatal) Fatalf(format string, args ...any) { f.Fatal(fmt.Sprintf(format, args...)) }

func TestMistakesFailTheTest(t *testing.T) {
	t.Parallel()
	why := func(fn func(tb testing.TB)) string {
		f := &fatal{TB: t}
		func() {
			defer func() { _ = recover() }()
			fn(f)
		}()
		return f.why
	}
	with := func(fn func(d *tidemarktest.Driver)) string {
		return why(func(tb testing.TB) {
			d := tidemarktest.New(tb, counting())
			defer d.Close()
			fn(d)
		})
	}
	require.Contains(t, why(func(tb testing.TB) { tidemarktest.New(tb, topology.NewBuilder()) }), "nothing was declared")
	require.Contains(t, with(func(d *tidemarktest.Driver) { tidemarktest.Input(d, "x", serde.String, serde.String) }),
		`does not read "x", only ["by-word-repartition" "lines"]`)
	require.Contains(t, with(func(d *tidemarktest.Driver) {
		tidemarktest.Output(d, "counts", serde.String, serde.Int64).Read()
	}), "nothing left to read")
	require.Contains(t, with(func(d *tidemarktest.Driver) {
		tidemarktest.Input(d, "lines", serde.String, serde.String).Pipe("k", "a", 1)
		tidemarktest.Output(d, "counts", serde.String, serde.Int32).ReadAll()
	}), "want 4 byte(s), got 8")
	require.Contains(t, with(func(d *tidemarktest.Driver) {
		tidemarktest.Store[*store.KeyValue[string, string]](d, "counts")
	}), "is a *store.KeyValue[string,int64], not a *store.KeyValue[string,string]")
	require.Contains(t, with(func(d *tidemarktest.Driver) {
		tidemarktest.Store[*store.KeyValue[string, string]](d, "x")
	}), `there is no store "x", only ["counts"]`)
}

func TestATopologyThatFeedsItselfEnds(t *testing.T) {
	t.Parallel()
	b := topology.NewBuilder()
	topology.Stream(b, "in", serde.String, serde.String).
		Filter(func(string, string) bool { return true }).To("in")
	d, err := tidemarktest.Open(b)
	require.NoError(t, err)
	defer d.Close()
	err = tidemarktest.Input(d, "in", serde.String, serde.String).TryPipe("k", "v", 0)
	require.ErrorContains(t, err, "does the topology write to a topic that it reads?")
}
