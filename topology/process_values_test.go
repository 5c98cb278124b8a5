package topology_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

type (
	fixedContext   = processor.FixedKeyContext[string, int64]
	fixedRecord    = processor.FixedKeyRecord[string, string]
	fixedProcessor = processor.FixedKeyProcessor[string, string, int64]
)

// latest counts the records of each key in a store, and repeats the last one of each hour of stream time.
type latest struct {
	counts seenStore
	last   processor.FixedKeyRecord[string, int64]
	ctx    fixedContext
	closed *bool
}

func (l *latest) Init(ctx fixedContext) error {
	l.ctx, l.counts = ctx, processor.MustStateStore[seenStore](ctx, "counts")
	ctx.Schedule(time.Hour, processor.StreamTime, l.repeat)
	return nil
}

func (l *latest) Process(ctx fixedContext, r fixedRecord) error {
	n, _, err := l.counts.Get(r.Key())
	if err != nil {
		return err
	}
	if err := l.counts.Put(r.Key(), n+1); err != nil {
		return err
	}
	l.last = processor.FixedKeyWithValue(r, n+1)
	return ctx.Forward(l.last)
}

func (l *latest) repeat(now int64) error {
	r := l.last
	r.Value, r.Timestamp = -r.Value, now
	return l.ctx.Forward(r)
}

func (l *latest) Close() error {
	*l.closed = true
	return nil
}

func TestProcessValues(t *testing.T) {
	b := topology.NewBuilder()
	b.AddStore(store.KeyValueSpec("counts", serde.String, serde.Int64))
	closed := false
	topology.ProcessValues(topology.Stream(b, "in", serde.String, serde.String),
		func() fixedProcessor { return &latest{closed: &closed} }, serde.Int64,
		topology.WithStores("counts"), topology.Named("latest")).To("out")
	plan := b.MustBuild()
	require.Equal(t, []string{"counts"}, plan.Nodes[1].Stores)
	d := run(t, b, false)
	const hour = 3_600_000
	d.pipe("in", kv("a", "x", 1))
	d.pipe("in", kv("b", "x", 2))
	d.pipe("in", kv("a", "x", hour))
	require.Equal(t, []string{
		"a=1@1", fmt.Sprintf("a=%d@1", -1), "b=1@2", "a=2@3600000", fmt.Sprintf("a=%d@3600000", -2),
	}, d.take("out", signed))
	d.close()
	require.True(t, closed)
}

// signed is number for negative values too.
func signed(r in) string {
	var n int64
	for _, b := range r.Value {
		n = n<<8 | int64(b)
	}
	return fmt.Sprintf("%s=%d@%d", orDash(r.Key), n, r.Timestamp)
}

// processValues runs one function as a processor of values between "in" and two sinks called left and right.
func processValues(t *testing.T, f func(ctx processor.FixedKeyContext[string, string], r fixedRecord) error) *driver {
	t.Helper()
	b := topology.NewBuilder()
	s := topology.ProcessValues(topology.Stream(b, "in", serde.String, serde.String),
		func() processor.FixedKeyProcessor[string, string, string] {
			return processor.FixedKeyFunc[string, string, string](f)
		}, nil, topology.Named("p"))
	s.To("left", topology.Named("left-sink"))
	s.To("right", topology.Named("right-sink"))
	return run(t, b, false)
}

func TestProcessValuesKeepsTheKey(t *testing.T) {
	d := processValues(t, func(ctx processor.FixedKeyContext[string, string], r fixedRecord) error {
		r.NullValue = r.Value == "null"
		r.Timestamp += 10
		if err := ctx.ForwardTo("left-sink", r); err != nil {
			return err
		}
		if r.NullKey() {
			return nil
		}
		return ctx.ForwardTo("right-sink", processor.FixedKeyWithValue(r, r.Key()+r.Value))
	})
	for _, r := range []in{kv("k", "v", 1), kv("-", "v", 2), kv("k", "null", 3), kv("", "-", 4)} {
		d.pipe("in", r)
	}
	require.Equal(t, []string{"k=v@11", "-=v@12", "k=-@13", "=@14"}, d.take("left", text))
	require.Equal(t, []string{"k=kv@11", "k=knull@13", "=@14"}, d.take("right", text))
}

func TestProcessValuesContext(t *testing.T) {
	var got string
	d := processValues(t, func(ctx processor.FixedKeyContext[string, string], r fixedRecord) error {
		m, ok := ctx.RecordMetadata()
		got = fmt.Sprint(m.Topic, m.Partition, m.Offset, m.Timestamp, ok, ctx.StreamTime(), ctx.CurrentSystemTime(),
			ctx.ApplicationID(), ctx.TaskID(), string(ctx.Headers()[0].Value), ctx.Logger() != nil, r.Key(), r.Value)
		ctx.Commit()
		return nil
	})
	r := kv("k", "v", 7)
	r.Headers = headersOf("h")
	d.pipe("in", r)
	require.Equal(t, "in0 0 7 true 7 0app0_0htruekv", got)
	require.Equal(t, 1, d.commits)
}

// TestProcessValuesNeedsAGivenKey pins that there is no way to a record with a key of the user's own.
func TestProcessValuesNeedsAGivenKey(t *testing.T) {
	for name, f := range map[string]func(ctx processor.FixedKeyContext[string, string], r fixedRecord) error{
		"Forward": func(ctx processor.FixedKeyContext[string, string], _ fixedRecord) error {
			return ctx.Forward(fixedRecord{Value: "v"})
		},
		"ForwardTo": func(ctx processor.FixedKeyContext[string, string], _ fixedRecord) error {
			return ctx.ForwardTo("left-sink", fixedRecord{Value: "v"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := processValues(t, f).tryPipe("in", kv("k", "v", 1))
			user, ok := errors.AsType[*processor.UserError](err)
			require.True(t, ok)
			require.Equal(t, "p", user.Node)
			require.ErrorContains(t, err, "use FixedKeyWithValue")
		})
	}
}

func TestProcessValuesErrors(t *testing.T) {
	own := errors.New("own")
	d := processValues(t, func(processor.FixedKeyContext[string, string], fixedRecord) error { return own })
	err := d.tryPipe("in", kv("k", "v", 1))
	user, ok := errors.AsType[*processor.UserError](err)
	require.True(t, ok)
	require.Equal(t, "p", user.Node)
	require.ErrorIs(t, err, own)
	d.close()
}

// TestProcessValuesKeepsPartitioning pins that it needs a repartition topic only if its stream did.
func TestProcessValuesKeepsPartitioning(t *testing.T) {
	for rekeyed, want := range map[bool]int{false: 0, true: 1} {
		b := topology.NewBuilder()
		s := topology.Stream(b, "in", serde.String, serde.String)
		if rekeyed {
			s = topology.SelectKey(s, func(_, v string) string { return v }, nil)
		}
		topology.Count(topology.ProcessValues(s, newFixedForwarder, nil).GroupByKey(), topology.As("n"))
		require.Len(t, b.MustBuild().Repartitions, want)
	}
}

func newFixedForwarder() processor.FixedKeyProcessor[string, string, string] {
	return processor.FixedKeyFunc[string, string, string](
		func(ctx processor.FixedKeyContext[string, string], r fixedRecord) error { return ctx.Forward(r) })
}

func TestProcessValuesMistakes(t *testing.T) {
	b := topology.NewBuilder()
	s := topology.Stream(b, "in", serde.String, serde.String)
	topology.ProcessValues[string, string, string](s, nil, nil)
	topology.ProcessValues(s, newFixedForwarder, nil, topology.WithStores("x"))
	_, err := b.Build()
	require.ErrorContains(t, err, "process_values_test.go:")
	require.ErrorContains(t, err, "ProcessValues: the function is nil")
	require.ErrorContains(t, err, `there is no store "x"`)
}
