package topology_test

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// reminders forwards a reminder for each order that is not paid within an hour.
type reminders struct{ timers processor.Timers[string] }

func (p *reminders) Init(ctx processor.Context[string, string]) (err error) {
	p.timers, err = processor.NewTimers(ctx, "reminders", func(t store.Timer[string]) error {
		return ctx.Forward(record.Record[string, string]{Key: t.Key, Value: "please pay", Timestamp: t.At})
	})
	return err
}

func (p *reminders) Process(_ processor.Context[string, string], r record.Record[string, string]) error {
	const hour = int64(time.Hour / time.Millisecond)
	if r.Value == "paid" {
		return p.timers.Delete(r.Key, hour) // all orders of this example are of time 0
	}
	return p.timers.Register(r.Key, r.Timestamp+hour)
}

// Timers per key survive crashes and rebalances, and fire once.
func ExampleProcess_timers() {
	b := topology.NewBuilder()
	b.AddStore(store.TimerSpec("reminders", serde.String))
	orders := topology.Stream(b, "orders", serde.String, serde.String)
	topology.Process(orders, func() processor.Processor[string, string, string, string] { return &reminders{} }, nil, nil,
		topology.WithStores("reminders")).To("reminders-sent")
	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	in := tidemarktest.Input(d, "orders", serde.String, serde.String)
	out := tidemarktest.Output(d, "reminders-sent", serde.String, serde.String)
	in.Pipe("ann", "ordered", 0)
	in.Pipe("bob", "ordered", 0)
	in.Pipe("bob", "paid", 1000)
	d.Commit()
	d.Crash()
	in.Pipe("eve", "ordered", 2*time.Hour.Milliseconds()) // moves stream time beyond the hour
	for _, r := range out.ReadAll() {
		fmt.Println(r.Key, r.Value, r.Timestamp)
	}
	// Output:
	// ann please pay 3600000
}

// alarms forwards each record's value ten seconds later, by the clock on the wall.
type alarms struct{ timers processor.Timers[string] }

func (p *alarms) Init(ctx processor.Context[string, string]) (err error) {
	p.timers, err = processor.NewTimers(ctx, "alarms", func(t store.Timer[string]) error {
		return ctx.Forward(record.Record[string, string]{Key: t.Key, Value: t.Name, Timestamp: t.At})
	})
	return err
}

func (p *alarms) Process(ctx processor.Context[string, string], r record.Record[string, string]) error {
	return p.timers.Named(r.Value).RegisterWallClock(r.Key, ctx.CurrentSystemTime()+10_000)
}

func ExampleProcess_wallClockTimers() {
	b := topology.NewBuilder()
	b.AddStore(store.TimerSpec("alarms", serde.String))
	in := topology.Stream(b, "in", serde.String, serde.String)
	topology.Process(in, func() processor.Processor[string, string, string, string] { return &alarms{} }, nil, nil,
		topology.WithStores("alarms")).To("out")
	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	out := tidemarktest.Output(d, "out", serde.String, serde.String)
	tidemarktest.Input(d, "in", serde.String, serde.String).Pipe("k", "wake up", 0)
	d.AdvanceWallClock(9 * time.Second)
	fmt.Println(out.Len())
	d.AdvanceWallClock(time.Second)
	r := out.Read()
	fmt.Println(r.Key, r.Value, r.Timestamp)
	// Output:
	// 0
	// k wake up 10000
}

// gauge counts records, and forwards the count at every tick.
type gauge struct {
	kind processor.PunctuationType
	n    int64
}

func (p *gauge) Init(ctx processor.Context[string, int64]) error {
	ctx.Schedule(time.Second, p.kind, func(now int64) error {
		r := record.Record[string, int64]{Key: "records", Value: p.n, Timestamp: now}
		p.n = 0
		return ctx.Forward(r)
	})
	return nil
}

func (p *gauge) Process(processor.Context[string, int64], record.Record[string, string]) error {
	p.n++
	return nil
}

func gauging(kind processor.PunctuationType) *topology.Builder {
	b := topology.NewBuilder()
	in := topology.Stream(b, "in", serde.String, serde.String)
	topology.Process(in, func() processor.Processor[string, string, string, int64] { return &gauge{kind: kind} }, nil,
		serde.Int64).To("counts")
	return b
}

// Stream time moves with the records: the first one is a tick, then those that cross a multiple of the interval.
func ExampleProcess_streamTimePunctuator() {
	d, err := tidemarktest.Open(gauging(processor.StreamTime))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	in := tidemarktest.Input(d, "in", serde.String, serde.String)
	for _, ts := range []int64{100, 200, 900, 3500, 3600, 4000} {
		in.Pipe("k", "v", ts)
	}
	for _, r := range tidemarktest.Output(d, "counts", serde.String, serde.Int64).ReadAll() {
		fmt.Println(r.Timestamp, r.Value)
	}
	// Output:
	// 100 1
	// 3500 3
	// 4000 2
}

func ExampleProcess_wallClockPunctuator() {
	d, err := tidemarktest.Open(gauging(processor.WallClockTime))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	in := tidemarktest.Input(d, "in", serde.String, serde.String)
	in.Pipe("k", "v", 100)
	d.AdvanceWallClock(time.Second)
	d.AdvanceWallClock(5 * time.Second) // once, however far it moves
	for _, r := range tidemarktest.Output(d, "counts", serde.String, serde.Int64).ReadAll() {
		fmt.Println(r.Timestamp, r.Value)
	}
	// Output:
	// 1000 1
	// 6000 0
}
