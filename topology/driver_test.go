package topology_test

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

// driver runs a whole plan as one task in memory: every topic has one partition, and what is written to a topic that a
// source reads is queued for it. It is a stand-in for the real task, small enough to see the operators through it.
type driver struct {
	t       testing.TB
	sources map[string]processor.Source // by topic
	extract map[string]processor.PartitionSource
	stores  map[string]store.Store
	order   []string // of the stores
	closers []processor.Closer
	queues  map[string][]record.Raw
	written map[string][]record.Raw
	offsets map[string]int64
	current processor.RecordMetadata
	storeAt *store.Context // what the stores see: current's

	streamTime  int64
	wallClock   int64
	punctuators []*punctuator
	entered     string
	commits     int
	dropped     []string
	discard     bool // outputs are not kept: benchmarks
	// partitions of outputs; if there are several, what is sent to partition p of a topic is written to topic-p.
	partitions int32
}

type punctuator struct {
	kind      processor.PunctuationType
	interval  int64
	due       int64
	fn        func(int64) error
	cancelled bool
}

// run starts a task of the plan.
func run(t testing.TB, b *topology.Builder, caching bool) *driver {
	t.Helper()
	plan, err := b.Build()
	require.NoError(t, err)
	d, err := start(t, plan, caching)
	require.NoError(t, err)
	return d
}

func start(t testing.TB, plan *processor.Plan, caching bool) (*driver, error) {
	t.Helper()
	d := &driver{
		t: t, streamTime: -1, sources: map[string]processor.Source{}, stores: map[string]store.Store{},
		queues: map[string][]record.Raw{}, written: map[string][]record.Raw{}, offsets: map[string]int64{},
		extract: map[string]processor.PartitionSource{},
	}
	d.storeAt = &d.current.Context
	engine := store.NewMemEngine()
	for i, s := range plan.Stores {
		made, err := s.New(store.Env{
			Engine: engine, Prefix: []byte{byte(i)}, Context: d.storeAt, CachingEnabled: caching && s.CachingEnabled,
		})
		require.NoError(t, err)
		d.stores[s.Name] = made
		d.order = append(d.order, s.Name)
	}
	nodes := map[string]any{}
	for _, n := range plan.Nodes {
		made, err := n.New(d)
		if err != nil {
			return nil, err
		}
		nodes[n.Name] = made
		if n.Kind == processor.SourceNode {
			for _, topic := range n.Topics {
				source, ok := made.(processor.Source)
				require.True(t, ok)
				d.sources[topic] = source
				if e, ok := made.(processor.TimedSource); ok {
					d.extract[topic] = e.ForPartition()
					d.sources[topic] = d.extract[topic]
				}
			}
		}
	}
	for _, n := range plan.Nodes {
		for _, c := range n.Children {
			parent, ok := nodes[n.Name].(processor.Attacher)
			require.True(t, ok)
			if err := parent.Attach(c, nodes[c]); err != nil {
				return nil, err
			}
		}
	}
	for _, n := range plan.Nodes {
		if c, ok := nodes[n.Name].(processor.Closer); ok {
			d.closers = append(d.closers, c)
		}
		if init, ok := nodes[n.Name].(processor.Initializer); ok {
			if err := init.Init(); err != nil {
				return nil, err
			}
		}
	}
	return d, nil
}

// in is a record to pipe; a nil Key or Value is null.
type in = record.Raw

// pipe processes a record and all that follows from it.
func (d *driver) pipe(topic string, r in) {
	d.t.Helper()
	require.NoError(d.t, d.tryPipe(topic, r))
}

func (d *driver) tryPipe(topic string, r in) error {
	d.queues[topic] = append(d.queues[topic], r)
	return d.drain()
}

func (d *driver) drain() error {
	for {
		topic := ""
		for name, q := range d.queues {
			if len(q) > 0 && (topic == "" || q[0].Timestamp < d.queues[topic][0].Timestamp) {
				topic = name
			}
		}
		if topic == "" {
			return nil
		}
		r := d.queues[topic][0]
		d.queues[topic] = d.queues[topic][1:]
		if err := d.process(topic, r); err != nil {
			return err
		}
	}
}

func (d *driver) process(topic string, r record.Raw) error {
	if timed := d.extract[topic]; timed != nil {
		var err error
		if r.Timestamp, err = timed.Timestamp(&r, processor.Extraction{PartitionTime: d.streamTime}); err != nil {
			return err
		}
		if r.Timestamp < 0 {
			d.Dropped(topic, "negative timestamp")
			return nil
		}
	}
	r.Offset = d.offsets[topic]
	d.offsets[topic]++
	d.streamTime = max(d.streamTime, r.Timestamp)
	d.current = processor.RecordMetadata{
		Context: store.Context{Timestamp: r.Timestamp, Headers: r.Headers}, Topic: topic, Offset: r.Offset,
	}
	if err := d.sources[topic].ReceiveRaw(&r); err != nil {
		return err
	}
	return d.punctuate(processor.StreamTime, d.streamTime)
}

func (d *driver) punctuate(kind processor.PunctuationType, now int64) error {
	for _, p := range slices.Clone(d.punctuators) {
		if p.kind != kind || p.cancelled || p.due > now {
			continue
		}
		d.current = processor.RecordMetadata{Context: store.Context{Timestamp: now}}
		if err := p.fn(now); err != nil {
			return err
		}
		p.due += ((now-p.due)/p.interval + 1) * p.interval
	}
	return nil
}

// advance moves the wall clock.
func (d *driver) advance(by time.Duration) {
	d.t.Helper()
	d.wallClock += by.Milliseconds()
	require.NoError(d.t, d.punctuate(processor.WallClockTime, d.wallClock))
	require.NoError(d.t, d.drain())
}

// flush empties the record caches, as a commit does, until nothing moves any more.
func (d *driver) flush() {
	d.t.Helper()
	for range len(d.order) + 1 {
		for _, name := range d.order {
			require.NoError(d.t, d.stores[name].FlushCache())
		}
		require.NoError(d.t, d.drain())
	}
}

func (d *driver) close() {
	d.t.Helper()
	for _, c := range d.closers {
		require.NoError(d.t, c.Close())
	}
}

// take returns the records written to topic since the last call, printed by show.
func (d *driver) take(topic string, show func(r record.Raw) string) []string {
	var out []string
	for _, r := range d.written[topic] {
		out = append(out, show(r))
	}
	delete(d.written, topic)
	return out
}

// text prints key=value@timestamp of text, with - for null.
func text(r record.Raw) string {
	return fmt.Sprintf("%s=%s@%d", orDash(r.Key), orDash(r.Value), r.Timestamp)
}

// number is text for int64 values.
func number(r record.Raw) string {
	if r.Value == nil {
		return text(r)
	}
	var n int64
	for _, b := range r.Value {
		n = n<<8 | int64(b)
	}
	return fmt.Sprintf("%s=%d@%d", orDash(r.Key), n, r.Timestamp)
}

func orDash(b []byte) string {
	if b == nil {
		return "-"
	}
	return string(b)
}

// kv makes a record of text; "-" is null.
func kv(key, value string, timestamp int64) in {
	r := in{Timestamp: timestamp}
	if key != "-" {
		r.Key = []byte(key)
	}
	if value != "-" {
		r.Value = []byte(value)
	}
	return r
}

// The driver is its task's context.
var _ processor.TaskContext = (*driver)(nil)

func (d *driver) ApplicationID() string              { return "app" }
func (d *driver) TaskID() record.TaskID              { return record.TaskID{} }
func (d *driver) Logger() *slog.Logger               { return slog.New(slog.DiscardHandler) }
func (d *driver) Current() *processor.RecordMetadata { return &d.current }
func (d *driver) StreamTime() int64                  { return d.streamTime }
func (d *driver) WallClock() int64                   { return d.wallClock }
func (d *driver) RequestCommit()                     { d.commits++ }
func (d *driver) Enter(node string)                  { d.entered = node }
func (d *driver) Dropped(_, reason string)           { d.dropped = append(d.dropped, reason) }

func (d *driver) Store(name string) (store.Store, error) {
	s, ok := d.stores[name]
	if !ok {
		return nil, fmt.Errorf("no store %q", name)
	}
	return s, nil
}

func (d *driver) Schedule(
	_ string, interval time.Duration, kind processor.PunctuationType, fn func(int64) error,
) func() {
	p := &punctuator{kind: kind, interval: interval.Milliseconds(), fn: fn}
	if kind == processor.WallClockTime {
		p.due = d.wallClock + p.interval
	}
	d.punctuators = append(d.punctuators, p)
	return func() { p.cancelled = true }
}

func (d *driver) AddAlarm(string, string, processor.PunctuationType, processor.Alarm) (func(), error) {
	return nil, errors.New("this driver has no timers: use tidemarktest")
}

func (d *driver) Output(topic string) (processor.Output, error) {
	if topic == "missing" {
		return nil, fmt.Errorf("no topic %q", topic)
	}
	return &output{d, topic}, nil
}

type output struct {
	d     *driver
	topic string
}

func (o *output) Partitions() int32 { return max(o.d.partitions, 1) }

func (o *output) Send(key, value []byte, timestamp int64, headers []record.Header) error {
	if o.d.discard {
		return nil
	}
	r := record.Raw{Key: clone(key), Value: clone(value), Timestamp: timestamp, Headers: headers}
	o.d.written[o.topic] = append(o.d.written[o.topic], r)
	if _, read := o.d.sources[o.topic]; read {
		o.d.queues[o.topic] = append(o.d.queues[o.topic], r)
	}
	return nil
}

func (o *output) SendTo(partition int32, key, value []byte, timestamp int64, headers []record.Header) error {
	to := o
	if o.Partitions() > 1 {
		to = &output{o.d, fmt.Sprintf("%s-%d", o.topic, partition)}
	}
	return to.Send(key, value, timestamp, headers)
}

// clone copies b; unlike bytes.Clone it keeps an empty slice apart from nil in any case.
func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append(make([]byte, 0, len(b)), b...)
}
