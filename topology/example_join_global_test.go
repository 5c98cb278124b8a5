package topology_test

import (
	"fmt"
	"strings"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// Orders find the price of their product, which is not their key.
func ExampleJoinGlobal() {
	b := topology.NewBuilder()
	prices := topology.GlobalTable(b, "prices", serde.String, serde.String, topology.As("prices"))
	orders := topology.Stream(b, "orders", serde.String, serde.String)
	topology.JoinGlobal(orders, prices,
		func(_, product string) string { return product },
		func(product, price string) string { return product + " for " + price }, nil).To("priced")

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	tidemarktest.Input(d, "prices", serde.String, serde.String).Pipe("tea", "3", 1)
	in := tidemarktest.Input(d, "orders", serde.String, serde.String)
	in.Pipe("ann", "tea", 10)
	in.Pipe("bob", "ink", 11) // has no price
	for _, r := range tidemarktest.Output(d, "priced", serde.String, serde.String).ReadAll() {
		fmt.Println(r.Key, r.Value, r.Timestamp)
	}
	// Output:
	// ann tea for 3 10
}

// The joiner sees the key of the stream's record.
func ExampleJoinGlobalWithKey() {
	b := topology.NewBuilder()
	prices := topology.GlobalTable(b, "prices", serde.String, serde.String)
	topology.JoinGlobalWithKey(topology.Stream(b, "orders", serde.String, serde.String), prices,
		func(_, product string) string { return product },
		func(who, product, price string) string { return who + " pays " + price + " for " + product }, nil).To("bills")

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	tidemarktest.Input(d, "prices", serde.String, serde.String).Pipe("tea", "3", 1)
	tidemarktest.Input(d, "orders", serde.String, serde.String).Pipe("ann", "tea", 10)
	fmt.Println(tidemarktest.Output(d, "bills", serde.String, serde.String).Read().Value)
	// Output:
	// ann pays 3 for tea
}

// An order without a price is kept.
func ExampleLeftJoinGlobal() {
	b := topology.NewBuilder()
	prices := topology.GlobalTable(b, "prices", serde.String, serde.String)
	topology.LeftJoinGlobal(topology.Stream(b, "orders", serde.String, serde.String), prices,
		func(_, product string) string { return product },
		func(product string, price topology.Optional[string]) string { return product + " for " + price.Or("?") },
		nil).To("priced")

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	in := tidemarktest.Input(d, "orders", serde.String, serde.String)
	in.Pipe("bob", "ink", 11)
	tidemarktest.Input(d, "prices", serde.String, serde.String).Pipe("ink", "7", 12)
	in.Pipe("bob", "ink", 13)
	for _, r := range tidemarktest.Output(d, "priced", serde.String, serde.String).ReadAll() {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// bob ink for ?
	// bob ink for 7
}

// The joiner sees the key of the stream's record.
func ExampleLeftJoinGlobalWithKey() {
	b := topology.NewBuilder()
	names := topology.GlobalTable(b, "names", serde.String, serde.String)
	topology.LeftJoinGlobalWithKey(topology.Stream(b, "logins", serde.String, serde.String), names,
		func(id, _ string) string { return id },
		func(id, from string, name topology.Optional[string]) string {
			return name.Or("user "+id) + " from " + from
		},
		nil).To("seen")

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	tidemarktest.Input(d, "names", serde.String, serde.String).Pipe("1", "Ann", 1)
	in := tidemarktest.Input(d, "logins", serde.String, serde.String)
	in.Pipe("1", "Rome", 10)
	in.Pipe("2", "Oslo", 11)
	for _, r := range tidemarktest.Output(d, "seen", serde.String, serde.String).ReadAll() {
		fmt.Println(r.Value)
	}
	// Output:
	// Ann from Rome
	// user 2 from Oslo
}

// A processor reads a global table by the name of its store, without being connected to it.
func ExampleGlobalTable() {
	b := topology.NewBuilder()
	topology.GlobalTable(b, "prices", serde.String, serde.Int64, topology.As("prices"))
	topology.ProcessValues(topology.Stream(b, "baskets", serde.String, serde.String),
		func() processor.FixedKeyProcessor[string, string, int64] { return &sum{} }, serde.Int64).To("totals")

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	prices := tidemarktest.Input(d, "prices", serde.String, serde.Int64)
	prices.Pipe("tea", 3, 1)
	prices.Pipe("ink", 7, 2)
	tidemarktest.Input(d, "baskets", serde.String, serde.String).Pipe("ann", "tea ink tea", 10)
	fmt.Println(tidemarktest.Output(d, "totals", serde.String, serde.Int64).Read().Value)
	// Output:
	// 13
}

// sum adds the prices of a basket up.
type sum struct{ prices *store.Global[string, int64] }

func (p *sum) Init(ctx processor.FixedKeyContext[string, int64]) (err error) {
	p.prices, err = processor.StateStore[*store.Global[string, int64]](ctx, "prices")
	return err
}

func (p *sum) Process(
	ctx processor.FixedKeyContext[string, int64], r processor.FixedKeyRecord[string, string],
) error {
	total := int64(0)
	for product := range strings.FieldsSeq(r.Value) {
		price, _, err := p.prices.Get(product)
		if err != nil {
			return err
		}
		total += price
	}
	return ctx.Forward(processor.FixedKeyWithValue(r, total))
}

// A store that knows products by the first letter of their names.
func ExampleAddGlobalStore() {
	b := topology.NewBuilder()
	topology.AddGlobalStore(b, store.KeyValueSpec("by-letter", serde.String, serde.String), "products",
		serde.String, serde.String, func() processor.Processor[string, string, processor.Void, processor.Void] {
			return &byLetter{}
		})
	topology.Stream(b, "in", serde.String, serde.String).To("out")

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	in := tidemarktest.Input(d, "products", serde.String, serde.String)
	in.Pipe("17", "tea", 1)
	in.Pipe("18", "ink", 2)
	for e, err := range tidemarktest.Store[*store.Global[string, string]](d, "by-letter").All() {
		fmt.Println(e.Key, e.Value, err)
	}
	// Output:
	// i 18 <nil>
	// t 17 <nil>
}

// byLetter fills the store of the example.
type byLetter struct {
	rows *store.KeyValue[string, string]
}

func (p *byLetter) Init(ctx processor.Context[processor.Void, processor.Void]) (err error) {
	p.rows, err = processor.StateStore[*store.KeyValue[string, string]](ctx, "by-letter")
	return err
}

func (p *byLetter) Process(
	_ processor.Context[processor.Void, processor.Void], r record.Record[string, string],
) error {
	return p.rows.Put(r.Value[:1], r.Key)
}
