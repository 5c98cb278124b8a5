package topology_test

import (
	"fmt"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// tidemarktest.NewSink stands for a database here; in production it is a postgres.TwoPhase, for one.
func ExampleSinkTo() {
	sink := tidemarktest.NewSink[string]()
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.Int64)
	topology.SinkTo(orders, "orders-db", sink, func(r record.Record[string, int64]) (string, error) {
		return fmt.Sprintf("%s for %d", r.Key, r.Value), nil
	})

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	in := tidemarktest.Input(d, "orders", serde.String, serde.Int64)
	in.Pipe("pen", 2, 0)
	fmt.Println("before the commit:", sink.Rows())
	d.Commit()
	fmt.Println("after it:", sink.Rows())
	in.Pipe("ink", 9, 1)
	d.Crash() // the record is processed again
	d.Commit()
	fmt.Println("after a crash:", sink.Rows())
	// Output:
	// before the commit: []
	// after it: [pen for 2]
	// after a crash: [pen for 2 ink for 9]
}
