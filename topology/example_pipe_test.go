package topology_test

import (
	"strings"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// pipe runs a topology that prints, on records of one topic: "key=value", or "key=" for a null value. Their time is
// their place, in seconds.
func pipe(b *topology.Builder, topic string, records ...string) {
	d, err := tidemarktest.Open(b)
	if err != nil {
		panic(err) // the topology is the example's own
	}
	defer d.Close()
	in := tidemarktest.Input(d, topic, serde.String, serde.String)
	for i, r := range records {
		key, value, _ := strings.Cut(r, "=")
		in.PipeRecord(record.Record[string, string]{
			Key: key, Value: value, NullValue: value == "", Timestamp: int64(i) * 1000,
		})
	}
}
