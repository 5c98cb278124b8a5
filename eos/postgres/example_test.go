package postgres_test

import (
	"fmt"
	"os"

	"github.com/tidemarkio/tidemark/eos/postgres"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Order is a value of the stream.
type Order struct {
	Item  string
	Cents int64
}

// Every order becomes a row, exactly once.
func ExampleTwoPhase() {
	sink, err := postgres.TwoPhase(postgres.Config{
		ConnString: os.Getenv("DATABASE_URL"),
		Table:      "orders",
		Columns:    []string{"id", "item", "cents", "ordered_at"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.JSON[Order]())
	topology.SinkTo(orders, "orders-db", sink, func(r record.Record[string, Order]) (postgres.Row, error) {
		return postgres.Row{Values: []any{r.Key, r.Value.Item, r.Value.Cents, r.Time()}}, nil
	})
}

// A table follows a KTable: a null value deletes.
func ExampleUpsert() {
	sink, err := postgres.Upsert(postgres.Config{
		ConnString: os.Getenv("DATABASE_URL"),
		Table:      "order_counts",
		Columns:    []string{"item", "n"},
		Key:        []string{"item"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.String)
	counts := topology.Count(orders.GroupByKey(), topology.As("counts"))
	topology.SinkTo(counts.ToStream(), "counts-db", sink, func(r record.Record[string, int64]) (postgres.Row, error) {
		return postgres.Row{Values: []any{r.Key, r.Value}, Delete: r.NullValue}, nil
	})
}
