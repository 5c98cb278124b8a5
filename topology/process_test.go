package topology_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

// newStamper forwards the timestamp that the processor's context shows, as the value.
func newStamper() processor.Processor[string, int64, string, int64] {
	return processor.Func[string, int64, string, int64](
		func(ctx processor.Context[string, int64], r record.Record[string, int64]) error {
			m, _ := ctx.RecordMetadata()
			return ctx.Forward(record.WithValue(r, m.Timestamp))
		})
}

type (
	textContext = processor.Context[string, string]
	textRecord  = record.Record[string, string]
	seenStore   = *store.KeyValue[string, int64]
)

// dedup is the example of the user's view: it passes each value once per hour of stream time.
type dedup struct {
	seen   seenStore
	closed *bool
}

func (d *dedup) Init(ctx textContext) error {
	var err error
	if d.seen, err = processor.StateStore[seenStore](ctx, "seen"); err != nil {
		return err
	}
	ctx.Schedule(time.Hour, processor.StreamTime, d.expire)
	return nil
}

func (d *dedup) Process(ctx textContext, r textRecord) error {
	if _, found, err := d.seen.Get(r.Value); err != nil || found {
		return err
	}
	if err := d.seen.Put(r.Value, r.Timestamp); err != nil {
		return err
	}
	return ctx.Forward(r)
}

func (d *dedup) expire(now int64) error {
	for e, err := range d.seen.All() {
		if err != nil {
			return err
		}
		if now-e.Value >= time.Hour.Milliseconds() {
			if err := d.seen.Delete(e.Key); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *dedup) Close() error {
	*d.closed = true
	return nil
}

func TestProcess(t *testing.T) {
	b := topology.NewBuilder()
	b.AddStore(store.KeyValueSpec("seen", serde.String, serde.Int64))
	closed := false
	newDedup := func() processor.Processor[string, string, string, string] { return &dedup{closed: &closed} }
	topology.Process(topology.Stream(b, "in", serde.String, serde.String), newDedup, nil, nil,
		topology.WithStores("seen"), topology.Named("dedup")).To("out")
	d := run(t, b, false)
	const hour = 3_600_000
	for _, at := range []int64{0, 1, hour - 1, hour, hour + 1} {
		d.pipe("in", kv("k", "v", at))
	}
	require.Equal(t, []string{"k=v@0", "k=v@3600001"}, d.take("out", text))
	d.close()
	require.True(t, closed)
}

// processText runs one function as a processor between "in" and two sinks called left and right.
func processText(t *testing.T, f func(ctx textContext, r textRecord) error) *driver {
	t.Helper()
	b := topology.NewBuilder()
	s := topology.Process(topology.Stream(b, "in", serde.String, serde.String),
		func() processor.Processor[string, string, string, string] {
			return processor.Func[string, string, string, string](f)
		}, nil, nil, topology.Named("p"))
	s.To("left", topology.Named("left-sink"))
	s.To("right", topology.Named("right-sink"), topology.WithSerdes[string, string](nil, picky{}))
	return run(t, b, false)
}

// picky refuses one value.
type picky struct{}

func (picky) Append(dst []byte, v string) ([]byte, error) {
	if v == "bad" {
		return dst, errEncode
	}
	return append(dst, v...), nil
}

func (picky) Decode(data []byte) (string, error) { return string(data), nil }

func TestProcessContext(t *testing.T) {
	var got string
	d := processText(t, func(ctx textContext, r textRecord) error {
		m, ok := ctx.RecordMetadata()
		got = fmt.Sprint(m.Topic, m.Partition, m.Offset, m.Timestamp, ok, ctx.StreamTime(), ctx.CurrentSystemTime(),
			ctx.ApplicationID(), ctx.TaskID(), string(ctx.Headers()[0].Value), ctx.Logger() != nil)
		ctx.Commit()
		return nil
	})
	r := kv("k", "v", 7)
	r.Headers = []record.Header{{Key: "h", Value: []byte("x")}}
	d.pipe("in", r)
	require.Equal(t, "in0 0 7 true 7 0app0_0xtrue", got)
	require.Equal(t, 1, d.commits)
}

func TestForwardTo(t *testing.T) {
	d := processText(t, func(ctx textContext, r textRecord) error {
		if r.Value == "left" {
			return ctx.ForwardTo("left-sink", r)
		}
		return ctx.ForwardTo("nowhere", r)
	})
	d.pipe("in", kv("k", "left", 1))
	require.Equal(t, []string{"k=left@1"}, d.take("left", text))
	require.Empty(t, d.take("right", text))
	err := d.tryPipe("in", kv("k", "v", 2))
	require.ErrorContains(t, err, `processor: node "p" has no child "nowhere"`)
}

// TestProcessErrors pins whose an error is: the processor's own, or that of a node below, which user code can neither
// rename by wrapping nor lose by swallowing.
func TestProcessErrors(t *testing.T) {
	own := errors.New("own")
	for name, c := range map[string]struct {
		f    func(ctx textContext, r textRecord) error
		node string
		is   error
	}{
		"own": {func(textContext, textRecord) error { return own }, "p", own},
		"from below": {
			func(ctx textContext, r textRecord) error { return ctx.Forward(r) }, "right-sink", errEncode,
		},
		"from below, wrapped": {func(ctx textContext, r textRecord) error {
			return fmt.Errorf("mine: %w", ctx.Forward(r))
		}, "right-sink", errEncode},
		"from below, swallowed": {func(ctx textContext, r textRecord) error {
			_ = ctx.Forward(r)
			return nil
		}, "right-sink", errEncode},
		"schedule": {func(ctx textContext, _ textRecord) error {
			ctx.Schedule(time.Microsecond, processor.StreamTime, func(int64) error { return nil }).Cancel()
			return nil
		}, "p", nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := processText(t, c.f)
			err := d.tryPipe("in", kv("k", "bad", 1))
			user, ok := errors.AsType[*processor.UserError](err)
			require.True(t, ok, err)
			require.Equal(t, c.node, user.Node)
			require.Equal(t, "in", user.TopicPartition.Topic)
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			}
		})
	}
}

// wallClock forwards a record on every tick and cancels itself after two.
type wallClock struct {
	ctx   textContext
	timer processor.Cancellable
	ticks int
}

func (w *wallClock) Init(ctx textContext) error {
	w.ctx = ctx
	w.timer = ctx.Schedule(time.Second, processor.WallClockTime, w.tick)
	return nil
}

func (w *wallClock) Process(textContext, textRecord) error { return nil }

func (w *wallClock) tick(now int64) error {
	if _, ok := w.ctx.RecordMetadata(); ok {
		return errors.New("a punctuator has no record")
	}
	if w.ticks++; w.ticks == 2 {
		w.timer.Cancel()
		w.timer.Cancel()
	}
	return w.ctx.Forward(textRecord{Key: "tick", NullValue: true, Timestamp: now})
}

func TestSchedule(t *testing.T) {
	b := topology.NewBuilder()
	topology.Process(topology.Stream(b, "in", serde.String, serde.String),
		func() processor.Processor[string, string, string, string] { return &wallClock{} }, nil, nil).To("out")
	d := run(t, b, false)
	for range 4 {
		d.advance(time.Second)
	}
	require.Equal(t, []string{"tick=-@1000", "tick=-@2000"}, d.take("out", text))
}

func TestStateStoreMistakes(t *testing.T) {
	for name, c := range map[string]struct {
		init func(ctx textContext) error
		want string
	}{
		"unknown": {func(ctx textContext) error {
			_, err := processor.StateStore[seenStore](ctx, "nope")
			return err
		}, `no store "nope"`},
		"another type": {func(ctx textContext) error {
			_, err := processor.StateStore[*store.KeyValue[int, int]](ctx, "seen")
			return err
		}, `store "seen" is a *store.KeyValue[string,int64], not a *store.KeyValue[int,int]`},
	} {
		t.Run(name, func(t *testing.T) {
			b := topology.NewBuilder()
			b.AddStore(store.KeyValueSpec("seen", serde.String, serde.Int64))
			topology.Process(topology.Stream(b, "in", serde.String, serde.String),
				func() processor.Processor[string, string, string, string] { return initOnly(c.init) }, nil, nil,
				topology.WithStores("seen"), topology.Named("p"))
			_, err := start(t, b.MustBuild(), false)
			require.ErrorContains(t, err, c.want)
			user, ok := errors.AsType[*processor.UserError](err)
			require.True(t, ok)
			require.Equal(t, "p", user.Node)
		})
	}
	d := &driver{}
	require.Panics(t, func() { processor.MustStateStore[seenStore](d, "nope") })
}

type initOnly func(ctx textContext) error

func (f initOnly) Init(ctx textContext) error          { return f(ctx) }
func (initOnly) Process(textContext, textRecord) error { return nil }
