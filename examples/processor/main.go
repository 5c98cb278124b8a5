// Processor shows the Processor API: a processor with a store and timers sends a reminder when an order has not been
// paid for half an hour, and forgets the order then.
//
//	go run ./examples/processor
//
// needs nothing but Go. Bob pays in time and hears nothing; the timers and the open orders survive a crash.
package main

import (
	"time"

	"github.com/tidemarkio/tidemark/examples/internal/demo"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

func main() { demo.Main("processor", Topology(), events(), "results", 2) }

// Topology connects the processor with its stores.
func Topology() *topology.Builder {
	b := topology.NewBuilder()
	b.AddStore(store.KeyValueSpec("open-orders", serde.String, serde.String))
	b.AddStore(store.TimerSpec("reminders", serde.String))
	events := topology.Stream(b, "events", serde.String, serde.String)
	topology.Process(events, func() processor.Processor[string, string, string, string] { return &reminder{} },
		serde.String, serde.String, topology.WithStores("open-orders", "reminders"), topology.Named("reminder")).
		To("results")
	return b
}

// patience is how long an order may stay unpaid.
const patience = 30 * time.Minute

// reminder remembers orders until they are paid. There is one for each task, so it needs no locks.
type reminder struct {
	ctx    processor.Context[string, string]
	orders *store.KeyValue[string, string]
	timers processor.Timers[string]
}

// Init looks up the stores, once for each task.
func (p *reminder) Init(ctx processor.Context[string, string]) (err error) {
	p.ctx = ctx
	p.orders = processor.MustStateStore[*store.KeyValue[string, string]](ctx, "open-orders")
	p.timers, err = processor.NewTimers(ctx, "reminders", p.remind)
	return err
}

// Process handles "paid", or anything else that is an order.
func (p *reminder) Process(_ processor.Context[string, string], r record.Record[string, string]) error {
	if r.Value == "paid" {
		return p.orders.Delete(r.Key)
	}
	if err := p.orders.Put(r.Key, r.Value); err != nil {
		return err
	}
	return p.timers.Register(r.Key, r.Timestamp+patience.Milliseconds())
}

// remind is called once for every timer whose time has come.
func (p *reminder) remind(t store.Timer[string]) error {
	item, open, err := p.orders.Get(t.Key)
	if err != nil || !open {
		return err
	}
	if err := p.orders.Delete(t.Key); err != nil {
		return err
	}
	return p.ctx.Forward(record.Record[string, string]{
		Key: t.Key, Value: "please pay for your " + item, Timestamp: t.At,
	})
}

func events() []demo.Record {
	event := func(customer, what string, after time.Duration) demo.Record {
		return demo.Record{Topic: "events", Key: customer, Value: what, After: after}
	}
	return []demo.Record{
		event("ann", "tea", 0),
		event("bob", "milk", 5*time.Minute),
		event("bob", "paid", 10*time.Minute),
		event("cid", "salt", 20*time.Minute),
		event("dora", "oil", 51*time.Minute),
	}
}
