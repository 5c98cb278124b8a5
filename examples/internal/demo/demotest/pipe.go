package demotest

import (
	"testing"

	"github.com/tidemarkio/tidemark/examples/internal/demo"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// Pipe runs the records of a demo through its topology and returns the results as "key: value".
func Pipe(t *testing.T, b *topology.Builder, records []demo.Record, output string) []string {
	t.Helper()
	d := tidemarktest.New(t, b)
	for _, r := range records {
		tidemarktest.Input(d, r.Topic, serde.String, serde.String).Pipe(r.Key, r.Value, r.At())
	}
	var results []string
	for _, r := range tidemarktest.Output(d, output, serde.String, serde.String).ReadAll() {
		results = append(results, r.Key+": "+r.Value)
	}
	return results
}
